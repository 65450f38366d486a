// SPDX-License-Identifier: GPL-2.0-only
#include <linux/module.h>
#include <linux/netlink.h>
#include <net/genetlink.h>
#include <net/net_namespace.h>

#include "disk.h"
#include "group.h"
#include "netlink.h"
#include "nl-gen.h"
#include "pass.h"
#include "tap.h"

#define MAP_REPLY_BYTES	(32 << 10)

static struct genl_family family;

/* Refusals: @why lives as long as the module. */
static int refuse(struct genl_info *info, int err, const char *why)
{
	if (info->extack)
		info->extack->_msg = why;
	return err;
}

static int missing(struct genl_info *info)
{
	return refuse(info, -EINVAL, "an attribute that this command needs is missing");
}

/* --- replies ------------------------------------------------------------- */

static int fill_group(struct sk_buff *skb, struct cbt_group *group)
{
	bool pass = cbt_pass_under_way(group) && group->pass.state != CBT_PASS_ABANDONED;

	if (nla_put_u32(skb, CBT_A_GROUP_ID, group->id) ||
	    nla_put_string(skb, CBT_A_GROUP_NAME, group->name) ||
	    nla_put_u32(skb, CBT_A_GROUP_DISKS, group->nr_disks) ||
	    nla_put_u32(skb, CBT_A_GROUP_PASS, pass ? group->pass.id : 0) ||
	    nla_put_u64_64bit(skb, CBT_A_GROUP_MEMORY, cbt_group_memory(group), CBT_A_GROUP_PAD))
		return -EMSGSIZE;
	return 0;
}

static int fill_disk_head(struct sk_buff *skb, struct cbt_disk *disk)
{
	if (nla_put_u32(skb, CBT_A_DISK_GROUP, disk->group->id) ||
	    nla_put_u32(skb, CBT_A_DISK_ID, disk->id) ||
	    nla_put_string(skb, CBT_A_DISK_PATH, disk->path) ||
	    nla_put_u32(skb, CBT_A_DISK_UNTRUSTED, atomic_read(&disk->untrusted)))
		return -EMSGSIZE;
	return 0;
}

static int fill_image(struct sk_buff *skb, struct cbt_disk *disk)
{
	char path[DISK_NAME_LEN + sizeof("/dev/")];

	if (!disk->image)
		return 0;
	snprintf(path, sizeof(path), "/dev/%s", disk->image->disk_name);
	return nla_put_string(skb, CBT_A_DISK_IMAGE, path);
}

static int fill_disk(struct sk_buff *skb, struct cbt_disk *disk)
{
	struct cbt_pass_counts counts;
	struct cbt_disk_stats stats;

	cbt_disk_check(disk);
	cbt_disk_sum_stats(disk, &stats);
	cbt_pass_count_disk(disk->group, disk, &counts);
	if (fill_disk_head(skb, disk) || nla_put_u32(skb, CBT_A_DISK_MAJOR, MAJOR(disk->dev)) ||
	    nla_put_u32(skb, CBT_A_DISK_MINOR, MINOR(disk->dev)) ||
	    nla_put_u64_64bit(skb, CBT_A_DISK_SIZE, cbt_disk_size_bytes(disk), CBT_A_DISK_PAD) ||
	    nla_put_u32(skb, CBT_A_DISK_CHUNK, 1U << (disk->chunk_shift + SECTOR_SHIFT)) ||
	    nla_put_u64_64bit(skb, CBT_A_DISK_DIRTY,
			      cbt_bitmap_count(cbt_pass_live_map(disk->group, disk)),
			      CBT_A_DISK_PAD) ||
	    nla_put_u64_64bit(skb, CBT_A_DISK_PASS_CHUNKS, counts.chunks, CBT_A_DISK_PAD) ||
	    nla_put_u64_64bit(skb, CBT_A_DISK_OVERWRITTEN, counts.overwritten, CBT_A_DISK_PAD) ||
	    nla_put_u64_64bit(skb, CBT_A_DISK_WRITES, stats.writes, CBT_A_DISK_PAD) ||
	    nla_put_u64_64bit(skb, CBT_A_DISK_WRITTEN, stats.bytes, CBT_A_DISK_PAD))
		return -EMSGSIZE;
	return fill_image(skb, disk);
}

