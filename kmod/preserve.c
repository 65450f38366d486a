// SPDX-License-Identifier: GPL-2.0-only
#include <linux/highmem.h>
#include <linux/mempool.h>
#include <linux/moduleparam.h>
#include <linux/sched.h>
#include <linux/slab.h>

#include "debug.h"
#include "disk.h"
#include "group.h"
#include "preserve.h"
#include "trace.h"

#define MAX_BUDGET_KIB	(4U << 20)
#define HELD_RESERVE	64
#define HELD_AT_ONCE	32
#define MAX_HOLD_MS	60000
#define BATCH_PAGES	256
/* Memory for the past must not be squeezed out of the present. */
#define GFP_KEEP	(GFP_NOIO | __GFP_NORETRY | __GFP_NOWARN)

enum kept_state { KEPT_READING, KEPT_READY, KEPT_FAILED };

/* One chunk as it stood at the cut. */
struct kept {
	refcount_t ref;
	enum kept_state state;
	wait_queue_head_t ready;
	unsigned int nr_pages;
	struct rcu_head rcu;
	struct page *pages[];
};

/* One write that waits. */
struct held {
	struct work_struct work;
	struct list_head entry;
	struct cbt_preserve *preserve;
	struct bio *bio;
	sector_t first, end;
	u64 since_ns;
	void (*go_on)(struct bio *bio);
};

/* Of each group by itself. What is kept already stays when it is made smaller. */
static unsigned int preserve_kib = 64 << 10;

static int set_budget(const char *value, const struct kernel_param *param)
{
	return param_set_uint_minmax(value, param, 0, MAX_BUDGET_KIB);
}

static const struct kernel_param_ops budget_ops = {
	.set = set_budget,
	.get = param_get_uint,
};

module_param_cb(preserve_kib, &budget_ops, &preserve_kib, 0644);
MODULE_PARM_DESC(preserve_kib,
		 "KiB of memory that each group may keep of what is overwritten during a pass; 0 to 4194304, by default 65536");

static unsigned int hold_ms = 1000;

static int set_hold(const char *value, const struct kernel_param *param)
{
	return param_set_uint_minmax(value, param, 1, MAX_HOLD_MS);
}

static const struct kernel_param_ops hold_ops = {
	.set = set_hold,
	.get = param_get_uint,
};

module_param_cb(hold_ms, &hold_ops, &hold_ms, 0644);
MODULE_PARM_DESC(hold_ms,
		 "milliseconds that a write may wait for what it overwrites to be kept; 1 to 60000, by default 1000");

static struct workqueue_struct *hold_queue;
static struct workqueue_struct *free_queue;
static mempool_t *held_pool;
/* Of our own: the reserve of the common one may be in the very writes that are held. */
static struct bio_set keep_bios;

int cbt_preserve_init(void)
{
	hold_queue = alloc_workqueue("blkcbt_hold", WQ_UNBOUND | WQ_MEM_RECLAIM | WQ_HIGHPRI, HELD_AT_ONCE);
	free_queue = alloc_workqueue("blkcbt_free", WQ_UNBOUND, 0);
	held_pool = mempool_create_kmalloc_pool(HELD_RESERVE, sizeof(struct held));
	if (hold_queue && free_queue && held_pool &&
	    !bioset_init(&keep_bios, BIO_POOL_SIZE, 0, BIOSET_NEED_BVECS))
		return 0;
	cbt_preserve_exit();
	return -ENOMEM;
}

void cbt_preserve_exit(void)
{
	if (hold_queue)
		destroy_workqueue(hold_queue);
	if (free_queue)
		destroy_workqueue(free_queue);
	mempool_destroy(held_pool);
	bioset_exit(&keep_bios);
	rcu_barrier();	/* kept chunks on their way out */
}

u64 cbt_preserve_memory(void)
{
	return HELD_RESERVE * sizeof(struct held);
}

unsigned int cbt_preserve_hold_ms(void)
{
	return READ_ONCE(hold_ms);
}

/* --- kept chunks --------------------------------------------------------- */

static void free_kept(struct kept *kept)
{
	unsigned int i;

	for (i = 0; i < kept->nr_pages; i++)
		if (kept->pages[i])
			__free_page(kept->pages[i]);
	kfree(kept);
}

static void free_kept_rcu(struct rcu_head *rcu)
{
	free_kept(container_of(rcu, struct kept, rcu));
}

