/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The frames of a pass on their way into the socket: gathered into batches of
 * one sendmsg, numbered in the order in which they are put. Zero ranges that
 * follow one another become one frame. Does no I/O itself.
 */
#ifndef VMR_PRIMARY_OUTBOX_H
#define VMR_PRIMARY_OUTBOX_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "../wire/wire.h"
#include "encode.h"

#define OUTBOX_MAX_FRAMES	64			/* in a batch */
/* one ZERO frame: so that progress is seen */
#define OUTBOX_MAX_ZERO_BYTES	(64u << 20)

struct outbox {
	uint8_t headers[OUTBOX_MAX_FRAMES][WIRE_HEADER_BYTES];
	struct iovec iov[2 * OUTBOX_MAX_FRAMES];
	struct msghdr msg;		/* what of the batch is yet to be sent */
	unsigned int frames;		/* in the batch */
	uint64_t sequence;		/* of the next DATA or ZERO frame: how many there were */
	uint64_t raw_bytes;		/* the sum of their raw_bytes */
	uint32_t zero_disk;		/* a ZERO frame that may yet grow */
	uint64_t zero_offset, zero_bytes;	/* bytes 0: none */
};

/* Room for one more DATA, ZERO or CHECKPOINT and the ZERO frame that may go before it. */
static inline bool outbox_has_room(const struct outbox *o)
{
	return o->frames + 2 <= OUTBOX_MAX_FRAMES;
}

/*
 * Puts a frame of the buffer that begins at @offset of @disk; its payload must live until it is
 * sent.
 */
void outbox_put(struct outbox *o, uint32_t disk, uint64_t offset, const struct encode_frame *frame);
void outbox_put_checkpoint(struct outbox *o, uint32_t disk, uint64_t offset);
/* Puts the ZERO frame that was held back to grow, if there is one. */
void outbox_put_zero(struct outbox *o);

/* The socket took @bytes of o->msg. True: the batch is sent, and empty now. */
bool outbox_sent(struct outbox *o, uint64_t bytes);

#endif
