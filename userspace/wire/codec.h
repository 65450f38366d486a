/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Checksums, lz4 blocks and zero detection: pure functions on memory, from any thread. */
#ifndef VMR_WIRE_CODEC_H
#define VMR_WIRE_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* XXH3_64bits with seed 0. */
uint64_t codec_xxh3(const void *data, size_t bytes);

/* XXH3_128bits_withSecret, low half first. @secret: WIRE_SECRET_BYTES (wire.h), random. */
void codec_hash(const uint8_t *secret, const void *data, size_t bytes, uint8_t out[16]);

/* @bytes may be 0: then true. */
bool codec_zero(const void *data, size_t bytes);

/*
 * Packs @bytes bytes into one lz4 block of at most @room bytes. Returns the
 * block's length, or 0 when it does not fit.
 */
uint32_t codec_pack(void *out, uint32_t room, const void *data, uint32_t bytes);

/* Unpacks one lz4 block. True only if it is well formed and yields exactly @raw_bytes. */
bool codec_unpack(void *out, uint32_t raw_bytes, const void *block, uint32_t bytes);

#endif
