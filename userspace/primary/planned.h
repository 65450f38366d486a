/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A planned failover: the disks are no longer used, and the replica has all that is on them. */
#ifndef VMR_PRIMARY_PLANNED_H
#define VMR_PRIMARY_PLANNED_H

#include "state.h"

/* The disks, kept from being mounted or taken by another program that asks for them alone. */
struct planned {
	unsigned int count;
	int fds[STATE_MAX_DISKS];
};

/*
 * -EBUSY with a sentence: a disk is mounted, part of something else, or open in QEMU. A program
 * that has one open and says so by neither is found by planned_check_clean() if it writes.
 */
int planned_hold(struct planned *planned, const struct state *state, struct err *e);
void planned_let_go(struct planned *planned);

/* After the last pass: -EBUSY with a sentence: a disk was written since that pass's cut. */
int planned_check_clean(const struct state *state, struct err *e);

#endif
