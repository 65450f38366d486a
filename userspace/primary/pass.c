// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Why no write is missed, step by step. A write is "owed" from the moment the
 * guest issues it until the replica has it durable. The tracker marks it before it
 * reaches the disk, and the mark is in one of two places: the live map, or the
 * map of the pass under way. Giving a pass up moves its marks back to the live map.
 *
 * 1. cut: the live map becomes the pass's map; later writes mark the new live map.
 *    Nothing is dropped.
 * 2. sealed: every write of the old epoch has landed on the disk, so reading
 *    after this finds it. A write after the cut that changes what we are about to
 *    read is in the live map as well: at worst it is sent twice.
 * 3. reading, sending: no mark is dropped. If we die here, or the connection does,
 *    or the replica refuses, the pass is given up (also by the kernel, when
 *    the handle closes), and all of it is owed again.
 * 4. a checkpoint of an initial pass: the replica has said that all before an
 *    offset is durable. It is recorded in the state first and dropped from the map
 *    second: dying in between leaves the marks, which costs copying. In the other
 *    order a replica that went back behind the checkpoint would not be
 *    noticed, because the record is what it is compared with. For the same reason a
 *    checkpoint before what the replica had when the pass began drops nothing.
 * 5. durable: the same order. The pass's id is recorded, then the map is dropped.
 *    Dying before the record: the replica is ahead of us, the map came back,
 *    the next pass sends it again on top. Dying after the record: the same.
 * 6. a pass that compares goes through what it holds in slices. A chunk is left out only when
 *    its hash, read after the seal, is that of the replica's newest state: then it counts as
 *    sent, and whatever is written to it later is marked in the live map. A slice is
 *    made durable and recorded before its marks are dropped, as in 4 and 5.
 * 7. the map is not the truth when a disk is untrusted, or when the replica has
 *    less than was acknowledged: plan.c then asks for a full pass or refuses.
 *    Before a full pass begins, the record says that the initial replication is not
 *    complete, so that it goes on after a crash instead of being forgotten. The
 *    checkpoints are forgotten after it has begun: then the map holds all, and only then.
 * 8. a pass that verifies sends more than its map holds, and drops no more than that.
 * 9. without the tracker there are no marks: each pass compares all of the disks with what the
 *    replica has, from their beginning. What is written behind the read of a chunk is found by
 *    the next one. That it is so is recorded before anything else, so that the first pass
 *    that is tracked again holds every chunk, and it is forgotten when that has been cut.
 */
#include <errno.h>
#include <linux/blkcbt.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../common/datetime.h"
#include "../common/log.h"
#include "../store/store.h"
#include "../wire/session.h"
#include "compare.h"
#include "pass.h"
#include "plan.h"
#include "record.h"
#include "track.h"
#include "untracked.h"

#define SEAL_TIMEOUT_MS		30000	/* for the writes in flight at the cut to complete */
#define SEAL_SLICE_MS		250	/* how soon a cancel is seen meanwhile */
#define TURN_MS			50	/* how soon a cut that has to wait is tried again */
/*
 * The kernel gives the pass up when it has not heard of us for so long: twice as long as we
 * wait for anything else, and while data moves or could move it hears of us. So only a daemon
 * that stands still itself loses a pass by it.
 */
#define SILENCE_MS		600000
#define ALIVE_MS		5000
/* for the replica to sync a pass whose data it has written already */
#define DURABLE_TIMEOUT_S	300

struct pass {
	const struct pass_spec *spec;
	struct state state;		/* as it was when the pass began */
	struct cbt *cbt;		/* null: the disks are not tracked */
	struct track track;
	struct untracked_watch watch;	/* of these */
	bool still;			/* they were not written to while they were read */
	struct plan plan;
	struct cbt_pass_info info;	/* of the kernel */
	bool medium_lost;		/* see plan_facts */
	bool begun;			/* the kernel's pass is to be ended by us */
	bool whole;
	bool repairs;			/* it sends what is in no map, and so cannot be whole */
	struct timespec started;	/* CLOCK_MONOTONIC */
	uint64_t alive_ms;		/* since @started, when the kernel last heard of us */
	struct ship_disk disks[STATE_MAX_DISKS];	/* with what the map holds */
	/* what is sent, and how it goes: @disks, or of a pass that compares @differ */
	struct ship_disk *sends;
	struct ship_progress *sending;
	struct ship_disk differ[STATE_MAX_DISKS];	/* @fd belongs to @disks */
	struct ship_progress slice;
	uint64_t slices_bytes;		/* of disk, durable with slices of before */
	uint64_t recorded_wire_bytes;
};

