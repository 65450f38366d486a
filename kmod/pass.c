// SPDX-License-Identifier: GPL-2.0-only
#include <linux/timekeeping.h>

#include "consumer.h"
#include "debug.h"
#include "disk.h"
#include "group.h"
#include "image.h"
#include "pass.h"
#include "preserve.h"
#include "trace.h"

/* How long the beginner itself waits for the seal before the poll takes over. */
#define SEAL_INLINE	max(HZ / 100, 1)
#define SEAL_POLL	max(HZ / 200, 1)
#define SEAL_WARN	(30 * HZ)

/* A consumer that waits for its turn to cut loses it when it is silent for so long. */
#define TURN_LIMIT	HZ

void (*cbt_pass_on_sealed)(struct cbt_consumer *consumer);
void (*cbt_pass_on_expired)(struct cbt_consumer *consumer);
static struct workqueue_struct *seal_queue;

static struct cbt_share *share_of(const struct cbt_consumer *consumer, struct cbt_disk *disk)
{
	return &disk->shares[consumer->slot];
}

/* --- preserving ---------------------------------------------------------- */

static void list_preserve(struct cbt_disk *disk, struct cbt_preserve *preserve)
{
	preserve->next = disk->preserves;
	/* Before the cut: whoever enters the new epoch sees it. */
	smp_store_release(&disk->preserves, preserve);
}

static void unlist_preserve(struct cbt_disk *disk, struct cbt_preserve *preserve)
{
	struct cbt_preserve **at = &disk->preserves;

	while (*at != preserve)
		at = &(*at)->next;
	WRITE_ONCE(*at, preserve->next);
}

/* No probe looks at them, nor at the share's bitmaps, when this returns. */
static void drop_preserves(struct cbt_consumer *consumer)
{
	struct cbt_group *group = consumer->group;
	struct cbt_share *share;
	struct cbt_disk *disk;
	bool any = false;

	list_for_each_entry(disk, &group->disks, entry) {
		share = share_of(consumer, disk);
		if (!share->preserve)
			continue;
		unlist_preserve(disk, share->preserve);
		any = true;
	}
	if (!any)
		return;
	synchronize_rcu();
	list_for_each_entry(disk, &group->disks, entry) {
		share = share_of(consumer, disk);
		if (share->preserve)
			cbt_preserve_put(share->preserve);
		share->preserve = NULL;
		cbt_bitmap_clear(&share->released);
	}
}

static void end_images(struct cbt_consumer *consumer)
{
	struct cbt_group *group = consumer->group;
	struct cbt_share *share;
	struct cbt_disk *disk;

	lockdep_assert_held(&group->lock);
	/* No write waits any longer when devices are removed, which may need memory. */
	list_for_each_entry(disk, &group->disks, entry)
		if (share_of(consumer, disk)->preserve)
			cbt_preserve_end(share_of(consumer, disk)->preserve);
	list_for_each_entry(disk, &group->disks, entry) {
		share = share_of(consumer, disk);
		if (share->image)
			cbt_image_destroy(share->image);
		share->image = NULL;
	}
	drop_preserves(consumer);
}

static int begin_image(struct cbt_consumer *consumer, struct cbt_disk *disk, unsigned int slot)
{
	struct cbt_share *share = share_of(consumer, disk);
	struct cbt_preserve *preserve = cbt_preserve_create(disk, share, slot);

	if (IS_ERR(preserve))
		return PTR_ERR(preserve);
	share->image = cbt_image_create(disk, consumer->slot, preserve);
	if (IS_ERR(share->image)) {
		int err = PTR_ERR(share->image);

		share->image = NULL;
		cbt_preserve_put(preserve);
		return err;
	}
	share->preserve = preserve;
	list_preserve(disk, preserve);
	return 0;
}

