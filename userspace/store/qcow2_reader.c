// SPDX-License-Identifier: GPL-2.0-or-later
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "qcow2.h"
#include "qcow2_header.h"

#define PAGE_ENTRIES 512u /* L1 entries read at a time */

/* 0, -errno, or -EUCLEAN when the file ends before. */
static int read_at(int fd, void *to, size_t bytes, uint64_t offset)
{
	ssize_t got;

	for (size_t done = 0; done < bytes; done += got) {
		got = pread(fd, (char *)to + done, bytes - done, offset + done);
		if (got < 0 && errno == EINTR)
			got = 0;
		else if (got <= 0)
			return got ? -errno : -EUCLEAN;
	}
	return 0;
}

static int not_ours(struct err *e, const char *name)
{
	return err_set(e, -EUCLEAN,
		       "%s is not the overlay that was written: something has changed it", name);
}

static bool fits(const struct qcow2_reader *r, uint64_t offset, uint64_t bytes)
{
	return offset && offset % r->cluster_bytes == 0 && offset <= r->file_bytes &&
	       bytes <= r->file_bytes - offset;
}

/* The shape that qcow2_finish() gives an overlay of this disk. */
static bool shape_fits(const struct qcow2_reader *r, const struct qcow2_header *header)
{
	uint64_t per_l2 = (uint64_t)r->cluster_bytes * (r->cluster_bytes / 8);

	return header->size_bytes == r->size_bytes && header->cluster_bytes == r->cluster_bytes &&
	       header->l1_entries == r->size_bytes / per_l2 + !!(r->size_bytes % per_l2) &&
	       fits(r, header->l1_offset, header->l1_entries * 8ULL);
}

int qcow2_reader_open(struct qcow2_reader *r, int dir_fd, const char *name, uint64_t size_bytes,
		      uint32_t cluster_bytes, struct err *e)
{
	uint8_t block[QCOW2_HEADER_BLOCK];
	struct qcow2_header header;
	struct stat st;
	int ret;

	*r = (struct qcow2_reader){ .size_bytes = size_bytes, .cluster_bytes = cluster_bytes };
	r->fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (r->fd < 0)
		return err_sys(e, -errno, "cannot open overlay %s", name);
	ret = fstat(r->fd, &st) ? -errno : read_at(r->fd, block, sizeof(block), 0);
	if (ret && ret != -EUCLEAN) {
		close(r->fd);
		return err_sys(e, ret, "cannot read overlay %s", name);
	}
	r->file_bytes = st.st_size;
	if (ret || !qcow2_header_decode(block, &header) || !shape_fits(r, &header)) {
		close(r->fd);
		return not_ours(e, name);
	}
	r->l1_offset = header.l1_offset;
	r->table = malloc(cluster_bytes);
	if (!r->table) {
		close(r->fd);
		return err_sys(e, -ENOMEM, "cannot read overlay %s", name);
	}
	return 0;
}

void qcow2_reader_close(struct qcow2_reader *r)
{
	close(r->fd);
	free(r->table);
	r->table = NULL;
}

/* Loads the first L2 table at or behind L1 entry *@index. 1, 0: there is none, or negative. */
static int next_table(struct qcow2_reader *r, uint64_t *index, uint64_t count)
{
	uint64_t page[PAGE_ENTRIES], offset;
	int ret;

	while (*index < count) {
		uint64_t entries = count - *index < PAGE_ENTRIES ? count - *index : PAGE_ENTRIES;

		ret = read_at(r->fd, page, entries * 8, r->l1_offset + *index * 8);
		if (ret)
			return ret;
		for (uint64_t i = 0; i < entries; i++, ++*index) {
			offset = be64toh(page[i]) & CLUSTERMAP_OFFSET;
			if (!offset)
				continue;
			if (offset == r->table_offset)
				return 1;
			if (!fits(r, offset, r->cluster_bytes))
				return -EUCLEAN;
			r->table_offset = 0;
			ret = read_at(r->fd, r->table, r->cluster_bytes, offset);
			r->table_offset = ret ? 0 : offset;
			return ret ? ret : 1;
		}
	}
	return 0;
}

