/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A consumer: who takes passes of a group, with a dirty set of its own on each disk. Writes
 * know nothing of consumers: they mark the epoch under way, once. When an epoch has
 * been cut and is drained its marks are owed to every consumer; to the one that cut it they
 * come as the map of its pass (pass.h).
 *
 * The first consumer is there from the beginning and stays. While it is alone it is owed
 * nothing but what the epoch under way holds, and has no bitmap for more.
 */
#ifndef CBT_CONSUMER_H
#define CBT_CONSUMER_H

#include <linux/types.h>

struct cbt_bitmap;
struct cbt_consumer;
struct cbt_disk;
struct cbt_group;

#define CBT_CONSUMER_DEFAULT	1	/* id of the first one */

/* All functions: the caller holds the group's lock; they may sleep. */

/* For a new group; without its lock. */
void cbt_consumers_setup(struct cbt_group *group);

/* -EEXIST, -ENOSPC, -ENOMEM; *why is a sentence then. */
struct cbt_consumer *cbt_consumer_add(struct cbt_group *group, const char *name, const char **why);
/* It is not the first one, and has no pass. */
void cbt_consumer_remove(struct cbt_consumer *consumer);
/* Null: there is none. */
struct cbt_consumer *cbt_consumer_find(struct cbt_group *group, u32 id);
struct cbt_consumer *cbt_consumer_find_by_name(struct cbt_group *group, const char *name);

/* Makes the shares of a new disk. -ENOMEM. */
int cbt_consumers_add_disk(struct cbt_group *group, struct cbt_disk *disk);
/* Where what the consumer is owed goes when it is not a pass's. */
struct cbt_bitmap *cbt_consumer_owed(struct cbt_consumer *consumer, struct cbt_disk *disk);

#endif
