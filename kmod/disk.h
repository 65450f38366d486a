/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A tracked disk: a whole block device or a partition, as sectors of a gendisk.
 *
 * The gendisk is held (and so is its driver's module) but not open: the device
 * can be closed, detached and removed while it is tracked, and a new device
 * under its number is never taken for it.
 */
#ifndef CBT_DISK_H
#define CBT_DISK_H

#include <linux/blkdev.h>
#include <linux/list.h>
#include <linux/percpu.h>
#include <linux/workqueue.h>
#include <uapi/linux/blkcbt.h>

#include "bitmap.h"
#include "debug.h"

#define CBT_CONSUMERS_MAX	8	/* of a group, at a time */

struct cbt_group;
struct cbt_preserve;

/* What a disk has for one consumer. Group lock, unless said otherwise. */
struct cbt_share {
	/* Marked in epochs that others cut, or come back from passes. Without bits: see above. */
	struct cbt_bitmap owed;
	struct cbt_bitmap map;		/* of the pass under way, without the epoch being sealed */
	struct cbt_bitmap released;	/* chunks of the pass that were read already */
	struct cbt_preserve *preserve;	/* of the pass under way */
	struct gendisk *image;		/* of the pass under way */
	atomic_t untrusted;		/* CBT_UNTRUSTED_*; sticky, set in any context */
};

struct cbt_disk_stats {
	u64 writes;
	u64 bytes;
};

struct cbt_disk {
	struct list_head entry;		/* cbt_group.disks; group lock */
	struct hlist_node tap_entry;	/* tap.c */
	struct cbt_group *group;	/* outlives the disk */
	/* of all disks since the module was loaded, for comparison */
	u64 serial;
	struct gendisk *gd;
	struct module *owner;		/* of gd's driver */
	u64 diskseq;			/* of gd when it was added: changes with the medium */
	dev_t dev;
	u8 partno;			/* 0: the whole device */
	sector_t first, end;		/* what is tracked, in sectors of gd */
	unsigned int chunk_shift;	/* log2 of a chunk's sectors */
	u32 id;
	struct cbt_bitmap map[2];	/* by cbt_epoch.slot */
	struct cbt_preserve *preserves;	/* of the passes under way; read with preemption off */
	struct cbt_disk_stats __percpu *stats;
	struct work_struct distrusted;	/* tells of it from task context */
	struct cbt_share shares[CBT_CONSUMERS_MAX];	/* by cbt_consumer.slot */
	char path[BLKCBT_PATH_LEN];
};

/*
 * Opens, checks and pins the device; makes its bitmaps. May sleep. On failure
 * *why is a sentence. -ENOTBLK, -ENXIO, -EOPNOTSUPP, -EINVAL, -ENOMEM, or what the look-up of
 * the path says.
 */
struct cbt_disk *cbt_disk_create(const char *path, u32 chunk_bytes, const char **why);
/* No CPU can mark the disk any longer. May sleep. */
void cbt_disk_destroy(struct cbt_disk *disk);

/* Of a consumer that comes, without @owed; -ENOMEM. It may sleep, as the next one may. */
int cbt_disk_make_share(struct cbt_disk *disk, unsigned int slot);
/* Of one that is gone, or that could not be made whole; nobody looks at it. */
void cbt_disk_free_share(struct cbt_disk *disk, unsigned int slot);

u64 cbt_disk_memory(const struct cbt_disk *disk);
u64 cbt_disk_size_bytes(const struct cbt_disk *disk);

/*
 * Marks the chunks of sectors @first to @end (exclusive, of the gendisk, within the
 * disk) in the bitmap of @slot, and counts the write. Any context; the caller is in
 * that slot's epoch. A full barrier orders the marks before what the caller looks at next.
 */
static __always_inline void cbt_disk_mark(struct cbt_disk *disk, unsigned int slot, sector_t first,
					  sector_t end)
{
	u64 from = (first - disk->first) >> disk->chunk_shift;
	u64 last = (end - 1 - disk->first) >> disk->chunk_shift;
	struct cbt_disk_stats __percpu *stats = disk->stats;

	cbt_debug_mark_delay();
	if (cbt_debug_forget_mark())
		return;
	if (likely(from == last)) {
		cbt_bitmap_set_one(&disk->map[slot], from);
		/*
		 * There is one in the set bit. A bit that another has set was only read, which
		 * has an order by itself where this one here is none.
		 */
		smp_mb__after_atomic();
	} else {
		cbt_bitmap_set(&disk->map[slot], from, last - from + 1);
		smp_mb();	/* also those that were set without a locked operation */
	}
	this_cpu_inc(stats->writes);
	this_cpu_add(stats->bytes, (end - first) << SECTOR_SHIFT);
}

/* Takes back what a full pass of one consumer cures, for that consumer. */
#define CBT_DISK_CURABLE (CBT_UNTRUSTED_FRESH | CBT_UNTRUSTED_PASSTHROUGH | CBT_UNTRUSTED_MEMORY | \
			  CBT_UNTRUSTED_UNKNOWN_WRITE)
void cbt_disk_trust(struct cbt_share *share);

/* Is @bdev, open, the device that was added? */
bool cbt_disk_is(const struct cbt_disk *disk, const struct block_device *bdev);

/* Sets reasons not to trust the maps of any consumer. Any context. */
void cbt_disk_distrust(struct cbt_disk *disk, unsigned int reasons);

/*
 * Looks whether the device is still the one that was added, as it was; distrusts the
 * disk if not. 0, -ENODEV when it is gone. May sleep.
 */
int cbt_disk_check(struct cbt_disk *disk);

void cbt_disk_sum_stats(const struct cbt_disk *disk, struct cbt_disk_stats *sum);

/* Told of each distrusted disk from task context; set once, before the first disk. */
extern void (*cbt_disk_on_distrust)(struct cbt_disk *disk);

#endif
