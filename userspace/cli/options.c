// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "options.h"

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

error_t options_parse_to(const char *arg, char host[256], uint16_t *port)
{
	const char *colon = strrchr(arg, ':'), *bracket = strrchr(arg, ']');
	bool has_port = colon && (bracket ? colon > bracket : strchr(arg, ':') == colon);
	size_t length = has_port ? (size_t)(colon - arg) : strlen(arg);
	unsigned long number;

	if (has_port) {
		if (parse_number(colon + 1, 65535, &number))
			return cli_usage("'%.60s' is not a port", colon + 1);
		*port = number;
	}
	if (arg[0] == '[' && length >= 2 && arg[length - 1] == ']') {
		arg++;
		length -= 2;
	}
	if (!length || length >= 256)
		return cli_usage("the replica's host is empty or too long");
	memcpy(host, arg, length);
	host[length] = 0;
	return 0;
}

static error_t parse_disk(const char *arg, struct options *o)
{
	if (o->disk_count == OPTIONS_MAX_DISKS)
		return cli_usage("more than %d disks", OPTIONS_MAX_DISKS);
	/*
	 * An absolute path is kept as it is: the name under /dev/disk/by-id is the one that lasts.
	 */
	o->disks[o->disk_count] = arg[0] == '/' ? strdup(arg) : realpath(arg, NULL);
	if (!o->disks[o->disk_count])
		return cli_usage("there is no disk '%.200s'", arg);
	o->disk_count++;
	return 0;
}

/* "500K", "20M", "1G" or "none"; the service knows the bounds. */
static error_t parse_rate(const char *arg, struct options *o)
{
	static const char units[] = "KMG";
	unsigned long number = 0;
	const char *unit;
	char *end = NULL;

	o->rate_given = true;
	if (!strcmp(arg, "none"))
		return 0;
	errno = 0;
	if (arg[0] >= '1' && arg[0] <= '9')
		number = strtoul(arg, &end, 10);
	unit = number && *end ? strchr(units, *end) : NULL;
	if (!number || errno || number > UINT32_MAX || (*end && (!unit || end[1])))
		return cli_usage("the rate must be bytes a second, such as 500K, 20M or 1G, or none, not '%.60s'", arg);
	o->rate = (uint64_t)number << (unit ? 10 * (unit - units + 1) : 0);
	return 0;
}

/* "on", "off", or "HH:MM-HH:MM", which the service looks at closely. */
static error_t parse_auto(const char *arg, struct options *o)
{
	const char *dash = strchr(arg, '-');
	size_t from = dash ? (size_t)(dash - arg) : 0;

	o->auto_given = true;
	o->auto_resync = strcmp(arg, "off") != 0;
	if (!o->auto_resync || !strcmp(arg, "on"))
		return 0;
	if (!from || from >= sizeof(o->auto_from) || strlen(dash + 1) >= sizeof(o->auto_to))
		return cli_usage("--auto-resync must be on, off or HH:MM-HH:MM, not '%.60s'", arg);
	memcpy(o->auto_from, arg, from);
	strcpy(o->auto_to, dash + 1);
	return 0;
}

/* "24", which are hourly, "48@30m", "10@pass"; the service knows the bounds. */
static error_t parse_history(const char *arg, struct options *o)
{
	static const char units[] = "smhd";
	static const uint32_t seconds[] = { 1, 60, 3600, 86400 };
	unsigned long points, number = 1;
	const char *unit;
	char *end;

	if (arg[0] < '0' || arg[0] > '9')
		return cli_usage("the history must be a number of points, such as 24, 48@30m or 10@pass, not '%.60s'", arg);
	points = strtoul(arg, &end, 10);
	o->history_given = true;
	o->history = points < UINT16_MAX ? points : UINT16_MAX;
	if (!strcmp(end, "@pass")) {
		o->spacing_s = 0;
		return 0;
	}
	if (*end == '@' && end[1] >= '1' && end[1] <= '9') {
		number = strtoul(end + 1, &end, 10);
		unit = *end ? strchr(units, *end) : NULL;
		end += !!*end;
	} else {
		unit = units + 2;
	}
	if (*end || !unit || number > 1000000)
		return cli_usage("the time between points must be such as 90s, 30m, 1h, 1d or pass: '%.60s' is not understood", arg);
	o->spacing_s = number * seconds[unit - units];
	return 0;
}

