// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "../wire/digest.h"
#include "../wire/session.h"
#include "compare.h"

/* The primary reads 64 MiB of its disk for a frame. */
#define HASHES_TIMEOUT_S 300

#define MAX_RUNS	(WIRE_SEGMENT_BYTES / (WIRE_RUN_CHUNKS * STORE_MIN_CHUNK_BYTES))
#define RUN_BYTES	(sizeof(uint32_t) + WIRE_RUN_CHUNKS * WIRE_HASH_BYTES)

struct comparison {
	int sock, stop_fd;
	unsigned int disk;
	struct store_view *view;
	struct digest *digest;
	uint8_t theirs[MAX_RUNS][WIRE_HASH_BYTES];
	uint8_t answer[MAX_RUNS * RUN_BYTES];
};

static int read_view(void *arg, uint64_t offset, void *buffer, uint32_t bytes)
{
	const struct comparison *c = arg;

	return store_view_read(c->view, c->disk, offset, buffer, bytes);
}

static int check_range(const struct store *store, const struct wire_header *h, struct err *e)
{
	const struct store_spec *spec = store_spec(store);
	uint64_t size, chunk;

	if (h->disk < spec->disk_count) {
		size = spec->disks[h->disk].size_bytes;
		chunk = spec->disks[h->disk].chunk_bytes;
		if (h->raw_bytes && h->offset % chunk == 0 && h->offset < size &&
		    h->raw_bytes <= size - h->offset &&
		    (h->raw_bytes % chunk == 0 || h->offset + h->raw_bytes == size))
			return 0;
	}
	return err_set(e, -EPROTO,
		       "the primary cannot compare %" PRIu64 " bytes at %" PRIu64 " of disk %" PRIu32,
		       h->raw_bytes, h->offset, h->disk);
}

static int receive_hashes(struct comparison *c, const struct digest_segment *segment, struct err *e)
{
	struct wire_header h;
	int r = session_receive(c->sock, &h, c->theirs, sizeof(c->theirs), c->stop_fd,
				HASHES_TIMEOUT_S, e);

	if (r)
		return r == -ENOTCONN ? -ECONNRESET : r;
	if (h.type != WIRE_HASHES || h.disk != c->disk || h.offset != segment->offset ||
	    h.raw_bytes != segment->length ||
	    h.payload_bytes != segment->run_count * WIRE_HASH_BYTES)
		return err_set(e, -EPROTO,
			       "the primary sent %s where the hashes of %" PRIu64 " bytes at %" PRIu64
			       " were due",
			       wire_type_name(h.type), segment->length, segment->offset);
	return 0;
}

/* Fills in the answer; returns its length. */
static uint32_t compare_runs(struct comparison *c, const struct digest_segment *segment)
{
	uint8_t *at = c->answer;

	for (uint32_t run = 0; run < segment->run_count; run++) {
		unsigned int bytes = digest_run_chunks(segment, run) * WIRE_HASH_BYTES;

		if (!memcmp(segment->runs[run], c->theirs[run], WIRE_HASH_BYTES))
			continue;
		memcpy(at, &run, sizeof(run));
		memcpy(at + sizeof(run), segment->chunks[run * WIRE_RUN_CHUNKS], bytes);
		at += sizeof(run) + bytes;
	}
	return at - c->answer;
}

static int compare_segment(struct comparison *c, struct err *e)
{
	const struct digest_segment *segment;
	int r = digest_next(c->digest, c->stop_fd, &segment, e);
	struct wire_header answer = { .type = WIRE_COMPARED, .disk = c->disk };

	if (r <= 0)
		return r;
	r = receive_hashes(c, segment, e);
	if (r)
		return r;
	answer.offset = segment->offset;
	answer.raw_bytes = segment->length;
	answer.payload_bytes = compare_runs(c, segment);
	digest_release(c->digest);
	r = session_send(c->sock, &answer, c->answer, e);
	return r ? r : 1;
}

static int run(struct comparison *c, const struct store *store, const struct wire_header *header,
	       const struct wire_compare *compare, struct err *e)
{
	const struct digest_spec spec = {
		.offset = header->offset,
		.length = header->raw_bytes,
		.chunk_bytes = store_spec(store)->disks[header->disk].chunk_bytes,
		.secret = compare->secret,
		.read = read_view,
		.arg = c,
	};
	int r = digest_create(&spec, &c->digest, e);

	if (r)
		return r;
	do
		r = compare_segment(c, e);
	while (r > 0);
	digest_destroy(c->digest);
	return r;
}

int compare_serve(int sock, struct store *store, const struct wire_header *header,
		  const struct wire_compare *compare, int stop_fd, struct err *e)
{
	struct comparison *c = calloc(1, sizeof(*c));
	int r = c ? check_range(store, header, e) : err_set(e, -ENOMEM, "the replica is out of memory");

	if (!r && store_initial(store) == STORE_INITIAL_AWAITED)
		r = err_set(e, -EINVAL, "the replica has nothing to compare with until the medium is imported there");
	if (!r)
		r = store_adopt_seeds(store, e);
	if (!r)
		r = store_view_open(store, &c->view, e);
	if (!r) {
		c->sock = sock;
		c->stop_fd = stop_fd;
		c->disk = header->disk;
		r = run(c, store, header, compare, e);
		store_view_close(c->view);
	}
	free(c);
	return r;
}
