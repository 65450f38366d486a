// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The wire format as bytes. The files in selftests/unit/frames hold one frame each, in
 * hexadecimal: if one has to be changed, the format has changed, and old peers will not
 * understand it. Run from the root of the repository.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "unit.h"
#include "userspace/wire/codec.h"
#include "userspace/wire/session.h"

#define FRAMES "selftests/unit/frames/"
#define DOCUMENT "Documentation/wire-format.rst"

/* --- frames as they are made here ------------------------------------------- */

struct example {
	const char *file;
	struct wire_header header;
	const void *payload;
};

static const struct wire_hello hello = { .version_min = 1, .version_max = 1, .program = "vmreplicad 1.0" };

struct open_payload {
	struct wire_open head;
	struct wire_open_disk disks[2];
};

static const struct open_payload open_payload = {
	.head = {
		.vm = "vm1", .disk_count = 2, .last_pass = 11,
		.relationship = { 0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
				  0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff },
	},
	.disks = {
		{ .name = "vda", .source = "/dev/vg0/vm1-root", .size_bytes = 10ull << 30, .chunk_bytes = 4096 },
		{ .name = "vdb", .source = "/dev/vg0/vm1-data", .size_bytes = 2ull << 40, .chunk_bytes = 8192 },
	},
};

static const struct {
	struct wire_opened head;
	uint64_t durable[2];
} opened_payload = { { WIRE_STATE_RECEIVING, 2, 0 }, { 1 << 30, 0 } };

static const struct wire_pass_begin pass_begin = { .pass = 12,
						   .kind = WIRE_PASS_DELTA,
						   .bytes = 3 << 20 };
static const struct wire_pass_end pass_end = {
	.pass = 12,
	.cut_time_us = 1700000000123456,
	.frames = 2,
	.raw_bytes = 12288,
	.whole = 1,
	.consistency = 1,
};
static const struct wire_error wire_error = { .code = -28, .text = "the replica's file system has no room" };
static const struct wire_compare wire_compare = { { 0xc0, 0xff, 0xee } };
/* Two runs of the segment, the last of which is of a single chunk. */
static const uint8_t wire_hashes[2 * WIRE_HASH_BYTES] = { 1, 2, 3, [16] = 4, 5, 6 };
static const uint32_t wire_compared[] = { 1, 0x01020304, 0x05060708, 0, 0 };
static const struct wire_keep wire_keep = { .points = 24, .spacing_s = 3600 };
static const char data[] = "sixteen bytes...";

/* DATA's payload is shorter than any chunk: enough to show the bytes. */
static const struct example examples[] = {
	{ "hello", { .type = WIRE_HELLO, .payload_bytes = sizeof(hello) }, &hello },
	{ "open", { .type = WIRE_OPEN, .payload_bytes = sizeof(open_payload) }, &open_payload },
	{ "opened", { .type = WIRE_OPENED, .payload_bytes = sizeof(opened_payload) }, &opened_payload },
	{ "pass-begin", { .type = WIRE_PASS_BEGIN, .payload_bytes = sizeof(pass_begin), .sequence = 12 }, &pass_begin },
	{ "data", { .type = WIRE_DATA, .payload_bytes = 16, .disk = 1, .offset = 0x123000, .raw_bytes = 16, .sequence = 0 }, data },
	{ "data-lz4", { .type = WIRE_DATA, .flags = WIRE_F_LZ4, .payload_bytes = 16, .disk = 1, .offset = 0x124000,
			.raw_bytes = 4096, .sequence = 1 }, data },
	{ "zero", { .type = WIRE_ZERO, .disk = 1, .offset = 0x200000, .raw_bytes = 0x4000000, .sequence = 2 }, NULL },
	{ "checkpoint", { .type = WIRE_CHECKPOINT, .disk = 1, .offset = 0x10000000 }, NULL },
	{ "checkpointed", { .type = WIRE_CHECKPOINTED, .disk = 1, .offset = 0x10000000 }, NULL },
	{ "pass-end", { .type = WIRE_PASS_END, .payload_bytes = sizeof(pass_end), .sequence = 12 }, &pass_end },
	{ "pass-durable", { .type = WIRE_PASS_DURABLE, .sequence = 12 }, NULL },
	{ "pass-abort", { .type = WIRE_PASS_ABORT, .sequence = 12 }, NULL },
	{ "pass-aborted", { .type = WIRE_PASS_ABORTED, .sequence = 12 }, NULL },
	{ "release", { .type = WIRE_RELEASE }, NULL },
	{ "released", { .type = WIRE_RELEASED }, NULL },
	{ "compare", { .type = WIRE_COMPARE, .payload_bytes = sizeof(wire_compare), .disk = 1,
		       .raw_bytes = 33 * 4096 }, &wire_compare },
	{ "hashes", { .type = WIRE_HASHES, .payload_bytes = sizeof(wire_hashes), .disk = 1,
		      .raw_bytes = 33 * 4096 }, wire_hashes },
	{ "compared", { .type = WIRE_COMPARED, .payload_bytes = sizeof(wire_compared), .disk = 1,
			.raw_bytes = 33 * 4096 }, wire_compared },
	{ "await", { .type = WIRE_AWAIT, .sequence = 1 }, NULL },
	{ "awaiting", { .type = WIRE_AWAITING, .sequence = 1 }, NULL },
	{ "keep", { .type = WIRE_KEEP, .payload_bytes = sizeof(wire_keep) }, &wire_keep },
	{ "error", { .type = WIRE_ERROR, .payload_bytes = sizeof(wire_error) }, &wire_error },
};