const char *pass_phase_name(enum pass_phase phase)
{
	static const char *const names[] = {
		[PASS_PHASE_PREPARE] = "preparing",
		[PASS_PHASE_CONNECT] = "connecting to the replica",
		[PASS_PHASE_CUT] = "waiting for writes in flight at the cut",
		[PASS_PHASE_COMPARE] = "comparing with the replica",
		[PASS_PHASE_SEND] = "sending",
		[PASS_PHASE_CONFIRM] = "waiting for the replica to make it durable",
	};

	return names[phase];
}

static void set_phase(struct pass *p, enum pass_phase phase)
{
	atomic_store(p->spec->phase, phase);
}

static bool cancelled(int cancel_fd)
{
	struct pollfd pollfd = { .fd = cancel_fd, .events = POLLIN };

	return poll(&pollfd, 1, 0) > 0;
}

static uint64_t elapsed_ms(const struct pass *p)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (now.tv_sec - p->started.tv_sec) * 1000 +
	       (now.tv_nsec - p->started.tv_nsec) / 1000000;
}

/* Tells the kernel that we are still there. */
static void keep_alive(void *arg)
{
	struct pass *p = arg;
	struct cbt_pass_info info;

	if (!p->cbt || elapsed_ms(p) < p->alive_ms + ALIVE_MS)
		return;
	p->alive_ms = elapsed_ms(p);
	cbt_pass_get(p->cbt, p->track.group, p->info.id, &info);
}

/* --- prepare, connect ------------------------------------------------------ */

/* There is no map, or was none when the last pass ended. */
static bool untracked(const struct pass *p)
{
	return !p->cbt || p->state.untracked[0];
}

static int refuse_interrupted(struct pass *p, struct err *e)
{
	if (untracked(p))
		return err_set(e, -ESTALE,
			       "what changed is not known and can be compared only when the first copy has been imported: run `vmreplica import %s --from DIR` on %s",
			       p->state.vm, p->state.host);
	return err_set(e, -ESTALE,
		       "tracking was interrupted (%s): run `vmreplica resynchronize %s`, which compares both sides, sends what differs and keeps the points that there are",
		       track_untrusted_reason(track_untrusted(&p->track)), p->state.vm);
}

static int refuse_lost(struct pass *p, struct err *e)
{
	return err_set(e, -ESTALE,
		       "the replica %s lost what it had acknowledged: run `vmreplica resynchronize %s`, which compares both sides, sends what differs and keeps the points that there are",
		       p->state.host, p->state.vm);
}

/* All may be gone through, by sending or by comparing it. */
static bool all_allowed(const struct pass *p)
{
	return p->spec->allow_full || p->spec->allow_compare || p->state.resync_wanted ||
	       p->state.comparing || p->state.untracked[0];
}

/* Step 9 of the head of this file. What is tracked of the other disks is no proof of anything. */
static int do_without(struct pass *p, const char *why, struct err *e)
{
	int rc = record_untracked(p->spec->file, why, e);

	if (rc)
		return rc;
	if (strncmp(p->state.untracked, why, sizeof(p->state.untracked) - 1))
		log_warn("%s: changes are not tracked, each pass compares all of the disks: %s", p->state.vm,
			 why);
	state_file_get(p->spec->file, &p->state);
	if (p->cbt) {
		track_remove(p->cbt, p->state.relationship, NULL);
		cbt_close(p->cbt);
		p->cbt = NULL;
	}
	return untracked_get(&p->state, &p->track, e);
}

static int prepare(struct pass *p, struct err *e)
{
	struct err why = { 0 };
	bool cannot;
	int rc = track_try(&p->cbt, &p->state, all_allowed(p), &p->track, &cannot, &why);

	if (cannot)
		return do_without(p, why.text, e);
	if (rc)
		err_set(e, rc, "%s", why.text);
	/* Known before the replica is asked, and true whatever it would say. */
	if (!rc && track_untrusted(&p->track) && p->state.initial_complete && !all_allowed(p))
		rc = refuse_interrupted(p, e);
	return rc;
}

/* A session is for the disks that it was opened with: other ones are for the replica to refuse. */
static bool same_sizes(const struct pass *p)
{
	unsigned int i;

	for (i = 0; i < p->state.disk_count; i++) {
		if (p->track.disks[i].size_bytes != p->state.disks[i].size_bytes)
			return false;
	}
	return true;
}

