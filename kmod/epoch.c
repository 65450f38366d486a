// SPDX-License-Identifier: GPL-2.0-only
#include <linux/jiffies.h>

#include "epoch.h"

int cbt_epochs_init(struct cbt_epochs *epochs)
{
	unsigned int i;

	for (i = 0; i < 2; i++) {
		epochs->at[i].slot = i;
		init_waitqueue_head(&epochs->at[i].drained);
		epochs->at[i].inflight = alloc_percpu(unsigned long);
	}
	epochs->live = &epochs->at[0];
	if (epochs->at[0].inflight && epochs->at[1].inflight)
		return 0;
	cbt_epochs_exit(epochs);
	return -ENOMEM;
}

void cbt_epochs_exit(struct cbt_epochs *epochs)
{
	free_percpu(epochs->at[0].inflight);
	free_percpu(epochs->at[1].inflight);
}

struct cbt_epoch *cbt_epochs_cut(struct cbt_epochs *epochs)
{
	struct cbt_epoch *old = epochs->live;

	/* Whoever enters the new epoch finds its bitmaps clear. */
	smp_store_release(&epochs->live, &epochs->at[!old->slot]);
	smp_mb();	/* the new epoch before the sum; pairs with cbt_epoch_enter() */
	return old;
}

unsigned long cbt_epoch_inflight(const struct cbt_epoch *epoch)
{
	unsigned long sum = 0;
	int cpu;

	for_each_possible_cpu(cpu)
		sum += READ_ONCE(*per_cpu_ptr(epoch->inflight, cpu));
	return sum;
}

bool cbt_epoch_drained(const struct cbt_epoch *epoch)
{
	bool drained = cbt_epoch_inflight(epoch) == 0;

	smp_rmb();	/* the count before the marks; pairs with cbt_epoch_leave() */
	return drained;
}

bool cbt_epoch_wait_drained(struct cbt_epoch *epoch, unsigned long timeout)
{
	unsigned long end = jiffies + timeout;
	bool drained;

	WRITE_ONCE(epoch->waited_for, true);
	do {
		drained = wait_event_timeout(epoch->drained, cbt_epoch_drained(epoch), 1);
	} while (!drained && time_before(jiffies, end));
	WRITE_ONCE(epoch->waited_for, false);
	return drained;
}
