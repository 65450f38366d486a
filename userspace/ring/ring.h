/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An io_uring of one thread: the thread that creates it makes all calls.
 *
 * An operation is queued by ring_read() and its like, goes to the kernel with the
 * next ring_wait(), and comes back from it as a struct ring_done with
 * its tag. What it points to must live until then. At most @entries operations
 * may be under way at a time; queueing never fails (what cannot be
 * queued is reported by ring_wait()).
 *
 * Reads and writes of files in memory (tmpfs) are done when they are queued: the kernel would
 * hand them to threads of its own, which costs more than it spares.
 */
#ifndef VMR_RING_RING_H
#define VMR_RING_RING_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "../common/err.h"
#include "bufpool.h"

struct ring;

struct ring_done {
	uint64_t tag;	/* as given when the operation was queued; not UINT64_MAX */
	int result;	/* bytes or what the operation says; negative errno */
};

int ring_create(struct ring **ring, unsigned int entries, struct err *e);

/* Operations under way are left to the kernel: ring_drain() before it. */
void ring_destroy(struct ring *ring);

/* Whether @fd is a file in memory: more than a few operations at a time gain nothing there. */
bool ring_in_memory(int fd);

/*
 * Registers what ring_read() uses: spares the kernel to look up the file and to pin the
 * pages for each operation. Where the kernel or a limit (RLIMIT_MEMLOCK) says no, reads
 * work all the same. @files are copied. -ENOMEM.
 */
int ring_register(struct ring *ring, const struct bufpool *pool, const int *files,
		  unsigned int count);

/* Reads from files[@file] of ring_register() into memory of its pool. */
void ring_read(struct ring *ring, unsigned int file, void *buffer, uint32_t bytes, uint64_t offset,
	       uint64_t tag);
void ring_writev(struct ring *ring, int fd, const struct iovec *iov, unsigned int count,
		 uint64_t offset, uint64_t tag);
/* Goes on after a short send by itself; a result that is short all the same is possible. */
void ring_sendmsg(struct ring *ring, int sock, const struct msghdr *msg, uint64_t tag);
/* @all: completes with all @bytes, or fewer if the peer closes. */
void ring_recv(struct ring *ring, int sock, void *buffer, uint32_t bytes, bool all, uint64_t tag);
/* Completes once, when @fd is readable or hung up. */
void ring_poll(struct ring *ring, int fd, uint64_t tag);

/*
 * Submits what is queued and waits for completions. Returns how many were put into
 * @done (at most @room), 0 after @timeout_ms, or a negative errno.
 */
int ring_wait(struct ring *ring, struct ring_done *done, unsigned int room, int timeout_ms,
	      struct err *e);

/*
 * Cancels what can be canceled and waits for the end of the rest, -1: without a
 * bound. True when nothing is under way any more.
 */
bool ring_drain(struct ring *ring, int timeout_ms);

#endif
