// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdlib.h>
#include <string.h>

#include "unit.h"
#include "userspace/wire/codec.h"

/* Published values of XXH3_64bits with seed 0 for no input at all. */
TEST(xxh3)
{
	CHECK(codec_xxh3("", 0) == 0x2d06800538d394c2ull);
	CHECK(codec_xxh3("a", 1) != codec_xxh3("b", 1));
}

/* One byte that is not zero is found wherever it stands, at any length and alignment. */
TEST(zero)
{
	static unsigned char buffer[4096 + 64];

	for (size_t bytes = 0; bytes < 200; bytes++) {
		CHECK(codec_zero(buffer + bytes % 7, bytes));
		for (size_t at = 0; at < bytes; at++) {
			buffer[bytes % 7 + at] = 0x80;
			CHECK(!codec_zero(buffer + bytes % 7, bytes));
			buffer[bytes % 7 + at] = 0;
		}
		buffer[bytes % 7 + bytes] = 1;		/* behind the end does not count */
		CHECK(codec_zero(buffer + bytes % 7, bytes));
		buffer[bytes % 7 + bytes] = 0;
	}
	CHECK(codec_zero(buffer, 4096));
	buffer[4095] = 1;
	CHECK(!codec_zero(buffer, 4096));
}

TEST(pack_and_unpack)
{
	static unsigned char text[65536], packed[65536], back[65536 + 1];
	uint32_t bytes;

	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = "abcdefgh"[i % 8] + i / 8192;
	bytes = codec_pack(packed, sizeof(text) - 1, text, sizeof(text));
	CHECK(bytes > 0 && bytes < 8192);
	CHECK(codec_unpack(back, sizeof(text), packed, bytes));
	CHECK(!memcmp(text, back, sizeof(text)));
	/* A block stands for exactly so many bytes, neither fewer nor more, and is all of it. */
	CHECK(!codec_unpack(back, sizeof(text) + 1, packed, bytes));
	CHECK(!codec_unpack(back, sizeof(text) - 1, packed, bytes));
	CHECK(!codec_unpack(back, sizeof(text), packed, bytes - 1));
	CHECK(!codec_unpack(back, sizeof(text), packed, 0));
	/* No room, no block. */
	CHECK_EQ(codec_pack(packed, bytes - 1, text, sizeof(text)), 0);
}

TEST(noise_does_not_fit)
{
	static unsigned char noise[65536], packed[65536];

	srandom(1);
	for (size_t i = 0; i < sizeof(noise); i++)
		noise[i] = random() >> 8;
	CHECK_EQ(codec_pack(packed, sizeof(noise) - 1, noise, sizeof(noise)), 0);
}

UNIT_MAIN(T(xxh3), T(zero), T(pack_and_unpack), T(noise_does_not_fit))
