// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <string.h>

#include "../common/datetime.h"
#include "../primary/rate.h"
#include "../store/store.h"
#include "../wire/wire.h"
#include "settings.h"

#define DEFAULT_INTERVAL_S	300
#define HISTORY_SPACING_S	3600	/* Hyper-V's points are hourly */
#define MAX_SNAPSHOT_HOURS	12	/* Hyper-V's bound of what we do not do */

static int copy(char *out, size_t room, const char *text, const char *key, struct err *e)
{
	if (!text[0] || strlen(text) >= room)
		return err_set(e, -EINVAL, "%s is empty or longer than %zu bytes", key, room - 1);
	strcpy(out, text);
	return 0;
}

/* --- one value each: 0, or a negative errno with a sentence ------------------------- */

static int read_disks(sd_bus_message *m, struct state *state, struct err *e)
{
	const char *device;
	int rc = sd_bus_message_enter_container(m, 'a', "s");

	while (rc >= 0 && (rc = sd_bus_message_read(m, "s", &device)) > 0) {
		if (state->disk_count == STATE_MAX_DISKS)
			return err_set(e, -EINVAL, "a VM can have at most %d disks", STATE_MAX_DISKS);
		if (device[0] != '/')
			return err_set(e, -EINVAL, "'%.200s' is not an absolute path of a device", device);
		if (copy(state->disks[state->disk_count].device, sizeof(state->disks[0].device),
			 device, "the path of a disk", e))
			return -EINVAL;
		state->disk_count++;
	}
	return rc < 0 ? rc : sd_bus_message_exit_container(m);
}

static int read_host(sd_bus_message *m, struct state *state, struct err *e)
{
	const char *host;
	int rc = sd_bus_message_read(m, "s", &host);

	return rc < 0 ? rc : copy(state->host, sizeof(state->host), host, "RecoveryConnectionPoint", e);
}

static int read_port(sd_bus_message *m, struct state *state, struct err *e)
{
	uint16_t port;
	int rc = sd_bus_message_read(m, "q", &port);

	if (rc >= 0)
		state->port = port ? port : WIRE_PORT;
	return rc;
}

static int read_interval(sd_bus_message *m, struct state *state, struct err *e)
{
	int rc = sd_bus_message_read(m, "u", &state->interval_s);

	if (rc >= 0 && (!state->interval_s || state->interval_s > STATE_MAX_INTERVAL_S))
		return err_set(e, -EINVAL, "ReplicationInterval must be 1 to %d seconds", STATE_MAX_INTERVAL_S);
	return rc;
}

static int read_compression(sd_bus_message *m, struct state *state, struct err *e)
{
	int compress, rc = sd_bus_message_read(m, "b", &compress);

	if (rc >= 0)
		state->compress = compress;
	return rc;
}

static int read_rate(sd_bus_message *m, struct state *state, struct err *e)
{
	int rc = sd_bus_message_read(m, "t", &state->rate);

	if (rc >= 0 && state->rate &&
	    (state->rate < RATE_MIN_BYTES || state->rate > RATE_MAX_BYTES))
		return err_set(e, -EINVAL, "MaximumRate must be %d bytes a second or more, or 0 for none",
			       RATE_MIN_BYTES);
	return rc;
}

static int read_auto(sd_bus_message *m, struct state *state, struct err *e)
{
	int enabled, rc = sd_bus_message_read(m, "b", &enabled);

	if (rc >= 0)
		state->auto_resync.enabled = enabled;
	return rc;
}

static int read_minute(sd_bus_message *m, unsigned int *minute, const char *key, struct err *e)
{
	const char *text;
	int rc = sd_bus_message_read(m, "s", &text);

	if (rc >= 0 && datetime_parse_minute(text, minute))
		return err_set(e, -EINVAL, "%s must be a time of the day, HH:MM, not '%.40s'", key, text);
	return rc;
}

static int read_auto_from(sd_bus_message *m, struct state *state, struct err *e)
{
	return read_minute(m, &state->auto_resync.from, "AutoResynchronizeIntervalStart", e);
}

static int read_auto_to(sd_bus_message *m, struct state *state, struct err *e)
{
	return read_minute(m, &state->auto_resync.to, "AutoResynchronizeIntervalEnd", e);
}

/* All disks of a VM are always cut together. */
static int read_write_order(sd_bus_message *m, struct state *state, struct err *e)
{
	int enabled, rc = sd_bus_message_read(m, "b", &enabled);

	if (rc >= 0 && !enabled)
		return err_set(e, -EOPNOTSUPP, "EnableWriteOrderPreservationAcrossDisks is always true");
	return rc;
}

/* 0 is the newest point only. */
static int read_history(sd_bus_message *m, struct state *state, struct err *e)
{
	uint16_t points;
	int rc = sd_bus_message_read(m, "q", &points);

	if (rc >= 0 && points > STORE_MAX_HISTORY)
		return err_set(e, -EINVAL, "RecoveryHistory must be 0 to %d", STORE_MAX_HISTORY);
	if (rc >= 0)
		state->history.points = points;
	return rc;
}

/* 0: of each pass. */
static int read_spacing(sd_bus_message *m, struct state *state, struct err *e)
{
	int rc = sd_bus_message_read(m, "u", &state->history.spacing_s);

	if (rc >= 0 && state->history.spacing_s > STORE_MAX_SPACING_S)
		return err_set(e, -EINVAL, "RecoveryHistorySpacing must be 0 to %d seconds",
			       STORE_MAX_SPACING_S);
	return rc;
}

