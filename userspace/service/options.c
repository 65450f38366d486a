// SPDX-License-Identifier: GPL-2.0-or-later
#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../common/version.h"
#include "../wire/wire.h"
#include "options.h"

enum { KEY_STATE_DIR = 0x100, KEY_LISTEN, KEY_NO_LISTEN, KEY_BUS, KEY_SESSION_BUS };

const char *argp_program_version = "vmreplicad " VMREPLICA_VERSION;
error_t argp_err_exit_status = 1;

static const struct argp_option argp_options[] = {
	{ "state-dir", KEY_STATE_DIR, "DIR", 0,
	  "Keep relationships below DIR/primary and replicas below DIR/replica (/var/lib/vmreplica)", 0 },
	{ "listen", KEY_LISTEN, "[ADDR:]PORT", 0, "Listen for primaries there (all addresses, 7766)", 0 },
	{ "no-listen", KEY_NO_LISTEN, NULL, 0, "Be a primary only", 0 },
	{ "bus", KEY_BUS, "ADDRESS", 0, "Use this D-Bus instead of the system's", 0 },
	{ "session-bus", KEY_SESSION_BUS, NULL, 0, "Use the session's D-Bus", 0 },
	{ "verbose", 'v', NULL, 0, "Log more", 0 },
	{ 0 }
};

/* "7766", "10.0.0.1:7766", "[::1]:7766" */
static int parse_listen(const char *arg, struct options *options)
{
	const char *colon = strrchr(arg, ':'), *digits = colon ? colon + 1 : arg;
	size_t length = colon ? (size_t)(colon - arg) : 0;
	char *end;
	unsigned long port = strtoul(digits, &end, 10);

	if (digits[0] < '0' || digits[0] > '9' || *end || !port || port > 65535)
		return -1;
	if (length >= 2 && arg[0] == '[' && arg[length - 1] == ']') {
		arg++;
		length -= 2;
	}
	if (length >= sizeof(options->address))
		return -1;
	memcpy(options->address, arg, length);
	options->address[length] = 0;
	options->port = port;
	return 0;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *options = state->input;

	switch (key) {
	case KEY_STATE_DIR:
		options->state_dir = arg;
		return 0;
	case KEY_LISTEN:
		if (parse_listen(arg, options))
			argp_error(state, "'%s' is not [ADDR:]PORT", arg);
		return 0;
	case KEY_NO_LISTEN:
		options->listen = false;
		return 0;
	case KEY_BUS:
		options->bus = arg;
		return 0;
	case KEY_SESSION_BUS:
		options->session_bus = true;
		return 0;
	case 'v':
		options->verbose = true;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

void options_parse(int argc, char **argv, struct options *options)
{
	static const struct argp argp = {
		.options = argp_options,
		.parser = parse,
		.doc = "Replicates the disks of virtual machines to another host, and keeps replicas for others.\v"
		       "It stays in the foreground, logs to standard error and is controlled over D-Bus: see vmreplica(8).",
	};

	*options = (struct options){
		.state_dir = "/var/lib/vmreplica",
		.listen = true,
		.port = WIRE_PORT,
	};
	argp_parse(&argp, argc, argv, ARGP_NO_ARGS, NULL, options);
}
