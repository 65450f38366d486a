/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libblkcbt: the tracker's netlink interface for programs.
 *
 * A struct cbt is one netlink socket. It belongs to one thread at a time; use
 * one per thread. Functions return 0 or a negative errno; cbt_error()
 * then is one sentence, the kernel's own where it gave one. A pass belongs to the
 * handle that began it: when the handle is closed, or its process dies, the
 * kernel gives the pass up and loses nothing.
 */
#ifndef BLKCBT_H
#define BLKCBT_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct cbt;

/* -ENOENT: the module is not loaded (and could not be loaded by name). */
int cbt_open(struct cbt **cbt);
void cbt_close(struct cbt *cbt);
/* The last failure on this handle as one sentence; valid until the next call. */
const char *cbt_error(const struct cbt *cbt);

#define CBT_NAME_BYTES 64	/* group names with the final NUL */
#define CBT_PATH_BYTES 256	/* device paths with the final NUL */

struct cbt_group_info {
	uint32_t id;
	char name[CBT_NAME_BYTES];
	uint32_t disks;		/* how many disks it has */
	uint32_t pass;		/* id of the first consumer's pass under way, 0: none */
	uint64_t memory_bytes;	/* kernel memory of the group and all its disks */
	uint32_t consumers;	/* how many it has, 1 to 8 */
	uint64_t shared_bytes;	/* kernel memory that all groups share; the same for each */
};

int cbt_group_new(struct cbt *cbt, const char *name, uint32_t *group);
int cbt_group_del(struct cbt *cbt, uint32_t group);
/* -ENOENT: no group of that name. */
int cbt_group_find(struct cbt *cbt, const char *name, struct cbt_group_info *info);
/* Calls @each per group; a non-zero return ends the listing and is returned. */
int cbt_group_list(struct cbt *cbt, int (*each)(const struct cbt_group_info *info, void *arg),
		   void *arg);

/*
 * Consumers: up to eight in a group, each with a dirty set, trust and passes of its own, which
 * those of the others neither change nor hold up. The first one is always there; functions
 * that name no consumer mean it. A consumer stays until it is removed, whatever becomes of
 * the handle, so that a program finds its own again by its name.
 */
#define CBT_CONSUMER_FIRST 1

struct cbt_consumer_info {
	uint32_t id;		/* in its group, never used twice */
	char name[CBT_NAME_BYTES];
	uint32_t pass;		/* id of its pass under way, 0: none */
};

/* All disks are untrusted to it until it begins a full pass. -EEXIST; -ENOSPC: there are eight. */
int cbt_consumer_new(struct cbt *cbt, uint32_t group, const char *name, uint32_t *consumer);
/* Ends its pass, too, whoever began it. -EPERM: the first one cannot be removed. */
int cbt_consumer_del(struct cbt *cbt, uint32_t group, uint32_t consumer);
/* -ENOENT: no consumer of that name, or no such group. */
int cbt_consumer_find(struct cbt *cbt, uint32_t group, const char *name,
		      struct cbt_consumer_info *info);
/* In ascending order of ids. */
int cbt_consumer_list(struct cbt *cbt, uint32_t group,
		      int (*each)(const struct cbt_consumer_info *info, void *arg), void *arg);

/* As it is for one consumer. */
struct cbt_disk_info {
	uint32_t id;
	char path[CBT_PATH_BYTES];	/* as given when it was added */
	uint32_t major, minor;
	uint64_t size_bytes;
	uint32_t chunk_bytes;
	uint64_t dirty_chunks;		/* marked, and in no pass of the consumer's */
	uint64_t pass_chunks;		/* in the consumer's sealed pass, 0 without one */
	/* chunks of the pass written again since its cut and not preserved */
	uint64_t overwritten_chunks;
	/* CBT_UNTRUSTED_* bits of <linux/blkcbt.h>; 0: the map is complete */
	uint32_t untrusted;
	uint64_t writes;		/* write-like bios seen since the disk was added */
	uint64_t written_bytes;
	char image[CBT_PATH_BYTES];	/* device through which the pass reads the disk as it stood at the cut; "" without one */
};

/* @chunk_bytes 0: the default for the disk's size. */
int cbt_disk_add(struct cbt *cbt, uint32_t group, const char *path, uint32_t chunk_bytes,
		 struct cbt_disk_info *info);
