// SPDX-License-Identifier: GPL-2.0-only
#include <linux/blk-mq.h>
#include <linux/hashtable.h>
#include <linux/tracepoint.h>

#include "disk.h"
#include "group.h"
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

static void note_write(struct cbt_disk *disk, struct bio *bio, struct block_device *bdev)
{
	sector_t first = max(bio->bi_iter.bi_sector, disk->first);
	sector_t end = min(bio_end_sector(bio), disk->end);
	struct cbt_preserve *preserve = NULL;
	struct cbt_epoch *epoch;

	if (unlikely(first >= end) && !reaches(disk, bdev))
		return;
	epoch = cbt_epoch_enter(&disk->group->epochs);
	if (likely(first < end)) {
		cbt_disk_mark(disk, epoch->slot, first, end);
		smp_mb__after_atomic();	/* the mark before the look; pairs with itself, see preserve.h */
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
	    !cbt_write_hold(bio, bdev, preserve, first - disk->first, end - disk->first))
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

/* Tracepoint block_bio_complete. Preemption is off. */
static void bio_complete(void *data, struct request_queue *q, struct bio *bio)
{
	struct gendisk *gd = bio->bi_bdev->bd_disk;
	struct cbt_disk *disk;

	if (!op_is_write(bio_op(bio)))
		return;
	for_each_tap(disk, gd) {
		if (!reaches(disk, bio->bi_bdev) || cbt_write_seen(disk, bio))
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

struct tap_probe {
	const char *name;
	void *probe;
	struct tracepoint *tp;
};

/* Registered together while someone uses them. */
struct tap_probes {
	struct tap_probe at[2];
	unsigned int users;	/* tap_lock */
};

static struct tap_probes bio_probes = { {
	{ "block_bio_queue", bio_queue },
	{ "block_bio_complete", bio_complete },
} };

/* Only for devices whose driver takes commands from user space. */
static struct tap_probes rq_probes = { {
	{ "block_rq_issue", rq_issue },
	{ "block_rq_complete", rq_complete },
} };

static void find_tracepoint(struct tracepoint *tp, void *data)
{
	struct tap_probes *probes = data;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(probes->at); i++)
		if (!strcmp(tp->name, probes->at[i].name))
			probes->at[i].tp = tp;
}

static int find_probes(struct tap_probes *probes)
{
	unsigned int i;

	for_each_kernel_tracepoint(find_tracepoint, probes);
	for (i = 0; i < ARRAY_SIZE(probes->at); i++) {
		if (!probes->at[i].tp) {
			pr_err("this kernel has no tracepoint %s; it cannot be tracked on\n", probes->at[i].name);
			return -EOPNOTSUPP;
		}
	}
	return 0;
}

static int use_probes(struct tap_probes *probes)
{
	struct tap_probe *at = probes->at;
	int err;

	lockdep_assert_held(&tap_lock);
	if (probes->users++)
		return 0;
	err = tracepoint_probe_register(at[0].tp, at[0].probe, NULL);
	if (!err) {
		err = tracepoint_probe_register(at[1].tp, at[1].probe, NULL);
		if (!err)
			return 0;
		tracepoint_probe_unregister(at[0].tp, at[0].probe, NULL);
	}
	probes->users--;
	return err;
}

static void drop_probes(struct tap_probes *probes)
{
	lockdep_assert_held(&tap_lock);
	if (--probes->users)
		return;
	tracepoint_probe_unregister(probes->at[0].tp, probes->at[0].probe, NULL);
	tracepoint_probe_unregister(probes->at[1].tp, probes->at[1].probe, NULL);
	tracepoint_synchronize_unregister();
}

static bool takes_passthrough(const struct cbt_disk *disk)
{
	return queue_is_mq(disk->gd->queue) && disk->gd->fops->ioctl;
}

int cbt_tap_add(struct cbt_disk *disk)
{
	int err;

	mutex_lock(&tap_lock);
	err = use_probes(&bio_probes);
	if (!err && takes_passthrough(disk)) {
		err = use_probes(&rq_probes);
		if (err)
			drop_probes(&bio_probes);
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
	drop_probes(&bio_probes);
	if (takes_passthrough(disk))
		drop_probes(&rq_probes);
	mutex_unlock(&tap_lock);
	synchronize_rcu();
}

int cbt_tap_init(void)
{
	return find_probes(&bio_probes) ?: find_probes(&rq_probes);
}
