// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include <linux/magic.h>

#include "ring.h"

#define CANCEL_TAG UINT64_MAX

struct ring {
	struct io_uring uring;
	unsigned int under_way;		/* queued or submitted, not yet seen complete */
	int failed;			/* first failure to queue, reported by ring_wait() */
	struct bufpool pool; /* ring_register()'s; base null: buffers are not registered */
	bool fixed_files;
	int *files;
	bool *in_memory;		/* of each of @files */
	int written_fd;			/* the last of ring_writev(), -1: none */
	bool written_in_memory;
	/* Operations that were done at once, in a circle: ready_from, ready_count of ready_room. */
	struct ring_done *ready;
	unsigned int ready_room, ready_from, ready_count;
};

int ring_create(struct ring **out, unsigned int entries, struct err *e)
{
	const unsigned int flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
	struct ring *ring = calloc(1, sizeof(*ring));
	int r;

	if (!ring)
		return err_set(e, -ENOMEM, "out of memory");
	ring->written_fd = -1;
	ring->ready_room = entries;
	ring->ready = calloc(entries, sizeof(*ring->ready));
	if (!ring->ready) {
		free(ring);
		return err_set(e, -ENOMEM, "out of memory");
	}
	r = io_uring_queue_init(entries, &ring->uring, flags);
	if (r == -EINVAL)
		r = io_uring_queue_init(entries, &ring->uring, 0);
	if (r) {
		free(ring->ready);
		free(ring);
		return err_sys(
			e, r,
			"cannot set up io_uring (is it disabled by kernel.io_uring_disabled?)");
	}
	*out = ring;
	return 0;
}

void ring_destroy(struct ring *ring)
{
	if (!ring)
		return;
	io_uring_queue_exit(&ring->uring);
	free(ring->ready);
	free(ring->in_memory);
	free(ring->files);
	free(ring);
}

bool ring_in_memory(int fd)
{
	struct statfs fs;

	return !fstatfs(fd, &fs) && (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC);
}

static bool register_pool(struct ring *ring, const struct bufpool *pool)
{
	struct iovec *iov = calloc(pool->count, sizeof(*iov));
	bool done;

	if (!iov)
		return false;
	for (unsigned int i = 0; i < pool->count; i++)
		iov[i] = (struct iovec){ bufpool_at(pool, i), pool->bytes_each };
	done = !io_uring_register_buffers(&ring->uring, iov, pool->count);
	free(iov);
	return done;
}

int ring_register(struct ring *ring, const struct bufpool *pool, const int *files,
		  unsigned int count)
{
	ring->files = calloc(count, sizeof(*files));
	ring->in_memory = calloc(count, sizeof(*ring->in_memory));
	if (!ring->files || !ring->in_memory)
		return -ENOMEM;
	for (unsigned int i = 0; i < count; i++)
		ring->in_memory[i] = ring_in_memory(files[i]);
	memcpy(ring->files, files, count * sizeof(*files));
	ring->fixed_files = !io_uring_register_files(&ring->uring, files, count);
	if (register_pool(ring, pool))
		ring->pool = *pool;
	return 0;
}

/* Null only when the ring is broken or overfull; ring_wait() says so. */
static struct io_uring_sqe *next_sqe(struct ring *ring)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->uring);

	if (!sqe) {
		io_uring_submit(&ring->uring);
		sqe = io_uring_get_sqe(&ring->uring);
	}
	if (!sqe)
		ring->failed = -EBUSY;
	else
		ring->under_way++;
	return sqe;
}

/* What was done at once; at most @entries operations are under way, so there is room. */
static void done_at_once(struct ring *ring, uint64_t tag, ssize_t result)
{
	unsigned int at = (ring->ready_from + ring->ready_count) % ring->ready_room;

	if (ring->ready_count == ring->ready_room) {
		ring->failed = -EBUSY;
		return;
	}
	ring->ready[at] = (struct ring_done){ tag, result < 0 ? -errno : (int)result };
	ring->ready_count++;
}

static unsigned int take_ready(struct ring *ring, struct ring_done *done, unsigned int room)
{
	unsigned int count = 0;

	for (; count < room && ring->ready_count; ring->ready_count--) {
		done[count++] = ring->ready[ring->ready_from];
		ring->ready_from = (ring->ready_from + 1) % ring->ready_room;
	}
	return count;
}

