/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Files as disks, a store in a temporary directory, and a TCP connection over loopback
 * between a thread that ships and a thread that receives.
 */
#ifndef VMR_SELFTESTS_SHIP_RIG_H
#define VMR_SELFTESTS_SHIP_RIG_H

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "userspace/primary/ship.h"
#include "userspace/replica/receive.h"
#include "unit.h"

#define RIG_MAX_DISKS 4
#define RIG_VM "vm1"
#define RIG_UUID "00112233-4455-6677-8899-aabbccddeeff"

struct rig_disk {
	uint64_t size_bytes;
	uint32_t chunk_bytes;
	uint8_t *model;			/* what the file holds */
	int fd;
};

struct rig {
	char dir[64];			/* temporary directory */
	char root[96];			/* of the store, below it or elsewhere */
	struct store *store;
	unsigned int disk_count;
	struct rig_disk disks[RIG_MAX_DISKS];
	uint64_t pass;
};

/* A repeatable stream of numbers (xorshift64*). */
static inline uint64_t rig_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545f4914f6cdd1dull;
}

static inline void rig_fail(const char *what)
{
	printf("Bail out! %s: %s\n", what, strerror(errno));
	exit(1);
}

static inline double rig_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

/* Zeros, text that packs well, or noise that does not. */
static inline void rig_fill(uint8_t *at, uint64_t bytes, unsigned int kind, uint64_t *seed)
{
	memset(at, 0, bytes);
	for (uint64_t i = 0; kind == 1 && i < bytes; i++)
		at[i] = "the quick brown fox "[i % 20] + (i / 4096) % 3;
	for (uint64_t i = 0; kind == 2 && i + 8 <= bytes; i += 8) {
		uint64_t r = rig_random(seed);

		memcpy(at + i, &r, 8);
	}
}

static inline void rig_write(struct rig_disk *disk, uint64_t offset, uint64_t bytes)
{
	if (pwrite(disk->fd, disk->model + offset, bytes, offset) != (ssize_t)bytes)
		rig_fail("writing a disk");
}

/* Runs of random lengths of the three kinds. */
static inline void rig_add_disk(struct rig *rig, uint64_t size_bytes, uint32_t chunk_bytes,
				uint64_t seed)
{
	struct rig_disk *disk = &rig->disks[rig->disk_count];
	uint64_t at, run;
	char path[128];

	disk->size_bytes = size_bytes;
	disk->chunk_bytes = chunk_bytes;
	disk->model = calloc(1, size_bytes);
	for (at = 0; at < size_bytes; at += run) {
		run = (1 + rig_random(&seed) % 64) * 4096;
		if (run > size_bytes - at)
			run = size_bytes - at;
		rig_fill(disk->model + at, run, rig_random(&seed) % 3, &seed);
	}
	snprintf(path, sizeof(path), "%s/disk%u", rig->dir, rig->disk_count++);
	disk->fd = open(path, O_RDWR | O_CREAT | O_DIRECT | O_CLOEXEC, 0600);
	if (disk->fd < 0)
		disk->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (disk->fd < 0)
		rig_fail(path);
	fcntl(disk->fd, F_SETFL, fcntl(disk->fd, F_GETFL) & ~O_DIRECT);
	rig_write(disk, 0, size_bytes);
	fsync(disk->fd);
	fcntl(disk->fd, F_SETFL, fcntl(disk->fd, F_GETFL) | O_DIRECT);
}

static inline void rig_init(struct rig *rig)
{
	*rig = (struct rig){ .dir = "/tmp/vmreplica-test-XXXXXX" };
	if (!mkdtemp(rig->dir))
		rig_fail("mkdtemp");
	snprintf(rig->root, sizeof(rig->root), "%s/store", rig->dir);
}

static inline void rig_create_store(struct rig *rig)
{
	struct store_disk disks[RIG_MAX_DISKS] = { 0 };
	struct store_spec spec = { .vm = RIG_VM,
				   .relationship = RIG_UUID,
				   .disk_count = rig->disk_count,
				   .disks = disks };
	struct err e = { 0 };

	for (unsigned int i = 0; i < rig->disk_count; i++) {
		snprintf(disks[i].name, sizeof(disks[i].name), "disk%u", i);
		snprintf(disks[i].source, sizeof(disks[i].source), "/dev/disk%u", i);
		disks[i].size_bytes = rig->disks[i].size_bytes;
		disks[i].chunk_bytes = rig->disks[i].chunk_bytes;
	}
	if (store_create(rig->root, &spec, &rig->store, &e)) {
		printf("Bail out! %s\n", e.text);
		exit(1);
	}
}

static inline void rig_remove(const char *path)
{
	char command[160];

	snprintf(command, sizeof(command), "rm -rf '%s'", path);
	if (system(command))
		rig_fail(command);
}

static inline void rig_exit(struct rig *rig)
{
	store_close(rig->store);
	for (unsigned int i = 0; i < rig->disk_count; i++) {
		close(rig->disks[i].fd);
		free(rig->disks[i].model);
	}
	rig_remove(rig->dir);
}

