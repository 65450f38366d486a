// SPDX-License-Identifier: GPL-2.0-or-later
/* start-replication, replicate */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../common/format.h"
#include "cli.h"
#include "client.h"
#include "dry_run.h"
#include "result.h"
#include "turn.h"
#include "wait.h"

#define TYPE_EXPORT 2

/* "pass 12: 3.4 MiB of 2.0 GiB changed, 1.1 MiB on the wire, 0.8 s; point 12 at 2026-01-31T…" */
static void report(const struct client_job *job)
{
	char bytes[FORMAT_BYTES], disk[FORMAT_BYTES], wire[FORMAT_BYTES], time[FORMAT_BYTES],
		at[FORMAT_BYTES];

	if (job->passes > 1)
		printf("passes %" PRIu64 " to %" PRIu64, job->pass - job->passes + 1, job->pass);
	else
		printf("pass %" PRIu64, job->pass);
	printf(": %s of %s %s, %s on the wire, %s", format_bytes(job->total_bytes, bytes),
	       format_bytes(job->disk_bytes, disk), job->type == 105 ? "changed" : "sent",
	       format_bytes(job->wire_bytes, wire), format_seconds(job->elapsed_us / 1e6, time));
	if (job->point_time_us)
		printf("; point %" PRIu64 " at %s", job->pass, format_time_us(job->point_time_us, at));
	printf("\n");
}

/* Waits for the job, or only says that it was started; the end of the program. */
static int follow(const struct cli_args *args, const char *path, struct err *e)
{
	struct client_job job = { 0 };
	char when[FORMAT_BYTES];
	int rc;

	if (args->no_wait || args->at) {
		rc = client_job(path, &job, e);
		if (!rc && !args->json && job.state == CLIENT_JOB_NEW)
			printf("job %u begins at %s: see `vmreplica jobs`\n", client_number(path),
			       format_time_us(job.scheduled_us, when));
		else if (!rc && !args->json)
			printf("job %u was started: see `vmreplica jobs`\n", client_number(path));
		return result_end(args->json, rc, e, &job);
	}
	rc = wait_for_job(path, !args->json, &job, e);
	if (!rc && !args->json)
		report(&job);
	return result_end(args->json, rc, e, &job);
}

/* --- start-replication ------------------------------------------------------------- */

static int type_number(const char *type)
{
	static const char *const names[] = { "network", "export", "seeded" };
	unsigned int i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (!type || !strcmp(type, names[i]))
			return i + 1;
	}
	return -EINVAL;
}

static int start(const struct cli_args *args, char path[CLIENT_PATH_BYTES], struct err *e)
{
	char *dir = args->dir ? realpath(args->dir, NULL) : NULL;
	int type = type_number(args->type), rc;
	sd_bus_message *call = NULL;

	if (type < 0)
		rc = err_set(e, type, "there is no type '%.60s': it is network, export or seeded", args->type);
	else if ((type == TYPE_EXPORT) != !!args->dir)
		rc = err_set(e, -EINVAL, "--type export and --export-to go together: see `vmreplica start-replication --help`");
	else if (args->dir && !dir)
		rc = err_sys(e, -errno, "cannot find the directory %.200s", args->dir);
	else
		rc = client_call("StartReplication", &call, e);
	if (!rc)
		rc = client_append(call, e, "sqss", args->vm, type, dir ? dir : "",
				   args->at ? args->at : "");
	free(dir);
	return rc ? rc : turn_send(call, args->vm, !args->json, path, e);
}

int cli_start(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "type", CLI_KEY_TYPE, "TYPE", 0,
		  "How the first copy travels: network (the default), seeded, where the replica has something to compare with, or export, on a medium", 0 },
		{ "export-to", CLI_KEY_DIR, "DIR", 0,
		  "With --type export: the directory in which the VM gets one of its own", 0 },
		{ "at", CLI_KEY_AT, "TIME", 0,
		  "Begin then, up to 7 days ahead: 2026-01-31T18:30 (local), 2026-01-31T18:30Z (UTC)", 0 },
		{ "no-wait", CLI_KEY_NO_WAIT, NULL, 0, "Return once it has begun", 0 },
		CLI_OPTION_JSON,
		{ 0 }
	};
	static const struct argp argp = {
		options, cli_parse_arg, "VM",
		"Send the whole of a VM's disks, then what changed meanwhile, until the first point is on the replica; from then on, follow the changes. Also begins anew after tracking was interrupted. With --at it returns at once; the same command with another time moves it, one without begins now.\v"
		"Examples:\n"
		"  vmreplica start-replication web1\n"
		"  vmreplica start-replication web1 --type export --export-to /mnt/medium\n"
		"  vmreplica start-replication web1 --no-wait && vmreplica status --watch\n"
		"  vmreplica start-replication web1 --at \"$(date -d 'tomorrow 01:00' +%FT%T)\"\n",
		NULL, NULL, NULL
	};
	char path[CLIENT_PATH_BYTES];
	struct cli_args args = { 0 };
	struct err e = { 0 };
	int rc = cli_parse_args(&argp, argc, argv, true, &args, &e);

	if (!rc)
		rc = start(&args, path, &e);
	return rc ? result_end(args.json, rc, &e, NULL) : follow(&args, path, &e);
}

/* --- replicate ------------------------------------------------------------------------ */

int cli_replicate(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "dry-run", CLI_KEY_DRY_RUN, NULL, 0, "Send nothing; say how much it would be", 0 },
		{ "no-wait", CLI_KEY_NO_WAIT, NULL, 0, "Return once it has begun", 0 },
		CLI_OPTION_JSON,
		{ 0 }
	};
	static const struct argp argp = {
		options, cli_parse_arg, "VM",
		"Make a point at once: send what changed, and return when the replica has it on stable storage.\v"
		"Examples:\n"
		"  vmreplica replicate web1\n"
		"  vmreplica replicate web1 --dry-run\n",
		NULL, NULL, NULL
	};
	char path[CLIENT_PATH_BYTES];
	struct cli_args args = { 0 };
	struct err e = { 0 };
	int rc = cli_parse_args(&argp, argc, argv, true, &args, &e);

	if (!rc && args.dry_run)
		return dry_run(args.vm, args.json, &e) ? cli_fail(&e) : 0;
	if (!rc)
		rc = turn_call("Replicate", args.vm, !args.json, path, &e);
	return rc ? result_end(args.json, rc, &e, NULL) : follow(&args, path, &e);
}