/*
 * Of an export: what the replica is to know of it, or what it has done with it. A replica that is
 * complete without having waited for it has something else.
 */
static int settle_medium(struct pass *p, struct err *e)
{
	struct peer *peer = p->spec->peer;
	int rc = 0;

	if (peer->opened.state == WIRE_STATE_COMPLETE) {
		p->medium_lost = !p->state.medium_awaited;
		return p->medium_lost ? 0 : record_imported(p->spec->file, e);
	}
	if (peer->opened.last_pass < p->state.medium_pass)
		rc = peer_await(peer, p->state.medium_pass, p->spec->cancel_fd, e);
	if (!rc && !p->state.medium_awaited)
		rc = record_awaited(p->spec->file, e);
	return rc;
}

static int connect_replica(struct pass *p, struct err *e)
{
	const struct pass_spec *spec = p->spec;
	int rc;

	if (peer_ready(spec->peer) && same_sizes(p))
		return 0;
	if (spec->export)
		return err_set(e, -EINVAL, "a disk of %s has another size than when it was enabled",
			       p->state.vm);
	rc = peer_connect(spec->peer, &p->state, spec->cancel_fd, e);
	if (rc)
		return rc;
	if (!p->state.replica_opened) {
		/* From the next frame on the replica may have a directory for us. */
		rc = record_opened(spec->file, e);
		if (rc)
			return rc;
	}
	rc = peer_open(spec->peer, &p->state, &p->track, spec->cancel_fd, e);
	return rc || !p->state.medium_pass ? rc : settle_medium(p, e);
}

static int decide(struct pass *p, struct err *e)
{
	struct plan_facts facts = {
		.initial_complete = p->state.initial_complete,
		.allow_full = p->spec->allow_full,
		.allow_compare = p->spec->allow_compare,
		.resync_wanted = p->state.resync_wanted,
		.comparing = p->state.comparing,
		.untracked = untracked(p),
		.medium = p->spec->export,
		.medium_lost = p->medium_lost,
		.last_pass = p->state.last_pass,
		.generation = p->state.generation,
		.disk_count = p->state.disk_count,
		.untrusted = track_untrusted(&p->track),
		.replica = p->spec->peer->opened,
	};
	unsigned int i;

	for (i = 0; i < p->state.disk_count; i++)
		facts.checkpoint_bytes[i] = p->state.disks[i].checkpoint_bytes;
	switch (plan_make(&facts, &p->plan)) {
	case PLAN_GO:
		return 0;
	case PLAN_TRACKING_INTERRUPTED:
		return refuse_interrupted(p, e);
	case PLAN_REPLICA_LOST:
		return refuse_lost(p, e);
	}
	return -EINVAL;
}

/* --- cut, map --------------------------------------------------------------- */

static int wait_sealed(struct pass *p, struct err *e)
{
	unsigned int waited;
	int rc = -ETIMEDOUT;

	for (waited = 0; rc == -ETIMEDOUT && waited < SEAL_TIMEOUT_MS; waited += SEAL_SLICE_MS) {
		if (cancelled(p->spec->cancel_fd))
			return err_set(e, -ECANCELED, "the pass was cancelled");
		rc = cbt_pass_wait_sealed(p->cbt, p->track.group, p->info.id, SEAL_SLICE_MS,
					  &p->info);
	}
	if (rc == -ETIMEDOUT)
		return err_set(e, rc, "a write to a disk of %s did not complete within %d s of the cut: look whether the disk hangs",
			       p->state.vm, SEAL_TIMEOUT_MS / 1000);
	if (rc)
		return err_set(e, rc, "the cut of %s failed: %.200s", p->state.vm, cbt_error(p->cbt));
	return 0;
}

/* That the pass goes on after a crash, instead of being forgotten, is known before it begins. */
static int record_begin(struct pass *p, struct err *e)
{
	if (!p->cbt)
		return p->plan.kind == WIRE_PASS_INITIAL ? record_incomplete(p->spec->file, e) : 0;
	if (p->plan.compare)
		return record_comparing(p->spec->file, p->plan.kind == WIRE_PASS_INITIAL, e);
	return p->plan.full ? record_incomplete(p->spec->file, e) : 0;
}

