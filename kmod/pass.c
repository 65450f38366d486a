// SPDX-License-Identifier: GPL-2.0-only
#include <linux/timekeeping.h>

#include "debug.h"
#include "disk.h"
#include "group.h"
#include "image.h"
#include "pass.h"
#include "preserve.h"

/* How long the beginner itself waits for the seal before the poll takes over. */
#define SEAL_INLINE	max(HZ / 100, 1)
#define SEAL_POLL	max(HZ / 200, 1)
#define SEAL_WARN	(30 * HZ)
/* Writes that overlap the pass wait for the seal no longer than this. */
#define HOLD_LIMIT	HZ

void (*cbt_pass_on_sealed)(struct cbt_group *group);
static struct workqueue_struct *seal_queue;

struct cbt_bitmap *cbt_pass_map(struct cbt_group *group, struct cbt_disk *disk)
{
	return &disk->map[group->pass.epoch->slot];
}

struct cbt_bitmap *cbt_pass_live_map(struct cbt_group *group, struct cbt_disk *disk)
{
	return &disk->map[group->epochs.live->slot];
}

/* --- preserving ---------------------------------------------------------- */

/* No probe looks at them, nor at the bitmaps of released chunks, when this returns. */
static void drop_preserves(struct cbt_group *group)
{
	struct cbt_preserve *dropped[CBT_GROUP_MAX_DISKS];
	struct cbt_disk *disk;
	unsigned int i = 0;

	list_for_each_entry(disk, &group->disks, entry) {
		if (disk->preserve)
			dropped[i++] = disk->preserve;
		WRITE_ONCE(disk->preserve, NULL);
	}
	if (!i)
		return;
	synchronize_rcu();
	while (i--)
		cbt_preserve_put(dropped[i]);
	list_for_each_entry(disk, &group->disks, entry)
		cbt_bitmap_clear(&disk->released);
}

static void end_images(struct cbt_group *group)
{
	struct cbt_disk *disk;

	lockdep_assert_held(&group->lock);
	/* No write waits any longer when devices are removed, which may need memory. */
	list_for_each_entry(disk, &group->disks, entry)
		if (disk->preserve)
			cbt_preserve_end(disk->preserve);
	list_for_each_entry(disk, &group->disks, entry) {
		if (disk->image)
			cbt_image_destroy(disk->image);
		disk->image = NULL;
	}
	drop_preserves(group);
}

static int begin_image(struct cbt_disk *disk, unsigned int slot)
{
	struct cbt_preserve *preserve = cbt_preserve_create(disk, slot);

	if (IS_ERR(preserve))
		return PTR_ERR(preserve);
	disk->image = cbt_image_create(disk, preserve);
	if (IS_ERR(disk->image)) {
		int err = PTR_ERR(disk->image);

		disk->image = NULL;
		cbt_preserve_put(preserve);
		return err;
	}
	/* Before the cut: whoever enters the new epoch sees it. */
	smp_store_release(&disk->preserve, preserve);
	return 0;
}

/* For the pass about to be cut. What cannot be had is done without: the pass is fuzzy then. */
static void begin_images(struct cbt_group *group)
{
	struct cbt_disk *disk;
	int err;

	list_for_each_entry(disk, &group->disks, entry) {
		err = begin_image(disk, group->epochs.live->slot);
		if (err) {
			pr_warn_ratelimited("%s: no image of it can be made (%d); the pass is fuzzy\n", disk->path, err);
			end_images(group);
			return;
		}
	}
}

static void images_sealed(struct cbt_group *group)
{
	struct cbt_disk *disk;

	list_for_each_entry(disk, &group->disks, entry)
		if (disk->preserve)
			cbt_preserve_sealed(disk->preserve);
}

static void fail_images(struct cbt_group *group)
{
	struct cbt_disk *disk;

	list_for_each_entry(disk, &group->disks, entry)
		if (disk->preserve)
			cbt_preserve_fail(disk->preserve);
}

/* --- the pass ------------------------------------------------------------ */

static void merge_back(struct cbt_group *group)
{
	struct cbt_disk *disk;

	lockdep_assert_held(&group->lock);
	list_for_each_entry(disk, &group->disks, entry) {
		cbt_bitmap_merge(cbt_pass_live_map(group, disk), cbt_pass_map(group, disk));
		cbt_bitmap_clear(cbt_pass_map(group, disk));
	}
	group->pass.state = CBT_PASS_NONE;
}

