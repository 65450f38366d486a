/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Epochs: which cut a write belongs to.
 *
 * A group has two epochs; one is current, the other is sealed, being sealed or
 * idle. A write enters the current one, marks its chunks in that epoch's bitmaps,
 * and leaves when it has completed. A cut makes the other one current with one
 * store. The old one is drained once every write that entered it has left.
 *
 * Why none is missed: a writer counts itself in and then looks whether the epoch
 * is still current; a cut changes the current epoch and then sums the counts. With a full
 * barrier between the two steps on either side, at least one of them sees the
 * other: the writer sees that it is late, takes its count back and enters the new
 * epoch; or the sum includes the writer, and the seal waits for it. A writer that has
 * entered stays counted until it leaves, and it only leaves after its write
 * has completed, so its marks and its data are there when the sum is zero.
 *
 * Why the sum can be trusted though it reads CPU after CPU: an epoch that is not
 * current gains no lasting count, so every +1 of a writer that stays is visible before the
 * sum begins; what is missed of a -1 makes the sum too large only. A late
 * writer's +1 and -1 happen on one CPU with preemption off, so it adds 0 or 1.
 */
#ifndef CBT_EPOCH_H
#define CBT_EPOCH_H

#include <linux/percpu.h>
#include <linux/wait.h>

#include "debug.h"

struct cbt_epoch {
	unsigned long __percpu *inflight;
	unsigned int slot;		/* which of a disk's two bitmaps is this epoch's */
	bool waited_for;		/* a hint for leave(): someone sleeps on @drained */
	wait_queue_head_t drained;
};

struct cbt_epochs {
	struct cbt_epoch *live;	/* the current one */
	struct cbt_epoch at[2];
};

/* May sleep. -ENOMEM. */
int cbt_epochs_init(struct cbt_epochs *epochs);
/* Both epochs are drained and no CPU can enter any more. */
void cbt_epochs_exit(struct cbt_epochs *epochs);

/*
 * Makes the other epoch current and returns the one that was. The other one must
 * be drained and its bitmaps clear. Callers exclude one another (group lock).
 */
struct cbt_epoch *cbt_epochs_cut(struct cbt_epochs *epochs);

/*
 * How many writes are in flight. For who looks on: of an epoch that is current the counts of CPUs
 * are read at different times, and the sum may be off, even below 0 as a signed number.
 */
unsigned long cbt_epoch_inflight(const struct cbt_epoch *epoch);

/*
 * True once every write that entered @epoch has left, for good, when it is not
 * current. What those writes marked and wrote is then visible to the caller.
 */
bool cbt_epoch_drained(const struct cbt_epoch *epoch);

/* Sleeps until drained or until @timeout jiffies have passed; returns whether it is drained. */
bool cbt_epoch_wait_drained(struct cbt_epoch *epoch, unsigned long timeout);

/* Preemption is off; any context in which bios are submitted. */
static inline struct cbt_epoch *cbt_epoch_enter(struct cbt_epochs *epochs)
{
	struct cbt_epoch *epoch;

	for (;;) {
		epoch = READ_ONCE(epochs->live);
		cbt_debug_enter_delay();
		this_cpu_inc(*epoch->inflight);
		smp_mb();	/* the count before the second look; pairs with cbt_epochs_cut() */
		if (likely(READ_ONCE(epochs->live) == epoch) || cbt_debug_skip_recheck())
			return epoch;
		this_cpu_dec(*epoch->inflight);
	}
}

/* Any context, on any CPU. */
static inline void cbt_epoch_leave(struct cbt_epoch *epoch)
{
	cbt_debug_leave_delay();
	smp_wmb();	/* marks before the count; pairs with cbt_epoch_drained() */
	this_cpu_dec(*epoch->inflight);
	/* A missed hint costs the waiter one tick: it looks again by itself. */
	if (unlikely(READ_ONCE(epoch->waited_for)))
		wake_up(&epoch->drained);
}

#endif