static s64 budget_bytes(void)
{
	return (s64)READ_ONCE(preserve_kib) << 10;
}

/* What a chunk of so many pages takes and is charged for. */
static s64 kept_bytes(unsigned int nr_pages)
{
	return ((s64)nr_pages << PAGE_SHIFT) +
	       kmalloc_size_roundup(struct_size((struct kept *)NULL, pages, nr_pages));
}

static void put_kept(struct cbt_preserve *preserve, struct kept *kept)
{
	if (!refcount_dec_and_test(&kept->ref))
		return;
	atomic64_sub(kept_bytes(kept->nr_pages), &preserve->group->kept_bytes);
	call_rcu(&kept->rcu, free_kept_rcu);
}

/* With a reference for the caller, charged to the group; null: over the budget, or no memory. */
static struct kept *alloc_kept(struct cbt_preserve *preserve)
{
	unsigned int nr = max(1, 1 << (preserve->chunk_shift + SECTOR_SHIFT) >> PAGE_SHIFT), i;
	s64 bytes = kept_bytes(nr);
	struct kept *kept;

	if (atomic64_add_return(bytes, &preserve->group->kept_bytes) > budget_bytes() ||
	    cbt_debug_fail_keep())
		goto err_charge;
	kept = kzalloc(struct_size(kept, pages, nr), GFP_KEEP);
	if (!kept)
		goto err_charge;
	refcount_set(&kept->ref, 1);
	init_waitqueue_head(&kept->ready);
	kept->nr_pages = nr;
	for (i = 0; i < nr; i++) {
		kept->pages[i] = alloc_page(GFP_KEEP);
		if (!kept->pages[i])
			goto err_kept;
	}
	return kept;

err_kept:
	free_kept(kept);
err_charge:
	atomic64_sub(bytes, &preserve->group->kept_bytes);
	return NULL;
}

/* --- life ---------------------------------------------------------------- */

static void free_preserve(struct work_struct *work)
{
	struct cbt_preserve *preserve = container_of(work, struct cbt_preserve, free_work);
	struct kept *kept;
	unsigned long chunk;

	xa_for_each(&preserve->kept, chunk, kept)
		put_kept(preserve, kept);
	xa_destroy(&preserve->kept);
	cbt_compat_bdev_close(preserve->origin_handle);
	cbt_group_put(preserve->group);
	kfree(preserve);
}

struct cbt_preserve *cbt_preserve_create(struct cbt_disk *disk, struct cbt_share *share,
					 unsigned int slot)
{
	struct cbt_preserve *preserve = kzalloc(sizeof(*preserve), GFP_KERNEL);
	int err;

	if (!preserve)
		return ERR_PTR(-ENOMEM);
	preserve->origin_handle = cbt_compat_bdev_open(disk->dev, &preserve->origin);
	if (IS_ERR(preserve->origin_handle)) {
		err = PTR_ERR(preserve->origin_handle);
		kfree(preserve);
		return ERR_PTR(err);
	}
	if (!cbt_disk_is(disk, preserve->origin)) {
		cbt_compat_bdev_close(preserve->origin_handle);
		kfree(preserve);
		return ERR_PTR(-ENODEV);
	}
	kref_init(&preserve->ref);
	INIT_WORK(&preserve->free_work, free_preserve);
	kref_get(&disk->group->ref);
	preserve->group = disk->group;
	preserve->disk = disk;
	preserve->share = share;
	preserve->slot = slot;
	preserve->chunk_shift = disk->chunk_shift;
	preserve->sectors = disk->end - disk->first;
	xa_init(&preserve->kept);
	init_rwsem(&preserve->gate);
	spin_lock_init(&preserve->lock);
	INIT_LIST_HEAD(&preserve->parked);
	return preserve;
}

struct cbt_preserve *cbt_preserve_get(struct cbt_preserve *preserve)
{
	kref_get(&preserve->ref);
	return preserve;
}

static void release(struct kref *ref)
{
	struct cbt_preserve *preserve = container_of(ref, struct cbt_preserve, ref);

	queue_work(free_queue, &preserve->free_work);
}

void cbt_preserve_put(struct cbt_preserve *preserve)
{
	kref_put(&preserve->ref, release);
}

static void unpark(struct cbt_preserve *preserve)
{
	struct held *held, *next;
	LIST_HEAD(parked);
	unsigned long flags;

	spin_lock_irqsave(&preserve->lock, flags);
	preserve->sealed = true;
	list_splice_init(&preserve->parked, &parked);
	spin_unlock_irqrestore(&preserve->lock, flags);
	list_for_each_entry_safe(held, next, &parked, entry)
		queue_work(hold_queue, &held->work);
}

