// SPDX-License-Identifier: GPL-2.0-or-later
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../common/replace.h"
#include "../wire/codec.h"
#include "marks.h"

#define MAGIC		"VMRMARKS"
#define VERSION		1
#define HEAD_BYTES	(8 + 4 + 4 + 16 + 16 + 8)
#define DISK_BYTES	(8 + 4 + 4 + MARKS_IDENTITY_BYTES + 8 + 8)
#define EXTENT_BYTES	16
#define SUM_BYTES	8
#define MAX_BYTES	(HEAD_BYTES + STATE_MAX_DISKS * DISK_BYTES + \
			 (size_t)MARKS_MAX_EXTENTS * EXTENT_BYTES + SUM_BYTES)

void marks_free(struct marks *marks)
{
	unsigned int i;

	for (i = 0; i < STATE_MAX_DISKS; i++)
		extent_list_free(&marks->disks[i].extents);
}

/* --- coarser --------------------------------------------------------------------- */

static size_t extents_of(const struct marks *marks)
{
	size_t count = 0;
	unsigned int i;

	for (i = 0; i < marks->disk_count; i++)
		count += marks->disks[i].extents.count;
	return count;
}

/* All of each block of @granule bytes that anything lies in. */
static int round_out(struct marks_disk *disk, uint64_t granule)
{
	struct extent_list coarse = { 0 };
	uint64_t from, to, behind = 0;
	size_t i;
	int rc = 0;

	for (i = 0; !rc && i < disk->extents.count; i++) {
		from = disk->extents.at[i].offset / granule * granule;
		to = disk->extents.at[i].offset + disk->extents.at[i].length;
		to = (to + granule - 1) / granule * granule;
		if (from < behind)
			from = behind;
		if (to > disk->size_bytes)
			to = disk->size_bytes;
		if (from >= to)
			continue;
		rc = extent_list_append(&coarse, from, to - from);
		behind = to;
	}
	if (rc) {
		extent_list_free(&coarse);
		return rc;
	}
	extent_list_free(&disk->extents);
	disk->extents = coarse;
	return 0;
}

int marks_coarsen(struct marks *marks, size_t most)
{
	uint64_t granule = 1 << 20;
	unsigned int i;
	int rc = 0;

	for (; !rc && extents_of(marks) > most; granule *= 4) {
		for (i = 0; !rc && i < marks->disk_count; i++)
			rc = round_out(&marks->disks[i], granule);
	}
	return rc;
}

/* --- bytes ------------------------------------------------------------------------ */

static void put(uint8_t **at, const void *data, size_t bytes)
{
	memcpy(*at, data, bytes);
	*at += bytes;
}

static void put64(uint8_t **at, uint64_t value)
{
	value = htole64(value);
	put(at, &value, sizeof(value));
}

static void put32(uint8_t **at, uint32_t value)
{
	value = htole32(value);
	put(at, &value, sizeof(value));
}

static void put_uuid(uint8_t **at, const char *text)
{
	uint8_t uuid[16] = { 0 };

	state_parse_uuid(text, uuid);
	put(at, uuid, sizeof(uuid));
}

static void put_disk(uint8_t **at, const struct marks_disk *disk)
{
	size_t i;

	put64(at, disk->size_bytes);
	put32(at, disk->chunk_bytes);
	put32(at, 0);
	put(at, disk->identity, sizeof(disk->identity));
	put64(at, disk->fingerprint);
	put64(at, disk->extents.count);
	for (i = 0; i < disk->extents.count; i++) {
		put64(at, disk->extents.at[i].offset);
		put64(at, disk->extents.at[i].length);
	}
}

uint8_t *marks_encode(const struct marks *marks, size_t *bytes)
{
	uint8_t *data, *at;
	unsigned int i;

	*bytes = HEAD_BYTES + marks->disk_count * (size_t)DISK_BYTES +
		 extents_of(marks) * EXTENT_BYTES + SUM_BYTES;
	data = at = calloc(1, *bytes);
	if (!data)
		return NULL;
	put(&at, MAGIC, 8);
	put32(&at, VERSION);
	put32(&at, marks->disk_count);
	put_uuid(&at, marks->relationship);
	put_uuid(&at, marks->token);
	put64(&at, marks->last_pass);
	for (i = 0; i < marks->disk_count; i++)
		put_disk(&at, &marks->disks[i]);
	put64(&at, codec_xxh3(data, *bytes - SUM_BYTES));
	return data;
}

/* What is left to be read; beyond its end there are zeros, and it is not right. */
struct reader {
	const uint8_t *at;
	size_t left;
	bool bad;
};

static void get(struct reader *r, void *out, size_t bytes)
{
	memset(out, 0, bytes);
	if (r->left < bytes) {
		r->bad = true;
		return;
	}
	memcpy(out, r->at, bytes);
	r->at += bytes;
	r->left -= bytes;
}

static uint64_t get64(struct reader *r)
{
	uint64_t value;

	get(r, &value, sizeof(value));
	return le64toh(value);
}

