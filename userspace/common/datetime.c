// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "datetime.h"

/* Reads exactly @digits digits; null: they are not there, or out of bounds. */
static const char *read_digits(const char *at, unsigned int digits, int min, int max, int *value)
{
	*value = 0;
	while (at && digits--) {
		if (*at < '0' || *at > '9')
			return NULL;
		*value = *value * 10 + (*at++ - '0');
	}
	return at && *value >= min && *value <= max ? at : NULL;
}

static const char *read_char(const char *at, const char *any_of)
{
	return at && *at && strchr(any_of, *at) ? at + 1 : NULL;
}

/* ".25" -> 250000; more digits than six are dropped. */
static const char *read_fraction(const char *at, uint32_t *us)
{
	unsigned int unit = 100000, digits = 0;

	for (*us = 0; *at >= '0' && *at <= '9'; at++, digits++) {
		*us += (*at - '0') * unit;
		unit /= 10;
	}
	return digits ? at : NULL;
}

struct broken {
	struct tm tm;
	uint32_t us;
	bool local;		/* no zone is given */
	int east_minutes;	/* of UTC, with a zone */
};

static const char *read_zone(const char *at, struct broken *b)
{
	int hours, minutes = 0, sign;

	if (!*at) {
		b->local = true;
		return at;
	}
	if (*at == 'Z' || *at == 'z')
		return at + 1;
	sign = *at == '-' ? -1 : 1;
	at = read_digits(read_char(at, "+-"), 2, 0, 14, &hours);
	if (at && *at)
		at = read_digits(*at == ':' ? at + 1 : at, 2, 0, 59, &minutes);
	b->east_minutes = sign * (hours * 60 + minutes);
	return at;
}

static const char *read_rfc3339(const char *at, struct broken *b)
{
	struct tm *tm = &b->tm;

	at = read_digits(at, 4, 1970, 9999, &tm->tm_year);
	at = read_digits(read_char(at, "-"), 2, 1, 12, &tm->tm_mon);
	at = read_digits(read_char(at, "-"), 2, 1, 31, &tm->tm_mday);
	at = read_digits(read_char(at, "Tt "), 2, 0, 23, &tm->tm_hour);
	at = read_digits(read_char(at, ":"), 2, 0, 59, &tm->tm_min);
	if (at && *at == ':') {
		at = read_digits(at + 1, 2, 0, 59, &tm->tm_sec);
		if (at && *at == '.')
			at = read_fraction(at + 1, &b->us);
	}
	return at ? read_zone(at, b) : NULL;
}

static const char *read_cim(const char *at, struct broken *b)
{
	struct tm *tm = &b->tm;
	int us = 0, minutes = 0, sign;

	at = read_digits(at, 4, 1970, 9999, &tm->tm_year);
	at = read_digits(at, 2, 1, 12, &tm->tm_mon);
	at = read_digits(at, 2, 1, 31, &tm->tm_mday);
	at = read_digits(at, 2, 0, 23, &tm->tm_hour);
	at = read_digits(at, 2, 0, 59, &tm->tm_min);
	at = read_digits(at, 2, 0, 59, &tm->tm_sec);
	at = read_digits(read_char(at, "."), 6, 0, 999999, &us);
	sign = at && *at == '-' ? -1 : 1;
	at = read_digits(read_char(at, "+-"), 3, 0, 14 * 60, &minutes);
	b->us = us;
	b->east_minutes = sign * minutes;
	return at;
}

int datetime_parse(const char *text, uint64_t *time_us)
{
	bool cim = strlen(text) > 14 && text[14] == '.';
	struct broken b = { .tm.tm_isdst = -1 };
	struct tm asked;
	const char *end;
	time_t at;

	end = cim ? read_cim(text, &b) : read_rfc3339(text, &b);
	if (!end || *end)
		return -EINVAL;
	b.tm.tm_year -= 1900;
	b.tm.tm_mon--;
	asked = b.tm;
	at = b.local ? mktime(&b.tm) : timegm(&b.tm);
	/* Both make the 3rd of March of the 31st of February. */
	if (at < 0 || b.tm.tm_mday != asked.tm_mday || b.tm.tm_mon != asked.tm_mon)
		return -EINVAL;
	at -= b.east_minutes * 60;
	if (at < 0)
		return -EINVAL;
	*time_us = at * UINT64_C(1000000) + b.us;
	return 0;
}

static const char *read_minute(const char *at, unsigned int *minute)
{
	int hours, minutes;

	at = read_digits(at, 2, 0, 23, &hours);
	at = read_digits(read_char(at, ":"), 2, 0, 59, &minutes);
	if (at)
		*minute = hours * 60 + minutes;
	return at;
}

int datetime_parse_minute(const char *text, unsigned int *minute)
{
	const char *end = read_minute(text, minute);

	return end && !*end ? 0 : -EINVAL;
}

int datetime_parse_window(const char *text, unsigned int *from, unsigned int *to)
{
	const char *at = read_char(read_minute(text, from), "-");

	return at ? datetime_parse_minute(at, to) : -EINVAL;
}

bool datetime_in_window(unsigned int from, unsigned int to, unsigned int minute)
{
	if (from < to)
		return minute >= from && minute < to;
	return minute >= from || minute < to;
}

unsigned int datetime_minute(uint64_t time_us)
{
	time_t seconds = time_us / 1000000;
	struct tm tm;

	localtime_r(&seconds, &tm);
	return tm.tm_hour * 60 + tm.tm_min;
}

uint64_t datetime_now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec * UINT64_C(1000000) + now.tv_nsec / 1000;
}
