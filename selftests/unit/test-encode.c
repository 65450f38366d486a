// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a buffer becomes on its way to the socket, and when it is packed: the pure parts of
 * shipping.
 */
#include <stdlib.h>
#include <string.h>

#include "unit.h"
#include "userspace/primary/adapt.h"
#include "userspace/primary/encode.h"
#include "userspace/primary/outbox.h"
#include "userspace/wire/codec.h"

#define BYTES (256u << 10)

static uint8_t buffer[BYTES], room[BYTES], back[BYTES];
static struct encode_frame frames[ENCODE_MAX_FRAMES(BYTES)];

static struct encode_result encode(uint32_t bytes, uint32_t chunk, enum encode_mode mode)
{
	struct encode_result result = { .frames = frames };

	encode_buffer(buffer, bytes, chunk, mode, room, &result);
	return result;
}

static void noise(uint8_t *at, size_t bytes)
{
	while (bytes--)
		*at++ = random() >> 8;
}

/* The frames cover the buffer without a gap and hold its bytes. */
static void check_frames(const struct encode_result *result, uint32_t bytes)
{
	uint32_t at = 0;

	memset(back, 0xee, sizeof(back));
	for (unsigned int i = 0; i < result->count; i++) {
		const struct encode_frame *f = &result->frames[i];

		CHECK_EQ(f->at, at);
		at += f->raw_bytes;
		if (!f->payload_bytes) {
			memset(back + f->at, 0, f->raw_bytes);
			continue;
		}
		CHECK(f->xxh3 == codec_xxh3(f->payload, f->payload_bytes));
		if (f->lz4)
			CHECK(codec_unpack(back + f->at, f->raw_bytes, f->payload,
					   f->payload_bytes));
		else
			memcpy(back + f->at, f->payload, f->raw_bytes);
	}
	CHECK_EQ(at, bytes);
	CHECK(!memcmp(back, buffer, bytes));
}

TEST(runs)
{
	struct encode_result r;

	memset(buffer, 0, BYTES);
	r = encode(BYTES, 4096, ENCODE_RAW);
	CHECK_EQ(r.count, 1);
	CHECK_EQ(frames[0].payload_bytes, 0);
	buffer[3 * 4096 + 4095] = 1;
	r = encode(BYTES, 4096, ENCODE_RAW);
	CHECK_EQ(r.count, 3);
	CHECK_EQ(frames[1].at, 3 * 4096);
	CHECK_EQ(frames[1].raw_bytes, 4096);
	check_frames(&r, BYTES);
	/* The same in larger chunks: a chunk is all zero, or it is data. */
	r = encode(BYTES, 65536, ENCODE_RAW);
	CHECK_EQ(r.count, 2);
	CHECK_EQ(frames[0].raw_bytes, 65536);
	check_frames(&r, BYTES);
	/* An odd end of a disk. */
	buffer[5 * 4096] = 1;
	r = encode(5 * 4096 + 512, 4096, ENCODE_RAW);
	CHECK_EQ(frames[r.count - 1].raw_bytes, 512);
	check_frames(&r, 5 * 4096 + 512);
}

TEST(most_frames)
{
	struct encode_result r;

	memset(buffer, 0, BYTES);
	for (unsigned int i = 0; i < BYTES; i += 8192)
		buffer[i] = 1;
	r = encode(BYTES, 4096, ENCODE_PACK);
	CHECK_EQ(r.count, BYTES / 4096);
	CHECK(frames[0].lz4);
	check_frames(&r, BYTES);
}

TEST(packing)
{
	struct encode_result r;

	srandom(1);
	noise(buffer, BYTES);
	r = encode(BYTES, 4096, ENCODE_PACK);
	CHECK(!frames[0].lz4);
	CHECK_EQ(r.packed_bytes, BYTES);
	check_frames(&r, BYTES);
	/* The sample finds out with a fraction of the work. */
	r = encode(BYTES, 4096, ENCODE_SAMPLE);
	CHECK(!frames[0].lz4);
	CHECK(r.packed_bytes <= BYTES / 8);
	memset(buffer, 'x', BYTES);
	r = encode(BYTES, 4096, ENCODE_SAMPLE);
	CHECK(frames[0].lz4);
	CHECK(frames[0].payload_bytes < BYTES / 10);
	check_frames(&r, BYTES);
	r = encode(BYTES, 4096, ENCODE_RAW);
	CHECK(!frames[0].lz4);
	CHECK_EQ(r.packed_bytes, 0);
	/* What gets smaller by less than an eighth is packed only if everything is to be. */
	noise(buffer, 4096);
	memset(buffer, 'x', 300);
	r = encode(4096, 4096, ENCODE_PACK);
	CHECK(frames[0].lz4);
	r = encode(4096, 4096, ENCODE_SAMPLE);
	CHECK(!frames[0].lz4);
}

/* --- the outbox ------------------------------------------------------------- */

static struct wire_header header_at(const struct outbox *o, unsigned int i)
{
	struct wire_header h = { 0 };

	CHECK_EQ(wire_header_decode(o->headers[i], &h, NULL), 0);
	return h;
}