/* For the pass about to be cut. What cannot be had is done without: the pass is fuzzy then. */
static void begin_images(struct cbt_consumer *consumer)
{
	struct cbt_group *group = consumer->group;
	struct cbt_disk *disk;
	int err;

	list_for_each_entry(disk, &group->disks, entry) {
		err = begin_image(consumer, disk, group->epochs.live->slot);
		if (err) {
			pr_warn_ratelimited("%s: no image of it can be made (%d); the pass is fuzzy\n", disk->path, err);
			end_images(consumer);
			return;
		}
	}
}

static void for_preserves(struct cbt_consumer *consumer, void (*act)(struct cbt_preserve *preserve))
{
	struct cbt_disk *disk;

	list_for_each_entry(disk, &consumer->group->disks, entry)
		if (share_of(consumer, disk)->preserve)
			act(share_of(consumer, disk)->preserve);
}

/* --- the seal ------------------------------------------------------------ */

/* What the drained epoch marked on one disk goes to all consumers. */
static void move_marks(struct cbt_group *group, struct cbt_disk *disk)
{
	struct cbt_bitmap *marked = &disk->map[group->seal.epoch->slot];
	struct cbt_consumer *cutter = group->seal.cutter, *consumer;

	for_each_cbt_consumer(group, consumer)
		cbt_bitmap_merge(consumer == cutter ? &share_of(consumer, disk)->map :
						      cbt_consumer_owed(consumer, disk), marked);
	if (cutter && share_of(cutter, disk)->preserve)
		cbt_preserve_moved(share_of(cutter, disk)->preserve);
	/* Who finds them gone from here finds them there; pairs with cbt_bitmap_count_range(). */
	smp_mb();
	cbt_bitmap_clear(marked);
}

static bool drained(const struct cbt_epoch *epoch)
{
	return cbt_epoch_drained(epoch) || cbt_debug_skip_seal();
}

/* Goes on as far as the epoch allows; true when there is nothing left to wait for. */
static bool advance(struct cbt_group *group)
{
	struct cbt_consumer *cutter = group->seal.cutter;
	struct cbt_disk *disk;

	lockdep_assert_held(&group->lock);
	if (!group->seal.epoch)
		return true;
	if (!drained(group->seal.epoch))
		return false;
	if (cutter)
		for_preserves(cutter, cbt_preserve_sealed);
	list_for_each_entry(disk, &group->disks, entry)
		move_marks(group, disk);
	group->seal.epoch = NULL;
	group->seal.cutter = NULL;
	if (!cutter)
		return true;
	cutter->pass.state = CBT_PASS_SEALED;
	trace_blkcbt_sealed(group->id, cutter->pass.id,
			    ktime_get_real_ns() - cutter->pass.cut_time_ns);
	if (cbt_pass_on_sealed)
		cbt_pass_on_sealed(cutter);
	return true;
}

void cbt_pass_look(struct cbt_group *group)
{
	advance(group);
}

static void poll(struct work_struct *work)
{
	struct cbt_seal *seal = container_of(to_delayed_work(work), struct cbt_seal, poll);
	struct cbt_group *group = container_of(seal, struct cbt_group, seal);

	mutex_lock(&group->lock);
	if (!group->gone && !advance(group)) {
		if (seal->cutter &&
		    time_after(jiffies,
			       seal->cut_jiffies + msecs_to_jiffies(cbt_preserve_hold_ms())))
			for_preserves(seal->cutter, cbt_preserve_fail);
		if (time_after(jiffies, seal->warned_jiffies + SEAL_WARN)) {
			pr_warn_ratelimited("group %s: writes have been in flight for 30 s since the last cut\n",
					    group->name);
			seal->warned_jiffies = jiffies;
		}
		queue_delayed_work(seal_queue, &seal->poll, SEAL_POLL);
	}
	mutex_unlock(&group->lock);
}

static void cut(struct cbt_consumer *consumer)
{
	struct cbt_group *group = consumer->group;
	struct cbt_seal *seal = &group->seal;

	seal->epoch = cbt_epochs_cut(&group->epochs);
	consumer->pass.cut_time_ns = ktime_get_real_ns();
	consumer->pass.state = CBT_PASS_SEALING;
	seal->cutter = consumer;
	seal->cut_jiffies = seal->warned_jiffies = jiffies;
}

