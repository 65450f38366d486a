/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A seen write in flight: a bio whose end_io is ours, so that its epoch knows when it
 * has completed. Where several tracked disks see one bio it is wrapped once for each.
 *
 * The contexts come from a small stock on each CPU, so that a write takes nothing that
 * CPUs share and, as a rule, no turn through the allocator. What each write passes is
 * inline: with the probes that call it, it is to cost less than 250 instructions.
 */
#ifndef CBT_WRITE_H
#define CBT_WRITE_H

#include <linux/bio.h>
#include <linux/percpu.h>

#include "debug.h"
#include "disk.h"

struct cbt_epoch;
struct cbt_preserve;

struct cbt_write {
	u64 serial;			/* of the disk, which may be gone by now */
	struct cbt_epoch *epoch;
	bio_end_io_t *end_io;
	void *private;			/* of the bio; in the stock, the next one */
	sector_t first, end;		/* of the bio, in sectors of the gendisk */
	/* It must wait there first, for these sectors of the disk; with a reference. Null: not. */
	struct cbt_preserve *hold;
	struct cbt_write *also;		/* with @hold: more of them, of the same disk; or null */
	sector_t hold_first, hold_end;
	struct block_device *bdev;	/* where it was going before */
};

/* Both may sleep. At exit the last wrapped bio has counted itself out of its epoch. */
int cbt_write_init(void);
void cbt_write_exit(void);

/* Bytes of the contexts that are ready, for all groups; those in flight are not among them. */
u64 cbt_write_memory(void);

/*
 * The free contexts of a CPU, chained through @private. An ended one is pushed, in any context,
 * by one compare-and-exchange. Who needs one takes the whole chain and puts the rest of it
 * back, so that what it looks at is its own: a chain from which single ones were
 * taken could come to look unchanged while an interrupt took and pushed some.
 * Interrupts stay on, and nothing here is shared between CPUs.
 */
struct cbt_write_stock {
	struct cbt_write *free;
	unsigned int count;
};

DECLARE_PER_CPU(struct cbt_write_stock, cbt_write_stock);

/* The rest of cbt_write_alloc(): the stock is empty, or taken by the context below. */
struct cbt_write *cbt_write_alloc_slow(void);
/* Puts a chain back to which others were pushed meanwhile. */
void cbt_write_put_back(struct cbt_write *chain);

/* Preemption is off. Null: no memory. */
static __always_inline struct cbt_write *cbt_write_alloc(void)
{
	struct cbt_write *write = this_cpu_xchg(cbt_write_stock.free, NULL);

	if (unlikely(!write))
		return cbt_write_alloc_slow();
	this_cpu_dec(cbt_write_stock.count);
	if (unlikely(this_cpu_cmpxchg(cbt_write_stock.free, NULL, write->private)))
		cbt_write_put_back(write->private);
	return write;
}

/* What a wrapped bio's end_io is. */
void cbt_write_end_io(struct bio *bio);

/*
 * Wraps @bio, which reaches from sector @first to @end and has entered @epoch for @disk;
 * it leaves when it ends. Preemption is off. False without memory: nothing was done.
 */
static __always_inline bool cbt_write_wrap(const struct cbt_disk *disk, struct cbt_epoch *epoch,
					   struct bio *bio, sector_t first, sector_t end)
{
	struct cbt_write *write = cbt_debug_fail_alloc() ? NULL : cbt_write_alloc();

	if (unlikely(!write))
		return false;
	write->serial = disk->serial;
	write->epoch = epoch;
	write->end_io = bio->bi_end_io;
	write->private = bio->bi_private;
	write->hold = NULL;
	write->first = first;
	write->end = end;
	bio->bi_end_io = cbt_write_end_io;
	bio->bi_private = write;
	return true;
}

/*
 * Sends @bio, just wrapped, on its way to @bdev, to wait until @preserve has seen to
 * sectors @first to @end of the disk. Called again for each preserve of that disk for which it
 * has to wait. Preemption is off. False: it cannot be made to wait.
 */
bool cbt_write_hold(struct bio *bio, struct block_device *bdev, struct cbt_preserve *preserve,
		    sector_t first, sector_t end);

/*
 * @bio has ended or is about to: was it seen for @disk, and is it wrapped for it outermost?
 * The likely case of cbt_write_seen(), and all of it that is worth a look per write.
 */
static __always_inline bool cbt_write_seen_alone(const struct cbt_disk *disk, const struct bio *bio)
{
	return bio->bi_end_io == cbt_write_end_io &&
	       ((const struct cbt_write *)bio->bi_private)->serial == disk->serial;
}

/* The same, whole or as part of another write. */
bool cbt_write_seen(const struct cbt_disk *disk, const struct bio *bio);

#endif
