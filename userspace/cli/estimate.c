// SPDX-License-Identifier: GPL-2.0-or-later
#include "estimate.h"

#define MEMORY_S	10.0	/* a sample's weight falls to 1/2 after about so long */
#define MIN_STEP_S	0.2	/* samples closer than this say too little */

void estimate_sample(struct estimate *estimate, double now_s, uint64_t done_bytes)
{
	double step = now_s - estimate->last_s, rate, weight;

	/* The bytes of a new pass may be counted from a lower number. */
	if (!estimate->last_s || done_bytes < estimate->last_bytes) {
		*estimate = (struct estimate){ now_s, done_bytes, -1 };
		return;
	}
	if (step < MIN_STEP_S)
		return;
	rate = (done_bytes - estimate->last_bytes) / step;
	weight = step / (step + MEMORY_S);
	estimate->rate = estimate->rate < 0 ? rate :
					      estimate->rate + weight * (rate - estimate->rate);
	estimate->last_s = now_s;
	estimate->last_bytes = done_bytes;
}

double estimate_left(const struct estimate *estimate, uint64_t done_bytes, uint64_t total_bytes)
{
	if (done_bytes >= total_bytes)
		return 0;
	/* Less than a byte a second is standing still. */
	return estimate->rate < 1 ? -1 : (total_bytes - done_bytes) / estimate->rate;
}