TEST(zeros_merge)
{
	const struct encode_frame zero = { .raw_bytes = 4096 },
				  later = { .raw_bytes = 4096, .at = 4096 };
	const struct encode_frame data = {
		.raw_bytes = 16, .payload_bytes = 16, .payload = buffer, .xxh3 = 0
	};
	static struct outbox o;

	o = (struct outbox){ 0 };
	outbox_put(&o, 0, 0, &zero);
	outbox_put(&o, 0, 0, &later);
	CHECK_EQ(o.frames, 0);
	outbox_put(&o, 0, 8192, &data);
	CHECK_EQ(o.frames, 2);
	CHECK_EQ(header_at(&o, 0).type, WIRE_ZERO);
	CHECK_EQ(header_at(&o, 0).raw_bytes, 8192);
	CHECK_EQ(header_at(&o, 1).sequence, 1);
	/* Not over a gap, and not from one disk to the next. */
	outbox_put(&o, 0, 1 << 20, &zero);
	outbox_put(&o, 0, 1 << 20, &data);
	outbox_put(&o, 0, 2 << 20, &zero);
	outbox_put(&o, 0, 3 << 20, &zero);
	outbox_put(&o, 1, (3 << 20) + 4096, &zero);
	CHECK_EQ(o.frames, 6);
	outbox_put_checkpoint(&o, 1, 4 << 20);
	CHECK_EQ(o.frames, 8);
	CHECK_EQ(header_at(&o, 7).type, WIRE_CHECKPOINT);
	CHECK_EQ(o.sequence, 7);
	CHECK_EQ(o.raw_bytes, 8192 + 16 + 4096 + 16 + 3 * 4096);
}

TEST(zeros_have_a_limit)
{
	const struct encode_frame zero = { .raw_bytes = 1 << 20 };
	static struct outbox o;

	o = (struct outbox){ 0 };
	for (uint64_t i = 0; i < 100; i++)
		outbox_put(&o, 0, i << 20, &zero);
	outbox_put_zero(&o);
	CHECK_EQ(o.frames, 2);
	CHECK_EQ(header_at(&o, 0).raw_bytes, OUTBOX_MAX_ZERO_BYTES);
	CHECK_EQ(header_at(&o, 1).raw_bytes, (100 << 20) - OUTBOX_MAX_ZERO_BYTES);
}

/* However the socket cuts it, each byte goes out once and in order. */
TEST(short_sends)
{
	const struct encode_frame data = { .raw_bytes = 1000,
					   .payload_bytes = 1000,
					   .payload = buffer };
	static uint8_t sent[2 * OUTBOX_MAX_FRAMES * 1100];
	static struct outbox o;
	size_t used = 0, step;
	bool all = false;

	o = (struct outbox){ 0 };
	srandom(2);
	noise(buffer, 1000);
	for (unsigned int i = 0; outbox_has_room(&o); i++)
		outbox_put(&o, 0, i * 4096ull, &data);
	while (!all) {
		step = random() % 1500;
		for (size_t i = 0, left = step; i < o.msg.msg_iovlen && left; i++) {
			size_t part = o.msg.msg_iov[i].iov_len < left ? o.msg.msg_iov[i].iov_len :
									left;

			memcpy(sent + used, o.msg.msg_iov[i].iov_base, part);
			used += part;
			left -= part;
			if (i + 1 == o.msg.msg_iovlen)
				step -= left;
		}
		all = outbox_sent(&o, step);
	}
	CHECK_EQ(used, (OUTBOX_MAX_FRAMES - 1) * (WIRE_HEADER_BYTES + 1000));
	for (size_t at = 0, i = 0; at < used; at += WIRE_HEADER_BYTES + 1000, i++) {
		struct wire_header h = { 0 };

		CHECK_EQ(wire_header_decode(sent + at, &h, NULL), 0);
		CHECK_EQ(h.sequence, i);
		CHECK(!memcmp(sent + at + WIRE_HEADER_BYTES, buffer, 1000));
	}
	CHECK_EQ(o.frames, 0);
}

TEST(probing)
{
	struct encode_result r;

	memset(buffer, 'x', BYTES);
	memset(buffer + BYTES / 2, 0, 8192);
	r = encode(BYTES, 4096, ENCODE_PROBE);
	CHECK_EQ(r.count, 3);
	CHECK(r.packed_bytes > 0 && r.packed_bytes <= BYTES / 8);
	for (unsigned int i = 0; i < r.count; i++)
		CHECK(!frames[i].lz4);
	check_frames(&r, BYTES);
}

/* --- when to pack ------------------------------------------------------------ */

/* A window of a link of so many bytes a second. */
static void link_window(struct adapt *a, uint64_t bytes_per_s)
{
	adapt_sent(a, ADAPT_WINDOW_BYTES, ADAPT_WINDOW_BYTES * 1000000000ull / bytes_per_s);
}

TEST(adapting)
{
	unsigned int probes = 0;
	struct adapt a;

	adapt_init(&a, 2);
	CHECK_EQ(adapt_next(&a), ADAPT_PROBE);	/* nothing is known yet */
	CHECK_EQ(adapt_next(&a), ADAPT_RAW);
	adapt_packed(&a, 400 << 20, 1000000000);	/* 400 MiB/s in each of 2 threads */
	link_window(&a, 100 << 20);
	CHECK_EQ(adapt_next(&a), ADAPT_PACK);
	adapt_packed(&a, 400 << 20, 1000000000);
	link_window(&a, 2000ull << 20);
	CHECK(!a.on);
	for (unsigned int i = 0; i < 10 * ADAPT_PROBE_EVERY; i++) {
		CHECK(adapt_next(&a) != ADAPT_PACK);
		probes += !a.skipped;
	}
	CHECK_EQ(probes, 10);
	/* Nearly as fast is not enough to begin again; much slower is. */
	link_window(&a, 750ull << 20);
	CHECK(!a.on);
	link_window(&a, 300ull << 20);
	CHECK(a.on);
	/* A little is not a window. */
	adapt_sent(&a, 1000, 1);
	CHECK(a.on);
}

UNIT_MAIN(T(runs), T(most_frames), T(packing), T(zeros_merge), T(zeros_have_a_limit),
	  T(short_sends), T(probing), T(adapting))
