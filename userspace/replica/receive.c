// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The connection's thread owns an io_uring and a few slots. A slot is a batch of
 * frames: filled from the stream, decoded (by a worker if it is packed), then placed and written.
 * Slots are decoded and written in any order, but placed in the order of the stream,
 * so that an overlay is written sequentially. A CHECKPOINT waits for the slots before it
 * only: meanwhile the stream goes on.
 *
 * Memory: (depth + 2 * threads + 2) slots of 2 MiB of address space, 44 MiB with the
 * defaults; of these only what the primary's frames fill is touched.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include "../common/workers.h"
#include "../ring/ring.h"
#include "batch.h"
#include "checkpoints.h"
#include "receive.h"
#include "writer.h"

#define DEFAULT_DEPTH	16
#define MAX_DEPTH	256
#define DEFAULT_THREADS	2
#define MAX_THREADS	16

/*
 * The stream is read ahead into the stage; the rest of a payload that does not fit goes
 * directly to its slot. So small frames cost few system calls, and large ones little copying.
 */
#define STAGE_BYTES	(32u << 10)
/* Behind a frame of so many bytes only a header is read ahead: another such frame may follow it. */
#define LARGE_BYTES	(64u << 10)

#define TICK_MS		1000
/* A primary that sends nothing for so long has given up long ago, and its host did not say so. */
#define IDLE_TIMEOUT_S	300

enum tag { TAG_RECV = 1, TAG_DECODED, TAG_STOP, TAG_WRITE };	/* TAG_WRITE + index of the write */

enum slot_state { SLOT_FREE, SLOT_FILLING, SLOT_DECODING, SLOT_DECODED };

struct slot {
	struct workers_job job;		/* first: a job is its slot */
	enum slot_state state;
	struct slot *next;		/* in the order of the stream */
	uint64_t number;
	struct batch batch;
	struct writer_state writing;
	int result;			/* of batch_decode() */
	struct err error;
};

/* What the stream is checked against: a copy, since a checkpoint replaces the store's own. */
struct geometry {
	uint64_t size_bytes;
	uint32_t chunk_bytes;
};

struct receive {
	int sock;
	int stop_fd;
	struct store *store;
	unsigned int disk_count;
	struct geometry *disks;
	struct store_pass *pass;
	const struct wire_pass_begin *begin;
	const struct receive_options *options;	/* or null */
	struct receive_progress *progress;
	struct ring *ring;
	struct workers *workers;
	struct writer writer;
	struct bufpool pool;

	uint8_t stage[STAGE_BYTES];
	uint32_t stage_at, stage_end;	/* what is yet to be parsed */
	uint8_t *rest;			/* where the rest of a payload goes */
	uint32_t rest_bytes;		/* 0: the next thing in the stream is a header */
	bool large;			/* the last payload had LARGE_BYTES or more */
	bool receiving;
	int64_t moved_s;		/* when @receiving began */

	struct slot *slots;
	unsigned int slot_count;
	struct slot *filling;		/* the newest, still open; or null */
	struct slot *oldest, *newest;	/* slots in use, in the order of the stream */
	struct slot *placing;		/* the oldest that is not wholly placed */
	uint64_t slots_begun;

	struct checkpoints checkpoints;
	uint64_t frames, raw_bytes;	/* received */
	bool ended, aborted;		/* PASS_END, or PASS_ABORT, was seen */
	struct wire_pass_end end;
};

static int64_t now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec;
}

/* --- slots ------------------------------------------------------------------ */

static void decode_job(struct workers_job *job)
{
	struct slot *slot = (struct slot *)job;

	slot->result = batch_decode(&slot->batch, &slot->error);
}

/* Null when all are in use. */
static struct slot *begin_slot(struct receive *rc)
{
	struct slot *slot = rc->slots;