void ring_read(struct ring *ring, unsigned int file, void *buffer, uint32_t bytes, uint64_t offset,
	       uint64_t tag)
{
	int fd = ring->fixed_files ? (int)file : ring->files[file];
	struct io_uring_sqe *sqe;

	if (ring->in_memory[file]) {
		done_at_once(ring, tag, pread(ring->files[file], buffer, bytes, offset));
		return;
	}
	sqe = next_sqe(ring);
	if (!sqe)
		return;
	if (ring->pool.base)
		io_uring_prep_read_fixed(sqe, fd, buffer, bytes, offset,
					 ((uint8_t *)buffer - ring->pool.base) /
						 ring->pool.bytes_each);
	else
		io_uring_prep_read(sqe, fd, buffer, bytes, offset);
	if (ring->fixed_files)
		sqe->flags |= IOSQE_FIXED_FILE;
	io_uring_sqe_set_data64(sqe, tag);
}

void ring_writev(struct ring *ring, int fd, const struct iovec *iov, unsigned int count,
		 uint64_t offset, uint64_t tag)
{
	struct io_uring_sqe *sqe;

	if (fd != ring->written_fd) {
		ring->written_fd = fd;
		ring->written_in_memory = ring_in_memory(fd);
	}
	if (ring->written_in_memory) {
		done_at_once(ring, tag, pwritev(fd, iov, count, offset));
		return;
	}
	sqe = next_sqe(ring);
	if (!sqe)
		return;
	io_uring_prep_writev(sqe, fd, iov, count, offset);
	io_uring_sqe_set_data64(sqe, tag);
}

void ring_sendmsg(struct ring *ring, int sock, const struct msghdr *msg, uint64_t tag)
{
	struct io_uring_sqe *sqe = next_sqe(ring);

	if (!sqe)
		return;
	io_uring_prep_sendmsg(sqe, sock, msg, MSG_NOSIGNAL | MSG_WAITALL);
	io_uring_sqe_set_data64(sqe, tag);
}

void ring_recv(struct ring *ring, int sock, void *buffer, uint32_t bytes, bool all, uint64_t tag)
{
	struct io_uring_sqe *sqe = next_sqe(ring);

	if (!sqe)
		return;
	io_uring_prep_recv(sqe, sock, buffer, bytes, all ? MSG_WAITALL : 0);
	io_uring_sqe_set_data64(sqe, tag);
}

void ring_poll(struct ring *ring, int fd, uint64_t tag)
{
	struct io_uring_sqe *sqe = next_sqe(ring);

	if (!sqe)
		return;
	io_uring_prep_poll_add(sqe, fd, POLLIN | POLLRDHUP);
	io_uring_sqe_set_data64(sqe, tag);
}

/* Takes what has completed, without waiting. */
static unsigned int reap(struct ring *ring, struct ring_done *done, unsigned int room)
{
	struct io_uring_cqe *cqe;
	unsigned int count = 0;

	while (count < room && !io_uring_peek_cqe(&ring->uring, &cqe)) {
		ring->under_way--;
		if (cqe->user_data != CANCEL_TAG)
			done[count++] = (struct ring_done){ cqe->user_data, cqe->res };
		io_uring_cqe_seen(&ring->uring, cqe);
	}
	return count;
}

int ring_wait(struct ring *ring, struct ring_done *done, unsigned int room, int timeout_ms,
	      struct err *e)
{
	struct __kernel_timespec timeout = { timeout_ms / 1000, timeout_ms % 1000 * 1000000LL };
	unsigned int count;
	struct io_uring_cqe *cqe;
	int r;

	if (ring->failed)
		return err_sys(e, ring->failed, "io_uring does not take another operation");
	count = take_ready(ring, done, room);
	if (count)
		r = io_uring_submit_and_get_events(&ring->uring);
	else
		r = io_uring_submit_and_wait_timeout(&ring->uring, &cqe, 1, &timeout, NULL);
	if (r < 0 && r != -ETIME && r != -EINTR && r != -EAGAIN && r != -EBUSY)
		return err_sys(e, r, "io_uring failed");
	return (int)(count + reap(ring, done + count, room - count));
}

bool ring_drain(struct ring *ring, int timeout_ms)
{
	struct ring_done done[16];
	struct timespec start, now;
	struct io_uring_sqe *sqe;

	if (!ring->under_way)
		return true;
	sqe = next_sqe(ring);
	if (sqe) {
		io_uring_prep_cancel64(sqe, 0, IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL);
		io_uring_sqe_set_data64(sqe, CANCEL_TAG);
	}
	clock_gettime(CLOCK_MONOTONIC, &start);
	while (ring->under_way) {
		if (ring_wait(ring, done, 16, 100, NULL) < 0)
			return false;
		clock_gettime(CLOCK_MONOTONIC, &now);
		if (timeout_ms >= 0 &&
		    (now.tv_sec - start.tv_sec) * 1000 + (now.tv_nsec - start.tv_nsec) / 1000000 >=
			    timeout_ms)
			break;
	}
	return !ring->under_way;
}
