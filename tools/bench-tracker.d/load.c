// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Writes to a block device, directly and asynchronously, and says what a write cost. For
 * tools/bench-tracker; the device's contents are lost.
 *
 * Usage: load DEVICE BYTES DEPTH random|sequential FIRST SPAN COUNT
 *        load DEVICE BYTES DEPTH random|sequential FIRST SPAN while COMMAND
 *
 * COUNT writes of BYTES each, DEPTH at a time, to the SPAN bytes from FIRST on: no block
 * twice before each was written once. Or as many as there is time for while COMMAND, for the
 * shell, runs. Prints "WRITES NANOSECONDS-PER-WRITE LONGEST-NANOSECONDS"; what is longest is only
 * known with a COMMAND, as looking at the clock for each write would cost too much.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define DEPTH_MAX	64

struct load {
	int fd;
	aio_context_t context;
	uint64_t bytes, first, blocks;
	uint64_t count;			/* 0: until @child has ended */
	uint64_t step;			/* from block to block; no divisor in common with @blocks */
	unsigned int depth;
	pid_t child;
	uint64_t issued, done;
	uint64_t longest_ns;
	uint64_t since[DEPTH_MAX];	/* by slot; only with a child */
	struct iocb iocbs[DEPTH_MAX];
	void *data;
};

static void die(const char *what)
{
	fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

static uint64_t greatest_divisor(uint64_t a, uint64_t b)
{
	return b ? greatest_divisor(b, a % b) : a;
}

static uint64_t random_step(uint64_t blocks)
{
	uint64_t step = blocks / 3 * 2 + 1;

	while (greatest_divisor(step, blocks) != 1)
		step++;
	return step;
}

static void issue(struct load *load, unsigned int slot)
{
	struct iocb *iocb = &load->iocbs[slot];
	uint64_t block = load->issued++ * load->step % load->blocks;

	iocb->aio_fildes = load->fd;
	iocb->aio_lio_opcode = IOCB_CMD_PWRITE;
	iocb->aio_buf = (uintptr_t)load->data;
	iocb->aio_nbytes = load->bytes;
	iocb->aio_offset = load->first + block * load->bytes;
	iocb->aio_data = slot;
	if (load->child)
		load->since[slot] = now_ns();
	if (syscall(SYS_io_submit, load->context, 1, &iocb) != 1)
		die("cannot write");
}

static bool goes_on(const struct load *load)
{
	return load->child ? waitpid(load->child, NULL, WNOHANG) == 0 :
			     load->issued < load->count;
}

static void take(struct load *load, const struct io_event *event)
{
	uint64_t took;

	if (event->res != (int64_t)load->bytes) {
		errno = event->res < 0 ? -event->res : EIO;
		die("a write failed");
	}
	load->done++;
	if (!load->child)
		return;
	took = now_ns() - load->since[event->data];
	if (took > load->longest_ns)
		load->longest_ns = took;
}

static void run(struct load *load)
{
	struct io_event events[DEPTH_MAX];
	bool more = true;
	unsigned int i;
	long got;

	for (i = 0; i < load->depth && (load->child || load->issued < load->count); i++)
		issue(load, i);
	while (load->done < load->issued) {
		got = syscall(SYS_io_getevents, load->context, 1, DEPTH_MAX, events, NULL);
		if (got < 0)
			die("cannot wait for writes");
		for (i = 0; i < got; i++) {
			take(load, &events[i]);
			more = more && goes_on(load);
			if (more)
				issue(load, events[i].data);
		}
	}
}

static pid_t start(const char *command)
{
	pid_t child = fork();

	if (child < 0)
		die("cannot fork");
	if (child)
		return child;
	/* What it prints is no result of ours. */
	dup2(STDERR_FILENO, STDOUT_FILENO);
	execl("/bin/bash", "bash", "-c", command, NULL);
	_exit(127);
}

static void prepare(struct load *load, char **args)
{
	load->fd = open(args[0], O_RDWR | O_DIRECT | O_CLOEXEC);
	if (load->fd < 0)
		die(args[0]);
	load->bytes = strtoull(args[1], NULL, 0);
	load->depth = strtoul(args[2], NULL, 0);
	load->first = strtoull(args[4], NULL, 0);
	load->blocks = strtoull(args[5], NULL, 0) / load->bytes;
	load->step = strcmp(args[3], "random") ? 1 : random_step(load->blocks);
	if (!load->depth || load->depth > DEPTH_MAX || !load->blocks)
		die("bad numbers");
	load->data = aligned_alloc(4096, load->bytes);
	if (!load->data || syscall(SYS_io_setup, DEPTH_MAX, &load->context))
		die("cannot begin");
	memset(load->data, 'w', load->bytes);
}

int main(int argc, char **argv)
{
	static struct load load;
	uint64_t begin;

	if (argc < 8) {
		fputs("load: see the head of its source for how to call it\n", stderr);
		return 1;
	}
	prepare(&load, argv + 1);
	begin = now_ns();
	if (argc > 8)
		load.child = start(argv[8]);
	else
		load.count = strtoull(argv[7], NULL, 0);
	run(&load);
	printf("%llu %.1f %llu\n", (unsigned long long)load.done,
	       load.done ? (double)(now_ns() - begin) / load.done : 0,
	       (unsigned long long)load.longest_ns);
	return 0;
}
