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

/*
 * All that a write to any other device pays, per probe: a look whether there is anything
 * where its gendisk would be. No disk at all is the likely answer.
 */
static __always_inline struct hlist_node *first_tap(const struct gendisk *gd)
{
	return rcu_dereference_raw_check(hlist_first_rcu(&taps[hash_min((unsigned long)gd,
									TAP_HASH_BITS)]));
}

#define for_each_tap(disk, first, gendisk) \
	for (disk = hlist_entry_safe(first, struct cbt_disk, tap_entry); disk; \
	     disk = hlist_entry_safe(rcu_dereference_raw_check(hlist_next_rcu(&disk->tap_entry)), \
				     struct cbt_disk, tap_entry)) \
		if (disk->gd == (gendisk))

/* May a bio submitted to @bdev reach the sectors of @disk? */
static bool reaches(const struct cbt_disk *disk, const struct block_device *bdev)
{
	u8 partno = bdev_partno(bdev);

	return !disk->partno || !partno || partno == disk->partno;
}

/* The first of the passes from @preserve on for which what stands there has to be kept. */
static __always_inline struct cbt_preserve *next_hold(struct cbt_preserve *preserve,
						      struct cbt_disk *disk,
						      const struct cbt_epoch *epoch, sector_t first,
						      sector_t end)
{
	while (unlikely(preserve) &&
	       !cbt_preserve_must_hold(preserve, disk, epoch, first, end))
		preserve = READ_ONCE(preserve->next);
	return preserve;
}

/* No memory for the context. Its completion will find the write unseen and say so again. */
static noinline void miss_write(struct cbt_disk *disk, struct cbt_epoch *epoch,
				struct cbt_preserve *preserve, sector_t first, sector_t end)
{
	cbt_disk_distrust(disk, CBT_UNTRUSTED_MEMORY);
	for (; preserve; preserve = next_hold(READ_ONCE(preserve->next), disk, epoch, first, end))
		cbt_preserve_fail(preserve);
	cbt_epoch_leave(epoch);
}

/* Where a bio goes and which sectors of the device it names, before it is changed. */
struct target {
	struct block_device *bdev;
	sector_t first, end;
	bool may_wait;		/* it can be re-targeted from here, to wait for what must be kept */
};

/* It waits for @preserve and all behind it that need it; what cannot goes on without the past. */
static noinline void hold_write(struct cbt_disk *disk, const struct cbt_epoch *epoch,
				struct bio *bio, const struct target to,
				struct cbt_preserve *preserve)
{
	sector_t first = max(to.first, disk->first), end = min(to.end, disk->end);

	for (; preserve; preserve = next_hold(READ_ONCE(preserve->next), disk, epoch, first, end))
		if (!to.may_wait || !cbt_write_hold(bio, to.bdev, preserve, first - disk->first,
						    end - disk->first))
			cbt_preserve_fail(preserve);
}

/* @bio changes sectors @first to @end of the disk, or none of them if not @some. */
static __always_inline void take_write(struct cbt_disk *disk, struct bio *bio,
				       const struct target to, bool some, sector_t first,
				       sector_t end)
{
	struct cbt_epoch *epoch = cbt_epoch_enter(&disk->group->epochs);
	struct cbt_preserve *preserve = NULL;

	if (some) {
		/* The mark before the look, see preserve.h; a full barrier is in it. */
		cbt_disk_mark(disk, epoch->slot, first, end);
		preserve = READ_ONCE(disk->preserves);
	}
	preserve = next_hold(preserve, disk, epoch, first, end);
	if (unlikely(!cbt_write_wrap(disk, epoch, bio, to.first, to.end)))
		miss_write(disk, epoch, preserve, first, end);
	else if (unlikely(preserve))
		hold_write(disk, epoch, bio, to, preserve);
}