/*
 * A pass over a whole disk takes long and would have the kernel keep what is written
 * meanwhile; the pass behind it makes the point.
 */
static uint32_t cut_flags(const struct pass *p)
{
	if (p->plan.full)
		return CBT_PASS_F_FULL | CBT_PASS_F_FUZZY;
	return p->plan.kind == WIRE_PASS_INITIAL || p->plan.compare ? CBT_PASS_F_FUZZY : 0;
}

/* Where writes of before an earlier cut are still in flight, or others cut first, it waits. */
static int begin(struct pass *p, const struct cbt_pass_spec *spec)
{
	struct pollfd cancel = { .fd = p->spec->cancel_fd, .events = POLLIN };
	unsigned int waited;
	int rc;

	for (waited = 0;; waited += TURN_MS) {
		rc = cbt_pass_begin_as(p->cbt, p->track.group, spec, &p->info);
		if (rc != -EAGAIN || waited >= SEAL_TIMEOUT_MS || poll(&cancel, 1, TURN_MS) > 0)
			return rc;
	}
}

static int cut(struct pass *p, struct err *e)
{
	const struct cbt_pass_spec spec = { .flags = cut_flags(p), .timeout_ms = SILENCE_MS };
	int rc = record_begin(p, e);

	if (rc)
		return rc;
	rc = begin(p, &spec);
	if (rc == -ESTALE) {
		/* Became untrusted since it was looked at. */
		rc = track_get(p->cbt, &p->state, &p->track, e);
		return rc ? rc : refuse_interrupted(p, e);
	}
	if (rc)
		return err_set(e, rc, "cannot cut the disks of %s: %.200s", p->state.vm, cbt_error(p->cbt));
	p->begun = true;
	rc = p->plan.full ? record_full(p->spec->file, p->spec->peer->opened.generation, e) : 0;
	if (!rc && p->plan.full && p->state.untracked[0]) {
		log_notice("%s: changes are tracked; what the disks hold by now is compared once more", p->state.vm);
		rc = record_tracked(p->spec->file, e);
	}
	return rc ? rc : wait_sealed(p, e);
}

/* The time that a point of it will say: all that was written before is in it. */
static int begin_untracked(struct pass *p, struct err *e)
{
	int rc = record_begin(p, e);

	p->info.cut_time_ns = datetime_now_us() * 1000;
	return rc ? rc : record_full(p->spec->file, p->spec->peer->opened.generation, e);
}

static int append_extent(uint64_t offset, uint64_t length, void *arg)
{
	return extent_list_append(arg, offset, length);
}

static int open_disk(struct pass *p, unsigned int i, struct err *e)
{
	const struct cbt_disk_info *info = &p->track.disks[i];
	struct ship_disk *disk = &p->disks[i];
	int rc;

	disk->size_bytes = info->size_bytes;
	disk->chunk_bytes = info->chunk_bytes;
	if (!p->cbt)
		rc = append_extent(0, info->size_bytes, &disk->extents);
	else
		rc = cbt_map_get(p->cbt, p->track.group, p->info.id, info->id, append_extent,
				 &disk->extents);
	if (rc && !p->cbt)
		return err_sys(e, rc, "cannot compare %s", info->path);
	if (rc)
		return err_set(e, rc, "cannot read the map of %.160s: %.160s", info->path, cbt_error(p->cbt));
	return track_open_disk(info, &disk->fd, e);
}

static int open_disks(struct pass *p, struct err *e)
{
	/* Again, because the image devices come with the cut. */
	int rc = p->cbt ? track_get(p->cbt, &p->state, &p->track, e) : 0;
	int fds[STATE_MAX_DISKS];
	unsigned int i;

	for (i = 0; !rc && i < p->state.disk_count; i++) {
		rc = open_disk(p, i, e);
		fds[i] = p->disks[i].fd;
	}
	if (!rc && !p->cbt)
		untracked_watch(&p->watch, &p->state, fds);
	return rc;
}

/* --- send --------------------------------------------------------------------- */

static void read_done(void *arg, unsigned int disk, uint64_t offset, uint64_t length)
{
	struct pass *p = arg;
	const struct cbt_disk_info *info = &p->track.disks[disk];

	/* Failing only costs memory until the pass ends. */
	if (info->image[0])
		cbt_pass_release(p->cbt, p->track.group, p->info.id, info->id, offset, length);
}

