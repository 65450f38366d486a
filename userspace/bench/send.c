// SPDX-License-Identifier: GPL-2.0-or-later
/* The primary's end: one disk, an initial pass or some deltas over one session. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <linux/fs.h>

#include "../primary/compare.h"
#include "../primary/ship.h"
#include "../wire/session.h"
#include "bench.h"

#define DURABLE_TIMEOUT_S 600

struct send {
	const char *disk, *extents, *vm, *to;
	unsigned int passes;
	double interval;
	bool initial;
	bool compare;			/* sends of all only what differs on the replica */
	struct ship_disk ship;
	struct ship_options options;
	struct session_opened opened;
	int sock;
	uint64_t pass, wire_bytes, frames, zero_bytes;
	double *latencies;		/* from the cut, which is the beginning, to PASS_DURABLE */
};

static int parse_compress(const char *text, enum ship_compress *how)
{
	static const char *const names[] = { "off", "lz4", "auto" };

	for (unsigned int i = 0; i < 3; i++)
		if (!strcmp(text, names[i])) {
			*how = (enum ship_compress)i;
			return 0;
		}
	return -EINVAL;
}

static int take_option(struct send *s, int c, const char *value)
{
	uint64_t number = 0;
	bool sized = bench_parse_size(value, &number);

	switch (c) {
	case 'd':
		s->disk = value;
		return 0;
	case 'x':
		s->extents = value;
		s->initial = false;
		return 0;
	case 'v':
		s->vm = value;
		return 0;
	case 't':
		s->to = value;
		return 0;
	case 'z':
		return parse_compress(value, &s->options.compress);
	case 'i':
		s->interval = atof(value);
		return 0;
	case 'c':
		s->ship.chunk_bytes = number;
		break;
	case 'n':
		s->passes = number;
		break;
	case 'q':
		s->options.depth = number;
		break;
	case 'w':
		s->options.threads = number;
		break;
	case 'b':
		s->options.buffer_bytes = number;
		break;
	default:
		return -EINVAL;
	}
	return sized ? 0 : -EINVAL;
}

