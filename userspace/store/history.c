// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdlib.h>

#include "history.h"

/* QEMU opens each file of a chain. */
#define FULL_CHAIN	384u
/* However few are kept: passes that are not whole may follow one another, a test may last. */
#define MIN_TOO_LONG	32u
#define MAX_TOO_LONG	320u
#define MIN_FULL	48u

static unsigned int kept(const struct history *h)
{
	return h->points + 1 + (h->spacing_s ? HISTORY_SLACK : 0);
}

unsigned int history_long(const struct history *h)
{
	return 2 * kept(h);
}

unsigned int history_too_long(const struct history *h)
{
	unsigned int passes = 4 * kept(h);

	if (passes > MAX_TOO_LONG)
		return MAX_TOO_LONG;
	return passes < MIN_TOO_LONG ? MIN_TOO_LONG : passes;
}

unsigned int history_full(const struct history *h)
{
	unsigned int passes = 16 * kept(h);

	if (passes > FULL_CHAIN)
		return FULL_CHAIN;
	return passes < MIN_FULL ? MIN_FULL : passes;
}

/*
 * The first point of each span: which it is does not change when others come or when those behind
 * it go. Beginning with the newest span, so many of them as there are to be.
 */
static void mark_spaced(const struct history *h, const struct manifest *m, bool *stays,
			unsigned int newest)
{
	uint64_t spacing_us = h->spacing_s * UINT64_C(1000000);
	unsigned int marked = 0, first = newest; /* of the span that is gone through */

	for (unsigned int i = newest; i-- > 0 && marked < h->points;) {
		if (!m->passes[i].whole)
			continue;
		if (first != newest && m->passes[i].cut_time_us / spacing_us !=
					       m->passes[first].cut_time_us / spacing_us) {
			stays[first] = true;
			marked++;
		}
		first = i;
	}
	if (first != newest && marked < h->points)
		stays[first] = true;
}

bool *history_mark(const struct history *h, const struct manifest *m)
{
	bool *stays = calloc(m->pass_count + 1, sizeof(*stays));
	unsigned int newest = m->pass_count;

	if (!stays || !newest)
		return stays;
	stays[newest - 1] = true;
	if (!h->spacing_s) {
		for (unsigned int i = 0; i < m->pass_count; i++)
			stays[i] = m->pass_count - i <= h->points + 1;
		return stays;
	}
	while (newest && !m->passes[newest - 1].whole)
		newest--;
	if (newest) {
		stays[newest - 1] = true;
		mark_spaced(h, m, stays, newest - 1);
	}
	return stays;
}
