/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * For tests of the store: a replica beside a model in memory of what each of
 * its passes must show. Passes are made from a seed, so a child process that is
 * killed in the middle of one and its parent agree on what it was to write. Overlays
 * are read by a decoder of their own here, along the backing files that their headers
 * name, and not by the store's.
 */
#ifndef VMR_SELFTESTS_STORE_WORLD_H
#define VMR_SELFTESTS_STORE_WORLD_H

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "unit.h"
#include "userspace/store/store.h"

#define WORLD_PASSES 64
#define WORLD_VM     "vm"

struct world {
	char root[PATH_MAX / 2];
	struct store_disk disks[3];
	struct store_spec spec;
	uint8_t *shows[WORLD_PASSES][3]; /* by pass id and disk; null: no such pass */
};

/* xorshift64*: the same numbers everywhere. */
static inline uint64_t world_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545f4914f6cdd1dULL;
}

static inline __attribute__((format(printf, 1, 2))) int world_run(const char *fmt, ...)
{
	char command[3 * PATH_MAX];
	va_list ap;
	int ret;

	va_start(ap, fmt);
	vsnprintf(command, sizeof(command), fmt, ap);
	va_end(ap);
	ret = system(command);
	if (ret)
		printf("# exit %d: %s\n", ret >> 8, command);
	return ret;
}

/* A fresh directory below @parent; the world has @count disks of these shapes. */
static inline void world_init(struct world *w, const char *parent, unsigned int count,
			      const uint64_t *sizes, const uint32_t *chunks)
{
	*w = (struct world){ 0 };
	snprintf(w->root, sizeof(w->root), "%s/store-XXXXXX", parent);
	CHECK(mkdtemp(w->root) != NULL);
	strcpy(w->spec.vm, WORLD_VM);
	strcpy(w->spec.relationship, "0f8fad5b-d9cb-469f-a165-70867728950e");
	w->spec.disk_count = count;
	w->spec.disks = w->disks;
	for (unsigned int i = 0; i < count; i++) {
		snprintf(w->disks[i].name, sizeof(w->disks[i].name), "vd%c", 'a' + i);
		snprintf(w->disks[i].source, sizeof(w->disks[i].source), "/dev/vg/disk \"%u\"\n",
			 i);
		w->disks[i].size_bytes = sizes[i];
		w->disks[i].chunk_bytes = chunks[i];
	}
}

static inline int world_remove_one(const char *path, const struct stat *st, int type,
				   struct FTW *ftw)
{
	return remove(path);
}

static inline void world_exit(struct world *w)
{
	for (unsigned int i = 0; i < WORLD_PASSES; i++)
		for (unsigned int j = 0; j < w->spec.disk_count; j++)
			free(w->shows[i][j]);
	CHECK(!nftw(w->root, world_remove_one, 16, FTW_DEPTH | FTW_PHYS));
}

/* What a pass does to a range of a disk. */
struct world_op {
	unsigned int disk;
	uint64_t offset, length;
	bool zero;
	uint8_t fill;
};

/* The @n'th of the operations of pass @id; all of them follow from @seed. */
static inline struct world_op world_op(const struct world *w, uint64_t seed, uint64_t id,
				       unsigned int n)
{
	uint64_t state = seed * 1000003 + id * 7919 + n * 104729 + 1, chunks, first;
	struct world_op op = { 0 };
	const struct store_disk *disk;

	for (int i = 0; i < 4; i++)
		world_random(&state);
	op.disk = world_random(&state) % w->spec.disk_count;
	disk = &w->disks[op.disk];
	chunks = (disk->size_bytes + disk->chunk_bytes - 1) / disk->chunk_bytes;
	first = world_random(&state) % chunks;
	if (world_random(&state) % 8 == 0) /* the end of a disk is where mistakes are made */
		first = chunks - 1 - world_random(&state) % (chunks < 4 ? chunks : 4);
	op.offset = first * disk->chunk_bytes;
	op.length = (1 + world_random(&state) % (chunks - first)) * disk->chunk_bytes;
	if (world_random(&state) % 4)
		op.length = (1 + world_random(&state) % 8) * disk->chunk_bytes;
	if (op.length > disk->size_bytes - op.offset)
		op.length = disk->size_bytes - op.offset;
	op.zero = world_random(&state) % 4 == 0;
	op.fill = 1 + world_random(&state) % 255;
	return op;
}

