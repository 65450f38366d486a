/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A relationship's disks without the tracker: what there is of them, and whether they were
 * written to while a pass read them.
 */
#ifndef VMR_PRIMARY_UNTRACKED_H
#define VMR_PRIMARY_UNTRACKED_H

#include <stdbool.h>

#include "../common/err.h"
#include "evidence.h"
#include "state.h"
#include "track.h"

/*
 * The disks as their devices are, in @track, which has neither group nor images then. A chunk of 0
 * becomes the one that the tracker would choose. -ENOENT and so on: there is no such device.
 */
int untracked_get(const struct state *state, struct track *track, struct err *e);

/* All that is known of a stretch of time. Disks belong to the caller, open for direct reads. */
struct untracked_watch {
	unsigned int disk_count;
	int fds[STATE_MAX_DISKS];
	struct evidence_counts counts[STATE_MAX_DISKS];
	bool still;			/* so far nothing says that it was not */
};

/* The stretch begins. @fds may be closed behind untracked_still() alone. */
void untracked_watch(struct untracked_watch *watch, const struct state *state, const int *fds);

/*
 * It ends, with all of the disks read in it: is it proven that none of them was written to? It is
 * not where a program has a disk open, which may send commands that no counter sees, where it is
 * a partition, or where the kernel does not count.
 */
bool untracked_still(const struct untracked_watch *watch, const struct state *state);

#endif
