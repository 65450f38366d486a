// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The shipping thread owns an io_uring and a circle of slots. A slot is one buffer
 * with its numbered place in the pass: read, then encoded, by a worker if it is to be
 * packed, then sent. A hole of a sparse file is a slot that is not read.
 * Reads and encoders may finish in any order, slots are sent in the order of
 * their numbers, which is ascending within a disk: so when a CHECKPOINT goes out,
 * all before it has.
 *
 * Buffers are taken from a stack: the one that was sent last is likely in the cache yet.
 *
 * Memory: slots * (2 * buffer + about 40 bytes per 4 KiB of it), with
 * slots = 2 * depth + 2 * threads: 19 MiB with the defaults, whatever the disks' size.
 * Disks in memory are read one piece after another, and so smaller ones by default.
 */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "../common/workers.h"
#include "../ring/ring.h"
#include "../wire/session.h"
#include "adapt.h"
#include "control.h"
#include "encode.h"
#include "holes.h"
#include "outbox.h"
#include "ship.h"

#define DEFAULT_DEPTH		16
#define MAX_DEPTH		256
#define DEFAULT_THREADS		2
#define MAX_THREADS		16
#define DEFAULT_BUFFER_BYTES	(256u << 10)
#define DEFAULT_MEMORY_BUFFER_BYTES (128u << 10)
#define MIN_BUFFER_BYTES	(64u << 10)
#define MAX_BUFFER_BYTES	WIRE_MAX_PAYLOAD
#define DEFAULT_CHECKPOINT_BYTES (256ull << 20)

/* O_DIRECT's alignment of lengths: the end of a disk is read as if it went on. */
#define READ_ALIGN		4096u

#define TICK_MS			1000
/* The replica may need long to make a checkpoint durable; that it lives, keepalive sees to. */
#define ANSWER_TIMEOUT_S	300
/* A read that hangs in the kernel is left there: its pages stay until it ends. */
#define DRAIN_MS		5000

enum tag {
	TAG_SEND = 1,
	TAG_SOCKET,
	TAG_CANCEL,
	TAG_ENCODED,
	TAG_READ
}; /* TAG_READ + slot */

#define NO_BUFFER UINT_MAX

enum slot_state { SLOT_FREE, SLOT_READING, SLOT_ENCODING, SLOT_READY };

struct slot {
	struct workers_job job;		/* first: a job is its slot */
	enum slot_state state;
	enum encode_mode mode;
	unsigned int disk;
	uint64_t offset;
	uint32_t bytes;			/* of the disk */
	uint32_t have;			/* of these: read */
	uint32_t chunk_bytes;
	unsigned int buffer;		/* its number, NO_BUFFER: a hole */
	uint8_t *raw;
	uint8_t *room;			/* for what lz4 makes of it */
	struct encode_result encoded;
	unsigned int put;		/* frames handed to the outbox */
};

struct ship {
	const struct ship_spec *spec;
	struct ship_options options;
	struct ship_progress *progress;
	struct ring *ring;
	struct workers *workers;
	struct bufpool raw, room;
	struct encode_frame *frames;
	struct slot *slots;
	unsigned int slot_count;
	unsigned int *free_buffers;	/* a stack; there are as many as slots */
	unsigned int free_count;

	/* Slots are used in a circle: sent <= put <= begun <= sent + slot_count. */
	uint64_t begun;			/* slots whose reads were begun */
	uint64_t put;			/* slots that are in the outbox with all frames */
	uint64_t sent;			/* slots whose frames are all sent */
	unsigned int reading;

	/* What is to be read next. */
	unsigned int disk;
	size_t extent;
	uint64_t within;
	struct holes holes;		/* of that disk */
	bool reads_done;

	struct outbox outbox;
	bool sending;
	int64_t send_began_ns;
	uint64_t since_checkpoint;	/* bytes of the disk put since its last CHECKPOINT */
	struct adapt adapt;
	struct control control;
	int64_t moved_ns;		/* when anything last made progress */
};

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ll + t.tv_nsec;
}

