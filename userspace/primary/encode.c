// SPDX-License-Identifier: GPL-2.0-or-later
#include <time.h>

#include "../wire/codec.h"
#include "encode.h"

/*
 * A sample is taken of runs of at least SAMPLED_BYTES; shorter ones are packed whole
 * to find out.
 */
#define SAMPLE_BYTES	(16u << 10)
#define SAMPLED_BYTES	(64u << 10)

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

/* The most bytes that the packed form of @raw_bytes may have to be sent instead. */
static uint32_t worth(uint32_t raw_bytes, enum encode_mode mode)
{
	return mode == ENCODE_SAMPLE ? raw_bytes - raw_bytes / 8 : raw_bytes - 1;
}

static uint32_t pack(uint8_t *room, const uint8_t *data, uint32_t bytes, enum encode_mode mode,
		     struct encode_result *result)
{
	uint64_t start = now_ns();
	uint32_t packed = codec_pack(room, worth(bytes, mode), data, bytes);

	result->packed_bytes += bytes;
	result->packed_ns += now_ns() - start;
	return packed;
}

/* Returns how many bytes of @room the frame takes. */
static uint32_t encode_data(const uint8_t *data, uint32_t bytes, enum encode_mode mode,
			    uint8_t *room, struct encode_frame *frame, struct encode_result *result)
{
	uint32_t packed = 0;
	bool try = mode == ENCODE_PACK || mode == ENCODE_SAMPLE;

	if (mode == ENCODE_PROBE && bytes >= SAMPLE_BYTES && !result->packed_bytes)
		pack(room, data, SAMPLE_BYTES, mode, result);
	if (mode == ENCODE_SAMPLE && bytes >= SAMPLED_BYTES)
		try = pack(room, data + (bytes - SAMPLE_BYTES) / 2, SAMPLE_BYTES, mode, result);
	if (try)
		packed = pack(room, data, bytes, mode, result);
	frame->lz4 = packed;
	frame->payload = packed ? room : data;
	frame->payload_bytes = packed ? packed : bytes;
	frame->xxh3 = codec_xxh3(frame->payload, frame->payload_bytes);
	return packed;
}

static uint32_t chunk_at(uint32_t bytes, uint32_t chunk_bytes, uint32_t at)
{
	return bytes - at < chunk_bytes ? bytes - at : chunk_bytes;
}

/* The length of the run at @at whose chunks are all zero, or all not. */
static uint32_t run_length(const uint8_t *buffer, uint32_t bytes, uint32_t chunk_bytes, uint32_t at,
			   bool *zero)
{
	uint32_t end = at + chunk_at(bytes, chunk_bytes, at);

	*zero = codec_zero(buffer + at, end - at);
	while (end < bytes && codec_zero(buffer + end, chunk_at(bytes, chunk_bytes, end)) == *zero)
		end += chunk_at(bytes, chunk_bytes, end);
	return end - at;
}

void encode_buffer(const uint8_t *buffer, uint32_t bytes, uint32_t chunk_bytes,
		   enum encode_mode mode, uint8_t *room, struct encode_result *result)
{
	struct encode_frame *frame;
	uint32_t at, run;
	bool zero;

	result->count = 0;
	result->packed_bytes = 0;
	result->packed_ns = 0;
	for (at = 0; at < bytes; at += run) {
		run = run_length(buffer, bytes, chunk_bytes, at, &zero);
		frame = &result->frames[result->count++];
		*frame = (struct encode_frame){ .at = at, .raw_bytes = run };
		if (!zero)
			room += encode_data(buffer + at, run, mode, room, frame, result);
	}
}
