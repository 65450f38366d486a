// SPDX-License-Identifier: ((GPL-2.0 WITH Linux-syscall-note) OR BSD-3-Clause)
/* Do not edit directly, auto-generated from: */
/*	Documentation/netlink/specs/blkcbt.yaml */
/* YNL-GEN kernel source */

#include <net/netlink.h>
#include <net/genetlink.h>

#include "nl-gen.h"

#include <uapi/linux/blkcbt.h>

/* CBT_CMD_GROUP_NEW - do */
const struct nla_policy blkcbt_group_new_nl_policy[CBT_A_GROUP_NAME + 1] = {
	[CBT_A_GROUP_NAME] = { .type = NLA_NUL_STRING, .len = 63, },
};

/* CBT_CMD_GROUP_DEL - do */
const struct nla_policy blkcbt_group_del_nl_policy[CBT_A_GROUP_ID + 1] = {
	[CBT_A_GROUP_ID] = { .type = NLA_U32, },
};

/* CBT_CMD_GROUP_GET - do */
const struct nla_policy blkcbt_group_get_nl_policy[CBT_A_GROUP_NAME + 1] = {
	[CBT_A_GROUP_ID] = { .type = NLA_U32, },
	[CBT_A_GROUP_NAME] = { .type = NLA_NUL_STRING, .len = 63, },
};

/* CBT_CMD_DISK_ADD - do */
const struct nla_policy blkcbt_disk_add_nl_policy[CBT_A_DISK_CHUNK + 1] = {
	[CBT_A_DISK_GROUP] = { .type = NLA_U32, },
	[CBT_A_DISK_PATH] = { .type = NLA_NUL_STRING, .len = 255, },
	[CBT_A_DISK_CHUNK] = { .type = NLA_U32, },
};

/* CBT_CMD_DISK_DEL - do */
const struct nla_policy blkcbt_disk_del_nl_policy[CBT_A_DISK_ID + 1] = {
	[CBT_A_DISK_GROUP] = { .type = NLA_U32, },
	[CBT_A_DISK_ID] = { .type = NLA_U32, },
};

/* CBT_CMD_DISK_GET - do */
const struct nla_policy blkcbt_disk_get_nl_policy[CBT_A_DISK_CONSUMER + 1] = {
	[CBT_A_DISK_GROUP] = { .type = NLA_U32, },
	[CBT_A_DISK_ID] = { .type = NLA_U32, },
	[CBT_A_DISK_CONSUMER] = { .type = NLA_U32, },
};

/* CBT_CMD_PASS_BEGIN - do */
const struct nla_policy blkcbt_pass_begin_nl_policy[CBT_A_PASS_TIMEOUT + 1] = {
	[CBT_A_PASS_GROUP] = { .type = NLA_U32, },
	[CBT_A_PASS_FLAGS] = NLA_POLICY_MASK(NLA_U32, 0x7),
	[CBT_A_PASS_CONSUMER] = { .type = NLA_U32, },
	[CBT_A_PASS_TIMEOUT] = { .type = NLA_U32, },
};

/* CBT_CMD_PASS_GET - do */
const struct nla_policy blkcbt_pass_get_nl_policy[CBT_A_PASS_ID + 1] = {
	[CBT_A_PASS_GROUP] = { .type = NLA_U32, },
	[CBT_A_PASS_ID] = { .type = NLA_U32, },
};

/* CBT_CMD_PASS_RELEASE - do */
const struct nla_policy blkcbt_pass_release_nl_policy[CBT_A_PASS_LENGTH + 1] = {
	[CBT_A_PASS_GROUP] = { .type = NLA_U32, },
	[CBT_A_PASS_ID] = { .type = NLA_U32, },
	[CBT_A_PASS_DISK] = { .type = NLA_U32, },
	[CBT_A_PASS_OFFSET] = { .type = NLA_U64, },
	[CBT_A_PASS_LENGTH] = { .type = NLA_U64, },
};

