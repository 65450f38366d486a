/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A seen write in flight: a bio whose end_io is ours, so that its epoch knows when it
 * has completed. Where several tracked disks see one bio it is wrapped once for each.
 *
 * The contexts come from a small stock on each CPU, so that a write takes nothing that
 * CPUs share and, as a rule, no turn through the allocator.
 */
#ifndef CBT_WRITE_H
#define CBT_WRITE_H

#include <linux/bio.h>

#include "disk.h"

struct cbt_epoch;
struct cbt_preserve;

struct cbt_write {
	u64 serial;			/* of the disk, which may be gone by now */
	struct cbt_epoch *epoch;
	bio_end_io_t *end_io;
	void *private;
	sector_t first, end;		/* of the bio, in sectors of the gendisk */
	/* It must wait there first, for these sectors of the disk; with a reference. Null: not. */
	struct cbt_preserve *hold;
	sector_t hold_first, hold_end;
	struct block_device *bdev;	/* where it was going before */
};

/* Both may sleep. At exit the last wrapped bio has counted itself out of its epoch. */
int cbt_write_init(void);
void cbt_write_exit(void);

/*
 * Wraps @bio, which has entered @epoch for @disk; it leaves when it ends.
 * Preemption is off. False without memory: nothing was done.
 */
bool cbt_write_wrap(const struct cbt_disk *disk, struct cbt_epoch *epoch, struct bio *bio);

/*
 * Sends @bio, just wrapped, on its way to @bdev, to wait until @preserve has seen to
 * sectors @first to @end of the disk. Preemption is off. False: it cannot be made to wait.
 */
bool cbt_write_hold(struct bio *bio, struct block_device *bdev, struct cbt_preserve *preserve,
		    sector_t first, sector_t end);

/* What a wrapped bio's end_io is. */
void cbt_write_end_io(struct bio *bio);

/* The rest of cbt_write_seen(): wrapped for several disks, or part of a wrapped one. */
bool cbt_write_seen_otherwise(const struct cbt_disk *disk, const struct bio *bio);

/* @bio has ended or is about to: was it seen, whole or as part of another, for @disk? */
static inline bool cbt_write_seen(const struct cbt_disk *disk, const struct bio *bio)
{
	const struct cbt_write *write = bio->bi_private;

	return (bio->bi_end_io == cbt_write_end_io && write->serial == disk->serial) ||
	       cbt_write_seen_otherwise(disk, bio);
}

#endif
