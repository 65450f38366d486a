// SPDX-License-Identifier: GPL-2.0-or-later
/* import, resynchronize, test-connection */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli.h"
#include "client.h"
#include "options.h"
#include "result.h"
#include "turn.h"
#include "wait.h"

/* Sends the call, which is about a VM or a host, and waits for its job; the end of the program. */
static int run(const struct cli_args *args, sd_bus_message *call, const char *done)
{
	char path[CLIENT_PATH_BYTES];
	struct client_job job = { 0 };
	struct err e = { 0 };
	int rc = turn_send(call, args->vm, !args->json, path, &e);

	if (!rc && (args->no_wait || args->at))
		rc = client_job(path, &job, &e);
	else if (!rc)
		rc = wait_for_job(path, !args->json, &job, &e);
	if (!rc && !args->json && !client_job_ended(&job))
		printf("job %u was started: see `vmreplica jobs`\n", client_number(path));
	else if (!rc && !args->json)
		printf("%s: %s\n", args->vm, done);
	return result_end(args->json, rc, &e, &job);
}

/* --- import ------------------------------------------------------------------------- */

static int import(const struct cli_args *args)
{
	char *dir = args->dir ? realpath(args->dir, NULL) : NULL;
	sd_bus_message *call = NULL;
	struct err e = { 0 };
	int rc = 0;

	if (!args->dir)
		rc = err_set(&e, -EINVAL, "--from is missing: see `vmreplica import --help`");
	else if (!dir)
		rc = err_sys(&e, -errno, "cannot find %.200s", args->dir);
	if (!rc)
		rc = client_call("ImportInitialReplica", &call, &e);
	if (!rc)
		rc = client_append(call, &e, "ss", args->vm, dir);
	free(dir);
	return rc ? result_end(args->json, rc, &e, NULL) : run(args, call, "imported");
}

int cli_import(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "from", CLI_KEY_DIR, "DIR", 0, "The directory that was exported to", 0 },
		{ "no-wait", CLI_KEY_NO_WAIT, NULL, 0, "Return once it has begun", 0 },
		CLI_OPTION_JSON,
		{ 0 }
	};
	static const struct argp argp = {
		options, cli_parse_arg, "VM",
		"On the replica host: take in the first copy of a VM's disks that was exported on the primary and brought here. It is verified first.\v"
		"Example:\n"
		"  vmreplica import web1 --from /mnt/medium\n",
		NULL, NULL, NULL
	};
	struct cli_args args = { 0 };
	struct err e = { 0 };
	int rc = cli_parse_args(&argp, argc, argv, true, &args, &e);

	return rc ? result_end(args.json, rc, &e, NULL) : import(&args);
}

/* --- resynchronize ------------------------------------------------------------------- */

int cli_resynchronize(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "at", CLI_KEY_AT, "TIME", 0,
		  "Begin then, up to 7 days ahead: 2026-01-31T18:30 (local), 2026-01-31T18:30Z (UTC)", 0 },
		{ "no-wait", CLI_KEY_NO_WAIT, NULL, 0, "Return once it has begun", 0 },
		CLI_OPTION_JSON,
		{ 0 }
	};
	static const struct argp argp = {
		options, cli_parse_arg, "VM",
		"Compare a VM's disks with what the replica has, and send what differs: after tracking was interrupted. The points that there are stay.\v"
		"Example:\n"
		"  vmreplica resynchronize web1\n",
		NULL, NULL, NULL
	};
	struct cli_args args = { 0 };
	sd_bus_message *call = NULL;
	struct err e = { 0 };
	int rc = cli_parse_args(&argp, argc, argv, true, &args, &e);

	if (!rc)
		rc = client_call("Resynchronize", &call, &e);
	if (!rc)
		rc = client_append(call, &e, "ss", args.vm, args.at ? args.at : "");
	return rc ? result_end(args.json, rc, &e, NULL) : run(&args, call, "resynchronized");
}

/* --- test-connection ------------------------------------------------------------------- */

static int test_connection(const struct cli_args *args)
{
	sd_bus_message *call = NULL;
	uint16_t port = 0;
	char host[256];
	struct err e = { 0 };
	int rc = 0;

	if (options_parse_to(args->vm, host, &port))
		rc = err_set(&e, -EINVAL, "'%.60s' is not HOST[:PORT]: see `vmreplica test-connection --help`",
			     args->vm);
	if (!rc)
		rc = client_call("TestReplicationConnection", &call, &e);
	if (!rc)
		rc = client_append(call, &e, "sqqsb", host, (int)port, 0, "", 0);
	return rc ? result_end(args->json, rc, &e, NULL) : run(args, call, "a replica answers there");
}

int cli_test_connection(int argc, char **argv)
{
	static const struct argp_option options[] = { CLI_OPTION_JSON, { 0 } };
	static const struct argp argp = {
		options, cli_parse_arg, "HOST[:PORT]",
		"Look from this host whether a replica answers there, and whether the two understand each other.\v"
		"Example:\n"
		"  vmreplica test-connection backup.example.org\n",
		NULL, NULL, NULL
	};
	struct cli_args args = { 0 };
	struct err e = { 0 };
	int rc = cli_parse_args(&argp, argc, argv, true, &args, &e);

	return rc ? result_end(args.json, rc, &e, NULL) : test_connection(&args);
}
