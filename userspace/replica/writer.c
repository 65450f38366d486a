// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "writer.h"

/* What O_DIRECT's offsets and lengths are multiples of, everywhere. */
#define DIRECT_ALIGN 4096u

int writer_init(struct writer *w, struct ring *ring, struct store_pass *pass, unsigned int depth,
		uint64_t tag)
{
	*w = (struct writer){ .ring = ring, .pass = pass, .depth = depth, .tag = tag, .fd = -1 };
	w->ops = calloc(depth, sizeof(*w->ops));
	return w->ops ? 0 : -ENOMEM;
}

void writer_exit(struct writer *w)
{
	free(w->ops);
	w->ops = NULL;
}

/* There must be a free one: under_way < depth. */
static struct writer_op *take_op(struct writer *w)
{
	struct writer_op *op = w->ops;

	while (op->state)
		op++;
	return op;
}

static void submit(struct writer *w, struct writer_op *op)
{
	ring_writev(w->ring, op->fd, op->iov + op->first, op->count, op->offset,
		    w->tag + (op - w->ops));
}

static bool follows(const struct writer_op *op, const struct store_place *place)
{
	return op->fd == place->fd && op->offset + op->bytes == place->file_offset &&
	       op->count < WRITER_MAX_IOV;
}

static void append(struct writer_op *op, void *data, uint32_t bytes)
{
	struct iovec *last = op->count ? &op->iov[op->count - 1] : NULL;

	if (last && (uint8_t *)last->iov_base + last->iov_len == data)
		last->iov_len += bytes;
	else
		op->iov[op->count++] = (struct iovec){ data, bytes };
	op->bytes += bytes;
}

/* Adds what lies at @place to *@op, or submits that one and begins another. */
static void put(struct writer *w, struct writer_op **op, struct writer_state *state,
		const struct store_place *place, void *data, uint32_t bytes)
{
	if (*op && !follows(*op, place)) {
		submit(w, *op);
		*op = NULL;
	}
	if (!*op) {
		*op = take_op(w);
		(*op)->state = state;
		(*op)->fd = place->fd;
		if (w->fd != place->fd) {
			w->fd = place->fd;
			w->memory = ring_in_memory(w->fd);
		}
		(*op)->direct = place->direct;
		(*op)->offset = place->file_offset;
		(*op)->bytes = 0;
		(*op)->first = 0;
		(*op)->count = 0;
		state->writes++;
		w->under_way++;
	}
	append(*op, data, bytes);
}

/* Places the next part of a DATA frame. @within is of whole chunks but at the frame's end. */
static int place_part(struct writer *w, const struct batch_frame *frame, struct writer_state *state,
		      struct writer_op **op, struct err *e)
{
	const struct wire_header *h = &frame->header;
	uint32_t left = h->raw_bytes - state->within;
	struct store_place place;
	int r;

	r = store_pass_place(w->pass, h->disk, h->offset + state->within, left, &place, e);
	if (r)
		return r;
	if (!place.length || place.length > frame->room_bytes - state->within)
		return err_set(e, -EIO, "the store placed %" PRIu32 " bytes of %" PRIu32,
			       place.length, left);
	put(w, op, state, &place, frame->raw + state->within, place.length);
	state->within += place.length < left ? place.length : left;
	return 0;
}

int writer_advance(struct writer *w, const struct batch *batch, struct writer_state *state,
		   struct err *e)
{
	struct writer_op *op = NULL;
	int r = 0;

	/* A part that is placed must find a free write, whether or not it follows the last one. */
	while (!r && state->placed < batch->count && w->under_way < w->depth) {
		const struct batch_frame *frame = &batch->frames[state->placed];
		const struct wire_header *h = &frame->header;

		if (h->type == WIRE_ZERO)
			r = store_pass_zero(w->pass, h->disk, h->offset, h->raw_bytes, e);
		else
			r = place_part(w, frame, state, &op, e);
		if (!r && (h->type == WIRE_ZERO || state->within == h->raw_bytes)) {
			state->placed++;
			state->within = 0;
		}
	}
	if (op)
		submit(w, op);
	return r;
}

/* Errors of writes name the file: it tells which of the replica's file systems is full. */
static int write_failed(const struct writer_op *op, int result, struct err *e)
{
	char link[40], path[PATH_MAX];
	ssize_t length;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", op->fd);
	length = readlink(link, path, sizeof(path) - 1);
	path[length > 0 ? length : 0] = 0;
	if (result == -ENOSPC || result == -EDQUOT)
		return err_sys(e, result,
			       "the replica's file system has no room for %.200s: make room there, "
			       "nothing that it had is lost",
			       path);
	return err_sys(e, result, "the replica cannot write %.200s at byte %" PRIu64, path,
		       op->offset);
}

static void skip(struct writer_op *op, uint64_t bytes)
{
	op->offset += bytes;
	op->bytes -= bytes;
	while (op->count && bytes >= op->iov[op->first].iov_len) {
		bytes -= op->iov[op->first].iov_len;
		op->first++;
		op->count--;
	}
	if (bytes) {
		op->iov[op->first].iov_base = (uint8_t *)op->iov[op->first].iov_base + bytes;
		op->iov[op->first].iov_len -= bytes;
	}
}

int writer_ended(struct writer *w, unsigned int index, int result, struct err *e)
{
	struct writer_op *op = &w->ops[index];

	if (result == -EINTR || result == -EAGAIN) {
		submit(w, op);
		return 0;
	}
	if (result >= 0 && (uint64_t)result < op->bytes) {
		if (op->direct)
			result &= ~(int)(DIRECT_ALIGN - 1);
		if (!result)
			return write_failed(op, -ENOSPC, e);
		skip(op, result);
		submit(w, op);
		return 0;
	}
	op->state->writes--;
	op->state = NULL;
	w->under_way--;
	return result < 0 ? write_failed(op, result, e) : 0;
}
