// SPDX-License-Identifier: GPL-2.0-or-later
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench.h"

static const char usage[] =
	"Usage: vmreplica-bench send --disk FILE --to HOST:PORT [OPTION...]\n"
	"       vmreplica-bench receive --root DIR --port PORT [--address ADDRESS]\n"
	"       vmreplica-bench limit memcpy|hash|lz4|loopback [FILE]\n"
	"       vmreplica-bench limit read|write FILE\n"
	"\n"
	"Sends passes of a file, as the daemon sends those of a disk, and receives them\n"
	"into a replica store; measures what the machine itself can do. Results are printed as\n"
	"JSON. tools/bench compares them with other programs'.\n"
	"\n"
	"send:\n"
	"  --disk FILE        a file or a block device, read only\n"
	"  --extents FILE     what a delta pass holds: lines \"OFFSET LENGTH\", in bytes,\n"
	"                     ascending, of whole chunks; without it an initial pass of all\n"
	"  --compare          compares with the replica first and sends what differs\n"
	"  --chunk SIZE       4k to 1M, default 64k\n"
	"  --compress HOW     off, lz4, auto (default)\n"
	"  --vm NAME          of the replica, default bench; made if it is not there\n"
	"  --passes N         sends the delta so often, default 1\n"
	"  --interval SECONDS from the beginning of one to the next, default 0\n"
	"  --depth N, --threads N, --buffer SIZE\n"
	"                     reads in flight, packing threads, bytes of one read\n";

int bench_fail(const struct err *e)
{
	fprintf(stderr, "vmreplica-bench: %s\n", e->text);
	return 1;
}

double bench_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

uint64_t bench_peak_rss(void)
{
	FILE *status = fopen("/proc/self/status", "re");
	uint64_t kib = 0;
	char line[128];

	while (status && fgets(line, sizeof(line), status))
		if (sscanf(line, "VmHWM: %" SCNu64 " kB", &kib) == 1)
			break;
	if (status)
		fclose(status);
	return kib << 10;
}

bool bench_parse_size(const char *text, uint64_t *bytes)
{
	static const char units[] = "kMGT";
	const char *unit;
	char *end;

	*bytes = strtoull(text, &end, 10);
	if (end == text || *text == '-')
		return false;
	unit = *end ? strchr(units, *end == 'K' ? 'k' : *end) : NULL;
	if (unit)
		*bytes <<= 10 * (unit - units + 1);
	return !*end || (unit && !end[1]);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*main)(int argc, char **argv);
	} commands[] = {
		{ "send", bench_send },
		{ "receive", bench_receive },
		{ "limit", bench_limit },
	};

	if (argc > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))) {
		fputs(usage, stdout);
		return 0;
	}
	for (size_t i = 0; argc > 1 && i < sizeof(commands) / sizeof(commands[0]); i++)
		if (!strcmp(argv[1], commands[i].name))
			return commands[i].main(argc - 1, argv + 1);
	fputs(usage, stderr);
	return 1;
}
