// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Streams that were damaged behind the checksums' back: fields and payloads are changed
 * and the checksums made right again, frames left out, doubled, swapped, cut. Repeatable:
 * argument-free, seeded, ended by a number of rounds or by time. Whatever comes, nothing may
 * crash, hang, or be shown unless the pass was accepted as a whole.
 */
#include <sys/socket.h>

#include "ship-rig.h"
#include "userspace/wire/codec.h"

#define SECONDS		2.0
#define DISK_BYTES	(256u << 10)
#define MAX_FRAMES	32

static uint64_t seed = 20240229;

static uint64_t below(uint64_t limit)
{
	return rig_random(&seed) % limit;
}

/* Values at which bounds go wrong. */
static uint64_t odd_value(void)
{
	static const uint64_t values[] = {
		0,
		1,
		63,
		64,
		511,
		512,
		4095,
		4096,
		4097,
		65536,
		DISK_BYTES - 4096,
		DISK_BYTES,
		DISK_BYTES + 4096,
		1 << 20,
		(1 << 20) + 1,
		INT32_MAX,
		UINT32_MAX,
		INT64_MAX,
		UINT64_MAX - 4095,
		UINT64_MAX,
	};

	return below(4) ? values[below(sizeof(values) / sizeof(values[0]))] : rig_random(&seed);
}

struct frame {
	struct wire_header header;
	uint8_t payload[8192];
	bool wrong_sum;
};

static void change_field(struct wire_header *h)
{
	switch (below(8)) {
	case 0: h->type = below(WIRE_TYPES + 3); break;
	case 1: h->flags ^= 1 << below(16); break;
	case 2: h->disk = below(2) ? below(4) : odd_value(); break;
	case 3: h->offset = odd_value(); break;
	case 4: h->raw_bytes = odd_value(); break;
	case 5: h->sequence = odd_value(); break;
	case 6: h->payload_bytes = odd_value() % 8193; break;
	case 7: h->type = WIRE_ZERO + below(5); break;
	}
}

static void change_payload(struct frame *f)
{
	if (!f->header.payload_bytes)
		return;
	if (below(2) && f->header.payload_bytes >= 8)
		((uint64_t *)f->payload)[below(f->header.payload_bytes / 8)] = odd_value();
	else
		f->payload[below(f->header.payload_bytes)] ^= 1 << below(8);
}

/* --- headers and OPEN --------------------------------------------------------- */

TEST(headers)
{
	double until = rig_now() + SECONDS / 4;
	uint8_t bytes[WIRE_HEADER_BYTES];
	unsigned int good = 0, rounds = 0;
	struct wire_header h, out;

	for (; rig_now() < until; rounds++) {
		h = (struct wire_header){ .type = 1 + below(WIRE_TYPES - 1) };
		for (unsigned int n = below(4); n; n--)
			change_field(&h);
		h.payload_xxh3 = below(2);
		wire_header_seal(&h, bytes);
		if (below(8) == 0)
			bytes[below(64)] ^= 1 << below(8);
		if (wire_header_decode(bytes, &out, NULL))
			continue;
		good++;
		CHECK(out.type >= WIRE_HELLO && out.type < WIRE_TYPES);
		CHECK(out.payload_bytes <= WIRE_MAX_PAYLOAD);
		CHECK(out.offset + out.raw_bytes >= out.offset);
		CHECK(out.type == WIRE_ZERO || out.type == WIRE_COMPARE ||
		      out.raw_bytes <=
			      (out.type == WIRE_DATA ? WIRE_MAX_PAYLOAD : WIRE_SEGMENT_BYTES));
		CHECK(out.disk < WIRE_MAX_DISKS);
	}
	printf("# %u headers, %u of them good\n", rounds, good);
	CHECK(good > 100);
}