	while (slot < rc->slots + rc->slot_count && slot->state != SLOT_FREE)
		slot++;
	if (slot == rc->slots + rc->slot_count)
		return NULL;
	slot->state = SLOT_FILLING;
	slot->number = rc->slots_begun++;
	slot->next = NULL;
	batch_reset(&slot->batch);
	slot->writing = (struct writer_state){ 0 };
	if (rc->newest)
		rc->newest->next = slot;
	else
		rc->oldest = slot;
	rc->newest = slot;
	if (!rc->placing)
		rc->placing = slot;
	return slot;
}

/* What is not packed has only its checksums looked at: here, while it is in the cache. */
static int close_slot(struct receive *rc, struct err *e)
{
	struct slot *slot = rc->filling;

	if (!slot)
		return 0;
	rc->filling = NULL;
	if (batch_packed(&slot->batch)) {
		slot->state = SLOT_DECODING;
		workers_put(rc->workers, &slot->job);
		return 0;
	}
	slot->state = SLOT_DECODED;
	return batch_decode(&slot->batch, e);
}

static bool slot_done(const struct slot *slot)
{
	return slot->state == SLOT_DECODED && slot->writing.placed == slot->batch.count &&
	       !slot->writing.writes;
}

/*
 * Frees the slots that are written; a slot behind an unfinished one may be among them.
 * True: there were some.
 */
static bool free_slots(struct receive *rc)
{
	struct slot **link = &rc->oldest, *slot, *before = NULL;
	bool some = false;

	while ((slot = *link)) {
		if (!slot_done(slot)) {
			before = slot;
			link = &slot->next;
			continue;
		}
		*link = slot->next;
		slot->state = SLOT_FREE;
		some = true;
		for (unsigned int i = 0; i < slot->batch.count; i++)
			atomic_fetch_add(&rc->progress->done_bytes,
					 slot->batch.frames[i].header.raw_bytes);
	}
	rc->newest = before;
	return some;
}

/* --- the stream ------------------------------------------------------------- */

static int check_range(struct receive *rc, const struct wire_header *h, struct err *e)
{
	const struct geometry *disk;
	uint64_t end = h->offset + h->raw_bytes;

	if (h->sequence != rc->frames)
		return err_set(e, -EPROTO,
			       "the primary sent frame %" PRIu64 " of the pass where %" PRIu64
			       " is due",
			       h->sequence, rc->frames);
	if (h->disk >= rc->disk_count)
		return err_set(e, -EPROTO, "the primary sent data of disk %" PRIu32 " of %u",
			       h->disk, rc->disk_count);
	disk = &rc->disks[h->disk];
	if (end > disk->size_bytes || h->offset % disk->chunk_bytes ||
	    (end % disk->chunk_bytes && end != disk->size_bytes))
		return err_set(e, -EPROTO,
			       "the primary sent %" PRIu64 " bytes at %" PRIu64 " of disk %" PRIu32
			       ", which are not chunks of it",
			       h->raw_bytes, h->offset, h->disk);
	return 0;
}

/* DATA or ZERO. -EAGAIN without a sentence: no slot is free, the header stays in the stage. */
static int take_range(struct receive *rc, const struct wire_header *h, struct err *e)
{
	struct batch_frame *frame;
	uint32_t chunk_bytes;
	int r = check_range(rc, h, e);

	if (r)
		return r;
	chunk_bytes = rc->disks[h->disk].chunk_bytes;
	if (rc->filling && !batch_has_room(&rc->filling->batch, h, chunk_bytes))
		r = close_slot(rc, e);
	if (r)
		return r;
	if (!rc->filling)
		rc->filling = begin_slot(rc);
	if (!rc->filling)
		return -EAGAIN;
	frame = batch_add(&rc->filling->batch, h, chunk_bytes);
	rc->rest = frame->payload;
	rc->rest_bytes = h->payload_bytes;
	rc->large = h->payload_bytes >= LARGE_BYTES;
	rc->frames++;
	rc->raw_bytes += h->raw_bytes;
	return 0;
}

