/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A pass: what a consumer is owed on all disks of its group, cut at one instant, sealed, read
 * out, and either committed or given up.
 *
 *	NONE -> SEALING -> SEALED -> NONE	begun, drained, committed or given up
 *	        SEALING -> NONE			given up before its epoch was drained
 *
 * A cut ends the epoch under way. When that is drained (sealed) its marks are moved: into the
 * map of the cutter's pass and to what every other consumer is owed; the cutter, too, when it
 * has given its pass up meanwhile. Until then nobody can cut again, for a write of the epoch
 * may still be about to mark it. Passes of several consumers may be open at a time; only
 * one of them can be SEALING.
 *
 * A consumer whose cut has to wait is told to try again (-EAGAIN). Who was told so first cuts
 * first, if it asks again within a second.
 *
 * All functions: the caller holds the group's lock; may sleep. *why is set to a sentence
 * on failure.
 */
#ifndef CBT_PASS_H
#define CBT_PASS_H

#include <linux/types.h>

struct cbt_consumer;
struct cbt_disk;
struct cbt_group;

/* Milliseconds that the owner of a pass may be silent. */
#define CBT_PASS_TIMEOUT_MIN		1000
#define CBT_PASS_TIMEOUT_MAX		(24 * 60 * 60 * 1000)
#define CBT_PASS_TIMEOUT_DEFAULT	(10 * 60 * 1000)

int cbt_pass_init(void);
void cbt_pass_exit(void);

/* For a new group. */
void cbt_pass_setup(struct cbt_group *group);
/* For a group that is going; without its lock, after group->gone was set under it. */
void cbt_pass_teardown(struct cbt_group *group);

/* True while an epoch is being sealed or a pass is open, so that disks cannot come or go. */
bool cbt_pass_under_way(struct cbt_group *group);
/* Looks for the seal, which may have come since. */
void cbt_pass_look(struct cbt_group *group);

struct cbt_pass_spec {
	u32 flags;		/* CBT_PASS_F_FULL, CBT_PASS_F_FUZZY */
	u32 portid;
	u32 timeout_ms;		/* within the bounds above */
};

/*
 * Cuts. Returns 0 with the pass SEALING or, as a rule, SEALED already. Errors as of
 * pass-begin in the specification.
 */
int cbt_pass_begin(struct cbt_consumer *consumer, const struct cbt_pass_spec *spec,
		   const char **why);

/*
 * Whose pass @id is, when it is under way; its deadline is set anew. Or it is over
 * (-ENOENT), ended by its deadline (-ETIME), or not the caller's (-EPERM).
 */
struct cbt_consumer *cbt_pass_find(struct cbt_group *group, u32 id, u32 portid, const char **why);
/* The same of a pass that is SEALED; -EAGAIN when it has yet to be. */
struct cbt_consumer *cbt_pass_find_sealed(struct cbt_group *group, u32 id, u32 portid,
					  const char **why);

/* The pass is SEALED. */
void cbt_pass_commit(struct cbt_consumer *consumer);
/* The pass is SEALED. Chunks only partly inside the range stay what they are. */
int cbt_pass_release(struct cbt_consumer *consumer, struct cbt_disk *disk, u64 offset, u64 length,
		     const char **why);
int cbt_pass_commit_range(struct cbt_consumer *consumer, struct cbt_disk *disk, u64 offset,
			  u64 length, const char **why);
/* Any state; nothing happens without a pass. */
void cbt_pass_give_up(struct cbt_consumer *consumer);

/* Ends the passes of a group that is going, with all they know. */
void cbt_pass_cancel(struct cbt_group *group);

struct cbt_pass_counts {
	u64 chunks;		/* in the map; before the seal some may be counted twice */
	u64 overwritten;	/* of these, written again since the cut and not preserved */
};

void cbt_pass_count_disk(struct cbt_consumer *consumer, struct cbt_disk *disk,
			 struct cbt_pass_counts *counts);
/* Must what was read so far be taken for newer than the cut? */
bool cbt_pass_fuzzy(struct cbt_consumer *consumer, const struct cbt_pass_counts *counts);
void cbt_pass_count(struct cbt_consumer *consumer, struct cbt_pass_counts *counts);
/* Chunks that are marked for the consumer, but for those of its pass. */
u64 cbt_pass_count_dirty(struct cbt_consumer *consumer, struct cbt_disk *disk);

/* Told of each seal, and of each pass that its deadline ended; the lock is held. */
extern void (*cbt_pass_on_sealed)(struct cbt_consumer *consumer);
extern void (*cbt_pass_on_expired)(struct cbt_consumer *consumer);

#endif
