// SPDX-License-Identifier: GPL-2.0-or-later
/* enable, disable */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../common/format.h"
#include "cli.h"
#include "client.h"
#include "wait.h"

#define MAX_DISKS 64

enum { KEY_DISK = 0x200, KEY_TO, KEY_INTERVAL, KEY_NO_COMPRESS };

struct settings {
	const char *vm;
	unsigned int disk_count;
	char *disks[MAX_DISKS];
	char host[256];		/* "": not given */
	uint16_t port;		/* 0: the service's default */
	uint32_t interval_s;	/* 0: the service's default */
	bool no_compress;
};

/* --- options --------------------------------------------------------------------- */

/* A whole decimal number, 1 to @max. */
static int parse_number(const char *text, unsigned long max, unsigned long *number)
{
	char *end;

	if (text[0] < '0' || text[0] > '9')
		return -EINVAL;
	errno = 0;
	*number = strtoul(text, &end, 10);
	return errno || *end || !*number || *number > max ? -EINVAL : 0;
}

/* "host", "host:port", "::1", "[::1]", "[::1]:port" */
static error_t parse_to(const char *arg, struct settings *s)
{
	const char *colon = strrchr(arg, ':'), *bracket = strrchr(arg, ']');
	bool has_port = colon && (bracket ? colon > bracket : strchr(arg, ':') == colon);
	size_t length = has_port ? (size_t)(colon - arg) : strlen(arg);
	unsigned long port;

	if (has_port) {
		if (parse_number(colon + 1, 65535, &port))
			return cli_usage("'%.60s' is not a port", colon + 1);
		s->port = port;
	}
	if (arg[0] == '[' && length >= 2 && arg[length - 1] == ']') {
		arg++;
		length -= 2;
	}
	if (!length || length >= sizeof(s->host))
		return cli_usage("the replica's host is empty or too long");
	memcpy(s->host, arg, length);
	s->host[length] = 0;
	return 0;
}

static error_t parse_disk(const char *arg, struct settings *s)
{
	if (s->disk_count == MAX_DISKS)
		return cli_usage("more than %d disks", MAX_DISKS);
	/*
	 * An absolute path is kept as it is: the name under /dev/disk/by-id is the one that lasts.
	 */
	s->disks[s->disk_count] = arg[0] == '/' ? strdup(arg) : realpath(arg, NULL);
	if (!s->disks[s->disk_count])
		return cli_usage("there is no disk '%.200s'", arg);
	s->disk_count++;
	return 0;
}