error_t options_parse(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;
	unsigned long number;

	switch (key) {
	case CLI_KEY_JSON:
		o->json = true;
		return 0;
	case OPTIONS_KEY_DISK:
		return parse_disk(arg, o);
	case OPTIONS_KEY_TO:
		return options_parse_to(arg, o->host, &o->port);
	case OPTIONS_KEY_INTERVAL:
		if (parse_number(arg, 86400, &number))
			return cli_usage("the interval must be 1 to 86400 seconds, not '%.60s'", arg);
		o->interval_s = number;
		return 0;
	case OPTIONS_KEY_COMPRESS:
		o->compress = true;
		return 0;
	case OPTIONS_KEY_NO_COMPRESS:
		o->no_compress = true;
		return 0;
	case OPTIONS_KEY_RATE:
		return parse_rate(arg, o);
	case OPTIONS_KEY_AUTO_RESYNC:
		return parse_auto(arg, o);
	case OPTIONS_KEY_HISTORY:
		return parse_history(arg, o);
	case ARGP_KEY_ARG:
		if (o->vm)
			return cli_usage("'%.60s' is one argument too many", arg);
		o->vm = arg;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

void options_free(struct options *o)
{
	while (o->disk_count)
		free(o->disks[--o->disk_count]);
}

/* --- the call -------------------------------------------------------------------------- */

static int append_disks(sd_bus_message *m, const struct options *o)
{
	unsigned int i;
	int rc = sd_bus_message_open_container(m, 'e', "sv");

	if (rc >= 0)
		rc = sd_bus_message_append(m, "s", "IncludedDisks");
	if (rc >= 0)
		rc = sd_bus_message_open_container(m, 'v', "as");
	if (rc >= 0)
		rc = sd_bus_message_open_container(m, 'a', "s");
	for (i = 0; rc >= 0 && i < o->disk_count; i++)
		rc = sd_bus_message_append(m, "s", o->disks[i]);
	for (i = 0; rc >= 0 && i < 3; i++)
		rc = sd_bus_message_close_container(m);
	return rc;
}

static int append_settings(sd_bus_message *m, const struct options *o)
{
	int rc = sd_bus_message_append(m, "s", o->vm);

	if (rc >= 0)
		rc = sd_bus_message_open_container(m, 'a', "{sv}");
	if (rc >= 0 && o->disk_count)
		rc = append_disks(m, o);
	if (rc >= 0 && o->host[0])
		rc = sd_bus_message_append(m, "{sv}", "RecoveryConnectionPoint", "s", o->host);
	if (rc >= 0 && o->host[0])
		rc = sd_bus_message_append(m, "{sv}", "RecoveryServerPortNumber", "q", o->port);
	if (rc >= 0 && o->interval_s)
		rc = sd_bus_message_append(m, "{sv}", "ReplicationInterval", "u", o->interval_s);
	if (rc >= 0 && (o->compress || o->no_compress))
		rc = sd_bus_message_append(m, "{sv}", "CompressionEnabled", "b", (int)o->compress);
	if (rc >= 0 && o->rate_given)
		rc = sd_bus_message_append(m, "{sv}", "MaximumRate", "t", o->rate);
	if (rc >= 0 && o->auto_given)
		rc = sd_bus_message_append(m, "{sv}", "AutoResynchronizeEnabled", "b", (int)o->auto_resync);
	if (rc >= 0 && o->auto_from[0])
		rc = sd_bus_message_append(m, "{sv}{sv}", "AutoResynchronizeIntervalStart", "s",
					   o->auto_from, "AutoResynchronizeIntervalEnd", "s", o->auto_to);
	if (rc >= 0 && o->history_given)
		rc = sd_bus_message_append(m, "{sv}{sv}", "RecoveryHistory", "q", o->history,
					   "RecoveryHistorySpacing", "u", o->spacing_s);
	return rc < 0 ? rc : sd_bus_message_close_container(m);
}

int options_send(const struct options *o, const char *method, char job[CLIENT_PATH_BYTES],
		 struct err *e)
{
	sd_bus_message *call;
	int rc = client_call(method, &call, e);

	if (rc)
		return rc;
	rc = append_settings(call, o);
	if (rc < 0) {
		sd_bus_message_unref(call);
		return err_sys(e, rc, "cannot ask the service");
	}
	return client_send(call, job, e);
}
