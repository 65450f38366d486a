// SPDX-License-Identifier: GPL-2.0-or-later
/* suspend, resume, cancel */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "client.h"
#include "result.h"
#include "wait.h"

/* as RequestReplicationStateChange takes them */
enum { STATE_REPLICATING = 3, STATE_SUSPENDED = 7 };

static int request(const char *vm, uint16_t state, struct err *e)
{
	sd_bus_message *call;
	int rc = client_call("RequestReplicationStateChange", &call, e);

	if (!rc)
		rc = client_append(call, e, "sq", vm, (int)state);
	return rc ? rc : client_send(call, NULL, e);
}

/* A pass under way takes a moment to be given up. */
static int wait_until_idle(const char *vm, struct err *e)
{
	const struct client_relationship *r;
	struct client_snapshot snapshot;
	bool idle = false;
	int rc = 0;

	while (!rc && !idle) {
		rc = client_snapshot(&snapshot, e);
		if (rc)
			return rc;
		r = client_find(&snapshot, vm, CLIENT_PRIMARY);
		idle = !r || !strcmp(r->job, "/");
		client_snapshot_free(&snapshot);
		if (!idle)
			rc = wait_a_moment("the pass under way is still being ended", e);
	}
	return rc;
}

int cli_suspend(int argc, char **argv)
{
	static const struct argp_option options[] = { CLI_OPTION_JSON, { 0 } };
	static const struct argp argp = {
		options, cli_parse_arg, "VM",
		"Send nothing of a VM until it is resumed. A pass under way is given up. Changes are tracked meanwhile.\v"
		"Example:\n"
		"  vmreplica suspend web1\n",
		NULL, NULL, NULL
	};
	struct cli_args args = { 0 };
	struct err e = { 0 };
	int rc = cli_parse_args(&argp, argc, argv, true, &args, &e);

	if (!rc)
		rc = request(args.vm, STATE_SUSPENDED, &e);
	if (!rc)
		rc = wait_until_idle(args.vm, &e);
	if (!rc && !args.json)
		printf("%s: suspended; changes are tracked\n", args.vm);
	return result_end(args.json, rc, &e, NULL);
}

int cli_resume(int argc, char **argv)
{
	static const struct argp_option options[] = { CLI_OPTION_JSON, { 0 } };
	static const struct argp argp = {
		options, cli_parse_arg, "VM",
		"Go on with a suspended replication: what changed meanwhile is sent at once.\v"
		"Example:\n"
		"  vmreplica resume web1\n",
		NULL, NULL, NULL
	};
	struct cli_args args = { 0 };
	struct err e = { 0 };
	int rc = cli_parse_args(&argp, argc, argv, true, &args, &e);

	if (!rc)
		rc = request(args.vm, STATE_REPLICATING, &e);
	if (!rc && !args.json)
		printf("%s: resumed\n", args.vm);
	return result_end(args.json, rc, &e, NULL);
}

/* --- cancel ------------------------------------------------------------------------- */

static int cancel(const char *path, struct client_job *job, struct err *e)
{
	struct err ended = { 0 };
	sd_bus_message *call;
	int rc = client_call("CancelJob", &call, e);

	if (rc)
		return rc;
	rc = sd_bus_message_append(call, "o", path);
	if (rc < 0) {
		sd_bus_message_unref(call);
		return err_set(e, -EINVAL, "'%.60s' is not a job: take its number from `vmreplica jobs`", path);
	}
	rc = client_send(call, NULL, e);
	if (rc)
		return rc;
	rc = wait_for_job(path, false, job, &ended);
	if (!rc)
		return err_set(e, -EALREADY, "job %u completed before it could be cancelled", client_number(path));
	if (rc == -EINTR || job->state != CLIENT_JOB_TERMINATED)
		return err_set(e, rc, "%s", ended.text);
	return 0;
}

int cli_cancel(int argc, char **argv)
{
	static const struct argp_option options[] = { CLI_OPTION_JSON, { 0 } };
	static const struct argp argp = {
		options, cli_parse_arg, "JOB",
		"Cancel a job. Nothing is lost: what it had not sent is sent by the next one.\v"
		"Example:\n"
		"  vmreplica cancel 12    (its number in `vmreplica jobs`)\n",
		NULL, NULL, NULL
	};
	struct cli_args args = { 0 };
	char path[CLIENT_PATH_BYTES] = "";
	struct client_job job = { 0 };
	struct err e = { 0 };
	int rc = cli_parse_args(&argp, argc, argv, true, &args, &e);

	if (!rc) {
		snprintf(path, sizeof(path), "%s%.40s", args.vm[0] == '/' ? "" : "/org/vmreplica/Job/", args.vm);
		rc = cancel(path, &job, &e);
	}
	if (!rc && !args.json)
		printf("job %u was cancelled\n", client_number(path));
	return result_end(args.json, rc, &e, &job);
}