static uint32_t get32(struct reader *r)
{
	uint32_t value;

	get(r, &value, sizeof(value));
	return le32toh(value);
}

static void get_uuid(struct reader *r, char text[37])
{
	uint8_t u[16];

	get(r, u, sizeof(u));
	snprintf(text, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
		 u[0], u[1], u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12],
		 u[13], u[14], u[15]);
}

static void get_disk(struct reader *r, struct marks_disk *disk)
{
	uint64_t count, i, offset, length;

	disk->size_bytes = get64(r);
	disk->chunk_bytes = get32(r);
	get32(r);
	get(r, disk->identity, sizeof(disk->identity));
	disk->fingerprint = get64(r);
	count = get64(r);
	r->bad |= disk->identity[sizeof(disk->identity) - 1] != 0 ||
		  disk->chunk_bytes < 512 || (disk->chunk_bytes & (disk->chunk_bytes - 1)) ||
		  count > r->left / EXTENT_BYTES;
	for (i = 0; !r->bad && i < count; i++) {
		offset = get64(r);
		length = get64(r);
		r->bad |= offset % disk->chunk_bytes || offset >= disk->size_bytes ||
			  length > disk->size_bytes - offset ||
			  extent_list_append(&disk->extents, offset, length);
	}
}

int marks_decode(const uint8_t *data, size_t bytes, struct marks *marks, struct err *e)
{
	struct reader r = { data, bytes, false };
	uint64_t sum;
	char magic[8];
	unsigned int i;

	memset(marks, 0, sizeof(*marks));
	if (bytes < HEAD_BYTES + SUM_BYTES)
		return err_set(e, -EUCLEAN, "what was saved is too short");
	memcpy(&sum, data + bytes - SUM_BYTES, sizeof(sum));
	if (le64toh(sum) != codec_xxh3(data, bytes - SUM_BYTES))
		return err_set(e, -EUCLEAN, "the checksum of what was saved is wrong");
	r.left -= SUM_BYTES;
	get(&r, magic, sizeof(magic));
	if (memcmp(magic, MAGIC, sizeof(magic)) || get32(&r) != VERSION)
		return err_set(e, -EUCLEAN, "what was saved is of another kind");
	marks->disk_count = get32(&r);
	get_uuid(&r, marks->relationship);
	get_uuid(&r, marks->token);
	marks->last_pass = get64(&r);
	r.bad |= marks->disk_count < 1 || marks->disk_count > STATE_MAX_DISKS;
	for (i = 0; !r.bad && i < marks->disk_count; i++)
		get_disk(&r, &marks->disks[i]);
	if (r.bad || r.left)
		return err_set(e, -EUCLEAN, "what was saved makes no sense");
	return 0;
}

/* --- the file ----------------------------------------------------------------------- */

static int open_dir(const char *dir, struct err *e)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? err_sys(e, -errno, "cannot open the directory %.200s", dir) : fd;
}

int marks_write(const char *dir, const char *vm, const struct marks *marks, struct err *e)
{
	char name[96], temporary[104];
	int fd = open_dir(dir, e), rc;
	size_t bytes = 0;
	uint8_t *data;

	if (fd < 0)
		return fd;
	snprintf(name, sizeof(name), "%.64s.marks", vm);
	snprintf(temporary, sizeof(temporary), ".%s.new", name);
	data = marks_encode(marks, &bytes);
	rc = data ? replace_file(fd, name, temporary, data, bytes, NULL) : -ENOMEM;
	free(data);
	close(fd);
	return rc ? err_sys(e, rc, "cannot write %.200s/%s", dir, name) : 0;
}

/* *@data is for the caller to free. */
static int read_file(int dir, const char *name, uint8_t **data, size_t *bytes)
{
	int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC), rc = 0;
	struct stat st;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		rc = -errno;
	else if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size > MAX_BYTES)
		rc = -EUCLEAN;
	*bytes = rc ? 0 : st.st_size;
	*data = rc ? NULL : malloc(*bytes + 1);
	if (!rc && !*data)
		rc = -ENOMEM;
	if (!rc && read(fd, *data, *bytes) != (ssize_t)*bytes)
		rc = -EIO;
	close(fd);
	return rc;
}

int marks_read(const char *dir, const char *vm, struct marks *marks, struct err *e)
{
	int fd = open_dir(dir, e), rc;
	uint8_t *data = NULL;
	size_t bytes = 0;
	char name[96];

	memset(marks, 0, sizeof(*marks));
	if (fd < 0)
		return fd;
	snprintf(name, sizeof(name), "%.64s.marks", vm);
	rc = read_file(fd, name, &data, &bytes);
	if (rc)
		err_sys(e, rc, "cannot read %.200s/%s", dir, name);
	else
		rc = marks_decode(data, bytes, marks, e);
	free(data);
	close(fd);
	return rc;
}

void marks_remove(const char *dir, const char *vm)
{
	char path[512];

	snprintf(path, sizeof(path), "%.256s/%.64s.marks", dir, vm);
	unlink(path);
}
