// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../common/replace.h"
#include "medium.h"
#include "sealed.h"

#define FORMAT	  "vmreplica-export"
#define VERSION	  1
#define FILE_NAME "export.json"
#define TEMP_NAME "export.json.tmp"
#define MAX_BYTES (1 << 20) /* 64 disks need about 40 KiB */

void medium_file_name(const struct medium_disk *disk, char name[MEDIUM_FILE_BYTES])
{
	snprintf(name, MEDIUM_FILE_BYTES, "%s.frames", disk->name);
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

static struct json_object *disk_to_json(const struct medium_disk *disk)
{
	struct json_object *o = json_object_new_object();
	char digest[20];

	snprintf(digest, sizeof(digest), "%016" PRIx64, disk->digest);
	if (o && add(o, "name", json_object_new_string(disk->name)) &&
	    add(o, "source", json_object_new_string(disk->source)) &&
	    add(o, "size_bytes", json_object_new_int64(disk->size_bytes)) &&
	    add(o, "chunk_bytes", json_object_new_int64(disk->chunk_bytes)) &&
	    add(o, "durable_bytes", json_object_new_int64(disk->durable_bytes)) &&
	    add(o, "file_bytes", json_object_new_int64(disk->file_bytes)) &&
	    add(o, "frames", json_object_new_int64(disk->frames)) &&
	    add(o, "digest", json_object_new_string(digest)))
		return o;
	json_object_put(o);
	return NULL;
}

static struct json_object *to_json(const struct medium *m)
{
	struct json_object *o = json_object_new_object(), *disks = json_object_new_array(), *disk;
	bool ok = o && disks && add(o, "format", json_object_new_string(FORMAT)) &&
		  add(o, "version", json_object_new_int64(VERSION)) &&
		  add(o, "vm", json_object_new_string(m->vm)) &&
		  add(o, "relationship", json_object_new_string(m->relationship)) &&
		  add(o, "pass", json_object_new_int64(m->pass)) &&
		  add(o, "time_us", json_object_new_int64(m->time_us)) &&
		  add(o, "complete", json_object_new_boolean(m->complete)) &&
		  add(o, "disks", json_object_get(disks));

	for (unsigned int i = 0; ok && i < m->disk_count; i++) {
		disk = disk_to_json(&m->disks[i]);
		ok = disk && !json_object_array_add(disks, disk);
	}
	json_object_put(disks);
	if (ok)
		return o;
	json_object_put(o);
	return NULL;
}

int medium_write(int dir_fd, const struct medium *m, struct err *e)
{
	struct json_object *o = to_json(m);
	char *text = o ? sealed_text(o, MAX_BYTES) : NULL;
	int ret = -ENOMEM;

	if (text)
		ret = replace_file(dir_fd, FILE_NAME, TEMP_NAME, text, strlen(text), NULL);
	json_object_put(o);
	free(text);
	return ret ? err_sys(e, ret, "cannot write %s of the export of %s", FILE_NAME, m->vm) : 0;
}

/* --- reading ------------------------------------------------------------- */

/* The first thing that is wrong is kept. */
struct reader {
	struct json_object *o;
	const char *wrong;	/* member; null: none */
};

static struct json_object *get(struct reader *r, const char *key, enum json_type type)
{
	struct json_object *value = NULL;

	if (!r->wrong && (!json_object_object_get_ex(r->o, key, &value) ||
			  !json_object_is_type(value, type)))
		r->wrong = key;
	return r->wrong ? NULL : value;
}

static uint64_t get_number(struct reader *r, const char *key, uint64_t min, uint64_t max)
{
	struct json_object *value = get(r, key, json_type_int);
	int64_t n = value ? json_object_get_int64(value) : 0;

	if (value && (n < 0 || (uint64_t)n < min || (uint64_t)n > max))
		r->wrong = key;
	return n;
}

static void get_text(struct reader *r, const char *key, char *text, size_t room)
{
	struct json_object *value = get(r, key, json_type_string);
	size_t bytes = value ? (size_t)json_object_get_string_len(value) : 0;

	if (value && (bytes >= room || strlen(json_object_get_string(value)) != bytes))
		r->wrong = key;
	else if (value)
		memcpy(text, json_object_get_string(value), bytes + 1);
}

static void get_digest(struct reader *r, uint64_t *digest)
{
	char text[20] = "";

	get_text(r, "digest", text, sizeof(text));
	if (!r->wrong && (strlen(text) != 16 || strspn(text, "0123456789abcdef") != 16))
		r->wrong = "digest";
	*digest = strtoull(text, NULL, 16);
}

static void parse_disk(struct reader *r, struct medium_disk *disk)
{
	get_text(r, "name", disk->name, sizeof(disk->name));
	get_text(r, "source", disk->source, sizeof(disk->source));
	disk->size_bytes = get_number(r, "size_bytes", 512, INT64_MAX - STORE_MAX_CHUNK_BYTES);
	disk->chunk_bytes = get_number(r, "chunk_bytes", STORE_MIN_CHUNK_BYTES,
				       STORE_MAX_CHUNK_BYTES);
	disk->durable_bytes = get_number(r, "durable_bytes", 0, disk->size_bytes);
	disk->file_bytes = get_number(r, "file_bytes", 0, INT64_MAX);
	disk->frames = get_number(r, "frames", 0, INT64_MAX);
	get_digest(r, &disk->digest);
	if (!r->wrong && (!store_name_valid(disk->name) || disk->size_bytes % 512 ||
			  (disk->chunk_bytes & (disk->chunk_bytes - 1))))
		r->wrong = "disks";
}

static void parse_disks(struct reader *r, struct medium *m)
{
	struct json_object *whole = r->o, *disks = get(r, "disks", json_type_array);
	size_t count = disks ? json_object_array_length(disks) : 0;

	if (disks && (!count || count > STORE_MAX_DISKS))
		r->wrong = "disks";
	for (size_t i = 0; !r->wrong && i < count; i++) {
		r->o = json_object_array_get_idx(disks, i);
		if (!json_object_is_type(r->o, json_type_object))
			r->wrong = "disks";
		else
			parse_disk(r, &m->disks[i]);
	}
	r->o = whole;
	m->disk_count = count;
}

static const char *parse(struct json_object *o, struct medium *m)
{
	struct reader r = { .o = o };
	struct json_object *complete;
	char format[32] = "";

	get_text(&r, "format", format, sizeof(format));
	if (!r.wrong && strcmp(format, FORMAT))
		r.wrong = "format";
	get_number(&r, "version", VERSION, VERSION);
	get_text(&r, "vm", m->vm, sizeof(m->vm));
	get_text(&r, "relationship", m->relationship, sizeof(m->relationship));
	m->pass = get_number(&r, "pass", 0, INT64_MAX);
	m->time_us = get_number(&r, "time_us", 0, INT64_MAX);
	complete = get(&r, "complete", json_type_boolean);
	m->complete = complete && json_object_get_boolean(complete);
	parse_disks(&r, m);
	if (!r.wrong && m->complete && (!m->pass || !m->time_us))
		r.wrong = "complete";
	return r.wrong;
}

static int parse_text(const char *text, size_t bytes, struct medium *m, struct err *e)
{
	struct json_tokener *tokener;
	struct json_object *o;
	const char *wrong;

	if (bytes <= SEALED_TRAILER_BYTES || !sealed_intact(text, bytes))
		return err_set(e, -EUCLEAN, "%s is damaged: its checksum is wrong", FILE_NAME);
	tokener = json_tokener_new();
	if (!tokener)
		return err_sys(e, -ENOMEM, "cannot read %s", FILE_NAME);
	json_tokener_set_flags(tokener, JSON_TOKENER_STRICT);
	o = json_tokener_parse_ex(tokener, text, bytes + 1);
	wrong = o && json_object_is_type(o, json_type_object) ? parse(o, m) : "the object";
	json_object_put(o);
	json_tokener_free(tokener);
	return wrong ? err_set(e, -EUCLEAN, "%s is damaged: \"%s\" cannot be", FILE_NAME, wrong) : 0;
}

int medium_read(int dir_fd, struct medium *m, struct err *e)
{
	int fd = openat(dir_fd, FILE_NAME, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	char *text = calloc(1, MAX_BYTES + 1);
	ssize_t got = -1;
	int ret = 0;

	*m = (struct medium){ 0 };
	if (fd < 0)
		ret = err_sys(e, -errno, "cannot open %s", FILE_NAME);
	else if (!text)
		ret = err_sys(e, -ENOMEM, "cannot read %s", FILE_NAME);
	if (!ret) {
		got = read(fd, text, MAX_BYTES);
		ret = got < 0 ? err_sys(e, -errno, "cannot read %s", FILE_NAME) :
				parse_text(text, got, m, e);
	}
	if (fd >= 0)
		close(fd);
	free(text);
	return ret;
}
