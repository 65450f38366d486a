// SPDX-License-Identifier: GPL-2.0-or-later
/* What this machine can do at most, one thing at a time: what a pass is measured against. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../wire/codec.h"
#include "bench.h"

#define PIECE_BYTES	(256u << 10)
#define BIG_BYTES	(64u << 20)	/* larger than a cache */
#define SECONDS		0.5		/* of each measurement, at least */
#define MOST_BYTES	(1ull << 30)	/* of reading and writing */

struct memory {
	uint8_t *from, *to;	/* BIG_BYTES each */
};

/* Handles one piece, the @number'th; bytes, 0: there is no more, or a negative errno. */
typedef int64_t (*step_fn)(void *arg, uint64_t number);

static int measure(step_fn step, void *arg, struct err *e)
{
	double start = bench_now(), seconds;
	uint64_t bytes = 0, number = 0;
	int64_t did;

	do {
		did = step(arg, number++);
		if (did < 0)
			return err_sys(e, (int)did, "measuring failed");
		bytes += did;
		seconds = bench_now() - start;
	} while (did && seconds < SECONDS);
	printf("{\"bytes_per_second\": %.0f}\n", bytes / seconds);
	return 0;
}

static uint64_t piece_at(uint64_t number)
{
	return number * PIECE_BYTES % BIG_BYTES;
}

static int64_t copy_step(void *arg, uint64_t number)
{
	const struct memory *m = arg;

	memcpy(m->to + piece_at(number), m->from + piece_at(number), PIECE_BYTES);
	return PIECE_BYTES;
}

static int64_t hash_step(void *arg, uint64_t number)
{
	const struct memory *m = arg;
	uint64_t hash = codec_xxh3(m->from + piece_at(number), PIECE_BYTES);

	memcpy(m->to, &hash, sizeof(hash));
	return PIECE_BYTES;
}

static int64_t lz4_step(void *arg, uint64_t number)
{
	const struct memory *m = arg;

	codec_pack(m->to, PIECE_BYTES, m->from + piece_at(number), PIECE_BYTES);
	return PIECE_BYTES;
}

/* What lz4 is given: the data of @path that is not zero, or noise that packs by half. */
static void fill(uint8_t *at, const char *path)
{
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	uint32_t have = 0;
	uint64_t seed = 1;

	while (fd >= 0 && have < BIG_BYTES && read(fd, at + have, PIECE_BYTES) == PIECE_BYTES)
		have += codec_zero(at + have, PIECE_BYTES) ? 0 : PIECE_BYTES;
	if (fd >= 0)
		close(fd);
	for (; have < BIG_BYTES; have++) {
		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		at[have] = seed >> 60;
	}
}

static int measure_memory(step_fn step, const char *path, struct err *e)
{
	struct memory m = { malloc(BIG_BYTES), malloc(BIG_BYTES) };
	int r;

	if (!m.from || !m.to) {
		r = err_set(e, -ENOMEM, "out of memory");
	} else {
		fill(m.from, path);
		memset(m.to, 1, BIG_BYTES);
		r = measure(step, &m, e);
	}
	free(m.from);
	free(m.to);
	return r;
}

/* --- files ------------------------------------------------------------------- */

struct file {
	int fd;
	uint8_t *buffer;	/* PIECE_BYTES */
};

static int64_t read_step(void *arg, uint64_t number)
{
	const struct file *f = arg;
	ssize_t got = pread(f->fd, f->buffer, PIECE_BYTES, number * PIECE_BYTES);

	return got < 0 ? -errno : number * PIECE_BYTES >= MOST_BYTES ? 0 : got;
}

/* At the end what was written is made durable: it counts. */
static int64_t write_step(void *arg, uint64_t number)
{
	const struct file *f = arg;

	if (number * PIECE_BYTES == MOST_BYTES)
		return fdatasync(f->fd) ? -errno : 0;
	if (pwrite(f->fd, f->buffer, PIECE_BYTES, number * PIECE_BYTES) != PIECE_BYTES)
		return errno ? -errno : -EIO;
	return PIECE_BYTES;
}

static int measure_file(bool writes, const char *path, struct err *e)
{
	const int flags = writes ? O_RDWR | O_CREAT | O_CLOEXEC : O_RDONLY | O_CLOEXEC;
	struct file f = { .fd = open(path, flags | O_DIRECT, 0600) };
	void *buffer;
	int r;

	if (f.fd < 0)
		f.fd = open(path, flags, 0600);
	if (f.fd < 0)
		return err_sys(e, -errno, "cannot open %s", path);
	if (posix_memalign(&buffer, 4096, PIECE_BYTES)) {
		r = err_set(e, -ENOMEM, "out of memory");
	} else {
		f.buffer = buffer;
		memset(buffer, 0x5a, PIECE_BYTES);
		r = measure(writes ? write_step : read_step, &f, e);
		free(buffer);
	}
	close(f.fd);
	return r;
}

/* --- loopback ---------------------------------------------------------------- */

static void *drain(void *arg)
{
	uint8_t *buffer = malloc(PIECE_BYTES);

	while (buffer && recv(*(int *)arg, buffer, PIECE_BYTES, MSG_WAITALL) > 0)
		;
	free(buffer);
	return NULL;
}

static int64_t send_step(void *arg, uint64_t number)
{
	const struct file *f = arg;
	ssize_t sent = send(f->fd, f->buffer, PIECE_BYTES, MSG_NOSIGNAL);

	return sent < 0 ? -errno : sent;
}

/* Two ends of a TCP connection over loopback. */
static int connect_pair(int socks[2])
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int r = 0;

	socks[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socks[1] = -1;
	if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 1) ||
	    getsockname(listener, (struct sockaddr *)&address, &size) ||
	    connect(socks[0], (struct sockaddr *)&address, size))
		r = -errno;
	else
		socks[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	close(listener);
	return r;
}

static int measure_loopback(struct err *e)
{
	struct file f = { .buffer = calloc(1, PIECE_BYTES) };
	pthread_t thread;
	int socks[2], r = connect_pair(socks);

	if (r || !f.buffer || pthread_create(&thread, NULL, drain, &socks[1])) {
		r = err_set(e, -EIO, "cannot measure TCP over loopback");
	} else {
		f.fd = socks[0];
		r = measure(send_step, &f, e);
		shutdown(socks[0], SHUT_RDWR);
		pthread_join(thread, NULL);
	}
	free(f.buffer);
	close(socks[0]);
	close(socks[1]);
	return r;
}

int bench_limit(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "", *path = argc > 2 ? argv[2] : NULL;
	struct err e = { 0 };
	int r;

	if (!strcmp(what, "memcpy"))
		r = measure_memory(copy_step, path, &e);
	else if (!strcmp(what, "hash"))
		r = measure_memory(hash_step, path, &e);
	else if (!strcmp(what, "lz4"))
		r = measure_memory(lz4_step, path, &e);
	else if (!strcmp(what, "loopback"))
		r = measure_loopback(&e);
	else if (path && (!strcmp(what, "read") || !strcmp(what, "write")))
		r = measure_file(*what == 'w', path, &e);
	else
		r = err_set(&e, -EINVAL, "limit needs what to measure: see --help");
	return r ? bench_fail(&e) : 0;
}
