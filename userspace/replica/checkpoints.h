/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The CHECKPOINT frames of an initial pass that are not answered yet, in their
 * order. One becomes ready when all that came before it in the stream is
 * written; what is ready is made durable at once by a worker.
 */
#ifndef VMR_REPLICA_CHECKPOINTS_H
#define VMR_REPLICA_CHECKPOINTS_H

#include <stdbool.h>
#include <stdint.h>

#include "../common/workers.h"
#include "../store/store.h"
#include "../wire/wire.h"

struct checkpoint {
	uint32_t disk;
	uint64_t offset;
	uint64_t after;		/* slots of the stream that come before it */
};

struct checkpoints {
	struct workers_job job;	/* first: the job is this structure */
	struct checkpoint at[WIRE_MAX_CHECKPOINTS];	/* in a circle, from @first on */
	unsigned int first, count;
	unsigned int ready;	/* of these: with the worker */
	struct store_pass *pass;
	uint64_t durable[WIRE_MAX_DISKS];
	int result;
	struct err error;
};

/* @c->durable says how far each disk is durable already. */
void checkpoints_init(struct checkpoints *c, struct store_pass *pass);

/* False: there are WIRE_MAX_CHECKPOINTS already. */
bool checkpoints_add(struct checkpoints *c, uint32_t disk, uint64_t offset, uint64_t after);

/* While it is, the pass belongs to the worker: nothing may be placed. */
static inline bool checkpoints_busy(const struct checkpoints *c)
{
	return c->ready;
}

/*
 * Of all slots the first @written are written: hands what is ready to the workers, unless
 * they are at it.
 */
void checkpoints_start(struct checkpoints *c, uint64_t written, struct workers *workers);

/* The job has ended: answers over @sock. */
int checkpoints_ended(struct checkpoints *c, int sock, struct err *e);

#endif