static int fill_pass(struct sk_buff *skb, struct cbt_group *group)
{
	struct cbt_pass *pass = &group->pass;
	struct cbt_pass_counts counts;
	u32 flags = pass->flags & ~CBT_PASS_F_FUZZY;

	cbt_pass_count(group, &counts);
	if (pass->state == CBT_PASS_SEALED)
		flags |= CBT_PASS_F_SEALED;
	if (cbt_pass_fuzzy(group, &counts))
		flags |= CBT_PASS_F_FUZZY;
	if (nla_put_u32(skb, CBT_A_PASS_GROUP, group->id) ||
	    nla_put_u32(skb, CBT_A_PASS_ID, pass->id) ||
	    nla_put_u32(skb, CBT_A_PASS_FLAGS, flags) ||
	    nla_put_u64_64bit(skb, CBT_A_PASS_CUT_TIME, pass->cut_time_ns, CBT_A_PASS_PAD) ||
	    nla_put_u64_64bit(skb, CBT_A_PASS_CHUNKS, counts.chunks, CBT_A_PASS_PAD) ||
	    nla_put_u64_64bit(skb, CBT_A_PASS_OVERWRITTEN, counts.overwritten, CBT_A_PASS_PAD))
		return -EMSGSIZE;
	return 0;
}

/* A reply under way; room for any single object. */
static struct sk_buff *reply_new(struct genl_info *info, size_t bytes, void **head)
{
	struct sk_buff *skb = genlmsg_new(bytes, GFP_KERNEL);

	if (!skb)
		return NULL;
	*head = genlmsg_put_reply(skb, info, &family, 0, info->genlhdr->cmd);
	if (*head)
		return skb;
	nlmsg_free(skb);
	return NULL;
}

static int reply_send(struct sk_buff *skb, void *head, int err, struct genl_info *info)
{
	if (err) {
		nlmsg_free(skb);
		return err;
	}
	genlmsg_end(skb, head);
	return genlmsg_reply(skb, info);
}

/* --- finding what a request is about ------------------------------------- */

/* The group of the attribute @id, with a reference and its lock. */
static struct cbt_group *lock_group(struct genl_info *info, struct nlattr *id)
{
	struct cbt_group *group;

	if (!id)
		return ERR_PTR(missing(info));
	group = cbt_group_get(nla_get_u32(id));
	if (group) {
		mutex_lock(&group->lock);
		if (!group->gone)
			return group;
		mutex_unlock(&group->lock);
		cbt_group_put(group);
	}
	return ERR_PTR(refuse(info, -ENOENT, "there is no such group"));
}

static void unlock_group(struct cbt_group *group)
{
	mutex_unlock(&group->lock);
	cbt_group_put(group);
}