static int take_checkpoint(struct receive *rc, const struct wire_header *h, struct err *e)
{
	int r;

	if (rc->begin->kind != WIRE_PASS_INITIAL)
		return err_set(
			e, -EPROTO,
			"the primary sent a CHECKPOINT in a pass that is not an initial one");
	if (h->disk >= rc->disk_count || h->offset > rc->disks[h->disk].size_bytes)
		return err_set(e, -EPROTO,
			       "the primary sent a CHECKPOINT of disk %" PRIu32 " at %" PRIu64
			       ", which there is not",
			       h->disk, h->offset);
	r = close_slot(rc, e);
	if (r)
		return r;
	if (!checkpoints_add(&rc->checkpoints, h->disk, h->offset, rc->slots_begun))
		return err_set(e, -EPROTO,
			       "the primary sent more than %d CHECKPOINT frames without an answer",
			       WIRE_MAX_CHECKPOINTS);
	return 0;
}

static int take_end(struct receive *rc, const struct wire_header *h, const uint8_t *payload,
		    struct err *e)
{
	struct wire_pass_end *end = &rc->end;
	int r = wire_payload_check(h, payload, e);

	if (r)
		return r;
	memcpy(end, payload, sizeof(*end));
	if (end->pass != rc->begin->pass || h->sequence != end->pass)
		return err_set(e, -EPROTO,
			       "the primary ended pass %" PRIu64 " within pass %" PRIu64, end->pass,
			       rc->begin->pass);
	if (end->frames != rc->frames || end->raw_bytes != rc->raw_bytes)
		return err_set(e, -EPROTO,
			       "of pass %" PRIu64 " %" PRIu64 " frames with %" PRIu64
			       " bytes came, but the primary sent %" PRIu64 " with %" PRIu64,
			       end->pass, rc->frames, rc->raw_bytes, end->frames, end->raw_bytes);
	if (end->whole > 1 || end->consistency > STORE_CONSISTENCY_APPLICATION)
		return err_set(e, -EPROTO, "PASS_END has values that this version does not know");
	rc->ended = true;
	return 0;
}

static int take_error(const struct wire_header *h, const uint8_t *payload, struct err *e)
{
	struct wire_error error;
	int r = wire_payload_check(h, payload, e);

	if (r)
		return r;
	memcpy(&error, payload, sizeof(error));
	return session_error_decode(&error, e);
}

static int take_frame(struct receive *rc, const struct wire_header *h, const uint8_t *payload,
		      struct err *e)
{
	switch (h->type) {
	case WIRE_DATA:
	case WIRE_ZERO:
		return take_range(rc, h, e);
	case WIRE_CHECKPOINT:
		return take_checkpoint(rc, h, e);
	case WIRE_PASS_END:
		return take_end(rc, h, payload, e);
	case WIRE_PASS_ABORT:
		rc->aborted = true;
		return 0;
	case WIRE_ERROR:
		return take_error(h, payload, e);
	default:
		return err_set(e, -EPROTO, "the primary sent a %s frame in the middle of a pass",
			       wire_type_name(h->type));
	}
}

/* Moves what of the current payload is in the stage to its slot. */
static void take_rest(struct receive *rc)
{
	uint32_t have = rc->stage_end - rc->stage_at;
	uint32_t bytes = have < rc->rest_bytes ? have : rc->rest_bytes;

	if (!bytes)
		return;
	memcpy(rc->rest, rc->stage + rc->stage_at, bytes);
	rc->stage_at += bytes;
	rc->rest += bytes;
	rc->rest_bytes -= bytes;
}

/* The bytes of a frame that must be in the stage at once: all but DATA's payload. */
static uint32_t staged_bytes(const struct wire_header *h)
{
	return WIRE_HEADER_BYTES + (h->type == WIRE_DATA ? 0 : h->payload_bytes);
}

/*
 * Takes the frame at the head of the stage. 0; 1: more must be received first;
 * -EAGAIN: a slot must become free first; else what is wrong.
 */