/* --- whose turn it is to cut ------------------------------------------------ */

static bool waits(const struct cbt_consumer *consumer)
{
	return consumer->ticket && time_before(jiffies, consumer->asked + TURN_LIMIT);
}

static bool is_turn(struct cbt_consumer *consumer)
{
	struct cbt_group *group = consumer->group;
	struct cbt_consumer *other;

	for_each_cbt_consumer(group, other)
		if (other != consumer && waits(other) &&
		    (!waits(consumer) || other->ticket < consumer->ticket))
			return false;
	return true;
}

static int wait_for_turn(struct cbt_consumer *consumer)
{
	if (!waits(consumer))
		consumer->ticket = ++consumer->group->last_ticket;
	consumer->asked = jiffies;
	return -EAGAIN;
}

static int check_idle(struct cbt_consumer *consumer, const char **why)
{
	bool idle = advance(consumer->group);

	if (consumer->pass.state != CBT_PASS_NONE) {
		*why = "a pass is under way; commit it or give it up first";
		return -EBUSY;
	}
	if (!idle) {
		*why = "writes of before the last cut are still in flight; try again";
		return wait_for_turn(consumer);
	}
	if (!is_turn(consumer)) {
		*why = "another consumer of the group waits to cut and comes first; try again";
		return wait_for_turn(consumer);
	}
	consumer->ticket = 0;
	return 0;
}

/* --- the end by deadline ----------------------------------------------------- */

static void touch(struct cbt_pass *pass)
{
	pass->deadline = jiffies + pass->timeout;
}

static void expire(struct work_struct *work)
{
	struct cbt_pass *pass = container_of(to_delayed_work(work), struct cbt_pass, expire);
	struct cbt_consumer *consumer = container_of(pass, struct cbt_consumer, pass);
	struct cbt_group *group = consumer->group;

	mutex_lock(&group->lock);
	if (group->gone || pass->state == CBT_PASS_NONE) {
		mutex_unlock(&group->lock);
		return;
	}
	if (time_before(jiffies, pass->deadline)) {
		queue_delayed_work(seal_queue, &pass->expire, pass->deadline - jiffies);
	} else {
		pr_warn("group %s: the controller was silent for %u s; pass %u is given up and merged back\n",
			group->name, jiffies_to_msecs(pass->timeout) / 1000, pass->id);
		pass->expired_id = pass->id;
		cbt_pass_give_up(consumer);
		if (cbt_pass_on_expired)
			cbt_pass_on_expired(consumer);
	}
	mutex_unlock(&group->lock);
}

/* --- the pass ------------------------------------------------------------ */

int cbt_pass_init(void)
{
	seal_queue = alloc_workqueue("blkcbt_seal", WQ_UNBOUND | WQ_MEM_RECLAIM, 0);
	return seal_queue ? 0 : -ENOMEM;
}

void cbt_pass_exit(void)
{
	destroy_workqueue(seal_queue);
}

void cbt_pass_setup(struct cbt_group *group)
{
	unsigned int i;

	cbt_consumers_setup(group);
	INIT_DELAYED_WORK(&group->seal.poll, poll);
	for (i = 0; i < CBT_CONSUMERS_MAX; i++)
		INIT_DELAYED_WORK(&group->consumers[i].pass.expire, expire);
}

void cbt_pass_teardown(struct cbt_group *group)
{
	unsigned int i;

	cancel_delayed_work_sync(&group->seal.poll);
	for (i = 0; i < CBT_CONSUMERS_MAX; i++)
		cancel_delayed_work_sync(&group->consumers[i].pass.expire);
}

bool cbt_pass_under_way(struct cbt_group *group)
{
	struct cbt_consumer *consumer;

	lockdep_assert_held(&group->lock);
	if (!advance(group))
		return true;
	for_each_cbt_consumer(group, consumer)
		if (consumer->pass.state != CBT_PASS_NONE)
			return true;
	return false;
}