static int read_snapshots(sd_bus_message *m, struct state *state, struct err *e)
{
	uint16_t hours;
	int rc = sd_bus_message_read(m, "q", &hours);

	if (rc >= 0 && hours > MAX_SNAPSHOT_HOURS)
		return err_set(e, -EINVAL, "ApplicationConsistentSnapshotInterval must be 0 to %d hours",
			       MAX_SNAPSHOT_HOURS);
	if (rc >= 0 && hours)
		return err_set(e, -EOPNOTSUPP,
			       "ApplicationConsistentSnapshotInterval must be 0: all points are crash-consistent");
	return rc;
}

static int read_authentication(sd_bus_message *m, struct state *state, struct err *e)
{
	uint16_t type;
	int rc = sd_bus_message_read(m, "q", &type);

	if (rc >= 0 && type > 2)
		return err_set(e, -EINVAL, "AuthenticationType must be 0, 1 or 2, not %u", type);
	return rc;
}

static int ignore(sd_bus_message *m, struct state *state, struct err *e)
{
	return sd_bus_message_skip(m, NULL);
}

/*
 * What Hyper-V says of hosts, proxies, certificates and its guests' services is for itself;
 * other replication providers ignore it, and so do we.
 */
static const struct setting {
	const char *key;
	const char *type;
	int (*read)(sd_bus_message *m, struct state *state, struct err *e);
} settings[] = {
	{ "IncludedDisks", "as", read_disks },
	{ "RecoveryConnectionPoint", "s", read_host },
	{ "RecoveryServerPortNumber", "q", read_port },
	{ "ReplicationInterval", "u", read_interval },
	{ "CompressionEnabled", "b", read_compression },
	{ "MaximumRate", "t", read_rate },
	{ "AutoResynchronizeEnabled", "b", read_auto },
	{ "AutoResynchronizeIntervalStart", "s", read_auto_from },
	{ "AutoResynchronizeIntervalEnd", "s", read_auto_to },
	{ "EnableWriteOrderPreservationAcrossDisks", "b", read_write_order },
	{ "RecoveryHistory", "q", read_history },
	{ "RecoveryHistorySpacing", "u", read_spacing },
	{ "ApplicationConsistentSnapshotInterval", "q", read_snapshots },
	{ "AuthenticationType", "q", read_authentication },
	{ "CertificateThumbPrint", "s", ignore },
	{ "RootCertificateThumbPrint", "s", ignore },
	{ "BypassProxyServer", "b", ignore },
	{ "RecoveryHostSystem", "s", ignore },
	{ "PrimaryConnectionPoint", "s", ignore },
	{ "PrimaryHostSystem", "s", ignore },
	{ "ReplicateHostKvpItems", "b", ignore },
	{ "ReplicationProvider", "s", ignore },
	{ "AdditionalSettings", "s", ignore },
};

#define SETTINGS (sizeof(settings) / sizeof(settings[0]))

/* --- the dictionary ------------------------------------------------------------------ */

static const struct setting *find(const char *key)
{
	unsigned int i;

	for (i = 0; i < SETTINGS; i++) {
		if (!strcmp(settings[i].key, key))
			return &settings[i];
	}
	return NULL;
}

/* @seen: a bit for each setting that came already. */
static int read_one(sd_bus_message *m, bool fresh, struct state *state, unsigned int *seen,
		    struct err *e)
{
	const struct setting *setting;
	const char *key, *type;
	int rc = sd_bus_message_read(m, "s", &key);

	if (rc < 0)
		return rc;
	setting = find(key);
	if (!setting)
		return err_set(e, -EINVAL, "there is no setting '%.100s'", key);
	if (*seen & 1u << (setting - settings))
		return err_set(e, -EINVAL, "the setting %s is given twice", key);
	*seen |= 1u << (setting - settings);
	if (!fresh && setting->read == read_disks)
		return err_set(e, -EOPNOTSUPP, "the disks of a relationship cannot be changed: remove it and make it anew");
	rc = sd_bus_message_peek_type(m, NULL, &type);
	if (rc < 0)
		return rc;
	if (strcmp(type, setting->type))
		return err_set(e, -EPROTOTYPE, "the setting %s must be of type '%s', not '%.20s'", key,
			       setting->type, type);
	rc = sd_bus_message_enter_container(m, 'v', setting->type);
	if (rc >= 0)
		rc = setting->read(m, state, e);
	return rc < 0 ? rc : sd_bus_message_exit_container(m);
}

static bool given(unsigned int seen, const char *key)
{
	return seen & 1u << (find(key) - settings);
}

void settings_defaults(struct state *state)
{
	state->port = WIRE_PORT;
	state->interval_s = DEFAULT_INTERVAL_S;
	state->compress = true;
	state->auto_resync.from = STATE_AUTO_FROM;
	state->auto_resync.to = STATE_AUTO_TO;
	state->history.points = STORE_HISTORY_POINTS;
}

int settings_read(sd_bus_message *m, bool fresh, struct state *state, struct err *e)
{
	unsigned int seen = 0;
	int rc;

	rc = sd_bus_message_enter_container(m, 'a', "{sv}");
	while (rc >= 0 && (rc = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
		rc = read_one(m, fresh, state, &seen, e);
		if (rc >= 0)
			rc = sd_bus_message_exit_container(m);
	}
	if (rc >= 0)
		rc = sd_bus_message_exit_container(m);
	if (rc < 0)
		return e->code ? e->code : err_sys(e, rc, "cannot read the settings");
	/* Who knows Hyper-V's setting only means hours. */
	if (given(seen, "RecoveryHistory") && !given(seen, "RecoveryHistorySpacing"))
		state->history.spacing_s = HISTORY_SPACING_S;
	if (!state->disk_count)
		return err_set(e, -EINVAL, "IncludedDisks is missing: name at least one disk");
	if (!state->host[0])
		return err_set(e, -EINVAL, "RecoveryConnectionPoint is missing: name the replica host");
	return 0;
}