void cbt_preserve_sealed(struct cbt_preserve *preserve)
{
	unpark(preserve);
}

void cbt_preserve_moved(struct cbt_preserve *preserve)
{
	/* The share's map first: who sees this looks there only. */
	smp_store_release(&preserve->slot, CBT_PRESERVE_NO_SLOT);
}

void cbt_preserve_fail(struct cbt_preserve *preserve)
{
	if (!xchg(&preserve->torn, true))
		trace_blkcbt_fuzzy(preserve->origin->bd_dev, _RET_IP_);
	/* Torn first: whoever goes on because it is off has been told of. */
	smp_store_release(&preserve->off, true);
	unpark(preserve);
}

void cbt_preserve_end(struct cbt_preserve *preserve)
{
	down_write(&preserve->gate);
	WRITE_ONCE(preserve->off, true);
	preserve->disk = NULL;
	up_write(&preserve->gate);
	unpark(preserve);
}

void cbt_preserve_release(struct cbt_preserve *preserve, u64 first, u64 end)
{
	struct kept *kept;
	unsigned long chunk;

	cbt_bitmap_set(&preserve->share->released, first, end - first);
	xa_for_each_range(&preserve->kept, chunk, kept, first, end - 1) {
		/* The array's reference goes with whoever takes the entry out. */
		kept = xa_erase(&preserve->kept, chunk);
		if (kept)
			put_kept(preserve, kept);
	}
}

/* --- holding ------------------------------------------------------------- */

/* How many chunks of the range are in the pass and still to be read. */
static u64 wanted(const struct cbt_preserve *preserve, const struct cbt_disk *disk, u64 first,
		  u64 end)
{
	/*
	 * Pairs with cbt_preserve_moved(). By now the epoch may be another one, and what it
	 * has besides is nothing to keep; a write that waits for that looks again.
	 */
	unsigned int slot = smp_load_acquire(&preserve->slot);

	return cbt_bitmap_count_range(&preserve->share->map,
				      slot == CBT_PRESERVE_NO_SLOT ? NULL : &disk->map[slot],
				      &preserve->share->released, first, end);
}

bool cbt_preserve_look(struct cbt_preserve *preserve, struct cbt_disk *disk,
		       const struct cbt_epoch *epoch, u64 first, u64 end)
{
	/* Pairs with cbt_preserve_fail(). */
	if (smp_load_acquire(&preserve->off) || cbt_debug_skip_hold())
		return false;
	if (epoch->slot != READ_ONCE(preserve->slot))
		return wanted(preserve, disk, first, end);
	/* A write of the pass itself: has a new one passed it by before it had marked? */
	if (READ_ONCE(disk->group->epochs.live) != epoch &&
	    cbt_bitmap_count_range(&disk->map[!epoch->slot], NULL, NULL, first, end) &&
	    !xchg(&preserve->torn, true))
		trace_blkcbt_fuzzy(preserve->origin->bd_dev, _THIS_IP_);
	return false;
}

/* What is kept of @chunk already, with a reference; null: nothing. */
static struct kept *find_kept(struct cbt_preserve *preserve, u64 chunk)
{
	struct kept *kept;

	rcu_read_lock();
	kept = xa_load(&preserve->kept, chunk);
	if (kept && !refcount_inc_not_zero(&kept->ref))
		kept = NULL;
	rcu_read_unlock();
	return kept;
}

/*
 * Makes the one entry of @chunk: whoever gets it in reads the chunk, everyone else
 * waits for that. Null: someone else was first (0) or there is no memory (-ENOMEM).
 */
static struct kept *insert_kept(struct cbt_preserve *preserve, u64 chunk, int *err)
{
	struct kept *kept = alloc_kept(preserve);
	void *old;

	*err = -ENOMEM;
	if (!kept)
		return NULL;
	refcount_inc(&kept->ref);	/* the array's */
	old = xa_cmpxchg(&preserve->kept, chunk, NULL, kept, GFP_KEEP);
	if (!old)
		return kept;
	put_kept(preserve, kept);
	put_kept(preserve, kept);
	if (!xa_is_err(old))
		*err = 0;
	return NULL;
}

/*
 * Finds or makes what is kept of @chunk. *mine: the caller has to fill it. Null:
 * there is nothing to keep, or preserving has ended.
 */