static int check_disks(struct cbt_consumer *consumer, bool full, const char **why)
{
	struct cbt_group *group = consumer->group;
	struct cbt_disk *disk;
	unsigned int reasons;

	if (list_empty(&group->disks)) {
		*why = "the group has no disk; add one first";
		return -ENOENT;
	}
	list_for_each_entry(disk, &group->disks, entry) {
		if (cbt_disk_check(disk)) {
			*why = "a device of the group has gone away; remove its disk from the group";
			return -ENODEV;
		}
		reasons = atomic_read(&share_of(consumer, disk)->untrusted);
		if (reasons & (CBT_UNTRUSTED_RESIZED | CBT_UNTRUSTED_REMOVED)) {
			*why = "a device of the group is no longer the one that was added; remove its disk and add it again";
			return -ESTALE;
		}
		if (reasons && !full) {
			*why = "a disk of the group is untrusted; begin a full pass";
			return -ESTALE;
		}
	}
	return 0;
}

/*
 * The map of the pass, but for what the epoch under way has marked; before the cut, since a
 * write of after it looks there whether it must be held.
 *
 * Trust comes back before the cut, too, and for this consumer alone: whatever is noticed
 * from here on, also of a write that was in flight unseen at the cut, takes it away again for
 * the next pass.
 */
static void make_maps(struct cbt_consumer *consumer, bool full)
{
	struct cbt_group *group = consumer->group;
	struct cbt_share *share;
	struct cbt_disk *disk;

	list_for_each_entry(disk, &group->disks, entry) {
		share = share_of(consumer, disk);
		if (full)
			cbt_disk_trust(share);
		if (share->owed.bits)
			swap(share->owed, share->map);	/* the map of no pass is clear */
		if (full)
			cbt_bitmap_fill(&share->map);
	}
	/* The trust before the cut. */
	smp_mb();
}

int cbt_pass_begin(struct cbt_consumer *consumer, const struct cbt_pass_spec *spec,
		   const char **why)
{
	struct cbt_group *group = consumer->group;
	struct cbt_pass *pass = &consumer->pass;
	bool full = spec->flags & CBT_PASS_F_FULL;
	int err;

	lockdep_assert_held(&group->lock);
	err = check_idle(consumer, why);
	if (!err)
		err = check_disks(consumer, full, why);
	if (err)
		return err;

	make_maps(consumer, full);
	if (!(spec->flags & CBT_PASS_F_FUZZY))
		begin_images(consumer);
	cut(consumer);
	pass->fuzzy = false;
	pass->id = ++group->last_pass_id;
	pass->flags = spec->flags;
	pass->portid = spec->portid;
	pass->timeout = msecs_to_jiffies(spec->timeout_ms);
	trace_blkcbt_cut(group->id, group->name, pass->id, pass->flags, group->seal.epoch);
	touch(pass);
	mod_delayed_work(seal_queue, &pass->expire, pass->timeout);
	cbt_epoch_wait_drained(group->seal.epoch, SEAL_INLINE);
	if (!advance(group))
		queue_delayed_work(seal_queue, &group->seal.poll, SEAL_POLL);
	return 0;
}

struct cbt_consumer *cbt_pass_find(struct cbt_group *group, u32 id, u32 portid, const char **why)
{
	struct cbt_consumer *consumer;
	int err = -ENOENT;

	lockdep_assert_held(&group->lock);
	*why = "no such pass is under way; it was committed or given up";
	for_each_cbt_consumer(group, consumer) {
		struct cbt_pass *pass = &consumer->pass;

		if (id && pass->expired_id == id) {
			*why = "the pass was given up: its owner was silent for longer than its timeout; begin a new one";
			err = -ETIME;
		}
		if (pass->state == CBT_PASS_NONE || pass->id != id)
			continue;
		if (pass->portid == portid) {
			touch(pass);
			return consumer;
		}
		*why = "the pass belongs to another socket";
		err = -EPERM;
	}
	return ERR_PTR(err);
}

