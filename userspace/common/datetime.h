/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Instants and times of day as people and managers write them. */
#ifndef VMR_COMMON_DATETIME_H
#define VMR_COMMON_DATETIME_H

#include <stdbool.h>
#include <stdint.h>

#define DATETIME_DAY_MINUTES (24 * 60)

/*
 * An instant in microseconds since 1970 UTC, from one of
 *
 *	2026-01-31T18:30[:00[.25]]Z	UTC; or +01:00 and the like; a blank may stand for the T
 *	2026-01-31T18:30[:00[.25]]	local time
 *	20260131183000.250000+060	CIM's datetime: local time, and its minutes east of UTC
 *
 * -EINVAL: it is none of these, or no such day or hour exists.
 */
int datetime_parse(const char *text, uint64_t *time_us);

/* Minutes from midnight, of "18:30"; -EINVAL. */
int datetime_parse_minute(const char *text, unsigned int *minute);

/* "18:30-06:00": the window that begins with the first and ends before the second. */
int datetime_parse_window(const char *text, unsigned int *from, unsigned int *to);

/* A window may lie across midnight; one that ends where it begins is the whole day. */
bool datetime_in_window(unsigned int from, unsigned int to, unsigned int minute);

/* The local minute of the day at an instant. */
unsigned int datetime_minute(uint64_t time_us);

uint64_t datetime_now_us(void);		/* microseconds since 1970 UTC */

#endif
