// SPDX-License-Identifier: GPL-2.0-or-later
/* Frames that share a batch on the replica: where they lie, and what decoding makes of them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "unit.h"
#include "userspace/replica/batch.h"
#include "userspace/wire/codec.h"

#define CHUNK 65536u

static _Alignas(4096) uint8_t in[BATCH_BYTES], out[BATCH_BYTES];
static struct batch batch = { .in = in, .out = out };

/* Adds a frame of @raw_bytes bytes of @fill. */
static struct batch_frame *add(uint32_t raw_bytes, uint8_t fill, bool lz4)
{
	struct wire_header h = { .type = WIRE_DATA,
				 .raw_bytes = raw_bytes,
				 .payload_bytes = raw_bytes };
	static uint8_t raw[BATCH_BYTES], packed[BATCH_BYTES];
	struct batch_frame *frame;

	memset(raw, fill, raw_bytes);
	if (lz4) {
		h.flags = WIRE_F_LZ4;
		h.payload_bytes = codec_pack(packed, raw_bytes - 1, raw, raw_bytes);
	}
	h.payload_xxh3 = codec_xxh3(lz4 ? packed : raw, h.payload_bytes);
	CHECK(batch_has_room(&batch, &h, CHUNK));
	frame = batch_add(&batch, &h, CHUNK);
	memcpy(frame->payload, lz4 ? packed : raw, h.payload_bytes);
	return frame;
}

static bool filled(const uint8_t *at, uint8_t fill, size_t bytes)
{
	return at[0] == fill && !memcmp(at, at + 1, bytes - 1);
}

/* Each frame is aligned for O_DIRECT, apart from the others, and ends in zeros up to its chunk. */
TEST(frames_side_by_side)
{
	const uint32_t bytes[] = { CHUNK, 4096, 512, 2 * CHUNK, CHUNK + 512, 1536 };
	const unsigned int count = sizeof(bytes) / sizeof(bytes[0]);

	batch_reset(&batch);
	memset(in, 0xee, sizeof(in));		/* what an earlier frame has left */
	memset(out, 0xee, sizeof(out));
	for (unsigned int i = 0; i < count; i++)
		add(bytes[i], i + 1, i % 2);
	CHECK_EQ(batch_decode(&batch, NULL), 0);
	CHECK_EQ(batch.count, count);
	for (unsigned int i = 0; i < count; i++) {
		const struct batch_frame *f = &batch.frames[i];

		CHECK_EQ((uintptr_t)f->raw % 4096, 0);
		CHECK_EQ(f->room_bytes, (bytes[i] + CHUNK - 1) / CHUNK * CHUNK);
		CHECK(filled(f->raw, i + 1, bytes[i]));
		if (f->room_bytes > bytes[i])
			CHECK(filled(f->raw + bytes[i], 0, f->room_bytes - bytes[i]));
	}
}

TEST(room)
{
	struct wire_header h = { .type = WIRE_DATA,
				 .raw_bytes = BATCH_BYTES,
				 .payload_bytes = BATCH_BYTES };
	const struct wire_header zero = { .type = WIRE_ZERO, .raw_bytes = 1ull << 40 };
	struct batch_frame *frame;

	batch_reset(&batch);
	CHECK(batch_has_room(&batch, &h, 1 << 20));
	frame = batch_add(&batch, &h, 1 << 20);
	CHECK(frame->payload + frame->room_bytes <= in + BATCH_BYTES);
	h.payload_bytes = h.raw_bytes = 512;
	CHECK(!batch_has_room(&batch, &h, 4096));
	CHECK(batch_has_room(&batch, &zero, 4096));
	/* Packed frames can fill the room for what they unpack to. */
	batch_reset(&batch);
	h = (struct wire_header){
		.type = WIRE_DATA, .flags = WIRE_F_LZ4, .raw_bytes = 512 << 10, .payload_bytes = 4
	};
	batch_add(&batch, &h, 4096);
	CHECK(batch_has_room(&batch, &h, 4096));
	batch_add(&batch, &h, 4096);
	CHECK(!batch_has_room(&batch, &h, 4096));
	/* So many frames and no more. */
	batch_reset(&batch);
	while (batch_has_room(&batch, &zero, 4096))
		batch_add(&batch, &zero, 4096);
	CHECK_EQ(batch.count, BATCH_MAX_FRAMES);
	CHECK(batch_enough(&batch, false));
	CHECK_EQ(batch_decode(&batch, NULL), 0);
}

TEST(damage)
{
	struct batch_frame *frame;
	struct err e = { 0 };

	batch_reset(&batch);
	add(4096, 1, false);
	add(4096, 2, false)->payload[4095] ^= 1;
	CHECK_EQ(batch_decode(&batch, &e), -EBADMSG);
	CHECK(strstr(e.text, "checksum"));
	batch_reset(&batch);
	frame = add(4096, 1, true);
	frame->header.raw_bytes = 8192;		/* whole, but it unpacks to half of it */
	CHECK_EQ(batch_decode(&batch, &e), -EBADMSG);
	CHECK(strstr(e.text, "unpack"));
}

UNIT_MAIN(T(frames_side_by_side), T(room), T(damage))
