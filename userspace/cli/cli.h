/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the subcommands share. Each is a function that returns the program's exit
 * status: 0, or 1 after exactly one sentence on standard error; verify has a third.
 */
#ifndef VMR_CLI_CLI_H
#define VMR_CLI_CLI_H

#include <argp.h>
#include <stdbool.h>

#include "../common/err.h"

int cli_enable(int argc, char **argv);
int cli_reverse(int argc, char **argv);
int cli_disable(int argc, char **argv);
int cli_start(int argc, char **argv);
int cli_replicate(int argc, char **argv);
int cli_status(int argc, char **argv);
int cli_jobs(int argc, char **argv);
int cli_points(int argc, char **argv);
int cli_test_failover(int argc, char **argv);
int cli_failover(int argc, char **argv);
int cli_revert(int argc, char **argv);
int cli_commit(int argc, char **argv);
int cli_cancel(int argc, char **argv);
int cli_suspend(int argc, char **argv);
int cli_resume(int argc, char **argv);
int cli_modify(int argc, char **argv);
int cli_statistics(int argc, char **argv);
int cli_test_connection(int argc, char **argv);
int cli_import(int argc, char **argv);
int cli_resynchronize(int argc, char **argv);
int cli_verify(int argc, char **argv);

/* "vmreplica: <sentence>" on standard error; returns 1. */
int cli_fail(const struct err *e);

/* Options and argument that several subcommands have. */
struct cli_args {
	const char *vm;		/* the argument; null: none was given */
	bool json;
	bool watch;
	bool no_wait;
	bool delete_points;
	bool dry_run;
	bool reset;
	const char *type;
	const char *at;		/* a time; null: none was given */
	const char *dir;
	const char *point;	/* an id; "": the newest */
	const char *name;	/* of a test to begin; null: none was given */
	const char *end;	/* of a test to end; null: none */
	bool list;
	bool planned;
};

enum {
	CLI_KEY_JSON = 0x100,
	CLI_KEY_WATCH,
	CLI_KEY_NO_WAIT,
	CLI_KEY_DELETE_POINTS,
	CLI_KEY_DRY_RUN,
	CLI_KEY_RESET,
	CLI_KEY_TYPE,
	CLI_KEY_AT,
	CLI_KEY_DIR,
	CLI_KEY_POINT,
	CLI_KEY_NEWEST,
	CLI_KEY_NAME,
	CLI_KEY_END,
	CLI_KEY_LIST,
	CLI_KEY_PLANNED,
};

#define CLI_OPTION_JSON { "json", CLI_KEY_JSON, NULL, 0, "For programs", 0 }

/* argp parser for a struct cli_args. */
error_t cli_parse_arg(int key, char *arg, struct argp_state *state);

/*
 * argp_parse(), but with errors as our sentences; --help prints the help and ends the
 * program. A parser that knows what is wrong returns EINVAL after cli_usage().
 */
int cli_parse(const struct argp *argp, int argc, char **argv, void *input, struct err *e);
error_t cli_usage(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Parses the options and argument of a subcommand; @needs_vm: it must have the argument. */
int cli_parse_args(const struct argp *argp, int argc, char **argv, bool needs_vm,
		   struct cli_args *args, struct err *e);

#endif