static struct slot *slot_of(struct ship *s, uint64_t number)
{
	return &s->slots[number % s->slot_count];
}

/* --- reading ---------------------------------------------------------------- */

/* Moves on to the next disk that has an extent left; s->disk is disk_count when there is none. */
static void settle(struct ship *s)
{
	while (s->disk < s->spec->disk_count &&
	       s->extent == s->spec->disks[s->disk].extents.count) {
		s->disk++;
		s->extent = 0;
	}
}

static void look_for_holes(struct ship *s)
{
	const struct ship_disk *disk = &s->spec->disks[s->disk];

	if (s->disk < s->spec->disk_count)
		holes_init(&s->holes, disk->fd, disk->chunk_bytes);
}

/* Takes the next piece: a buffer at most, or what a ZERO frame may hold if it is a hole. */
static bool take_piece(struct ship *s, struct slot *slot)
{
	const struct ship_disk *disk = &s->spec->disks[s->disk];
	const struct extent *x = &disk->extents.at[s->extent];
	uint64_t left = x->length - s->within, most;
	unsigned int before = s->disk;
	bool hole;

	slot->disk = s->disk;
	slot->chunk_bytes = disk->chunk_bytes;
	slot->offset = x->offset + s->within;
	left = holes_run(&s->holes, slot->offset, left, &hole);
	most = hole ? OUTBOX_MAX_ZERO_BYTES : s->options.buffer_bytes;
	slot->bytes = left < most ? left : most;
	s->within += slot->bytes;
	if (s->within == x->length) {
		s->extent++;
		s->within = 0;
		settle(s);
		if (s->disk != before)
			look_for_holes(s);
	}
	return hole;
}

static void read_rest(struct ship *s, struct slot *slot)
{
	uint32_t left = slot->bytes - slot->have;

	left = (left + READ_ALIGN - 1) & ~(READ_ALIGN - 1);
	ring_read(s->ring, slot->disk, slot->raw + slot->have, left, slot->offset + slot->have,
		  TAG_READ + (slot - s->slots));
}

/* There is one for each slot. */
static void take_buffer(struct ship *s, struct slot *slot)
{
	slot->buffer = s->free_buffers[--s->free_count];
	slot->raw = bufpool_at(&s->raw, slot->buffer);
	slot->room = s->room.base ? bufpool_at(&s->room, slot->buffer) : NULL;
}

static void give_buffer(struct ship *s, struct slot *slot)
{
	if (slot->buffer != NO_BUFFER)
		s->free_buffers[s->free_count++] = slot->buffer;
}

/* As if it had been read and found to be zero. */
static void take_hole(struct ship *s, struct slot *slot)
{
	slot->buffer = NO_BUFFER;
	slot->encoded.count = 1;
	slot->encoded.frames[0] = (struct encode_frame){ .raw_bytes = slot->bytes };
	slot->state = SLOT_READY;
	if (s->spec->read_done)
		s->spec->read_done(s->spec->arg, slot->disk, slot->offset, slot->bytes);
}

static void start_reads(struct ship *s)
{
	while (s->disk < s->spec->disk_count && s->reading < s->options.depth &&
	       s->begun - s->sent < s->slot_count) {
		struct slot *slot = slot_of(s, s->begun++);
		bool hole = take_piece(s, slot);

		slot->have = 0;
		slot->put = 0;
		if (hole) {
			take_hole(s, slot);
			continue;
		}
		slot->state = SLOT_READING;
		take_buffer(s, slot);
		s->reading++;
		read_rest(s, slot);
	}
	if (!s->reads_done && !s->reading && s->disk == s->spec->disk_count) {
		s->reads_done = true;
		if (s->spec->reads_done)
			s->spec->reads_done(s->spec->arg);
	}
}

