// SPDX-License-Identifier: GPL-2.0-only
#include <linux/idr.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "disk.h"
#include "group.h"

#define RECLAIM_POLL	(HZ / 20 ?: 1)

static DEFINE_MUTEX(groups_lock);
static DEFINE_IDR(groups);		/* groups_lock */
static unsigned int nr_groups;		/* groups_lock */
static u32 last_id;			/* groups_lock; ids are not used twice */
static struct workqueue_struct *reclaim_queue;
static atomic_t nr_alive = ATOMIC_INIT(0);	/* listed or not, until the memory is freed */
static DECLARE_WAIT_QUEUE_HEAD(none_alive);

/*
 * Writes that entered an epoch of the group may complete long after the group
 * was removed, and count themselves out of it then.
 */
static void reclaim(struct work_struct *work)
{
	struct cbt_group *group = container_of(to_delayed_work(work), struct cbt_group, reclaim);

	if (!cbt_epoch_drained(&group->epochs.at[0]) || !cbt_epoch_drained(&group->epochs.at[1])) {
		queue_delayed_work(reclaim_queue, &group->reclaim, RECLAIM_POLL);
		return;
	}
	/*
	 * The last leave() may still look at the epoch after its count; it runs
	 * with preemption off or in an interrupt.
	 */
	synchronize_rcu();
	cbt_epochs_exit(&group->epochs);
	kfree(group);
	if (atomic_dec_and_test(&nr_alive))
		wake_up(&none_alive);
}

static void release(struct kref *ref)
{
	struct cbt_group *group = container_of(ref, struct cbt_group, ref);

	queue_delayed_work(reclaim_queue, &group->reclaim, 0);
}

int cbt_groups_init(void)
{
	reclaim_queue = alloc_workqueue("blkcbt_reclaim", WQ_UNBOUND | WQ_MEM_RECLAIM, 0);
	return reclaim_queue ? 0 : -ENOMEM;
}

void cbt_groups_exit(void)
{
	WARN_ON(nr_groups);
	wait_event(none_alive, !atomic_read(&nr_alive));
	destroy_workqueue(reclaim_queue);
	idr_destroy(&groups);
}

static struct cbt_group *alloc_group(const char *name)
{
	struct cbt_group *group = kzalloc(sizeof(*group), GFP_KERNEL);

	if (!group)
		return NULL;
	if (cbt_epochs_init(&group->epochs)) {
		kfree(group);
		return NULL;
	}
	atomic_inc(&nr_alive);
	kref_init(&group->ref);
	mutex_init(&group->lock);
	INIT_LIST_HEAD(&group->disks);
	INIT_DELAYED_WORK(&group->reclaim, reclaim);
	strscpy(group->name, name, sizeof(group->name));
	return group;
}

static struct cbt_group *find_by_name(const char *name)
{
	struct cbt_group *group;
	int id;

	lockdep_assert_held(&groups_lock);
	idr_for_each_entry(&groups, group, id)
		if (!strcmp(group->name, name))
			return group;
	return NULL;
}

/* The group list's own reference is the one that kref_init() made. */
static int insert(struct cbt_group *group)
{
	int id;

	lockdep_assert_held(&groups_lock);
	if (find_by_name(group->name))
		return -EEXIST;
	if (nr_groups == CBT_GROUP_MAX || last_id == INT_MAX)
		return -ENOSPC;
	if (!try_module_get(THIS_MODULE))
		return -ENODEV;
	id = idr_alloc(&groups, group, last_id + 1, 0, GFP_KERNEL);
	if (id < 0) {
		module_put(THIS_MODULE);
		return id;
	}
	group->id = id;
	last_id = id;
	nr_groups++;
	kref_get(&group->ref);
	return 0;
}

struct cbt_group *cbt_group_create(const char *name, void (*setup)(struct cbt_group *group))
{
	struct cbt_group *group = alloc_group(name);
	int err;

	if (!group)
		return ERR_PTR(-ENOMEM);
	setup(group);
	mutex_lock(&groups_lock);
	err = insert(group);
	mutex_unlock(&groups_lock);
	if (!err)
		return group;
	cbt_group_put(group);
	return ERR_PTR(err);
}

struct cbt_group *cbt_group_get(u32 id)
{
	struct cbt_group *group;

	mutex_lock(&groups_lock);
	group = idr_find(&groups, id);
	if (group)
		kref_get(&group->ref);
	mutex_unlock(&groups_lock);
	return group;
}

struct cbt_group *cbt_group_get_by_name(const char *name)
{
	struct cbt_group *group;

	mutex_lock(&groups_lock);
	group = find_by_name(name);
	if (group)
		kref_get(&group->ref);
	mutex_unlock(&groups_lock);
	return group;
}

struct cbt_group *cbt_group_get_next(u32 id)
{
	struct cbt_group *group;
	int next = id;

	mutex_lock(&groups_lock);
	group = idr_get_next(&groups, &next);
	if (group)
		kref_get(&group->ref);
	mutex_unlock(&groups_lock);
	return group;
}

void cbt_group_put(struct cbt_group *group)
{
	kref_put(&group->ref, release);
}

void cbt_group_remove(struct cbt_group *group)
{
	mutex_lock(&groups_lock);
	idr_remove(&groups, group->id);
	nr_groups--;
	mutex_unlock(&groups_lock);
	cbt_group_put(group);
	module_put(THIS_MODULE);
}

struct cbt_disk *cbt_group_disk(struct cbt_group *group, u32 id)
{
	struct cbt_disk *disk;

	lockdep_assert_held(&group->lock);
	list_for_each_entry(disk, &group->disks, entry)
		if (disk->id == id)
			return disk;
	return NULL;
}

u64 cbt_group_memory(struct cbt_group *group)
{
	u64 sum = sizeof(*group) + 2 * num_possible_cpus() * sizeof(long) +
		  atomic64_read(&group->kept_bytes);
	struct cbt_disk *disk;

	lockdep_assert_held(&group->lock);
	list_for_each_entry(disk, &group->disks, entry)
		sum += cbt_disk_memory(disk);
	return sum;
}
