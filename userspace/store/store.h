/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The replica of one VM on disk: base.raw per disk, one qcow2 overlay per disk
 * and pass, and a manifest that names the points in time.
 *
 *	ROOT/VM/manifest.json		the truth: replaced by rename, never edited
 *	ROOT/VM/DISK/base.raw		the initial pass, exactly the disk's size
 *	ROOT/VM/DISK/000000000012.qcow2	pass 12, backed by the file of the pass before
 *	ROOT/VM/DISK/000000000013.part	pass 13, still being received
 *
 * A pass exists from the instant at which the manifest that names it is
 * renamed into place; whatever the manifest does not name is removed on open.
 * A pass that is not whole (its blocks are right, but not all of one instant) is
 * kept in the chain and named, but is not a point: the next whole pass on top
 * of it is.
 *
 * All functions: 0 or negative errno with a sentence in @e. A struct store and
 * its pass belong to one thread at a time. One process has a store open at a
 * time (an advisory lock on the directory; -EBUSY otherwise); readers of points
 * use store_points(), which takes no lock and reads the manifest only.
 */
#ifndef VMR_STORE_STORE_H
#define VMR_STORE_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "../common/err.h"

#define STORE_NAME_BYTES	64	/* VM and disk names with the final NUL */
#define STORE_PATH_BYTES	4096
#define STORE_MAX_DISKS		64
#define STORE_MIN_CHUNK_BYTES	4096
#define STORE_MAX_CHUNK_BYTES	(1 << 20)
/* Left free on the file system: so much, or this share of it where that is less. */
#define STORE_RESERVE_BYTES	(64ull << 20)
#define STORE_RESERVE_SHARE	32
#define STORE_HISTORY_POINTS	24	/* below the newest, unless the primary says otherwise */
#define STORE_MAX_HISTORY	255	/* of these */
#define STORE_MAX_SPACING_S	2592000	/* between them: 30 days */

struct store;
struct store_pass;

struct store_disk {
	char name[STORE_NAME_BYTES];	/* [A-Za-z0-9._-], not beginning with a dot */
	char source[STORE_PATH_BYTES];	/* the primary's device path, for people */
	uint64_t size_bytes;		/* multiple of 512 */
	uint32_t chunk_bytes;		/* power of two; cluster size of the overlays */
};

struct store_spec {
	char vm[STORE_NAME_BYTES];
	char relationship[37];		/* UUID text of the relationship that feeds it */
	unsigned int disk_count;	/* 1 to STORE_MAX_DISKS */
	struct store_disk *disks;
};

enum store_initial {
	STORE_INITIAL_NONE,		/* nothing received yet */
	STORE_INITIAL_RECEIVING,	/* base.raw is incomplete */
	STORE_INITIAL_COMPLETE,
	STORE_INITIAL_AWAITED,		/* it comes on a medium; deltas are kept, none is shown */
};

/* A VM name or a disk name that is safe as a file name. */
bool store_name_valid(const char *name);

/*
 * Opens ROOT/VM for writing, cleaning up what a crash left behind.
 * -ENOENT: no such replica; -EUCLEAN: the manifest is damaged (the sentence says how).
 */
int store_open(const char *root, const char *vm, struct store **store, struct err *e);

/* Creates ROOT/VM. -EEXIST: there is one already. */
int store_create(const char *root, const struct store_spec *spec, struct store **store,
		 struct err *e);

void store_close(struct store *store);

/* What the open store is for. Valid until store_close(). */
const struct store_spec *store_spec(const struct store *store);
enum store_initial store_initial(const struct store *store);
/* Id of the newest durable pass, 0: none. */
uint64_t store_last_pass(const struct store *store);
/*
 * Grows with the first pass of each connection, and with each step of a failover. A store that has
 * a smaller one than a primary was told is an older copy of itself.
 */
uint64_t store_generation(const struct store *store);
int store_next_generation(struct store *store, struct err *e);
/* The relationship was removed by its primary; a new one may take the name over. */
bool store_released(const struct store *store);
int store_release(struct store *store, struct err *e);

/*
 * Moves ROOT/VM aside to ROOT/VM.released-<first 8 of the relationship's UUID>[-N]
 * and closes the store, so that a new relationship can use the name. Nothing
 * is deleted. On failure the store stays open. -EBUSY: it is failed over, or has a test.
 */
int store_move_aside(struct store *store, struct err *e);

