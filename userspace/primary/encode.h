/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One buffer of a disk becomes frames: runs of zero chunks and runs of data, packed where it
 * pays.
 */
#ifndef VMR_PRIMARY_ENCODE_H
#define VMR_PRIMARY_ENCODE_H

#include <stdbool.h>
#include <stdint.h>

enum encode_mode {
	ENCODE_RAW,	/* never pack */
	ENCODE_PACK,	/* pack all that gets smaller */
	ENCODE_SAMPLE,	/* pack what a sample says gets smaller by an eighth or more */
	ENCODE_PROBE,	/* never pack, but measure with one sample how long it would take */
};

struct encode_frame {
	uint32_t at;		/* bytes from the start of the buffer */
	uint32_t raw_bytes;
	uint32_t payload_bytes;	/* 0: a run of zeros */
	bool lz4;
	const uint8_t *payload;	/* in the buffer, or in the room for packed data */
	uint64_t xxh3;		/* of the payload */
};

struct encode_result {
	unsigned int count;
	uint64_t packed_bytes, packed_ns;	/* what was run through lz4, and for how long */
	struct encode_frame *frames;		/* room for ENCODE_MAX_FRAMES(bytes) */
};

#define ENCODE_MIN_CHUNK 4096
#define ENCODE_MAX_FRAMES(bytes) ((bytes) / ENCODE_MIN_CHUNK + 1)

/*
 * @room holds as many bytes as the buffer. The last chunk may be short. Pure but for
 * the clock that measures lz4; runs in any thread.
 */
void encode_buffer(const uint8_t *buffer, uint32_t bytes, uint32_t chunk_bytes,
		   enum encode_mode mode, uint8_t *room, struct encode_result *result);

#endif