/* Step 4 of the head of this file: record, then drop. */
static void checkpointed(void *arg, unsigned int disk, uint64_t offset)
{
	struct pass *p = arg;
	uint64_t from = p->plan.stays_bytes[disk];
	struct err why = { 0 };

	if (offset <= from || !p->cbt)
		return;
	if (record_checkpoint(p->spec->file, disk, offset, &why)) {
		log_warn("%s: %s; an interruption will cost more copying", p->state.vm, why.text);
		return;
	}
	cbt_pass_commit_range(p->cbt, p->track.group, p->info.id, p->track.disks[disk].id, from,
			      offset - from);
}

/*
 * All reads are done, and a write is counted before it can reach the disk:
 * if nothing was counted by now, all that was read is of the instant of the cut.
 * A disk that is untrusted may have been written without being counted.
 */
static void reads_done(void *arg)
{
	struct pass *p = arg;

	if (!p->cbt)	/* looked at when the last slice is through */
		return;
	p->whole = !cbt_pass_get(p->cbt, p->track.group, p->info.id, &p->info) &&
		   !p->info.overwritten && !p->info.fuzzy && !p->repairs &&
		   !track_get(p->cbt, &p->state, &p->track, NULL) && !track_untrusted(&p->track);
}

static uint64_t extent_bytes(const struct ship_disk *disks)
{
	uint64_t bytes = 0;
	unsigned int i;

	for (i = 0; i < STATE_MAX_DISKS; i++)
		bytes += disks[i].extents.bytes;
	return bytes;
}

/* Ahead of each pass, since the settings may have changed. Who takes an export keeps no points. */
static int send_keep(struct pass *p, struct err *e)
{
	const struct wire_keep keep = {
		.points = p->state.history.points,
		.spacing_s = p->state.history.spacing_s,
	};
	const struct wire_header header = { .type = WIRE_KEEP, .payload_bytes = sizeof(keep) };

	return p->spec->export ? 0 : session_send(p->spec->peer->sock, &header, &keep, e);
}

static int send_begin(struct pass *p, struct err *e)
{
	struct wire_pass_begin begin = {
		.pass = p->plan.pass,
		.kind = p->plan.kind,
		.bytes = extent_bytes(p->sends),
	};
	struct wire_header header = {
		.type = WIRE_PASS_BEGIN,
		.payload_bytes = sizeof(begin),
		.sequence = p->plan.pass,
	};
	int rc = send_keep(p, e);

	return rc ? rc : session_send(p->spec->peer->sock, &header, &begin, e);
}

static int send_data(struct pass *p, struct err *e)
{
	struct ship_spec ship = {
		.sock = p->spec->peer->sock,
		.disk_count = p->state.disk_count,
		.disks = p->sends,
		.initial = p->plan.kind == WIRE_PASS_INITIAL,
		.cancel_fd = p->spec->cancel_fd,
		.options.compress = p->state.compress ? SHIP_COMPRESS_AUTO : SHIP_COMPRESS_OFF,
		.progress = p->sending,
		.read_done = read_done,
		.checkpointed = checkpointed,
		.reads_done = reads_done,
		.tick = keep_alive,
		.arg = p,
	};

	return ship_run(&ship, e);
}

static int send_end(struct pass *p, struct err *e)
{
	struct wire_pass_end end = {
		.pass = p->plan.pass,
		.cut_time_us = p->info.cut_time_ns / 1000,
		.frames = atomic_load(&p->sending->frames),
		.raw_bytes = atomic_load(&p->sending->raw_bytes),
		.whole = p->whole,
		.consistency = p->whole && (p->cbt || p->still) ? STORE_CONSISTENCY_CRASH :
								  STORE_CONSISTENCY_NONE,
	};
	struct wire_header header = {
		.type = WIRE_PASS_END,
		.payload_bytes = sizeof(end),
		.sequence = p->plan.pass,
	};

	return session_send(p->spec->peer->sock, &header, &end, e);
}

static int wait_durable(struct pass *p, struct err *e)
{
	struct wire_header header;
	int rc;

	do {	/* a checkpoint's answer may still be under way; the pass's own covers it */
		rc = session_receive(p->spec->peer->sock, &header, NULL, 0, p->spec->cancel_fd,
				     DURABLE_TIMEOUT_S, e);
	} while (!rc && header.type == WIRE_CHECKPOINTED);
	if (!rc && (header.type != WIRE_PASS_DURABLE || header.sequence != p->plan.pass))
		rc = err_set(e, -EPROTO, "the replica answered %s where PASS_DURABLE was due",
			     wire_type_name(header.type));
	return rc;
}