static int parse_one(struct receive *rc, struct err *e)
{
	const uint8_t *at = rc->stage + rc->stage_at;
	uint32_t have = rc->stage_end - rc->stage_at;
	struct wire_header h;
	int r;

	if (have < WIRE_HEADER_BYTES)
		return 1;
	r = wire_header_decode(at, &h, e);
	if (r)
		return r;
	if (staged_bytes(&h) > STAGE_BYTES)
		return err_set(e, -EPROTO, "the primary sent a %s frame in the middle of a pass",
			       wire_type_name(h.type));
	if (have < staged_bytes(&h))
		return 1;
	r = take_frame(rc, &h, at + WIRE_HEADER_BYTES, e);
	if (!r)
		rc->stage_at += staged_bytes(&h);
	return r;
}

/* Whether the next receive gets something at once. */
static bool more_waits(const struct receive *rc)
{
	int bytes;

	return !ioctl(rc->sock, FIONREAD, &bytes) && bytes > 0;
}

/* 0 or -EAGAIN (all slots are in use) or what is wrong with the stream. */
static int parse(struct receive *rc, struct err *e)
{
	int r = 0, closed = 0;

	while (!r && !rc->ended && !rc->aborted) {
		take_rest(rc);
		if (rc->rest_bytes)
			return 0;
		if (rc->filling && batch_enough(&rc->filling->batch, rc->writer.memory))
			r = close_slot(rc, e);
		if (!r)
			r = parse_one(rc, e);
	}
	if (r < 0 && r != -EAGAIN)
		return r;
	/* If the stream pauses at the end of a frame, what came goes on its way. */
	if (rc->ended || rc->aborted || r < 0 || !more_waits(rc))
		closed = close_slot(rc, e);
	if (closed || r < 0)
		return closed ? closed : r;
	if ((rc->ended || rc->aborted) && rc->stage_at != rc->stage_end)
		return err_set(e, -EPROTO,
			       "the primary went on without waiting for the end of the pass");
	return 0;
}

static void start_receive(struct receive *rc)
{
	uint32_t have = rc->stage_end - rc->stage_at, want;

	if (rc->receiving || rc->ended || rc->aborted)
		return;
	rc->receiving = true;
	rc->moved_s = now_s();
	if (rc->rest_bytes) {
		ring_recv(rc->ring, rc->sock, rc->rest, rc->rest_bytes, true, TAG_RECV);
		return;
	}
	memmove(rc->stage, rc->stage + rc->stage_at, have);
	rc->stage_at = 0;
	rc->stage_end = have;
	want = rc->large && have < WIRE_HEADER_BYTES ? WIRE_HEADER_BYTES : STAGE_BYTES;
	ring_recv(rc->ring, rc->sock, rc->stage + have, want - have, false, TAG_RECV);
}

static int received(struct receive *rc, int result, struct err *e)
{
	rc->receiving = false;
	if (result == -EINTR || result == -EAGAIN)
		return 0;
	if (result < 0)
		return err_sys(e, result, "the connection to the primary failed");
	if (!result)
		return err_set(e, -ECONNRESET,
			       "the primary closed the connection in the middle of a pass");
	atomic_fetch_add(&rc->progress->wire_bytes, result);
	if (rc->rest_bytes) {
		rc->rest += result;
		rc->rest_bytes -= result;
	} else {
		rc->stage_end += result;
	}
	return 0;
}

/* --- the loop --------------------------------------------------------------- */

static int take_decoded(struct receive *rc, struct err *e)
{
	struct workers_job *job = workers_take(rc->workers), *next;
	int r = 0;

	for (; job && !r; job = next) {
		struct slot *slot = (struct slot *)job;

		next = job->next;
		if (job == &rc->checkpoints.job) {
			r = checkpoints_ended(&rc->checkpoints, rc->sock, e);
			continue;
		}
		slot->state = SLOT_DECODED;
		if (slot->result)
			r = err_set(e, slot->result, "%s", slot->error.text);
	}
	ring_poll(rc->ring, workers_fd(rc->workers), TAG_DECODED);
	return r;
}

