/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A pass: one epoch of a group, cut, sealed, read out, and either committed or given up.
 *
 *	NONE -> SEALING -> SEALED -> NONE		begun, drained, committed or given up
 *	        SEALING -> ABANDONED -> NONE		given up before it was drained
 *
 * A map is merged back only after its epoch is drained: before that a write of the
 * epoch may still be about to mark it, and a later pass would not wait for that write.
 *
 * All functions: the caller holds the group's lock; may sleep. *why is set to a sentence
 * on failure.
 */
#ifndef CBT_PASS_H
#define CBT_PASS_H

#include <linux/types.h>

struct cbt_disk;
struct cbt_group;

int cbt_pass_init(void);
void cbt_pass_exit(void);

/* For a new group. */
void cbt_pass_setup(struct cbt_group *group);
/* For a group that is going; without its lock, after group->gone was set under it. */
void cbt_pass_teardown(struct cbt_group *group);

/* True while the bitmaps of both epochs are in use, so that disks cannot come or go. */
bool cbt_pass_under_way(struct cbt_group *group);

/*
 * Cuts. Returns 0 with the pass SEALING or, as a rule, SEALED already. Errors as of
 * pass-begin in the specification.
 */
int cbt_pass_begin(struct cbt_group *group, u32 flags, u32 portid, const char **why);

/* The pass @id is under way (0), is over (-ENOENT), or is not the caller's (-EPERM). */
int cbt_pass_find(struct cbt_group *group, u32 id, u32 portid, const char **why);
/* Pass @id is SEALED (0), or as above, or has yet to be (-EAGAIN). */
int cbt_pass_find_sealed(struct cbt_group *group, u32 id, u32 portid, const char **why);

/* The pass is SEALED. */
void cbt_pass_commit(struct cbt_group *group);
/* The pass is SEALED. Chunks only partly inside the range stay what they are. */
int cbt_pass_release(struct cbt_group *group, struct cbt_disk *disk, u64 offset, u64 length,
		     const char **why);
int cbt_pass_commit_range(struct cbt_group *group, struct cbt_disk *disk, u64 offset, u64 length,
			  const char **why);
/* The pass is SEALING or SEALED. */
void cbt_pass_give_up(struct cbt_group *group);

/* Any state: ends the pass of a group that is going, with all it knows. */
void cbt_pass_cancel(struct cbt_group *group);

struct cbt_pass_counts {
	u64 chunks;		/* in the map */
	u64 overwritten;	/* of these, in the epoch under way, too, and not preserved */
};

void cbt_pass_count_disk(struct cbt_group *group, struct cbt_disk *disk,
			 struct cbt_pass_counts *counts);
/* Must what was read so far be taken for newer than the cut? */
bool cbt_pass_fuzzy(struct cbt_group *group, const struct cbt_pass_counts *counts);
void cbt_pass_count(struct cbt_group *group, struct cbt_pass_counts *counts);

/* The bitmap of the pass under way, or of the current epoch. */
struct cbt_bitmap *cbt_pass_map(struct cbt_group *group, struct cbt_disk *disk);
struct cbt_bitmap *cbt_pass_live_map(struct cbt_group *group, struct cbt_disk *disk);

/* Told of each seal; the lock is held. */
extern void (*cbt_pass_on_sealed)(struct cbt_group *group);

#endif
