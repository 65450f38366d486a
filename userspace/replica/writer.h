/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writes decoded batches where the store says: ranges that land behind one
 * another go out in one write. At most @depth writes are under way.
 */
#ifndef VMR_REPLICA_WRITER_H
#define VMR_REPLICA_WRITER_H

#include <stdbool.h>
#include <stdint.h>

#include "../ring/ring.h"
#include "../store/store.h"
#include "batch.h"

#define WRITER_MAX_IOV 64

/* How far a batch has got. The owner zeroes it for a new batch. */
struct writer_state {
	unsigned int placed;	/* frames wholly handed over */
	uint32_t within;	/* bytes of the next one that are */
	unsigned int writes;	/* under way */
};

struct writer_op {
	struct writer_state *state;	/* null: free */
	int fd;
	bool direct;
	uint64_t offset;
	uint64_t bytes;
	unsigned int count;		/* of iov, from first on */
	unsigned int first;
	struct iovec iov[WRITER_MAX_IOV];
};

struct writer {
	struct ring *ring;
	struct store_pass *pass;
	uint64_t tag;			/* completions of op i have tag + i */
	unsigned int depth, under_way;
	struct writer_op *ops;
	int fd;				/* of the newest write, -1: none yet */
	bool memory;			/* that is a file in memory */
};

/* 0 or -ENOMEM. */
int writer_init(struct writer *w, struct ring *ring, struct store_pass *pass, unsigned int depth,
		uint64_t tag);
/* No write may be under way. */
void writer_exit(struct writer *w);

/*
 * Places frames of the batch and starts their writes, as far as writes are free:
 * the batch is done when state->placed is batch->count and state->writes is 0.
 */
int writer_advance(struct writer *w, const struct batch *batch, struct writer_state *state,
		   struct err *e);

/* Write @index has completed with @result. */
int writer_ended(struct writer *w, unsigned int index, int result, struct err *e);

#endif
