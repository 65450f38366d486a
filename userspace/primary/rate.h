/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Limits of how much is sent: one for the host, by time of day, and one for each
 * relationship. Rates are in bytes a second, 0: no limit. Pure; who applies them is
 * peer_set_rate().
 */
#ifndef VMR_PRIMARY_RATE_H
#define VMR_PRIMARY_RATE_H

#include <stdint.h>

#define RATE_MIN_BYTES		65536		/* a second; less would look like a dead link */
#define RATE_MAX_BYTES		(UINT64_C(1) << 40)
#define RATE_MAX_WINDOWS	16

struct rate_window {
	unsigned int from, to;		/* minutes of the local day, see datetime_in_window() */
	uint64_t rate;
};

struct rate_limits {
	uint64_t rate;			/* outside all windows */
	unsigned int window_count;
	struct rate_window windows[RATE_MAX_WINDOWS];	/* the first one that fits counts */
};

/* "500K", "20M", "1G" bytes a second (of 1024), or "none"; -EINVAL. */
int rate_parse(const char *text, uint64_t *rate);

/* What the host may send at this minute of the day. */
uint64_t rate_at(const struct rate_limits *limits, unsigned int minute);

/*
 * Divides the host's rate among @count transfers, of which @own are the limits of their own:
 * equal shares, except that who may not use its share leaves the rest to the others. @out: at
 * most @own each, together at most @host.
 */
void rate_divide(uint64_t host, unsigned int count, const uint64_t *own, uint64_t *out);

#endif