#define EXAMPLES (sizeof(examples) / sizeof(examples[0]))

/* --- golden bytes ----------------------------------------------------------- */

/* Hexadecimal digits of a file as bytes; white space is skipped, a "#" hides the rest of its line. */
static size_t read_hex(const char *path, uint8_t *out, size_t room)
{
	FILE *f = fopen(path, "r");
	size_t digits = 0;
	int c;

	while (f && (c = getc(f)) != EOF) {
		if (c == '#')
			while (c != '\n' && c != EOF)
				c = getc(f);
		if (!isxdigit(c) || digits / 2 >= room)
			continue;
		out[digits / 2] = digits % 2 ? out[digits / 2] * 16 : 0;
		out[digits / 2] += isdigit(c) ? c - '0' : tolower(c) - 'a' + 10;
		digits++;
	}
	if (f)
		fclose(f);
	return digits / 2;
}

static void print_hex(const uint8_t *at, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		printf("%s%02x", i % 16 ? " " : "\n# ", at[i]);
	printf("\n");
}

static size_t make_frame(const struct example *x, uint8_t *out)
{
	wire_header_encode(&x->header, x->payload, out);
	if (x->header.payload_bytes)
		memcpy(out + WIRE_HEADER_BYTES, x->payload, x->header.payload_bytes);
	return WIRE_HEADER_BYTES + x->header.payload_bytes;
}

TEST(golden_frames)
{
	static uint8_t mine[4096], golden[4096];
	struct wire_header header;
	struct err e = { 0 };
	char path[128];

	for (size_t i = 0; i < EXAMPLES; i++) {
		size_t bytes = make_frame(&examples[i], mine);

		snprintf(path, sizeof(path), FRAMES "%s.hex", examples[i].file);
		CHECK_EQ(read_hex(path, golden, sizeof(golden)), bytes);
		CHECK(!memcmp(mine, golden, bytes));
		if (memcmp(mine, golden, bytes)) {
			printf("# %s as made here:", path);
			print_hex(mine, bytes);
		}
		CHECK_EQ(wire_header_decode(golden, &header, &e), 0);
		CHECK_EQ(wire_payload_check(&header, golden + WIRE_HEADER_BYTES, &e), 0);
		CHECK_EQ(header.type, examples[i].header.type);
		CHECK_EQ(header.flags, examples[i].header.flags);
		CHECK_EQ(header.payload_bytes, examples[i].header.payload_bytes);
		CHECK_EQ(header.disk, examples[i].header.disk);
		CHECK_EQ(header.offset, examples[i].header.offset);
		CHECK_EQ(header.raw_bytes, examples[i].header.raw_bytes);
		CHECK_EQ(header.sequence, examples[i].header.sequence);
	}
}