/* Two ends of a TCP connection over loopback. */
static inline void rig_connect(int socks[2])
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 1) ||
	    getsockname(listener, (struct sockaddr *)&address, &size))
		rig_fail("listen");
	socks[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connect(socks[0], (struct sockaddr *)&address, size))
		rig_fail("connect");
	socks[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	close(listener);
}

/* --- the receiving thread --------------------------------------------------- */

struct rig_receiver {
	struct rig *rig;
	int sock;
	int stop_fd;
	struct receive_options options;
	struct receive_progress progress;
	pthread_t thread;
	int result;
	struct err error;
};

/*
 * As a replica's connection does with a pass: one frame PASS_BEGIN, then the pass, ERROR on
 * failure.
 */
static inline void *rig_receive(void *arg)
{
	struct rig_receiver *rx = arg;
	struct wire_pass_begin begin;
	struct wire_header header;

	rx->result = session_receive(rx->sock, &header, &begin, sizeof(begin), -1, 60, &rx->error);
	if (!rx->result)
		rx->result = receive_pass(rx->sock, rx->rig->store, &begin, &rx->options,
					  &rx->progress, rx->stop_fd, &rx->error);
	if (rx->result)
		session_send_error(rx->sock, &rx->error);
	close(rx->sock);
	return NULL;
}

static inline void rig_start_receiver(struct rig_receiver *rx, struct rig *rig, int sock)
{
	rx->rig = rig;
	rx->sock = sock;
	rx->stop_fd = -1;
	if (pthread_create(&rx->thread, NULL, rig_receive, rx))
		rig_fail("pthread_create");
}

/* --- the shipping side ------------------------------------------------------ */

static inline int rig_begin(struct rig *rig, int sock, enum wire_pass_kind kind, struct err *e)
{
	const struct wire_pass_begin begin = { .pass = ++rig->pass, .kind = kind, .bytes = 1 };
	const struct wire_header header = {
		.type = WIRE_PASS_BEGIN, .payload_bytes = sizeof(begin), .sequence = rig->pass,
	};

	return session_send(sock, &header, &begin, e);
}

static inline int rig_end(struct rig *rig, int sock, const struct ship_progress *progress,
			  struct err *e)
{
	const struct wire_pass_end end = {
		.pass = rig->pass,
		.cut_time_us = 1700000000000000ull + rig->pass,
		.frames = progress->frames,
		.raw_bytes = progress->raw_bytes,
		.whole = 1,
		.consistency = 1,
	};
	struct wire_header header = { .type = WIRE_PASS_END,
				      .payload_bytes = sizeof(end),
				      .sequence = rig->pass };
	int r = session_send(sock, &header, &end, e);

	if (!r)
		r = session_receive(sock, &header, NULL, 0, -1, 30, e);
	if (!r && (header.type != WIRE_PASS_DURABLE || header.sequence != rig->pass))
		r = err_set(e, -EPROTO, "not PASS_DURABLE of the pass");
	return r;
}

/* Ships spec->disks, which rig_spec() or the test filled in, as one pass over spec->sock. */
static inline int rig_ship(struct rig *rig, struct ship_spec *spec, struct err *e)
{
	int r = rig_begin(rig, spec->sock, spec->initial ? WIRE_PASS_INITIAL : WIRE_PASS_DELTA, e);

	if (!r)
		r = ship_run(spec, e);
	return r ? r : rig_end(rig, spec->sock, spec->progress, e);
}

/* The rig's disks with no extents. */
static inline struct ship_spec rig_spec(const struct rig *rig, struct ship_disk *disks,
					struct ship_progress *progress)
{
	*progress = (struct ship_progress){ 0 };
	for (unsigned int i = 0; i < rig->disk_count; i++)
		disks[i] = (struct ship_disk){
			.fd = rig->disks[i].fd,
			.size_bytes = rig->disks[i].size_bytes,
			.chunk_bytes = rig->disks[i].chunk_bytes,
		};
	return (struct ship_spec){
		.disk_count = rig->disk_count,
		.disks = disks,
		.cancel_fd = -1,
		.progress = progress,
	};
}

static inline void rig_all_extents(const struct rig *rig, struct ship_disk *disks)
{
	for (unsigned int i = 0; i < rig->disk_count; i++)
		extent_list_append(&disks[i].extents, 0, rig->disks[i].size_bytes);
}

static inline void rig_free_extents(const struct rig *rig, struct ship_disk *disks)
{
	for (unsigned int i = 0; i < rig->disk_count; i++)
		extent_list_free(&disks[i].extents);
}

/* True when the file @path holds exactly @model. */
static inline bool rig_file_equals(const char *path, const uint8_t *model, uint64_t bytes)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint8_t *there = malloc(bytes + 1);
	uint64_t have = 0;
	ssize_t got = 1;
	bool same;

	while (fd >= 0 && have <= bytes && got > 0) {
		got = pread(fd, there + have, bytes + 1 - have, have);
		have += got > 0 ? got : 0;
	}
	same = have == bytes && !memcmp(there, model, bytes);
	free(there);
	if (fd >= 0)
		close(fd);
	return same;
}

#endif
