// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Prints how fast this host's time stamp counter runs, in kHz, for tools/guest. An emulated CPU
 * has the same counter. A guest that measures it while the host is busy may be wrong by a factor
 * of ten, and its clock with it.
 */
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <x86intrin.h>

enum {
	TRIES = 1000,		/* of which the one counts that was disturbed least */
	PAUSE_NS = 50 * 1000 * 1000,
};

struct instant {
	uint64_t ns, ticks;
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_RAW, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static struct instant look(void)
{
	struct instant best = { 0 };
	uint64_t least = UINT64_MAX;

	for (int i = 0; i < TRIES; i++) {
		uint64_t before = now_ns(), ticks = __rdtsc(), after = now_ns();

		if (after - before < least) {
			least = after - before;
			best = (struct instant){ .ns = before, .ticks = ticks };
		}
	}
	return best;
}

int main(void)
{
	struct timespec pause = { .tv_nsec = PAUSE_NS };
	struct instant a = look();

	nanosleep(&pause, NULL);
	struct instant b = look();

	printf("%.0f\n", (double)(b.ticks - a.ticks) / (double)(b.ns - a.ns) * 1e6);
	return 0;
}