/* The byte that @op writes at @offset of its disk: differs from place to place. */
static inline uint8_t world_byte(const struct world_op *op, uint64_t offset)
{
	return op->zero ? 0 : (uint8_t)(op->fill + (offset >> 9) * 7 + offset % 251);
}

/* Models what pass @id must show: pass @before (0: an empty disk) and @ops operations. */
static inline void world_model(struct world *w, uint64_t seed, uint64_t before, uint64_t id,
			       unsigned int ops)
{
	for (unsigned int i = 0; i < w->spec.disk_count; i++) {
		free(w->shows[id][i]);
		w->shows[id][i] = calloc(1, w->disks[i].size_bytes);
		if (before)
			memcpy(w->shows[id][i], w->shows[before][i], w->disks[i].size_bytes);
	}
	for (unsigned int n = 0; n < ops; n++) {
		struct world_op op = world_op(w, seed, id, n);

		for (uint64_t at = op.offset; at < op.offset + op.length; at++)
			w->shows[id][op.disk][at] = world_byte(&op, at);
	}
}

/* Writes one operation through the store's interface, as the receiver does. */
static inline int world_write(struct store_pass *pass, const struct world_op *op, struct err *e)
{
	uint64_t done = 0;
	int ret;

	if (op->zero)
		return store_pass_zero(pass, op->disk, op->offset, op->length, e);
	while (done < op->length) {
		struct store_place place;
		uint8_t *buf;
		ssize_t got;

		ret = store_pass_place(pass, op->disk, op->offset + done, op->length - done, &place,
				       e);
		if (ret)
			return ret;
		buf = aligned_alloc(4096, (place.length + 4095) / 4096 * 4096);
		for (uint32_t i = 0; i < place.length; i++)
			buf[i] = done + i < op->length ? world_byte(op, op->offset + done + i) : 0;
		got = pwrite(place.fd, buf, place.length, place.file_offset);
		free(buf);
		if (got != place.length)
			return err_sys(e, got < 0 ? -errno : -ENOSPC, "cannot write");
		done += place.length;
	}
	return 0;
}

/* Pass @id with its @ops operations, up to the commit. */
static inline int world_pass(struct world *w, struct store *store, uint64_t seed, uint64_t id,
			     unsigned int ops, bool whole, struct err *e)
{
	enum store_pass_kind kind = store_initial(store) == STORE_INITIAL_COMPLETE ?
					    STORE_PASS_DELTA :
					    STORE_PASS_INITIAL;
	struct store_pass *pass;
	int ret = store_pass_begin(store, id, kind, &pass, e);

	for (unsigned int n = 0; n < ops && !ret; n++) {
		struct world_op op = world_op(w, seed, id, n);

		ret = world_write(pass, &op, e);
		if (ret)
			store_pass_abort(pass);
	}
	if (ret)
		return ret;
	return store_pass_commit(pass, 1000000 * id, whole, STORE_CONSISTENCY_CRASH, e);
}

/* --- reading a chain ----------------------------------------------------- */

static inline uint64_t world_be64(int fd, uint64_t at)
{
	uint64_t value = 0;

	CHECK(pread(fd, &value, 8, at) == 8);
	return be64toh(value);
}

static inline uint32_t world_be32(int fd, uint64_t at)
{
	uint32_t value = 0;

	CHECK(pread(fd, &value, 4, at) == 4);
	return be32toh(value);
}

/* Puts the clusters that the overlay @fd holds over @shows. */
static inline void world_read_clusters(int fd, uint8_t *shows, uint64_t size)
{
	uint64_t cluster = 1ULL << world_be32(fd, 20), per_l2 = cluster / 8,
		 l1 = world_be64(fd, 40);

	CHECK_EQ(world_be64(fd, 24), size);
	for (uint64_t at = 0; at < size; at += cluster) {
		uint64_t index = at / cluster, bytes = size - at < cluster ? size - at : cluster;
		uint64_t l2 = world_be64(fd, l1 + index / per_l2 * 8) & 0x00fffffffffffe00ULL,
			 entry;

		if (!l2)
			continue;
		entry = world_be64(fd, l2 + index % per_l2 * 8);
		if (entry & 1)
			memset(shows + at, 0, bytes);
		else if (entry)
			CHECK(pread(fd, shows + at, bytes, entry & 0x00fffffffffffe00ULL) ==
			      (ssize_t)bytes);
	}
}

