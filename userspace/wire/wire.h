/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The stream between a primary and a replica, byte by byte. The prose, with
 * the order of frames and the meaning of errors, is Documentation/wire-format.rst.
 *
 * One TCP connection carries one session: HELLO both ways, OPEN/OPENED, then any
 * number of passes, one after another. All integers are little endian, as is
 * every machine that this is built for (asserted below), so that the structures
 * here are what is on the wire. Each frame is a header of 64 bytes and a payload of
 * header.payload_bytes bytes (0 to WIRE_MAX_PAYLOAD). DATA and ZERO frames come in any
 * order of offsets, each range of a disk at most once in a pass.
 *
 * Decoding checks, in this order: magic, header checksum, payload bound, type,
 * the type's own bounds, payload checksum. What fails is -EBADMSG (damaged) or
 * -EPROTO (well formed, but not allowed here); the receiver answers with an ERROR frame
 * where it still can and closes.
 */
#ifndef VMR_WIRE_WIRE_H
#define VMR_WIRE_WIRE_H

#include <stddef.h>
#include <stdint.h>

#include "../common/err.h"

#define WIRE_PORT		7766		/* TCP, default */
#define WIRE_MAGIC		0x31524d56u	/* "VMR1" as bytes on the wire */
#define WIRE_VERSION_MIN	1
#define WIRE_VERSION_MAX	1
#define WIRE_HEADER_BYTES	64
#define WIRE_MAX_PAYLOAD	(1u << 20)
#define WIRE_MAX_DISKS		64
#define WIRE_NAME_BYTES		64

enum wire_type {
	WIRE_HELLO = 1,		/* both: struct wire_hello */
	WIRE_OPEN = 2,		/* primary: struct wire_open, a struct wire_open_disk per disk */
	WIRE_OPENED = 3,	/* replica: struct wire_opened, a __le64 per disk: durable to */
	WIRE_PASS_BEGIN = 4,	/* primary: struct wire_pass_begin */
	WIRE_DATA = 5,		/* primary: bytes of one disk, lz4 block if WIRE_F_LZ4 */
	WIRE_ZERO = 6,		/* primary: raw_bytes zeros (may be more than WIRE_MAX_PAYLOAD) */
	WIRE_CHECKPOINT = 7,	/* primary, initial pass: make the disk before offset durable */
	WIRE_CHECKPOINTED = 8,	/* replica: the same offset and disk; it is durable */
	WIRE_PASS_END = 9,	/* primary: struct wire_pass_end */
	WIRE_PASS_DURABLE = 10,	/* replica: header.sequence is the pass id; it is durable */
	WIRE_PASS_ABORT = 11,	/* primary: drop what came of the pass; answered by PASS_ABORTED */
	WIRE_PASS_ABORTED = 12,	/* replica */
	WIRE_RELEASE = 13,	/* primary: ends the relationship, the points stay; RELEASED */
	WIRE_RELEASED = 14,	/* replica */
	WIRE_ERROR = 15,	/* both: struct wire_error; the sender closes after it */
	WIRE_COMPARE = 16,	/* primary, between passes: compare a range; struct wire_compare */
	WIRE_HASHES = 17,	/* primary: a hash per run of the range's next segment */
	WIRE_COMPARED = 18,	/* replica: which runs differ, with the hashes of their chunks */
	WIRE_AWAIT = 19,	/* primary: the initial pass, header.sequence, comes on a medium */
	WIRE_AWAITING = 20,	/* replica: passes may come ahead of it */
	WIRE_KEEP = 21,		/* primary, between passes: struct wire_keep; not answered */
	WIRE_TYPES		/* one more than the largest */
};

#define WIRE_F_LZ4	0x1u	/* DATA: payload is one lz4 block of raw_bytes bytes unpacked */

#define WIRE_MAX_KEEP_POINTS	255
#define WIRE_MAX_KEEP_SPACING_S	2592000	/* 30 days */
#define WIRE_MAX_CHECKPOINTS 16	/* CHECKPOINT frames that may be unanswered at a time */

/*
 * A range is compared in segments, in order. A segment is cut into runs of WIRE_RUN_CHUNKS
 * chunks, counted from its start; the last of each may be shorter. A chunk's hash is
 * XXH3_128bits_withSecret of its bytes, with the secret of the COMPARE frame, low half first;
 * a run's is that of its chunks' hashes one behind another.
 */
#define WIRE_SEGMENT_BYTES	(64ull << 20)
#define WIRE_RUN_CHUNKS		32
#define WIRE_HASH_BYTES		16
#define WIRE_SECRET_BYTES	192

/* 64 bytes at the head of each frame. */
struct wire_header {
	uint32_t magic;			/*  0 WIRE_MAGIC */
	uint16_t type;			/*  4 enum wire_type */
	uint16_t flags;			/*  6 WIRE_F_*; unknown bits are -EPROTO */
	uint32_t payload_bytes;		/*  8 bytes that follow the header */
	uint32_t disk;			/* 12 index in OPEN; 0 where a type has no disk */
	uint64_t offset;		/* 16 bytes from the start of the disk */
	uint64_t raw_bytes;		/* 24 bytes of disk; DATA: <= WIRE_MAX_PAYLOAD */
	/* 32 DATA/ZERO: number in the pass, from 0; PASS_*: id; OPENED: the replica's generation */
	uint64_t sequence;
	uint64_t reserved;		/* 40 zero */
	uint64_t payload_xxh3;		/* 48 XXH3_64bits of the payload as sent; 0: no payload */
	uint64_t header_xxh3;		/* 56 XXH3_64bits of bytes 0 to 55 */
};

