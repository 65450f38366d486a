// SPDX-License-Identifier: GPL-2.0-only
#include <linux/blk-crypto.h>
#include <linux/mempool.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "disk.h"
#include "epoch.h"
#include "preserve.h"
#include "write.h"

/* As many as are in flight on a CPU as a rule; 10 KiB. */
#define STOCK_MAX	128
#define RESERVE		256

DEFINE_PER_CPU(struct cbt_write_stock, cbt_write_stock);
static struct kmem_cache *write_cache;
static mempool_t *reserve;		/* for when memory is short */
static bio_end_io_t *chain_end_io;	/* bio_chain_endio() of the block layer */
static struct gendisk *wait_disk;	/* see cbt_write_hold() */

/* --- contexts ------------------------------------------------------------ */

struct cbt_write *cbt_write_alloc_slow(void)
{
	return mempool_alloc(reserve, GFP_NOWAIT | __GFP_NOWARN);
}

/* Preemption is off, so that the count is that of the stock. */
static __always_inline void push_write(struct cbt_write *write)
{
	struct cbt_write *next;

	this_cpu_inc(cbt_write_stock.count);
	do {
		next = this_cpu_read(cbt_write_stock.free);
		write->private = next;
	} while (unlikely(this_cpu_cmpxchg(cbt_write_stock.free, next, write) != next));
}

/* Preemption is off. Interrupts may make the count exceed the limit by a few. */
static __always_inline void free_write(struct cbt_write *write)
{
	if (likely(this_cpu_read(cbt_write_stock.count) < STOCK_MAX))
		push_write(write);
	else
		mempool_free(write, reserve);
}

void cbt_write_put_back(struct cbt_write *chain)
{
	struct cbt_write *write;

	while ((write = chain)) {
		chain = write->private;
		this_cpu_dec(cbt_write_stock.count);
		push_write(write);
	}
}

u64 cbt_write_memory(void)
{
	u64 ready = RESERVE;
	int cpu;

	for_each_possible_cpu(cpu)
		ready += READ_ONCE(per_cpu(cbt_write_stock, cpu).count);
	return ready * sizeof(struct cbt_write);
}

static void drain_stocks(void)
{
	struct cbt_write *write;
	int cpu;

	for_each_possible_cpu(cpu) {
		while ((write = per_cpu(cbt_write_stock, cpu).free)) {
			per_cpu(cbt_write_stock, cpu).free = write->private;
			kmem_cache_free(write_cache, write);
		}
	}
}

/* --- the end ------------------------------------------------------------- */

/*
 * The end of a chained bio is that of its parent, which may be a wrapped member of the
 * same chain, and so on: a long chain would end on a stack frame a member.
 * Within one context of one CPU, members end one after another instead. What
 * bio_chain_endio() did is done here: newer kernels only know members by it, and it must
 * not be called.
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

static void end_parent(struct bio *bio)
{
	struct bio *parent = bio->bi_private;

	if (bio->bi_status && !parent->bi_status)
		parent->bi_status = bio->bi_status;
	bio_put(bio);
	bio_endio(parent);
}

static void end_chain_member(struct bio *bio)
{
	struct chain_list *list = &this_cpu_ptr(&chains)->at[context_level()];

	bio_list_add(&list->bios, bio);
	if (!list->running) {
		list->running = true;
		while ((bio = bio_list_pop(&list->bios)))
			end_parent(bio);
		list->running = false;
	}
}

/* Leaves last, so that the module stays while this runs. */
static noinline void end_chained(struct bio *bio, struct cbt_epoch *epoch)
{
	preempt_disable();
	end_chain_member(bio);
	cbt_epoch_leave(epoch);
	preempt_enable();
}

/* The first of those it has to wait for, with its reference; there is one. */
static struct cbt_preserve *take_hold(struct cbt_write *write)
{
	struct cbt_preserve *hold = write->hold;
	struct cbt_write *also = write->also;

	write->hold = also ? also->hold : NULL;
	if (also) {
		write->also = also->also;
		preempt_disable();
		free_write(also);
		preempt_enable();
	}
	return hold;
}

/*
 * The write has landed and is marked: its epoch may be sealed before its owner is told. With
 * preemption off, so that who frees the epoch can wait for the last look at it. Behind that the
 * compiler has only a jump left to do, which cbt_write_exit() waits for.
 */