static bool drained(const struct cbt_pass *pass)
{
	return cbt_epoch_drained(pass->epoch) || cbt_debug_skip_seal();
}

/* Goes on as far as the epoch allows; true when there is nothing left to wait for. */
static bool advance(struct cbt_group *group)
{
	struct cbt_pass *pass = &group->pass;

	lockdep_assert_held(&group->lock);
	if (pass->state == CBT_PASS_NONE || pass->state == CBT_PASS_SEALED)
		return true;
	if (!drained(pass))
		return false;
	if (pass->state == CBT_PASS_ABANDONED) {
		merge_back(group);
		return true;
	}
	pass->state = CBT_PASS_SEALED;
	images_sealed(group);
	if (cbt_pass_on_sealed)
		cbt_pass_on_sealed(group);
	return true;
}

static void poll(struct work_struct *work)
{
	struct cbt_pass *pass = container_of(to_delayed_work(work), struct cbt_pass, poll);
	struct cbt_group *group = container_of(pass, struct cbt_group, pass);

	mutex_lock(&group->lock);
	if (!group->gone && !advance(group)) {
		if (time_after(jiffies, pass->begun_jiffies + HOLD_LIMIT))
			fail_images(group);
		if (time_after(jiffies, pass->cut_jiffies + SEAL_WARN)) {
			pr_warn_ratelimited("group %s: writes have been in flight for 30 s since the cut of pass %u\n",
					    group->name, pass->id);
			pass->cut_jiffies = jiffies;
		}
		queue_delayed_work(seal_queue, &pass->poll, SEAL_POLL);
	}
	mutex_unlock(&group->lock);
}

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
	INIT_DELAYED_WORK(&group->pass.poll, poll);
}

void cbt_pass_teardown(struct cbt_group *group)
{
	cancel_delayed_work_sync(&group->pass.poll);
}

bool cbt_pass_under_way(struct cbt_group *group)
{
	lockdep_assert_held(&group->lock);
	return !advance(group) || group->pass.state != CBT_PASS_NONE;
}

static int check_idle(struct cbt_group *group, const char **why)
{
	if (!cbt_pass_under_way(group))
		return 0;
	if (group->pass.state == CBT_PASS_ABANDONED) {
		*why = "writes of a pass that was given up are still in flight; try again";
		return -EAGAIN;
	}
	*why = "a pass is under way; commit it or give it up first";
	return -EBUSY;
}