static struct kept *claim(struct cbt_preserve *preserve, u64 chunk, bool *mine)
{
	struct kept *kept = NULL;
	int err = 0;

	*mine = false;
	down_read(&preserve->gate);
	while (!kept && !err && !READ_ONCE(preserve->off) &&
	       wanted(preserve, preserve->disk, chunk, chunk + 1)) {
		kept = find_kept(preserve, chunk);
		if (kept)
			break;
		kept = insert_kept(preserve, chunk, &err);
		*mine = kept;
	}
	/* Released since it was looked at: nobody would take it out again. */
	if (*mine && !wanted(preserve, preserve->disk, chunk, chunk + 1) &&
	    xa_cmpxchg(&preserve->kept, chunk, kept, NULL, 0) == kept)
		put_kept(preserve, kept);
	up_read(&preserve->gate);
	if (!kept && err)
		cbt_preserve_fail(preserve);
	return kept;
}

/* Claimed chunks that lie one behind the other, to be read at once. */
struct batch {
	u64 first;
	unsigned int count;
	unsigned int pages;
	struct kept *at[BATCH_PAGES];
};

static int read_batch(struct cbt_preserve *preserve, const struct batch *batch)
{
	sector_t sector = batch->first << preserve->chunk_shift;
	u64 left = min_t(u64, (u64)batch->count << preserve->chunk_shift,
			 preserve->sectors - sector) << SECTOR_SHIFT;
	struct bio *bio = bio_alloc_bioset(preserve->origin, batch->pages, REQ_OP_READ | REQ_SYNC,
					   GFP_NOIO, &keep_bios);
	unsigned int i, page, len;
	int err;

	bio->bi_iter.bi_sector = sector;
	for (i = 0; i < batch->count; i++) {
		for (page = 0; left && page < batch->at[i]->nr_pages; page++, left -= len) {
			len = min_t(u64, left, PAGE_SIZE);
			__bio_add_page(bio, batch->at[i]->pages[page], len, 0);
		}
	}
	err = submit_bio_wait(bio);
	bio_put(bio);
	return err;
}

/* Reads what was claimed and lets those go on who wait for it. */
static void fill(struct cbt_preserve *preserve, struct batch *batch)
{
	bool failed;
	unsigned int i;

	if (!batch->count)
		return;
	cbt_debug_keep_delay();
	failed = read_batch(preserve, batch) || cbt_debug_fail_keep();
	if (failed)
		cbt_preserve_fail(preserve);
	for (i = 0; i < batch->count; i++) {
		/* The contents before the state; pairs with cbt_preserve_patch(). */
		smp_store_release(&batch->at[i]->state, failed ? KEPT_FAILED : KEPT_READY);
		wake_up_all(&batch->at[i]->ready);
		put_kept(preserve, batch->at[i]);
	}
	batch->count = 0;
	batch->pages = 0;
}

static void add(struct cbt_preserve *preserve, struct batch *batch, u64 chunk, struct kept *kept)
{
	if (batch->count && (batch->first + batch->count != chunk ||
			     batch->pages + kept->nr_pages > BATCH_PAGES))
		fill(preserve, batch);
	if (!batch->count)
		batch->first = chunk;
	batch->at[batch->count++] = kept;
	batch->pages += kept->nr_pages;
}

static void keep_chunk(struct cbt_preserve *preserve, struct batch *batch, u64 chunk)
{
	struct kept *kept;
	bool mine;

	kept = claim(preserve, chunk, &mine);
	if (!kept)
		return;
	if (mine) {
		add(preserve, batch, chunk, kept);
		return;
	}
	/* Whoever reads this one may be waiting for one of ours. */
	fill(preserve, batch);
	/* Its contents are there when its state says so; pairs with fill(). */
	wait_event(kept->ready, smp_load_acquire(&kept->state) != KEPT_READING);
	put_kept(preserve, kept);
}

/* More than the budget could ever hold: not worth beginning. */
static bool too_much(struct cbt_preserve *preserve, u64 first, u64 end)
{
	bool much = false;

	down_read(&preserve->gate);
	if (!READ_ONCE(preserve->off))
		much = wanted(preserve, preserve->disk, first, end) <<
		       (preserve->chunk_shift + SECTOR_SHIFT) > (u64)budget_bytes();
	up_read(&preserve->gate);
	return much;
}

