// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

static struct err usage;	/* what a parser found wrong */

int cli_fail(const struct err *e)
{
	fflush(stdout);
	fprintf(stderr, "vmreplica: %s\n", e->text);
	return 1;
}

error_t cli_usage(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(usage.text, sizeof(usage.text), fmt, ap);
	va_end(ap);
	usage.code = -EINVAL;
	return EINVAL;
}

/* The option of @word ("--name", "--name=value"); null: there is none. */
static const struct argp_option *option_of(const struct argp *argp, const char *word)
{
	size_t length = strcspn(word + 2, "=");
	const struct argp_option *option;

	for (option = argp->options; option && option->name; option++) {
		if (!strncmp(option->name, word + 2, length))
			return option;
	}
	return NULL;
}

/* argp says only that something is wrong. */
static void find_mistake(const struct argp *argp, int argc, char **argv)
{
	int i;

	for (i = 1; i < argc && !usage.code; i++) {
		const struct argp_option *option;

		if (argv[i][0] != '-' || !argv[i][1])
			continue;
		option = argv[i][1] == '-' ? option_of(argp, argv[i]) : NULL;
		if (!option)
			cli_usage("there is no option '%.60s'", argv[i]);
		else if (option->arg && !strchr(argv[i], '=') && ++i == argc)
			cli_usage("the option --%s needs a value", option->name);
		else if (!option->arg && strchr(argv[i], '='))
			cli_usage("the option --%s has no value", option->name);
	}
	if (!usage.code)
		cli_usage("that is not understood");
}

static void help(const struct argp *argp, char *name)
{
	char line[64];

	snprintf(line, sizeof(line), "vmreplica %s", name);
	argp_help(argp, stdout,
		  ARGP_HELP_USAGE | ARGP_HELP_PRE_DOC | ARGP_HELP_LONG | ARGP_HELP_POST_DOC, line);
	exit(0);
}

int cli_parse(const struct argp *argp, int argc, char **argv, void *input, struct err *e)
{
	int i;

	for (i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
			help(argp, argv[0]);
	}
	if (!argp_parse(argp, argc, argv, ARGP_NO_ERRS | ARGP_NO_HELP, NULL, input))
		return 0;
	if (!usage.code)
		find_mistake(argp, argc, argv);
	return err_set(e, -EINVAL, "%.280s: see `vmreplica %s --help`", usage.text, argv[0]);
}

static bool *flag_of(struct cli_args *args, int key)
{
	switch (key) {
	case CLI_KEY_JSON:
		return &args->json;
	case CLI_KEY_WATCH:
		return &args->watch;
	case CLI_KEY_NO_WAIT:
		return &args->no_wait;
	case CLI_KEY_DELETE_POINTS:
		return &args->delete_points;
	case CLI_KEY_DRY_RUN:
		return &args->dry_run;
	case CLI_KEY_RESET:
		return &args->reset;
	case CLI_KEY_LIST:
		return &args->list;
	case CLI_KEY_PLANNED:
		return &args->planned;
	default:
		return NULL;
	}
}

static const char **text_of(struct cli_args *args, int key)
{
	switch (key) {
	case CLI_KEY_TYPE:
		return &args->type;
	case CLI_KEY_AT:
		return &args->at;
	case CLI_KEY_DIR:
		return &args->dir;
	case CLI_KEY_POINT:
	case CLI_KEY_NEWEST:
		return &args->point;
	case CLI_KEY_NAME:
		return &args->name;
	case CLI_KEY_END:
		return &args->end;
	case ARGP_KEY_ARG:
		return &args->vm;
	default:
		return NULL;
	}
}

error_t cli_parse_arg(int key, char *arg, struct argp_state *state)
{
	struct cli_args *args = state->input;
	bool *flag = flag_of(args, key);
	const char **text = text_of(args, key);

	if (flag)
		*flag = true;
	else if (!text)
		return ARGP_ERR_UNKNOWN;
	else if (key == ARGP_KEY_ARG && args->vm)
		return cli_usage("'%.60s' is one argument too many", arg);
	else
		*text = arg ? arg : "";
	return 0;
}

int cli_parse_args(const struct argp *argp, int argc, char **argv, bool needs_vm,
		   struct cli_args *args, struct err *e)
{
	int rc = cli_parse(argp, argc, argv, args, e);

	if (!rc && needs_vm && !args->vm)
		return err_set(e, -EINVAL, "%s is missing: see `vmreplica %s --help`", argp->args_doc, argv[0]);
	return rc;
}
