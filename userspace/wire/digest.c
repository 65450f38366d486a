// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "codec.h"
#include "digest.h"

#define PIECE_BYTES	(1u << 20)	/* one read: whole chunks, whatever their size */
#define MIN_THREADS	4		/* reads in flight, where processors are few */
#define ALIGN		4096

struct slot {
	struct digest_segment segment;
	unsigned int pieces;		/* yet to be hashed; 0: done */
	int result;
};

struct digest {
	struct digest_spec spec;
	uint8_t secret[WIRE_SECRET_BYTES];
	uint64_t segments;		/* in the range */
	struct slot slots[DIGEST_WINDOW];	/* segment n is in slot n % DIGEST_WINDOW */
	int fd;				/* eventfd */
	pthread_mutex_t lock;		/* guards all below, and the slots */
	pthread_cond_t wake;		/* a place for a segment is free, or @ending */
	bool ending;
	uint64_t begun;			/* segments of which a piece was begun */
	uint64_t position;		/* of the next piece, in the range */
	uint64_t taken, released;	/* segments */
	unsigned int thread_count;
	pthread_t threads[DIGEST_MAX_THREADS];
};

static uint64_t smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t parts(uint64_t whole, uint64_t part)
{
	return whole / part + !!(whole % part);
}

unsigned int digest_run_chunks(const struct digest_segment *segment, unsigned int run)
{
	return smaller(WIRE_RUN_CHUNKS, segment->chunk_count - run * WIRE_RUN_CHUNKS);
}

/* --- the threads --------------------------------------------------------------- */

struct piece {
	struct slot *slot;
	uint64_t offset;		/* of the disk */
	uint32_t bytes;
};

static void __begin_segment(struct digest *d, struct slot *slot)
{
	struct digest_segment *s = &slot->segment;

	s->offset = d->spec.offset + d->position;
	s->length = smaller(WIRE_SEGMENT_BYTES, d->spec.length - d->position);
	s->chunk_count = parts(s->length, d->spec.chunk_bytes);
	s->run_count = parts(s->chunk_count, WIRE_RUN_CHUNKS);
	slot->pieces = parts(s->length, PIECE_BYTES);
	slot->result = 0;
	d->begun++;
}

/* False: all was begun, or it is ending. Caller holds the lock. */
static bool __next_piece(struct digest *d, struct piece *piece)
{
	uint64_t number = d->position / WIRE_SEGMENT_BYTES;

	while (!d->ending && d->position < d->spec.length &&
	       number >= d->released + DIGEST_WINDOW) {
		pthread_cond_wait(&d->wake, &d->lock);
		number = d->position / WIRE_SEGMENT_BYTES;
	}
	if (d->ending || d->position == d->spec.length)
		return false;
	piece->slot = &d->slots[number % DIGEST_WINDOW];
	if (number == d->begun)
		__begin_segment(d, piece->slot);
	piece->offset = d->spec.offset + d->position;
	piece->bytes = smaller(PIECE_BYTES, d->spec.length - d->position);
	d->position += piece->bytes;
	return true;
}

static int hash_piece(const struct digest *d, const struct piece *piece, uint8_t *buffer)
{
	struct digest_segment *s = &piece->slot->segment;
	uint32_t chunk_bytes = d->spec.chunk_bytes, at, bytes;
	uint64_t chunk = (piece->offset - s->offset) / chunk_bytes;
	int r = d->spec.read(d->spec.arg, piece->offset, buffer, piece->bytes);

	for (at = 0; !r && at < piece->bytes; at += bytes) {
		bytes = smaller(chunk_bytes, piece->bytes - at);
		codec_hash(d->secret, buffer + at, bytes, s->chunks[chunk++]);
	}
	return r;
}

static void hash_runs(const struct digest *d, struct digest_segment *s)
{
	for (unsigned int run = 0; run < s->run_count; run++)
		codec_hash(d->secret, s->chunks[run * WIRE_RUN_CHUNKS],
			   digest_run_chunks(s, run) * WIRE_HASH_BYTES, s->runs[run]);
}

/* Full: it is readable, which is all that it is for. */
static void poke(const struct digest *d)
{
	const uint64_t one = 1;

	if (write(d->fd, &one, sizeof(one)) < 0)
		return;
}

static void *serve(void *arg)
{
	struct digest *d = arg;
	uint8_t *buffer = aligned_alloc(ALIGN, PIECE_BYTES);
	struct piece piece;
	int r;

	pthread_mutex_lock(&d->lock);
	while (__next_piece(d, &piece)) {
		pthread_mutex_unlock(&d->lock);
		r = buffer ? hash_piece(d, &piece, buffer) : -ENOMEM;
		pthread_mutex_lock(&d->lock);
		if (r)
			piece.slot->result = r;
		if (piece.slot->pieces == 1)	/* the last: nobody else is at the segment */
			hash_runs(d, &piece.slot->segment);
		piece.slot->pieces--;
		if (!piece.slot->pieces)
			poke(d);
	}
	pthread_mutex_unlock(&d->lock);
	free(buffer);
	return NULL;
}

