/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Some frames of a pass that follow one another in the stream, with their payloads: what
 * goes through the replica's stages as one. Small frames share a batch, so
 * that a stage's overhead is paid once for many. Pure: no I/O.
 */
#ifndef VMR_REPLICA_BATCH_H
#define VMR_REPLICA_BATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "../wire/wire.h"

#define BATCH_MAX_FRAMES	128
#define BATCH_BYTES		WIRE_MAX_PAYLOAD	/* of each of the two buffers */
/*
 * With so much, it is not worth to wait for more: a disk takes few large writes for less than many
 * small ones; into memory, what is small is in the cache yet when it is copied.
 */
#define BATCH_ENOUGH_BYTES	  (768u << 10)
#define BATCH_ENOUGH_MEMORY_BYTES (256u << 10)

struct batch_frame {
	struct wire_header header;	/* DATA or ZERO */
	/* raw_bytes rounded up to whole chunks; the rest is zeros */
	uint32_t room_bytes;
	uint8_t *payload;		/* DATA: as received */
	/* DATA: bytes of the disk, aligned to 4096; == payload unless lz4 */
	uint8_t *raw;
};

struct batch {
	/* BATCH_BYTES each, aligned: payloads, and what is unpacked */
	uint8_t *in, *out;
	uint32_t in_used, out_used;
	unsigned int count;
	struct batch_frame frames[BATCH_MAX_FRAMES];
};

/* Forgets all frames. */
void batch_reset(struct batch *b);

/* Whether a frame of this header can be added. An empty batch takes any. */
bool batch_has_room(const struct batch *b, const struct wire_header *header, uint32_t chunk_bytes);

/* Adds it; the payload is to be put at the returned frame's @payload. */
struct batch_frame *batch_add(struct batch *b, const struct wire_header *header,
			      uint32_t chunk_bytes);

/* @memory: it goes to a file in memory. */
static inline bool batch_enough(const struct batch *b, bool memory)
{
	uint32_t enough = memory ? BATCH_ENOUGH_MEMORY_BYTES : BATCH_ENOUGH_BYTES;

	return b->count == BATCH_MAX_FRAMES || b->in_used + b->out_used >= enough;
}

/* Whether batch_decode() has something to unpack, which takes long. */
static inline bool batch_packed(const struct batch *b)
{
	return b->out_used;
}

/* Verifies the checksums, unpacks, pads with zeros. 0 or -EBADMSG; from any thread. */
int batch_decode(struct batch *b, struct err *e);

#endif
