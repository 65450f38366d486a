// SPDX-License-Identifier: GPL-2.0-only
#include <linux/module.h>
#include <linux/netlink.h>
#include <net/genetlink.h>
#include <net/net_namespace.h>

#include "consumer.h"
#include "disk.h"
#include "group.h"
#include "netlink.h"
#include "nl-gen.h"
#include "pass.h"
#include "preserve.h"
#include "tap.h"
#include "write.h"

#define MAP_REPLY_BYTES	(32 << 10)

static struct genl_family family;

/* Refusals: @why lives as long as the module. */
static int say(struct netlink_ext_ack *extack, int err, const char *why)
{
	if (extack)
		extack->_msg = why;
	return err;
}

static int refuse(struct genl_info *info, int err, const char *why)
{
	return say(info->extack, err, why);
}

static const char missing_attr[] = "an attribute that this command needs is missing";

static int missing(struct genl_info *info)
{
	return refuse(info, -EINVAL, missing_attr);
}

/* --- replies ------------------------------------------------------------- */

static u32 pass_of(const struct cbt_consumer *consumer)
{
	return consumer->pass.state == CBT_PASS_NONE ? 0 : consumer->pass.id;
}

static int fill_group(struct sk_buff *skb, struct cbt_group *group)
{
	struct cbt_consumer *consumer;
	u32 consumers = 0;

	for_each_cbt_consumer(group, consumer)
		consumers++;
	if (nla_put_u32(skb, CBT_A_GROUP_ID, group->id) ||
	    nla_put_string(skb, CBT_A_GROUP_NAME, group->name) ||
	    nla_put_u32(skb, CBT_A_GROUP_DISKS, group->nr_disks) ||
	    nla_put_u32(skb, CBT_A_GROUP_PASS, pass_of(&group->consumers[0])) ||
	    nla_put_u32(skb, CBT_A_GROUP_CONSUMERS, consumers) ||
	    nla_put_u64_64bit(skb, CBT_A_GROUP_MEMORY, cbt_group_memory(group), CBT_A_GROUP_PAD) ||
	    nla_put_u64_64bit(skb, CBT_A_GROUP_SHARED_MEMORY,
			      cbt_write_memory() + cbt_preserve_memory(), CBT_A_GROUP_PAD))
		return -EMSGSIZE;
	return 0;
}

static int fill_disk_head(struct sk_buff *skb, struct cbt_disk *disk, unsigned int slot)
{
	if (nla_put_u32(skb, CBT_A_DISK_GROUP, disk->group->id) ||
	    nla_put_u32(skb, CBT_A_DISK_ID, disk->id) ||
	    nla_put_string(skb, CBT_A_DISK_PATH, disk->path) ||
	    nla_put_u32(skb, CBT_A_DISK_UNTRUSTED, atomic_read(&disk->shares[slot].untrusted)))
		return -EMSGSIZE;
	return 0;
}

static int fill_image(struct sk_buff *skb, const struct gendisk *image)
{
	char path[DISK_NAME_LEN + sizeof("/dev/")];

	if (!image)
		return 0;
	snprintf(path, sizeof(path), "/dev/%s", image->disk_name);
	return nla_put_string(skb, CBT_A_DISK_IMAGE, path);
}

/* As it is for one consumer. */
static int fill_disk(struct sk_buff *skb, struct cbt_disk *disk, struct cbt_consumer *consumer)
{
	struct cbt_pass_counts counts;
	struct cbt_disk_stats stats;

	cbt_disk_check(disk);
	cbt_disk_sum_stats(disk, &stats);
	cbt_pass_count_disk(consumer, disk, &counts);
	if (fill_disk_head(skb, disk, consumer->slot) ||
	    nla_put_u32(skb, CBT_A_DISK_MAJOR, MAJOR(disk->dev)) ||
	    nla_put_u32(skb, CBT_A_DISK_MINOR, MINOR(disk->dev)) ||
	    nla_put_u64_64bit(skb, CBT_A_DISK_SIZE, cbt_disk_size_bytes(disk), CBT_A_DISK_PAD) ||
	    nla_put_u32(skb, CBT_A_DISK_CHUNK, 1U << (disk->chunk_shift + SECTOR_SHIFT)) ||
	    nla_put_u64_64bit(skb, CBT_A_DISK_DIRTY, cbt_pass_count_dirty(consumer, disk),
			      CBT_A_DISK_PAD) ||
	    nla_put_u64_64bit(skb, CBT_A_DISK_PASS_CHUNKS, counts.chunks, CBT_A_DISK_PAD) ||
	    nla_put_u64_64bit(skb, CBT_A_DISK_OVERWRITTEN, counts.overwritten, CBT_A_DISK_PAD) ||
	    nla_put_u64_64bit(skb, CBT_A_DISK_WRITES, stats.writes, CBT_A_DISK_PAD) ||
	    nla_put_u64_64bit(skb, CBT_A_DISK_WRITTEN, stats.bytes, CBT_A_DISK_PAD) ||
	    nla_put_u32(skb, CBT_A_DISK_CONSUMER, consumer->id))
		return -EMSGSIZE;
	return fill_image(skb, disk->shares[consumer->slot].image);
}

