// SPDX-License-Identifier: GPL-2.0-or-later
/* start-replication, replicate */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "../common/format.h"
#include "cli.h"
#include "client.h"
#include "wait.h"

#define MAX_TURNS 10	/* of a pass by the schedule that was first */

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
	       format_bytes(job->disk_bytes, disk), job->type == 94 ? "sent" : "changed",
	       format_bytes(job->wire_bytes, wire), format_seconds(job->elapsed_us / 1e6, time));
	if (job->point_time_us)
		printf("; point %" PRIu64 " at %s", job->pass, format_time_us(job->point_time_us, at));
	printf("\n");
}

/* Waits for the job, or only says that it was started. */
static int follow(const char *path, bool no_wait, struct err *e)
{
	struct client_job job;
	int rc;

	if (no_wait) {
		printf("job %u was started: see `vmreplica jobs`\n", client_number(path));
		return 0;
	}
	rc = wait_for_job(path, true, &job, e);
	if (!rc)
		report(&job);
	return rc;
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

static int start(const struct cli_args *args, struct err *e)
{
	int type = type_number(args->type), rc;
	char path[CLIENT_PATH_BYTES];
	sd_bus_message *call;

	if (type < 0)
		return err_set(e, type, "there is no type '%.60s': it is network, export or seeded", args->type);
	rc = client_call("StartReplication", &call, e);
	if (rc)
		return rc;
	rc = sd_bus_message_append(call, "sqss", args->vm, (uint16_t)type, "", "");
	if (rc < 0) {
		sd_bus_message_unref(call);
		return err_sys(e, rc, "cannot ask the service");
	}
	rc = client_send(call, path, e);
	return rc ? rc : follow(path, args->no_wait, e);
}

int cli_start(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "type", CLI_KEY_TYPE, "TYPE", 0, "How the first copy travels: network (the default)", 0 },
		{ "no-wait", CLI_KEY_NO_WAIT, NULL, 0, "Return once it has begun", 0 },
		{ 0 }
	};
	static const struct argp argp = {
		options, cli_parse_arg, "VM",
		"Send the whole of a VM's disks, then what changed meanwhile, until the first point is on the replica; from then on, follow the changes. Also begins anew after tracking was interrupted.\v"
		"Examples:\n"
		"  vmreplica start-replication web1\n"
		"  vmreplica start-replication web1 --no-wait && vmreplica status --watch\n",
		NULL, NULL, NULL
	};
	struct cli_args args = { 0 };
	struct err e = { 0 };
	int rc = cli_parse_args(&argp, argc, argv, true, &args, &e);

	if (!rc)
		rc = start(&args, &e);
	return rc ? cli_fail(&e) : 0;
}

/* --- replicate ------------------------------------------------------------------------ */

/* Waits until no job works on @vm. */
static int wait_for_turn(const char *vm, struct err *e)
{
	const struct client_relationship *r;
	struct client_snapshot snapshot;
	char path[CLIENT_PATH_BYTES] = "";
	struct client_job job;
	struct err other = { 0 };
	int rc = client_snapshot(&snapshot, e);

	if (rc)
		return rc;
	r = client_find(&snapshot, vm, CLIENT_PRIMARY);
	if (r && strcmp(r->job, "/"))
		snprintf(path, sizeof(path), "%.63s", r->job);
	client_snapshot_free(&snapshot);
	if (!path[0])
		return 0;
	/* How the other one ended is not ours to judge. */
	return wait_for_job(path, true, &job, &other) == -EINTR ? err_set(e, -EINTR, "%s", other.text) : 0;
}

static int replicate_once(const char *vm, char path[CLIENT_PATH_BYTES], struct err *e)
{
	sd_bus_message *call;
	int rc = client_call("Replicate", &call, e);

	if (rc)
		return rc;
	rc = sd_bus_message_append(call, "s", vm);
	if (rc < 0) {
		sd_bus_message_unref(call);
		return err_sys(e, rc, "cannot ask the service");
	}
	return client_send(call, path, e);
}

/* A pass that runs already was cut before we were asked, so it is not enough. */
static int replicate(const struct cli_args *args, struct err *e)
{
	char path[CLIENT_PATH_BYTES];
	unsigned int turn;
	int rc = -EBUSY;

	for (turn = 0; rc == -EBUSY && turn < MAX_TURNS; turn++) {
		rc = turn ? wait_for_turn(args->vm, e) : 0;
		if (!rc)
			rc = replicate_once(args->vm, path, e);
	}
	return rc ? rc : follow(path, args->no_wait, e);
}

int cli_replicate(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "no-wait", CLI_KEY_NO_WAIT, NULL, 0, "Return once it has begun", 0 },
		{ 0 }
	};
	static const struct argp argp = {
		options, cli_parse_arg, "VM",
		"Make a point at once: send what changed, and return when the replica has it on stable storage.\v"
		"Example:\n"
		"  vmreplica replicate web1\n",
		NULL, NULL, NULL
	};
	struct cli_args args = { 0 };
	struct err e = { 0 };
	int rc = cli_parse_args(&argp, argc, argv, true, &args, &e);

	if (!rc)
		rc = replicate(&args, &e);
	return rc ? cli_fail(&e) : 0;
}