/* --- durable -------------------------------------------------------------------- */

/* Of what was sent since the last record. */
static struct record_pass describe(struct pass *p)
{
	uint64_t wire_bytes = atomic_load(&p->spec->progress->wire_bytes);
	struct record_pass record = {
		.pass = p->plan.pass,
		.point = p->whole && p->plan.kind == WIRE_PASS_DELTA,
		.exported = p->spec->export,
		.full = p->plan.full && p->plan.kind == WIRE_PASS_DELTA &&
			p->spec->peer->opened.state == WIRE_STATE_COMPLETE,
		.cut_time_us = p->info.cut_time_ns / 1000,
		.bytes = extent_bytes(p->sends),
		.wire_bytes = wire_bytes - p->recorded_wire_bytes,
		.milliseconds = elapsed_ms(p),
	};

	p->recorded_wire_bytes = wire_bytes;
	return record;
}

/* Step 5 of the head of this file: record, then drop. */
static int finish(struct pass *p, struct err *e)
{
	const struct record_pass record = describe(p);
	int rc = record_durable(p->spec->file, &record, e);

	if (rc)
		return rc;
	if (p->spec->peer->opened.state != WIRE_STATE_AWAITING)
		p->spec->peer->opened.state = WIRE_STATE_COMPLETE;
	p->spec->peer->opened.last_pass = p->plan.pass;
	if (!p->cbt)
		return 0;
	rc = cbt_pass_commit(p->cbt, p->track.group, p->info.id);
	if (rc)		/* the marks are back in the live map: sent once more */
		log_warn("%s: pass %llu is durable, but its map could not be dropped: %s", p->state.vm,
			 (unsigned long long)p->plan.pass, cbt_error(p->cbt));
	p->begun = rc != 0;
	return 0;
}

/* --- compare ---------------------------------------------------------------------- */

/* All of @disk that lies before the cursor. */
static uint64_t position(const struct pass *p, const struct compare_cursor *at, unsigned int disk)
{
	const struct extent_list *extents = &p->disks[disk].extents;

	if (disk > at->disk)
		return 0;
	if (disk < at->disk || at->extent == extents->count)
		return p->disks[disk].size_bytes;
	return extents->at[at->extent].offset + at->within;
}

static int checkpoint(struct pass *p, unsigned int disk, uint64_t offset, struct err *e)
{
	struct wire_header header = { .type = WIRE_CHECKPOINT, .disk = disk, .offset = offset };
	int rc = session_send(p->spec->peer->sock, &header, NULL, e);

	if (!rc)
		rc = session_receive(p->spec->peer->sock, &header, NULL, 0, p->spec->cancel_fd,
				     DURABLE_TIMEOUT_S, e);
	if (!rc && (header.type != WIRE_CHECKPOINTED || header.disk != disk ||
		    header.offset != offset))
		rc = err_set(e, -EPROTO, "the replica answered %s where CHECKPOINTED was due",
			     wire_type_name(header.type));
	if (!rc)
		checkpointed(p, disk, offset);
	return rc;
}

/* An initial pass keeps what was checkpointed when it is aborted: the next one goes on there. */
static int end_initial_slice(struct pass *p, const struct compare_cursor *from,
			     const struct compare_cursor *to, struct err *e)
{
	struct wire_header header = { .type = WIRE_PASS_ABORT, .sequence = p->plan.pass };
	unsigned int i;
	int rc = 0;

	for (i = from->disk; !rc && i <= to->disk && i < p->state.disk_count; i++) {
		if (position(p, to, i))
			rc = checkpoint(p, i, position(p, to, i), e);
	}
	if (!rc)
		rc = session_send(p->spec->peer->sock, &header, NULL, e);
	if (!rc)
		rc = session_receive(p->spec->peer->sock, &header, NULL, 0, p->spec->cancel_fd,
				     DURABLE_TIMEOUT_S, e);
	if (!rc && header.type != WIRE_PASS_ABORTED)
		rc = err_set(e, -EPROTO, "the replica answered %s where PASS_ABORTED was due",
			     wire_type_name(header.type));
	return rc;
}

