/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Preserve: keeps what stood in a pass's chunks at its cut.
 *
 * While a pass has an image, a write of the epoch after the cut that overlaps a
 * chunk which is in the pass's map and has yet to be released is held: it waits
 * for the seal, then what stands in the chunk is read into memory, then the write goes
 * its way. Who reads the image reads the device first and looks afterwards whether
 * the chunk was kept meanwhile: if not, no write of after the cut had been let go
 * when the read completed. No reader blocks a writer.
 *
 * The guest comes first. When the memory budget is spent, memory is short, the old
 * contents cannot be read, or the seal takes longer than a held write may wait, preserving
 * ends for this pass: held writes go on at once, and the pass is fuzzy.
 *
 * The map is marked by writes of before the cut while writes of after it look there whether
 * they must be held. Each marks first and looks second, with a full barrier
 * between: either the late marker sees that a new write has passed it by, and the
 * pass is fuzzy (torn), or the new write sees the mark and is held.
 *
 * Several consumers may have a pass of one disk, each cut at another time: each keeps for
 * itself, and a write goes on when all have seen to it.
 */
#ifndef CBT_PRESERVE_H
#define CBT_PRESERVE_H

#include <linux/bio.h>
#include <linux/kref.h>
#include <linux/rwsem.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include "bitmap.h"
#include "disk.h"
#include "epoch.h"

struct cbt_group;

#define CBT_PRESERVE_NO_SLOT	2

struct cbt_preserve {
	struct kref ref;
	struct work_struct free_work;
	struct cbt_preserve *next;	/* cbt_disk.preserves */
	struct cbt_group *group;	/* with a reference, for the budget */
	struct cbt_disk *disk;		/* under @gate until @off */
	struct cbt_share *share;	/* of the disk; the same */
	/* The epoch whose map is the pass's, too; none once its marks are in the share's map. */
	unsigned int slot;
	unsigned int chunk_shift;
	sector_t sectors;		/* size of the disk */
	struct block_device *origin;
	void *origin_handle;		/* what cbt_compat_bdev_open() returned */
	struct xarray kept;		/* chunk -> struct kept */
	struct rw_semaphore gate;	/* readers: who looks at the disk's bitmaps */
	bool off;			/* nothing is held any longer */
	bool torn;			/* what is read need not be as at the cut */
	spinlock_t lock;		/* @sealed, @parked */
	bool sealed;
	struct list_head parked;	/* held before the seal */
	atomic_t nr_held;		/* writes that wait, for who looks on */
};

/* Bytes of the reserve that all groups share. */
u64 cbt_preserve_memory(void);
/* No write waits longer than this for the past, but for the read under way. */
unsigned int cbt_preserve_hold_ms(void);

/* May sleep. */
int cbt_preserve_init(void);
void cbt_preserve_exit(void);

/*
 * For a pass about to be cut, whose map will be that of @share and of the epoch of @slot. Opens
 * the device. May sleep; the group's lock is held. -ENOMEM, or why the device cannot be opened.
 */
struct cbt_preserve *cbt_preserve_create(struct cbt_disk *disk, struct cbt_share *share,
					 unsigned int slot);
struct cbt_preserve *cbt_preserve_get(struct cbt_preserve *preserve);
/* Any context. */
void cbt_preserve_put(struct cbt_preserve *preserve);

/* Held writes may be seen to. */
void cbt_preserve_sealed(struct cbt_preserve *preserve);
/* All that the epoch's map holds is in the share's map: the former is not looked at again. */
void cbt_preserve_moved(struct cbt_preserve *preserve);
/* Ends preserving before its time: the pass is fuzzy. Any context that may not sleep, too. */
void cbt_preserve_fail(struct cbt_preserve *preserve);
/* The pass is over: held writes go on, the disk's bitmaps are not looked at again. May sleep. */
void cbt_preserve_end(struct cbt_preserve *preserve);
/* Chunks @first to @end (exclusive) have been read and need not be kept. May sleep. */
void cbt_preserve_release(struct cbt_preserve *preserve, u64 first, u64 end);

/* The rest of cbt_preserve_must_hold(). */
bool cbt_preserve_look(struct cbt_preserve *preserve, struct cbt_disk *disk,
		       const struct cbt_epoch *epoch, u64 first, u64 end);

/*
 * A write of @epoch just marked sectors @first to @end of @disk, preemption is off.
 * True: it has to go to cbt_preserve_hold() before it may go on.
 */
static inline bool cbt_preserve_must_hold(struct cbt_preserve *preserve, struct cbt_disk *disk,
					  const struct cbt_epoch *epoch, sector_t first,
					  sector_t end)
{
	u64 from = (first - disk->first) >> disk->chunk_shift;
	u64 last = (end - 1 - disk->first) >> disk->chunk_shift;

	/* The most frequent one: a new write of one chunk that is not in the pass. */
	if (from == last && smp_load_acquire(&preserve->slot) == CBT_PRESERVE_NO_SLOT &&
	    !cbt_bitmap_test(&preserve->share->map, from))
		return false;
	return cbt_preserve_look(preserve, disk, epoch, from, last + 1);
}

/*
 * Holds @bio until sectors @first to @end of the gendisk have been seen to, then calls
 * @go_on from task context. May sleep.
 */
void cbt_preserve_hold(struct cbt_preserve *preserve, struct bio *bio, sector_t first, sector_t end,
		       void (*go_on)(struct bio *bio));

/*
 * Puts what was kept of sectors from @sector of the disk on (which is where @iter
 * begins in @bio) over what was read. Any context.
 */
void cbt_preserve_patch(struct cbt_preserve *preserve, struct bio *bio, struct bvec_iter iter,
			sector_t sector);

#endif
