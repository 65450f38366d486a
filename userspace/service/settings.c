// SPDX-License-Identifier: GPL-2.0-or-later
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "../store/store.h"
#include "../wire/wire.h"
#include "relationship.h"
#include "settings.h"

#define DEFAULT_INTERVAL_S 300

/* --- the dictionary ------------------------------------------------------------ */

static int copy(char *out, size_t room, const char *text, const char *key, struct err *e)
{
	if (!text[0] || strlen(text) >= room)
		return err_set(e, -EINVAL, "%s is empty or longer than %zu bytes", key, room - 1);
	strcpy(out, text);
	return 0;
}

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

	if (rc >= 0 && port)	/* 0: the default */
		state->port = port;
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
};

/* @seen: a bit for each setting that came already. */
static int read_one(sd_bus_message *m, struct state *state, unsigned int *seen, struct err *e)
{
	const struct setting *setting = settings;
	const char *key, *type;
	int rc = sd_bus_message_read(m, "s", &key);

	if (rc < 0)
		return rc;
	while (setting < settings + sizeof(settings) / sizeof(settings[0]) &&
	       strcmp(setting->key, key))
		setting++;
	if (setting == settings + sizeof(settings) / sizeof(settings[0]))
		return err_set(e, -EINVAL, "there is no setting '%.100s'", key);
	if (*seen & 1u << (setting - settings))
		return err_set(e, -EINVAL, "the setting %s is given twice", key);
	*seen |= 1u << (setting - settings);
	rc = sd_bus_message_peek_type(m, NULL, &type);
	if (rc < 0)
		return rc;
	if (strcmp(type, setting->type))
		return err_set(e, -EINVAL, "the setting %s must be of type '%s', not '%.20s'", key,
			       setting->type, type);
	rc = sd_bus_message_enter_container(m, 'v', setting->type);
	if (rc >= 0)
		rc = setting->read(m, state, e);
	return rc < 0 ? rc : sd_bus_message_exit_container(m);
}

int settings_read(sd_bus_message *m, struct state *state, struct err *e)
{
	unsigned int seen = 0;
	int rc;

	state->port = WIRE_PORT;
	state->interval_s = DEFAULT_INTERVAL_S;
	state->compress = true;
	rc = sd_bus_message_enter_container(m, 'a', "{sv}");
	while (rc >= 0 && (rc = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
		rc = read_one(m, state, &seen, e);
		if (rc >= 0)
			rc = sd_bus_message_exit_container(m);
	}
	if (rc >= 0)
		rc = sd_bus_message_exit_container(m);
	if (rc < 0)
		return e->code ? e->code : err_sys(e, rc, "cannot read the settings");
	if (!state->disk_count)
		return err_set(e, -EINVAL, "IncludedDisks is missing: name at least one disk");
	if (!state->host[0])
		return err_set(e, -EINVAL, "RecoveryConnectionPoint is missing: name the replica host");
	return 0;
}

/* --- disks -------------------------------------------------------------------------- */

static int find_device(const char *path, dev_t *device, struct err *e)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return err_sys(e, -errno, "cannot find the disk %s", path);
	if (!S_ISBLK(st.st_mode))
		return err_set(e, -ENOTBLK, "%s is not a block device: give the path of a disk", path);
	*device = st.st_rdev;
	return 0;
}

/* Which VM has this device? Null: none. */
static const char *owner(struct service *service, dev_t device)
{
	struct relationship *r;
	struct stat st;
	unsigned int i;

	for (r = service->relationships; r; r = r->next) {
		for (i = 0; r->mode == RELATIONSHIP_PRIMARY && i < r->state.disk_count; i++) {
			if (!stat(r->state.disks[i].device, &st) && st.st_rdev == device)
				return r->state.vm;
		}
	}
	return NULL;
}

static bool name_taken(const struct state *state, unsigned int count, const char *name)
{
	unsigned int i;

	for (i = 0; i < count; i++) {
		if (!strcmp(state->disks[i].name, name))
			return true;
	}
	return false;
}

/* The base name of the device, made a file name, made unique: "vda", "vg-lv", "vda-2". */
static void choose_name(struct state *state, unsigned int i)
{
	const char *base = strrchr(state->disks[i].device, '/') + 1;
	char *name = state->disks[i].name, clean[48];
	unsigned int number;
	char *c;

	snprintf(clean, sizeof(clean), "%s", base[0] ? base : "disk");
	for (c = clean; *c; c++) {
		if (!isalnum((unsigned char)*c) && !strchr("._-", *c))
			*c = '_';
	}
	if (!isalnum((unsigned char)clean[0]))
		clean[0] = '_';
	strcpy(name, clean);
	for (number = 2; name_taken(state, i, name) || !store_name_valid(name); number++)
		snprintf(name, sizeof(state->disks[i].name), "%s-%u", clean, number);
}

int settings_check_disks(struct service *service, struct state *state, struct err *e)
{
	dev_t devices[STATE_MAX_DISKS];
	const char *vm;
	unsigned int i, j;
	int rc;

	for (i = 0; i < state->disk_count; i++) {
		rc = find_device(state->disks[i].device, &devices[i], e);
		if (rc)
			return rc;
		for (j = 0; j < i; j++) {
			if (devices[j] == devices[i])
				return err_set(e, -EINVAL, "%.160s and %.160s are the same disk",
					       state->disks[j].device, state->disks[i].device);
		}
		vm = owner(service, devices[i]);
		if (vm)
			return err_set(e, -EBUSY, "%.200s is replicated already, as a disk of %s",
				       state->disks[i].device, vm);
		choose_name(state, i);
	}
	return 0;
}
