// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <json-c/json.h>

#include "../common/replace.h"
#include "manifest.h"
#include "sealed.h"

#define FILE_NAME  "manifest.json"
#define TEMP_NAME  "manifest.json.tmp"
#define FORMAT	   "vmreplica-store"
#define VERSION	   2
#define OLD_VERSION 1 /* without generation and failover */
#define MAX_BYTES  (8 << 20)
#define MAX_PASSES 100000

static const char *const initial_names[] = { "none", "receiving", "complete", "awaited" };
static const char *const failover_names[] = { "none", "recovered", "committed" };
static const char *const consistency_names[] = { "none", "crash", "application" };

const char *store_consistency_name(enum store_consistency consistency)
{
	return consistency_names[consistency];
}

static __attribute__((format(printf, 2, 3))) int damaged(struct err *e, const char *fmt, ...)
{
	char why[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	return err_set(e, -EUCLEAN,
		       "%s is damaged: %s; restore it from a backup or delete the replica",
		       FILE_NAME, why);
}

void manifest_free(struct manifest *m)
{
	free(m->spec.disks);
	free(m->passes);
	*m = (struct manifest){ 0 };
}

int manifest_copy(struct manifest *to, const struct manifest *from, struct err *e)
{
	*to = *from;
	to->spec.disks = calloc(from->spec.disk_count, sizeof(*to->spec.disks));
	to->passes = calloc(from->pass_count + 1, sizeof(*to->passes));
	if (!to->spec.disks || !to->passes) {
		manifest_free(to);
		return err_sys(e, -ENOMEM, "cannot copy %s", FILE_NAME);
	}
	memcpy(to->spec.disks, from->spec.disks, from->spec.disk_count * sizeof(*to->spec.disks));
	if (from->pass_count)
		memcpy(to->passes, from->passes, from->pass_count * sizeof(*to->passes));
	return 0;
}

/* --- writing ------------------------------------------------------------- */

/* Takes @value over; false: no memory, or @value is null for want of it. */
static bool add(struct json_object *to, const char *key, struct json_object *value)
{
	if (value && !json_object_object_add(to, key, value))
		return true;
	json_object_put(value);
	return false;
}

static struct json_object *disk_to_json(const struct store_disk *disk, uint64_t durable)
{
	struct json_object *o = json_object_new_object();

	if (o && add(o, "name", json_object_new_string(disk->name)) &&
	    add(o, "source", json_object_new_string(disk->source)) &&
	    add(o, "size_bytes", json_object_new_int64(disk->size_bytes)) &&
	    add(o, "chunk_bytes", json_object_new_int64(disk->chunk_bytes)) &&
	    add(o, "initial_durable_bytes", json_object_new_int64(durable)))
		return o;
	json_object_put(o);
	return NULL;
}

static struct json_object *pass_to_json(const struct manifest_pass *pass)
{
	struct json_object *o = json_object_new_object();

	if (o && add(o, "id", json_object_new_int64(pass->id)) &&
	    add(o, "cut_time_us", json_object_new_int64(pass->cut_time_us)) &&
	    add(o, "whole", json_object_new_boolean(pass->whole)) &&
	    add(o, "consistency", json_object_new_string(consistency_names[pass->consistency])))
		return o;
	json_object_put(o);
	return NULL;
}

static struct json_object *failover_to_json(const struct store_failover *failover)
{
	struct json_object *o = json_object_new_object();

	if (o && add(o, "state", json_object_new_string(failover_names[failover->state])) &&
	    add(o, "pass", json_object_new_int64(failover->pass)) &&
	    add(o, "generation", json_object_new_int64(failover->generation)) &&
	    add(o, "time_us", json_object_new_int64(failover->time_us)))
		return o;
	json_object_put(o);
	return NULL;
}

static bool append(struct json_object *to, struct json_object *value)
{
	if (value && !json_object_array_add(to, value))
		return true;
	json_object_put(value);
	return false;
}

static struct json_object *to_json(const struct manifest *m)
{
	struct json_object *o = json_object_new_object();
	struct json_object *disks = json_object_new_array();
	struct json_object *passes = json_object_new_array();
	bool ok = o && disks && passes;

	for (unsigned int i = 0; ok && i < m->spec.disk_count; i++)
		ok = append(disks, disk_to_json(&m->spec.disks[i], m->durable[i]));
	for (unsigned int i = 0; ok && i < m->pass_count; i++)
		ok = append(passes, pass_to_json(&m->passes[i]));
	ok = ok && add(o, "format", json_object_new_string(FORMAT)) &&
	     add(o, "version", json_object_new_int64(VERSION)) &&
	     add(o, "vm", json_object_new_string(m->spec.vm)) &&
	     add(o, "relationship", json_object_new_string(m->spec.relationship)) &&
	     add(o, "released", json_object_new_boolean(m->released)) &&
	     add(o, "initial", json_object_new_string(initial_names[m->initial])) &&
	     add(o, "generation", json_object_new_int64(m->generation)) &&
	     add(o, "failover", failover_to_json(&m->failover)) &&
	     add(o, "base_pass", json_object_new_int64(m->base_pass)) &&
	     add(o, "merging_pass", json_object_new_int64(m->merging_pass)) &&
	     add(o, "disks", json_object_get(disks)) && add(o, "passes", json_object_get(passes));
	json_object_put(disks);
	json_object_put(passes);
	if (ok)
		return o;
	json_object_put(o);
	return NULL;
}

/* The file's text, for the caller to free. */
static char *to_text(const struct manifest *m)
{
	struct json_object *o = to_json(m);
	char *text = o ? sealed_text(o, MAX_BYTES) : NULL;

	json_object_put(o);
	return text;
}

int manifest_write(int dir_fd, const struct manifest *m, bool *replaced, struct err *e)
{
	char *text = to_text(m);
	int ret;

	*replaced = false;
	if (!text)
		return err_sys(e, -ENOMEM, "cannot write %s of %s", FILE_NAME, m->spec.vm);
	ret = replace_file(dir_fd, FILE_NAME, TEMP_NAME, text, strlen(text), replaced);
	free(text);
	if (ret && *replaced)
		return err_sys(e, ret, "cannot make %s of replica %s durable", FILE_NAME,
			       m->spec.vm);
	return ret ? err_sys(e, ret, "cannot write %s of replica %s", FILE_NAME, m->spec.vm) : 0;
}

/* --- reading ------------------------------------------------------------- */

static struct json_object *get(struct json_object *from, const char *key, enum json_type type,
			       struct err *e)
{
	struct json_object *value;

	if (json_object_object_get_ex(from, key, &value) && json_object_is_type(value, type))
		return value;
	damaged(e, "\"%s\" is missing or of the wrong type", key);
	return NULL;
}

static int get_number(struct json_object *from, const char *key, uint64_t min, uint64_t max,
		      uint64_t *number, struct err *e)
{
	struct json_object *value = get(from, key, json_type_int, e);
	int64_t n;

	if (!value)
		return -EUCLEAN;
	n = json_object_get_int64(value);
	if (n < 0 || (uint64_t)n < min || (uint64_t)n > max)
		return damaged(e, "\"%s\" is out of range", key);
	*number = n;
	return 0;
}

static int get_text(struct json_object *from, const char *key, char *text, size_t room,
		    struct err *e)
{
	struct json_object *value = get(from, key, json_type_string, e);
	size_t bytes;

	if (!value)
		return -EUCLEAN;
	bytes = json_object_get_string_len(value);
	if (bytes >= room || strlen(json_object_get_string(value)) != bytes)
		return damaged(e, "\"%s\" is too long", key);
	memcpy(text, json_object_get_string(value), bytes + 1);
	return 0;
}

static int get_bool(struct json_object *from, const char *key, bool *flag, struct err *e)
{
	struct json_object *value = get(from, key, json_type_boolean, e);

	if (!value)
		return -EUCLEAN;
	*flag = json_object_get_boolean(value);
	return 0;
}

/* One of @count names; sets *@index. */
static int get_name(struct json_object *from, const char *key, const char *const *names,
		    unsigned int count, unsigned int *index, struct err *e)
{
	char text[16];

	if (get_text(from, key, text, sizeof(text), e))
		return -EUCLEAN;
	for (*index = 0; *index < count; (*index)++)
		if (!strcmp(text, names[*index]))
			return 0;
	return damaged(e, "\"%s\" is none of the known values", key);
}

static int get_members(struct json_object *from, int count, struct err *e)
{
	if (!json_object_is_type(from, json_type_object) ||
	    json_object_object_length(from) != count)
		return damaged(e, "an object has not the members it should have");
	return 0;
}

static int parse_disk(struct json_object *from, struct store_disk *disk, uint64_t *durable,
		      struct err *e)
{
	uint64_t chunk;

	if (get_members(from, 5, e) || get_text(from, "name", disk->name, sizeof(disk->name), e) ||
	    get_text(from, "source", disk->source, sizeof(disk->source), e) ||
	    get_number(from, "size_bytes", 512, INT64_MAX, &disk->size_bytes, e) ||
	    get_number(from, "chunk_bytes", STORE_MIN_CHUNK_BYTES, STORE_MAX_CHUNK_BYTES, &chunk,
		       e) ||
	    get_number(from, "initial_durable_bytes", 0, disk->size_bytes, durable, e))
		return -EUCLEAN;
	if (!store_name_valid(disk->name) || disk->size_bytes % 512 || chunk & (chunk - 1))
		return damaged(e, "a disk's name, size or chunk size is not possible");
	disk->chunk_bytes = chunk;
	return 0;
}

static int parse_disks(struct json_object *from, struct manifest *m, struct err *e)
{
	struct json_object *list = get(from, "disks", json_type_array, e);
	size_t count = list ? json_object_array_length(list) : 0;

	if (!list)
		return -EUCLEAN;
	if (!count || count > STORE_MAX_DISKS)
		return damaged(e, "%zu disks are not possible", count);
	m->spec.disks = calloc(count, sizeof(*m->spec.disks));
	if (!m->spec.disks)
		return err_sys(e, -ENOMEM, "cannot read %s", FILE_NAME);
	for (; m->spec.disk_count < count; m->spec.disk_count++) {
		struct store_disk *disk = &m->spec.disks[m->spec.disk_count];

		if (parse_disk(json_object_array_get_idx(list, m->spec.disk_count), disk,
			       &m->durable[m->spec.disk_count], e))
			return -EUCLEAN;
		for (unsigned int i = 0; i < m->spec.disk_count; i++)
			if (!strcmp(m->spec.disks[i].name, disk->name))
				return damaged(e, "disk %s is there twice", disk->name);
	}
	return 0;
}

static int parse_passes(struct json_object *from, struct manifest *m, struct err *e)
{
	struct json_object *list = get(from, "passes", json_type_array, e);
	size_t count = list ? json_object_array_length(list) : 0;
	uint64_t after = m->merging_pass ? m->merging_pass : m->base_pass;
	unsigned int consistency;

	if (!list)
		return -EUCLEAN;
	if (count > MAX_PASSES)
		return damaged(e, "%zu passes are not possible", count);
	m->passes = calloc(count + 1, sizeof(*m->passes));
	if (!m->passes)
		return err_sys(e, -ENOMEM, "cannot read %s", FILE_NAME);
	for (; m->pass_count < count; m->pass_count++) {
		struct json_object *o = json_object_array_get_idx(list, m->pass_count);
		struct manifest_pass *pass = &m->passes[m->pass_count];

		if (get_members(o, 4, e) || get_number(o, "id", 1, INT64_MAX, &pass->id, e) ||
		    get_number(o, "cut_time_us", 0, INT64_MAX, &pass->cut_time_us, e) ||
		    get_bool(o, "whole", &pass->whole, e) ||
		    get_name(o, "consistency", consistency_names, 3, &consistency, e))
			return -EUCLEAN;
		if (pass->id <= after)
			return damaged(e, "pass %" PRIu64 " is out of order", pass->id);
		after = pass->id;
		pass->consistency = consistency;
	}
	return 0;
}

static int parse_failover(struct json_object *from, struct manifest *m, struct err *e)
{
	struct json_object *o = get(from, "failover", json_type_object, e);
	struct store_failover *f = &m->failover;
	unsigned int state;

	if (!o)
		return -EUCLEAN;
	if (get_members(o, 4, e) || get_name(o, "state", failover_names, 3, &state, e) ||
	    get_number(o, "pass", 0, INT64_MAX, &f->pass, e) ||
	    get_number(o, "generation", 0, m->generation, &f->generation, e) ||
	    get_number(o, "time_us", 0, INT64_MAX, &f->time_us, e))
		return -EUCLEAN;
	f->state = state;
	return 0;
}

const struct manifest_pass *manifest_point(const struct manifest *m, uint64_t id, struct err *e)
{
	for (unsigned int i = m->initial == STORE_INITIAL_AWAITED ? 0 : m->pass_count; i-- > 0;)
		if (m->passes[i].whole && (!id || m->passes[i].id == id))
			return &m->passes[i];
	if (id)
		err_set(e, -ENOENT, "%s has no point %" PRIu64 ": see `vmreplica points %s`",
			m->spec.vm, id, m->spec.vm);
	else
		err_set(e, -ENOENT, "there is no point of %s yet", m->spec.vm);
	return NULL;
}

/* A VM that was failed over stands on a point. */
static int check_failover(const struct manifest *m, struct err *e)
{
	const struct store_failover *f = &m->failover;

	if (!!f->state != !!f->pass || !f->pass != !f->generation)
		return damaged(e, "its failover is half there");
	if (f->pass && !manifest_point(m, f->pass, NULL))
		return damaged(e, "it is failed over to pass %" PRIu64 ", which is no point",
			       f->pass);
	return 0;
}

/* What the single values say must fit together. */
static int check(const struct manifest *m, struct err *e)
{
	bool complete = manifest_has_base(m);

	if (complete != !!m->base_pass || (!complete && m->pass_count))
		return damaged(e, "there are passes without a complete initial pass");
	if (m->merging_pass && (!complete || m->merging_pass <= m->base_pass || !m->pass_count))
		return damaged(e, "pass %" PRIu64 " cannot be one that is merged", m->merging_pass);
	return check_failover(m, e);
}

static int parse(struct json_object *o, struct manifest *m, struct err *e)
{
	char format[32];
	uint64_t version;
	unsigned int initial;
	int ret;

	if (!json_object_is_type(o, json_type_object))
		return damaged(e, "it is not a JSON object");
	if (get_text(o, "format", format, sizeof(format), e) ||
	    get_number(o, "version", 0, INT32_MAX, &version, e))
		return -EUCLEAN;
	if (strcmp(format, FORMAT))
		return damaged(e, "its format is not %s", FORMAT);
	if (version != VERSION && version != OLD_VERSION)
		return err_set(e, -EUCLEAN,
			       "%s is of version %" PRIu64 "; this program knows version %d",
			       FILE_NAME, version, VERSION);
	if (get_members(o, version == OLD_VERSION ? 11 : 13, e) || get_text(o, "vm", m->spec.vm, sizeof(m->spec.vm), e) ||
	    get_text(o, "relationship", m->spec.relationship, sizeof(m->spec.relationship), e) ||
	    get_bool(o, "released", &m->released, e) ||
	    get_name(o, "initial", initial_names, 4, &initial, e) ||
	    get_number(o, "base_pass", 0, INT64_MAX, &m->base_pass, e) ||
	    get_number(o, "merging_pass", 0, INT64_MAX, &m->merging_pass, e))
		return -EUCLEAN;
	m->initial = initial;
	ret = parse_disks(o, m, e);
	if (!ret)
		ret = parse_passes(o, m, e);
	if (!ret && version != OLD_VERSION)
		ret = get_number(o, "generation", 0, INT64_MAX, &m->generation, e);
	if (!ret && version != OLD_VERSION)
		ret = parse_failover(o, m, e);
	return ret ? ret : check(m, e);
}

/* Whole file, NUL terminated, for the caller to free; null with a sentence in @e. */
static char *read_text(int dir_fd, size_t *bytes, struct err *e)
{
	int fd = openat(dir_fd, FILE_NAME, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	char *text = NULL;
	struct stat st;
	ssize_t got = -1;

	if (fd < 0) {
		err_sys(e, -errno, "cannot open %s", FILE_NAME);
		return NULL;
	}
	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_size <= SEALED_TRAILER_BYTES ||
	    st.st_size > MAX_BYTES) {
		close(fd);
		damaged(e, "it is not a file of a possible size");
		return NULL;
	}
	text = calloc(1, st.st_size + 1);
	if (text)
		got = pread(fd, text, st.st_size, 0);
	close(fd);
	if (got != st.st_size) {
		err_set(e, -EIO, "cannot read %s", FILE_NAME);
		free(text);
		return NULL;
	}
	*bytes = st.st_size;
	return text;
}

static int parse_text(const char *text, size_t bytes, struct manifest *m, struct err *e)
{
	struct json_tokener *tokener;
	struct json_object *o;
	int ret;

	if (!sealed_intact(text, bytes))
		return damaged(e, "its checksum is wrong");
	tokener = json_tokener_new();
	if (!tokener)
		return err_sys(e, -ENOMEM, "cannot read %s", FILE_NAME);
	json_tokener_set_flags(tokener, JSON_TOKENER_STRICT);
	o = json_tokener_parse_ex(tokener, text, bytes + 1);
	ret = parse(o, m, e);
	json_object_put(o);
	json_tokener_free(tokener);
	return ret;
}

int manifest_read(int dir_fd, struct manifest *m, struct err *e)
{
	struct err why = { 0 };
	size_t bytes = 0;
	char *text = read_text(dir_fd, &bytes, &why);
	int ret = why.code;

	*m = (struct manifest){ 0 };
	if (text)
		ret = parse_text(text, bytes, m, &why);
	free(text);
	if (ret) {
		manifest_free(m);
		if (e)
			*e = why;
	}
	return ret;
}
