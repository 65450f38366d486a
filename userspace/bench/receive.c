// SPDX-License-Identifier: GPL-2.0-or-later
/* The replica's end: all of a daemon's but the bus. Ends on SIGTERM or SIGINT. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "../replica/replica.h"
#include "bench.h"

static double seconds_of(struct timeval t)
{
	return t.tv_sec + t.tv_usec / 1e6;
}

/* What it took of the machine, once it has been told to end. */
static void print_usage(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	printf("{\"cpu_seconds\": %.4f, \"user_seconds\": %.4f, \"peak_rss_bytes\": %" PRIu64 "}\n",
	       seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime), seconds_of(usage.ru_utime),
	       bench_peak_rss());
}

int bench_receive(int argc, char **argv)
{
	static const struct option options[] = {
		{ "root", required_argument, NULL, 'r' },
		{ "port", required_argument, NULL, 'p' },
		{ "address", required_argument, NULL, 'a' },
		{ 0 },
	};
	struct replica_options spec = { .address = "127.0.0.1" };
	struct replica *replica;
	struct err e = { 0 };
	sigset_t ends;
	int c, ended;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'r')
			spec.root = optarg;
		else if (c == 'p')
			spec.port = atoi(optarg);
		else if (c == 'a')
			spec.address = optarg;
		else
			return 1;
	}
	if (!spec.root || !spec.port || optind < argc) {
		err_set(&e, -EINVAL, "receive needs --root DIR and --port PORT");
		return bench_fail(&e);
	}
	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGINT);
	pthread_sigmask(SIG_BLOCK, &ends, NULL);
	if (replica_start(&spec, &replica, &e))
		return bench_fail(&e);
	puts("ready");
	fflush(stdout);
	sigwait(&ends, &ended);
	replica_stop(replica);
	print_usage();
	return 0;
}