static int fill_pass(struct sk_buff *skb, struct cbt_consumer *consumer)
{
	struct cbt_pass *pass = &consumer->pass;
	struct cbt_pass_counts counts;
	u32 flags = pass->flags & ~CBT_PASS_F_FUZZY;

	cbt_pass_count(consumer, &counts);
	if (pass->state == CBT_PASS_SEALED)
		flags |= CBT_PASS_F_SEALED;
	if (cbt_pass_fuzzy(consumer, &counts))
		flags |= CBT_PASS_F_FUZZY;
	if (nla_put_u32(skb, CBT_A_PASS_GROUP, consumer->group->id) ||
	    nla_put_u32(skb, CBT_A_PASS_ID, pass->id) ||
	    nla_put_u32(skb, CBT_A_PASS_FLAGS, flags) ||
	    nla_put_u64_64bit(skb, CBT_A_PASS_CUT_TIME, pass->cut_time_ns, CBT_A_PASS_PAD) ||
	    nla_put_u64_64bit(skb, CBT_A_PASS_CHUNKS, counts.chunks, CBT_A_PASS_PAD) ||
	    nla_put_u64_64bit(skb, CBT_A_PASS_OVERWRITTEN, counts.overwritten, CBT_A_PASS_PAD) ||
	    nla_put_u32(skb, CBT_A_PASS_CONSUMER, consumer->id) ||
	    nla_put_u32(skb, CBT_A_PASS_TIMEOUT, jiffies_to_msecs(pass->timeout)))
		return -EMSGSIZE;
	return 0;
}

static int fill_consumer(struct sk_buff *skb, struct cbt_consumer *consumer)
{
	if (nla_put_u32(skb, CBT_A_CONSUMER_GROUP, consumer->group->id) ||
	    nla_put_u32(skb, CBT_A_CONSUMER_ID, consumer->id) ||
	    nla_put_string(skb, CBT_A_CONSUMER_NAME, consumer->name) ||
	    nla_put_u32(skb, CBT_A_CONSUMER_PASS, pass_of(consumer)))
		return -EMSGSIZE;
	return 0;
}

/* An answer under way. */
struct reply {
	struct sk_buff *skb;
	void *head;
};

/* NLMSG_DEFAULT_SIZE bytes are room for any single object. */
static int reply_new(struct reply *reply, struct genl_info *info, size_t bytes)
{
	reply->skb = genlmsg_new(bytes, GFP_KERNEL);
	if (!reply->skb)
		return -ENOMEM;
	reply->head = genlmsg_put_reply(reply->skb, info, &family, 0, info->genlhdr->cmd);
	if (reply->head)
		return 0;
	nlmsg_free(reply->skb);
	return -ENOMEM;
}

/* With an error nothing is sent but that. */
static int reply_send(const struct reply *reply, struct genl_info *info, int err)
{
	if (err) {
		nlmsg_free(reply->skb);
		return err;
	}
	genlmsg_end(reply->skb, reply->head);
	return genlmsg_reply(reply->skb, info);
}

/* One object of a dump. */
static void *dump_begin(struct sk_buff *skb, struct netlink_callback *cb, u8 cmd)
{
	return genlmsg_put(skb, NETLINK_CB(cb->skb).portid, cb->nlh->nlmsg_seq, &family,
			   NLM_F_MULTI, cmd);
}

/* True: it is in the message, which was not full. */
static bool dump_end(struct sk_buff *skb, void *head, int err)
{
	if (!head || err) {
		genlmsg_cancel(skb, head);
		return false;
	}
	genlmsg_end(skb, head);
	return true;
}

/* --- finding what a request is about ------------------------------------- */

/* The group of the attribute @id, with a reference and its lock. */
static struct cbt_group *lock_named(struct netlink_ext_ack *extack, struct nlattr *id)
{
	struct cbt_group *group;

	if (!id)
		return ERR_PTR(say(extack, -EINVAL, missing_attr));
	group = cbt_group_get(nla_get_u32(id));
	if (group) {
		mutex_lock(&group->lock);
		if (!group->gone)
			return group;
		mutex_unlock(&group->lock);
		cbt_group_put(group);
	}
	return ERR_PTR(say(extack, -ENOENT, "there is no such group"));
}

