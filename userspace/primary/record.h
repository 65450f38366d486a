/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a pass writes into the state, durable on return. pass.c says when, and why in
 * that order.
 */
#ifndef VMR_PRIMARY_RECORD_H
#define VMR_PRIMARY_RECORD_H

#include "state.h"

/* From the next frame on the replica may have a directory for the relationship. */
int record_opened(struct state_file *file, struct err *e);

/*
 * The replica, which has what it acknowledged, is of this generation: an older copy of it will be
 * known by its smaller one. Nothing is written if it is not larger than before.
 */
int record_generation(struct state_file *file, uint64_t generation, struct err *e);

/*
 * A full pass is about to begin: what was complete is not. The checkpoints stay: until the
 * map is full, they are what tells that the replica has lost them.
 */
int record_incomplete(struct state_file *file, struct err *e);

/*
 * A pass is about to begin that compares what it holds; with @initial into a replica that has no
 * complete initial pass, so that what was complete is not. Until all is durable, passes compare.
 */
int record_comparing(struct state_file *file, bool initial, struct err *e);

/*
 * The map of the pass is full: no checkpoint of before counts, no resync is wanted, and the
 * replica is right as it is, of this @generation, even if it was a larger one before.
 */
int record_full(struct state_file *file, uint64_t generation, struct err *e);

/*
 * The disks cannot be tracked, for this reason, and no map of before tells what is owed: from now
 * on passes compare all of them, up to the first one that is tracked.
 */
int record_untracked(struct state_file *file, const char *reason, struct err *e);

/* The disks are tracked, and the map of the pass is full. */
int record_tracked(struct state_file *file, struct err *e);

/* The replica has been told that the initial pass comes on a medium. */
int record_awaited(struct state_file *file, struct err *e);

/* The medium of the initial pass has been imported on the replica. */
int record_imported(struct state_file *file, struct err *e);

/* All of @disk before @offset is durable on the replica. */
int record_checkpoint(struct state_file *file, unsigned int disk, uint64_t offset, struct err *e);

struct record_pass {
	uint64_t pass;			/* id */
	bool point;
	bool exported;			/* it is on a medium, of which the replica is to be told */
	bool full;			/* all of the disks: no medium of before is of use */
	uint64_t cut_time_us;
	uint64_t bytes, wire_bytes, milliseconds;
};

/* A part of a comparing pass is durable on the replica, as a pass of its own. */
int record_slice(struct state_file *file, const struct record_pass *pass, struct err *e);

/* The pass is durable on the replica. */
int record_durable(struct state_file *file, const struct record_pass *pass, struct err *e);

/*
 * All that is on the disks, which are in no use, is on the replica: no pass begins; or that is
 * over.
 */
int record_prepared(struct state_file *file, bool prepared, struct err *e);

/*
 * What the tracker holds is saved with this token, in this boot; "": it is not, or counts no longer.
 */
int record_saved(struct state_file *file, const char *token, const char *boot, struct err *e);

/* A pass failed, with this negative errno: counts only. */
int record_failure(struct state_file *file, int code, struct err *e);

/* So many cycles came and went without a pass of their own: counts only. */
int record_missed(struct state_file *file, uint64_t cycles, struct err *e);

/* The period ends, and a new one begins now. */
int record_new_period(struct state_file *file, struct err *e);

#endif
