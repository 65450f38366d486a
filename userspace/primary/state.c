// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <uuid/uuid.h>

#include "../common/datetime.h"
#include "../store/store.h"
#include "rate.h"
#include "state.h"

/*
 * 2 has more keys than 1, and keys have been added to it. Who reads takes the defaults that
 * decode_state() names for what is not there, so that a file outlives an update of the service.
 */
#define VERSION		2
#define OLDEST_VERSION	1

void state_new_uuid(char uuid[37])
{
	uuid_t bytes;

	uuid_generate_random(bytes);
	uuid_unparse_lower(bytes, uuid);
}

int state_parse_uuid(const char *uuid, uint8_t bytes[16])
{
	return uuid_parse(uuid, bytes) ? -EINVAL : 0;
}

/* --- encode --------------------------------------------------------------- */

static void put(struct json_object *o, const char *key, struct json_object *value)
{
	json_object_object_add(o, key, value);
}

static struct json_object *encode_disk(const struct state_disk *disk)
{
	struct json_object *o = json_object_new_object();

	put(o, "name", json_object_new_string(disk->name));
	put(o, "device", json_object_new_string(disk->device));
	put(o, "size_bytes", json_object_new_uint64(disk->size_bytes));
	put(o, "chunk_bytes", json_object_new_uint64(disk->chunk_bytes));
	put(o, "checkpoint_bytes", json_object_new_uint64(disk->checkpoint_bytes));
	return o;
}

static struct json_object *encode_statistics(const struct state_statistics *s)
{
	struct json_object *o = json_object_new_object();

	put(o, "passes", json_object_new_uint64(s->passes));
	put(o, "failures", json_object_new_uint64(s->failures));
	put(o, "bytes", json_object_new_uint64(s->bytes));
	put(o, "wire_bytes", json_object_new_uint64(s->wire_bytes));
	put(o, "last_bytes", json_object_new_uint64(s->last_bytes));
	put(o, "last_wire_bytes", json_object_new_uint64(s->last_wire_bytes));
	put(o, "last_milliseconds", json_object_new_uint64(s->last_milliseconds));
	return o;
}

static struct json_object *encode_period(const struct state_period *p)
{
	struct json_object *o = json_object_new_object();

	put(o, "since_us", json_object_new_uint64(p->since_us));
	put(o, "passes", json_object_new_uint64(p->passes));
	put(o, "failures", json_object_new_uint64(p->failures));
	put(o, "network_failures", json_object_new_uint64(p->network_failures));
	put(o, "missed", json_object_new_uint64(p->missed));
	put(o, "bytes", json_object_new_uint64(p->bytes));
	put(o, "max_bytes", json_object_new_uint64(p->max_bytes));
	put(o, "milliseconds", json_object_new_uint64(p->milliseconds));
	put(o, "max_milliseconds", json_object_new_uint64(p->max_milliseconds));
	return o;
}

static struct json_object *encode_auto(const struct state_auto *a)
{
	struct json_object *o = json_object_new_object();

	put(o, "enabled", json_object_new_boolean(a->enabled));
	put(o, "from_minute", json_object_new_uint64(a->from));
	put(o, "to_minute", json_object_new_uint64(a->to));
	return o;
}

