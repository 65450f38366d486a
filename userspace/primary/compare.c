// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "../wire/digest.h"
#include "../wire/session.h"
#include "compare.h"

/* Asked about at a time. Between two of them threads stand still for a moment. */
#define RANGE_BYTES		(1ull << 30)
#define ROUND_BYTES		(1ull << 20)
/* The replica reads 64 MiB of its disk, and what lies on top of it, for an answer. */
#define ANSWER_TIMEOUT_S	300
#define READ_ALIGN		4096u

#define MAX_RUNS	(WIRE_SEGMENT_BYTES / (WIRE_RUN_CHUNKS * 4096))
#define RUN_BYTES	(sizeof(uint32_t) + WIRE_RUN_CHUNKS * WIRE_HASH_BYTES)

/* One range under way. */
struct comparison {
	const struct compare_spec *spec;
	unsigned int disk;
	uint64_t left;			/* bytes of the range that are not answered */
	struct digest *digest;
	struct extent_list *differ;
	const struct digest_segment *asked[DIGEST_WINDOW];	/* in a circle, from @first on */
	unsigned int first, count;
	struct wire_compare secret;
	uint8_t answer[MAX_RUNS * RUN_BYTES];
};

static int read_disk(void *arg, uint64_t offset, void *buffer, uint32_t bytes)
{
	const struct comparison *c = arg;
	uint32_t room = (bytes + READ_ALIGN - 1) & ~(READ_ALIGN - 1), done = 0;
	ssize_t got;

	while (done < bytes) {
		got = pread(c->spec->disks[c->disk].fd, (uint8_t *)buffer + done, room - done,
			    offset + done);
		if (got < 0 && errno != EINTR)
			return -errno;
		if (!got)	/* made smaller */
			return -EIO;
		done += got > 0 ? got : 0;
	}
	return 0;
}

/* --- frames ----------------------------------------------------------------------- */

static int send_frame(struct comparison *c, struct wire_header *header, const void *payload,
		      struct err *e)
{
	header->disk = c->disk;
	atomic_fetch_add(&c->spec->progress->wire_bytes, WIRE_HEADER_BYTES + header->payload_bytes);
	return session_send(c->spec->sock, header, payload, e);
}

/* Sends what has been hashed since. */
static int send_hashes(struct comparison *c, struct err *e)
{
	const struct digest_segment *segment;
	int r;

	while ((r = digest_take(c->digest, &segment, e)) > 0) {
		struct wire_header header = {
			.type = WIRE_HASHES,
			.offset = segment->offset,
			.raw_bytes = segment->length,
			.payload_bytes = segment->run_count * WIRE_HASH_BYTES,
		};

		r = send_frame(c, &header, segment->runs, e);
		if (r)
			return r;
		c->asked[(c->first + c->count) % DIGEST_WINDOW] = segment;
		c->count++;
	}
	return r;
}

static int wrong_answer(struct err *e)
{
	return err_set(e, -EPROTO, "the replica's answer to a comparison makes no sense");
}

/* One run of which the replica's chunks are at @hashes. */
static int add_run(struct comparison *c, const struct digest_segment *segment, uint32_t run,
		   const uint8_t *hashes)
{
	uint32_t chunk_bytes = c->spec->disks[c->disk].chunk_bytes;
	uint64_t chunk = (uint64_t)run * WIRE_RUN_CHUNKS, end = segment->offset + segment->length;
	unsigned int count = digest_run_chunks(segment, run);
	int r = 0;

	for (unsigned int i = 0; i < count && !r; i++, chunk++) {
		uint64_t at = segment->offset + chunk * chunk_bytes;

		if (memcmp(segment->chunks[chunk], hashes + i * WIRE_HASH_BYTES, WIRE_HASH_BYTES))
			r = extent_list_append(&c->differ[c->disk], at,
					       end - at < chunk_bytes ? end - at : chunk_bytes);
	}
	return r;
}

static int take_answer(struct comparison *c, const struct wire_header *h, struct err *e)
{
	const struct digest_segment *segment = c->asked[c->first];
	uint32_t at = 0, run, next = 0, bytes;
	int r = 0;

	if (h->type != WIRE_COMPARED || h->disk != c->disk || h->offset != segment->offset ||
	    h->raw_bytes != segment->length)
		return wrong_answer(e);
	while (at < h->payload_bytes && !r) {
		memcpy(&run, c->answer + at, sizeof(run));
		if (run < next || run >= segment->run_count)
			return wrong_answer(e);
		next = run + 1;
		at += sizeof(run);
		bytes = digest_run_chunks(segment, run) * WIRE_HASH_BYTES;
		if (bytes > h->payload_bytes - at)
			return wrong_answer(e);
		r = add_run(c, segment, run, c->answer + at);
		at += bytes;
	}
	if (r)
		return err_sys(e, r, "cannot note what differs");
	c->first = (c->first + 1) % DIGEST_WINDOW;
	c->count--;
	c->left -= segment->length;
	atomic_fetch_add(&c->spec->progress->done_bytes, segment->length);
	digest_release(c->digest);
	return 0;
}

static int receive_answer(struct comparison *c, struct err *e)
{
	struct wire_header header;
	int r = session_receive(c->spec->sock, &header, c->answer, sizeof(c->answer),
				c->spec->cancel_fd, SESSION_TIMEOUT_S, e);

	if (r)
		return r;
	if (!c->count)
		return wrong_answer(e);
	atomic_fetch_add(&c->spec->progress->wire_bytes, WIRE_HEADER_BYTES + header.payload_bytes);
	return take_answer(c, &header, e);
}

