// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "../common/format.h"
#include "cli.h"
#include "client.h"
#include "json.h"
#include "names.h"
#include "result.h"

enum kind { COUNT, BYTES, MILLISECONDS, TIME };

/* The service's keys, and how they are said. */
static const struct line {
	const char *key, *json, *text;
	enum kind kind;
} lines[] = {
	{ "StartStatisticTime", "since", "since", TIME },
	{ "EndStatisticTime", "until", NULL, TIME },
	{ "LastReplicationTime", "last_replication_time", "newest point", TIME },
	{ "ReplicationSuccessCount", "passes", "passes", COUNT },
	{ "ReplicationSize", "average_bytes", "average size", BYTES },
	{ "MaxReplicationSize", "max_bytes", "largest", BYTES },
	{ "ReplicationLatency", "average_milliseconds", "average time", MILLISECONDS },
	{ "MaxReplicationLatency", "max_milliseconds", "longest", MILLISECONDS },
	{ "ReplicationMissCount", "missed_cycles", "cycles missed", COUNT },
	{ "ReplicationFailureCount", "failures", "passes failed", COUNT },
	{ "NetworkFailureCount", "network_failures", "of the network", COUNT },
	{ "PendingReplicationSize", "pending_bytes", "to be sent", BYTES },
};

static void print_line(const struct line *line, uint64_t value)
{
	char text[FORMAT_BYTES];

	switch (line->kind) {
	case COUNT:
		snprintf(text, sizeof(text), "%" PRIu64, value);
		break;
	case BYTES:
		if (value == CLIENT_UNKNOWN_BYTES)
			strcpy(text, "not known");
		else
			format_bytes(value, text);
		break;
	case MILLISECONDS:
		format_seconds(value / 1e3, text);
		break;
	case TIME:
		if (value)
			format_time_us(value, text);
		else
			strcpy(text, "-");
		break;
	}
	printf("  %-15s %s\n", line->text, text);
}

static void put_value(struct json *json, const char *key, uint64_t value)
{
	unsigned int i;

	for (i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		if (strcmp(lines[i].key, key))
			continue;
		if (json && lines[i].kind == TIME)
			json_time(json, lines[i].json, value);
		else if (json && lines[i].kind == BYTES)
			json_bytes(json, lines[i].json, value);
		else if (json)
			json_number(json, lines[i].json, value);
		else if (lines[i].text)
			print_line(&lines[i], value);
	}
}

/* The first dictionary; there is one. */
static int read_values(sd_bus_message *m, struct json *json)
{
	const char *key, *type;
	uint64_t value;
	uint16_t health;
	int rc = sd_bus_message_enter_container(m, 'a', "{sv}");

	while (rc > 0 && (rc = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
		rc = sd_bus_message_read(m, "s", &key);
		if (rc >= 0)
			rc = sd_bus_message_peek_type(m, NULL, &type);
		if (rc >= 0 && !strcmp(type, "t")) {
			rc = sd_bus_message_read(m, "v", "t", &value);
			put_value(json, key, value);
		} else if (rc >= 0 && !strcmp(key, "ReplicationHealth")) {
			rc = sd_bus_message_read(m, "v", "q", &health);
			if (json)
				json_text(json, "health", names_health(health));
			else
				printf("  %-15s %s\n", "health", names_health(health));
		} else if (rc >= 0) {
			rc = sd_bus_message_skip(m, "v");
		}
		if (rc >= 0)
			rc = sd_bus_message_exit_container(m);
	}
	return rc < 0 ? rc : sd_bus_message_exit_container(m);
}

static int read_issues(sd_bus_message *m, struct json *json)
{
	const char *text;
	uint16_t health;
	int rc = sd_bus_message_enter_container(m, 'a', "(qs)");

	if (json)
		json_open(json, "health_issues", '[');
	while (rc >= 0 && (rc = sd_bus_message_read(m, "(qs)", &health, &text)) > 0) {
		if (json)
			json_text(json, NULL, text);
		else
			printf("  %-15s %s\n", "why", text);
	}
	if (json)
		json_close(json, ']');
	return rc;
}

static int print_reply(sd_bus_message *reply, const struct cli_args *args)
{
	struct json out = { stdout, true }, *json = args->json ? &out : NULL;
	int rc = sd_bus_message_skip(reply, "o");

	if (rc >= 0)
		rc = sd_bus_message_enter_container(reply, 'a', "a{sv}");
	if (json) {
		json_open(json, NULL, '{');
		json_text(json, "vm", args->vm);
	} else {
		printf("%s\n", args->vm);
	}
	if (rc >= 0)
		rc = read_values(reply, json);
	if (rc >= 0)
		rc = sd_bus_message_exit_container(reply);
	if (rc >= 0)
		rc = read_issues(reply, json);
	if (json) {
		json_close(json, '}');
		putchar('\n');
	}
	return rc;
}

static int get(const struct cli_args *args, struct err *e)
{
	sd_bus_message *call, *reply;
	int rc = client_call("GetReplicationStatistics", &call, e);

	if (!rc)
		rc = client_append(call, e, "s", args->vm);
	if (!rc)
		rc = client_query(call, &reply, e);
	if (rc)
		return rc;
	rc = client_accepted(reply, "oaa{sv}a(qs)", e);
	if (!rc && print_reply(reply, args) < 0)
		rc = err_set(e, -EBADMSG, "the service's answer is not understood");
	sd_bus_message_unref(reply);
	return rc;
}

static int reset(const struct cli_args *args)
{
	sd_bus_message *call;
	struct err e = { 0 };
	int rc = client_call("ResetReplicationStatistics", &call, &e);

	if (!rc)
		rc = client_append(call, &e, "s", args->vm);
	if (!rc)
		rc = client_send(call, NULL, &e);
	if (!rc && !args->json)
		printf("%s: the statistics begin anew\n", args->vm);
	return result_end(args->json, rc, &e, NULL);
}

int cli_statistics(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "reset", CLI_KEY_RESET, NULL, 0, "Begin them anew; changes what health is judged by", 0 },
		CLI_OPTION_JSON,
		{ 0 }
	};
	static const struct argp argp = {
		options, cli_parse_arg, "VM",
		"Show how passes went since the statistics began, by default half a day at most, and what health is judged by.\v"
		"Examples:\n"
		"  vmreplica statistics web1\n"
		"  vmreplica statistics web1 --reset\n",
		NULL, NULL, NULL
	};
	struct cli_args args = { 0 };
	struct err e = { 0 };
	int rc = cli_parse_args(&argp, argc, argv, true, &args, &e);

	if (!rc && args.reset)
		return reset(&args);
	if (!rc)
		rc = get(&args, &e);
	return rc ? cli_fail(&e) : 0;
}