static struct cbt_group *lock_group(struct genl_info *info, struct nlattr *id)
{
	return lock_named(info->extack, id);
}

static void unlock_group(struct cbt_group *group)
{
	mutex_unlock(&group->lock);
	cbt_group_put(group);
}

/* The same for a command that is answered with an object, and the answer's beginning. */
static struct cbt_group *lock_to_reply(struct reply *reply, struct genl_info *info,
				       struct nlattr *id)
{
	struct cbt_group *group;
	int err = reply_new(reply, info, NLMSG_DEFAULT_SIZE);

	if (err)
		return ERR_PTR(err);
	group = lock_group(info, id);
	if (IS_ERR(group))
		nlmsg_free(reply->skb);
	return group;
}

static int unlock_and_reply(const struct reply *reply, struct genl_info *info,
			    struct cbt_group *group, int err)
{
	unlock_group(group);
	return reply_send(reply, info, err);
}

/* Locks the group of a command on a pass that is the sender's; returns whose it is. */
static struct cbt_consumer *lock_pass(struct genl_info *info, struct nlattr *group_id,
				      struct nlattr *pass_id,
				      struct cbt_consumer *(*find)(struct cbt_group *, u32, u32,
								   const char **))
{
	struct cbt_consumer *consumer;
	struct cbt_group *group;
	const char *why;

	if (!pass_id)
		return ERR_PTR(missing(info));
	group = lock_group(info, group_id);
	if (IS_ERR(group))
		return ERR_CAST(group);
	consumer = find(group, nla_get_u32(pass_id), info->snd_portid, &why);
	if (!IS_ERR(consumer))
		return consumer;
	unlock_group(group);
	return ERR_PTR(refuse(info, PTR_ERR(consumer), why));
}

/* Without an attribute it is the first one. */
static struct cbt_consumer *find_consumer(struct netlink_ext_ack *extack, struct cbt_group *group,
					  struct nlattr *id)
{
	struct cbt_consumer *consumer =
		cbt_consumer_find(group, id ? nla_get_u32(id) : CBT_CONSUMER_DEFAULT);

	if (!consumer)
		return ERR_PTR(say(extack, -ENOENT, "the group has no such consumer"));
	return consumer;
}

static struct cbt_disk *find_disk(struct genl_info *info, struct cbt_group *group,
				  struct nlattr *id)
{
	struct cbt_disk *disk = cbt_group_disk(group, nla_get_u32(id));

	if (!disk)
		return ERR_PTR(refuse(info, -ENOENT, "the group has no such disk"));
	return disk;
}

/* --- groups -------------------------------------------------------------- */

int blkcbt_nl_group_new_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct nlattr *name = info->attrs[CBT_A_GROUP_NAME];
	struct cbt_group *group;
	struct reply reply;
	int err;

	if (!name)
		return missing(info);
	if (!nla_len(name) || !*(char *)nla_data(name))
		return refuse(info, -EINVAL, "a group's name must have 1 to 63 bytes");
	err = reply_new(&reply, info, NLMSG_DEFAULT_SIZE);
	if (err)
		return err;
	group = cbt_group_create(nla_data(name), cbt_pass_setup);
	if (IS_ERR(group)) {
		nlmsg_free(reply.skb);
		err = PTR_ERR(group);
		return refuse(info, err, err == -EEXIST ? "there is a group of that name already" :
			      err == -ENOSPC ? "there are as many groups as there can be" : "not enough memory");
	}
	err = nla_put_u32(reply.skb, CBT_A_GROUP_ID, group->id);
	cbt_group_put(group);
	return reply_send(&reply, info, err);
}

static void drop_disk(struct cbt_group *group, struct cbt_disk *disk)
{
	cbt_tap_remove(disk);
	list_del(&disk->entry);
	group->nr_disks--;
	cbt_disk_destroy(disk);
}

int blkcbt_nl_group_del_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct cbt_group *group = lock_group(info, info->attrs[CBT_A_GROUP_ID]);
	struct cbt_disk *disk, *next;

	if (IS_ERR(group))
		return PTR_ERR(group);
	group->gone = true;
	cbt_pass_cancel(group);
	list_for_each_entry_safe(disk, next, &group->disks, entry)
		drop_disk(group, disk);
	mutex_unlock(&group->lock);
	cbt_pass_teardown(group);
	cbt_group_remove(group);
	cbt_group_put(group);
	return 0;
}