char *state_encode(const struct state *state)
{
	struct json_object *o = json_object_new_object(), *disks = json_object_new_array();
	const char *text;
	char *copy;
	unsigned int i;

	put(o, "version", json_object_new_int(VERSION));
	put(o, "vm", json_object_new_string(state->vm));
	put(o, "relationship", json_object_new_string(state->relationship));
	put(o, "host", json_object_new_string(state->host));
	put(o, "port", json_object_new_int(state->port));
	put(o, "interval_seconds", json_object_new_uint64(state->interval_s));
	put(o, "compress", json_object_new_boolean(state->compress));
	put(o, "suspended", json_object_new_boolean(state->suspended));
	put(o, "start_wanted", json_object_new_boolean(state->start_wanted));
	put(o, "start_time_us", json_object_new_uint64(state->start_time_us));
	put(o, "rate_bytes_per_second", json_object_new_uint64(state->rate));
	put(o, "auto_resynchronize", encode_auto(&state->auto_resync));
	put(o, "history_points", json_object_new_uint64(state->history.points));
	put(o, "history_spacing_seconds", json_object_new_uint64(state->history.spacing_s));
	put(o, "initial_complete", json_object_new_boolean(state->initial_complete));
	put(o, "replica_opened", json_object_new_boolean(state->replica_opened));
	put(o, "initial_type", json_object_new_int(state->initial_type));
	put(o, "export_directory", json_object_new_string(state->export_dir));
	put(o, "resync_wanted", json_object_new_boolean(state->resync_wanted));
	put(o, "untracked", json_object_new_string(state->untracked));
	put(o, "comparing", json_object_new_boolean(state->comparing));
	put(o, "medium_pass", json_object_new_uint64(state->medium_pass));
	put(o, "medium_awaited", json_object_new_boolean(state->medium_awaited));
	put(o, "generation", json_object_new_uint64(state->generation));
	put(o, "prepared", json_object_new_boolean(state->prepared));
	put(o, "saved_token", json_object_new_string(state->saved_token));
	put(o, "saved_boot", json_object_new_string(state->saved_boot));
	put(o, "last_pass", json_object_new_uint64(state->last_pass));
	put(o, "last_point", json_object_new_uint64(state->last_point));
	put(o, "last_point_time_us", json_object_new_uint64(state->last_point_time_us));
	put(o, "last_sent_time_us", json_object_new_uint64(state->last_sent_time_us));
	put(o, "statistics", encode_statistics(&state->statistics));
	put(o, "period", encode_period(&state->period));
	for (i = 0; i < state->disk_count; i++)
		json_object_array_add(disks, encode_disk(&state->disks[i]));
	put(o, "disks", disks);
	text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY |
							 JSON_C_TO_STRING_NOSLASHESCAPE);
	copy = text ? strdup(text) : NULL;
	json_object_put(o);
	return copy;
}

/* --- decode --------------------------------------------------------------- */

/* The first thing wrong is kept; the calls after it do nothing. */
struct decoder {
	struct json_object *o;
	struct err *e;
	int rc;
};

static struct json_object *get(struct decoder *d, const char *key, enum json_type type)
{
	struct json_object *value;

	if (d->rc)
		return NULL;
	if (!json_object_object_get_ex(d->o, key, &value))
		d->rc = err_set(d->e, -EUCLEAN, "\"%s\" is missing", key);
	else if (json_object_get_type(value) != type)
		d->rc = err_set(d->e, -EUCLEAN, "\"%s\" is not of type %s", key, json_type_to_name(type));
	return d->rc ? NULL : value;
}

/* The file is of before there was such a key. */
static bool absent(const struct decoder *d, const char *key)
{
	return !d->rc && !json_object_object_get_ex(d->o, key, NULL);
}

static void read_text(struct decoder *d, const char *key, char *out, size_t room)
{
	struct json_object *value = get(d, key, json_type_string);
	const char *text;

	if (!value)
		return;
	text = json_object_get_string(value);
	/* An embedded NUL would hide what follows it. */
	if (strlen(text) != (size_t)json_object_get_string_len(value) || strlen(text) >= room)
		d->rc = err_set(d->e, -EUCLEAN, "\"%s\" is too long", key);
	else
		strcpy(out, text);
}

static void get_text(struct decoder *d, const char *key, char *out, size_t room)
{
	read_text(d, key, out, room);
	if (!d->rc && !out[0])
		d->rc = err_set(d->e, -EUCLEAN, "\"%s\" is empty", key);
}

/* Absent or empty: "". */
static void get_text_or_none(struct decoder *d, const char *key, char *out, size_t room)
{
	if (!absent(d, key))
		read_text(d, key, out, room);
}

static uint64_t get_number(struct decoder *d, const char *key, uint64_t min, uint64_t max)
{
	struct json_object *value = get(d, key, json_type_int);
	int64_t number;

	if (!value)
		return 0;
	number = json_object_get_int64(value);
	if (number < 0 || (uint64_t)number < min || (uint64_t)number > max) {
		d->rc = err_set(d->e, -EUCLEAN, "\"%s\" is out of bounds", key);
		return 0;
	}
	return number;
}

