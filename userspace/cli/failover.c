// SPDX-License-Identifier: GPL-2.0-or-later
/* failover, revert, commit, test-failover: on the replica's host, but for what is planned */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../common/format.h"
#include "cli.h"
#include "client.h"
#include "disks.h"
#include "json.h"
#include "turn.h"
#include "wait.h"

/* --- the files ------------------------------------------------------------------------- */

/* What of the list is written, and how; @json null: for people. */
struct writer {
	struct json *json;
	const char *only;	/* name; null: all */
	unsigned int count;
};

static void write_head(const struct writer *w, const char *name, const char *point,
		       uint64_t time_us)
{
	char time[FORMAT_BYTES];

	if (!w->json) {
		printf("%s%s  point %s, since %s\n", name[0] ? "test " : "failed over", name, point,
		       format_time_us(time_us, time));
		return;
	}
	json_open(w->json, NULL, '{');
	json_text(w->json, "name", name[0] ? name : NULL);
	json_text(w->json, "kind", name[0] ? "test" : "failover");
	json_text(w->json, "point", point);
	json_time(w->json, "time", time_us);
}

static int read_system(sd_bus_message *m, struct writer *w)
{
	const char *name, *point;
	uint64_t time_us;
	bool wanted;
	int rc = sd_bus_message_enter_container(m, 'r', "stsa(ssss)");

	if (rc <= 0)
		return rc;
	rc = sd_bus_message_read(m, "sts", &name, &time_us, &point);
	if (rc < 0)
		return rc;
	wanted = !w->only || !strcmp(w->only, name);
	w->count += wanted;
	if (wanted)
		write_head(w, name, point, time_us);
	rc = disks_read(m, w->json, wanted);
	if (wanted && w->json)
		json_close(w->json, '}');
	if (rc >= 0)
		rc = sd_bus_message_exit_container(m);
	return rc < 0 ? rc : 1;
}

static int write_all(sd_bus_message *reply, struct writer *w)
{
	int rc = sd_bus_message_enter_container(reply, 'a', "(stsa(ssss))");

	if (w->json) {
		json_open(w->json, NULL, '{');
		json_open(w->json, "systems", '[');
	}
	while (rc >= 0 && (rc = read_system(reply, w)) > 0)
		;
	if (w->json) {
		json_close(w->json, ']');
		json_close(w->json, '}');
		putchar('\n');
	}
	return rc;
}

/* @only: the name of one, "" the failover; null: all. */
static int list(const struct cli_args *args, const char *only, struct err *e)
{
	struct json json = { stdout, true };
	struct writer writer = { args->json ? &json : NULL, only, 0 };
	sd_bus_message *call, *reply;
	int rc = client_call("GetFailoverSystems", &call, e);

	if (!rc)
		rc = client_append(call, e, "s", args->vm);
	if (!rc)
		rc = client_query(call, &reply, e);
	if (rc)
		return rc;
	rc = client_accepted(reply, "a(stsa(ssss))", e);
	if (!rc && write_all(reply, &writer) < 0)
		rc = err_set(e, -EBADMSG, "the service's answer is not understood");
	if (!rc && !args->json && !writer.count)
		printf("%s is neither failed over to here nor under test\n", args->vm);
	sd_bus_message_unref(reply);
	return rc;
}

/* --- the commands ---------------------------------------------------------------------- */

/* Sends the call and waits for its job. */
static int run(sd_bus_message *call, struct err *e)
{
	char path[CLIENT_PATH_BYTES];
	struct client_job job;
	int rc = client_send(call, path, e);

	if (!rc)
		rc = wait_for_job(path, false, &job, e);
	if (!rc && job.error[0])	/* a remark */
		fprintf(stderr, "note: %s\n", job.error);
	return rc;
}

/* A method of which the VM is the only argument. */
static int call_for_vm(const char *method, const char *vm, struct err *e)
{
	sd_bus_message *call;
	int rc = client_call(method, &call, e);

	if (!rc)
		rc = client_append(call, e, "s", vm);
	return rc ? rc : run(call, e);
}

static int fail_over(const struct cli_args *args, struct err *e)
{
	sd_bus_message *call;
	int rc = client_call("InitiateFailover", &call, e);

	if (!rc)
		rc = client_append(call, e, "ss", args->vm, args->point);
	if (!rc)
		rc = run(call, e);
	return rc ? rc : list(args, "", e);
}

/* As RequestReplicationStateChange takes it. */
#define STATE_SYNCED 4

/* The primary's part of a failover without loss. */
static int prepare(const struct cli_args *args, struct err *e)
{
	uint16_t state = STATE_SYNCED;
	char path[CLIENT_PATH_BYTES];
	struct client_job job;
	sd_bus_message *call;
	int rc = client_call("RequestReplicationStateChange", &call, e);

	if (!rc)
		rc = client_append(call, e, "sq", args->vm, state);
	if (!rc)
		rc = turn_send(call, args->vm, false, path, e);
	if (!rc)
		rc = wait_for_job(path, false, &job, e);
	if (!rc)
		printf("%s: all of it is on the replica; run `vmreplica failover %s` there\n", args->vm,
		       args->vm);
	return rc;
}