static int handle(struct receive *rc, const struct ring_done *done, struct err *e)
{
	switch (done->tag) {
	case TAG_RECV:
		return received(rc, done->result, e);
	case TAG_DECODED:
		return take_decoded(rc, e);
	case TAG_STOP:
		return err_set(e, -ESHUTDOWN,
			       "the replica is being stopped, or the primary has connected anew");
	default:
		return writer_ended(&rc->writer, done->tag - TAG_WRITE, done->result, e);
	}
}

static int place_slots(struct receive *rc, struct err *e)
{
	struct slot *slot;
	int r;

	while (!checkpoints_busy(&rc->checkpoints) && (slot = rc->placing) &&
	       slot->state == SLOT_DECODED) {
		r = writer_advance(&rc->writer, &slot->batch, &slot->writing, e);
		if (r)
			return r;
		if (slot->writing.placed < slot->batch.count)
			return 0;	/* all writes are under way */
		rc->placing = slot->next;
	}
	return 0;
}

/* Does all that can be done now, with what has come and what has been freed. */
static int advance(struct receive *rc, struct err *e)
{
	bool blocked;
	int r;

	free_slots(rc);
	do {
		r = rc->receiving ? 0 : parse(rc, e);
		blocked = r == -EAGAIN;
		if (r && !blocked)
			return r;
		r = place_slots(rc, e);
		if (r)
			return r;
	} while (free_slots(rc) && blocked);
	if (!blocked)
		start_receive(rc);
	checkpoints_start(&rc->checkpoints, rc->oldest ? rc->oldest->number : rc->slots_begun,
			  rc->workers);
	return 0;
}

static bool finished(const struct receive *rc)
{
	return rc->aborted || (rc->ended && !rc->oldest && !rc->checkpoints.count);
}

static int run(struct receive *rc, struct err *e)
{
	struct ring_done done[32];
	int count, r;

	ring_poll(rc->ring, workers_fd(rc->workers), TAG_DECODED);
	if (rc->stop_fd >= 0)
		ring_poll(rc->ring, rc->stop_fd, TAG_STOP);
	for (;;) {
		r = advance(rc, e);
		if (r || finished(rc))
			return r;
		count = ring_wait(rc->ring, done, 32, TICK_MS, e);
		if (count < 0)
			return count;
		for (int i = 0; i < count && !r; i++)
			r = handle(rc, &done[i], e);
		if (!r && rc->receiving && now_s() - rc->moved_s >= IDLE_TIMEOUT_S)
			r = err_set(e, -ETIMEDOUT,
				    "the primary has sent nothing for %d s in the middle of a pass",
				    IDLE_TIMEOUT_S);
		if (r)
			return r;
	}
}

/* --- a pass ----------------------------------------------------------------- */

static unsigned int within(unsigned int value, unsigned int usual, unsigned int high)
{
	return !value ? usual : value > high ? high : value;
}

static int init_disks(struct receive *rc)
{
	const struct store_spec *spec = store_spec(rc->store);

	rc->disk_count = spec->disk_count;
	rc->disks = calloc(spec->disk_count, sizeof(*rc->disks));
	if (!rc->disks)
		return -ENOMEM;
	for (unsigned int i = 0; i < spec->disk_count; i++) {
		rc->disks[i].size_bytes = spec->disks[i].size_bytes;
		rc->disks[i].chunk_bytes = spec->disks[i].chunk_bytes;
		rc->checkpoints.durable[i] = store_initial_durable(rc->store, i);
	}
	return 0;
}

static int init_slots(struct receive *rc)
{
	int r;

	rc->slots = calloc(rc->slot_count, sizeof(*rc->slots));
	if (!rc->slots)
		return -ENOMEM;
	r = bufpool_init(&rc->pool, 2 * rc->slot_count, BATCH_BYTES);
	for (unsigned int i = 0; i < rc->slot_count && !r; i++) {
		rc->slots[i].job.run = decode_job;
		rc->slots[i].batch.in = bufpool_at(&rc->pool, 2 * i);
		rc->slots[i].batch.out = bufpool_at(&rc->pool, 2 * i + 1);
	}
	return r;
}

