/* SPDX-License-Identifier: GPL-2.0-or-later */
/* When a merge is to be left, so that a pass or a shutdown does not wait for it. */
#ifndef VMR_STORE_SHARE_H
#define VMR_STORE_SHARE_H

#include <stdbool.h>
#include <stdint.h>

#define SHARE_RUN_BYTES	  (8u << 20)	/* copied between two looks at whether to leave */
#define SHARE_DIRTY_BYTES (64u << 20)	/* between two syncs: bounds what memory holds back */

struct share {
	int stop_fd;		/* as of store_maintain() */
	int busy_fd;
	int64_t until_ms;	/* CLOCK_MONOTONIC: from then on busy_fd counts */
};

struct share share_begin(int stop_fd, int busy_fd, unsigned int ms);
bool share_over(const struct share *share);

#endif
