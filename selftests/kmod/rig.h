/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the tests of the module are set up with: devices made on the spot, and a group
 * that tracks them. For guests only: rig_reset() removes all groups and test devices.
 *
 * What cannot be set up ends the test's process with a message: functions here return
 * only when they have done what they say, except where they return an error number.
 */
#ifndef VMR_SELFTESTS_RIG_H
#define VMR_SELFTESTS_RIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <linux/blkcbt.h>
#include <userspace/libblkcbt/blkcbt.h>

#define RIG_DISKS	8
#define RIG_TEXT_BYTES	4096
#define RIG_MIB		(1ULL << 20)

struct rig {
	struct cbt *cbt;
	uint32_t group;
	uint32_t consumer;		/* who cuts and is shown the disks; 0: the first one */
	uint32_t disks[RIG_DISKS];	/* ids, in the order of rig_track() */
	unsigned int count;
	struct cbt_pass_info pass;	/* the last one that was begun */
	char text[RIG_TEXT_BYTES];	/* of the last map */
};

void rig_die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
/* Runs a shell command; returns its exit status. */
int rig_sh(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void rig_must(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void rig_sleep_ms(unsigned int ms);
uint64_t rig_now_ms(void);
/* Waits up to 100 s for @done(@arg), then dies. */
void rig_wait_for(bool (*done)(void *arg), void *arg, const char *what);

/* --- devices; paths are static strings until the device is made anew ------------- */

/*
 * Removes every group, and every device that was made here. The module's budget is the default;
 * a write may be held for a minute, so that no slow machine makes a pass fuzzy.
 */
void rig_reset(void);
/* Sets a parameter of the module, until the next rig_reset(). */
void rig_set(const char *parameter, unsigned int value);
/* "attribute=value" words, as null_blk's configfs folder has them; up to 4 devices. */
const char *rig_null(const char *attributes);
/* Removes a null_blk while it may be in use. */
void rig_null_remove(const char *path);
/* A loop device over a new sparse file on tmpfs. */
const char *rig_loop(uint64_t bytes);
void rig_loop_bind(const char *path, const char *file);
/* RAM disk @index of two, 64 MiB each. */
const char *rig_brd(unsigned int index);
/* A SCSI disk of 64 MiB in memory, with all ways to discard. */
const char *rig_scsi(void);
/* One of 64 MiB with options of scsi_debug's. */
const char *rig_scsi_with(const char *options);
/* A device-mapper device named @name with the table @fmt. */
const char *rig_dm(const char *name, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A partition of @disk, without any table on it. */
const char *rig_partition(const char *disk, unsigned int number, uint64_t offset, uint64_t length);
uint64_t rig_size(const char *path);

/* --- I/O --------------------------------------------------------------------- */

/* One direct write of a pattern; opens and closes the device. 0 or -errno. */
int rig_write(const char *path, uint64_t offset, size_t length);
int rig_read(const char *path, uint64_t offset, size_t length, void *data);
/* BLKDISCARD, BLKZEROOUT, BLKSECDISCARD… 0 or -errno. */
int rig_range_ioctl(const char *path, unsigned long request, uint64_t offset, uint64_t length);
/* A write that is issued and waited for apart (io_submit of one write). */
struct rig_async;
struct rig_async *rig_write_begin(const char *path, uint64_t offset, size_t length);
bool rig_write_done(struct rig_async *async);
/* Waits for it and frees it. 0 or -errno. */
int rig_write_end(struct rig_async *async);

/* --- tracking ------------------------------------------------------------------ */

/* A handle and a new group. */
void rig_open(struct rig *rig);
/* Removes the group; also after a failure. */
void rig_close(struct rig *rig);
/* Adds a disk; returns its index. */
unsigned int rig_track(struct rig *rig, const char *path, uint32_t chunk_bytes);
/* A handle for a new consumer of @of's group, in which the disks are the same ones. */
void rig_join(struct rig *rig, const struct rig *of, const char *name);
/* Closes that handle; the consumer stays. */
void rig_leave(struct rig *rig);
/* A full pass, without images, committed: all disks are trusted and clean. */
void rig_trust(struct rig *rig);
/* Begins a pass and waits for its seal. 0 or -errno. */
int rig_cut(struct rig *rig, uint32_t flags);
void rig_commit(struct rig *rig);
void rig_give_up(struct rig *rig);
/* The chunks of the sealed pass, as text: "0-3,7" or "". Lists more than fit end with "…". */
const char *rig_map(struct rig *rig, unsigned int disk);
/* Cuts without images, lists one disk's chunks, commits; "untrusted" when refused for that. */
const char *rig_marked(struct rig *rig, unsigned int disk);
struct cbt_disk_info rig_info(struct rig *rig, unsigned int disk);
/* Waits up to 100 s until one of the reasons is there; returns what is there then. */
uint32_t rig_wait_untrusted(struct rig *rig, unsigned int disk, uint32_t reasons);

#endif
