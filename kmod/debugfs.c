// SPDX-License-Identifier: GPL-2.0-only
#include <linux/debugfs.h>
#include <linux/seq_file.h>

#include "debugfs.h"
#include "disk.h"
#include "group.h"
#include "preserve.h"
#include "tap.h"

/* What ends a word, and what begins such a thing. */
#define ESCAPED	" \t\n\\"

static struct dentry *folder;

static const char *const pass_states[] = {
	[CBT_PASS_NONE] = "none",
	[CBT_PASS_SEALING] = "sealing",
	[CBT_PASS_SEALED] = "sealed",
};

static void show_consumers(struct seq_file *file, const struct cbt_group *group)
{
	const struct cbt_consumer *consumer;
	enum cbt_pass_state state;

	for_each_cbt_consumer(group, consumer) {
		seq_printf(file, "consumer group=%u id=%u slot=%u name=", group->id,
			   READ_ONCE(consumer->id), consumer->slot);
		seq_escape(file, consumer->name, ESCAPED);
		seq_putc(file, '\n');
		state = READ_ONCE(consumer->pass.state);
		if (state != CBT_PASS_NONE)
			seq_printf(file, "pass group=%u slot=%u id=%u state=%s flags=%#x cut_ns=%llu\n",
				   group->id, consumer->slot, READ_ONCE(consumer->pass.id),
				   pass_states[state], READ_ONCE(consumer->pass.flags),
				   READ_ONCE(consumer->pass.cut_time_ns));
	}
}

static void show_preserves(struct seq_file *file, struct cbt_disk *disk)
{
	const struct cbt_preserve *preserve;

	rcu_read_lock();
	for (preserve = READ_ONCE(disk->preserves); preserve;
	     preserve = READ_ONCE(preserve->next))
		seq_printf(file, "preserve group=%u disk=%u slot=%td sealed=%d off=%d torn=%d held=%d\n",
			   disk->group->id, READ_ONCE(disk->id), preserve->share - disk->shares,
			   READ_ONCE(preserve->sealed), READ_ONCE(preserve->off),
			   READ_ONCE(preserve->torn), atomic_read(&preserve->nr_held));
	rcu_read_unlock();
}

/* By the consumer's slot. What a slot has that no consumer has is of no meaning. */
static void show_untrusted(struct seq_file *file, struct cbt_disk *disk)
{
	unsigned int i;

	for (i = 0; i < CBT_CONSUMERS_MAX; i++)
		seq_printf(file, "%c%#x", i ? ',' : '=', atomic_read(&disk->shares[i].untrusted));
}

static void show_disk(struct cbt_disk *disk, void *arg)
{
	struct seq_file *file = arg;
	struct cbt_disk_stats stats;

	cbt_disk_sum_stats(disk, &stats);
	seq_printf(file, "disk group=%u id=%u dev=%u:%u first=%llu sectors=%llu chunk=%u untrusted",
		   disk->group->id, READ_ONCE(disk->id), MAJOR(disk->dev), MINOR(disk->dev),
		   (u64)disk->first, (u64)(disk->end - disk->first),
		   1 << (disk->chunk_shift + SECTOR_SHIFT));
	show_untrusted(file, disk);
	seq_printf(file, " writes=%llu written=%llu marked=%llu,%llu path=", stats.writes,
		   stats.bytes, cbt_bitmap_count(&disk->map[0]), cbt_bitmap_count(&disk->map[1]));
	seq_escape(file, disk->path, ESCAPED);
	seq_putc(file, '\n');
	show_preserves(file, disk);
}

/* Inflight and marked are by epoch, of which there are two; live says which of them is current. */
static int show_group(struct seq_file *file, void *element)
{
	struct cbt_group *group = element;
	const struct cbt_epochs *epochs = &group->epochs;

	if (group == SEQ_START_TOKEN) {
		seq_puts(file, "version=1\n");
		return 0;
	}
	seq_printf(file, "group id=%u disks=%u live=%u inflight=%ld,%ld kept=%lld name=", group->id,
		   READ_ONCE(group->nr_disks), READ_ONCE(epochs->live)->slot,
		   (long)cbt_epoch_inflight(&epochs->at[0]),
		   (long)cbt_epoch_inflight(&epochs->at[1]),
		   (long long)atomic64_read(&group->kept_bytes));
	seq_escape(file, group->name, ESCAPED);
	seq_putc(file, '\n');
	show_consumers(file, group);
	cbt_tap_for_each(group, show_disk, file);
	return 0;
}

/* The position is the id of a group; 0 is the version's. */
static void *start_groups(struct seq_file *file, loff_t *pos)
{
	struct cbt_group *group;

	if (!*pos)
		return SEQ_START_TOKEN;
	group = *pos <= INT_MAX ? cbt_group_get_next(*pos) : NULL;
	if (group)
		*pos = group->id;
	return group;
}

static void stop_groups(struct seq_file *file, void *element)
{
	if (element && element != SEQ_START_TOKEN)
		cbt_group_put(element);
}

static void *next_group(struct seq_file *file, void *element, loff_t *pos)
{
	stop_groups(file, element);
	++*pos;
	return start_groups(file, pos);
}

static const struct seq_operations state_sops = {
	.start = start_groups,
	.next = next_group,
	.stop = stop_groups,
	.show = show_group,
};
DEFINE_SEQ_ATTRIBUTE(state);

void cbt_debugfs_init(void)
{
	folder = debugfs_create_dir("blkcbt", NULL);
	debugfs_create_file("state", 0400, folder, NULL, &state_fops);
}

void cbt_debugfs_exit(void)
{
	debugfs_remove(folder);
}
