/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How fast it goes and how long it will take: the average of about the last ten seconds. */
#ifndef VMR_CLI_ESTIMATE_H
#define VMR_CLI_ESTIMATE_H

#include <stdint.h>

struct estimate {
	double last_s;		/* time of the last sample, 0: none */
	uint64_t last_bytes;
	double rate;		/* bytes per second, < 0: not known yet */
};

/* @now_s: seconds, ascending; @done_bytes so far. */
void estimate_sample(struct estimate *estimate, double now_s, uint64_t done_bytes);

/* Seconds for the rest; < 0: not known. */
double estimate_left(const struct estimate *estimate, uint64_t done_bytes, uint64_t total_bytes);

#endif
