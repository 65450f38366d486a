/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Overlays in the qcow2 format, version 3: written once, from front to back, and
 * read back when they are merged. The cluster is the chunk of the tracker.
 *
 *	cluster 0		header, backing file name
 *	data clusters		in the order in which they were placed
 *	L2 tables		one for each L1 entry that was touched; those that
 *				hold zeros only share one table between them
 *	L1 table		sparse in the file
 *	refcount blocks, refcount table
 */
#ifndef VMR_STORE_QCOW2_H
#define VMR_STORE_QCOW2_H

#include "clustermap.h"
#include "store.h"

/* Refuses a disk that QEMU could not open with clusters of this size. */
int qcow2_check_limits(uint64_t size_bytes, uint32_t cluster_bytes, struct err *e);

/* --- writing ------------------------------------------------------------- */

struct qcow2 {
	int fd;			/* -1: not open */
	int direct_fd;		/* the same file with O_DIRECT, or -1 */
	uint64_t size_bytes;
	uint32_t cluster_bytes;
	uint64_t end;		/* of the clusters placed so far, in the file */
	uint64_t extended;	/* size given to the file ahead of the writes */
	struct clustermap map;
};

/* Creates @name, which must not exist. The sentence in @e names the file. */
int qcow2_create(struct qcow2 *q, int dir_fd, const char *name, uint64_t size_bytes,
		 uint32_t cluster_bytes, struct err *e);

/* As store_pass_place() and store_pass_zero(); ranges have been checked. */
int qcow2_place(struct qcow2 *q, uint64_t offset, uint32_t length, struct store_place *place,
		struct err *e);
int qcow2_zero(struct qcow2 *q, uint64_t offset, uint64_t length, struct err *e);

struct qcow2_backing {
	const char *name;	/* relative to the overlay's directory */
	const char *format;	/* "raw" or "qcow2" */
};

/* Writes tables and header; the caller syncs. */
int qcow2_finish(struct qcow2 *q, const struct qcow2_backing *backing, struct err *e);
int qcow2_sync(struct qcow2 *q, struct err *e);
void qcow2_close(struct qcow2 *q);

/* --- reading what was written -------------------------------------------- */

struct qcow2_reader {
	int fd;
	uint64_t size_bytes;
	uint64_t file_bytes;
	uint32_t cluster_bytes;
	uint64_t l1_offset;
	uint64_t table_offset;	/* of @table in the file, 0: none is loaded */
	uint64_t *table;	/* one L2 table, big endian */
};

struct qcow2_run {		/* clusters that lie together */
	uint64_t offset;	/* in the disk */
	uint64_t length;	/* the last cluster is cut at the end of the disk */
	uint64_t file_offset;	/* 0: zeros */
};

/* -EUCLEAN when the file is not an overlay of this shape. */
int qcow2_reader_open(struct qcow2_reader *r, int dir_fd, const char *name, uint64_t size_bytes,
		      uint32_t cluster_bytes, struct err *e);
/*
 * Finds the first run at or behind disk offset *@position and moves *@position behind
 * it. At most @max_bytes long (zeros: as long as their L2 table goes on). 1, 0: there
 * is none, or negative.
 */
int qcow2_reader_next(struct qcow2_reader *r, uint64_t *position, uint64_t max_bytes,
		      struct qcow2_run *run, struct err *e);
void qcow2_reader_close(struct qcow2_reader *r);

/* Whether the overlay is backed by @backing: 1, 0, or negative. */
int qcow2_is_backed(int dir_fd, const char *name, const struct qcow2_backing *backing,
		    struct err *e);

/*
 * Changes the backing file in place and syncs: one write within the first 512
 * bytes, which a disk writes wholly or not at all. Nothing is written when it is
 * @backing already.
 */
int qcow2_rebase(int dir_fd, const char *name, const struct qcow2_backing *backing, struct err *e);

#endif