static int check_disks(struct cbt_group *group, bool full, const char **why)
{
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
		reasons = atomic_read(&disk->untrusted);
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
 * Trust comes back before the cut: whatever is noticed from here on, also of a write
 * that was in flight unseen at the cut, takes it away again for the next pass.
 */
static void trust_disks(struct cbt_group *group)
{
	struct cbt_disk *disk;

	list_for_each_entry(disk, &group->disks, entry)
		cbt_disk_trust(disk);
	/* The trust before the cut. */
	smp_mb();
}

/* Before the cut: a write of after it looks into the map whether it must be held. */
static void fill_maps(struct cbt_group *group)
{
	struct cbt_disk *disk;

	list_for_each_entry(disk, &group->disks, entry)
		cbt_bitmap_fill(cbt_pass_live_map(group, disk));
}

int cbt_pass_begin(struct cbt_group *group, u32 flags, u32 portid, const char **why)
{
	struct cbt_pass *pass = &group->pass;
	bool full = flags & CBT_PASS_F_FULL;
	int err;

	lockdep_assert_held(&group->lock);
	err = check_idle(group, why);
	if (!err)
		err = check_disks(group, full, why);
	if (err)
		return err;

	if (full) {
		trust_disks(group);
		fill_maps(group);
	}
	if (!(flags & CBT_PASS_F_FUZZY))
		begin_images(group);
	pass->epoch = cbt_epochs_cut(&group->epochs);
	pass->cut_time_ns = ktime_get_real_ns();
	pass->cut_jiffies = pass->begun_jiffies = jiffies;
	pass->state = CBT_PASS_SEALING;
	pass->fuzzy = false;
	pass->id++;
	pass->flags = flags;
	pass->portid = portid;
	cbt_epoch_wait_drained(pass->epoch, SEAL_INLINE);
	if (!advance(group))
		queue_delayed_work(seal_queue, &pass->poll, SEAL_POLL);
	return 0;
}

int cbt_pass_find(struct cbt_group *group, u32 id, u32 portid, const char **why)
{
	struct cbt_pass *pass = &group->pass;

	lockdep_assert_held(&group->lock);
	if ((pass->state != CBT_PASS_SEALING && pass->state != CBT_PASS_SEALED) || pass->id != id) {
		*why = "no such pass is under way; it was committed or given up";
		return -ENOENT;
	}
	if (pass->portid != portid) {
		*why = "the pass belongs to another socket";
		return -EPERM;
	}
	return 0;
}

int cbt_pass_find_sealed(struct cbt_group *group, u32 id, u32 portid, const char **why)
{
	int err = cbt_pass_find(group, id, portid, why);

	if (!err && !advance(group)) {
		*why = "the pass is not sealed yet; writes of before its cut are in flight";
		return -EAGAIN;
	}
	return err;
}

void cbt_pass_commit(struct cbt_group *group)
{
	struct cbt_disk *disk;

	lockdep_assert_held(&group->lock);
	end_images(group);
	list_for_each_entry(disk, &group->disks, entry)
		cbt_bitmap_clear(cbt_pass_map(group, disk));
	group->pass.state = CBT_PASS_NONE;
}

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

int cbt_pass_release(struct cbt_group *group, struct cbt_disk *disk, u64 offset, u64 length,
		     const char **why)
{
	u64 first, end;
	int err;

	lockdep_assert_held(&group->lock);
	err = check_range(disk, offset, length, why);
	if (err || !disk->preserve)
		return err;
	whole_chunks(disk, offset, length, &first, &end);
	if (first < end)
		cbt_preserve_release(disk->preserve, first, end);
	return 0;
}

int cbt_pass_commit_range(struct cbt_group *group, struct cbt_disk *disk, u64 offset, u64 length,
			  const char **why)
{
	struct cbt_pass_counts counts;
	u64 first, end;
	int err;

	lockdep_assert_held(&group->lock);
	err = check_range(disk, offset, length, why);
	if (err)
		return err;
	/* What leaves the map must not take with it that it was overwritten. */
	cbt_pass_count_disk(group, disk, &counts);
	if (counts.overwritten)
		group->pass.fuzzy = true;
	whole_chunks(disk, offset, length, &first, &end);
	if (first < end)
		cbt_bitmap_clear_range(cbt_pass_map(group, disk), first, end - first);
	return 0;
}

void cbt_pass_give_up(struct cbt_group *group)
{
	lockdep_assert_held(&group->lock);
	end_images(group);
	if (advance(group))
		merge_back(group);
	else
		group->pass.state = CBT_PASS_ABANDONED;	/* the poll goes on */
}

void cbt_pass_cancel(struct cbt_group *group)
{
	lockdep_assert_held(&group->lock);
	end_images(group);
	group->pass.state = CBT_PASS_NONE;
}

void cbt_pass_count_disk(struct cbt_group *group, struct cbt_disk *disk,
			 struct cbt_pass_counts *counts)
{
	struct cbt_bitmap *map;

	lockdep_assert_held(&group->lock);
	*counts = (struct cbt_pass_counts){ 0 };
	if (group->pass.state != CBT_PASS_SEALING && group->pass.state != CBT_PASS_SEALED)
		return;
	map = cbt_pass_map(group, disk);
	counts->chunks = cbt_bitmap_count(map);
	if (disk->preserve && !READ_ONCE(disk->preserve->torn))
		return;
	counts->overwritten = cbt_bitmap_count_common(map, cbt_pass_live_map(group, disk));
}

void cbt_pass_count(struct cbt_group *group, struct cbt_pass_counts *counts)
{
	struct cbt_pass_counts one;
	struct cbt_disk *disk;

	*counts = (struct cbt_pass_counts){ 0 };
	list_for_each_entry(disk, &group->disks, entry) {
		cbt_pass_count_disk(group, disk, &one);
		counts->chunks += one.chunks;
		counts->overwritten += one.overwritten;
	}
}

bool cbt_pass_fuzzy(struct cbt_group *group, const struct cbt_pass_counts *counts)
{
	struct cbt_disk *disk;

	lockdep_assert_held(&group->lock);
	if (group->pass.fuzzy || counts->overwritten)
		return true;
	/* A write that was not seen may have been a new one. */
	list_for_each_entry(disk, &group->disks, entry)
		if (atomic_read(&disk->untrusted))
			return true;
	return false;
}