TEST(opens)
{
	static uint8_t payload[sizeof(struct wire_open) + 3 * sizeof(struct wire_open_disk)];
	struct wire_open *head = (struct wire_open *)payload;
	struct wire_open_disk *disks = (struct wire_open_disk *)(head + 1);
	double until = rig_now() + SECONDS / 4;
	unsigned int good = 0, rounds = 0;
	static struct session_open open;

	for (; rig_now() < until; rounds++) {
		struct wire_header h = { .type = WIRE_OPEN, .payload_bytes = sizeof(payload) };

		memset(payload, 0, sizeof(payload));
		strcpy(head->vm, "vm");
		head->disk_count = 3;
		for (unsigned int i = 0; i < 3; i++) {
			snprintf(disks[i].name, sizeof(disks[i].name), "disk%u", i);
			disks[i].size_bytes = DISK_BYTES;
			disks[i].chunk_bytes = 4096;
		}
		for (unsigned int n = below(3); n; n--)
			((uint64_t *)payload)[below(sizeof(payload) / 8)] = odd_value();
		if (below(4) == 0)
			memset(disks[below(3)].name, 'x', WIRE_NAME_BYTES);
		if (session_open_decode(&h, payload, &open, NULL))
			continue;
		good++;
		CHECK(open.disk_count == 3 && strlen(open.vm) < WIRE_NAME_BYTES);
		for (unsigned int i = 0; i < 3; i++)
			CHECK(strlen(open.disks[i].name) < WIRE_NAME_BYTES &&
			      open.disks[i].chunk_bytes <= 1 << 20);
	}
	printf("# %u OPENs, %u of them good\n", rounds, good);
	CHECK(good > 100);
}

/* --- streams ------------------------------------------------------------------- */

/*
 * A good pass: data, packed data and zeros of a disk of 64 chunks; initial ones with a
 * checkpoint.
 */
static unsigned int make_pass(struct frame *frames, uint64_t pass, bool initial)
{
	struct wire_pass_end end = {
		.pass = pass, .cut_time_us = pass, .whole = 1, .consistency = 1
	};
	unsigned int count = 4 + below(12);
	uint8_t raw[4096];

	memset(frames, 0, MAX_FRAMES * sizeof(*frames));
	for (unsigned int i = 0; i < count; i++) {
		struct wire_header *h = &frames[i].header;

		*h = (struct wire_header){
			.type = WIRE_DATA, .offset = i * 12288ull, .raw_bytes = 4096, .sequence = i
		};
		memset(raw, i, sizeof(raw));
		if (i % 3 == 0) {
			h->type = WIRE_ZERO;
			h->raw_bytes = 8192;
		} else if (i % 3 == 1) {
			h->flags = WIRE_F_LZ4;
			h->payload_bytes = codec_pack(frames[i].payload, 4095, raw, sizeof(raw));
		} else {
			h->payload_bytes = 4096;
			memcpy(frames[i].payload, raw, sizeof(raw));
		}
		end.frames++;
		end.raw_bytes += h->raw_bytes;
	}
	if (initial)
		frames[count++].header =
			(struct wire_header){ .type = WIRE_CHECKPOINT, .offset = 65536 };
	frames[count].header = (struct wire_header){ .type = WIRE_PASS_END,
						     .payload_bytes = sizeof(end),
						     .sequence = pass };
	memcpy(frames[count].payload, &end, sizeof(end));
	return count + 1;
}

static void damage(struct frame *frames, unsigned int *count)
{
	unsigned int i = below(*count), j = below(*count);
	struct frame kept;

	switch (below(7)) {
	case 0:
	case 1:
		change_field(&frames[i].header);
		break;
	case 2:
		change_payload(&frames[i]);
		break;
	case 3:
		frames[i].wrong_sum = true;
		break;
	case 4:		/* left out */
		memmove(&frames[i], &frames[i + 1], (*count - i - 1) * sizeof(*frames));
		--*count;
		break;
	case 5:		/* doubled */
		if (*count < MAX_FRAMES) {
			memmove(&frames[i + 1], &frames[i], (*count - i) * sizeof(*frames));
			++*count;
		}
		break;
	case 6:
		kept = frames[i];
		frames[i] = frames[j];
		frames[j] = kept;
		break;
	}
}

