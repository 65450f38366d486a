// SPDX-License-Identifier: GPL-2.0-only
#include <linux/blk-mq.h>
#include <linux/hashtable.h>
#include <linux/tracepoint.h>

#include "compat/rw_page.h"
#include "disk.h"
#include "group.h"
#include "passthrough.h"
#include "preserve.h"
#include "tap.h"
#include "write.h"

#define TAP_HASH_BITS	8

static DEFINE_HASHTABLE(taps, TAP_HASH_BITS);	/* RCU; changed under tap_lock */
static DEFINE_MUTEX(tap_lock);

#define for_each_tap(disk, gendisk) \
	hash_for_each_possible_rcu_notrace(taps, disk, tap_entry, (unsigned long)(gendisk)) \
		if (disk->gd == (gendisk))

/* May a bio submitted to @bdev reach the sectors of @disk? */
static bool reaches(const struct cbt_disk *disk, const struct block_device *bdev)
{
	u8 partno = bdev_partno(bdev);

	return !disk->partno || !partno || partno == disk->partno;
}

/* @may_wait: it can be re-targeted from here to wait for what has to be kept. */
static void note_write(struct cbt_disk *disk, struct bio *bio, struct block_device *bdev,
		       bool may_wait)
{
	sector_t first = max(bio->bi_iter.bi_sector, disk->first);
	sector_t end = min(bio_end_sector(bio), disk->end);
	struct cbt_preserve *preserve = NULL;
	struct cbt_epoch *epoch;

	if (unlikely(first >= end) && !reaches(disk, bdev))
		return;
	epoch = cbt_epoch_enter(&disk->group->epochs);
	if (likely(first < end)) {
		/* The mark before the look, see preserve.h; a full barrier is in it. */
		cbt_disk_mark(disk, epoch->slot, first, end);
		preserve = READ_ONCE(disk->preserve);
	}
	if (unlikely(bio_end_sector(bio) > disk->end) && !disk->partno)
		cbt_disk_distrust(disk, CBT_UNTRUSTED_RESIZED);
	if (unlikely(preserve) && !cbt_preserve_must_hold(preserve, disk, epoch, first, end))
		preserve = NULL;
	if (unlikely(!cbt_write_wrap(disk, epoch, bio))) {
		/* Its completion will find it unseen and say so again. */
		cbt_disk_distrust(disk, CBT_UNTRUSTED_MEMORY);
		if (preserve)
			cbt_preserve_fail(preserve);
		cbt_epoch_leave(epoch);
		return;
	}
	/* What cannot wait for the past goes on without it. */
	if (unlikely(preserve) &&
	    (!may_wait ||
	     !cbt_write_hold(bio, bdev, preserve, first - disk->first, end - disk->first)))
		cbt_preserve_fail(preserve);
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

static void see(struct bio *bio, bool may_wait)
{
	struct block_device *bdev = bio->bi_bdev;	/* waiting changes it */
	struct gendisk *gd = bdev->bd_disk;
	struct cbt_disk *disk;

	for_each_tap(disk, gd) {
		if (unlikely(!range_known(bio)))
			cbt_disk_distrust(disk, CBT_UNTRUSTED_UNKNOWN_WRITE);
		else if (bio_sectors(bio))
			note_write(disk, bio, bdev, may_wait);
	}
}

/* Tracepoint block_bio_queue. */
static void bio_queue(void *data, struct bio *bio)
{
	if (!op_is_write(bio_op(bio)))
		return;
	cbt_compat_probe_enter();
	see(bio, true);
	cbt_compat_probe_exit();
}

/*
 * Tracepoint block_bio_remap. Drivers that pass the very bio on (md's linear and raid0)
 * fire it, and not block_bio_queue again, which marks the bio. On the way to a
 * partition it fires once more, then with the partition's own number and with
 * sectors of the whole device.
 */
static void bio_remap(void *data, struct bio *bio, dev_t dev, sector_t from)
{
	if (!op_is_write(bio_op(bio)) || !bio_flagged(bio, BIO_TRACE_COMPLETION))
		return;
	cbt_compat_probe_enter();
	if (!bdev_partno(bio->bi_bdev) || bio->bi_bdev->bd_dev == dev)
		see(bio, false);
	cbt_compat_probe_exit();
}

/* --- writes that were not seen ------------------------------------------- */

static void check_seen(struct cbt_disk *disk, const struct bio *bio)
{
	if (reaches(disk, bio->bi_bdev) && !cbt_write_seen(disk, bio))
		cbt_disk_distrust(disk, CBT_UNTRUSTED_UNKNOWN_WRITE);
}

/* By now bi_size may be 0 for all; a flush alone never had pages of its own. */
static bool is_empty_flush(struct bio *bio)
{
	return bio_op(bio) == REQ_OP_WRITE && (bio->bi_opf & REQ_PREFLUSH) &&
	       (!bio->bi_io_vec || (!bio->bi_vcnt && !bio_flagged(bio, BIO_CLONED)));
}

/* Tracepoint block_bio_complete: drivers that take bios. */
static void bio_complete(void *data, struct request_queue *q, struct bio *bio)
{
	struct gendisk *gd = bio->bi_bdev->bd_disk;
	struct cbt_disk *disk;

	if (!op_is_write(bio_op(bio)) || queue_is_mq(q))
		return;
	cbt_compat_probe_enter();
	for_each_tap(disk, gd)
		if (!is_empty_flush(bio))
			check_seen(disk, bio);
	cbt_compat_probe_exit();
}

/*
 * A command that the block layer does not know may have changed the disk it went to, and any
 * mapped device whose driver hands such commands down.
 */
static void distrust_passthrough(struct request *rq)
{
	struct gendisk *gd = rq->q->disk;
	struct cbt_disk *disk;
	unsigned int bucket;

	if (!gd || !cbt_passthrough_may_write(rq))
		return;
	hash_for_each_rcu(taps, bucket, disk, tap_entry)
		if (disk->gd == gd || (!queue_is_mq(disk->gd->queue) && disk->gd->fops->ioctl))
			cbt_disk_distrust(disk, CBT_UNTRUSTED_PASSTHROUGH);
}

/* Tracepoint block_rq_issue. */
static void rq_issue(void *data, struct request *rq)
{
	if (!blk_rq_is_passthrough(rq))
		return;
	cbt_compat_probe_enter();
	distrust_passthrough(rq);
	cbt_compat_probe_exit();
}

/*
 * Tracepoint block_rq_complete: drivers that take requests, whose bios are not told of one by
 * one. And passthrough again, for a full pass begun while it was in flight.
 */
static void rq_complete(void *data, struct request *rq, blk_status_t error, unsigned int bytes)
{
	struct gendisk *gd = rq->q->disk;
	struct cbt_disk *disk;
	struct bio *bio;

	if (!op_is_write(req_op(rq)) && !blk_rq_is_passthrough(rq))
		return;
	cbt_compat_probe_enter();
	if (blk_rq_is_passthrough(rq)) {
		distrust_passthrough(rq);
	} else {
		for_each_tap(disk, gd)
			for (bio = rq->bio; bio; bio = bio->bi_next)
				if (bio_sectors(bio))
					check_seen(disk, bio);
	}
	cbt_compat_probe_exit();
}

/* --- probes -------------------------------------------------------------- */

static struct tap_probe {
	const char *name;
	void *probe;
	struct tracepoint *tp;
	unsigned int users;	/* tap_lock */
} probes[] = {
	{ "block_bio_queue", bio_queue },
	{ "block_bio_remap", bio_remap },
	{ "block_bio_complete", bio_complete },
	{ "block_rq_issue", rq_issue },
	{ "block_rq_complete", rq_complete },
};

/* Whoever does not need a probe does not pay for it. */
static bool needs(const struct cbt_disk *disk, const struct tap_probe *probe)
{
	bool mq = queue_is_mq(disk->gd->queue);

	if (probe->probe == bio_complete)
		return !mq;
	if (probe->probe == rq_issue)
		return disk->gd->fops->ioctl;
	if (probe->probe == rq_complete)
		return mq || disk->gd->fops->ioctl;
	return true;
}

static void find_tracepoint(struct tracepoint *tp, void *data)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(probes); i++)
		if (!strcmp(tp->name, probes[i].name))
			probes[i].tp = tp;
}