/* --- a range ------------------------------------------------------------------------- */

static int wait_either(struct comparison *c, struct err *e)
{
	struct pollfd fds[3] = {
		{ .fd = c->spec->sock, .events = POLLIN },
		{ .fd = digest_fd(c->digest), .events = POLLIN },
		{ .fd = c->spec->cancel_fd, .events = POLLIN },
	};
	int r = poll(fds, 3, ANSWER_TIMEOUT_S * 1000);

	if (r < 0 && errno != EINTR)
		return err_sys(e, -errno, "waiting for the replica's hashes failed");
	if (!r)
		return err_set(e, -ETIMEDOUT, "neither this side nor the replica has read 64 MiB of a disk within %d s",
			       ANSWER_TIMEOUT_S);
	if (r > 0 && fds[2].revents)
		return err_set(e, -ECANCELED, "canceled");
	return r > 0 && fds[0].revents ? receive_answer(c, e) : 0;
}

static int compare_range(struct comparison *c, uint64_t offset, uint64_t length, struct err *e)
{
	const struct digest_spec spec = {
		.offset = offset,
		.length = length,
		.chunk_bytes = c->spec->disks[c->disk].chunk_bytes,
		.secret = c->secret.secret,
		.threads = c->spec->threads,
		.read = read_disk,
		.arg = c,
	};
	struct wire_header header = {
		.type = WIRE_COMPARE,
		.offset = offset,
		.raw_bytes = length,
		.payload_bytes = sizeof(c->secret),
	};
	int r = send_frame(c, &header, &c->secret, e);

	if (r)
		return r;
	r = digest_create(&spec, &c->digest, e);
	if (r)
		return r;
	c->left = length;
	while (!r && c->left) {
		if (c->spec->tick)
			c->spec->tick(c->spec->arg);
		r = send_hashes(c, e);
		if (!r)
			r = wait_either(c, e);
	}
	digest_destroy(c->digest);
	return r;
}

/* --- a slice --------------------------------------------------------------------------- */

/* Moves on to the next disk that has an extent left. */
static void settle(const struct compare_spec *spec, struct compare_cursor *at)
{
	while (at->disk < spec->disk_count && at->extent == spec->disks[at->disk].extents.count) {
		at->disk++;
		at->extent = 0;
	}
}

bool compare_ended(const struct compare_spec *spec, const struct compare_cursor *at)
{
	struct compare_cursor next = *at;

	settle(spec, &next);
	return next.disk == spec->disk_count;
}

/* The next extent, or a part of it. */
static int advance(struct comparison *c, struct compare_cursor *at, uint64_t limit,
		   uint64_t *compared, struct err *e)
{
	const struct extent *x = &c->spec->disks[at->disk].extents.at[at->extent];
	uint64_t offset = x->offset + at->within, length = x->length - at->within;
	int r;

	c->disk = at->disk;
	if (length > RANGE_BYTES)
		length = RANGE_BYTES;
	if (length > limit - *compared)
		length = limit - *compared;
	if (x->length < COMPARE_MIN_BYTES && !c->spec->ask_always) {
		r = extent_list_append(&c->differ[at->disk], offset, length);
		atomic_fetch_add(&c->spec->progress->done_bytes, length);
		if (r)
			return err_sys(e, r, "cannot note what differs");
	} else {
		r = compare_range(c, offset, length, e);
		if (r)
			return r;
	}
	/* Whole MiB, so that what is left of the slice is chunks of any size. */
	*compared += (length + ROUND_BYTES - 1) / ROUND_BYTES * ROUND_BYTES;
	at->within += length;
	if (at->within == x->length) {
		at->extent++;
		at->within = 0;
	}
	return 0;
}

/* @before and @at are settled. */
static bool next_disk(const struct compare_spec *spec, unsigned int before,
		      const struct compare_cursor *at)
{
	return at->disk == spec->disk_count || (spec->disk_by_disk && at->disk != before);
}

static uint64_t list_bytes(const struct compare_spec *spec, const struct extent_list *lists)
{
	uint64_t bytes = 0;

	for (unsigned int i = 0; i < spec->disk_count; i++)
		bytes += lists[i].bytes;
	return bytes;
}

int compare_slice(const struct compare_spec *spec, struct compare_cursor *at,
		  struct extent_list *differ, struct err *e)
{
	uint64_t limit = spec->slice_bytes ? spec->slice_bytes : COMPARE_SLICE_BYTES, compared = 0;
	uint64_t before = list_bytes(spec, differ);
	struct comparison *c = calloc(1, sizeof(*c));
	unsigned int first;
	int r = 0;

	if (!c)
		return err_sys(e, -ENOMEM, "cannot compare");
	c->spec = spec;
	c->differ = differ;
	if (getrandom(&c->secret, sizeof(c->secret), 0) != sizeof(c->secret))
		r = err_sys(e, -errno, "there are no random numbers for a comparison");
	settle(spec, at);
	first = at->disk;
	while (!r && !next_disk(spec, first, at) && compared < limit &&
	       list_bytes(spec, differ) - before < COMPARE_DIFFER_BYTES) {
		r = advance(c, at, limit, &compared, e);
		settle(spec, at);
	}
	free(c);
	return r;
}
