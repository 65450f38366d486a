// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "qcow2.h"
#include "qcow2_header.h"

#define MAX_L1_ENTRIES	   (32u << 20 >> 3) /* QEMU: 32 MiB of L1 table */
#define MAX_REFTABLE_BYTES (8u << 20) /* QEMU: 8 MiB of refcount table */
#define MAX_REFS	   65535u /* a refcount has 16 bits */
#define EXTEND_BYTES	   (64u << 20) /* the file grows ahead of the writes in such steps */
#define STREAM_BYTES	   (256u << 10)
#define PAGE_ENTRIES	   512u /* table entries handled at a time */

/* What each part of a finished file takes: clusters, but for l1_entries and zero_refs. */
struct layout {
	uint64_t l1_entries;
	uint64_t own_l2; /* L2 tables with data in them */
	uint64_t zero_refs; /* L1 entries whose clusters are all zeros */
	uint64_t zero_l2; /* L2 tables that they share */
	uint64_t l1;
	uint64_t refblocks;
	uint64_t reftable;
	uint64_t l2_at, zero_l2_at, l1_at, refblocks_at, reftable_at, total;
};

/* Tables are written in ascending order through one buffer. */
struct stream {
	int fd;
	uint64_t offset;
	size_t used;
	int error;
	uint8_t *buf;
};

static uint64_t div_up(uint64_t n, uint64_t by)
{
	return n / by + !!(n % by);
}

static uint64_t clusters_of(uint64_t size_bytes, uint32_t cluster_bytes)
{
	return div_up(size_bytes, cluster_bytes);
}

/* From l1_entries, own_l2, zero_refs and @data, the clusters before the tables, all the rest. */
static void lay_out(struct layout *l, uint64_t data, uint32_t cluster_bytes)
{
	uint64_t before;

	l->zero_l2 = div_up(l->zero_refs, MAX_REFS);
	l->l1 = div_up(l->l1_entries * 8, cluster_bytes);
	l->l2_at = data;
	l->zero_l2_at = l->l2_at + l->own_l2;
	l->l1_at = l->zero_l2_at + l->zero_l2;
	l->refblocks_at = l->l1_at + l->l1;
	l->refblocks = 0;
	do { /* the blocks count themselves and the table that points to them */
		before = l->refblocks;
		l->reftable = div_up(before * 8, cluster_bytes);
		l->reftable += !l->reftable;
		l->refblocks = div_up(l->refblocks_at + before + l->reftable, cluster_bytes / 2);
	} while (l->refblocks != before);
	l->reftable_at = l->refblocks_at + l->refblocks;
	l->total = l->reftable_at + l->reftable;
}

int qcow2_check_limits(uint64_t size_bytes, uint32_t cluster_bytes, struct err *e)
{
	uint64_t clusters = clusters_of(size_bytes, cluster_bytes);
	struct layout worst = { .l1_entries = div_up(clusters, cluster_bytes / 8) };

	worst.own_l2 = worst.l1_entries;
	if (size_bytes <= (uint64_t)INT64_MAX - cluster_bytes &&
	    worst.l1_entries <= MAX_L1_ENTRIES) {
		lay_out(&worst, 1 + clusters, cluster_bytes);
		if (worst.reftable * cluster_bytes <= MAX_REFTABLE_BYTES)
			return 0;
	}
	return err_set(e, -EFBIG,
		       "a disk of %" PRIu64 " bytes is too large for chunks of %" PRIu32
		       " bytes: QEMU could not open its overlays; use larger chunks",
		       size_bytes, cluster_bytes);
}