static inline void world_read_file(const char *path, uint8_t *shows, uint64_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char name[256] = "", format[8] = "", below[PATH_MAX + 300], dir[PATH_MAX];
	struct stat st;

	CHECK(fd >= 0);
	if (fd < 0)
		return;
	CHECK(!fstat(fd, &st));
	if (strstr(path, "/base.raw")) {
		CHECK_EQ(st.st_size, size);
		CHECK(pread(fd, shows, size, 0) == (ssize_t)size);
	} else {
		CHECK_EQ(world_be32(fd, 0), 0x514649fb);
		if (world_be32(fd, 0) != 0x514649fb) {
			close(fd);
			return;
		}
		CHECK(pread(fd, name, world_be32(fd, 16) & 255, world_be64(fd, 8)) > 0);
		CHECK_EQ(world_be32(fd, 104), 0xe2792aca);
		CHECK(pread(fd, format, world_be32(fd, 108) & 7, 112) > 0);
		CHECK_STR(format, strstr(name, ".raw") ? "raw" : "qcow2");
		snprintf(dir, sizeof(dir), "%s", path);
		snprintf(below, sizeof(below), "%s/%s", dirname(dir), name);
		world_read_file(below, shows, size);
		world_read_clusters(fd, shows, size);
	}
	close(fd);
}

/* Every point is what the model says; returns how many there are. */
static inline unsigned int world_check_points(struct world *w)
{
	struct store_points points;
	struct err e = { 0 };
	unsigned int count;

	CHECK_EQ(store_points(w->root, WORLD_VM, &points, &e), 0);
	for (unsigned int i = 0; i < points.count; i++) {
		unsigned int id = strtoul(points.at[i].id, NULL, 10);

		CHECK_EQ(points.at[i].time_us, 1000000ULL * id);
		CHECK_EQ(points.at[i].disk_count, w->spec.disk_count);
		for (unsigned int j = 0; j < w->spec.disk_count; j++) {
			uint8_t *shows = calloc(1, w->disks[j].size_bytes);
			bool same;

			world_read_file(points.at[i].disks[j].file, shows, w->disks[j].size_bytes);
			same = w->shows[id][j] &&
			       !memcmp(shows, w->shows[id][j], w->disks[j].size_bytes);
			if (!same)
				printf("# point %u, disk %u is not what it was\n", id, j);
			CHECK(same);
			free(shows);
		}
	}
	count = points.count;
	store_points_free(&points);
	return count;
}

/* The same with QEMU's own tools: sound, without leaks, and equal to the model. */
static inline void world_check_points_with_qemu(struct world *w)
{
	struct store_points points;
	char raw[PATH_MAX];
	struct err e = { 0 };
	int fd;

	CHECK_EQ(store_points(w->root, WORLD_VM, &points, &e), 0);
	snprintf(raw, sizeof(raw), "%s/model.raw", w->root);
	for (unsigned int i = 0; i < points.count; i++) {
		unsigned int id = strtoul(points.at[i].id, NULL, 10);

		for (unsigned int j = 0; j < w->spec.disk_count; j++) {
			const struct store_point_disk *disk = &points.at[i].disks[j];
			uint64_t size = w->disks[j].size_bytes;

			fd = open(raw, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
			CHECK(write(fd, w->shows[id][j], size) == (ssize_t)size);
			close(fd);
			CHECK_STR(disk->format, "qcow2");
			CHECK_EQ(world_run("qemu-img check -q -f qcow2 '%s'", disk->file), 0);
			CHECK_EQ(world_run("qemu-img compare -q -f qcow2 -F raw '%s' '%s'",
					   disk->file, raw),
				 0);
		}
	}
	store_points_free(&points);
	unlink(raw);
}

#endif