static enum encode_mode choose_mode(struct ship *s)
{
	switch (s->options.compress) {
	case SHIP_COMPRESS_OFF:
		return ENCODE_RAW;
	case SHIP_COMPRESS_LZ4:
		return ENCODE_PACK;
	case SHIP_COMPRESS_AUTO:
		break;
	}
	switch (adapt_next(&s->adapt)) {
	case ADAPT_PACK:
		return ENCODE_SAMPLE;
	case ADAPT_PROBE:
		return ENCODE_PROBE;
	case ADAPT_RAW:
		break;
	}
	return ENCODE_RAW;
}

static void encode_job(struct workers_job *job)
{
	struct slot *slot = (struct slot *)job;

	encode_buffer(slot->raw, slot->bytes, slot->chunk_bytes, slot->mode, slot->room,
		      &slot->encoded);
}

/*
 * What is not packed is only looked through for zeros and its checksum: this thread does so while
 * it has just been read and is about to be copied, as waking another would cost more.
 */
static void encode(struct ship *s, struct slot *slot)
{
	slot->mode = choose_mode(s);
	if (slot->mode == ENCODE_RAW || slot->mode == ENCODE_PROBE) {
		encode_job(&slot->job);
		slot->state = SLOT_READY;
		adapt_packed(&s->adapt, slot->encoded.packed_bytes, slot->encoded.packed_ns);
		return;
	}
	slot->state = SLOT_ENCODING;
	workers_put(s->workers, &slot->job);
}

/*
 * Some of a slot was read. What O_DIRECT reads goes on at an aligned place only, so an
 * odd rest is read again with what follows it; if nothing follows, the disk has ended.
 */
static int go_on_reading(struct ship *s, struct slot *slot, uint32_t result, struct err *e)
{
	uint32_t have = (slot->have + result) & ~(READ_ALIGN - 1);

	if (have == slot->have)
		return err_set(e, -EIO,
			       "disk %u ends at byte %" PRIu64 ", before its size of %" PRIu64
			       ": was it made smaller?",
			       slot->disk, slot->offset + slot->have + result,
			       s->spec->disks[slot->disk].size_bytes);
	slot->have = have;
	read_rest(s, slot);
	return 0;
}

static int read_ended(struct ship *s, struct slot *slot, int result, struct err *e)
{
	if (result == -EINTR || result == -EAGAIN) {
		read_rest(s, slot);
		return 0;
	}
	if (result < 0)
		return err_sys(e, result, "reading disk %u at byte %" PRIu64 " failed", slot->disk,
			       slot->offset + slot->have);
	if (slot->have + (uint32_t)result < slot->bytes)
		return go_on_reading(s, slot, result, e);
	slot->have = slot->bytes;
	s->reading--;
	if (s->spec->read_done)
		s->spec->read_done(s->spec->arg, slot->disk, slot->offset, slot->bytes);
	encode(s, slot);
	return 0;
}

/* --- encoding in workers ---------------------------------------------------- */

static void take_encoded(struct ship *s)
{
	struct workers_job *job = workers_take(s->workers), *next;

	for (; job; job = next) {
		struct slot *slot = (struct slot *)job;

		next = job->next;
		slot->state = SLOT_READY;
		adapt_packed(&s->adapt, slot->encoded.packed_bytes, slot->encoded.packed_ns);
	}
	ring_poll(s->ring, workers_fd(s->workers), TAG_ENCODED);
}

/* --- sending ---------------------------------------------------------------- */

/*
 * After each checkpoint_bytes of a disk, and at the end of its part of the pass unless the
 * pass ends there.
 */
static void put_checkpoint(struct ship *s, const struct slot *slot)
{
	bool last = s->reads_done && s->put + 1 == s->begun;
	bool ends = s->put + 1 < s->begun && slot_of(s, s->put + 1)->disk != slot->disk;

	s->since_checkpoint += slot->bytes;
	if (!s->spec->initial || last ||
	    (s->since_checkpoint < s->options.checkpoint_bytes && !ends))
		return;
	if (!control_expect(&s->control, slot->disk, slot->offset + slot->bytes))
		return;		/* enough are unanswered: the next slot will do */
	outbox_put_checkpoint(&s->outbox, slot->disk, slot->offset + slot->bytes);
	s->since_checkpoint = 0;
}

