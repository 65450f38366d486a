// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <string.h>

#include "../common/format.h"
#include "cli.h"
#include "client.h"
#include "disks.h"
#include "json.h"

/* How a point is written; @json null: for people. */
struct writer {
	struct json *json;
	unsigned int count;
};

static const char *in_words(const char *consistency)
{
	if (!strcmp(consistency, "crash"))
		return "crash-consistent";
	if (!strcmp(consistency, "application"))
		return "application-consistent";
	return "not tracked: maybe written to while it was read, so not of one instant";
}

static int read_point(sd_bus_message *m, struct writer *w)
{
	const char *id, *consistency;
	char time[FORMAT_BYTES];
	uint64_t time_us;
	int rc = sd_bus_message_enter_container(m, 'r', "stsa(ssss)");

	if (rc <= 0)
		return rc;
	rc = sd_bus_message_read(m, "sts", &id, &time_us, &consistency);
	if (rc < 0)
		return rc;
	if (w->json) {
		json_open(w->json, NULL, '{');
		json_text(w->json, "id", id);
		json_time(w->json, "time", time_us);
		json_text(w->json, "consistency", consistency);
	} else {
		printf("%-5s %s  %s\n", id, format_time_us(time_us, time), in_words(consistency));
	}
	w->count++;
	rc = disks_read(m, w->json, true);
	if (w->json)
		json_close(w->json, '}');
	if (rc >= 0)
		rc = sd_bus_message_exit_container(m);
	return rc < 0 ? rc : 1;
}

static int read_points(sd_bus_message *m, struct writer *w)
{
	int rc = sd_bus_message_enter_container(m, 'a', "(stsa(ssss))");

	if (w->json) {
		json_open(w->json, NULL, '{');
		json_open(w->json, "points", '[');
	}
	while (rc >= 0 && (rc = read_point(m, w)) > 0)
		;
	if (w->json) {
		json_close(w->json, ']');
		json_close(w->json, '}');
		putchar('\n');
	}
	return rc;
}

static int points(const struct cli_args *args, struct err *e)
{
	struct json json = { stdout, true };
	struct writer writer = { args->json ? &json : NULL, 0 };
	sd_bus_message *call, *reply;
	int rc = client_call("GetRecoveryPoints", &call, e);

	if (!rc)
		rc = client_append(call, e, "s", args->vm);
	if (!rc)
		rc = client_query(call, &reply, e);
	if (rc)
		return rc;
	rc = client_accepted(reply, "a(stsa(ssss))", e);
	if (!rc && read_points(reply, &writer) < 0)
		rc = err_set(e, -EBADMSG, "the service's answer is not understood");
	if (!rc && !args->json && !writer.count)
		printf("there is no point of %s yet\n", args->vm);
	sd_bus_message_unref(reply);
	return rc;
}

int cli_points(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "json", CLI_KEY_JSON, NULL, 0, "For programs", 0 },
		{ 0 }
	};
	static const struct argp argp = {
		options, cli_parse_arg, "VM",
		"On the replica host: list a VM's points in time, oldest first, with the files that hold them. A file is read-only and stays right while it is listed; give it to qemu-img, or put an overlay on top.\v"
		"Examples:\n"
		"  vmreplica points web1\n"
		"  qemu-img convert -O raw \"$(vmreplica points web1 --json | jq -r '.points[-1].disks[0].file')\" web1.raw\n",
		NULL, NULL, NULL
	};
	struct cli_args args = { 0 };
	struct err e = { 0 };
	int rc = cli_parse_args(&argp, argc, argv, true, &args, &e);

	if (!rc)
		rc = points(&args, &e);
	return rc ? cli_fail(&e) : 0;
}