static int receive_init(struct receive *rc, const struct receive_options *options, struct err *e)
{
	unsigned int depth = within(options ? options->depth : 0, DEFAULT_DEPTH, MAX_DEPTH);
	unsigned int threads = within(options ? options->threads : 0, DEFAULT_THREADS, MAX_THREADS);
	int r;

	rc->slot_count = depth + 2 * threads + 2;
	checkpoints_init(&rc->checkpoints, rc->pass);
	/* All writes, and one of each other tag. */
	r = ring_create(&rc->ring, depth + 8, e);
	if (r)
		return r;
	r = init_disks(rc);
	if (!r)
		r = init_slots(rc);
	if (!r)
		r = writer_init(&rc->writer, rc->ring, rc->pass, depth, TAG_WRITE);
	if (!r)
		r = workers_create(&rc->workers, threads);
	return r ? err_sys(e, r, "the replica cannot set up the pass") : 0;
}

static void receive_exit(struct receive *rc)
{
	workers_destroy(rc->workers);
	/*
	 * Without a bound: a write that ended after this pass was given up could
	 * overwrite what the next one puts there.
	 */
	if (rc->ring)
		ring_drain(rc->ring, -1);
	ring_destroy(rc->ring);
	writer_exit(&rc->writer);
	bufpool_exit(&rc->pool);
	free(rc->slots);
	free(rc->disks);
}

static int begin_pass(struct receive *rc, struct err *e)
{
	const struct wire_pass_begin *begin = rc->begin;

	if ((begin->kind != WIRE_PASS_INITIAL && begin->kind != WIRE_PASS_DELTA) || begin->reserved)
		return err_set(e, -EPROTO, "the primary began a pass of unknown kind %" PRIu32,
			       begin->kind);
	return store_pass_begin(rc->store, begin->pass,
				begin->kind == WIRE_PASS_INITIAL ? STORE_PASS_INITIAL :
								   STORE_PASS_DELTA,
				&rc->pass, e);
}

static int answer(struct receive *rc, enum wire_type type, struct err *e)
{
	const struct wire_header header = { .type = type, .sequence = rc->begin->pass };

	return session_send(rc->sock, &header, NULL, e);
}

/* All is received and written: it becomes durable, or, if the primary said so, it is dropped. */
static int end_pass(struct receive *rc, struct err *e)
{
	struct store_pass *pass = rc->pass;
	int r;

	rc->pass = NULL;
	if (rc->aborted) {
		store_pass_abort(pass);
		r = answer(rc, WIRE_PASS_ABORTED, e);
		return r ? r : err_set(e, -ECANCELED, "the primary gave the pass up");
	}
	r = store_pass_commit(pass, rc->end.cut_time_us, rc->end.whole, rc->end.consistency, e);
	if (r)
		return r;
	if (rc->options && rc->options->durable)
		rc->options->durable(rc->options->arg);
	return answer(rc, WIRE_PASS_DURABLE, e);
}

int receive_pass(int sock, struct store *store, const struct wire_pass_begin *begin,
		 const struct receive_options *options, struct receive_progress *progress,
		 int stop_fd, struct err *e)
{
	struct receive *rc = calloc(1, sizeof(*rc));
	int r;

	if (!rc)
		return err_set(e, -ENOMEM, "the replica is out of memory");
	rc->sock = sock;
	rc->stop_fd = stop_fd;
	rc->store = store;
	rc->begin = begin;
	rc->options = options;
	rc->progress = progress;
	atomic_store(&progress->total_bytes, begin->bytes);
	r = begin_pass(rc, e);
	if (!r)
		r = receive_init(rc, options, e);
	if (!r)
		r = run(rc, e);
	receive_exit(rc);
	if (!r)
		r = end_pass(rc, e);
	if (rc->pass)
		store_pass_abort(rc->pass);
	free(rc);
	return r;
}