static void fill_outbox(struct ship *s)
{
	while (s->put < s->begun && outbox_has_room(&s->outbox)) {
		struct slot *slot = slot_of(s, s->put);
		const struct encode_frame *frame;

		if (slot->state != SLOT_READY)
			return;
		if (slot->put < slot->encoded.count) {
			frame = &slot->encoded.frames[slot->put++];
			if (!frame->payload_bytes)
				atomic_fetch_add(&s->progress->zero_bytes, frame->raw_bytes);
			outbox_put(&s->outbox, slot->disk, slot->offset, frame);
			continue;
		}
		put_checkpoint(s, slot);
		s->put++;
	}
	if (s->reads_done && s->put == s->begun && outbox_has_room(&s->outbox))
		outbox_put_zero(&s->outbox);
}

/* The batch is sent: gives back the slots that went with it. */
static void release_slots(struct ship *s)
{
	for (; s->sent < s->put; s->sent++) {
		struct slot *slot = slot_of(s, s->sent);

		slot->state = SLOT_FREE;
		give_buffer(s, slot);
		atomic_fetch_add(&s->progress->done_bytes, slot->bytes);
	}
	atomic_store(&s->progress->frames, s->outbox.sequence);
	atomic_store(&s->progress->raw_bytes, s->outbox.raw_bytes);
}

static void start_send(struct ship *s)
{
	if (s->sending)
		return;
	fill_outbox(s);
	if (!s->outbox.frames) {
		release_slots(s);	/* zeros only, which are held back to grow */
		return;
	}
	s->sending = true;
	s->send_began_ns = now_ns();
	ring_sendmsg(s->ring, s->spec->sock, &s->outbox.msg, TAG_SEND);
}

/* The peer is gone, or has said why it goes: its sentence is the better one. */
static int send_failed(struct ship *s, int result, struct err *e)
{
	int r = control_receive(&s->control, e);

	return r ? r : err_sys(e, result, "sending to the replica failed");
}

static int send_ended(struct ship *s, int result, struct err *e)
{
	if (result == -EINTR || result == -EAGAIN)
		result = 0;
	if (result < 0)
		return send_failed(s, result, e);
	atomic_fetch_add(&s->progress->wire_bytes, result);
	adapt_sent(&s->adapt, result, now_ns() - s->send_began_ns);
	if (outbox_sent(&s->outbox, result)) {
		s->sending = false;
		release_slots(s);
	} else {
		s->send_began_ns = now_ns();
		ring_sendmsg(s->ring, s->spec->sock, &s->outbox.msg, TAG_SEND);
	}
	return 0;
}

/* --- the loop --------------------------------------------------------------- */

static int socket_readable(struct ship *s, struct err *e)
{
	int r = control_receive(&s->control, e);

	if (!r)
		ring_poll(s->ring, s->spec->sock, TAG_SOCKET);
	return r;
}

static int handle(struct ship *s, const struct ring_done *done, struct err *e)
{
	s->moved_ns = now_ns();
	switch (done->tag) {
	case TAG_SEND:
		return send_ended(s, done->result, e);
	case TAG_SOCKET:
		return socket_readable(s, e);
	case TAG_CANCEL:
		return err_set(e, -ECANCELED, "canceled");
	case TAG_ENCODED:
		take_encoded(s);
		return 0;
	default:
		return read_ended(s, &s->slots[done->tag - TAG_READ], done->result, e);
	}
}

static unsigned int slow_disk(const struct ship *s)
{
	for (unsigned int i = 0; i < s->slot_count; i++)
		if (s->slots[i].state == SLOT_READING)
			return s->slots[i].disk;
	return 0;
}

