// SPDX-License-Identifier: GPL-2.0-or-later
#include <poll.h>
#include <time.h>

#include "share.h"

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000LL + ts.tv_nsec / 1000000;
}

static bool readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return fd >= 0 && poll(&p, 1, 0) > 0;
}

struct share share_begin(int stop_fd, int busy_fd, unsigned int ms)
{
	return (struct share){ stop_fd, busy_fd, now_ms() + ms };
}

bool share_over(const struct share *share)
{
	return readable(share->stop_fd) ||
	       (now_ms() >= share->until_ms && readable(share->busy_fd));
}
