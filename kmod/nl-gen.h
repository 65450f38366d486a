/* SPDX-License-Identifier: ((GPL-2.0 WITH Linux-syscall-note) OR BSD-3-Clause) */
/* Do not edit directly, auto-generated from: */
/*	Documentation/netlink/specs/blkcbt.yaml */
/* YNL-GEN kernel header */

#ifndef _LINUX_BLKCBT_GEN_H
#define _LINUX_BLKCBT_GEN_H

#include <net/netlink.h>
#include <net/genetlink.h>

#include <uapi/linux/blkcbt.h>

extern const struct nla_policy blkcbt_group_new_nl_policy[CBT_A_GROUP_NAME + 1];

extern const struct nla_policy blkcbt_group_del_nl_policy[CBT_A_GROUP_ID + 1];

extern const struct nla_policy blkcbt_group_get_nl_policy[CBT_A_GROUP_NAME + 1];

extern const struct nla_policy blkcbt_disk_add_nl_policy[CBT_A_DISK_CHUNK + 1];

extern const struct nla_policy blkcbt_disk_del_nl_policy[CBT_A_DISK_ID + 1];

extern const struct nla_policy blkcbt_disk_get_nl_policy[CBT_A_DISK_CONSUMER + 1];

extern const struct nla_policy blkcbt_pass_begin_nl_policy[CBT_A_PASS_TIMEOUT + 1];

extern const struct nla_policy blkcbt_pass_get_nl_policy[CBT_A_PASS_ID + 1];

extern const struct nla_policy blkcbt_pass_release_nl_policy[CBT_A_PASS_LENGTH + 1];

extern const struct nla_policy blkcbt_pass_commit_range_nl_policy[CBT_A_PASS_LENGTH + 1];

extern const struct nla_policy blkcbt_pass_commit_nl_policy[CBT_A_PASS_ID + 1];

extern const struct nla_policy blkcbt_pass_give_up_nl_policy[CBT_A_PASS_ID + 1];

extern const struct nla_policy blkcbt_map_get_nl_policy[CBT_A_MAP_OFFSET + 1];

extern const struct nla_policy blkcbt_consumer_new_nl_policy[CBT_A_CONSUMER_NAME + 1];

extern const struct nla_policy blkcbt_consumer_del_nl_policy[CBT_A_CONSUMER_ID + 1];

extern const struct nla_policy blkcbt_consumer_get_nl_policy[CBT_A_CONSUMER_NAME + 1];

/* Ops table for blkcbt */
extern const struct genl_ops blkcbt_nl_ops[16];

int blkcbt_nl_group_new_doit(struct sk_buff *skb, struct genl_info *info);
int blkcbt_nl_group_del_doit(struct sk_buff *skb, struct genl_info *info);
int blkcbt_nl_group_get_doit(struct sk_buff *skb, struct genl_info *info);
int blkcbt_nl_group_get_dumpit(struct sk_buff *skb,
			       struct netlink_callback *cb);
int blkcbt_nl_disk_add_doit(struct sk_buff *skb, struct genl_info *info);
int blkcbt_nl_disk_del_doit(struct sk_buff *skb, struct genl_info *info);
int blkcbt_nl_disk_get_doit(struct sk_buff *skb, struct genl_info *info);
int blkcbt_nl_disk_get_dumpit(struct sk_buff *skb, struct netlink_callback *cb);
int blkcbt_nl_pass_begin_doit(struct sk_buff *skb, struct genl_info *info);
int blkcbt_nl_pass_get_doit(struct sk_buff *skb, struct genl_info *info);
int blkcbt_nl_pass_release_doit(struct sk_buff *skb, struct genl_info *info);
int blkcbt_nl_pass_commit_range_doit(struct sk_buff *skb,
				     struct genl_info *info);
int blkcbt_nl_pass_commit_doit(struct sk_buff *skb, struct genl_info *info);
int blkcbt_nl_pass_give_up_doit(struct sk_buff *skb, struct genl_info *info);
int blkcbt_nl_map_get_doit(struct sk_buff *skb, struct genl_info *info);
int blkcbt_nl_consumer_new_doit(struct sk_buff *skb, struct genl_info *info);
int blkcbt_nl_consumer_del_doit(struct sk_buff *skb, struct genl_info *info);
int blkcbt_nl_consumer_get_doit(struct sk_buff *skb, struct genl_info *info);
int blkcbt_nl_consumer_get_dumpit(struct sk_buff *skb,
				  struct netlink_callback *cb);

enum {
	BLKCBT_NLGRP_EVENTS,
};

#endif /* _LINUX_BLKCBT_GEN_H */
