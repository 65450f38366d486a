/* SPDX-License-Identifier: ((GPL-2.0 WITH Linux-syscall-note) OR BSD-3-Clause) */
/* Do not edit directly, auto-generated from: */
/*	Documentation/netlink/specs/blkcbt.yaml */
/* YNL-GEN uapi header */

#ifndef _UAPI_LINUX_BLKCBT_H
#define _UAPI_LINUX_BLKCBT_H

#define CBT_GENL_NAME		"blkcbt"
#define CBT_GENL_VERSION	1

#define BLKCBT_NAME_LEN	64
#define BLKCBT_PATH_LEN	256

/**
 * enum blkcbt_pass_flag
 * @CBT_PASS_F_FULL: The map holds every chunk of every disk. It makes
 *   untrusted disks trusted again at once, for its consumer; giving the pass
 *   up brings every chunk back.
 * @CBT_PASS_F_SEALED: Every write of the epoch has completed and the map is
 *   final. Reported only.
 * @CBT_PASS_F_FUZZY: Given: do without images, nothing is preserved. Reported:
 *   chunks of the map were written again since the cut and not preserved, so
 *   that what is read may be newer than the cut.
 */
enum blkcbt_pass_flag {
	CBT_PASS_F_FULL = 1,
	CBT_PASS_F_SEALED = 2,
	CBT_PASS_F_FUZZY = 4,
};

/**
 * enum blkcbt_untrusted - Why the map of a disk may miss a write. Zero is the
 *   only trusted state.
 * @CBT_UNTRUSTED_FRESH: Tracking began at the disk's addition and no full pass
 *   was begun since.
 * @CBT_UNTRUSTED_RESIZED: The device changed its size while it was tracked.
 * @CBT_UNTRUSTED_REMOVED: The device went away. It cannot be trusted again;
 *   remove the disk.
 * @CBT_UNTRUSTED_PASSTHROUGH: A command that may change data went past the
 *   block layer's bios.
 * @CBT_UNTRUSTED_MEMORY: Memory was short when a write had to be noted.
 * @CBT_UNTRUSTED_UNKNOWN_WRITE: A write-like operation came whose range the
 *   tracker does not know.
 */
enum blkcbt_untrusted {
	CBT_UNTRUSTED_FRESH = 1,
	CBT_UNTRUSTED_RESIZED = 2,
	CBT_UNTRUSTED_REMOVED = 4,
	CBT_UNTRUSTED_PASSTHROUGH = 8,
	CBT_UNTRUSTED_MEMORY = 16,
	CBT_UNTRUSTED_UNKNOWN_WRITE = 32,
};

enum {
	CBT_A_GROUP_ID = 1,
	CBT_A_GROUP_NAME,
	CBT_A_GROUP_DISKS,
	CBT_A_GROUP_PASS,
	CBT_A_GROUP_MEMORY,
	CBT_A_GROUP_PAD,
	CBT_A_GROUP_CONSUMERS,
	CBT_A_GROUP_SHARED_MEMORY,

	__CBT_A_GROUP_MAX
};
#define CBT_A_GROUP_MAX (__CBT_A_GROUP_MAX - 1)

enum {
	CBT_A_DISK_GROUP = 1,
	CBT_A_DISK_ID,
	CBT_A_DISK_PATH,
	CBT_A_DISK_MAJOR,
	CBT_A_DISK_MINOR,
	CBT_A_DISK_SIZE,
	CBT_A_DISK_CHUNK,
	CBT_A_DISK_DIRTY,
	CBT_A_DISK_PASS_CHUNKS,
	CBT_A_DISK_OVERWRITTEN,
	CBT_A_DISK_UNTRUSTED,
	CBT_A_DISK_WRITES,
	CBT_A_DISK_WRITTEN,
	CBT_A_DISK_IMAGE,
	CBT_A_DISK_PAD,
	CBT_A_DISK_CONSUMER,

	__CBT_A_DISK_MAX
};
#define CBT_A_DISK_MAX (__CBT_A_DISK_MAX - 1)

enum {
	CBT_A_PASS_GROUP = 1,
	CBT_A_PASS_ID,
	CBT_A_PASS_FLAGS,
	CBT_A_PASS_CUT_TIME,
	CBT_A_PASS_CHUNKS,
	CBT_A_PASS_OVERWRITTEN,
	CBT_A_PASS_DISK,
	CBT_A_PASS_OFFSET,
	CBT_A_PASS_LENGTH,
	CBT_A_PASS_PAD,
	CBT_A_PASS_CONSUMER,
	CBT_A_PASS_TIMEOUT,

	__CBT_A_PASS_MAX
};
#define CBT_A_PASS_MAX (__CBT_A_PASS_MAX - 1)

enum {
	CBT_A_EXTENT_OFFSET = 1,
	CBT_A_EXTENT_LENGTH,
	CBT_A_EXTENT_PAD,

	__CBT_A_EXTENT_MAX
};
#define CBT_A_EXTENT_MAX (__CBT_A_EXTENT_MAX - 1)

enum {
	CBT_A_MAP_GROUP = 1,
	CBT_A_MAP_PASS,
	CBT_A_MAP_DISK,
	CBT_A_MAP_EXTENT,
	CBT_A_MAP_OFFSET,
	CBT_A_MAP_NEXT,
	CBT_A_MAP_PAD,
	CBT_A_MAP_CHUNKS,

	__CBT_A_MAP_MAX
};
#define CBT_A_MAP_MAX (__CBT_A_MAP_MAX - 1)

enum {
	CBT_A_CONSUMER_GROUP = 1,
	CBT_A_CONSUMER_ID,
	CBT_A_CONSUMER_NAME,
	CBT_A_CONSUMER_PASS,

	__CBT_A_CONSUMER_MAX
};
#define CBT_A_CONSUMER_MAX (__CBT_A_CONSUMER_MAX - 1)

enum {
	CBT_CMD_GROUP_NEW = 1,
	CBT_CMD_GROUP_DEL,
	CBT_CMD_GROUP_GET,
	CBT_CMD_DISK_ADD,
	CBT_CMD_DISK_DEL,
	CBT_CMD_DISK_GET,
	CBT_CMD_PASS_BEGIN,
	CBT_CMD_PASS_GET,
	CBT_CMD_PASS_RELEASE,
	CBT_CMD_PASS_COMMIT_RANGE,
	CBT_CMD_PASS_COMMIT,
	CBT_CMD_PASS_GIVE_UP,
	CBT_CMD_MAP_GET,
	CBT_CMD_PASS_SEALED,
	CBT_CMD_DISK_UNTRUSTED,
	CBT_CMD_PASS_EXPIRED,
	CBT_CMD_CONSUMER_NEW,
	CBT_CMD_CONSUMER_DEL,
	CBT_CMD_CONSUMER_GET,

	__CBT_CMD_MAX
};
#define CBT_CMD_MAX (__CBT_CMD_MAX - 1)

#define BLKCBT_MCGRP_EVENTS	"events"

#endif /* _UAPI_LINUX_BLKCBT_H */