void cbt_write_end_io(struct bio *bio)
{
	struct cbt_write *write = bio->bi_private;
	struct cbt_epoch *epoch = write->epoch;
	bio_end_io_t *end_io = write->end_io;

	bio->bi_end_io = end_io;
	bio->bi_private = write->private;
	while (unlikely(write->hold))	/* it ended before it came to wait */
		cbt_preserve_put(take_hold(write));
	preempt_disable();
	free_write(write);
	if (likely(end_io != chain_end_io))
		cbt_epoch_leave(epoch);
	preempt_enable();
	if (unlikely(end_io == chain_end_io))
		end_chained(bio, epoch);
	else if (likely(end_io))
		end_io(bio);
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

static const struct cbt_write *seen_by(const struct cbt_disk *disk, const struct bio *bio)
{
	bio_end_io_t *end_io = bio->bi_end_io;
	const void *private = bio->bi_private;
	const struct cbt_write *write;

	while (end_io == cbt_write_end_io) {
		write = private;
		if (write->serial == disk->serial)
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

bool cbt_write_seen(const struct cbt_disk *disk, const struct bio *bio)
{
	return seen_by(disk, bio) || seen_as_part(disk, bio);
}

/* --- writes that must wait ----------------------------------------------- */

static struct cbt_write *next_hold(struct bio *bio)
{
	bio_end_io_t *end_io = bio->bi_end_io;
	struct cbt_write *write = bio->bi_private;

	for (; end_io == cbt_write_end_io; end_io = write->end_io, write = write->private)
		if (write->hold)
			return write;
	return NULL;
}

/* Once for each tracked disk that has to keep something, then on to the device. */
static void go_on(struct bio *bio)
{
	struct cbt_write *write = next_hold(bio);
	struct cbt_preserve *hold;

	if (!write) {
		submit_bio_noacct(bio);
		return;
	}
	hold = take_hold(write);
	cbt_preserve_hold(hold, bio, write->hold_first, write->hold_end, go_on);
	cbt_preserve_put(hold);
}

static void wait_submit_bio(struct bio *bio)
{
	struct cbt_write *write = next_hold(bio);

	/*
	 * The pointer itself: bio_set_dev() would clear what submit_bio_noacct() has
	 * already done, and BIO_TRACE_COMPLETION keeps the probe from seeing it twice.
	 */
	bio->bi_bdev = write->bdev;
	/*
	 * It is the bio that waits from here on, and not who submitted it; and what asks for no
	 * wait again and again until it gets it (polled io_uring) would never be let go.
	 */
	bio->bi_opf &= ~REQ_NOWAIT;
	go_on(bio);
}

static const struct block_device_operations wait_fops = {
	.owner = THIS_MODULE,
	.submit_bio = wait_submit_bio,
};

/*
 * A bio-based disk of ours, never added, is what such a bio is re-targeted to: its
 * submit_bio may sleep, which the probe may not.
 */
bool cbt_write_hold(struct bio *bio, struct block_device *bdev, struct cbt_preserve *preserve,
		    sector_t first, sector_t end)
{
	struct cbt_write *write = bio->bi_private, *also = NULL;

	/* Encrypted in line, our disk would have it encrypted in software. */
	if (bio_has_crypt_ctx(bio))
		return false;
	if (write->hold) {
		also = cbt_write_alloc();
		if (!also)
			return false;
		also->hold = write->hold;
		also->also = write->also;
	}
	write->also = also;
	write->hold = cbt_preserve_get(preserve);
	write->hold_first = first;
	write->hold_end = end;
	write->bdev = bdev;
	bio->bi_bdev = wait_disk->part0;
	bio_clear_polled(bio);
	return true;
}

int cbt_write_init(void)
{
	learn_chain_end_io();
	wait_disk = cbt_compat_alloc_disk(SECTOR_SIZE, true);
	if (IS_ERR(wait_disk))
		return PTR_ERR(wait_disk);
	wait_disk->fops = &wait_fops;
	cbt_compat_take_bios(wait_disk);
	write_cache = KMEM_CACHE(cbt_write, 0);
	if (write_cache)
		reserve = mempool_create_slab_pool(RESERVE, write_cache);
	if (reserve)
		return 0;
	kmem_cache_destroy(write_cache);
	put_disk(wait_disk);
	return -ENOMEM;
}

void cbt_write_exit(void)
{
	/* What may be left is a task preempted on its way out of cbt_write_end_io(). */
	synchronize_rcu_tasks();
	drain_stocks();
	mempool_destroy(reserve);
	kmem_cache_destroy(write_cache);
	put_disk(wait_disk);
}