int qcow2_create(struct qcow2 *q, int dir_fd, const char *name, uint64_t size_bytes,
		 uint32_t cluster_bytes, struct err *e)
{
	*q = (struct qcow2){ .fd = -1,
			     .direct_fd = -1,
			     .size_bytes = size_bytes,
			     .cluster_bytes = cluster_bytes,
			     .end = cluster_bytes };
	if (clustermap_init(&q->map, clusters_of(size_bytes, cluster_bytes)))
		return err_sys(e, -ENOMEM, "cannot create overlay %s", name);
	q->fd = openat(dir_fd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (q->fd < 0) {
		clustermap_exit(&q->map);
		return err_sys(e, -errno, "cannot create overlay %s", name);
	}
	q->direct_fd = openat(dir_fd, name, O_RDWR | O_DIRECT | O_NOFOLLOW | O_CLOEXEC);
	return 0;
}

void qcow2_close(struct qcow2 *q)
{
	if (q->fd >= 0)
		close(q->fd);
	if (q->direct_fd >= 0)
		close(q->direct_fd);
	q->fd = q->direct_fd = -1;
	clustermap_exit(&q->map);
}

/* Direct writes beyond the end of a file wait for one another: keep its end ahead of them. */
static int extend(struct qcow2 *q, struct err *e)
{
	uint64_t size = div_up(q->end, EXTEND_BYTES) * EXTEND_BYTES;

	if (q->end <= q->extended)
		return 0;
	if (ftruncate(q->fd, size))
		return err_sys(e, -errno, "cannot grow an overlay to %" PRIu64 " bytes", size);
	q->extended = size;
	return 0;
}

/* The place of cluster @index if it is @want (0: any); 0: it is elsewhere, or no memory. */
static uint64_t place_cluster(struct qcow2 *q, uint64_t index, uint64_t want)
{
	uint64_t entry = clustermap_get(&q->map, index);
	uint64_t at = entry & CLUSTERMAP_OFFSET;
	bool fresh = !at;

	if (fresh)
		at = q->end;
	if (want && at != want)
		return 0;
	if (entry == (at | CLUSTERMAP_COPIED))
		return at;
	if (clustermap_set(&q->map, index, at | CLUSTERMAP_COPIED))
		return 0;
	if (fresh)
		q->end += q->cluster_bytes;
	return at;
}

int qcow2_place(struct qcow2 *q, uint64_t offset, uint32_t length, struct store_place *place,
		struct err *e)
{
	uint64_t first = offset / q->cluster_bytes;
	uint64_t count = div_up(length, q->cluster_bytes), done = 1;
	uint64_t at = place_cluster(q, first, 0);

	if (!at)
		return err_sys(e, -ENOMEM, "cannot hold the map of an overlay");
	if (count * q->cluster_bytes > UINT32_MAX)
		count = UINT32_MAX / q->cluster_bytes;
	while (done < count && place_cluster(q, first + done, at + done * q->cluster_bytes))
		done++;
	place->direct = q->direct_fd >= 0;
	place->fd = place->direct ? q->direct_fd : q->fd;
	place->file_offset = at;
	place->length = done * q->cluster_bytes;
	return extend(q, e);
}

int qcow2_zero(struct qcow2 *q, uint64_t offset, uint64_t length, struct err *e)
{
	if (clustermap_zero(&q->map, offset / q->cluster_bytes, div_up(length, q->cluster_bytes)))
		return err_sys(e, -ENOMEM, "cannot hold the map of an overlay");
	return 0;
}

/* --- the tables ---------------------------------------------------------- */

static void stream_flush(struct stream *s)
{
	size_t done = 0;
	ssize_t got;

	while (!s->error && done < s->used) {
		got = pwrite(s->fd, s->buf + done, s->used - done, s->offset + done);
		if (got > 0)
			done += got;
		else if (!got || errno != EINTR)
			s->error = got ? -errno : -EIO;
	}
	s->offset += s->used;
	s->used = 0;
}

/* The file has been grown to its full size: what is skipped is a hole. */
static void stream_skip(struct stream *s, uint64_t bytes)
{
	stream_flush(s);
	s->offset += bytes;
}

static void stream_seek(struct stream *s, uint64_t offset)
{
	stream_skip(s, offset - s->offset - s->used);
}

/* Room for @entries of @size bytes, all zero. */
static void *stream_room(struct stream *s, uint32_t entries, uint32_t size)
{
	void *room;

	if (s->used + entries * size > STREAM_BYTES)
		stream_flush(s);
	room = s->buf + s->used;
	memset(room, 0, entries * size);
	s->used += entries * size;
	return room;
}

/* What the clusters of one L1 entry hold together. */
static enum clustermap_kind l2_kind(const struct qcow2 *q, uint64_t l1_index)
{
	uint64_t leaves = q->cluster_bytes / 8 / CLUSTERMAP_LEAF;
	uint64_t count = div_up(q->map.clusters, CLUSTERMAP_LEAF) - l1_index * leaves;
	uint64_t zeros = 0, none = 0;
	const uint64_t *entries;

	if (count > leaves)
		count = leaves;
	for (uint64_t i = 0; i < count; i++) {
		enum clustermap_kind kind =
			clustermap_leaf(&q->map, l1_index * leaves + i, &entries);

		zeros += kind == CLUSTERMAP_ALL_ZERO;
		none += kind == CLUSTERMAP_NONE;
	}
	if (none == count)
		return CLUSTERMAP_NONE;
	return zeros == count ? CLUSTERMAP_ALL_ZERO : CLUSTERMAP_MIXED;
}

static void write_own_l2(const struct qcow2 *q, uint64_t l1_index, struct stream *s)
{
	uint64_t leaves = q->cluster_bytes / 8 / CLUSTERMAP_LEAF;
	uint64_t count = div_up(q->map.clusters, CLUSTERMAP_LEAF);
	const uint64_t *entries = NULL;

	for (uint64_t i = 0; i < leaves; i++) {
		uint64_t leaf = l1_index * leaves + i;
		enum clustermap_kind kind =
			leaf < count ? clustermap_leaf(&q->map, leaf, &entries) : CLUSTERMAP_NONE;
		uint64_t *room;

		if (kind == CLUSTERMAP_NONE) {
			stream_skip(s, CLUSTERMAP_LEAF * 8);
			continue;
		}
		room = stream_room(s, CLUSTERMAP_LEAF, 8);
		for (unsigned int j = 0; j < CLUSTERMAP_LEAF; j++)
			room[j] = htobe64(kind == CLUSTERMAP_MIXED ? entries[j] : CLUSTERMAP_ZERO);
	}
}

static void write_l2_tables(const struct qcow2 *q, const struct layout *l, struct stream *s)
{
	stream_seek(s, l->l2_at * q->cluster_bytes);
	for (uint64_t i = 0; i < l->l1_entries; i++)
		if (l2_kind(q, i) == CLUSTERMAP_MIXED)
			write_own_l2(q, i, s);
	for (uint64_t i = 0; i < l->zero_l2 * (q->cluster_bytes / 8 / PAGE_ENTRIES); i++) {
		uint64_t *room = stream_room(s, PAGE_ENTRIES, 8);

		for (unsigned int j = 0; j < PAGE_ENTRIES; j++)
			room[j] = htobe64(CLUSTERMAP_ZERO);
	}
}

/* How many L1 entries point to the @table'th of the shared L2 tables. */
static uint64_t zero_table_refs(const struct layout *l, uint64_t table)
{
	return table + 1 < l->zero_l2 ? MAX_REFS : l->zero_refs - table * MAX_REFS;
}

static void write_l1(const struct qcow2 *q, const struct layout *l, struct stream *s)
{
	uint64_t own = 0, zero = 0, entry;

	for (uint64_t page = 0; page < l->l1 * (q->cluster_bytes / 8 / PAGE_ENTRIES); page++) {
		uint64_t entries[PAGE_ENTRIES] = { 0 }, any = 0;

		for (unsigned int j = 0;
		     j < PAGE_ENTRIES && page * PAGE_ENTRIES + j < l->l1_entries; j++) {
			enum clustermap_kind kind = l2_kind(q, page * PAGE_ENTRIES + j);

			if (kind == CLUSTERMAP_NONE)
				continue;
			if (kind == CLUSTERMAP_MIXED) {
				entry = (l->l2_at + own++) * q->cluster_bytes | CLUSTERMAP_COPIED;
			} else {
				entry = (l->zero_l2_at + zero / MAX_REFS) * q->cluster_bytes;
				if (zero_table_refs(l, zero++ / MAX_REFS) == 1)
					entry |= CLUSTERMAP_COPIED;
			}
			any |= entry;
			entries[j] = htobe64(entry);
		}
		if (any)
			memcpy(stream_room(s, PAGE_ENTRIES, 8), entries, sizeof(entries));
		else
			stream_skip(s, sizeof(entries));
	}
}

static void write_refcounts(const struct qcow2 *q, const struct layout *l, struct stream *s)
{
	uint64_t pages = l->refblocks * (q->cluster_bytes / 2 / PAGE_ENTRIES);

	for (uint64_t page = 0; page < pages; page++) {
		uint16_t *room;

		if (page * PAGE_ENTRIES >= l->total) {
			stream_skip(s, PAGE_ENTRIES * 2);
			continue;
		}
		room = stream_room(s, PAGE_ENTRIES, 2);
		for (unsigned int j = 0; j < PAGE_ENTRIES; j++) {
			uint64_t cluster = page * PAGE_ENTRIES + j, refs = cluster < l->total;

			if (cluster >= l->zero_l2_at && cluster < l->zero_l2_at + l->zero_l2)
				refs = zero_table_refs(l, cluster - l->zero_l2_at);
			room[j] = htobe16(refs);
		}
	}
	for (uint64_t i = 0; i < l->refblocks; i++) {
		uint64_t entry = htobe64((l->refblocks_at + i) * q->cluster_bytes);

		memcpy(stream_room(s, 1, 8), &entry, 8);
	}
	stream_flush(s);
}

int qcow2_finish(struct qcow2 *q, const struct qcow2_backing *backing, struct err *e)
{
	struct layout l = { .l1_entries = div_up(q->map.clusters, q->cluster_bytes / 8) };
	struct stream s = { .fd = q->fd };
	struct qcow2_header header = { .size_bytes = q->size_bytes,
				       .cluster_bytes = q->cluster_bytes };

	for (uint64_t i = 0; i < l.l1_entries; i++) {
		enum clustermap_kind kind = l2_kind(q, i);

		l.own_l2 += kind == CLUSTERMAP_MIXED;
		l.zero_refs += kind == CLUSTERMAP_ALL_ZERO;
	}
	lay_out(&l, q->end / q->cluster_bytes, q->cluster_bytes);
	s.buf = malloc(STREAM_BYTES);
	if (!s.buf)
		return err_sys(e, -ENOMEM, "cannot write the tables of an overlay");
	if (ftruncate(q->fd, l.total * q->cluster_bytes))
		s.error = -errno;
	write_l2_tables(q, &l, &s);
	write_l1(q, &l, &s);
	write_refcounts(q, &l, &s);
	header.l1_entries = l.l1_entries;
	header.l1_offset = l.l1_at * q->cluster_bytes;
	header.reftable_offset = l.reftable_at * q->cluster_bytes;
	header.reftable_clusters = l.reftable;
	s.offset = 0;
	qcow2_header_encode(&header, backing, stream_room(&s, QCOW2_HEADER_BLOCK, 1));
	stream_flush(&s);
	free(s.buf);
	return s.error ? err_sys(e, s.error, "cannot write the tables of an overlay") : 0;
}

int qcow2_sync(struct qcow2 *q, struct err *e)
{
	return fsync(q->fd) ? err_sys(e, -errno, "cannot make an overlay durable") : 0;
}
