// SPDX-License-Identifier: GPL-2.0-only
#include <linux/err.h>
#include <linux/string.h>

#include "consumer.h"
#include "disk.h"
#include "group.h"

void cbt_consumers_setup(struct cbt_group *group)
{
	unsigned int i;

	for (i = 0; i < CBT_CONSUMERS_MAX; i++) {
		group->consumers[i].group = group;
		group->consumers[i].slot = i;
	}
	group->consumers[0].id = group->last_consumer_id = CBT_CONSUMER_DEFAULT;
	strscpy(group->consumers[0].name, "default", sizeof(group->consumers[0].name));
}

/* --- shares -------------------------------------------------------------- */

/* Once there are two consumers, what one is owed is no longer what another is owed. */
static int make_owed(struct cbt_group *group, struct cbt_disk *disk)
{
	struct cbt_consumer *consumer;

	for_each_cbt_consumer(group, consumer) {
		struct cbt_share *share = &disk->shares[consumer->slot];

		if (!share->owed.bits && cbt_bitmap_init(&share->owed, disk->map[0].nr_bits))
			return -ENOMEM;
	}
	return 0;
}

static bool is_alone(struct cbt_group *group)
{
	struct cbt_consumer *consumer;
	unsigned int count = 0;

	for_each_cbt_consumer(group, consumer)
		count++;
	return count == 1;
}

int cbt_consumers_add_disk(struct cbt_group *group, struct cbt_disk *disk)
{
	struct cbt_consumer *consumer;

	lockdep_assert_held(&group->lock);
	for_each_cbt_consumer(group, consumer)
		if (cbt_disk_make_share(disk, consumer->slot))
			return -ENOMEM;
	return is_alone(group) ? 0 : make_owed(group, disk);
}

/* --- consumers ----------------------------------------------------------- */

static void free_shares_of(struct cbt_consumer *consumer)
{
	struct cbt_disk *disk;

	list_for_each_entry(disk, &consumer->group->disks, entry)
		cbt_disk_free_share(disk, consumer->slot);
}

/* Of all disks, and what the others lack for being no longer alone. */
static int make_shares_of(struct cbt_consumer *consumer)
{
	struct cbt_disk *disk;

	list_for_each_entry(disk, &consumer->group->disks, entry) {
		if (cbt_disk_make_share(disk, consumer->slot) ||
		    make_owed(consumer->group, disk)) {
			free_shares_of(consumer);
			return -ENOMEM;
		}
	}
	return 0;
}

static struct cbt_consumer *find_free(struct cbt_group *group)
{
	unsigned int i;

	for (i = 0; i < CBT_CONSUMERS_MAX; i++)
		if (!group->consumers[i].id)
			return &group->consumers[i];
	return NULL;
}

struct cbt_consumer *cbt_consumer_add(struct cbt_group *group, const char *name, const char **why)
{
	struct cbt_consumer *consumer = find_free(group);

	lockdep_assert_held(&group->lock);
	if (cbt_consumer_find_by_name(group, name)) {
		*why = "the group has a consumer of that name already";
		return ERR_PTR(-EEXIST);
	}
	if (!consumer || group->last_consumer_id == U32_MAX) {
		*why = "the group has as many consumers as it can have";
		return ERR_PTR(-ENOSPC);
	}
	consumer->id = ++group->last_consumer_id;
	if (make_shares_of(consumer)) {
		consumer->id = 0;
		*why = "not enough memory for the consumer's bitmaps";
		return ERR_PTR(-ENOMEM);
	}
	strscpy(consumer->name, name, sizeof(consumer->name));
	consumer->ticket = 0;
	consumer->pass.expired_id = 0;
	return consumer;
}

void cbt_consumer_remove(struct cbt_consumer *consumer)
{
	struct cbt_disk *disk;

	lockdep_assert_held(&consumer->group->lock);
	consumer->id = 0;
	free_shares_of(consumer);
	/* For whoever has the slot next. */
	list_for_each_entry(disk, &consumer->group->disks, entry)
		atomic_or(CBT_UNTRUSTED_FRESH, &disk->shares[consumer->slot].untrusted);
}

struct cbt_consumer *cbt_consumer_find(struct cbt_group *group, u32 id)
{
	struct cbt_consumer *consumer;

	lockdep_assert_held(&group->lock);
	for_each_cbt_consumer(group, consumer)
		if (consumer->id == id)
			return consumer;
	return NULL;
}

struct cbt_consumer *cbt_consumer_find_by_name(struct cbt_group *group, const char *name)
{
	struct cbt_consumer *consumer;

	lockdep_assert_held(&group->lock);
	for_each_cbt_consumer(group, consumer)
		if (!strcmp(consumer->name, name))
			return consumer;
	return NULL;
}

struct cbt_bitmap *cbt_consumer_owed(struct cbt_consumer *consumer, struct cbt_disk *disk)
{
	struct cbt_share *share = &disk->shares[consumer->slot];

	lockdep_assert_held(&consumer->group->lock);
	return share->owed.bits ? &share->owed : &disk->map[consumer->group->epochs.live->slot];
}