static int parse(struct send *s, int argc, char **argv, struct err *e)
{
	static const struct option options[] = {
		{ "disk", required_argument, NULL, 'd' },
		{ "extents", required_argument, NULL, 'x' },
		{ "vm", required_argument, NULL, 'v' },
		{ "to", required_argument, NULL, 't' },
		{ "compress", required_argument, NULL, 'z' },
		{ "interval", required_argument, NULL, 'i' },
		{ "chunk", required_argument, NULL, 'c' },
		{ "passes", required_argument, NULL, 'n' },
		{ "depth", required_argument, NULL, 'q' },
		{ "threads", required_argument, NULL, 'w' },
		{ "buffer", required_argument, NULL, 'b' },
		{ "compare", no_argument, NULL, 'm' },
		{ 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
		if (c == 'm')
			s->compare = true;
		else if (c == '?' || take_option(s, c, optarg))
			return err_set(e, -EINVAL, "an option is not understood: see --help");
	if (!s->disk || !s->to || optind < argc || !strchr(s->to, ':') || !s->passes)
		return err_set(e, -EINVAL, "send needs --disk FILE and --to HOST:PORT");
	return 0;
}

static int read_extents(struct send *s, struct err *e)
{
	FILE *file = fopen(s->extents, "re");
	uint64_t offset, length;
	int r = 0;

	if (!file)
		return err_sys(e, -errno, "cannot open %s", s->extents);
	while (!r && fscanf(file, "%" SCNu64 " %" SCNu64, &offset, &length) == 2)
		r = extent_list_append(&s->ship.extents, offset, length);
	if (!r && !feof(file))
		r = -EINVAL;
	fclose(file);
	return r ? err_sys(e, r, "%s is no list of extents", s->extents) : 0;
}

static int open_disk(struct send *s, struct err *e)
{
	struct stat st;
	int r = 0;

	s->ship.fd = open(s->disk, O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (s->ship.fd < 0 && errno == EINVAL)
		s->ship.fd = open(s->disk, O_RDONLY | O_CLOEXEC);
	if (s->ship.fd < 0 || fstat(s->ship.fd, &st))
		return err_sys(e, -errno, "cannot open %s", s->disk);
	s->ship.size_bytes = st.st_size;
	if (S_ISBLK(st.st_mode) && ioctl(s->ship.fd, BLKGETSIZE64, &s->ship.size_bytes))
		return err_sys(e, -errno, "cannot tell the size of %s", s->disk);
	if (s->extents)
		return read_extents(s, e);
	r = extent_list_append(&s->ship.extents, 0, s->ship.size_bytes);
	return r ? err_sys(e, r, "cannot send %s", s->disk) : 0;
}

static int connect_to(struct send *s, struct err *e)
{
	struct session_open *open = calloc(1, sizeof(*open));
	char host[256];
	const char *colon = strrchr(s->to, ':');
	int r;

	if (!open)
		return err_set(e, -ENOMEM, "out of memory");
	snprintf(host, sizeof(host), "%.*s", (int)(colon - s->to), s->to);
	snprintf(open->vm, sizeof(open->vm), "%s", s->vm);
	memset(open->relationship, 0xbe, sizeof(open->relationship));
	open->disk_count = 1;
	strcpy(open->disks[0].name, "disk");
	snprintf(open->disks[0].source, sizeof(open->disks[0].source), "%s", s->disk);
	open->disks[0].size_bytes = s->ship.size_bytes;
	open->disks[0].chunk_bytes = s->ship.chunk_bytes;
	s->sock = session_connect(host, atoi(colon + 1), -1, e);
	r = s->sock < 0 ? s->sock : session_open(s->sock, open, &s->opened, -1, e);
	free(open);
	if (s->compare)
		s->initial = s->opened.state != WIRE_STATE_COMPLETE;
	if (!r && s->initial != (s->opened.state != WIRE_STATE_COMPLETE))
		r = err_set(e, -EINVAL, "an initial pass comes first, and once");
	s->pass = s->opened.last_pass;
	return r;
}

/* Leaves of the extents what differs. */
static int compare(struct send *s, struct ship_progress *progress, struct err *e)
{
	const struct compare_spec spec = {
		.sock = s->sock,
		.disk_count = 1,
		.disks = &s->ship,
		.cancel_fd = -1,
		.progress = progress,
	};
	struct compare_cursor at = { 0 };
	struct extent_list differ = { 0 };
	int r = 0;

	while (!r && !compare_ended(&spec, &at))
		r = compare_slice(&spec, &at, &differ, e);
	extent_list_free(&s->ship.extents);
	s->ship.extents = differ;
	return r;
}

static int begin_pass(struct send *s, struct err *e)
{
	const struct wire_pass_begin begin = {
		.pass = ++s->pass,
		.kind = s->initial ? WIRE_PASS_INITIAL : WIRE_PASS_DELTA,
		.bytes = s->ship.extents.bytes,
	};
	const struct wire_header header = {
		.type = WIRE_PASS_BEGIN,
		.payload_bytes = sizeof(begin),
		.sequence = s->pass,
	};

	return session_send(s->sock, &header, &begin, e);
}

static int end_pass(struct send *s, const struct ship_progress *progress, struct err *e)
{
	const struct wire_pass_end end = {
		.pass = s->pass,
		.cut_time_us = time(NULL) * 1000000ull,
		.frames = atomic_load(&progress->frames),
		.raw_bytes = atomic_load(&progress->raw_bytes),
		.whole = !s->initial,
		.consistency = !s->initial,
	};
	struct wire_header header = {
		.type = WIRE_PASS_END,
		.payload_bytes = sizeof(end),
		.sequence = s->pass,
	};
	int r = session_send(s->sock, &header, &end, e);

	while (!r) {
		r = session_receive(s->sock, &header, NULL, 0, -1, DURABLE_TIMEOUT_S, e);
		if (!r && header.type == WIRE_PASS_DURABLE)
			break;
		if (!r && header.type != WIRE_CHECKPOINTED)
			r = err_set(e, -EPROTO, "the replica answered %s",
				    wire_type_name(header.type));
	}
	return r;
}

static int run_pass(struct send *s, struct err *e)
{
	struct ship_progress progress = { 0 };
	const struct ship_spec spec = {
		.sock = s->sock,
		.disk_count = 1,
		.disks = &s->ship,
		.initial = s->initial,
		.cancel_fd = -1,
		.options = s->options,
		.progress = &progress,
	};
	int r = s->compare ? compare(s, &progress, e) : 0;

	if (!r)
		r = begin_pass(s, e);
	if (!r)
		r = ship_run(&spec, e);
	if (!r)
		r = end_pass(s, &progress, e);
	s->wire_bytes += atomic_load(&progress.wire_bytes);
	s->frames += atomic_load(&progress.frames);
	s->zero_bytes += atomic_load(&progress.zero_bytes);
	return r;
}

static int run_passes(struct send *s, struct err *e)
{
	double start = bench_now(), began, left;
	int r = 0;

	for (unsigned int i = 0; i < s->passes && !r; i++) {
		left = start + i * s->interval - bench_now();
		if (left > 0)
			usleep(left * 1e6);
		began = bench_now();
		r = run_pass(s, e);
		s->latencies[i] = bench_now() - began;
	}
	return r;
}

static double seconds_of(struct timeval t)
{
	return t.tv_sec + t.tv_usec / 1e6;
}

static void print_result(const struct send *s, double seconds)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	printf("{\"seconds\": %.4f, \"cpu_seconds\": %.4f, \"user_seconds\": %.4f, "
	       "\"disk_bytes\": %" PRIu64 ", \"wire_bytes\": %" PRIu64 ", \"frames\": %" PRIu64
	       ", \"zero_bytes\": %" PRIu64 ", \"peak_rss_bytes\": %" PRIu64 ", \"latencies\": [",
	       seconds, seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime),
	       seconds_of(usage.ru_utime), s->ship.extents.bytes * s->passes, s->wire_bytes,
	       s->frames, s->zero_bytes, bench_peak_rss());
	for (unsigned int i = 0; i < s->passes; i++)
		printf("%s%.5f", i ? ", " : "", s->latencies[i]);
	puts("]}");
}

int bench_send(int argc, char **argv)
{
	struct send s = {
		.vm = "bench",
		.passes = 1,
		.initial = true,
		.ship = { .fd = -1, .chunk_bytes = 64 << 10 },
		.options.compress = SHIP_COMPRESS_AUTO,
		.sock = -1,
	};
	double start = bench_now();
	struct err e = { 0 };
	int r;

	r = parse(&s, argc, argv, &e);
	if (!r)
		r = open_disk(&s, &e);
	if (!r)
		r = connect_to(&s, &e);
	s.latencies = calloc(s.passes, sizeof(*s.latencies));
	if (!r && !s.latencies)
		r = err_set(&e, -ENOMEM, "out of memory");
	if (!r)
		r = run_passes(&s, &e);
	if (!r)
		print_result(&s, bench_now() - start);
	free(s.latencies);
	extent_list_free(&s.ship.extents);
	if (s.sock >= 0)
		close(s.sock);
	if (s.ship.fd >= 0)
		close(s.ship.fd);
	return r ? bench_fail(&e) : 0;
}