static int check_progress(const struct ship *s, struct err *e)
{
	int64_t still_s = (now_ns() - s->moved_ns) / 1000000000;
	bool answers = !s->sending && !s->reading;

	if (still_s < (answers ? ANSWER_TIMEOUT_S : SESSION_TIMEOUT_S))
		return 0;
	if (s->sending)
		return err_set(e, -ETIMEDOUT,
			       "the replica has not taken any data for %" PRId64 " s", still_s);
	if (s->reading)
		return err_set(e, -ETIMEDOUT, "disk %u has not answered a read for %" PRId64 " s",
			       slow_disk(s), still_s);
	return err_set(e, -ETIMEDOUT,
		       "the replica has not made a checkpoint durable for %" PRId64 " s", still_s);
}

static bool finished(const struct ship *s)
{
	return s->reads_done && s->sent == s->begun && !s->sending && !s->outbox.frames &&
	       !s->outbox.zero_bytes && control_idle(&s->control);
}

static int run(struct ship *s, struct err *e)
{
	struct ring_done done[32];
	int count, r = 0;

	s->moved_ns = now_ns();
	ring_poll(s->ring, s->spec->sock, TAG_SOCKET);
	ring_poll(s->ring, workers_fd(s->workers), TAG_ENCODED);
	if (s->spec->cancel_fd >= 0)
		ring_poll(s->ring, s->spec->cancel_fd, TAG_CANCEL);
	for (;;) {
		start_reads(s);
		start_send(s);
		start_reads(s);		/* into what the send stage gave back */
		if (finished(s))
			return 0;
		count = ring_wait(s->ring, done, 32, TICK_MS, e);
		if (count < 0)
			return count;
		for (int i = 0; i < count && !r; i++)
			r = handle(s, &done[i], e);
		if (s->spec->tick)
			s->spec->tick(s->spec->arg);
		if (!r)
			r = check_progress(s, e);
		if (r)
			return r;
	}
}

/* --- setting up ------------------------------------------------------------- */

static unsigned int within(unsigned int value, unsigned int usual, unsigned int low,
			   unsigned int high)
{
	if (!value)
		return usual;
	return value < low ? low : value > high ? high : value;
}

/* A buffer is a power of two and holds whole chunks of each disk. */
static uint32_t choose_buffer(const struct ship_spec *spec, bool memory)
{
	uint32_t usual = memory ? DEFAULT_MEMORY_BUFFER_BYTES : DEFAULT_BUFFER_BYTES;
	uint32_t want = within(spec->options.buffer_bytes, usual, MIN_BUFFER_BYTES,
			       MAX_BUFFER_BYTES);
	uint32_t bytes = MIN_BUFFER_BYTES;

	while (2 * bytes <= want)
		bytes *= 2;
	for (unsigned int i = 0; i < spec->disk_count; i++)
		if (spec->disks[i].chunk_bytes > bytes)
			bytes = spec->disks[i].chunk_bytes;
	return bytes;
}

static int check_spec(const struct ship_spec *spec, struct err *e)
{
	for (unsigned int i = 0; i < spec->disk_count; i++) {
		const struct ship_disk *disk = &spec->disks[i];

		if (disk->chunk_bytes < ENCODE_MIN_CHUNK || disk->chunk_bytes > MAX_BUFFER_BYTES ||
		    disk->chunk_bytes & (disk->chunk_bytes - 1))
			return err_set(e, -EINVAL, "disk %u has chunks of %" PRIu32 " bytes", i,
				       disk->chunk_bytes);
		for (size_t k = 0; k < disk->extents.count; k++) {
			const struct extent *x = &disk->extents.at[k];
			uint64_t end = x->offset + x->length;

			if (x->offset % disk->chunk_bytes || end > disk->size_bytes ||
			    (end % disk->chunk_bytes && end != disk->size_bytes))
				return err_set(e, -EINVAL,
					       "disk %u: the range of %" PRIu64 " bytes at %" PRIu64
					       " is not made of its chunks",
					       i, x->length, x->offset);
		}
	}
	return 0;
}

static int register_disks(struct ship *s)
{
	int files[WIRE_MAX_DISKS];

	for (unsigned int i = 0; i < s->spec->disk_count; i++)
		files[i] = s->spec->disks[i].fd;
	return ring_register(s->ring, &s->raw, files, s->spec->disk_count);
}

