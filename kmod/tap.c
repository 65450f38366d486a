// SPDX-License-Identifier: GPL-2.0-only
#include <linux/blk-mq.h>
#include <linux/blk-crypto.h>
#include <linux/hashtable.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/tracepoint.h>

#include "debug.h"
#include "disk.h"
#include "group.h"
#include "preserve.h"
#include "tap.h"

#define TAP_HASH_BITS	8

/* One seen write in flight. Nested where several tracked disks see the same bio. */
struct cbt_write {
	struct cbt_disk *disk;	/* for comparison only: may be gone by now */
	struct cbt_epoch *epoch;
	bio_end_io_t *end_io;
	void *private;
	struct block_device *bdev;	/* where it was going */
	struct cbt_preserve *hold;	/* with a reference: it must wait there first; null: not */
	sector_t first, end;		/* of the bio, in sectors of the gendisk */
	sector_t disk_first, disk_end;	/* of the disk, likewise */
};

static DEFINE_HASHTABLE(taps, TAP_HASH_BITS);	/* RCU; changed under tap_lock */
static DEFINE_MUTEX(tap_lock);
static unsigned int nr_taps;			/* tap_lock */
static struct kmem_cache *write_cache;
static bio_end_io_t *chain_end_io;		/* bio_chain_endio() of the block layer */

/*
 * bio_chain_endio() ends the parent bio in turn, which may be a wrapped member of the
 * same chain, and so on: a long chain would end on a stack frame a member.
 * Within one context of one CPU, members end one after another instead.
 */
struct chain_list {
	struct bio_list bios;
	bool running;
};

struct chain_lists {
	struct chain_list at[3];	/* task, softirq, hardirq */
};
static DEFINE_PER_CPU(struct chain_lists, chains);

static unsigned int context_level(void)
{
	return in_hardirq() ? 2 : in_serving_softirq() ? 1 : 0;
}

static void end_chain_member(struct bio *bio)
{
	struct chain_list *list;

	preempt_disable();
	list = &this_cpu_ptr(&chains)->at[context_level()];
	bio_list_add(&list->bios, bio);
	if (!list->running) {
		list->running = true;
		while ((bio = bio_list_pop(&list->bios)))
			bio->bi_end_io(bio);
		list->running = false;
	}
	preempt_enable();
}

static void write_end_io(struct bio *bio)
{
	struct cbt_write *write = bio->bi_private;
	struct cbt_epoch *epoch = write->epoch;

	if (unlikely(write->hold))	/* it ended before it came to wait */
		cbt_preserve_put(write->hold);
	bio->bi_end_io = write->end_io;
	bio->bi_private = write->private;
	kmem_cache_free(write_cache, write);
	if (bio->bi_end_io == chain_end_io)
		end_chain_member(bio);
	else if (bio->bi_end_io)
		bio->bi_end_io(bio);
	/*
	 * Last, so that the module stays while this runs; in an RCU read section, so that
	 * who frees the epoch can wait for the last look at it.
	 */
	rcu_read_lock();
	cbt_epoch_leave(epoch);
	rcu_read_unlock();
}

static struct cbt_write *alloc_write(void)
{
	if (cbt_debug_fail_alloc())
		return NULL;
	return kmem_cache_alloc(write_cache, GFP_NOWAIT | __GFP_NOWARN);
}

/* Wraps @bio. Without memory the completion finds it unseen and says so (bio_complete()). */
static struct cbt_write *wrap(struct cbt_disk *disk, struct cbt_epoch *epoch, struct bio *bio,
			      struct block_device *bdev)
{
	struct cbt_write *write = alloc_write();

	if (unlikely(!write)) {
		cbt_disk_distrust(disk, CBT_UNTRUSTED_MEMORY);
		cbt_epoch_leave(epoch);
		return NULL;
	}
	write->disk = disk;
	write->epoch = epoch;
	write->end_io = bio->bi_end_io;
	write->private = bio->bi_private;
	write->bdev = bdev;
	write->hold = NULL;
	write->first = bio->bi_iter.bi_sector;
	write->end = bio_end_sector(bio);
	write->disk_first = disk->first;
	write->disk_end = disk->end;
	bio->bi_end_io = write_end_io;
	bio->bi_private = write;
	return write;
}

/* --- writes that must wait ----------------------------------------------- */

/*
 * A bio-based disk of ours, never added, that a bio is re-targeted to when it must wait: its
 * submit_bio may sleep, which the probe may not.
 */
static struct gendisk *wait_disk;

static struct cbt_write *next_hold(struct bio *bio)
{
	bio_end_io_t *end_io = bio->bi_end_io;
	struct cbt_write *write = bio->bi_private;

	for (; end_io == write_end_io; end_io = write->end_io, write = write->private)
		if (write->hold)
			return write;
	return NULL;
}

/* Once for each tracked disk that has to keep something, then on to the device. */
static void go_on(struct bio *bio)
{
	struct cbt_write *write = next_hold(bio);
	struct cbt_preserve *hold;
	sector_t first, end;

	if (!write) {
		submit_bio_noacct(bio);
		return;
	}
	hold = write->hold;
	write->hold = NULL;
	first = max(write->first, write->disk_first) - write->disk_first;
	end = min(write->end, write->disk_end) - write->disk_first;
	cbt_preserve_hold(hold, bio, first, end, go_on);
	cbt_preserve_put(hold);
}