/* --- the owner ------------------------------------------------------------------ */

int digest_fd(const struct digest *digest)
{
	return digest->fd;
}

int digest_take(struct digest *d, const struct digest_segment **segment, struct err *e)
{
	struct slot *slot;
	uint64_t count;
	int r = 0;

	pthread_mutex_lock(&d->lock);
	if (read(d->fd, &count, sizeof(count)) < 0)
		count = 0;	/* not poked since: look all the same */
	slot = &d->slots[d->taken % DIGEST_WINDOW];
	if (d->taken < d->begun && !slot->pieces)
		r = slot->result ? slot->result : 1;
	if (r > 0) {
		*segment = &slot->segment;
		d->taken++;
	}
	/* What came while the owner was at another one would not poke again. */
	if (r > 0 && d->taken < d->begun && !d->slots[d->taken % DIGEST_WINDOW].pieces)
		poke(d);
	pthread_mutex_unlock(&d->lock);
	if (r < 0)
		return err_sys(e, r, "reading what is to be compared, at byte %" PRIu64 " and on, failed",
			       slot->segment.offset);
	return r;
}

int digest_next(struct digest *d, int cancel_fd, const struct digest_segment **segment,
		struct err *e)
{
	struct pollfd fds[2] = { { .fd = d->fd, .events = POLLIN },
				 { .fd = cancel_fd, .events = POLLIN } };
	int r = digest_take(d, segment, e);

	while (!r && d->taken < d->segments) {
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			return err_sys(e, -errno, "waiting for hashes failed");
		if (fds[1].revents)
			return err_set(e, -ECANCELED, "canceled");
		r = digest_take(d, segment, e);
	}
	return r;
}

void digest_release(struct digest *d)
{
	pthread_mutex_lock(&d->lock);
	d->released++;
	pthread_cond_broadcast(&d->wake);
	pthread_mutex_unlock(&d->lock);
}

static int init_slots(struct digest *d)
{
	uint64_t chunks = parts(WIRE_SEGMENT_BYTES, d->spec.chunk_bytes);
	unsigned int i;

	for (i = 0; i < DIGEST_WINDOW && i < d->segments; i++) {
		struct digest_segment *s = &d->slots[i].segment;

		s->chunks = calloc(chunks, WIRE_HASH_BYTES);
		s->runs = calloc(parts(chunks, WIRE_RUN_CHUNKS), WIRE_HASH_BYTES);
		if (!s->chunks || !s->runs)
			return -ENOMEM;
	}
	return 0;
}

static unsigned int choose_threads(const struct digest *d)
{
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	uint64_t threads = processors > MIN_THREADS ? processors : MIN_THREADS;

	if (d->spec.threads)
		threads = d->spec.threads;
	threads = smaller(threads, DIGEST_MAX_THREADS);
	return smaller(threads, parts(d->spec.length, PIECE_BYTES));
}

int digest_create(const struct digest_spec *spec, struct digest **out, struct err *e)
{
	struct digest *d = calloc(1, sizeof(*d));
	unsigned int threads;
	int r;

	if (!d)
		return err_sys(e, -ENOMEM, "cannot compare");
	d->spec = *spec;
	memcpy(d->secret, spec->secret, sizeof(d->secret));
	d->segments = parts(spec->length, WIRE_SEGMENT_BYTES);
	pthread_mutex_init(&d->lock, NULL);
	pthread_cond_init(&d->wake, NULL);
	d->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = d->fd < 0 ? -errno : init_slots(d);
	threads = choose_threads(d);
	while (!r && d->thread_count < threads) {
		r = -pthread_create(&d->threads[d->thread_count], NULL, serve, d);
		d->thread_count += !r;
	}
	if (r) {
		digest_destroy(d);
		return err_sys(e, r, "cannot compare");
	}
	*out = d;
	return 0;
}

void digest_destroy(struct digest *d)
{
	unsigned int i;

	if (!d)
		return;
	pthread_mutex_lock(&d->lock);
	d->ending = true;
	pthread_cond_broadcast(&d->wake);
	pthread_mutex_unlock(&d->lock);
	for (i = 0; i < d->thread_count; i++)
		pthread_join(d->threads[i], NULL);
	for (i = 0; i < DIGEST_WINDOW; i++) {
		free(d->slots[i].segment.chunks);
		free(d->slots[i].segment.runs);
	}
	if (d->fd >= 0)
		close(d->fd);
	pthread_cond_destroy(&d->wake);
	pthread_mutex_destroy(&d->lock);
	free(d);
}
