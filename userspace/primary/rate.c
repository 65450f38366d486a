// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "../common/datetime.h"
#include "rate.h"

int rate_parse(const char *text, uint64_t *rate)
{
	static const char units[] = "KMGT";
	unsigned long long number;
	unsigned int shift = 0;
	const char *unit;
	char *end;

	if (!strcmp(text, "none")) {
		*rate = 0;
		return 0;
	}
	if (text[0] < '0' || text[0] > '9')
		return -EINVAL;
	errno = 0;
	number = strtoull(text, &end, 10);
	unit = *end ? strchr(units, *end) : NULL;
	if (unit) {
		shift = 10 * (unit - units + 1);
		end++;
	}
	if (errno || *end || number > RATE_MAX_BYTES >> shift ||
	    (number << shift) < RATE_MIN_BYTES)
		return -EINVAL;
	*rate = number << shift;
	return 0;
}

uint64_t rate_at(const struct rate_limits *limits, unsigned int minute)
{
	const struct rate_window *window = limits->windows;
	unsigned int i;

	for (i = 0; i < limits->window_count; i++, window++) {
		if (datetime_in_window(window->from, window->to, minute))
			return window->rate;
	}
	return limits->rate;
}

void rate_divide(uint64_t host, unsigned int count, const uint64_t *own, uint64_t *out)
{
	unsigned int i, left = count;
	uint64_t rest = host;
	bool settled = true;

	for (i = 0; i < count; i++)
		out[i] = host ? 0 : own[i];
	/* Each turn settles those that want no more than an equal share of what is left. */
	while (host && left && settled) {
		uint64_t share = rest / left;

		settled = false;
		for (i = 0; i < count; i++) {
			if (out[i] || !own[i] || own[i] > share)
				continue;
			out[i] = own[i];
			rest -= own[i];
			left--;
			settled = true;
		}
	}
	for (i = 0; i < count; i++) {
		if (host && !out[i])	/* 0 would be no limit at all */
			out[i] = rest / left ? rest / left : 1;
	}
}