int cli_failover(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "point", CLI_KEY_POINT, "ID", 0, "The point to run from, see `vmreplica points`", 0 },
		{ "newest", CLI_KEY_NEWEST, NULL, 0, "The newest point, which is the default", 0 },
		{ "planned", CLI_KEY_PLANNED, NULL, 0, "On the primary, with the machine stopped: send the last of it, so that the replica can fail over without loss", 0 },
		{ "list", CLI_KEY_LIST, NULL, 0, "Change nothing: show the disks of the machine and its tests", 0 },
		{ "json", CLI_KEY_JSON, NULL, 0, "For programs", 0 },
		{ 0 }
	};
	static const struct argp argp = {
		options, cli_parse_arg, "VM",
		"On the replica host: make disks that the machine can run from, on top of a point, and print their files. Passes of the primary are refused from then on. What is written can be thrown away with `vmreplica revert` or made final with `vmreplica commit`.\v"
		"Examples:\n"
		"  vmreplica failover web1\n"
		"  vmreplica failover web1 --planned    (on the primary)\n"
		"  vmreplica failover web1 --point 42 --json | jq -r '.systems[0].disks[0].file'\n",
		NULL, NULL, NULL
	};
	struct cli_args args = { .point = "" };
	struct err e = { 0 };
	int rc = cli_parse_args(&argp, argc, argv, true, &args, &e);

	if (!rc)
		rc = args.list ? list(&args, NULL, &e) :
		     args.planned ? prepare(&args, &e) : fail_over(&args, &e);
	return rc ? cli_fail(&e) : 0;
}

int cli_revert(int argc, char **argv)
{
	static const struct argp argp = {
		NULL, cli_parse_arg, "VM",
		"On the replica host: throw away what a machine wrote since it was failed over. It must be stopped. The primary's passes are taken again.\v"
		"Example:\n"
		"  vmreplica revert web1\n",
		NULL, NULL, NULL
	};
	struct cli_args args = { .point = "" };
	struct err e = { 0 };
	int rc = cli_parse_args(&argp, argc, argv, true, &args, &e);

	if (!rc)
		rc = call_for_vm("RevertFailover", args.vm, &e);
	if (rc)
		return cli_fail(&e);
	printf("%s: reverted; its primary's passes are taken again\n", args.vm);
	return 0;
}

int cli_commit(int argc, char **argv)
{
	static const struct argp argp = {
		NULL, cli_parse_arg, "VM",
		"On the replica host: make a failover final. Points newer than the one that it stands on are deleted, and the old primary is refused for good.\v"
		"Example:\n"
		"  vmreplica commit web1\n",
		NULL, NULL, NULL
	};
	struct cli_args args = { .point = "" };
	struct err e = { 0 };
	int rc = cli_parse_args(&argp, argc, argv, true, &args, &e);

	if (!rc)
		rc = call_for_vm("CommitFailover", args.vm, &e);
	if (rc)
		return cli_fail(&e);
	printf("%s: the failover is final\n", args.vm);
	return 0;
}

static int begin_test(const struct cli_args *args, struct err *e)
{
	const char *name = args->name ? args->name : "test";
	sd_bus_message *call;
	int rc = client_call("TestReplicaSystem", &call, e);

	if (!rc)
		rc = client_append(call, e, "sss", args->vm, args->point, name);
	if (!rc)
		rc = run(call, e);
	return rc ? rc : list(args, name, e);
}

static int end_test(const struct cli_args *args, struct err *e)
{
	sd_bus_message *call;
	int rc = client_call("EndTestReplicaSystem", &call, e);

	if (!rc)
		rc = client_append(call, e, "ss", args->vm, args->end);
	if (!rc)
		rc = run(call, e);
	if (!rc && !args->json)
		printf("%s: test %s has ended, and nothing of it is left\n", args->vm, args->end);
	return rc;
}

int cli_test_failover(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "point", CLI_KEY_POINT, "ID", 0, "The point to try (default: the newest), see `vmreplica points`", 0 },
		{ "name", CLI_KEY_NAME, "NAME", 0, "The test's name (default: test); there may be several", 0 },
		{ "end", CLI_KEY_END, "NAME", 0, "Throw that test away", 0 },
		{ "list", CLI_KEY_LIST, NULL, 0, "Change nothing: show what there is", 0 },
		{ "json", CLI_KEY_JSON, NULL, 0, "For programs", 0 },
		{ 0 }
	};
	static const struct argp argp = {
		options, cli_parse_arg, "VM",
		"On the replica host: make disks on top of a point that a machine can be tried out on, and print their files. Replication goes on meanwhile, and no point changes. The point stays for as long as the test does.\v"
		"Examples:\n"
		"  vmreplica test-failover web1 --name friday\n"
		"  vmreplica test-failover web1 --end friday\n",
		NULL, NULL, NULL
	};
	struct cli_args args = { .point = "" };
	struct err e = { 0 };
	int rc = cli_parse_args(&argp, argc, argv, true, &args, &e);

	if (!rc && args.list)
		rc = list(&args, NULL, &e);
	else if (!rc)
		rc = args.end ? end_test(&args, &e) : begin_test(&args, &e);
	return rc ? cli_fail(&e) : 0;
}