/* The document's worked example is the file data.hex, line by line. */
TEST(document_shows_the_golden_frame)
{
	FILE *f = fopen(FRAMES "data.hex", "r"), *d = fopen(DOCUMENT, "r");
	static char document[65536];
	char line[256];
	unsigned int lines = 0;

	CHECK(f && d);
	if (!f || !d)
		return;
	document[fread(document, 1, sizeof(document) - 1, d)] = 0;
	while (fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = 0;
		CHECK(strstr(document, line));
		lines++;
	}
	CHECK_EQ(lines, 5);
	fclose(f);
	fclose(d);
}

/* --- what is refused -------------------------------------------------------- */

TEST(every_flipped_bit_of_a_header)
{
	static uint8_t frame[4096];
	struct wire_header header;

	for (size_t i = 0; i < EXAMPLES; i++) {
		make_frame(&examples[i], frame);
		for (unsigned int bit = 0; bit < 8 * WIRE_HEADER_BYTES; bit++) {
			frame[bit / 8] ^= 1 << bit % 8;
			CHECK_EQ(wire_header_decode(frame, &header, NULL), -EBADMSG);
			frame[bit / 8] ^= 1 << bit % 8;
		}
	}
}

TEST(every_flipped_bit_of_a_payload)
{
	static uint8_t frame[4096];
	struct wire_header header;

	for (size_t i = 0; i < EXAMPLES; i++) {
		make_frame(&examples[i], frame);
		CHECK_EQ(wire_header_decode(frame, &header, NULL), 0);
		for (unsigned int bit = 0; bit < 8 * header.payload_bytes; bit++) {
			uint8_t *at = &frame[WIRE_HEADER_BYTES + bit / 8];

			*at ^= 1 << bit % 8;
			CHECK_EQ(wire_payload_check(&header, frame + WIRE_HEADER_BYTES, NULL),
				 -EBADMSG);
			*at ^= 1 << bit % 8;
		}
	}
}

static int decode(const struct wire_header *header)
{
	uint8_t frame[WIRE_HEADER_BYTES];
	struct wire_header out;

	wire_header_seal(header, frame);
	return wire_header_decode(frame, &out, NULL);
}

TEST(bounds)
{
	const struct wire_header data_header = examples[4].header, zero = examples[6].header;
	struct wire_header h;

	CHECK_EQ(decode(&data_header), 0);
	h = data_header, h.payload_bytes = h.raw_bytes = WIRE_MAX_PAYLOAD;
	CHECK_EQ(decode(&h), 0);
	h = data_header, h.payload_bytes = h.raw_bytes = WIRE_MAX_PAYLOAD + 1;
	CHECK_EQ(decode(&h), -EPROTO);
	h = data_header, h.payload_bytes = h.raw_bytes = 0;
	CHECK_EQ(decode(&h), -EPROTO);
	h = data_header, h.raw_bytes++;
	CHECK_EQ(decode(&h), -EPROTO);
	h = data_header, h.flags = WIRE_F_LZ4;
	CHECK_EQ(decode(&h), -EPROTO);		/* packed, and no smaller */
	h = data_header, h.flags = WIRE_F_LZ4, h.raw_bytes = WIRE_MAX_PAYLOAD + 1;
	CHECK_EQ(decode(&h), -EPROTO);
	h = data_header, h.flags = 2;
	CHECK_EQ(decode(&h), -EPROTO);
	h = data_header, h.disk = WIRE_MAX_DISKS;
	CHECK_EQ(decode(&h), -EPROTO);
	h = data_header, h.offset = UINT64_MAX - 3;
	CHECK_EQ(decode(&h), -EPROTO);
	h = zero, h.raw_bytes = UINT64_MAX - h.offset;
	CHECK_EQ(decode(&h), 0);
	h.raw_bytes++;
	CHECK_EQ(decode(&h), -EPROTO);
	h = zero, h.raw_bytes = 0;
	CHECK_EQ(decode(&h), -EPROTO);
	h = zero, h.payload_xxh3 = 1;
	CHECK_EQ(decode(&h), -EPROTO);
	h = zero, h.payload_bytes = 1;
	CHECK_EQ(decode(&h), -EPROTO);
}