/* Durable as a pass that is not whole: record, then drop. */
static int end_delta_slice(struct pass *p, const struct compare_cursor *from,
			   const struct compare_cursor *to, struct err *e)
{
	struct record_pass record;
	unsigned int i;
	int rc;

	p->whole = false;
	rc = send_end(p, e);
	if (!rc)
		rc = wait_durable(p, e);
	if (rc)
		return rc;
	record = describe(p);
	rc = record_slice(p->spec->file, &record, e);
	for (i = from->disk; !rc && i <= to->disk && i < p->state.disk_count; i++) {
		uint64_t begin = position(p, from, i), end = position(p, to, i);

		if (end > begin && p->cbt)
			cbt_pass_commit_range(p->cbt, p->track.group, p->info.id,
					      p->track.disks[i].id, begin, end - begin);
	}
	p->plan.pass++;
	return rc;
}

/* What the slice sent is no longer of interest. */
static void forget_slice(struct pass *p)
{
	unsigned int i;

	p->slices_bytes += extent_bytes(p->differ);
	for (i = 0; i < STATE_MAX_DISKS; i++)
		extent_list_free(&p->differ[i].extents);
}

static void free_lists(struct extent_list *lists)
{
	unsigned int i;

	for (i = 0; i < STATE_MAX_DISKS; i++)
		extent_list_free(&lists[i]);
}

/* Takes the lists over. */
static int send_slice(struct pass *p, const struct extent_list *differ, struct err *e)
{
	struct ship_progress *whole = p->spec->progress;
	unsigned int i;
	int rc;

	for (i = 0; i < p->state.disk_count; i++) {
		p->differ[i] = p->disks[i];
		p->differ[i].extents = differ[i];
	}
	p->slice = (struct ship_progress){ 0 };
	set_phase(p, PASS_PHASE_SEND);
	rc = send_begin(p, e);
	if (!rc)
		rc = send_data(p, e);
	atomic_fetch_add(&whole->wire_bytes, atomic_load(&p->slice.wire_bytes));
	atomic_fetch_add(&whole->zero_bytes, atomic_load(&p->slice.zero_bytes));
	return rc;
}

/* Step 6 of the head of this file. The last slice is left open, to be ended as any pass is. */
static int compare(struct pass *p, struct err *e)
{
	const struct compare_spec spec = {
		.sock = p->spec->peer->sock,
		.disk_count = p->state.disk_count,
		.disks = p->disks,
		.cancel_fd = p->spec->cancel_fd,
		.ask_always = !p->cbt,
		.disk_by_disk = p->cbt,	/* as an initial pass has a checkpoint there */
		.progress = p->spec->progress,
		.tick = keep_alive,
		.arg = p,
	};
	struct compare_cursor from, to = { 0 };
	int rc = 0;

	p->sends = p->differ;
	p->sending = &p->slice;
	atomic_store(&spec.progress->total_bytes, extent_bytes(p->disks));
	while (!rc) {
		struct extent_list differ[STATE_MAX_DISKS] = { 0 };

		from = to;
		set_phase(p, PASS_PHASE_COMPARE);
		rc = compare_slice(&spec, &to, differ, e);
		if (rc)
			free_lists(differ);
		else
			rc = send_slice(p, differ, e);
		if (rc || compare_ended(&spec, &to))
			break;
		if (p->plan.kind == WIRE_PASS_INITIAL)
			rc = end_initial_slice(p, &from, &to, e);
		else
			rc = end_delta_slice(p, &from, &to, e);
		forget_slice(p);
	}
	return rc;
}

/* --- verify ----------------------------------------------------------------------- */

/* Where all is to be gone through anyway, or there is nothing to compare with, it is refused. */
static int verify(struct pass *p, struct err *e)
{
	const struct verify_spec spec = {
		.sock = p->spec->peer->sock,
		.track = &p->track,
		.cancel_fd = p->spec->cancel_fd,
		.progress = p->spec->progress,
	};

	if (untracked(p))
		return err_set(e, -EINVAL,
			       "%s is not tracked, so that each pass compares all of it: run `vmreplica replicate %s`",
			       p->state.vm, p->state.vm);
	if (p->plan.full || p->plan.compare || p->spec->peer->opened.state != WIRE_STATE_COMPLETE)
		return err_set(e, -EINVAL,
			       "%s cannot be verified before its replication, or resynchronization, is complete",
			       p->state.vm);
	set_phase(p, PASS_PHASE_COMPARE);
	return verify_slice(p->spec->verify, &spec, e);
}