struct cbt_consumer *cbt_pass_find_sealed(struct cbt_group *group, u32 id, u32 portid,
					  const char **why)
{
	struct cbt_consumer *consumer;

	advance(group);
	consumer = cbt_pass_find(group, id, portid, why);
	if (!IS_ERR(consumer) && consumer->pass.state != CBT_PASS_SEALED) {
		*why = "the pass is not sealed yet; writes of before its cut are in flight";
		return ERR_PTR(-EAGAIN);
	}
	return consumer;
}

void cbt_pass_commit(struct cbt_consumer *consumer)
{
	struct cbt_disk *disk;

	lockdep_assert_held(&consumer->group->lock);
	trace_blkcbt_commit(consumer->group->id, consumer->pass.id);
	end_images(consumer);
	list_for_each_entry(disk, &consumer->group->disks, entry)
		cbt_bitmap_clear(&share_of(consumer, disk)->map);
	consumer->pass.state = CBT_PASS_NONE;
}

/* --- what was written again ---------------------------------------------- */

/* What was marked for the consumer and is in no pass of its own; returns how many bitmaps. */
static unsigned int dirty_maps(struct cbt_consumer *consumer, struct cbt_disk *disk,
			       const struct cbt_bitmap *maps[3])
{
	struct cbt_group *group = consumer->group;
	struct cbt_share *share = share_of(consumer, disk);
	unsigned int count = 0, slot;

	for (slot = 0; slot < 2; slot++)
		if (group->seal.cutter != consumer || group->seal.epoch->slot != slot)
			maps[count++] = &disk->map[slot];
	if (share->owed.bits)
		maps[count++] = &share->owed;
	return count;
}

/* Chunks of @map from @first to @end that were written again since the cut, not preserved. */
static u64 overwritten(struct cbt_consumer *consumer, struct cbt_disk *disk,
		       const struct cbt_bitmap *map, u64 first, u64 end)
{
	struct cbt_preserve *preserve = share_of(consumer, disk)->preserve;
	const struct cbt_bitmap *maps[3];
	unsigned int count;

	if (preserve && !READ_ONCE(preserve->torn))
		return 0;
	count = dirty_maps(consumer, disk, maps);
	return cbt_bitmap_count_any(maps, count, map, first, end);
}

/* --- ranges --------------------------------------------------------------- */

static int check_range(const struct cbt_disk *disk, u64 offset, u64 length, const char **why)
{
	u64 size = cbt_disk_size_bytes(disk);

	if (length && offset < size && length <= size - offset)
		return 0;
	*why = "the range is empty or reaches beyond the disk";
	return -ERANGE;
}

/* The chunks that lie wholly within a range: @first to @end, exclusive; none when equal. */
static void whole_chunks(const struct cbt_disk *disk, u64 offset, u64 length, u64 *first, u64 *end)
{
	unsigned int shift = disk->chunk_shift + SECTOR_SHIFT;

	*first = (offset + (1ULL << shift) - 1) >> shift;
	*end = (offset + length) >> shift;
	if (offset + length == cbt_disk_size_bytes(disk))
		*end = disk->map[0].nr_bits;
	*end = max(*first, *end);
}

int cbt_pass_release(struct cbt_consumer *consumer, struct cbt_disk *disk, u64 offset, u64 length,
		     const char **why)
{
	struct cbt_preserve *preserve = share_of(consumer, disk)->preserve;
	u64 first, end;
	int err;

	lockdep_assert_held(&consumer->group->lock);
	err = check_range(disk, offset, length, why);
	if (err || !preserve)
		return err;
	whole_chunks(disk, offset, length, &first, &end);
	if (first < end)
		cbt_preserve_release(preserve, first, end);
	return 0;
}

