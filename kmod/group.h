/* SPDX-License-Identifier: GPL-2.0-only */
/* A group: the disks that are cut together, their epochs, and who takes passes of them. */
#ifndef CBT_GROUP_H
#define CBT_GROUP_H

#include <linux/kref.h>
#include <linux/mutex.h>
#include <linux/workqueue.h>
#include <uapi/linux/blkcbt.h>

#include "disk.h"
#include "epoch.h"

#define CBT_GROUP_MAX		256	/* groups at a time */
#define CBT_GROUP_MAX_DISKS	64

enum cbt_pass_state {
	CBT_PASS_NONE,
	CBT_PASS_SEALING,	/* cut; writes of its epoch are in flight */
	CBT_PASS_SEALED,	/* its map is final */
};

struct cbt_pass {
	enum cbt_pass_state state;
	u32 id;			/* of this pass, or of the last one */
	u32 expired_id;		/* of the last one that its deadline ended */
	u32 flags;		/* as begun: CBT_PASS_F_FULL, CBT_PASS_F_FUZZY */
	bool fuzzy;		/* chunks that were overwritten have left the map since */
	u32 portid;		/* the netlink socket that it belongs to */
	u64 cut_time_ns;
	unsigned long timeout;		/* jiffies that its owner may be silent */
	unsigned long deadline;		/* jiffies */
	struct delayed_work expire;
};

struct cbt_consumer {
	struct cbt_group *group;
	u32 id;			/* 0: there is none here */
	unsigned int slot;	/* which of a disk's shares is its own */
	char name[BLKCBT_NAME_LEN];
	u64 ticket;		/* its turn among those whose cut had to wait; 0: none */
	unsigned long asked;	/* jiffies when it last asked for that */
	struct cbt_pass pass;
};

/* The epoch that was cut and has yet to drain; nobody else can cut meanwhile. */
struct cbt_seal {
	struct cbt_epoch *epoch;	/* null: none */
	struct cbt_consumer *cutter;	/* whose pass it is for; null: that was given up */
	struct delayed_work poll;
	unsigned long cut_jiffies;
	unsigned long warned_jiffies;	/* or when it was cut */
};

struct cbt_group {
	struct kref ref;
	u32 id;
	char name[BLKCBT_NAME_LEN];
	struct mutex lock;	/* disks, consumers, seal, gone */
	struct list_head disks;	/* of cbt_disk.entry, ascending ids */
	u32 nr_disks;
	u32 last_disk_id;
	bool gone;		/* removed; who finds it so lets go of it */
	struct cbt_epochs epochs;
	struct cbt_seal seal;
	u32 last_pass_id;
	u64 last_ticket;
	u32 last_consumer_id;
	struct cbt_consumer consumers[CBT_CONSUMERS_MAX];
	atomic64_t kept_bytes;	/* what the image's chunks take; preserve.c */
	struct delayed_work reclaim;	/* frees it when the last write has left */
};

#define for_each_cbt_consumer(group, consumer)						\
	for ((consumer) = (group)->consumers;						\
	     (consumer) < (group)->consumers + CBT_CONSUMERS_MAX; (consumer)++)		\
		if ((consumer)->id)

/* All may sleep. */
int cbt_groups_init(void);
/* No group is left; waits until the last one's memory is freed. */
void cbt_groups_exit(void);

/*
 * An empty group with a reference for the caller; @setup makes its consumers ready before
 * anyone can find it. While it is listed the module cannot be unloaded.
 * -EEXIST, -ENOSPC, -ENOMEM.
 */
struct cbt_group *cbt_group_create(const char *name, void (*setup)(struct cbt_group *group));
/* A reference, or null. */
struct cbt_group *cbt_group_get(u32 id);
struct cbt_group *cbt_group_get_by_name(const char *name);
/* The group with the smallest id from @id on, with a reference, or null. */
struct cbt_group *cbt_group_get_next(u32 id);
void cbt_group_put(struct cbt_group *group);

/*
 * Takes the group out of the list. Its disks and passes are gone already. It is
 * freed when the last reference and the last write in flight are gone.
 */
void cbt_group_remove(struct cbt_group *group);

struct cbt_disk *cbt_group_disk(struct cbt_group *group, u32 id);
u64 cbt_group_memory(struct cbt_group *group);

#endif