int blkcbt_nl_group_get_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct nlattr *id = info->attrs[CBT_A_GROUP_ID], *name = info->attrs[CBT_A_GROUP_NAME];
	struct cbt_group *group;
	struct reply reply;
	int err;

	if (!id == !name)
		return refuse(info, -EINVAL, "name the group by either its id or its name");
	group = id ? cbt_group_get(nla_get_u32(id)) : cbt_group_get_by_name(nla_data(name));
	if (!group)
		return refuse(info, -ENOENT, "there is no such group");
	err = reply_new(&reply, info, NLMSG_DEFAULT_SIZE);
	if (err) {
		cbt_group_put(group);
		return err;
	}
	mutex_lock(&group->lock);
	cbt_pass_look(group);
	return unlock_and_reply(&reply, info, group, fill_group(reply.skb, group));
}

static bool dump_group(struct sk_buff *skb, struct netlink_callback *cb, struct cbt_group *group)
{
	void *head = dump_begin(skb, cb, CBT_CMD_GROUP_GET);

	return dump_end(skb, head, head ? fill_group(skb, group) : 0);
}

int blkcbt_nl_group_get_dumpit(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct cbt_group *group;
	bool full = false;

	while (!full && (group = cbt_group_get_next(cb->args[0]))) {
		mutex_lock(&group->lock);
		if (!group->gone)
			full = !dump_group(skb, cb, group);
		if (!full)
			cb->args[0] = group->id + 1;
		unlock_group(group);
	}
	return skb->len;
}

/* --- disks --------------------------------------------------------------- */

static int check_room(struct cbt_group *group, struct cbt_disk *disk, const char **why)
{
	struct cbt_disk *other;

	if (cbt_pass_under_way(group)) {
		*why = "a pass is under way; disks can be added between passes";
		return -EBUSY;
	}
	if (group->nr_disks == CBT_GROUP_MAX_DISKS) {
		*why = "the group has as many disks as it can have";
		return -ENOSPC;
	}
	list_for_each_entry(other, &group->disks, entry) {
		if (other->gd == disk->gd && other->first == disk->first &&
		    other->end == disk->end) {
			*why = "the group has this device already";
			return -EEXIST;
		}
	}
	return 0;
}

static int add_disk_to(struct cbt_group *group, struct cbt_disk *disk, const char **why)
{
	int err = check_room(group, disk, why);

	if (err)
		return err;
	disk->group = group;
	if (cbt_consumers_add_disk(group, disk)) {
		*why = "not enough memory for the bitmaps; choose a larger chunk size";
		return -ENOMEM;
	}
	err = cbt_tap_add(disk);
	if (err) {
		*why = "the kernel refused the probes on its tracepoints";
		return err;
	}
	disk->id = ++group->last_disk_id;
	group->nr_disks++;
	list_add_tail(&disk->entry, &group->disks);
	return 0;
}

int blkcbt_nl_disk_add_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct nlattr *path = info->attrs[CBT_A_DISK_PATH], *chunk = info->attrs[CBT_A_DISK_CHUNK];
	struct cbt_group *group;
	struct cbt_disk *disk;
	struct reply reply;
	const char *why;
	int err;

	if (!path)
		return missing(info);
	disk = cbt_disk_create(nla_data(path), chunk ? nla_get_u32(chunk) : 0, &why);
	if (IS_ERR(disk))
		return refuse(info, PTR_ERR(disk), why);
	group = lock_to_reply(&reply, info, info->attrs[CBT_A_DISK_GROUP]);
	if (IS_ERR(group)) {
		cbt_disk_destroy(disk);
		return PTR_ERR(group);
	}
	err = add_disk_to(group, disk, &why);
	if (err) {
		refuse(info, err, why);
		cbt_disk_destroy(disk);
	} else {
		err = fill_disk(reply.skb, disk, &group->consumers[0]);
	}
	return unlock_and_reply(&reply, info, group, err);
}

int blkcbt_nl_disk_del_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct nlattr *id = info->attrs[CBT_A_DISK_ID];
	struct cbt_group *group;
	struct cbt_disk *disk;
	int err = 0;

	if (!id)
		return missing(info);
	group = lock_group(info, info->attrs[CBT_A_DISK_GROUP]);
	if (IS_ERR(group))
		return PTR_ERR(group);
	disk = find_disk(info, group, id);
	if (IS_ERR(disk))
		err = PTR_ERR(disk);
	else if (cbt_pass_under_way(group))
		err = refuse(info, -EBUSY, "a pass is under way; disks can be removed between passes");
	else
		drop_disk(group, disk);
	unlock_group(group);
	return err;
}

