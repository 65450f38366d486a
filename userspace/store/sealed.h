/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A JSON object as a text that tells whether it is whole: its last member is "crc32", 8 hexadecimal
 * digits, the CRC-32 (IEEE 802.3) of all bytes before the comma in front of it.
 */
#ifndef VMR_STORE_SEALED_H
#define VMR_STORE_SEALED_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>

#define SEALED_TRAILER_BYTES 26

/* The text, for the caller to free. Null: no memory, or @max_bytes or longer. */
char *sealed_text(struct json_object *o, size_t max_bytes);

/* @bytes of @text, more than SEALED_TRAILER_BYTES, are as they were made. */
bool sealed_intact(const char *text, size_t bytes);

#endif