/* CBT_CMD_PASS_COMMIT_RANGE - do */
const struct nla_policy blkcbt_pass_commit_range_nl_policy[CBT_A_PASS_LENGTH + 1] = {
	[CBT_A_PASS_GROUP] = { .type = NLA_U32, },
	[CBT_A_PASS_ID] = { .type = NLA_U32, },
	[CBT_A_PASS_DISK] = { .type = NLA_U32, },
	[CBT_A_PASS_OFFSET] = { .type = NLA_U64, },
	[CBT_A_PASS_LENGTH] = { .type = NLA_U64, },
};

/* CBT_CMD_PASS_COMMIT - do */
const struct nla_policy blkcbt_pass_commit_nl_policy[CBT_A_PASS_ID + 1] = {
	[CBT_A_PASS_GROUP] = { .type = NLA_U32, },
	[CBT_A_PASS_ID] = { .type = NLA_U32, },
};

/* CBT_CMD_PASS_GIVE_UP - do */
const struct nla_policy blkcbt_pass_give_up_nl_policy[CBT_A_PASS_ID + 1] = {
	[CBT_A_PASS_GROUP] = { .type = NLA_U32, },
	[CBT_A_PASS_ID] = { .type = NLA_U32, },
};

/* CBT_CMD_MAP_GET - do */
const struct nla_policy blkcbt_map_get_nl_policy[CBT_A_MAP_OFFSET + 1] = {
	[CBT_A_MAP_GROUP] = { .type = NLA_U32, },
	[CBT_A_MAP_PASS] = { .type = NLA_U32, },
	[CBT_A_MAP_DISK] = { .type = NLA_U32, },
	[CBT_A_MAP_OFFSET] = { .type = NLA_U64, },
};

/* CBT_CMD_CONSUMER_NEW - do */
const struct nla_policy blkcbt_consumer_new_nl_policy[CBT_A_CONSUMER_NAME + 1] = {
	[CBT_A_CONSUMER_GROUP] = { .type = NLA_U32, },
	[CBT_A_CONSUMER_NAME] = { .type = NLA_NUL_STRING, .len = 63, },
};

/* CBT_CMD_CONSUMER_DEL - do */
const struct nla_policy blkcbt_consumer_del_nl_policy[CBT_A_CONSUMER_ID + 1] = {
	[CBT_A_CONSUMER_GROUP] = { .type = NLA_U32, },
	[CBT_A_CONSUMER_ID] = { .type = NLA_U32, },
};

/* CBT_CMD_CONSUMER_GET - do */
const struct nla_policy blkcbt_consumer_get_nl_policy[CBT_A_CONSUMER_NAME + 1] = {
	[CBT_A_CONSUMER_GROUP] = { .type = NLA_U32, },
	[CBT_A_CONSUMER_ID] = { .type = NLA_U32, },
	[CBT_A_CONSUMER_NAME] = { .type = NLA_NUL_STRING, .len = 63, },
};