static void wait_submit_bio(struct bio *bio)
{
	struct cbt_write *write = bio->bi_private;

	/*
	 * The pointer itself: bio_set_dev() would clear what submit_bio_noacct() has
	 * already done, and BIO_TRACE_COMPLETION keeps the probe from seeing it twice.
	 */
	bio->bi_bdev = write->bdev;
	if (bio->bi_opf & REQ_NOWAIT)
		bio_wouldblock_error(bio);
	else
		go_on(bio);
}

static const struct block_device_operations wait_fops = {
	.owner = THIS_MODULE,
	.submit_bio = wait_submit_bio,
};

/* Sends @bio, wrapped as @write, to wait for @preserve. Preemption is off. */
static void hold(struct cbt_preserve *preserve, struct cbt_write *write, struct bio *bio)
{
	/*
	 * Without a context it cannot wait; encrypted in line, our disk would have it
	 * encrypted in software. The past has to give way.
	 */
	if (!write || bio_has_crypt_ctx(bio)) {
		cbt_preserve_fail(preserve);
		return;
	}
	write->hold = cbt_preserve_get(preserve);
	bio->bi_bdev = wait_disk->part0;
	bio->bi_opf &= ~REQ_POLLED;
}

/* May a bio submitted to @bdev reach the sectors of @disk? */
static bool reaches(const struct cbt_disk *disk, const struct block_device *bdev)
{
	u8 partno = bdev_partno(bdev);

	return !disk->partno || !partno || partno == disk->partno;
}

static void note_write(struct cbt_disk *disk, struct bio *bio, struct block_device *bdev)
{
	sector_t first = max(bio->bi_iter.bi_sector, disk->first);
	sector_t end = min(bio_end_sector(bio), disk->end);
	struct cbt_preserve *preserve = NULL;
	struct cbt_write *write;
	struct cbt_epoch *epoch;

	if (first >= end && !reaches(disk, bdev))
		return;
	epoch = cbt_epoch_enter(&disk->group->epochs);
	if (first < end) {
		cbt_disk_mark(disk, epoch->slot, first, end);
		smp_mb__after_atomic();	/* the mark before the look; pairs with itself, see preserve.h */
		preserve = READ_ONCE(disk->preserve);
	}
	if (!disk->partno && bio_end_sector(bio) > disk->end)
		cbt_disk_distrust(disk, CBT_UNTRUSTED_RESIZED);
	if (unlikely(preserve) && !cbt_preserve_must_hold(preserve, disk, epoch, first, end))
		preserve = NULL;
	write = wrap(disk, epoch, bio, bdev);
	if (unlikely(preserve))
		hold(preserve, write, bio);
}

/* Writes, discards and zeroing name the sectors that they change; nothing else here does. */
static bool range_known(const struct bio *bio)
{
	switch (bio_op(bio)) {
	case REQ_OP_WRITE:
	case REQ_OP_DISCARD:
	case REQ_OP_SECURE_ERASE:
	case REQ_OP_WRITE_ZEROES:
		return true;
	default:
		return false;
	}
}

#define for_each_tap(disk, gendisk) \
	hash_for_each_possible_rcu_notrace(taps, disk, tap_entry, (unsigned long)(gendisk)) \
		if (disk->gd == (gendisk))

/* Tracepoint block_bio_queue. Preemption is off. */
static void bio_queue(void *data, struct bio *bio)
{
	struct block_device *bdev = bio->bi_bdev;	/* hold() changes it */
	struct gendisk *gd = bdev->bd_disk;
	struct cbt_disk *disk;

	if (!op_is_write(bio_op(bio)))
		return;
	for_each_tap(disk, gd) {
		if (unlikely(!range_known(bio)))
			cbt_disk_distrust(disk, CBT_UNTRUSTED_UNKNOWN_WRITE);
		else if (bio_sectors(bio))
			note_write(disk, bio, bdev);
	}
}

static const struct cbt_write *seen_by(const struct cbt_disk *disk, const struct bio *bio)
{
	bio_end_io_t *end_io = bio->bi_end_io;
	const void *private = bio->bi_private;
	const struct cbt_write *write;

	while (end_io == write_end_io) {
		write = private;
		if (write->disk == disk)
			return write;
		end_io = write->end_io;
		private = write->private;
	}
	return NULL;
}

/*
 * Is @bio the front part of a seen write that the block layer split off? Then
 * the rest of that write is its parent, and its sectors were noted with the parent's.
 */
static bool seen_as_part(const struct cbt_disk *disk, const struct bio *bio)
{
	const struct cbt_write *write = NULL;
	const struct bio *parent = bio;
	sector_t at = bio->bi_iter.bi_sector;

	/* A parent stays until its parts have ended. */
	while (!write && parent->bi_end_io == chain_end_io) {
		parent = parent->bi_private;
		write = seen_by(disk, parent);
	}
	if (!write)
		return false;
	/* Drivers leave bi_sector at the start or move it to the end. */
	if (bio->bi_iter.bi_size)
		return at >= write->first && bio_end_sector(bio) <= write->end;
	return at > write->first && at <= write->end;
}