/* Locks the group of a command on a pass and checks that the pass is the sender's. */
static struct cbt_group *lock_pass(struct genl_info *info, struct nlattr *group_id,
				   struct nlattr *pass_id,
				   int (*find)(struct cbt_group *, u32, u32, const char **))
{
	struct cbt_group *group;
	const char *why;
	int err;

	if (!pass_id)
		return ERR_PTR(missing(info));
	group = lock_group(info, group_id);
	if (IS_ERR(group))
		return group;
	err = find(group, nla_get_u32(pass_id), info->snd_portid, &why);
	if (!err)
		return group;
	unlock_group(group);
	return ERR_PTR(refuse(info, err, why));
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
	struct sk_buff *reply;
	void *head;
	int err;

	if (!name)
		return missing(info);
	if (!nla_len(name) || !*(char *)nla_data(name))
		return refuse(info, -EINVAL, "a group's name must have 1 to 63 bytes");
	reply = reply_new(info, NLMSG_DEFAULT_SIZE, &head);
	if (!reply)
		return -ENOMEM;
	group = cbt_group_create(nla_data(name), cbt_pass_setup);
	if (IS_ERR(group)) {
		nlmsg_free(reply);
		err = PTR_ERR(group);
		return refuse(info, err, err == -EEXIST ? "there is a group of that name already" :
			      err == -ENOSPC ? "there are as many groups as there can be" : "not enough memory");
	}
	err = nla_put_u32(reply, CBT_A_GROUP_ID, group->id);
	cbt_group_put(group);
	return reply_send(reply, head, err, info);
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
	struct sk_buff *reply;
	void *head;
	int err;

	if (!id == !name)
		return refuse(info, -EINVAL, "name the group by either its id or its name");
	group = id ? cbt_group_get(nla_get_u32(id)) : cbt_group_get_by_name(nla_data(name));
	if (!group)
		return refuse(info, -ENOENT, "there is no such group");
	reply = reply_new(info, NLMSG_DEFAULT_SIZE, &head);
	if (!reply) {
		cbt_group_put(group);
		return -ENOMEM;
	}
	mutex_lock(&group->lock);
	err = fill_group(reply, group);
	unlock_group(group);
	return reply_send(reply, head, err, info);
}

/* One object of a dump; 1 when the message is full. */
static int dump_group(struct sk_buff *skb, struct netlink_callback *cb, struct cbt_group *group)
{
	void *head = genlmsg_put(skb, NETLINK_CB(cb->skb).portid, cb->nlh->nlmsg_seq, &family,
				 NLM_F_MULTI, CBT_CMD_GROUP_GET);

	if (!head)
		return 1;
	if (fill_group(skb, group)) {
		genlmsg_cancel(skb, head);
		return 1;
	}
	genlmsg_end(skb, head);
	return 0;
}

