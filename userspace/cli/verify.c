// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "../common/format.h"
#include "cli.h"
#include "result.h"
#include "turn.h"
#include "wait.h"

/* Nothing failed, but something was not as it should be, and is by now. */
#define STATUS_REPAIRED 2

static void print_places(const struct client_job *job)
{
	unsigned int i;

	for (i = 0; i < job->place_count; i++)
		printf("  %s: %" PRIu64 " bytes at %" PRIu64 "\n", job->places[i].disk,
		       job->places[i].length, job->places[i].offset);
}

static void print_result(const char *vm, const struct client_job *job)
{
	char bytes[FORMAT_BYTES];

	if (!client_job_ended(job))
		printf("job %u was started: see `vmreplica jobs`\n", client_number(job->path));
	else if (job->difference_bytes)
		printf("%s: the replica differed in %s, which was sent again\n", vm,
		       format_bytes(job->difference_bytes, bytes));
	else
		printf("%s: the replica is the same\n", vm);
	print_places(job);
}

static int verify(const struct cli_args *args)
{
	char path[CLIENT_PATH_BYTES];
	struct client_job job = { 0 };
	struct err e = { 0 };
	int rc = turn_call("VerifyReplica", args->vm, !args->json, path, &e), status;

	if (!rc)
		rc = args->no_wait ? client_job(path, &job, &e) :
				     wait_for_job(path, !args->json, &job, &e);
	if (!rc && !args->json)
		print_result(args->vm, &job);
	status = result_end(args->json, rc, &e, &job);
	return !status && job.difference_bytes ? STATUS_REPAIRED : status;
}

int cli_verify(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "no-wait", CLI_KEY_NO_WAIT, NULL, 0, "Return once it has begun", 0 },
		CLI_OPTION_JSON,
		{ 0 }
	};
	static const struct argp argp = {
		options, cli_parse_arg, "VM",
		"Compare a VM's disks with the replica's newest point by checksums, while the machine runs and is written to. What the replica has otherwise than it was sent is named and sent again. The exit status is 2 then.\v"
		"Example:\n"
		"  vmreplica verify web1\n",
		NULL, NULL, NULL
	};
	struct cli_args args = { 0 };
	struct err e = { 0 };
	int rc = cli_parse_args(&argp, argc, argv, true, &args, &e);

	return rc ? result_end(args.json, rc, &e, NULL) : verify(&args);
}