/* Tracepoint block_bio_complete. Preemption is off. */
static void bio_complete(void *data, struct request_queue *q, struct bio *bio)
{
	struct gendisk *gd = bio->bi_bdev->bd_disk;
	struct cbt_disk *disk;

	if (!op_is_write(bio_op(bio)))
		return;
	for_each_tap(disk, gd) {
		if (!reaches(disk, bio->bi_bdev) || seen_by(disk, bio) || seen_as_part(disk, bio))
			continue;
		/* An empty flush changes nothing and goes unwrapped; by now every bi_size is 0. */
		if (bio_op(bio) == REQ_OP_WRITE && !bio->bi_io_vec)
			continue;
		cbt_disk_distrust(disk, CBT_UNTRUSTED_UNKNOWN_WRITE);
	}
}

static void distrust_passthrough(struct request *rq)
{
	struct cbt_disk *disk;

	if (!blk_rq_is_passthrough(rq) || !op_is_write(req_op(rq)) || !rq->q->disk)
		return;
	for_each_tap(disk, rq->q->disk)
		cbt_disk_distrust(disk, CBT_UNTRUSTED_PASSTHROUGH);
}

/* Tracepoint block_rq_issue. */
static void rq_issue(void *data, struct request *rq)
{
	distrust_passthrough(rq);
}

/* Tracepoint block_rq_complete: again, for a full pass begun while it was in flight. */
static void rq_complete(void *data, struct request *rq, blk_status_t error, unsigned int bytes)
{
	distrust_passthrough(rq);
}

static struct tap_probe {
	const char *name;
	void *probe;
	struct tracepoint *tp;
} probes[] = {
	{ "block_bio_queue", bio_queue },
	{ "block_bio_complete", bio_complete },
	{ "block_rq_issue", rq_issue },
	{ "block_rq_complete", rq_complete },
};

static void find_tracepoint(struct tracepoint *tp, void *data)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(probes); i++)
		if (!strcmp(tp->name, probes[i].name))
			probes[i].tp = tp;
}

static void unregister_probes(unsigned int count)
{
	while (count--)
		tracepoint_probe_unregister(probes[count].tp, probes[count].probe, NULL);
	tracepoint_synchronize_unregister();
}

static int register_probes(void)
{
	unsigned int i;
	int err;

	for (i = 0; i < ARRAY_SIZE(probes); i++) {
		err = tracepoint_probe_register(probes[i].tp, probes[i].probe, NULL);
		if (err) {
			unregister_probes(i);
			return err;
		}
	}
	return 0;
}

int cbt_tap_add(struct cbt_disk *disk)
{
	int err = 0;

	mutex_lock(&tap_lock);
	if (!nr_taps)
		err = register_probes();
	if (!err) {
		nr_taps++;
		hash_add_rcu(taps, &disk->tap_entry, (unsigned long)disk->gd);
	}
	mutex_unlock(&tap_lock);
	return err;
}

void cbt_tap_remove(struct cbt_disk *disk)
{
	mutex_lock(&tap_lock);
	hash_del_rcu(&disk->tap_entry);
	if (!--nr_taps)
		unregister_probes(ARRAY_SIZE(probes));
	mutex_unlock(&tap_lock);
	synchronize_rcu();
}

/* The block layer keeps the function to itself; a chained bio shows it. */
static void learn_chain_end_io(void)
{
	struct bio child, parent;

	bio_init(&child, NULL, NULL, 0, REQ_OP_WRITE);
	bio_init(&parent, NULL, NULL, 0, REQ_OP_WRITE);
	bio_chain(&child, &parent);
	chain_end_io = child.bi_end_io;
	bio_uninit(&child);
	bio_uninit(&parent);
}

int cbt_tap_init(void)
{
	unsigned int i;

	for_each_kernel_tracepoint(find_tracepoint, NULL);
	for (i = 0; i < ARRAY_SIZE(probes); i++) {
		if (!probes[i].tp) {
			pr_err("this kernel has no tracepoint %s; it cannot be tracked on\n", probes[i].name);
			return -EOPNOTSUPP;
		}
	}
	learn_chain_end_io();
	wait_disk = cbt_compat_alloc_disk(SECTOR_SIZE);
	if (IS_ERR(wait_disk))
		return PTR_ERR(wait_disk);
	wait_disk->fops = &wait_fops;
	cbt_compat_take_bios(wait_disk);
	write_cache = KMEM_CACHE(cbt_write, 0);
	if (write_cache)
		return 0;
	put_disk(wait_disk);
	return -ENOMEM;
}

void cbt_tap_exit(void)
{
	WARN_ON(nr_taps);
	/*
	 * Every group is reclaimed by now, so every wrapped bio has counted
	 * itself out. What may be left is a task preempted on its way out of
	 * write_end_io().
	 */
	synchronize_rcu_tasks();
	kmem_cache_destroy(write_cache);
	put_disk(wait_disk);
}
