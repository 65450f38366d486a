// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdio.h>
#include <time.h>

#include "format.h"

const char *format_bytes(uint64_t bytes, char out[FORMAT_BYTES])
{
	static const char *const units[] = { "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	double value = bytes / 1024.0;
	unsigned int unit = 0;

	if (bytes < 1024) {
		snprintf(out, FORMAT_BYTES, "%u B", (unsigned int)bytes);
		return out;
	}
	/* What would be rounded to "1024.0" belongs to the next unit. */
	while (value >= 1023.95 && unit + 1 < sizeof(units) / sizeof(units[0])) {
		value /= 1024.0;
		unit++;
	}
	snprintf(out, FORMAT_BYTES, "%.1f %s", value, units[unit]);
	return out;
}

const char *format_seconds(double seconds, char out[FORMAT_BYTES])
{
	unsigned long long whole = seconds < 0 ? 0 : (unsigned long long)(seconds + 0.5);

	if (seconds < 9.95)
		snprintf(out, FORMAT_BYTES, "%.1f s", seconds < 0 ? 0 : seconds);
	else if (whole < 60)
		snprintf(out, FORMAT_BYTES, "%llu s", whole);
	else if (whole < 3600)
		snprintf(out, FORMAT_BYTES, "%llu min %llu s", whole / 60, whole % 60);
	else if (whole < 86400)
		snprintf(out, FORMAT_BYTES, "%llu h %llu min", whole / 3600, whole / 60 % 60);
	else
		snprintf(out, FORMAT_BYTES, "%llu d %llu h", whole / 86400, whole / 3600 % 24);
	return out;
}

const char *format_time_us(uint64_t time_us, char out[FORMAT_BYTES])
{
	time_t seconds = time_us / 1000000;
	char date[24];
	struct tm tm;

	gmtime_r(&seconds, &tm);
	strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(out, FORMAT_BYTES, "%s.%06uZ", date, (unsigned int)(time_us % 1000000));
	return out;
}
