/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The hashes of a range of a disk, made by several threads ahead of their owner: what
 * both sides of a comparison do at the same time, each with its own disk. The owner takes
 * segments (wire.h) in order and gives them back in order; threads work on as
 * many segments as DIGEST_WINDOW beyond what was given back.
 *
 * Memory: 1 MiB for each thread, and for each segment of the window 16 bytes for each of its
 * chunks: at most 1.1 MiB together.
 */
#ifndef VMR_WIRE_DIGEST_H
#define VMR_WIRE_DIGEST_H

#include <stdint.h>

#include "wire.h"

#define DIGEST_WINDOW		4
#define DIGEST_MAX_THREADS	16

struct digest;

struct digest_spec {
	/* of whole chunks, but for the end of a disk; @length is not 0 */
	uint64_t offset, length;
	uint32_t chunk_bytes;		/* power of two, 4 KiB to 1 MiB */
	const uint8_t *secret;		/* WIRE_SECRET_BYTES; copied */
	unsigned int threads;		/* 0: by the number of processors */
	/*
	 * Reads exactly @bytes at @offset into @buffer, which is aligned to 4096 and has room
	 * for @bytes rounded up to that. 0 or a negative errno. In any of the threads.
	 */
	int (*read)(void *arg, uint64_t offset, void *buffer, uint32_t bytes);
	void *arg;
};

struct digest_segment {
	uint64_t offset, length;	/* bytes of the disk */
	unsigned int chunk_count, run_count;
	uint8_t (*chunks)[WIRE_HASH_BYTES];
	uint8_t (*runs)[WIRE_HASH_BYTES];
};

int digest_create(const struct digest_spec *spec, struct digest **digest, struct err *e);
/* Waits for the reads under way. Null is allowed. */
void digest_destroy(struct digest *digest);

/* Readable when digest_take() may have something new. */
int digest_fd(const struct digest *digest);

/*
 * The next segment, if its hashes are all there. 1, 0: not yet, or none is left, or the negative
 * errno of a read, with a sentence. The segment is the owner's until digest_release().
 */
int digest_take(struct digest *digest, const struct digest_segment **segment, struct err *e);

/* The same, but waits. @cancel_fd: an eventfd that ends it with -ECANCELED; -1: none. */
int digest_next(struct digest *digest, int cancel_fd, const struct digest_segment **segment,
		struct err *e);

/* The oldest segment that was taken is not needed any more. */
void digest_release(struct digest *digest);

/* How many chunks run @run of a segment has. */
unsigned int digest_run_chunks(const struct digest_segment *segment, unsigned int run);

#endif
