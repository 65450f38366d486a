/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the replica says while a pass is being sent: CHECKPOINTED in the order of
 * the CHECKPOINT frames, or ERROR, or it hangs up.
 */
#ifndef VMR_PRIMARY_CONTROL_H
#define VMR_PRIMARY_CONTROL_H

#include <stdbool.h>
#include <stdint.h>

#include "../wire/wire.h"

struct control {
	int sock;
	void (*checkpointed)(void *arg, unsigned int disk, uint64_t offset);	/* may be null */
	void *arg;
	/* CHECKPOINT frames without an answer: @expected of them, from @first on, in a circle. */
	struct { uint32_t disk; uint64_t offset; } checkpoints[WIRE_MAX_CHECKPOINTS];
	unsigned int first, expected;
	uint32_t have;			/* bytes of a frame that is still coming */
	uint8_t frame[WIRE_HEADER_BYTES + sizeof(struct wire_error)];
};

void control_init(struct control *c, int sock, void (*checkpointed)(void *, unsigned int, uint64_t),
		  void *arg);

/* Notes that a CHECKPOINT goes out. False: too many are unanswered, it must not. */
bool control_expect(struct control *c, uint32_t disk, uint64_t offset);

/*
 * Takes what has arrived, without waiting. 0, or the replica's own code and sentence, -ECONNRESET
 * when it hung up, -EPROTO, -EBADMSG.
 */
int control_receive(struct control *c, struct err *e);

/* No answer is missing and no frame half here. */
static inline bool control_idle(const struct control *c)
{
	return !c->expected && !c->have;
}

#endif