static uint64_t get_number_or(struct decoder *d, const char *key, uint64_t without, uint64_t max)
{
	return absent(d, key) ? without : get_number(d, key, 0, max);
}

/* Absent: 0. */
static uint64_t get_count(struct decoder *d, const char *key)
{
	return get_number_or(d, key, 0, INT64_MAX);
}

static bool get_flag(struct decoder *d, const char *key)
{
	struct json_object *value = get(d, key, json_type_boolean);

	return value && json_object_get_boolean(value);
}

/* Absent: false. */
static bool get_flag_or_no(struct decoder *d, const char *key)
{
	return !absent(d, key) && get_flag(d, key);
}

/* Absent: null. */
static struct json_object *get_section(struct decoder *d, const char *key)
{
	return absent(d, key) ? NULL : get(d, key, json_type_object);
}

static void decode_statistics(struct decoder *d, struct state_statistics *s)
{
	struct json_object *whole = d->o, *o = get_section(d, "statistics");

	if (!o)
		return;
	d->o = o;
	s->passes = get_count(d, "passes");
	s->failures = get_count(d, "failures");
	s->bytes = get_count(d, "bytes");
	s->wire_bytes = get_count(d, "wire_bytes");
	s->last_bytes = get_count(d, "last_bytes");
	s->last_wire_bytes = get_count(d, "last_wire_bytes");
	s->last_milliseconds = get_count(d, "last_milliseconds");
	d->o = whole;
}

static void decode_period(struct decoder *d, struct state_period *p)
{
	struct json_object *whole = d->o, *o = get_section(d, "period");

	if (!o)
		return;
	d->o = o;
	p->since_us = get_count(d, "since_us");
	p->passes = get_count(d, "passes");
	p->failures = get_count(d, "failures");
	p->network_failures = get_count(d, "network_failures");
	p->missed = get_count(d, "missed");
	p->bytes = get_count(d, "bytes");
	p->max_bytes = get_count(d, "max_bytes");
	p->milliseconds = get_count(d, "milliseconds");
	p->max_milliseconds = get_count(d, "max_milliseconds");
	d->o = whole;
}

static void decode_auto(struct decoder *d, struct state_auto *a)
{
	struct json_object *whole = d->o, *o = get_section(d, "auto_resynchronize");

	*a = (struct state_auto){ false, STATE_AUTO_FROM, STATE_AUTO_TO };
	if (!o)
		return;
	d->o = o;
	a->enabled = get_flag(d, "enabled");
	a->from = get_number(d, "from_minute", 0, DATETIME_DAY_MINUTES - 1);
	a->to = get_number(d, "to_minute", 0, DATETIME_DAY_MINUTES - 1);
	d->o = whole;
}

static void decode_disk(struct decoder *d, struct state_disk *disk)
{
	get_text(d, "name", disk->name, sizeof(disk->name));
	get_text(d, "device", disk->device, sizeof(disk->device));
	disk->size_bytes = get_number(d, "size_bytes", 512, INT64_MAX);
	disk->chunk_bytes = get_number(d, "chunk_bytes", STORE_MIN_CHUNK_BYTES, STORE_MAX_CHUNK_BYTES);
	disk->checkpoint_bytes = get_number(d, "checkpoint_bytes", 0, INT64_MAX);
	if (!d->rc && !store_name_valid(disk->name))
		d->rc = err_set(d->e, -EUCLEAN, "\"%s\" is no disk name", disk->name);
}

static void decode_disks(struct decoder *d, struct state *state)
{
	struct json_object *whole = d->o, *disks = get(d, "disks", json_type_array);
	size_t i, count = disks ? json_object_array_length(disks) : 0;

	if (!d->rc && (count < 1 || count > STATE_MAX_DISKS))
		d->rc = err_set(d->e, -EUCLEAN, "\"disks\" has %zu entries", count);
	for (i = 0; !d->rc && i < count; i++) {
		d->o = json_object_array_get_idx(disks, i);
		if (json_object_get_type(d->o) != json_type_object)
			d->rc = err_set(d->e, -EUCLEAN, "\"disks\" holds something else than objects");
		else
			decode_disk(d, &state->disks[i]);
	}
	state->disk_count = count;
	d->o = whole;
}