/* No type takes a field, a payload or a number that is not its own. */
TEST(strange_fields)
{
	struct wire_header h;

	for (size_t i = 0; i < EXAMPLES; i++) {
		const struct wire_header good = examples[i].header;
		bool range = good.type == WIRE_DATA || good.type == WIRE_ZERO;
		bool compare = good.type >= WIRE_COMPARE && good.type <= WIRE_COMPARED;
		bool place = range || compare || good.type == WIRE_CHECKPOINT ||
			     good.type == WIRE_CHECKPOINTED;

		CHECK_EQ(decode(&good), 0);
		h = good, h.flags ^= 0x8000;
		CHECK_EQ(decode(&h), -EPROTO);
		h = good, h.disk++;
		CHECK_EQ(decode(&h), place ? 0 : -EPROTO);
		h = good, h.offset++;
		CHECK_EQ(decode(&h), place ? 0 : -EPROTO);
		h = good, h.sequence++;
		CHECK_EQ(decode(&h),
			 range || good.sequence || good.type == WIRE_OPENED ? 0 : -EPROTO);
		if (!range) {
			h = good, h.raw_bytes++;
			CHECK_EQ(decode(&h), compare ? 0 : -EPROTO);
			h = good, h.payload_bytes++;
			CHECK_EQ(decode(&h), -EPROTO);
			h = good, h.payload_bytes--;
			CHECK_EQ(decode(&h), -EPROTO);
		}
	}
	h = (struct wire_header){ .type = 0 };
	CHECK_EQ(decode(&h), -EPROTO);
	h = (struct wire_header){ .type = WIRE_TYPES };
	CHECK_EQ(decode(&h), -EPROTO);
	CHECK_STR(wire_type_name(WIRE_TYPES), "unknown");
	CHECK_STR(wire_type_name(WIRE_ZERO), "ZERO");
}

/* --- OPEN ------------------------------------------------------------------- */

static int decode_open(const void *payload, uint32_t bytes)
{
	const struct wire_header header = { .type = WIRE_OPEN, .payload_bytes = bytes };
	static struct session_open open;

	return session_open_decode(&header, payload, &open, NULL);
}

TEST(open_bounds)
{
	struct open_payload p;
	uint32_t all = sizeof(open_payload);

	CHECK_EQ(decode_open(&open_payload, all), 0);
	memcpy(&p, &open_payload, all), p.head.disk_count = 1;
	CHECK_EQ(decode_open(&open_payload, all - sizeof(struct wire_open_disk)), -EPROTO);
	CHECK_EQ(decode_open(&p, all - sizeof(struct wire_open_disk)), 0);
	p.head.disk_count = 0;
	CHECK_EQ(decode_open(&p, all), -EPROTO);
	p.head.disk_count = UINT32_MAX;
	CHECK_EQ(decode_open(&p, all), -EPROTO);
	memcpy(&p, &open_payload, all), memset(p.head.vm, 'x', sizeof(p.head.vm));
	CHECK_EQ(decode_open(&p, all), -EPROTO);
	memcpy(&p, &open_payload, all), p.head.vm[0] = 0;
	CHECK_EQ(decode_open(&p, all), -EPROTO);
	memcpy(&p, &open_payload, all), p.head.flags = 1;
	CHECK_EQ(decode_open(&p, all), -EPROTO);
	memcpy(&p, &open_payload, all), memset(p.disks[1].name, 'x', sizeof(p.disks[1].name));
	CHECK_EQ(decode_open(&p, all), -EPROTO);
	memcpy(&p, &open_payload, all), memset(p.disks[1].source, 'x', sizeof(p.disks[1].source));
	CHECK_EQ(decode_open(&p, all), -EPROTO);
	memcpy(&p, &open_payload, all), p.disks[1].chunk_bytes = 12288;
	CHECK_EQ(decode_open(&p, all), -EPROTO);
	memcpy(&p, &open_payload, all), p.disks[1].chunk_bytes = 2048;
	CHECK_EQ(decode_open(&p, all), -EPROTO);
	memcpy(&p, &open_payload, all), p.disks[1].chunk_bytes = 2 << 20;
	CHECK_EQ(decode_open(&p, all), -EPROTO);
	memcpy(&p, &open_payload, all), p.disks[1].size_bytes = 0;
	CHECK_EQ(decode_open(&p, all), -EPROTO);
	memcpy(&p, &open_payload, all), p.disks[1].size_bytes = 513;
	CHECK_EQ(decode_open(&p, all), -EPROTO);
	memcpy(&p, &open_payload, all), p.disks[1].size_bytes = UINT64_MAX - 511;
	CHECK_EQ(decode_open(&p, all), -EPROTO);
}