/* The run that begins at entry @slot of the loaded table, cut where the table ends. */
static int run_at(const struct qcow2_reader *r, uint64_t slot, uint64_t max_bytes,
		  struct qcow2_run *run)
{
	uint64_t entry = be64toh(r->table[slot]), clusters = 1;
	bool zero = entry & CLUSTERMAP_ZERO;
	uint64_t limit = zero ? UINT64_MAX : max_bytes / r->cluster_bytes;

	run->file_offset = zero ? 0 : entry & CLUSTERMAP_OFFSET;
	if (!zero && (entry & ~(CLUSTERMAP_COPIED | CLUSTERMAP_OFFSET)))
		return -EUCLEAN;
	for (; clusters < limit && slot + clusters < r->cluster_bytes / 8; clusters++) {
		uint64_t next = be64toh(r->table[slot + clusters]);

		if (zero ? !(next & CLUSTERMAP_ZERO) :
			   next != (entry + clusters * r->cluster_bytes))
			break;
	}
	run->length = clusters * r->cluster_bytes;
	if (run->length > r->size_bytes - run->offset)
		run->length = r->size_bytes - run->offset;
	return zero || fits(r, run->file_offset, run->length) ? 1 : -EUCLEAN;
}

int qcow2_reader_next(struct qcow2_reader *r, uint64_t *position, uint64_t max_bytes,
		      struct qcow2_run *run, struct err *e)
{
	uint64_t per_table = r->cluster_bytes / 8, table_bytes = per_table * r->cluster_bytes;
	uint64_t count = r->size_bytes / table_bytes + !!(r->size_bytes % table_bytes);
	uint64_t slot, index;
	int ret = 0;

	while (*position < r->size_bytes) {
		index = *position / table_bytes;
		ret = next_table(r, &index, count);
		if (ret <= 0)
			break;
		if (index * table_bytes > *position)
			*position = index * table_bytes;
		slot = *position / r->cluster_bytes % per_table;
		while (slot < per_table && !r->table[slot])
			slot++;
		*position = index * table_bytes + slot * r->cluster_bytes;
		ret = 0;
		if (slot == per_table || *position >= r->size_bytes)
			continue;
		run->offset = *position;
		ret = run_at(r, slot, max_bytes, run);
		*position += run->length;
		break;
	}
	if (ret < 0)
		return ret == -EUCLEAN ? not_ours(e, "a file in the chain") :
					 err_sys(e, ret, "cannot read an overlay");
	return ret;
}

/* The first block as it is, and as it is with @backing. */
static int read_blocks(int fd, const char *name, const struct qcow2_backing *backing,
		       uint8_t block[QCOW2_HEADER_BLOCK], uint8_t changed[QCOW2_HEADER_BLOCK],
		       struct err *e)
{
	struct qcow2_header header;
	int ret = read_at(fd, block, QCOW2_HEADER_BLOCK, 0);

	if (ret && ret != -EUCLEAN)
		return err_sys(e, ret, "cannot read overlay %s", name);
	if (ret || !qcow2_header_decode(block, &header))
		return not_ours(e, name);
	qcow2_header_encode(&header, backing, changed);
	return 0;
}

int qcow2_is_backed(int dir_fd, const char *name, const struct qcow2_backing *backing,
		    struct err *e)
{
	uint8_t block[QCOW2_HEADER_BLOCK], wanted[QCOW2_HEADER_BLOCK];
	int fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC), ret;

	if (fd < 0)
		return err_sys(e, -errno, "cannot open overlay %s", name);
	ret = read_blocks(fd, name, backing, block, wanted, e);
	close(fd);
	return ret ? ret : !memcmp(block, wanted, sizeof(block));
}

int qcow2_rebase(int dir_fd, const char *name, const struct qcow2_backing *backing, struct err *e)
{
	uint8_t block[QCOW2_HEADER_BLOCK], changed[QCOW2_HEADER_BLOCK];
	int fd = openat(dir_fd, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	int ret;

	if (fd < 0)
		return err_sys(e, -errno, "cannot open overlay %s", name);
	ret = read_blocks(fd, name, backing, block, changed, e);
	if (ret) {
		close(fd);
		return ret;
	}
	if (memcmp(block, changed, sizeof(block)) &&
	    pwrite(fd, changed, sizeof(changed), 0) != sizeof(changed))
		ret = -EIO;
	if (!ret && fdatasync(fd))
		ret = -errno;
	close(fd);
	return ret ? err_sys(e, ret, "cannot change the backing file of overlay %s", name) : 0;
}
