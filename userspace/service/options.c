// SPDX-License-Identifier: GPL-2.0-or-later
#include <argp.h>
#include <stdio.h>
#include <string.h>

#include "../common/version.h"
#include "options.h"

enum {
	KEY_STATE_DIR = 0x100, KEY_LISTEN, KEY_NO_LISTEN, KEY_BUS, KEY_SESSION_BUS, KEY_CONFIG,
	KEY_CHECK_CONFIG, KEY_SAVE_TRACKING, KEY_RESTORE_TRACKING
};

const char *argp_program_version = "vmreplicad " VMREPLICA_VERSION;
error_t argp_err_exit_status = 1;

static const struct argp_option argp_options[] = {
	{ "config", KEY_CONFIG, "FILE", 0, "Read settings there (" CONFIG_FILE ")", 0 },
	{ "check-config", KEY_CHECK_CONFIG, NULL, 0, "Only look whether the settings are right", 0 },
	{ "state-dir", KEY_STATE_DIR, "DIR", 0,
	  "Keep relationships below DIR/primary and replicas below DIR/replica (/var/lib/vmreplica)", 0 },
	{ "listen", KEY_LISTEN, "[ADDR:]PORT", 0, "Listen for primaries there (all addresses, 7766)", 0 },
	{ "no-listen", KEY_NO_LISTEN, NULL, 0, "Be a primary only", 0 },
	{ "bus", KEY_BUS, "ADDRESS", 0, "Use this D-Bus instead of the system's", 0 },
	{ "session-bus", KEY_SESSION_BUS, NULL, 0, "Use the session's D-Bus", 0 },
	{ "save-tracking", KEY_SAVE_TRACKING, NULL, 0,
	  "Only save what the tracker holds, before the host goes down, with machines and service stopped; the disks are read-only then", 0 },
	{ "restore-tracking", KEY_RESTORE_TRACKING, NULL, 0,
	  "Only give it back to the tracker, before any machine starts", 0 },
	{ "verbose", 'v', NULL, 0, "Log more", 0 },
	{ 0 }
};

struct line {
	struct options *options;
	const char *state_dir, *listen;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct line *line = state->input;
	struct config ignored;

	switch (key) {
	case KEY_CONFIG:
		line->options->config_file = arg;
		return 0;
	case KEY_CHECK_CONFIG:
		line->options->check_config = true;
		return 0;
	case KEY_SAVE_TRACKING:
		line->options->save_tracking = true;
		return 0;
	case KEY_RESTORE_TRACKING:
		line->options->restore_tracking = true;
		return 0;
	case KEY_STATE_DIR:
		if (strlen(arg) >= sizeof(ignored.state_dir))
			argp_error(state, "the state directory's path is too long");
		line->state_dir = arg;
		return 0;
	case KEY_LISTEN:
		if (config_parse_listen(arg, &ignored))
			argp_error(state, "'%s' is not [ADDR:]PORT", arg);
		line->listen = arg;
		return 0;
	case KEY_NO_LISTEN:
		line->listen = "no";
		return 0;
	case KEY_BUS:
		line->options->bus = arg;
		return 0;
	case KEY_SESSION_BUS:
		line->options->session_bus = true;
		return 0;
	case 'v':
		line->options->verbose = true;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

int options_parse(int argc, char **argv, struct options *options, struct config *config,
		  struct err *e)
{
	static const struct argp argp = {
		.options = argp_options,
		.parser = parse,
		.doc = "Replicates the disks of virtual machines to another host, and keeps replicas for others.\v"
		       "It stays in the foreground, logs to standard error or the journal, and is controlled over D-Bus: see vmreplica(8).",
	};
	struct line line = { .options = options };
	int rc;

	*options = (struct options){ 0 };
	config_defaults(config);
	argp_parse(&argp, argc, argv, ARGP_NO_ARGS, NULL, &line);
	rc = config_read(options->config_file ? options->config_file : CONFIG_FILE,
			 !options->config_file, config, e);
	if (rc)
		return rc;
	if (line.state_dir)
		strcpy(config->state_dir, line.state_dir);
	if (line.listen)
		config_parse_listen(line.listen, config);
	return 0;
}