int blkcbt_nl_disk_get_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct nlattr *id = info->attrs[CBT_A_DISK_ID];
	struct cbt_consumer *consumer;
	struct cbt_group *group;
	struct cbt_disk *disk;
	struct reply reply;
	int err;

	if (!id)
		return missing(info);
	group = lock_to_reply(&reply, info, info->attrs[CBT_A_DISK_GROUP]);
	if (IS_ERR(group))
		return PTR_ERR(group);
	disk = find_disk(info, group, id);
	consumer = find_consumer(info->extack, group, info->attrs[CBT_A_DISK_CONSUMER]);
	err = IS_ERR(disk)     ? PTR_ERR(disk) :
	      IS_ERR(consumer) ? PTR_ERR(consumer) :
				 fill_disk(reply.skb, disk, consumer);
	return unlock_and_reply(&reply, info, group, err);
}

static bool dump_disk(struct sk_buff *skb, struct netlink_callback *cb, struct cbt_disk *disk,
		      struct cbt_consumer *consumer)
{
	void *head = dump_begin(skb, cb, CBT_CMD_DISK_GET);

	return dump_end(skb, head, head ? fill_disk(skb, disk, consumer) : 0);
}

int blkcbt_nl_disk_get_dumpit(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct nlattr **attrs = cbt_compat_dump_attrs(cb);
	struct cbt_group *group = lock_named(cb->extack, attrs[CBT_A_DISK_GROUP]);
	struct cbt_consumer *consumer;
	struct cbt_disk *disk;

	if (IS_ERR(group))
		return PTR_ERR(group);
	consumer = find_consumer(cb->extack, group, attrs[CBT_A_DISK_CONSUMER]);
	if (IS_ERR(consumer)) {
		unlock_group(group);
		return PTR_ERR(consumer);
	}
	list_for_each_entry(disk, &group->disks, entry) {
		if (disk->id <= cb->args[0])
			continue;
		if (!dump_disk(skb, cb, disk, consumer))
			break;
		cb->args[0] = disk->id;
	}
	unlock_group(group);
	return skb->len;
}

/* --- consumers ----------------------------------------------------------- */

int blkcbt_nl_consumer_new_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct nlattr *name = info->attrs[CBT_A_CONSUMER_NAME];
	struct cbt_consumer *consumer;
	struct cbt_group *group;
	struct reply reply;
	const char *why;
	int err;

	if (!name)
		return missing(info);
	if (!*(char *)nla_data(name))
		return refuse(info, -EINVAL, "a consumer's name must have 1 to 63 bytes");
	group = lock_to_reply(&reply, info, info->attrs[CBT_A_CONSUMER_GROUP]);
	if (IS_ERR(group))
		return PTR_ERR(group);
	consumer = cbt_consumer_add(group, nla_data(name), &why);
	err = IS_ERR(consumer) ? refuse(info, PTR_ERR(consumer), why) :
				 fill_consumer(reply.skb, consumer);
	return unlock_and_reply(&reply, info, group, err);
}

int blkcbt_nl_consumer_del_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct nlattr *id = info->attrs[CBT_A_CONSUMER_ID];
	struct cbt_consumer *consumer;
	struct cbt_group *group;
	int err = 0;

	if (!id)
		return missing(info);
	group = lock_group(info, info->attrs[CBT_A_CONSUMER_GROUP]);
	if (IS_ERR(group))
		return PTR_ERR(group);
	consumer = find_consumer(info->extack, group, id);
	if (IS_ERR(consumer)) {
		err = PTR_ERR(consumer);
	} else if (consumer->id == CBT_CONSUMER_DEFAULT) {
		err = refuse(info, -EPERM, "the first consumer stays as long as its group");
	} else {
		cbt_pass_give_up(consumer);
		cbt_consumer_remove(consumer);
	}
	unlock_group(group);
	return err;
}

int blkcbt_nl_consumer_get_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct nlattr *id = info->attrs[CBT_A_CONSUMER_ID],
		      *name = info->attrs[CBT_A_CONSUMER_NAME];
	struct cbt_consumer *consumer;
	struct cbt_group *group;
	struct reply reply;
	int err;

	if (!id == !name)
		return refuse(info, -EINVAL, "name the consumer by either its id or its name");
	group = lock_to_reply(&reply, info, info->attrs[CBT_A_CONSUMER_GROUP]);
	if (IS_ERR(group))
		return PTR_ERR(group);
	cbt_pass_look(group);
	consumer = id ? cbt_consumer_find(group, nla_get_u32(id)) :
			cbt_consumer_find_by_name(group, nla_data(name));
	err = consumer ? fill_consumer(reply.skb, consumer) :
			 refuse(info, -ENOENT, "the group has no such consumer");
	return unlock_and_reply(&reply, info, group, err);
}