int cbt_pass_commit_range(struct cbt_consumer *consumer, struct cbt_disk *disk, u64 offset,
			  u64 length, const char **why)
{
	struct cbt_bitmap *map = &share_of(consumer, disk)->map;
	u64 first, end;
	int err;

	lockdep_assert_held(&consumer->group->lock);
	err = check_range(disk, offset, length, why);
	if (err)
		return err;
	whole_chunks(disk, offset, length, &first, &end);
	if (first == end)
		return 0;
	/* What leaves the map must not take with it that it was overwritten. */
	if (!consumer->pass.fuzzy && overwritten(consumer, disk, map, first, end))
		consumer->pass.fuzzy = true;
	cbt_bitmap_clear_range(map, first, end - first);
	return 0;
}

void cbt_pass_give_up(struct cbt_consumer *consumer)
{
	struct cbt_group *group = consumer->group;
	struct cbt_share *share;
	struct cbt_disk *disk;

	lockdep_assert_held(&group->lock);
	if (consumer->pass.state == CBT_PASS_NONE)
		return;
	trace_blkcbt_give_up(group->id, consumer->pass.id);
	end_images(consumer);
	/* Nobody marks this map. What is still marked in its epoch comes back with the seal. */
	list_for_each_entry(disk, &group->disks, entry) {
		share = share_of(consumer, disk);
		cbt_bitmap_merge(cbt_consumer_owed(consumer, disk), &share->map);
		cbt_bitmap_clear(&share->map);
	}
	if (group->seal.cutter == consumer)
		group->seal.cutter = NULL;
	consumer->pass.state = CBT_PASS_NONE;
	advance(group);
}

void cbt_pass_cancel(struct cbt_group *group)
{
	struct cbt_consumer *consumer;

	lockdep_assert_held(&group->lock);
	for_each_cbt_consumer(group, consumer) {
		end_images(consumer);
		consumer->pass.state = CBT_PASS_NONE;
	}
	group->seal.epoch = NULL;
	group->seal.cutter = NULL;
}

/* --- counting ------------------------------------------------------------ */

u64 cbt_pass_count_dirty(struct cbt_consumer *consumer, struct cbt_disk *disk)
{
	const struct cbt_bitmap *maps[3];
	unsigned int count = dirty_maps(consumer, disk, maps);

	lockdep_assert_held(&consumer->group->lock);
	return cbt_bitmap_count_any(maps, count, NULL, 0, disk->map[0].nr_bits);
}

static void count_map(struct cbt_consumer *consumer, struct cbt_disk *disk,
		      const struct cbt_bitmap *map, struct cbt_pass_counts *counts)
{
	counts->chunks += cbt_bitmap_count(map);
	counts->overwritten += overwritten(consumer, disk, map, 0, map->nr_bits);
}

void cbt_pass_count_disk(struct cbt_consumer *consumer, struct cbt_disk *disk,
			 struct cbt_pass_counts *counts)
{
	struct cbt_group *group = consumer->group;

	lockdep_assert_held(&group->lock);
	*counts = (struct cbt_pass_counts){ 0 };
	if (consumer->pass.state == CBT_PASS_NONE)
		return;
	count_map(consumer, disk, &share_of(consumer, disk)->map, counts);
	if (group->seal.cutter == consumer)
		count_map(consumer, disk, &disk->map[group->seal.epoch->slot], counts);
}

void cbt_pass_count(struct cbt_consumer *consumer, struct cbt_pass_counts *counts)
{
	struct cbt_pass_counts one;
	struct cbt_disk *disk;

	*counts = (struct cbt_pass_counts){ 0 };
	list_for_each_entry(disk, &consumer->group->disks, entry) {
		cbt_pass_count_disk(consumer, disk, &one);
		counts->chunks += one.chunks;
		counts->overwritten += one.overwritten;
	}
}

bool cbt_pass_fuzzy(struct cbt_consumer *consumer, const struct cbt_pass_counts *counts)
{
	struct cbt_disk *disk;

	lockdep_assert_held(&consumer->group->lock);
	if (consumer->pass.fuzzy || counts->overwritten)
		return true;
	/* A write that was not seen may have been a new one. */
	list_for_each_entry(disk, &consumer->group->disks, entry)
		if (atomic_read(&share_of(consumer, disk)->untrusted))
			return true;
	return false;
}
