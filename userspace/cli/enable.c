// SPDX-License-Identifier: GPL-2.0-or-later
/* enable, reverse, modify, disable */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../common/format.h"
#include "cli.h"
#include "client.h"
#include "options.h"
#include "result.h"
#include "wait.h"

#define OPTION_TO { "to", OPTIONS_KEY_TO, "HOST[:PORT]", 0, "The replica host (port 7766)", 0 }
#define OPTION_NO_COMPRESS \
	{ "no-compress", OPTIONS_KEY_NO_COMPRESS, NULL, 0, "Never compress, not even where it pays", 0 }
#define OPTION_RATE \
	{ "rate", OPTIONS_KEY_RATE, "RATE", 0, "At most so many bytes a second: 500K, 20M, 1G, or none", 0 }

#define OPTION_AUTO_RESYNC \
	{ "auto-resync", OPTIONS_KEY_AUTO_RESYNC, "WHEN", 0, \
	  "After tracking was interrupted, resynchronize by itself: off, on (18:30-06:00), or HH:MM-HH:MM", 0 }

#define OPTION_HISTORY \
	{ "history", OPTIONS_KEY_HISTORY, "POINTS[@TIME]", 0, \
	  "Points to keep below the newest: one of each hour (24), of each 30 minutes (48@30m), of each pass (24@pass)", 0 }

/* --- enable ------------------------------------------------------------------------ */

static const struct argp_option create_options[] = {
	{ "disk", OPTIONS_KEY_DISK, "DEVICE", 0, "A disk of the VM; one option for each", 0 },
	OPTION_TO,
	{ "interval", OPTIONS_KEY_INTERVAL, "SECONDS", 0, "Time between passes, 1 to 86400 (300)", 0 },
	OPTION_NO_COMPRESS,
	OPTION_RATE,
	OPTION_AUTO_RESYNC,
	OPTION_HISTORY,
	CLI_OPTION_JSON,
	{ 0 }
};

static void tell_untracked(const struct client_relationship *r)
{
	uint64_t bytes = 0;
	char size[FORMAT_BYTES];
	unsigned int i;

	for (i = 0; i < r->disk_count; i++)
		bytes += r->disks[i].size_bytes;
	printf("note: %s\n", r->tracking_reason);
	printf("note: until %s can be tracked, each pass reads all of its disks, %s on each side, and sends what differs; a point is of one instant only if nothing wrote meanwhile\n",
	       r->vm, format_bytes(bytes, size));
}

static int tell_enabled(const char *vm, struct err *e)
{
	const struct client_relationship *r;
	struct client_snapshot snapshot;
	char size[FORMAT_BYTES];
	unsigned int i;
	int rc = client_snapshot(&snapshot, e);

	if (rc)
		return rc;
	r = client_find(&snapshot, vm, CLIENT_PRIMARY);
	for (i = 0; r && i < r->disk_count; i++)
		printf("%s: %s, %s, %s\n", r->vm, r->disks[i].device,
		       format_bytes(r->disks[i].size_bytes, size),
		       client_compares(r) ? "is compared in each pass" : "is tracked");
	if (r && client_compares(r))
		tell_untracked(r);
	if (r)
		printf("%s will be replicated to %s:%u every %u s; begin with `vmreplica start-replication %s`\n",
		       r->vm, r->host, r->port, r->interval_s, r->vm);
	client_snapshot_free(&snapshot);
	return 0;
}

static int parse_create(const struct argp *argp, int argc, char **argv, struct options *o,
			struct err *e)
{
	const char *missing = NULL;
	int rc = cli_parse(argp, argc, argv, o, e);

	if (rc)
		return rc;
	if (!o->vm)
		missing = "VM";
	else if (!o->disk_count)
		missing = "--disk";
	else if (!o->host[0])
		missing = "--to";
	if (missing)
		return err_set(e, -EINVAL, "%s is missing: see `vmreplica %s --help`", missing, argv[0]);
	o->compress = !o->no_compress;
	return 0;
}

/* Makes the relationship; the result is in @job. */
static int create(struct options *o, const char *method, struct client_job *job, struct err *e)
{
	char path[CLIENT_PATH_BYTES];
	int rc = options_send(o, method, path, e);

	return rc ? rc : wait_for_job(path, false, job, e);
}

int cli_enable(int argc, char **argv)
{
	static const struct argp argp = {
		create_options, options_parse, "VM",
		"Make a replication relationship: look whether the replica answers, and track the disks from now on. Nothing is sent yet.\v"
		"Examples:\n"
		"  vmreplica enable web1 --disk /dev/vg0/web1 --to backup.example.org\n"
		"  vmreplica enable db1 --disk /dev/nvme0n1 --disk /dev/nvme1n1 --to 192.0.2.7:7000 --interval 30\n",
		NULL, NULL, NULL
	};
	struct client_job job = { 0 };
	struct options o = { 0 };
	struct err e = { 0 };
	int rc = parse_create(&argp, argc, argv, &o, &e);

	if (!rc)
		rc = create(&o, "CreateReplicationRelationship", &job, &e);
	options_free(&o);
	if (!rc && !o.json)
		rc = tell_enabled(o.vm, &e);
	return result_end(o.json, rc, &e, &job);
}

/* --- reverse ------------------------------------------------------------------------- */