static size_t flatten(struct frame *frames, unsigned int count, uint8_t *out)
{
	size_t used = 0;

	for (unsigned int i = 0; i < count; i++) {
		struct wire_header *h = &frames[i].header;

		wire_header_encode(h, frames[i].payload, out + used);
		memcpy(out + used + WIRE_HEADER_BYTES, frames[i].payload, h->payload_bytes);
		if (frames[i].wrong_sum)
			out[used + below(WIRE_HEADER_BYTES + h->payload_bytes)] ^= 1 << below(8);
		used += WIRE_HEADER_BYTES + h->payload_bytes;
	}
	return used;
}

static int feed(struct rig *rig, const struct wire_pass_begin *begin, const uint8_t *stream,
		size_t bytes, struct err *e)
{
	struct receive_progress progress = { 0 };
	int socks[2], room = 1 << 20, r;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, socks) ||
	    setsockopt(socks[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room)))
		rig_fail("socketpair");
	/* In pieces of any size: also within headers. */
	for (size_t at = 0, step; at < bytes; at += step) {
		step = 1 + below(bytes - at);
		if (send(socks[0], stream + at, step, 0) != (ssize_t)step)
			rig_fail("send");
	}
	shutdown(socks[0], SHUT_WR);
	r = receive_pass(socks[1], rig->store, begin, NULL, &progress, -1, e);
	close(socks[0]);
	close(socks[1]);
	return r;
}

TEST(streams)
{
	static struct frame frames[MAX_FRAMES];
	static uint8_t stream[MAX_FRAMES * (WIRE_HEADER_BYTES + 8192)];
	double until = rig_now() + SECONDS;
	unsigned int rounds = 0, accepted = 0;
	struct rig rig;

	rig_init(&rig);
	rig_add_disk(&rig, DISK_BYTES, 4096, 1);
	if (!access("/dev/shm", W_OK))		/* syncs cost nothing there */
		snprintf(rig.root, sizeof(rig.root), "/dev/shm/vmreplica-fuzz-%d", getpid());
	rig_create_store(&rig);
	/* On a machine that is slow for longer: the first that is good ends the initial pass. */
	for (; rig_now() < until || (!accepted && rounds < 5000); rounds++) {
		bool initial = store_initial(rig.store) != STORE_INITIAL_COMPLETE;
		struct wire_pass_begin begin = { .pass = store_last_pass(rig.store) + 1 };
		uint64_t before = begin.pass - 1;
		struct err e = { 0 };
		unsigned int count;
		size_t bytes;
		int r;

		begin.kind = initial ? WIRE_PASS_INITIAL : WIRE_PASS_DELTA;
		count = make_pass(frames, begin.pass, initial);
		/* The first rounds keep to the initial pass; later some are good. */
		for (unsigned int n = (rounds < 100) + below(3); n && count; n--)
			damage(frames, &count);
		bytes = flatten(frames, count, stream);
		if (below(8) == 0 && bytes)
			bytes = below(bytes);
		r = feed(&rig, &begin, stream, bytes, &e);
		CHECK(r <= 0 && !r == !e.text[0]);
		CHECK_EQ(store_last_pass(rig.store), r ? before : begin.pass);
		accepted += !r;
		store_set_history(rig.store, 3, 0);
		CHECK_EQ(store_maintain(rig.store, -1, -1, &e), 0);
	}
	printf("# %u streams, %u of them accepted\n", rounds, accepted);
	CHECK(accepted > 0 && accepted < rounds);
	if (strncmp(rig.root, rig.dir, strlen(rig.dir)))
		rig_remove(rig.root);
	rig_exit(&rig);
}

UNIT_MAIN(T(headers), T(opens), T(streams))