/* A write of which only a part, or nothing, lies in what is tracked. */
static noinline void take_clipped(struct cbt_disk *disk, struct bio *bio, const struct target to)
{
	sector_t first = max(to.first, disk->first), end = min(to.end, disk->end);

	if (first >= end && !reaches(disk, to.bdev))
		return;
	if (to.end > disk->end && !disk->partno)
		cbt_disk_distrust(disk, CBT_UNTRUSTED_RESIZED);
	take_write(disk, bio, to, first < end, first, end);
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

static __always_inline void see(struct bio *bio, struct hlist_node *first_node, bool may_wait)
{
	const struct target to = {
		bio->bi_bdev, bio->bi_iter.bi_sector, bio_end_sector(bio), may_wait
	};
	struct gendisk *gd = to.bdev->bd_disk;
	struct cbt_disk *disk;

	for_each_tap(disk, first_node, gd) {
		if (bio_op(bio) != REQ_OP_WRITE && unlikely(!range_known(bio)))
			cbt_disk_distrust(disk, CBT_UNTRUSTED_UNKNOWN_WRITE);
		else if (unlikely(to.first >= to.end))
			continue;	/* a flush */
		else if (unlikely(to.first < disk->first || to.end > disk->end))
			take_clipped(disk, bio, to);
		else
			take_write(disk, bio, to, true, to.first, to.end);
	}
}

static noinline void see_queued(struct bio *bio, struct hlist_node *first)
{
	see(bio, first, true);
}

/* Tracepoint block_bio_queue. */
static void bio_queue(void *data, struct bio *bio)
{
	struct hlist_node *first;

	if (!op_is_write(bio_op(bio)))
		return;
	cbt_compat_probe_enter();
	first = first_tap(bio->bi_bdev->bd_disk);
	if (unlikely(first))
		see_queued(bio, first);
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
		see(bio, first_tap(bio->bi_bdev->bd_disk), false);
	cbt_compat_probe_exit();
}

/* --- writes that were not seen ------------------------------------------- */

static void check_seen(struct cbt_disk *disk, const struct bio *bio)
{
	if (reaches(disk, bio->bi_bdev) && !cbt_write_seen(disk, bio))
		cbt_disk_distrust(disk, CBT_UNTRUSTED_UNKNOWN_WRITE);
}

/*
 * The likely case: one disk where @first is, and @bio is wrapped for it. False says
 * nothing. This is the very proof that check_seen() asks for, before anything else is: if
 * the disk is on another device, there is nothing to be checked on this one.
 */
static __always_inline bool seen_by_all(const struct hlist_node *first, const struct bio *bio)
{
	return likely(!READ_ONCE(first->next)) &&
	       cbt_write_seen_alone(hlist_entry(first, struct cbt_disk, tap_entry), bio);
}

/* By now bi_size may be 0 for all; a flush alone never had pages of its own. */
static bool is_empty_flush(struct bio *bio)
{
	return bio_op(bio) == REQ_OP_WRITE && (bio->bi_opf & REQ_PREFLUSH) &&
	       (!bio->bi_io_vec || (!bio->bi_vcnt && !bio_flagged(bio, BIO_CLONED)));
}

static noinline void check_bio(struct bio *bio, struct hlist_node *first)
{
	struct gendisk *gd = bio->bi_bdev->bd_disk;
	struct cbt_disk *disk;

	for_each_tap(disk, first, gd)
		if (!is_empty_flush(bio))
			check_seen(disk, bio);
}

/* Tracepoint block_bio_complete: drivers that take bios. */
static void bio_complete(void *data, struct request_queue *q, struct bio *bio)
{
	struct hlist_node *first;

	if (!op_is_write(bio_op(bio)) || queue_is_mq(q))
		return;
	cbt_compat_probe_enter();
	first = first_tap(bio->bi_bdev->bd_disk);
	if (unlikely(first) && !seen_by_all(first, bio))
		check_bio(bio, first);
	cbt_compat_probe_exit();
}

/* A command that the block layer does not know may have changed whatever disk it reaches. */
static void distrust_passthrough(struct request *rq)
{
	struct cbt_disk *disk;
	unsigned int bucket;

	if (!cbt_passthrough_may_write(rq))
		return;
	hash_for_each_rcu(taps, bucket, disk, tap_entry)
		if (cbt_passthrough_reaches(rq, disk->gd))
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

/* The bios of a request are not told of one by one. */
static noinline void check_request(struct request *rq, struct hlist_node *first)
{
	struct cbt_disk *disk;
	struct bio *bio;

	for_each_tap(disk, first, rq->q->disk)
		for (bio = rq->bio; bio; bio = bio->bi_next)
			if (bio_sectors(bio))
				check_seen(disk, bio);
}

static __always_inline void complete_write(struct request *rq)
{
	struct hlist_node *first;
	struct bio *bio;

	cbt_compat_probe_enter();
	first = first_tap(rq->q->disk);
	if (unlikely(first)) {
		for (bio = rq->bio; bio && seen_by_all(first, bio);)
			bio = bio->bi_next;
		if (unlikely(bio))
			check_request(rq, first);
	}
	cbt_compat_probe_exit();
}

static noinline void complete_other(struct request *rq)
{
	if (op_is_write(req_op(rq)) && !blk_rq_is_passthrough(rq))
		complete_write(rq);
	if (!blk_rq_is_passthrough(rq))
		return;
	cbt_compat_probe_enter();
	distrust_passthrough(rq);
	cbt_compat_probe_exit();
}

/*
 * Tracepoint block_rq_complete: drivers that take requests. And passthrough again, for a
 * full pass begun while it was in flight.
 */
static void rq_complete(void *data, struct request *rq, blk_status_t error, unsigned int bytes)
{
	if (req_op(rq) == REQ_OP_WRITE)
		complete_write(rq);
	else
		complete_other(rq);
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

	for_each_tap(disk, first_tap(gd), gd)
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

void cbt_tap_for_each(const struct cbt_group *group, void (*each)(struct cbt_disk *disk, void *arg),
		      void *arg)
{
	struct cbt_disk *disk;
	unsigned int bucket;

	mutex_lock(&tap_lock);
	hash_for_each(taps, bucket, disk, tap_entry)
		if (disk->group == group)
			each(disk, arg);
	mutex_unlock(&tap_lock);
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
