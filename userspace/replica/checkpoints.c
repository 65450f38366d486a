// SPDX-License-Identifier: GPL-2.0-or-later
#include "../wire/session.h"
#include "checkpoints.h"

static void checkpoint_job(struct workers_job *job)
{
	struct checkpoints *c = (struct checkpoints *)job;

	c->result = store_initial_checkpoint(c->pass, c->durable, &c->error);
}

void checkpoints_init(struct checkpoints *c, struct store_pass *pass)
{
	c->job.run = checkpoint_job;
	c->pass = pass;
}

bool checkpoints_add(struct checkpoints *c, uint32_t disk, uint64_t offset, uint64_t after)
{
	unsigned int next = (c->first + c->count) % WIRE_MAX_CHECKPOINTS;

	if (c->count == WIRE_MAX_CHECKPOINTS)
		return false;
	c->at[next] = (struct checkpoint){ disk, offset, after };
	c->count++;
	return true;
}

void checkpoints_start(struct checkpoints *c, uint64_t written, struct workers *workers)
{
	const struct checkpoint *next;

	if (c->ready)
		return;
	for (; c->ready < c->count; c->ready++) {
		next = &c->at[(c->first + c->ready) % WIRE_MAX_CHECKPOINTS];
		if (written < next->after)
			break;
		/* A pass that goes on may resend what is before the mark: it never moves back. */
		if (c->durable[next->disk] < next->offset)
			c->durable[next->disk] = next->offset;
	}
	if (c->ready)
		workers_put(workers, &c->job);
}

int checkpoints_ended(struct checkpoints *c, int sock, struct err *e)
{
	int r = 0;

	if (c->result)
		return err_set(e, c->result, "%s", c->error.text);
	for (; c->ready && !r; c->ready--, c->count--) {
		const struct wire_header answer = {
			.type = WIRE_CHECKPOINTED,
			.disk = c->at[c->first].disk,
			.offset = c->at[c->first].offset,
		};

		r = session_send(sock, &answer, NULL, e);
		c->first = (c->first + 1) % WIRE_MAX_CHECKPOINTS;
	}
	return r;
}
