// SPDX-License-Identifier: GPL-2.0-or-later
#include "adapt.h"

/* Off as soon as the link is faster; on again only if it is slower by a quarter. */
#define MARGIN_ON 1.25

void adapt_init(struct adapt *a, unsigned int threads)
{
	*a = (struct adapt){ .threads = threads, .skipped = ADAPT_PROBE_EVERY };
}

void adapt_packed(struct adapt *a, uint64_t bytes, uint64_t ns)
{
	a->packed_bytes += bytes;
	a->packed_ns += ns;
}

void adapt_sent(struct adapt *a, uint64_t bytes, uint64_t ns)
{
	double link, packer;

	a->sent_bytes += bytes;
	a->sent_ns += ns;
	if (a->sent_bytes < ADAPT_WINDOW_BYTES && a->sent_ns < ADAPT_WINDOW_NS)
		return;
	if (a->sent_ns && a->packed_ns) {
		link = (double)a->sent_bytes / a->sent_ns;
		packer = (double)a->packed_bytes / a->packed_ns * a->threads;
		a->on = packer > link * (a->on ? 1.0 : MARGIN_ON);
	}
	a->sent_bytes = 0;
	a->sent_ns = 0;
	a->packed_bytes /= 2;
	a->packed_ns /= 2;
}

enum adapt_choice adapt_next(struct adapt *a)
{
	if (a->on)
		return ADAPT_PACK;
	if (++a->skipped < ADAPT_PROBE_EVERY)
		return ADAPT_RAW;
	a->skipped = 0;
	return ADAPT_PROBE;
}