static error_t parse_setting(int key, char *arg, struct argp_state *state)
{
	struct settings *s = state->input;
	unsigned long number;

	switch (key) {
	case KEY_DISK:
		return parse_disk(arg, s);
	case KEY_TO:
		return parse_to(arg, s);
	case KEY_INTERVAL:
		if (parse_number(arg, 86400, &number))
			return cli_usage("the interval must be 1 to 86400 seconds, not '%.60s'", arg);
		s->interval_s = number;
		return 0;
	case KEY_NO_COMPRESS:
		s->no_compress = true;
		return 0;
	case ARGP_KEY_ARG:
		if (s->vm)
			return cli_usage("'%.60s' is one argument too many", arg);
		s->vm = arg;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static int parse_settings(int argc, char **argv, struct settings *s, struct err *e)
{
	static const struct argp_option options[] = {
		{ "disk", KEY_DISK, "DEVICE", 0, "A disk of the VM; one option for each", 0 },
		{ "to", KEY_TO, "HOST[:PORT]", 0, "The replica host (port 7766)", 0 },
		{ "interval", KEY_INTERVAL, "SECONDS", 0, "Time between passes, 1 to 86400 (300)", 0 },
		{ "no-compress", KEY_NO_COMPRESS, NULL, 0, "Never compress, not even where it pays", 0 },
		{ 0 }
	};
	static const struct argp argp = {
		options, parse_setting, "VM",
		"Make a replication relationship: look whether the replica answers, and track the disks from now on. Nothing is sent yet.\v"
		"Examples:\n"
		"  vmreplica enable web1 --disk /dev/vg0/web1 --to backup.example.org\n"
		"  vmreplica enable db1 --disk /dev/nvme0n1 --disk /dev/nvme1n1 --to 192.0.2.7:7000 --interval 30\n",
		NULL, NULL, NULL
	};
	int rc = cli_parse(&argp, argc, argv, s, e);

	if (rc)
		return rc;
	if (!s->vm)
		return err_set(e, -EINVAL, "VM is missing: see `vmreplica enable --help`");
	if (!s->disk_count)
		return err_set(e, -EINVAL, "--disk is missing: see `vmreplica enable --help`");
	if (!s->host[0])
		return err_set(e, -EINVAL, "--to is missing: see `vmreplica enable --help`");
	return 0;
}

/* --- enable ------------------------------------------------------------------------ */

static int append_disks(sd_bus_message *m, const struct settings *s)
{
	unsigned int i;
	int rc = sd_bus_message_open_container(m, 'e', "sv");

	if (rc >= 0)
		rc = sd_bus_message_append(m, "s", "IncludedDisks");
	if (rc >= 0)
		rc = sd_bus_message_open_container(m, 'v', "as");
	if (rc >= 0)
		rc = sd_bus_message_open_container(m, 'a', "s");
	for (i = 0; rc >= 0 && i < s->disk_count; i++)
		rc = sd_bus_message_append(m, "s", s->disks[i]);
	for (i = 0; rc >= 0 && i < 3; i++)
		rc = sd_bus_message_close_container(m);
	return rc;
}

static int append_settings(sd_bus_message *m, const struct settings *s)
{
	int rc = sd_bus_message_append(m, "s", s->vm);

	if (rc >= 0)
		rc = sd_bus_message_open_container(m, 'a', "{sv}");
	if (rc >= 0)
		rc = append_disks(m, s);
	if (rc >= 0)
		rc = sd_bus_message_append(m, "{sv}", "RecoveryConnectionPoint", "s", s->host);
	if (rc >= 0)
		rc = sd_bus_message_append(m, "{sv}", "RecoveryServerPortNumber", "q", s->port);
	if (rc >= 0 && s->interval_s)
		rc = sd_bus_message_append(m, "{sv}", "ReplicationInterval", "u", s->interval_s);
	if (rc >= 0)
		rc = sd_bus_message_append(m, "{sv}", "CompressionEnabled", "b", (int)!s->no_compress);
	return rc < 0 ? rc : sd_bus_message_close_container(m);
}

static int enable(const struct settings *s, struct err *e)
{
	char path[CLIENT_PATH_BYTES];
	struct client_job job;
	sd_bus_message *call;
	int rc = client_call("CreateReplicationRelationship", &call, e);

	if (rc)
		return rc;
	rc = append_settings(call, s);
	if (rc < 0) {
		sd_bus_message_unref(call);
		return err_sys(e, rc, "cannot ask the service");
	}
	rc = client_send(call, path, e);
	return rc ? rc : wait_for_job(path, false, &job, e);
}

int cli_enable(int argc, char **argv)
{
	const struct client_relationship *r;
	struct client_snapshot snapshot;
	struct settings s = { 0 };
	struct err e = { 0 };
	char size[FORMAT_BYTES];
	unsigned int i;
	int rc = parse_settings(argc, argv, &s, &e);

	if (!rc)
		rc = enable(&s, &e);
	for (i = 0; i < s.disk_count; i++)
		free(s.disks[i]);
	if (!rc)
		rc = client_snapshot(&snapshot, &e);
	if (rc)
		return cli_fail(&e);
	r = client_find(&snapshot, s.vm, CLIENT_PRIMARY);
	for (i = 0; r && i < r->disk_count; i++)
		printf("%s: %s, %s, is tracked\n", r->vm, r->disks[i].device,
		       format_bytes(r->disks[i].size_bytes, size));
	if (r)
		printf("%s will be replicated to %s:%u every %u s; begin with `vmreplica start-replication %s`\n",
		       r->vm, r->host, r->port, r->interval_s, r->vm);
	client_snapshot_free(&snapshot);
	return 0;
}

/* --- disable ------------------------------------------------------------------------- */

static int disable(const struct cli_args *args, struct client_job *job, struct err *e)
{
	char path[CLIENT_PATH_BYTES];
	sd_bus_message *call;
	int rc = client_call("RemoveReplicationRelationship", &call, e);

	if (rc)
		return rc;
	rc = sd_bus_message_append(call, "sb", args->vm, (int)args->delete_points);
	if (rc < 0) {
		sd_bus_message_unref(call);
		return err_sys(e, rc, "cannot ask the service");
	}
	rc = client_send(call, path, e);
	return rc ? rc : wait_for_job(path, false, job, e);
}

int cli_disable(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "delete-points", CLI_KEY_DELETE_POINTS, NULL, 0,
		  "On the replica host: delete the VM's replica with all its points", 0 },
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
	struct client_job job;
	struct err e = { 0 };
	int rc = cli_parse_args(&argp, argc, argv, true, &args, &e);

	if (!rc)
		rc = disable(&args, &job, &e);
	if (rc)
		return cli_fail(&e);
	printf("%s: removed%s\n", args.vm, args.delete_points ? ", with its points on this host" : "");
	if (job.error[0])	/* a remark */
		printf("note: %s\n", job.error);
	return 0;
}