/* What changed, and what is to be repaired. Left open, to be ended as any pass is. */
static int send_verified(struct pass *p, struct err *e)
{
	struct extent_list sends[STATE_MAX_DISKS] = { 0 };
	unsigned int i;
	int rc = 0;

	/* A write may have come that was not noted: what differs proves nothing then. */
	if (track_untrusted(&p->track))
		return refuse_interrupted(p, e);
	for (i = 0; !rc && i < p->state.disk_count; i++) {
		const struct extent_list *map = &p->disks[i].extents;

		rc = verify_judge(p->spec->verify, &p->state.disks[i], i, map, &sends[i], e);
		p->repairs |= sends[i].bytes > map->bytes;
	}
	if (rc) {
		free_lists(sends);
		return rc;
	}
	p->sends = p->differ;
	p->sending = &p->slice;
	return send_slice(p, sends, e);
}

/* --- all of it -------------------------------------------------------------------- */

static int send_all(struct pass *p, struct err *e)
{
	int rc;

	set_phase(p, PASS_PHASE_SEND);
	rc = send_begin(p, e);
	return rc ? rc : send_data(p, e);
}

static int send_pass(struct pass *p, struct err *e)
{
	if (p->spec->verify)
		return send_verified(p, e);
	return p->plan.compare ? compare(p, e) : send_all(p, e);
}

/*
 * A point even if the disks were written to while they were read: there may never be another one.
 * What it is worth is said with it.
 */
static void judge_untracked(struct pass *p)
{
	p->still = untracked_still(&p->watch, &p->state);
	p->whole = p->plan.kind == WIRE_PASS_DELTA;
}

static int run(struct pass *p, struct err *e)
{
	int rc;

	set_phase(p, PASS_PHASE_PREPARE);
	rc = prepare(p, e);
	if (rc)
		return rc;
	set_phase(p, PASS_PHASE_CONNECT);
	rc = connect_replica(p, e);
	if (!rc)
		rc = decide(p, e);
	if (!rc && !p->plan.full)
		rc = record_generation(p->spec->file, p->spec->peer->opened.generation, e);
	if (!rc && p->spec->verify)
		rc = verify(p, e);
	if (rc)
		return rc;
	set_phase(p, PASS_PHASE_CUT);
	rc = p->cbt ? cut(p, e) : begin_untracked(p, e);
	if (!rc)
		rc = open_disks(p, e);
	if (rc)
		return rc;
	rc = send_pass(p, e);
	if (!rc && !p->cbt)
		judge_untracked(p);
	if (!rc)
		rc = send_end(p, e);
	if (rc)
		return rc;
	set_phase(p, PASS_PHASE_CONFIRM);
	rc = wait_durable(p, e);
	return rc ? rc : finish(p, e);
}

static void clean_up(struct pass *p)
{
	unsigned int i;

	for (i = 0; i < STATE_MAX_DISKS; i++) {
		extent_list_free(&p->disks[i].extents);
		extent_list_free(&p->differ[i].extents);
		if (p->disks[i].fd >= 0)
			close(p->disks[i].fd);
	}
	if (p->begun)	/* closing the handle would do it as well, but later */
		cbt_pass_give_up(p->cbt, p->track.group, p->info.id);
	if (p->cbt)
		cbt_close(p->cbt);
}

int pass_run(const struct pass_spec *spec, struct pass_result *result, struct err *e)
{
	struct pass *p = calloc(1, sizeof(*p));
	unsigned int i;
	int rc;

	if (!p)
		return err_sys(e, -ENOMEM, "cannot begin a pass");
	p->spec = spec;
	p->sends = p->disks;
	p->sending = spec->progress;
	/* of a verify: of the passes before */
	p->recorded_wire_bytes = atomic_load(&spec->progress->wire_bytes);
	clock_gettime(CLOCK_MONOTONIC, &p->started);
	for (i = 0; i < STATE_MAX_DISKS; i++)
		p->disks[i].fd = -1;
	state_file_get(spec->file, &p->state);
	rc = run(p, e);
	if (rc)
		peer_close(spec->peer);
	*result = (struct pass_result){
		.pass = p->plan.pass,
		.initial = p->plan.kind == WIRE_PASS_INITIAL,
		.whole = p->whole,
		.cut_time_us = p->info.cut_time_ns / 1000,
		.bytes = p->slices_bytes + extent_bytes(p->sends),
		.wire_bytes = atomic_load(&spec->progress->wire_bytes),
	};
	clean_up(p);
	free(p);
	return rc;
}