/* Its first copy has begun with the relationship, and may have ended already: path "/". */
static int find_first_copy(const char *vm, char path[CLIENT_PATH_BYTES], struct err *e)
{
	const struct client_relationship *r;
	struct client_snapshot snapshot;
	int rc = client_snapshot(&snapshot, e);

	if (rc)
		return rc;
	r = client_find(&snapshot, vm, CLIENT_PRIMARY);
	if (!r)
		rc = err_set(e, -ENOENT, "the relationship of %s is gone again", vm);
	else if (!strcmp(r->job, "/") && !r->initial_complete)
		rc = err_set(e, -EREMOTEIO, "%s", r->reason);
	else
		snprintf(path, CLIENT_PATH_BYTES, "%.63s", r->job);
	client_snapshot_free(&snapshot);
	return rc;
}

int cli_reverse(int argc, char **argv)
{
	static const struct argp argp = {
		create_options, options_parse, "VM",
		"Where a machine was failed over to, for good: replicate it back to its old primary, from the devices that it runs from now. What that has is compared with, and only what differs is sent.\v"
		"Example:\n"
		"  vmreplica reverse web1 --disk /dev/nbd0 --to alpha\n",
		NULL, NULL, NULL
	};
	char path[CLIENT_PATH_BYTES];
	struct client_job job = { 0 };
	struct options o = { 0 };
	struct err e = { 0 };
	int rc = parse_create(&argp, argc, argv, &o, &e);

	if (!rc)
		rc = create(&o, "ReverseReplicationRelationship", &job, &e);
	options_free(&o);
	if (!rc)
		rc = find_first_copy(o.vm, path, &e);
	if (!rc && strcmp(path, "/"))
		rc = wait_for_job(path, !o.json, &job, &e);
	if (!rc && !o.json)
		printf("%s is replicated to %s\n", o.vm, o.host);
	return result_end(o.json, rc, &e, &job);
}

/* --- modify -------------------------------------------------------------------------- */

int cli_modify(int argc, char **argv)
{
	static const struct argp_option options[] = {
		OPTION_TO,
		{ "interval", OPTIONS_KEY_INTERVAL, "SECONDS", 0, "Time between passes, 1 to 86400", 0 },
		{ "compress", OPTIONS_KEY_COMPRESS, NULL, 0, "Compress where it pays", 0 },
		OPTION_NO_COMPRESS,
		OPTION_RATE,
		OPTION_AUTO_RESYNC,
		OPTION_HISTORY,
		CLI_OPTION_JSON,
		{ 0 }
	};
	static const struct argp argp = {
		options, options_parse, "VM",
		"Change settings of a relationship; what is not named stays. All of them hold from now on, also for a pass under way, but for compression, which is the next one's.\v"
		"Examples:\n"
		"  vmreplica modify web1 --interval 30\n"
		"  vmreplica modify web1 --rate 20M\n",
		NULL, NULL, NULL
	};
	struct options o = { 0 };
	struct err e = { 0 };
	int rc = cli_parse(&argp, argc, argv, &o, &e);

	if (!rc && !o.vm)
		rc = err_set(&e, -EINVAL, "VM is missing: see `vmreplica modify --help`");
	if (!rc && !o.host[0] && !o.interval_s && !o.compress && !o.no_compress && !o.rate_given &&
	    !o.auto_given && !o.history_given)
		rc = err_set(&e, -EINVAL, "nothing is to be changed: see `vmreplica modify --help`");
	if (!rc)
		rc = options_send(&o, "ModifyReplicationSettings", NULL, &e);
	if (!rc && !o.json)
		printf("%s: changed\n", o.vm);
	return result_end(o.json, rc, &e, NULL);
}

/* --- disable ------------------------------------------------------------------------- */

static int disable(const struct cli_args *args, struct client_job *job, struct err *e)
{
	char path[CLIENT_PATH_BYTES];
	sd_bus_message *call;
	int rc = client_call("RemoveReplicationRelationship", &call, e);

	if (!rc)
		rc = client_append(call, e, "sb", args->vm, (int)args->delete_points);
	if (!rc)
		rc = client_send(call, path, e);
	return rc ? rc : wait_for_job(path, false, job, e);
}

int cli_disable(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "delete-points", CLI_KEY_DELETE_POINTS, NULL, 0,
		  "On the replica host: delete the VM's replica with all its points", 0 },
		CLI_OPTION_JSON,
		{ 0 }
	};
	static const struct argp argp = {
		options, cli_parse_arg, "VM",
		"End a VM's replication. On its primary: no more passes and no more tracking; the replica keeps its points.\v"
		"Examples:\n"
		"  vmreplica disable web1                    (on the primary)\n"
		"  vmreplica disable web1 --delete-points    (on the replica)\n",
		NULL, NULL, NULL
	};
	struct cli_args args = { 0 };
	struct client_job job = { 0 };
	struct err e = { 0 };
	int rc = cli_parse_args(&argp, argc, argv, true, &args, &e);

	if (!rc)
		rc = disable(&args, &job, &e);
	if (!rc && !args.json) {
		printf("%s: removed%s\n", args.vm, args.delete_points ? ", with its points on this host" : "");
		if (job.error[0])	/* a remark */
			printf("note: %s\n", job.error);
	}
	return result_end(args.json, rc, &e, &job);
}