static int init_slots(struct ship *s)
{
	const size_t per_slot = ENCODE_MAX_FRAMES(s->options.buffer_bytes);
	int r;

	s->slots = calloc(s->slot_count, sizeof(*s->slots));
	s->frames = calloc(s->slot_count * per_slot, sizeof(*s->frames));
	s->free_buffers = calloc(s->slot_count, sizeof(*s->free_buffers));
	if (!s->slots || !s->frames || !s->free_buffers)
		return -ENOMEM;
	r = bufpool_init(&s->raw, s->slot_count, s->options.buffer_bytes);
	if (!r && s->options.compress != SHIP_COMPRESS_OFF)
		r = bufpool_init(&s->room, s->slot_count, s->options.buffer_bytes);
	if (r)
		return r;
	for (unsigned int i = 0; i < s->slot_count; i++) {
		struct slot *slot = &s->slots[i];

		slot->job.run = encode_job;
		s->free_buffers[s->free_count++] = s->slot_count - 1 - i;
		slot->encoded.frames = &s->frames[i * per_slot];
	}
	return 0;
}

/* Those that find a processor: the thread that sends needs one of its own. */
static unsigned int packers_at_once(unsigned int threads)
{
	long others = sysconf(_SC_NPROCESSORS_ONLN) - 1;

	return others < 1 ? 1 : others < (long)threads ? (unsigned int)others : threads;
}

static bool all_in_memory(const struct ship_spec *spec)
{
	unsigned int i = 0;

	while (i < spec->disk_count && ring_in_memory(spec->disks[i].fd))
		i++;
	return i == spec->disk_count;
}

static int ship_init(struct ship *s, struct err *e)
{
	const struct ship_spec *spec = s->spec;
	const bool memory = all_in_memory(spec);
	int r = check_spec(spec, e);
	uint64_t total = 0;

	if (r)
		return r;
	s->options = spec->options;
	s->options.depth = memory ? 1 : within(spec->options.depth, DEFAULT_DEPTH, 1, MAX_DEPTH);
	s->options.threads = within(spec->options.threads, DEFAULT_THREADS, 1, MAX_THREADS);
	s->options.buffer_bytes = choose_buffer(spec, memory);
	if (!s->options.checkpoint_bytes)
		s->options.checkpoint_bytes = DEFAULT_CHECKPOINT_BYTES;
	s->slot_count = 2 * s->options.depth + 2 * s->options.threads;
	adapt_init(&s->adapt, packers_at_once(s->options.threads));
	control_init(&s->control, spec->sock, spec->checkpointed, spec->arg);
	for (unsigned int i = 0; i < spec->disk_count; i++)
		total += spec->disks[i].extents.bytes;
	atomic_store(&s->progress->total_bytes, total);
	settle(s);
	look_for_holes(s);
	/* All reads, and one of each other tag. */
	r = ring_create(&s->ring, s->options.depth + 8, e);
	if (r)
		return r;
	r = init_slots(s);
	if (!r)
		r = register_disks(s);
	if (!r)
		r = workers_create(&s->workers, s->options.threads);
	return r ? err_sys(e, r, "cannot set up the pass") : 0;
}

static void ship_exit(struct ship *s)
{
	workers_destroy(s->workers);
	if (s->ring)
		ring_drain(s->ring, DRAIN_MS);
	ring_destroy(s->ring);
	bufpool_exit(&s->raw);
	bufpool_exit(&s->room);
	free(s->frames);
	free(s->free_buffers);
	free(s->slots);
}

int ship_run(const struct ship_spec *spec, struct err *e)
{
	struct ship *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return err_set(e, -ENOMEM, "out of memory");
	s->spec = spec;
	s->progress = spec->progress;
	r = ship_init(s, e);
	if (!r)
		r = run(s, e);
	ship_exit(s);
	free(s);
	return r;
}