int blkcbt_nl_group_get_dumpit(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct cbt_group *group;
	int full = 0;

	while (!full && (group = cbt_group_get_next(cb->args[0]))) {
		mutex_lock(&group->lock);
		if (!group->gone)
			full = dump_group(skb, cb, group);
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
	struct sk_buff *reply;
	const char *why;
	void *head;
	int err;

	if (!path)
		return missing(info);
	disk = cbt_disk_create(nla_data(path), chunk ? nla_get_u32(chunk) : 0, &why);
	if (IS_ERR(disk))
		return refuse(info, PTR_ERR(disk), why);
	reply = reply_new(info, NLMSG_DEFAULT_SIZE, &head);
	group = reply ? lock_group(info, info->attrs[CBT_A_DISK_GROUP]) : ERR_PTR(-ENOMEM);
	if (IS_ERR(group)) {
		nlmsg_free(reply);
		cbt_disk_destroy(disk);
		return PTR_ERR(group);
	}
	err = add_disk_to(group, disk, &why);
	if (err) {
		refuse(info, err, why);
		cbt_disk_destroy(disk);
	} else {
		err = fill_disk(reply, disk);
	}
	unlock_group(group);
	return reply_send(reply, head, err, info);
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
	struct cbt_group *group;
	struct cbt_disk *disk;
	struct sk_buff *reply;
	void *head;
	int err;

	if (!id)
		return missing(info);
	reply = reply_new(info, NLMSG_DEFAULT_SIZE, &head);
	group = reply ? lock_group(info, info->attrs[CBT_A_DISK_GROUP]) : ERR_PTR(-ENOMEM);
	if (IS_ERR(group)) {
		nlmsg_free(reply);
		return PTR_ERR(group);
	}
	disk = find_disk(info, group, id);
	err = IS_ERR(disk) ? PTR_ERR(disk) : fill_disk(reply, disk);
	unlock_group(group);
	return reply_send(reply, head, err, info);
}

static int dump_disk(struct sk_buff *skb, struct netlink_callback *cb, struct cbt_disk *disk)
{
	void *head = genlmsg_put(skb, NETLINK_CB(cb->skb).portid, cb->nlh->nlmsg_seq, &family,
				 NLM_F_MULTI, CBT_CMD_DISK_GET);

	if (!head)
		return 1;
	if (fill_disk(skb, disk)) {
		genlmsg_cancel(skb, head);
		return 1;
	}
	genlmsg_end(skb, head);
	return 0;
}

int blkcbt_nl_disk_get_dumpit(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct nlattr *id = cbt_compat_dump_attrs(cb)[CBT_A_DISK_GROUP];
	struct cbt_group *group;
	struct cbt_disk *disk;

	if (!id) {
		NL_SET_ERR_MSG(cb->extack, "an attribute that this command needs is missing");
		return -EINVAL;
	}
	group = cbt_group_get(nla_get_u32(id));
	if (!group) {
		NL_SET_ERR_MSG(cb->extack, "there is no such group");
		return -ENOENT;
	}
	mutex_lock(&group->lock);
	list_for_each_entry(disk, &group->disks, entry) {
		if (disk->id <= cb->args[0])
			continue;
		if (dump_disk(skb, cb, disk))
			break;
		cb->args[0] = disk->id;
	}
	unlock_group(group);
	return skb->len;
}

/* --- passes -------------------------------------------------------------- */

int blkcbt_nl_pass_begin_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct nlattr *attr = info->attrs[CBT_A_PASS_FLAGS];
	u32 flags = attr ? nla_get_u32(attr) : 0;
	struct cbt_group *group;
	struct sk_buff *reply;
	const char *why;
	void *head;
	int err;

	if (flags & ~(CBT_PASS_F_FULL | CBT_PASS_F_FUZZY))
		return refuse(info, -EINVAL, "a pass can begin with the flags full and fuzzy only");
	reply = reply_new(info, NLMSG_DEFAULT_SIZE, &head);
	group = reply ? lock_group(info, info->attrs[CBT_A_PASS_GROUP]) : ERR_PTR(-ENOMEM);
	if (IS_ERR(group)) {
		nlmsg_free(reply);
		return PTR_ERR(group);
	}
	err = cbt_pass_begin(group, flags, info->snd_portid, &why);
	if (err)
		refuse(info, err, why);
	else
		err = fill_pass(reply, group);
	unlock_group(group);
	return reply_send(reply, head, err, info);
}

int blkcbt_nl_pass_get_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct cbt_group *group;
	struct sk_buff *reply;
	void *head;
	int err;

	reply = reply_new(info, NLMSG_DEFAULT_SIZE, &head);
	if (!reply)
		return -ENOMEM;
	group = lock_pass(info, info->attrs[CBT_A_PASS_GROUP], info->attrs[CBT_A_PASS_ID],
			  cbt_pass_find);
	if (IS_ERR(group)) {
		nlmsg_free(reply);
		return PTR_ERR(group);
	}
	err = fill_pass(reply, group);
	unlock_group(group);
	return reply_send(reply, head, err, info);
}

/* A command on a range of a disk of a sealed pass. */
static int do_range(struct genl_info *info,
		    int (*act)(struct cbt_group *, struct cbt_disk *, u64, u64, const char **))
{
	struct nlattr *disk_id = info->attrs[CBT_A_PASS_DISK];
	struct nlattr *offset = info->attrs[CBT_A_PASS_OFFSET];
	struct nlattr *length = info->attrs[CBT_A_PASS_LENGTH];
	struct cbt_group *group;
	struct cbt_disk *disk;
	const char *why;
	int err;

	if (!disk_id || !offset || !length)
		return missing(info);
	group = lock_pass(info, info->attrs[CBT_A_PASS_GROUP], info->attrs[CBT_A_PASS_ID],
			  cbt_pass_find_sealed);
	if (IS_ERR(group))
		return PTR_ERR(group);
	disk = find_disk(info, group, disk_id);
	if (IS_ERR(disk)) {
		err = PTR_ERR(disk);
	} else {
		err = act(group, disk, nla_get_u64(offset), nla_get_u64(length), &why);
		if (err)
			refuse(info, err, why);
	}
	unlock_group(group);
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
	struct cbt_group *group = lock_pass(info, info->attrs[CBT_A_PASS_GROUP],
					    info->attrs[CBT_A_PASS_ID], cbt_pass_find_sealed);

	if (IS_ERR(group))
		return PTR_ERR(group);
	cbt_pass_commit(group);
	unlock_group(group);
	return 0;
}