/*
 * What is absent from the file of an older service: it had no such thing, so none of it was asked
 * for or done. What was not saved is compared, and what need not be compared is sent.
 */
static void decode_additions(struct decoder *d, struct state *state)
{
	state->start_time_us = get_count(d, "start_time_us");
	state->rate = get_number_or(d, "rate_bytes_per_second", 0, RATE_MAX_BYTES);
	decode_auto(d, &state->auto_resync);
	/* What replicas kept before one could choose. */
	state->history.points = get_number_or(d, "history_points", STORE_HISTORY_POINTS,
					      STORE_MAX_HISTORY);
	state->history.spacing_s = get_number_or(d, "history_spacing_seconds", 0,
						 STORE_MAX_SPACING_S);
	/* As with STATE_INITIAL_NETWORK, the only way there was. */
	state->initial_type = get_number_or(d, "initial_type", STATE_INITIAL_NONE,
					    STATE_INITIAL_SEEDED);
	get_text_or_none(d, "export_directory", state->export_dir, sizeof(state->export_dir));
	state->resync_wanted = get_flag_or_no(d, "resync_wanted");
	/* Without the tracker it did nothing, so that the map is all that there is to know. */
	get_text_or_none(d, "untracked", state->untracked, sizeof(state->untracked));
	state->comparing = get_flag_or_no(d, "comparing");
	state->medium_pass = get_count(d, "medium_pass");
	state->medium_awaited = get_flag_or_no(d, "medium_awaited");
	state->generation = get_count(d, "generation");
	state->prepared = get_flag_or_no(d, "prepared");
	get_text_or_none(d, "saved_token", state->saved_token, sizeof(state->saved_token));
	get_text_or_none(d, "saved_boot", state->saved_boot, sizeof(state->saved_boot));
	state->last_sent_time_us = get_count(d, "last_sent_time_us");
	decode_statistics(d, &state->statistics);
	decode_period(d, &state->period);
}

static void decode_state(struct decoder *d, struct state *state)
{
	uint8_t uuid[16];

	get_number(d, "version", OLDEST_VERSION, VERSION);
	get_text(d, "vm", state->vm, sizeof(state->vm));
	get_text(d, "relationship", state->relationship, sizeof(state->relationship));
	get_text(d, "host", state->host, sizeof(state->host));
	state->port = get_number(d, "port", 1, 65535);
	state->interval_s = get_number(d, "interval_seconds", 1, STATE_MAX_INTERVAL_S);
	state->compress = get_flag(d, "compress");
	state->suspended = get_flag(d, "suspended");
	state->start_wanted = get_flag(d, "start_wanted");
	state->initial_complete = get_flag(d, "initial_complete");
	state->replica_opened = get_flag(d, "replica_opened");
	state->last_pass = get_number(d, "last_pass", 0, INT64_MAX);
	state->last_point = get_number(d, "last_point", 0, INT64_MAX);
	state->last_point_time_us = get_number(d, "last_point_time_us", 0, INT64_MAX);
	decode_additions(d, state);
	decode_disks(d, state);
	if (!d->rc && !store_name_valid(state->vm))
		d->rc = err_set(d->e, -EUCLEAN, "\"vm\" is no name of a VM");
	if (!d->rc && state_parse_uuid(state->relationship, uuid))
		d->rc = err_set(d->e, -EUCLEAN, "\"relationship\" is no UUID");
}

int state_decode(const char *text, struct state *state, struct err *e)
{
	struct json_tokener *tokener = json_tokener_new();
	struct decoder d = { .e = e };
	struct state read = { 0 };

	if (!tokener)
		return err_sys(e, -ENOMEM, "cannot read the state");
	json_tokener_set_flags(tokener, JSON_TOKENER_STRICT);
	/* Strict: nothing may follow the object. */
	d.o = json_tokener_parse_ex(tokener, text, strlen(text));
	if (!d.o || json_object_get_type(d.o) != json_type_object)
		d.rc = err_set(e, -EUCLEAN, "it is not a JSON object (%s)",
			       json_tokener_error_desc(json_tokener_get_error(tokener)));
	else
		decode_state(&d, &read);
	if (!d.rc)
		*state = read;
	json_object_put(d.o);
	json_tokener_free(tokener);
	return d.rc;
}
