/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Numbers as people read them; each function fills in @out and returns it. */
#ifndef VMR_COMMON_FORMAT_H
#define VMR_COMMON_FORMAT_H

#include <stdint.h>

#define FORMAT_BYTES 40		/* room that any of these texts needs, with its NUL */

/* "0 B", "512 B", "3.4 MiB", "2.0 TiB" */
const char *format_bytes(uint64_t bytes, char out[FORMAT_BYTES]);

/* "0.8 s", "42 s", "2 min 5 s", "3 h 4 min", "2 d 3 h" */
const char *format_seconds(double seconds, char out[FORMAT_BYTES]);

/* Microseconds since 1970 UTC as RFC 3339: "2026-01-31T23:59:59.000250Z" */
const char *format_time_us(uint64_t time_us, char out[FORMAT_BYTES]);

#endif