static void keep_all(struct cbt_preserve *preserve, const struct held *held)
{
	u64 chunk = held->first >> preserve->chunk_shift,
	    last = (held->end - 1) >> preserve->chunk_shift;
	struct batch *batch;

	batch = too_much(preserve, chunk, last + 1) ? NULL : kzalloc(sizeof(*batch), GFP_KEEP);
	if (!batch) {
		cbt_preserve_fail(preserve);
		return;
	}
	for (; chunk <= last && !READ_ONCE(preserve->off); chunk++) {
		keep_chunk(preserve, batch, chunk);
		if (ktime_get_ns() - held->since_ns > (u64)cbt_preserve_hold_ms() * NSEC_PER_MSEC)
			cbt_preserve_fail(preserve);
		cond_resched();
	}
	fill(preserve, batch);
	kfree(batch);
}

static void see_to(struct work_struct *work)
{
	struct held *held = container_of(work, struct held, work);
	struct cbt_preserve *preserve = held->preserve;
	void (*go_on)(struct bio *bio) = held->go_on;
	struct bio *bio = held->bio;

	if (!READ_ONCE(preserve->off))
		keep_all(preserve, held);
	atomic_dec(&preserve->nr_held);
	trace_blkcbt_unhold(preserve->origin->bd_dev, bio, ktime_get_ns() - held->since_ns,
			    !READ_ONCE(preserve->off));
	mempool_free(held, held_pool);
	cbt_preserve_put(preserve);
	go_on(bio);
}

void cbt_preserve_hold(struct cbt_preserve *preserve, struct bio *bio, sector_t first, sector_t end,
		       void (*go_on)(struct bio *bio))
{
	struct held *held = mempool_alloc(held_pool, GFP_NOIO);
	unsigned long flags;
	bool parked = false;

	INIT_WORK(&held->work, see_to);
	held->preserve = cbt_preserve_get(preserve);
	held->bio = bio;
	held->first = first;
	held->end = end;
	held->since_ns = ktime_get_ns();
	held->go_on = go_on;
	atomic_inc(&preserve->nr_held);
	trace_blkcbt_hold(preserve->origin->bd_dev, bio, first, end);
	spin_lock_irqsave(&preserve->lock, flags);
	if (!preserve->sealed) {
		list_add_tail(&held->entry, &preserve->parked);
		parked = true;
	}
	spin_unlock_irqrestore(&preserve->lock, flags);
	if (!parked)
		queue_work(hold_queue, &held->work);
}

/* --- reading ------------------------------------------------------------- */

/* Copies @len bytes from byte @offset of the kept chunk. */
static void copy_kept(char *to, const struct kept *kept, unsigned int offset, unsigned int len)
{
	unsigned int step;

	for (; len; len -= step, to += step, offset += step) {
		step = min_t(unsigned int, len, PAGE_SIZE - offset_in_page(offset));
		memcpy_from_page(to, kept->pages[offset >> PAGE_SHIFT], offset_in_page(offset),
				 step);
	}
}

static void patch_segment(struct cbt_preserve *preserve, struct bio_vec *bv, sector_t sector)
{
	unsigned int chunk_bytes = 1 << (preserve->chunk_shift + SECTOR_SHIFT);
	u64 at = (u64)sector << SECTOR_SHIFT;
	char *to = bvec_kmap_local(bv);
	unsigned int done, step, offset;
	struct kept *kept;

	for (done = 0; done < bv->bv_len; done += step, at += step) {
		offset = at & (chunk_bytes - 1);
		step = min_t(unsigned int, bv->bv_len - done, chunk_bytes - offset);
		kept = xa_load(&preserve->kept, at >> (preserve->chunk_shift + SECTOR_SHIFT));
		/* Pairs with fill(): the contents were there before the state. */
		if (kept && smp_load_acquire(&kept->state) == KEPT_READY)
			copy_kept(to + done, kept, offset, step);
	}
	kunmap_local(to);
}

void cbt_preserve_patch(struct cbt_preserve *preserve, struct bio *bio, struct bvec_iter iter,
			sector_t sector)
{
	struct bvec_iter at;
	struct bio_vec bv;

	if (xa_empty(&preserve->kept) || cbt_debug_skip_patch())
		return;
	rcu_read_lock();
	__bio_for_each_segment(bv, bio, at, iter) {
		patch_segment(preserve, &bv, sector);
		sector += bv.bv_len >> SECTOR_SHIFT;
	}
	rcu_read_unlock();
}
