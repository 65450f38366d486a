// SPDX-License-Identifier: GPL-2.0-or-later
#include <limits.h>
#include <lz4.h>
#include <string.h>
#include <xxhash.h>

#include "codec.h"

/*
 * Takes the widest vectors that the processor has, found out when the program runs: four times
 * as fast as what each x86-64 has. The same name, the same result.
 */
#if defined(__x86_64__) && __has_include("xxh_x86dispatch.h")
#include <xxh_x86dispatch.h>
#endif
#include "wire.h"

/* Compared one by one before memcmp() is worth its call. */
#define ZERO_HEAD_BYTES 16

uint64_t codec_xxh3(const void *data, size_t bytes)
{
	return XXH3_64bits(data, bytes);
}

void codec_hash(const uint8_t *secret, const void *data, size_t bytes, uint8_t out[16])
{
	XXH128_hash_t hash = XXH3_128bits_withSecret(data, bytes, secret, WIRE_SECRET_BYTES);

	memcpy(out, &hash.low64, 8);
	memcpy(out + 8, &hash.high64, 8);
}

bool codec_zero(const void *data, size_t bytes)
{
	const unsigned char *p = data;
	size_t head = bytes < ZERO_HEAD_BYTES ? bytes : ZERO_HEAD_BYTES;

	for (size_t i = 0; i < head; i++)
		if (p[i])
			return false;
	/* The head is zero, and each byte equals the one ZERO_HEAD_BYTES before it. */
	return bytes == head || !memcmp(p, p + head, bytes - head);
}

uint32_t codec_pack(void *out, uint32_t room, const void *data, uint32_t bytes)
{
	int packed;

	if (room > INT_MAX || bytes > LZ4_MAX_INPUT_SIZE)
		return 0;
	packed = LZ4_compress_default(data, out, (int)bytes, (int)room);
	return packed > 0 ? (uint32_t)packed : 0;
}

bool codec_unpack(void *out, uint32_t raw_bytes, const void *block, uint32_t bytes)
{
	if (raw_bytes > INT_MAX || bytes > INT_MAX)
		return false;
	return LZ4_decompress_safe(block, out, (int)bytes, (int)raw_bytes) == (int)raw_bytes;
}
