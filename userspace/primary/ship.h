/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ships one pass: extents of disks -> io_uring reads -> zero detection and lz4
 * (worker threads) -> checksum -> socket. Knows nothing of the tracker: disks are
 * file descriptors and lists of extents, so the same code ships a pass from
 * files. Stages are joined by bounded queues over one pool of preallocated
 * buffers; memory does not depend on the size of the disks.
 */
#ifndef VMR_PRIMARY_SHIP_H
#define VMR_PRIMARY_SHIP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "../common/err.h"
#include "../common/extent.h"

struct ship_disk {
	int fd;				/* read side; O_DIRECT if it can */
	uint64_t size_bytes;
	uint32_t chunk_bytes;
	struct extent_list extents;	/* chunk aligned, last one may end at size_bytes */
};

enum ship_compress { SHIP_COMPRESS_OFF, SHIP_COMPRESS_LZ4, SHIP_COMPRESS_AUTO };

struct ship_options {			/* 0: default of each */
	unsigned int depth;		/* reads in flight, 1 to 256, default 16 */
	uint32_t buffer_bytes;		/* one read, 64 KiB to 1 MiB, default 256 KiB */
	unsigned int threads;		/* encoders, 1 to 16, default 2 */
	/* AUTO: lz4 per buffer where a quick test says that it pays */
	enum ship_compress compress;
	/* @initial: CHECKPOINT after so many bytes of a disk, default 256 MiB */
	uint64_t checkpoint_bytes;
};

/* Written by the shipping thread, read by any. */
struct ship_progress {
	_Atomic uint64_t total_bytes;	/* bytes of disk in all extents */
	_Atomic uint64_t done_bytes;	/* of these: sent, or found zero and sent as such */
	_Atomic uint64_t zero_bytes;	/* of these: zero */
	_Atomic uint64_t wire_bytes;	/* headers and payloads written to the socket */
	_Atomic uint64_t frames;	/* DATA and ZERO frames sent */
	_Atomic uint64_t raw_bytes;	/* sum of their raw_bytes */
};

struct ship_spec {
	int sock;			/* connected, the session open, PASS_BEGIN already sent */
	unsigned int disk_count;
	struct ship_disk *disks;
	bool initial;			/* send CHECKPOINT frames and collect the answers */
	int cancel_fd;			/* eventfd: readable ends it with -ECANCELED; -1: none */
	struct ship_options options;
	struct ship_progress *progress;
	/*
	 * Called from the shipping thread for each range that has been read in
	 * (it need not be preserved any longer). May be null.
	 */
	void (*read_done)(void *arg, unsigned int disk, uint64_t offset, uint64_t length);
	/* Initial pass: all of disk @disk before @offset is durable on the replica. May be null. */
	void (*checkpointed)(void *arg, unsigned int disk, uint64_t offset);
	/*
	 * Called once when all reads have completed, before the last frames are
	 * sent, so that the caller can look whether the pass is whole. May be null.
	 */
	void (*reads_done)(void *arg);
	/* Called once a second and more often, also while nothing moves. May be null. */
	void (*tick)(void *arg);
	void *arg;
};

/*
 * Sends all extents of all disks; returns when the last byte has gone into the
 * socket (the caller then sends PASS_END and waits for PASS_DURABLE). An
 * ERROR frame from the replica ends it with the replica's code and sentence.
 */
int ship_run(const struct ship_spec *spec, struct err *e);

#endif
