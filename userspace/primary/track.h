/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A relationship's disks in the tracker: one group, named by the relationship's UUID. */
#ifndef VMR_PRIMARY_TRACK_H
#define VMR_PRIMARY_TRACK_H

#include "../common/err.h"
#include "../libblkcbt/blkcbt.h"
#include "state.h"

struct track {
	uint32_t group;
	unsigned int disk_count;
	struct cbt_disk_info disks[STATE_MAX_DISKS];	/* in the order of the state's disks */
};

/* A handle on the tracker, with a sentence on how to get one when there is none. */
int track_open(struct cbt **cbt, struct err *e);

/* The group as it stands. -ENOENT: there is no group, or it lacks a disk. */
int track_get(struct cbt *cbt, const struct state *state, struct track *track, struct err *e);

/*
 * The same, but makes what is missing; a disk just added is untrusted. With
 * @replace a disk whose device went away or has another size now, which the kernel does
 * not pass over any more, is added again from its path.
 */
int track_ensure(struct cbt *cbt, const struct state *state, bool replace, struct track *track,
		 struct err *e);

/*
 * track_open() and track_ensure(). *@cannot: the tracker is not there, or refuses a disk for what
 * that is, with the reason in @e, which is not null; other failures may be gone the next time.
 * *@cbt is the caller's to close either way, null: there is none.
 */
int track_try(struct cbt **cbt, const struct state *state, bool replace, struct track *track,
	      bool *cannot, struct err *e);

/*
 * Opens a disk for direct reads, through its image if it has one, as during a pass. *@fd is the
 * caller's to close. -ENXIO: its path leads to another device by now.
 */
int track_open_disk(const struct cbt_disk_info *info, int *fd, struct err *e);

/* Ends the tracking; no group is no failure. */
int track_remove(struct cbt *cbt, const char *relationship, struct err *e);

/* All CBT_UNTRUSTED_* bits of the disks. */
uint32_t track_untrusted(const struct track *track);

/* "the device changed its size": the first reason in @bits, in words. */
const char *track_untrusted_reason(uint32_t bits);

#endif