static bool dump_consumer(struct sk_buff *skb, struct netlink_callback *cb,
			  struct cbt_consumer *consumer)
{
	void *head = dump_begin(skb, cb, CBT_CMD_CONSUMER_GET);

	return dump_end(skb, head, head ? fill_consumer(skb, consumer) : 0);
}

/* The one with the smallest id above @id, or null. */
static struct cbt_consumer *next_consumer(struct cbt_group *group, u32 id)
{
	struct cbt_consumer *consumer, *next = NULL;

	for_each_cbt_consumer(group, consumer)
		if (consumer->id > id && (!next || consumer->id < next->id))
			next = consumer;
	return next;
}

int blkcbt_nl_consumer_get_dumpit(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct nlattr **attrs = cbt_compat_dump_attrs(cb);
	struct cbt_group *group = lock_named(cb->extack, attrs[CBT_A_CONSUMER_GROUP]);
	struct cbt_consumer *consumer;

	if (IS_ERR(group))
		return PTR_ERR(group);
	while ((consumer = next_consumer(group, cb->args[0])) && dump_consumer(skb, cb, consumer))
		cb->args[0] = consumer->id;
	unlock_group(group);
	return skb->len;
}

/* --- passes -------------------------------------------------------------- */

int blkcbt_nl_pass_begin_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct nlattr *flags = info->attrs[CBT_A_PASS_FLAGS],
		      *timeout = info->attrs[CBT_A_PASS_TIMEOUT];
	struct cbt_pass_spec spec = {
		.flags = flags ? nla_get_u32(flags) : 0,
		.portid = info->snd_portid,
		.timeout_ms = timeout ? nla_get_u32(timeout) : CBT_PASS_TIMEOUT_DEFAULT,
	};
	struct cbt_consumer *consumer;
	struct cbt_group *group;
	struct reply reply;
	const char *why;
	int err;

	if (spec.flags & ~(CBT_PASS_F_FULL | CBT_PASS_F_FUZZY))
		return refuse(info, -EINVAL, "a pass can begin with the flags full and fuzzy only");
	if (spec.timeout_ms < CBT_PASS_TIMEOUT_MIN || spec.timeout_ms > CBT_PASS_TIMEOUT_MAX)
		return refuse(info, -ERANGE, "the timeout must be from 1000 to 86400000 milliseconds");
	group = lock_to_reply(&reply, info, info->attrs[CBT_A_PASS_GROUP]);
	if (IS_ERR(group))
		return PTR_ERR(group);
	consumer = find_consumer(info->extack, group, info->attrs[CBT_A_PASS_CONSUMER]);
	err = PTR_ERR_OR_ZERO(consumer);
	if (!err) {
		err = cbt_pass_begin(consumer, &spec, &why);
		err = err ? refuse(info, err, why) : fill_pass(reply.skb, consumer);
	}
	return unlock_and_reply(&reply, info, group, err);
}

int blkcbt_nl_pass_get_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct cbt_consumer *consumer;
	struct reply reply;
	int err;

	err = reply_new(&reply, info, NLMSG_DEFAULT_SIZE);
	if (err)
		return err;
	consumer = lock_pass(info, info->attrs[CBT_A_PASS_GROUP], info->attrs[CBT_A_PASS_ID],
			     cbt_pass_find);
	if (IS_ERR(consumer)) {
		nlmsg_free(reply.skb);
		return PTR_ERR(consumer);
	}
	err = fill_pass(reply.skb, consumer);
	return unlock_and_reply(&reply, info, consumer->group, err);
}

/* A command on a range of a disk of a sealed pass. */
static int do_range(struct genl_info *info,
		    int (*act)(struct cbt_consumer *, struct cbt_disk *, u64, u64, const char **))
{
	struct nlattr *disk_id = info->attrs[CBT_A_PASS_DISK];
	struct nlattr *offset = info->attrs[CBT_A_PASS_OFFSET];
	struct nlattr *length = info->attrs[CBT_A_PASS_LENGTH];
	struct cbt_consumer *consumer;
	struct cbt_disk *disk;
	const char *why;
	int err;

	if (!disk_id || !offset || !length)
		return missing(info);
	consumer = lock_pass(info, info->attrs[CBT_A_PASS_GROUP], info->attrs[CBT_A_PASS_ID],
			     cbt_pass_find_sealed);
	if (IS_ERR(consumer))
		return PTR_ERR(consumer);
	disk = find_disk(info, consumer->group, disk_id);
	if (IS_ERR(disk)) {
		err = PTR_ERR(disk);
	} else {
		err = act(consumer, disk, nla_get_u64(offset), nla_get_u64(length), &why);
		if (err)
			refuse(info, err, why);
	}
	unlock_group(consumer->group);
	return err;
}