int cbt_disk_del(struct cbt *cbt, uint32_t group, uint32_t disk);
/* In ascending order of disk ids. */
int cbt_disk_list(struct cbt *cbt, uint32_t group,
		  int (*each)(const struct cbt_disk_info *info, void *arg), void *arg);
/* The same, as the disks are for @consumer. */
int cbt_disk_list_of(struct cbt *cbt, uint32_t group, uint32_t consumer,
		     int (*each)(const struct cbt_disk_info *info, void *arg), void *arg);

struct cbt_pass_info {
	uint32_t id;		/* no two of a group are alike, of whatever consumer */
	bool sealed;
	bool fuzzy;		/* chunks may hold later writes than the cut */
	bool full;		/* the map holds every chunk */
	uint64_t cut_time_ns;	/* CLOCK_REALTIME at the cut */
	uint64_t chunks;	/* in the map, all disks; final once sealed */
	uint64_t overwritten;	/* of these: written again since the cut and not preserved */
	uint32_t consumer;
	uint32_t timeout_ms;	/* see struct cbt_pass_spec */
};

/*
 * Cuts the group. With CBT_PASS_F_FULL the map holds every chunk, which is also
 * the only pass that an untrusted disk can have (-ESTALE otherwise). It makes
 * the disk trusted again at once: until the pass is committed, giving it up brings every
 * chunk back. A disk just added is untrusted. -EBUSY: the consumer has a pass under way.
 * -EAGAIN: writes of before another cut are in flight, or another consumer comes first; who
 * asks again within a second keeps its turn.
 */
int cbt_pass_begin(struct cbt *cbt, uint32_t group, uint32_t flags, struct cbt_pass_info *info);

struct cbt_pass_spec {
	uint32_t consumer;	/* 0: the first one */
	uint32_t flags;		/* CBT_PASS_F_FULL, CBT_PASS_F_FUZZY */
	/*
	 * Milliseconds without a command on the pass after which the kernel gives it up: 1000 to
	 * 86400000; 0: 600000. cbt_pass_get() is such a command. What comes later is
	 * answered with -ETIME.
	 */
	uint32_t timeout_ms;
};

/* The same with all there is to say. -ERANGE: the timeout is out of bounds. */
int cbt_pass_begin_as(struct cbt *cbt, uint32_t group, const struct cbt_pass_spec *spec,
		      struct cbt_pass_info *info);
int cbt_pass_get(struct cbt *cbt, uint32_t group, uint32_t pass, struct cbt_pass_info *info);
/*
 * Waits until every write of the epoch has completed. -ETIMEDOUT: the pass is still open, wait
 * again or give it up.
 */
int cbt_pass_wait_sealed(struct cbt *cbt, uint32_t group, uint32_t pass, unsigned int timeout_ms,
			 struct cbt_pass_info *info);
/*
 * The pass's chunks of one disk, ascending and merged, in bytes; the last
 * extent ends at the size of the disk. Checked to be complete: -EIO when the
 * kernel's count and the extents disagree, never a short answer.
 */
int cbt_map_get(struct cbt *cbt, uint32_t group, uint32_t pass, uint32_t disk,
		int (*each)(uint64_t offset, uint64_t length, void *arg), void *arg);
/* The range has been read: the kernel need not preserve it any longer. It stays in the map. */
int cbt_pass_release(struct cbt *cbt, uint32_t group, uint32_t pass, uint32_t disk,
		     uint64_t offset, uint64_t length);
/*
 * The replica has this range durable: drops its chunks from the pass's map, so that
 * giving the pass up no longer brings them back. Chunks only partly
 * inside the range stay. For passes that are acknowledged bit by bit (the initial one).
 */
int cbt_pass_commit_range(struct cbt *cbt, uint32_t group, uint32_t pass, uint32_t disk,
			  uint64_t offset, uint64_t length);
/* The replica has all of it durable: drops the map and ends the pass. */
int cbt_pass_commit(struct cbt *cbt, uint32_t group, uint32_t pass);
/* Ends the pass; merges what is left of its map back into the epoch under way. */
int cbt_pass_give_up(struct cbt *cbt, uint32_t group, uint32_t pass);

#ifdef __cplusplus
}
#endif
#endif