/*
 * Removes ROOT/VM with all points. -EBUSY while a process has it open, or a test stands
 * on one of its points, or the VM was failed over to it.
 */
int store_delete(const char *root, const char *vm, struct err *e);

/* --- the initial pass, into base.raw ------------------------------------- */

/*
 * How many bytes from the start of disk @disk are durable already in an
 * initial pass that was interrupted; 0 when it has yet to begin.
 */
uint64_t store_initial_durable(const struct store *store, unsigned int disk);

/*
 * The initial pass @pass comes on a medium: deltas may be received ahead of it, and those that
 * were received ahead of an older one are dropped, as @pass holds what they held. -EINVAL: the
 * initial pass is complete, or a newer one is awaited.
 */
int store_await(struct store *store, uint64_t pass, struct err *e);

/*
 * Before anything was received: takes ROOT/.seed/VM/DISK.raw, where there is one, as the disk's
 * base.raw: what a user put there that may hold much of the disk already. Whatever
 * it holds, nothing of it counts before an initial pass has gone over it. The file is made to
 * have the disk's size. -EINVAL: it is no regular file, or has more than one name.
 */
int store_adopt_seeds(struct store *store, struct err *e);

/* --- reading the newest state -------------------------------------------- */

/*
 * What all that is durable adds up to, be it a point or not; while no initial pass is complete,
 * what base.raw holds. No pass and no merge may be under way until it is closed.
 */
struct store_view;

int store_view_open(struct store *store, struct store_view **view, struct err *e);
/* Null is allowed. */
void store_view_close(struct store_view *view);

/*
 * Reads @bytes at @offset, a multiple of 4096 within the disk, into @buffer, which is aligned to
 * 4096 and has room for @bytes rounded up to that. 0 or a negative errno. From any thread.
 */
int store_view_read(struct store_view *view, unsigned int disk, uint64_t offset, void *buffer,
		    uint32_t bytes);

/* --- a pass -------------------------------------------------------------- */

enum store_pass_kind {
	STORE_PASS_INITIAL,	/* blocks go to base.raw */
	STORE_PASS_DELTA,	/* blocks go to a new overlay per disk */
	STORE_PASS_IMPORT,	/* blocks go to base.raw, below what there is */
};

/*
 * Begins pass @id, which must be larger than store_last_pass(). Only one pass
 * is open at a time, and none of a VM that is failed over (-EROFS) or on a file system
 * that is all but full (-ENOSPC). An initial pass needs
 * store_initial() != COMPLETE and goes on with what is durable; a delta pass needs it COMPLETE or
 * AWAITED. The pass of an import has the id that is awaited.
 */
int store_pass_begin(struct store *store, uint64_t id, enum store_pass_kind kind,
		     struct store_pass **pass, struct err *e);

/* Where to write one range. */
struct store_place {
	int fd;			/* opened with O_DIRECT if the store's file system has it */
	bool direct;		/* @fd needs aligned memory, offset and length */
	uint64_t file_offset;
	uint32_t length;	/* bytes from the range's start that lie contiguous here, > 0 */
};

/*
 * Finds the place of @length bytes at @offset of disk @disk (chunk aligned;
 * the end may be unaligned at the end of the disk only) and records that the
 * pass holds them. Does no I/O: the caller writes to the place, as deep and as
 * asynchronous as it likes, and must have all writes completed before
 * store_pass_commit() or store_initial_checkpoint(). place->length may be
 * shorter than @length; ask again for the rest. In an overlay the data of the
 * last, partial chunk of a disk is to be written padded with zeros to
 * the full chunk: place->length is then larger than @length (by the padding).
 * Ranges that follow one another get places that follow one another.
 */
int store_pass_place(struct store_pass *pass, unsigned int disk, uint64_t offset, uint32_t length,
		     struct store_place *place, struct err *e);

/* Records that a range is zero: a hole in base.raw, zero clusters in an overlay. */
int store_pass_zero(struct store_pass *pass, unsigned int disk, uint64_t offset, uint64_t length,
		    struct err *e);

/*
 * Initial pass only: makes durable that all of disk @disk before
 * @durable_bytes[disk] has been received (fdatasync, then the manifest).
 */
int store_initial_checkpoint(struct store_pass *pass, const uint64_t *durable_bytes, struct err *e);

enum store_consistency {
	STORE_CONSISTENCY_NONE,
	STORE_CONSISTENCY_CRASH,
	STORE_CONSISTENCY_APPLICATION,
};

