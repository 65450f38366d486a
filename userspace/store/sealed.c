// SPDX-License-Identifier: GPL-2.0-or-later
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sealed.h"

#define TRAILER	",\n  \"crc32\": \"%08" PRIx32 "\"\n}\n"

static uint32_t crc32_of(const char *text, size_t bytes)
{
	uint32_t crc = ~0u;

	for (size_t i = 0; i < bytes; i++) {
		crc ^= (uint8_t)text[i];
		for (int bit = 0; bit < 8; bit++)
			crc = (crc >> 1) ^ (crc & 1 ? 0xedb88320u : 0);
	}
	return ~crc;
}

char *sealed_text(struct json_object *o, size_t max_bytes)
{
	const int style = JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED |
			  JSON_C_TO_STRING_NOSLASHESCAPE;
	const char *json = json_object_to_json_string_ext(o, style);
	size_t bytes = json ? strlen(json) : 0;
	char *text = NULL;

	if (bytes > 2 && bytes < max_bytes)
		text = malloc(bytes + SEALED_TRAILER_BYTES + 1);
	if (text) {
		bytes -= 2; /* the closing "\n}" moves behind the CRC */
		memcpy(text, json, bytes);
		snprintf(text + bytes, SEALED_TRAILER_BYTES + 1, TRAILER, crc32_of(json, bytes));
	}
	return text;
}

bool sealed_intact(const char *text, size_t bytes)
{
	char trailer[SEALED_TRAILER_BYTES + 1];
	size_t sealed = bytes - SEALED_TRAILER_BYTES;

	snprintf(trailer, sizeof(trailer), TRAILER, crc32_of(text, sealed));
	return !memcmp(text + sealed, trailer, SEALED_TRAILER_BYTES);
}