/* Ops table for blkcbt */
const struct genl_ops blkcbt_nl_ops[16] = {
	{
		.cmd		= CBT_CMD_GROUP_NEW,
		.doit		= blkcbt_nl_group_new_doit,
		.policy		= blkcbt_group_new_nl_policy,
		.maxattr	= CBT_A_GROUP_NAME,
		.flags		= GENL_ADMIN_PERM,
	},
	{
		.cmd		= CBT_CMD_GROUP_DEL,
		.doit		= blkcbt_nl_group_del_doit,
		.policy		= blkcbt_group_del_nl_policy,
		.maxattr	= CBT_A_GROUP_ID,
		.flags		= GENL_ADMIN_PERM,
	},
	{
		.cmd		= CBT_CMD_GROUP_GET,
		.doit		= blkcbt_nl_group_get_doit,
		.dumpit		= blkcbt_nl_group_get_dumpit,
		.policy		= blkcbt_group_get_nl_policy,
		.maxattr	= CBT_A_GROUP_NAME,
		.flags		= GENL_ADMIN_PERM,
	},
	{
		.cmd		= CBT_CMD_DISK_ADD,
		.doit		= blkcbt_nl_disk_add_doit,
		.policy		= blkcbt_disk_add_nl_policy,
		.maxattr	= CBT_A_DISK_CHUNK,
		.flags		= GENL_ADMIN_PERM,
	},
	{
		.cmd		= CBT_CMD_DISK_DEL,
		.doit		= blkcbt_nl_disk_del_doit,
		.policy		= blkcbt_disk_del_nl_policy,
		.maxattr	= CBT_A_DISK_ID,
		.flags		= GENL_ADMIN_PERM,
	},
	{
		.cmd		= CBT_CMD_DISK_GET,
		.doit		= blkcbt_nl_disk_get_doit,
		.dumpit		= blkcbt_nl_disk_get_dumpit,
		.policy		= blkcbt_disk_get_nl_policy,
		.maxattr	= CBT_A_DISK_CONSUMER,
		.flags		= GENL_ADMIN_PERM,
	},
	{
		.cmd		= CBT_CMD_PASS_BEGIN,
		.doit		= blkcbt_nl_pass_begin_doit,
		.policy		= blkcbt_pass_begin_nl_policy,
		.maxattr	= CBT_A_PASS_TIMEOUT,
		.flags		= GENL_ADMIN_PERM,
	},
	{
		.cmd		= CBT_CMD_PASS_GET,
		.doit		= blkcbt_nl_pass_get_doit,
		.policy		= blkcbt_pass_get_nl_policy,
		.maxattr	= CBT_A_PASS_ID,
		.flags		= GENL_ADMIN_PERM,
	},
	{
		.cmd		= CBT_CMD_PASS_RELEASE,
		.doit		= blkcbt_nl_pass_release_doit,
		.policy		= blkcbt_pass_release_nl_policy,
		.maxattr	= CBT_A_PASS_LENGTH,
		.flags		= GENL_ADMIN_PERM,
	},
	{
		.cmd		= CBT_CMD_PASS_COMMIT_RANGE,
		.doit		= blkcbt_nl_pass_commit_range_doit,
		.policy		= blkcbt_pass_commit_range_nl_policy,
		.maxattr	= CBT_A_PASS_LENGTH,
		.flags		= GENL_ADMIN_PERM,
	},
	{
		.cmd		= CBT_CMD_PASS_COMMIT,
		.doit		= blkcbt_nl_pass_commit_doit,
		.policy		= blkcbt_pass_commit_nl_policy,
		.maxattr	= CBT_A_PASS_ID,
		.flags		= GENL_ADMIN_PERM,
	},
	{
		.cmd		= CBT_CMD_PASS_GIVE_UP,
		.doit		= blkcbt_nl_pass_give_up_doit,
		.policy		= blkcbt_pass_give_up_nl_policy,
		.maxattr	= CBT_A_PASS_ID,
		.flags		= GENL_ADMIN_PERM,
	},
	{
		.cmd		= CBT_CMD_MAP_GET,
		.doit		= blkcbt_nl_map_get_doit,
		.policy		= blkcbt_map_get_nl_policy,
		.maxattr	= CBT_A_MAP_OFFSET,
		.flags		= GENL_ADMIN_PERM,
	},
	{
		.cmd		= CBT_CMD_CONSUMER_NEW,
		.doit		= blkcbt_nl_consumer_new_doit,
		.policy		= blkcbt_consumer_new_nl_policy,
		.maxattr	= CBT_A_CONSUMER_NAME,
		.flags		= GENL_ADMIN_PERM,
	},
	{
		.cmd		= CBT_CMD_CONSUMER_DEL,
		.doit		= blkcbt_nl_consumer_del_doit,
		.policy		= blkcbt_consumer_del_nl_policy,
		.maxattr	= CBT_A_CONSUMER_ID,
		.flags		= GENL_ADMIN_PERM,
	},
	{
		.cmd		= CBT_CMD_CONSUMER_GET,
		.doit		= blkcbt_nl_consumer_get_doit,
		.dumpit		= blkcbt_nl_consumer_get_dumpit,
		.policy		= blkcbt_consumer_get_nl_policy,
		.maxattr	= CBT_A_CONSUMER_NAME,
		.flags		= GENL_ADMIN_PERM,
	},
};