int blkcbt_nl_pass_release_doit(struct sk_buff *skb, struct genl_info *info)
{
	return do_range(info, cbt_pass_release);
}

int blkcbt_nl_pass_commit_range_doit(struct sk_buff *skb, struct genl_info *info)
{
	return do_range(info, cbt_pass_commit_range);
}

int blkcbt_nl_pass_commit_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct cbt_consumer *consumer = lock_pass(info, info->attrs[CBT_A_PASS_GROUP],
						  info->attrs[CBT_A_PASS_ID], cbt_pass_find_sealed);

	if (IS_ERR(consumer))
		return PTR_ERR(consumer);
	cbt_pass_commit(consumer);
	unlock_group(consumer->group);
	return 0;
}

int blkcbt_nl_pass_give_up_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct cbt_consumer *consumer = lock_pass(info, info->attrs[CBT_A_PASS_GROUP],
						  info->attrs[CBT_A_PASS_ID], cbt_pass_find);

	if (IS_ERR(consumer))
		return PTR_ERR(consumer);
	cbt_pass_give_up(consumer);
	unlock_group(consumer->group);
	return 0;
}

/* --- the map ------------------------------------------------------------- */

static int fill_extent(struct sk_buff *skb, u64 offset, u64 length)
{
	struct nlattr *nest = nla_nest_start(skb, CBT_A_MAP_EXTENT);

	if (!nest)
		return -EMSGSIZE;
	if (nla_put_u64_64bit(skb, CBT_A_EXTENT_OFFSET, offset, CBT_A_EXTENT_PAD) ||
	    nla_put_u64_64bit(skb, CBT_A_EXTENT_LENGTH, length, CBT_A_EXTENT_PAD)) {
		nla_nest_cancel(skb, nest);
		return -EMSGSIZE;
	}
	nla_nest_end(skb, nest);
	return 0;
}

/* As many runs from chunk @from on as fit, with room left to say where to go on. */
static int fill_map(struct sk_buff *skb, struct cbt_consumer *consumer, struct cbt_disk *disk,
		    u64 from)
{
	const struct cbt_bitmap *map = &disk->shares[consumer->slot].map;
	unsigned int shift = disk->chunk_shift + SECTOR_SHIFT;
	u64 size = cbt_disk_size_bytes(disk), first, count, end;

	if (nla_put_u32(skb, CBT_A_MAP_GROUP, consumer->group->id) ||
	    nla_put_u32(skb, CBT_A_MAP_PASS, consumer->pass.id) ||
	    nla_put_u32(skb, CBT_A_MAP_DISK, disk->id))
		return -EMSGSIZE;
	/* Once is enough: a count costs more than an answer. */
	if (!from && nla_put_u64_64bit(skb, CBT_A_MAP_CHUNKS, cbt_bitmap_count(map), CBT_A_MAP_PAD))
		return -EMSGSIZE;
	while (cbt_bitmap_next_run(map, from, &first, &count)) {
		end = min(size, (first + count) << shift);
		if (skb_tailroom(skb) < 128 ||
		    fill_extent(skb, first << shift, end - (first << shift)))
			return nla_put_u64_64bit(skb, CBT_A_MAP_NEXT, first << shift,
						 CBT_A_MAP_PAD);
		from = first + count;
		cond_resched();
	}
	return 0;
}

int blkcbt_nl_map_get_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct nlattr *disk_id = info->attrs[CBT_A_MAP_DISK],
		      *offset = info->attrs[CBT_A_MAP_OFFSET];
	u64 from = offset ? nla_get_u64(offset) : 0;
	struct cbt_consumer *consumer;
	struct cbt_disk *disk;
	struct reply reply;
	int err;

	if (!disk_id)
		return missing(info);
	err = reply_new(&reply, info, MAP_REPLY_BYTES);
	if (err)
		return err;
	consumer = lock_pass(info, info->attrs[CBT_A_MAP_GROUP], info->attrs[CBT_A_MAP_PASS],
			     cbt_pass_find_sealed);
	if (IS_ERR(consumer)) {
		nlmsg_free(reply.skb);
		return PTR_ERR(consumer);
	}
	disk = find_disk(info, consumer->group, disk_id);
	if (IS_ERR(disk))
		err = PTR_ERR(disk);
	else if (from & ((1ULL << (disk->chunk_shift + SECTOR_SHIFT)) - 1))
		err = refuse(info, -EINVAL, "the offset is not a multiple of the chunk size");
	else
		err = fill_map(reply.skb, consumer, disk,
			       from >> (disk->chunk_shift + SECTOR_SHIFT));
	return unlock_and_reply(&reply, info, consumer->group, err);
}