int blkcbt_nl_pass_give_up_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct cbt_group *group = lock_pass(info, info->attrs[CBT_A_PASS_GROUP],
					    info->attrs[CBT_A_PASS_ID], cbt_pass_find);

	if (IS_ERR(group))
		return PTR_ERR(group);
	cbt_pass_give_up(group);
	unlock_group(group);
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
static int fill_map(struct sk_buff *skb, struct cbt_group *group, struct cbt_disk *disk, u64 from)
{
	const struct cbt_bitmap *map = cbt_pass_map(group, disk);
	unsigned int shift = disk->chunk_shift + SECTOR_SHIFT;
	u64 size = cbt_disk_size_bytes(disk), first, count, end;

	if (nla_put_u32(skb, CBT_A_MAP_GROUP, group->id) ||
	    nla_put_u32(skb, CBT_A_MAP_PASS, group->pass.id) ||
	    nla_put_u32(skb, CBT_A_MAP_DISK, disk->id))
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
	struct cbt_group *group;
	struct cbt_disk *disk;
	struct sk_buff *reply;
	void *head;
	int err;

	if (!disk_id)
		return missing(info);
	reply = reply_new(info, MAP_REPLY_BYTES, &head);
	if (!reply)
		return -ENOMEM;
	group = lock_pass(info, info->attrs[CBT_A_MAP_GROUP], info->attrs[CBT_A_MAP_PASS],
			  cbt_pass_find_sealed);
	if (IS_ERR(group)) {
		nlmsg_free(reply);
		return PTR_ERR(group);
	}
	disk = find_disk(info, group, disk_id);
	if (IS_ERR(disk))
		err = PTR_ERR(disk);
	else if (from & ((1ULL << (disk->chunk_shift + SECTOR_SHIFT)) - 1))
		err = refuse(info, -EINVAL, "the offset is not a multiple of the chunk size");
	else
		err = fill_map(reply, group, disk, from >> (disk->chunk_shift + SECTOR_SHIFT));
	unlock_group(group);
	return reply_send(reply, head, err, info);
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

static int fill_pass_event(struct sk_buff *skb, void *group)
{
	return fill_pass(skb, group);
}

static void pass_sealed(struct cbt_group *group)
{
	send_event(CBT_CMD_PASS_SEALED, fill_pass_event, group);
}

static int fill_disk_event(struct sk_buff *skb, void *disk)
{
	return fill_disk_head(skb, disk);
}

static void disk_distrusted(struct cbt_disk *disk)
{
	send_event(CBT_CMD_DISK_UNTRUSTED, fill_disk_event, disk);
}

/* A socket was closed: what it had under way is given up. */
static int socket_released(struct notifier_block *nb, unsigned long state, void *data)
{
	struct netlink_notify *notify = data;
	struct cbt_group *group;
	const char *why;
	u32 next = 0;

	if (state != NETLINK_URELEASE || notify->protocol != NETLINK_GENERIC ||
	    notify->net != &init_net)
		return NOTIFY_DONE;
	while ((group = cbt_group_get_next(next))) {
		next = group->id + 1;
		/* Most sockets have no pass; they need not wait for those that have. */
		if (READ_ONCE(group->pass.portid) != notify->portid) {
			cbt_group_put(group);
			continue;
		}
		mutex_lock(&group->lock);
		if (!group->gone && !cbt_pass_find(group, group->pass.id, notify->portid, &why)) {
			pr_info("group %s: the controller closed its socket; pass %u is given up and merged back\n",
				group->name, group->pass.id);
			cbt_pass_give_up(group);
		}
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
