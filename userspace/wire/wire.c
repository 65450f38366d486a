// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#include "codec.h"
#include "wire.h"

/* Bytes of the header that its own checksum covers. */
#define SUMMED_BYTES offsetof(struct wire_header, header_xxh3)

enum field { F_DISK = 1, F_OFFSET = 2, F_RAW = 4, F_SEQUENCE = 8 };

/* What a type's header may hold: a field that is not listed must be zero. */
struct shape {
	const char *name;
	uint32_t payload_min;
	uint32_t payload_max;
	uint32_t payload_unit;	/* payload_bytes - payload_min is a multiple of it */
	uint16_t flags;		/* known bits */
	unsigned int fields;	/* enum field */
};

/* Of the smallest chunks, which make the most of them. */
#define MAX_RUNS (WIRE_SEGMENT_BYTES / (WIRE_RUN_CHUNKS * 4096))

#define FIXED(bytes) (bytes), (bytes), 1
#define PLACE (F_DISK | F_OFFSET | F_RAW)
#define RANGE (F_DISK | F_OFFSET | F_RAW | F_SEQUENCE)

static const struct shape shapes[] = {
	[WIRE_HELLO] = { "HELLO", FIXED(sizeof(struct wire_hello)), 0, 0 },
	[WIRE_OPEN] = { "OPEN", sizeof(struct wire_open) + sizeof(struct wire_open_disk),
			sizeof(struct wire_open) + WIRE_MAX_DISKS * sizeof(struct wire_open_disk),
			sizeof(struct wire_open_disk), 0, 0 },
	[WIRE_OPENED] = { "OPENED", sizeof(struct wire_opened) + sizeof(uint64_t),
			  sizeof(struct wire_opened) + WIRE_MAX_DISKS * sizeof(uint64_t),
			  sizeof(uint64_t), 0, F_SEQUENCE },
	[WIRE_PASS_BEGIN] = { "PASS_BEGIN", FIXED(sizeof(struct wire_pass_begin)), 0, F_SEQUENCE },
	[WIRE_DATA] = { "DATA", 1, WIRE_MAX_PAYLOAD, 1, WIRE_F_LZ4, RANGE },
	[WIRE_ZERO] = { "ZERO", FIXED(0), 0, RANGE },
	[WIRE_CHECKPOINT] = { "CHECKPOINT", FIXED(0), 0, F_DISK | F_OFFSET },
	[WIRE_CHECKPOINTED] = { "CHECKPOINTED", FIXED(0), 0, F_DISK | F_OFFSET },
	[WIRE_PASS_END] = { "PASS_END", FIXED(sizeof(struct wire_pass_end)), 0, F_SEQUENCE },
	[WIRE_PASS_DURABLE] = { "PASS_DURABLE", FIXED(0), 0, F_SEQUENCE },
	[WIRE_PASS_ABORT] = { "PASS_ABORT", FIXED(0), 0, F_SEQUENCE },
	[WIRE_PASS_ABORTED] = { "PASS_ABORTED", FIXED(0), 0, F_SEQUENCE },
	[WIRE_RELEASE] = { "RELEASE", FIXED(0), 0, 0 },
	[WIRE_RELEASED] = { "RELEASED", FIXED(0), 0, 0 },
	[WIRE_ERROR] = { "ERROR", FIXED(sizeof(struct wire_error)), 0, 0 },
	[WIRE_COMPARE] = { "COMPARE", FIXED(sizeof(struct wire_compare)), 0, PLACE },
	[WIRE_HASHES] = { "HASHES", WIRE_HASH_BYTES, MAX_RUNS * WIRE_HASH_BYTES, WIRE_HASH_BYTES,
			  0, PLACE },
	[WIRE_COMPARED] = { "COMPARED", 0,
			    MAX_RUNS * (sizeof(uint32_t) + WIRE_RUN_CHUNKS * WIRE_HASH_BYTES), 4, 0,
			    PLACE },
	[WIRE_AWAIT] = { "AWAIT", FIXED(0), 0, F_SEQUENCE },
	[WIRE_AWAITING] = { "AWAITING", FIXED(0), 0, F_SEQUENCE },
	[WIRE_KEEP] = { "KEEP", FIXED(sizeof(struct wire_keep)), 0, 0 },
};

static const struct shape *shape_of(unsigned int type)
{
	if (type >= sizeof(shapes) / sizeof(shapes[0]) || !shapes[type].name)
		return NULL;
	return &shapes[type];
}

const char *wire_type_name(unsigned int type)
{
	const struct shape *shape = shape_of(type);

	return shape ? shape->name : "unknown";
}