struct wire_hello {
	uint16_t version_min;
	uint16_t version_max;
	uint32_t reserved;
	uint64_t required;		/* feature bits the peer must know; none are defined */
	uint64_t optional;		/* feature bits the peer may use; none are defined */
	char program[32];		/* "vmreplicad 1.0", NUL padded, for the log */
};

struct wire_open {
	char vm[WIRE_NAME_BYTES];	/* NUL terminated and padded */
	uint8_t relationship[16];	/* UUID */
	uint64_t last_pass;		/* newest pass the primary has had acknowledged, 0: none */
	uint32_t disk_count;		/* 1 to WIRE_MAX_DISKS */
	uint32_t flags;			/* zero */
};

struct wire_open_disk {
	char name[WIRE_NAME_BYTES];	/* a file name: letters, digits, dot, underscore, hyphen */
	char source[256];		/* device path on the primary, for people */
	uint64_t size_bytes;
	uint32_t chunk_bytes;		/* power of two, 4 KiB to 1 MiB */
	uint32_t reserved;
};

enum wire_state {
	WIRE_STATE_NEW = 0,		/* nothing yet: the initial pass is to come */
	WIRE_STATE_RECEIVING = 1,	/* an initial pass goes on at the offsets */
	WIRE_STATE_COMPLETE = 2,	/* deltas may come */
	/* deltas may come; the initial pass, on a medium, is yet to be imported */
	WIRE_STATE_AWAITING = 3,
};

struct wire_opened {
	uint32_t state;			/* enum wire_state */
	uint32_t disk_count;		/* as in OPEN */
	uint64_t last_pass;		/* newest durable pass on the replica, 0: none */
};

enum wire_pass_kind { WIRE_PASS_INITIAL = 1, WIRE_PASS_DELTA = 2 };

struct wire_pass_begin {
	uint64_t pass;			/* > last_pass */
	uint32_t kind;			/* enum wire_pass_kind */
	uint32_t reserved;
	uint64_t bytes;			/* of disk to be expected; for progress only */
};

struct wire_pass_end {
	uint64_t pass;
	uint64_t cut_time_us;		/* of the cut, microseconds since 1970 UTC */
	uint64_t frames;		/* DATA and ZERO frames sent: must equal those received */
	uint64_t raw_bytes;		/* sum of their raw_bytes: must equal */
	uint32_t whole;			/* 1: all of one instant, becomes a point; 0: not */
	uint32_t consistency;		/* 0 none, 1 crash, 2 application */
};

struct wire_compare {
	uint8_t secret[WIRE_SECRET_BYTES];	/* random, fresh for each pass */
};

/* Which points the replica is to keep, until another such frame or the end of the connection. */
struct wire_keep {
	uint32_t points;		/* below the newest: 0 to WIRE_MAX_KEEP_POINTS */
	uint32_t spacing_s;		/* between them: 0 (each pass) to WIRE_MAX_KEEP_SPACING_S */
};

/*
 * COMPARED: for each run that differs, ascending, a uint32_t, the run's number in the
 * segment, and WIRE_HASH_BYTES for each of its chunks. No payload: all runs are the same.
 */

struct wire_error {
	int32_t code;			/* negative errno as on Linux x86-64 */
	uint32_t reserved;
	char text[ERR_TEXT_BYTES];	/* one sentence, NUL terminated and padded */
};

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the structures are the wire format");
_Static_assert(sizeof(struct wire_header) == WIRE_HEADER_BYTES, "wire header");
_Static_assert(sizeof(struct wire_hello) == 56, "wire hello");
_Static_assert(sizeof(struct wire_open) == 96, "wire open");
_Static_assert(sizeof(struct wire_open_disk) == 336, "wire open disk");
_Static_assert(sizeof(struct wire_opened) == 16, "wire opened");
_Static_assert(sizeof(struct wire_pass_begin) == 24, "wire pass begin");
_Static_assert(sizeof(struct wire_pass_end) == 40, "wire pass end");
_Static_assert(sizeof(struct wire_compare) == 192, "wire compare");
_Static_assert(sizeof(struct wire_keep) == 8, "wire keep");
_Static_assert(sizeof(struct wire_error) == 8 + ERR_TEXT_BYTES, "wire error");

/*
 * Fills in magic and the header's checksum: @out gets the 64 bytes to send.
 * The payload's checksum must be in @header already.
 */
void wire_header_seal(const struct wire_header *header, uint8_t out[WIRE_HEADER_BYTES]);

/* The same, with the checksum of @payload, which follows as it is; null with payload_bytes 0. */
void wire_header_encode(const struct wire_header *header, const void *payload,
			uint8_t out[WIRE_HEADER_BYTES]);

/* Checks and converts. 0, -EBADMSG or -EPROTO with a sentence; *header is set on success only. */
int wire_header_decode(const uint8_t in[WIRE_HEADER_BYTES], struct wire_header *header,
		       struct err *e);

/* -EBADMSG when the payload is not what the header's checksum says. */
int wire_payload_check(const struct wire_header *header, const void *payload, struct err *e);

const char *wire_type_name(unsigned int type);

#endif