/* --- events -------------------------------------------------------------- */

static void send_event(u8 cmd, int (*fill)(struct sk_buff *skb, void *object), void *object)
{
	struct sk_buff *skb = genlmsg_new(NLMSG_DEFAULT_SIZE, GFP_KERNEL);
	void *head;

	if (!skb)
		return;
	head = genlmsg_put(skb, 0, 0, &family, 0, cmd);
	if (!head || fill(skb, object)) {
		nlmsg_free(skb);
		return;
	}
	genlmsg_end(skb, head);
	/* Without a listener it is dropped; state is always there to be asked for. */
	genlmsg_multicast(&family, skb, 0, BLKCBT_NLGRP_EVENTS, GFP_KERNEL);
}

static int fill_pass_event(struct sk_buff *skb, void *consumer)
{
	return fill_pass(skb, consumer);
}

static void pass_sealed(struct cbt_consumer *consumer)
{
	send_event(CBT_CMD_PASS_SEALED, fill_pass_event, consumer);
}

static void pass_expired(struct cbt_consumer *consumer)
{
	send_event(CBT_CMD_PASS_EXPIRED, fill_pass_event, consumer);
}

/* What is news to one consumer is news to all; the first one stands for them. */
static int fill_disk_event(struct sk_buff *skb, void *disk)
{
	return fill_disk_head(skb, disk, 0);
}

static void disk_distrusted(struct cbt_disk *disk)
{
	send_event(CBT_CMD_DISK_UNTRUSTED, fill_disk_event, disk);
}

/* Most sockets have no pass; they need not wait for those that have. */
static bool may_own(struct cbt_group *group, u32 portid)
{
	unsigned int i;

	for (i = 0; i < CBT_CONSUMERS_MAX; i++)
		if (READ_ONCE(group->consumers[i].pass.portid) == portid)
			return true;
	return false;
}

static void give_up_of(struct cbt_group *group, u32 portid)
{
	struct cbt_consumer *consumer;

	for_each_cbt_consumer(group, consumer) {
		if (consumer->pass.state == CBT_PASS_NONE || consumer->pass.portid != portid)
			continue;
		pr_info("group %s: the controller closed its socket; pass %u is given up and merged back\n",
			group->name, consumer->pass.id);
		cbt_pass_give_up(consumer);
	}
}

/* A socket was closed: what it had under way is given up. */
static int socket_released(struct notifier_block *nb, unsigned long state, void *data)
{
	struct netlink_notify *notify = data;
	struct cbt_group *group;
	u32 next = 0;

	if (state != NETLINK_URELEASE || notify->protocol != NETLINK_GENERIC ||
	    notify->net != &init_net)
		return NOTIFY_DONE;
	while ((group = cbt_group_get_next(next))) {
		next = group->id + 1;
		if (!may_own(group, notify->portid)) {
			cbt_group_put(group);
			continue;
		}
		mutex_lock(&group->lock);
		if (!group->gone)
			give_up_of(group, notify->portid);
		unlock_group(group);
	}
	return NOTIFY_OK;
}

static struct notifier_block socket_notifier = { .notifier_call = socket_released };

static const struct genl_multicast_group mcgrps[] = {
	[BLKCBT_NLGRP_EVENTS] = { .name = BLKCBT_MCGRP_EVENTS },
};

static struct genl_family family = {
	.name = CBT_GENL_NAME,
	.version = CBT_GENL_VERSION,
	.module = THIS_MODULE,
	/* Each command takes its group's lock; none needs the lock of all families. */
	.parallel_ops = true,
	.ops = blkcbt_nl_ops,
	.n_ops = ARRAY_SIZE(blkcbt_nl_ops),
	.resv_start_op = __CBT_CMD_MAX,
	.mcgrps = mcgrps,
	.n_mcgrps = ARRAY_SIZE(mcgrps),
};

int cbt_netlink_init(void)
{
	int err;

	cbt_disk_on_distrust = disk_distrusted;
	cbt_pass_on_sealed = pass_sealed;
	cbt_pass_on_expired = pass_expired;
	err = genl_register_family(&family);
	if (err)
		return err;
	err = netlink_register_notifier(&socket_notifier);
	if (err)
		genl_unregister_family(&family);
	return err;
}

void cbt_netlink_exit(void)
{
	netlink_unregister_notifier(&socket_notifier);
	genl_unregister_family(&family);
}