/* What people are shown is cleaned, what is compared is not. */
TEST(open_source_is_clean)
{
	const struct wire_header header = { .type = WIRE_OPEN,
					    .payload_bytes = sizeof(open_payload) };
	static struct session_open open;
	struct open_payload p;

	memcpy(&p, &open_payload, sizeof(p));
	strcpy(p.disks[0].source, "/dev/\xff\x1b[2J");
	CHECK_EQ(session_open_decode(&header, &p, &open, NULL), 0);
	CHECK_STR(open.disks[0].source, "/dev/??[2J");
	CHECK_STR(open.disks[1].source, "/dev/vg0/vm1-data");
}

/* --- sessions ---------------------------------------------------------------- */

TEST(session_frames)
{
	struct wire_header header = { .type = WIRE_PASS_BEGIN,
				      .payload_bytes = sizeof(pass_begin),
				      .sequence = 12 },
			   got;
	struct wire_pass_begin begin;
	struct err e = { 0 };
	int socks[2];

	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, socks), 0);
	CHECK_EQ(session_send(socks[0], &header, &pass_begin, &e), 0);
	CHECK_EQ(session_receive(socks[1], &got, &begin, sizeof(begin), -1, 60, &e), 0);
	CHECK_EQ(got.type, WIRE_PASS_BEGIN);
	CHECK(!memcmp(&begin, &pass_begin, sizeof(begin)));
	CHECK_EQ(session_send(socks[0], &header, &pass_begin, &e), 0);
	CHECK_EQ(session_receive(socks[1], &got, &begin, sizeof(begin) - 1, -1, 60, &e), -EPROTO);
	close(socks[0]);
	close(socks[1]);
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, socks), 0);
	CHECK_EQ(session_receive(socks[0], &got, NULL, 0, -1, 1, &e), -ETIMEDOUT);
	close(socks[1]);
	CHECK_EQ(session_receive(socks[0], &got, NULL, 0, -1, 60, &e), -ENOTCONN);
	close(socks[0]);
}

TEST(session_error_text)
{
	struct err why = { .code = -ENOSPC, .text = "no room\x1b[31m\nat \xff\xc3" "all" }, e = { 0 };
	struct wire_header got;
	int socks[2];

	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, socks), 0);
	CHECK_EQ(shutdown(socks[1], SHUT_WR), 0);	/* so that the sender need not linger */
	session_send_error(socks[0], &why);
	CHECK_EQ(session_receive(socks[1], &got, NULL, 0, -1, 60, &e), -ENOSPC);
	CHECK_STR(e.text, "no room?[31m?at ??all");
	close(socks[0]);
	close(socks[1]);
}

/* The peer's first frame decides: another version, an unknown required feature, no HELLO at all. */
static int accept_hello(struct wire_header header, const void *payload)
{
	struct err e = { 0 };
	int socks[2], r;

	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, socks), 0);
	CHECK_EQ(session_send(socks[0], &header, payload, &e), 0);
	r = session_accept(socks[1], &e);
	CHECK(!r == !e.text[0]);
	close(socks[0]);
	close(socks[1]);
	return r;
}

TEST(session_hello)
{
	struct wire_header header = examples[0].header;
	struct wire_hello h = hello;

	CHECK_EQ(accept_hello(header, &h), 0);
	h.version_max = 9;
	CHECK_EQ(accept_hello(header, &h), 0);
	h.version_min = 2;
	CHECK_EQ(accept_hello(header, &h), -EPROTONOSUPPORT);
	h = hello, h.required = 1;
	CHECK_EQ(accept_hello(header, &h), -EPROTONOSUPPORT);
	h = hello, h.optional = ~0ull;
	CHECK_EQ(accept_hello(header, &h), 0);
	CHECK_EQ(accept_hello(examples[10].header, NULL), -EPROTO);
}

UNIT_MAIN(T(golden_frames), T(document_shows_the_golden_frame), T(every_flipped_bit_of_a_header),
	  T(every_flipped_bit_of_a_payload), T(bounds), T(strange_fields), T(open_bounds),
	  T(open_source_is_clean), T(session_frames), T(session_error_text), T(session_hello))