/* Drops the first @count of the probes that @disk needs. */
static void drop_probes(const struct cbt_disk *disk, unsigned int count)
{
	lockdep_assert_held(&tap_lock);
	while (count--)
		if (needs(disk, &probes[count]) && !--probes[count].users)
			tracepoint_probe_unregister(probes[count].tp, probes[count].probe, NULL);
	tracepoint_synchronize_unregister();
}

static int use_probes(const struct cbt_disk *disk)
{
	unsigned int i;
	int err;

	lockdep_assert_held(&tap_lock);
	for (i = 0; i < ARRAY_SIZE(probes); i++) {
		if (!needs(disk, &probes[i]) || probes[i].users++)
			continue;
		err = tracepoint_probe_register(probes[i].tp, probes[i].probe, NULL);
		if (err) {
			probes[i].users--;
			drop_probes(disk, i);
			return err;
		}
	}
	return 0;
}

/* The path of pages past bios, where the kernel has it. */
static void page_written(struct gendisk *gd)
{
	struct cbt_disk *disk;

	for_each_tap(disk, gd)
		cbt_disk_distrust(disk, CBT_UNTRUSTED_UNKNOWN_WRITE);
}

static unsigned int page_watchers;	/* tap_lock */

static int watch_pages(const struct cbt_disk *disk)
{
	int err = 0;

	lockdep_assert_held(&tap_lock);
	if (cbt_compat_rw_page_used(disk->gd) && !page_watchers++) {
		err = cbt_compat_rw_page_watch(page_written);
		if (err)
			page_watchers--;
	}
	return err;
}

static void unwatch_pages(const struct cbt_disk *disk)
{
	lockdep_assert_held(&tap_lock);
	if (cbt_compat_rw_page_used(disk->gd) && !--page_watchers)
		cbt_compat_rw_page_unwatch();
}

int cbt_tap_add(struct cbt_disk *disk)
{
	int err;

	mutex_lock(&tap_lock);
	err = watch_pages(disk);
	if (!err) {
		err = use_probes(disk);
		if (err)
			unwatch_pages(disk);
	}
	if (!err)
		hash_add_rcu(taps, &disk->tap_entry, (unsigned long)disk->gd);
	mutex_unlock(&tap_lock);
	return err;
}

void cbt_tap_remove(struct cbt_disk *disk)
{
	mutex_lock(&tap_lock);
	hash_del_rcu(&disk->tap_entry);
	drop_probes(disk, ARRAY_SIZE(probes));
	unwatch_pages(disk);
	mutex_unlock(&tap_lock);
	synchronize_rcu();
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
	return 0;
}