/*
 * Makes the pass durable: data, tables, header, fsync, rename, directory, then the
 * manifest. @cut_time_us: microseconds since 1970 UTC of the cut on the primary.
 * @whole: it becomes a point. All blocks are of that one instant, unless its consistency is
 * STORE_CONSISTENCY_NONE: then the primary could not tell. An initial pass never is a point.
 * The pass is gone afterwards, also on failure (then nothing of it is shown).
 */
int store_pass_commit(struct store_pass *pass, uint64_t cut_time_us, bool whole,
		      enum store_consistency consistency, struct err *e);

/* Drops what was received of a delta pass; keeps what is durable of an initial one. */
void store_pass_abort(struct store_pass *pass);

/* --- retention ----------------------------------------------------------- */

/*
 * How many points are kept below the newest one, and how far apart: of each span of @spacing_s
 * seconds (counted from 1970 UTC) the first, of the newest @points spans that have one.
 * @spacing_s 0: the newest @points passes, whatever their time. Until store_close(); at first
 * STORE_HISTORY_POINTS with 0. At most STORE_MAX_HISTORY and STORE_MAX_SPACING_S.
 */
void store_set_history(struct store *store, unsigned int points, uint32_t spacing_s);

/*
 * Merges what is not to be kept: passes older than all that is into base.raw, those between kept
 * points into the pass above them, as soon as there are more than eight of these. What
 * a point that stays shows never changes; the points of merged passes are gone. The newest point
 * stays, however old, unless the chain above it has become very long. To be called between
 * passes, after the acknowledgement: a merge copies as much as its passes held.
 * No merge into base.raw begins while another program has a point open, and none of a point that a
 * test stands on (failover.h); when the chain has become far too long by that,
 * store_pass_begin() answers -EBUSY. While the VM is failed over nothing is merged.
 *
 * @stop_fd: when readable, the merge is left at once (shutdown). @busy_fd: when
 * readable there is other work (the primary's next pass), so the merge is left
 * once it has had its share of STORE_MERGE_SHARE_MS, which is more while the chain is
 * twice as long as it should be. -1: none. The next call goes on from there, also
 * after a crash. 0: nothing is left to merge, 1: left early or not begun, or a negative errno.
 */
int store_maintain(struct store *store, int stop_fd, int busy_fd, struct err *e);

#define STORE_MERGE_SHARE_MS		2000
#define STORE_MERGE_LONG_SHARE_MS	15000

/* --- failover, see failover.h ---------------------------------------------- */

enum store_failover_state {
	STORE_FAILOVER_NONE,
	STORE_FAILOVER_RECOVERED,	/* the VM may run here; can be reverted or committed */
	STORE_FAILOVER_COMMITTED,	/* for good: the old primary is refused */
};

struct store_failover {
	enum store_failover_state state;
	uint64_t pass;			/* the point that it stands on; 0: none */
	uint64_t generation;		/* in which it began: its directory's number; 0: none */
	uint64_t time_us;		/* when, microseconds since 1970 UTC; 0: none */
};

/* --- points -------------------------------------------------------------- */

struct store_point_disk {
	char name[STORE_NAME_BYTES];
	char source[STORE_PATH_BYTES];
	char file[STORE_PATH_BYTES];	/* absolute path */
	const char *format;		/* what qemu-img calls it: "qcow2" */
};

struct store_point {
	char id[24];			/* decimal pass id */
	uint64_t time_us;		/* of the cut, microseconds since 1970 UTC */
	enum store_consistency consistency;
	unsigned int disk_count;
	struct store_point_disk *disks;
};

struct store_points {
	char relationship[37];		/* UUID text; it feeds, or fed, the replica */
	bool released;			/* as store_released() */
	bool awaited;			/* the initial pass comes on a medium; no point till then */
	uint64_t last_pass;		/* as store_last_pass() */
	uint64_t generation;		/* as store_generation() */
	struct store_failover failover;
	unsigned int tests;		/* how many there are */
	uint64_t used_bytes;		/* of the file system, by its base and passes */
	unsigned int count;
	struct store_point *at;		/* oldest first */
};

/* Reads the points of ROOT/VM. -ENOENT: no such replica. */
int store_points(const char *root, const char *vm, struct store_points *points, struct err *e);
void store_points_free(struct store_points *points);

const char *store_consistency_name(enum store_consistency consistency);

#endif
