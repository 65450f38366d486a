// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "../wire/codec.h"
#include "batch.h"

#define ALIGN 4096u

/* What a frame takes of the two buffers. */
struct need {
	uint32_t room_bytes;	/* whole chunks */
	uint32_t in, out;
};

static uint32_t align(uint32_t bytes)
{
	return (bytes + ALIGN - 1) & ~(ALIGN - 1);
}

static struct need need_of(const struct wire_header *header, uint32_t chunk_bytes)
{
	struct need need = { 0 };

	if (header->type != WIRE_DATA)
		return need;
	need.room_bytes = ((uint32_t)header->raw_bytes + chunk_bytes - 1) & ~(chunk_bytes - 1);
	if (header->flags & WIRE_F_LZ4) {
		need.in = align(header->payload_bytes);
		need.out = need.room_bytes;
	} else {
		need.in = need.room_bytes;
	}
	return need;
}

void batch_reset(struct batch *b)
{
	b->count = 0;
	b->in_used = 0;
	b->out_used = 0;
}

bool batch_has_room(const struct batch *b, const struct wire_header *header, uint32_t chunk_bytes)
{
	struct need need = need_of(header, chunk_bytes);

	return b->count < BATCH_MAX_FRAMES && b->in_used + need.in <= BATCH_BYTES &&
	       b->out_used + need.out <= BATCH_BYTES;
}

struct batch_frame *batch_add(struct batch *b, const struct wire_header *header,
			      uint32_t chunk_bytes)
{
	struct batch_frame *frame = &b->frames[b->count++];
	struct need need = need_of(header, chunk_bytes);

	frame->header = *header;
	frame->room_bytes = need.room_bytes;
	frame->payload = b->in + b->in_used;
	frame->raw = need.out ? b->out + b->out_used : frame->payload;
	b->in_used += need.in;
	b->out_used += need.out;
	return frame;
}

int batch_decode(struct batch *b, struct err *e)
{
	int r;

	for (unsigned int i = 0; i < b->count; i++) {
		struct batch_frame *frame = &b->frames[i];
		const struct wire_header *h = &frame->header;

		if (h->type != WIRE_DATA)
			continue;
		r = wire_payload_check(h, frame->payload, e);
		if (r)
			return r;
		if (h->flags & WIRE_F_LZ4 &&
		    !codec_unpack(frame->raw, h->raw_bytes, frame->payload, h->payload_bytes))
			return err_set(e, -EBADMSG,
				       "a DATA frame (disk %" PRIu32 ", offset %" PRIu64
				       ") does not unpack to %" PRIu64 " bytes",
				       h->disk, h->offset, h->raw_bytes);
		memset(frame->raw + h->raw_bytes, 0, frame->room_bytes - h->raw_bytes);
	}
	return 0;
}