void wire_header_seal(const struct wire_header *header, uint8_t out[WIRE_HEADER_BYTES])
{
	struct wire_header h = *header;

	h.magic = WIRE_MAGIC;
	h.reserved = 0;
	h.header_xxh3 = codec_xxh3(&h, SUMMED_BYTES);
	memcpy(out, &h, sizeof(h));
}

void wire_header_encode(const struct wire_header *header, const void *payload,
			uint8_t out[WIRE_HEADER_BYTES])
{
	struct wire_header h = *header;

	h.payload_xxh3 = h.payload_bytes ? codec_xxh3(payload, h.payload_bytes) : 0;
	wire_header_seal(&h, out);
}

static int check_shape(const struct wire_header *h, const struct shape *shape, struct err *e)
{
	if (h->payload_bytes < shape->payload_min || h->payload_bytes > shape->payload_max ||
	    (h->payload_bytes - shape->payload_min) % shape->payload_unit)
		return err_set(e, -EPROTO, "a %s frame cannot have a payload of %" PRIu32 " bytes",
			       shape->name, h->payload_bytes);
	if (h->flags & ~shape->flags)
		return err_set(e, -EPROTO, "a %s frame has unknown flags 0x%x", shape->name,
			       h->flags);
	if (h->reserved || (!h->payload_bytes && h->payload_xxh3) ||
	    (h->disk && !(shape->fields & F_DISK)) || (h->offset && !(shape->fields & F_OFFSET)) ||
	    (h->raw_bytes && !(shape->fields & F_RAW)) ||
	    (h->sequence && !(shape->fields & F_SEQUENCE)))
		return err_set(e, -EPROTO, "a %s frame has a field set that it does not have",
			       shape->name);
	if (h->disk >= WIRE_MAX_DISKS)
		return err_set(e, -EPROTO,
			       "a %s frame is of disk %" PRIu32 ": the limit is %d disks",
			       shape->name, h->disk, WIRE_MAX_DISKS);
	return 0;
}

static bool has_range(unsigned int type)
{
	return type == WIRE_DATA || type == WIRE_ZERO ||
	       (type >= WIRE_COMPARE && type <= WIRE_COMPARED);
}

/* The bounds of a range that no disk is needed for. */
static int check_range(const struct wire_header *h, const char *name, struct err *e)
{
	bool fits = h->raw_bytes && h->offset + h->raw_bytes >= h->offset;

	if (h->type == WIRE_HASHES || h->type == WIRE_COMPARED)
		fits = fits && h->raw_bytes <= WIRE_SEGMENT_BYTES;
	if (h->type == WIRE_DATA) {
		fits = fits && h->raw_bytes <= WIRE_MAX_PAYLOAD;
		if (h->flags & WIRE_F_LZ4)
			fits = fits && h->payload_bytes < h->raw_bytes;
		else
			fits = fits && h->payload_bytes == h->raw_bytes;
	}
	if (!fits)
		return err_set(e, -EPROTO,
			       "a %s frame cannot stand for %" PRIu64 " bytes at %" PRIu64
			       " with a payload of %" PRIu32,
			       name, h->raw_bytes, h->offset, h->payload_bytes);
	return 0;
}

int wire_header_decode(const uint8_t in[WIRE_HEADER_BYTES], struct wire_header *header,
		       struct err *e)
{
	const struct shape *shape;
	struct wire_header h;
	int r;

	memcpy(&h, in, sizeof(h));
	if (h.magic != WIRE_MAGIC)
		return err_set(
			e, -EBADMSG,
			"the stream is damaged or not vmreplica's: a frame begins with 0x%08" PRIx32,
			h.magic);
	if (h.header_xxh3 != codec_xxh3(&h, SUMMED_BYTES))
		return err_set(e, -EBADMSG,
			       "the stream is damaged: the checksum of a frame's header is wrong");
	if (h.payload_bytes > WIRE_MAX_PAYLOAD)
		return err_set(e, -EPROTO,
			       "a frame's payload of %" PRIu32 " bytes is over the limit of %u",
			       h.payload_bytes, WIRE_MAX_PAYLOAD);
	shape = shape_of(h.type);
	if (!shape)
		return err_set(e, -EPROTO, "the peer sent a frame of unknown type %u", h.type);
	r = check_shape(&h, shape, e);
	if (!r && has_range(h.type))
		r = check_range(&h, shape->name, e);
	if (!r)
		*header = h;
	return r;
}

int wire_payload_check(const struct wire_header *header, const void *payload, struct err *e)
{
	if (header->payload_bytes &&
	    header->payload_xxh3 != codec_xxh3(payload, header->payload_bytes))
		return err_set(
			e, -EBADMSG,
			"the stream is damaged: the checksum of a %s frame's payload is wrong"
			" (disk %" PRIu32 ", offset %" PRIu64 ")",
			wire_type_name(header->type), header->disk, header->offset);
	return 0;
}
