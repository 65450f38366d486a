/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which passes of a chain are to stay, and how long a chain may become. Pure: no I/O. */
#ifndef VMR_STORE_HISTORY_H
#define VMR_STORE_HISTORY_H

#include "manifest.h"

#define HISTORY_SLACK 8 /* passes between kept ones that are left until there are more */

struct history {			/* as store_set_history() */
	unsigned int points;
	uint32_t spacing_s;
};

/* For each pass whether it stays: the newest, the newest point, its history. To be freed. */
bool *history_mark(const struct history *h, const struct manifest *m);

/* With so many passes merges get more time; even the newest point is merged; no pass is taken. */
unsigned int history_long(const struct history *h);
unsigned int history_too_long(const struct history *h);
unsigned int history_full(const struct history *h);

#endif
