// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Stands in for vmreplicad in the tests of tools/guest --service: takes the
 * name on the bus until SIGTERM, or crashes before it when built with -DCRASH.
 */
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <systemd/sd-bus.h>

static volatile sig_atomic_t ended;

static void on_term(int sig)
{
	(void)sig;
	ended = 1;
}

#ifdef CRASH
static const bool crash = true;
#else
static const bool crash;
#endif

int main(void)
{
	struct sigaction term = { .sa_handler = on_term };
	sd_bus *bus;

	fprintf(stderr, "stand-in started\n");
	if (crash)
		abort();
	sigaction(SIGTERM, &term, NULL);
	if (sd_bus_open_system(&bus) < 0 || sd_bus_request_name(bus, "org.vmreplica", 0) < 0)
		return 1;
	while (!ended) {
		sd_bus_process(bus, NULL);
		sd_bus_wait(bus, 200000);
	}
	return 0;
}
