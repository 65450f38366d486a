// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/socket.h>

#include "../wire/session.h"
#include "control.h"

void control_init(struct control *c, int sock, void (*checkpointed)(void *, unsigned int, uint64_t),
		  void *arg)
{
	*c = (struct control){ .sock = sock, .checkpointed = checkpointed, .arg = arg };
}

bool control_expect(struct control *c, uint32_t disk, uint64_t offset)
{
	unsigned int next = (c->first + c->expected) % WIRE_MAX_CHECKPOINTS;

	if (c->expected == WIRE_MAX_CHECKPOINTS)
		return false;
	c->checkpoints[next].disk = disk;
	c->checkpoints[next].offset = offset;
	c->expected++;
	return true;
}

static int take_checkpointed(struct control *c, const struct wire_header *header, struct err *e)
{
	if (!c->expected || c->checkpoints[c->first].disk != header->disk ||
	    c->checkpoints[c->first].offset != header->offset)
		return err_set(e, -EPROTO,
			       "the replica answered a checkpoint of disk %" PRIu32 " at %" PRIu64
			       " that it was not asked for",
			       header->disk, header->offset);
	c->first = (c->first + 1) % WIRE_MAX_CHECKPOINTS;
	c->expected--;
	if (c->checkpointed)
		c->checkpointed(c->arg, header->disk, header->offset);
	return 0;
}

/* Handles the frame in c->frame if all of it is there; *need is set to what it takes otherwise. */
static int take_frame(struct control *c, uint32_t *need, struct err *e)
{
	const uint8_t *payload = c->frame + WIRE_HEADER_BYTES;
	struct wire_header header;
	struct wire_error error;
	int r = wire_header_decode(c->frame, &header, e);

	if (r)
		return r;
	if (header.type != WIRE_CHECKPOINTED && header.type != WIRE_ERROR)
		return err_set(e, -EPROTO, "the replica sent a %s frame in the middle of a pass",
			       wire_type_name(header.type));
	*need = WIRE_HEADER_BYTES + header.payload_bytes;
	if (c->have < *need)
		return 0;
	c->have = 0;
	*need = WIRE_HEADER_BYTES;
	if (header.type == WIRE_CHECKPOINTED)
		return take_checkpointed(c, &header, e);
	r = wire_payload_check(&header, payload, e);
	if (r)
		return r;
	memcpy(&error, payload, sizeof(error));
	return session_error_decode(&error, e);
}

int control_receive(struct control *c, struct err *e)
{
	uint32_t need = WIRE_HEADER_BYTES;
	ssize_t got;
	int r = 0;

	if (c->have >= WIRE_HEADER_BYTES)
		r = take_frame(c, &need, e);
	while (!r) {
		got = recv(c->sock, c->frame + c->have, need - c->have, MSG_DONTWAIT);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 && errno == EAGAIN)
			return 0;
		if (got < 0)
			return err_sys(e, -errno, "the connection to the replica failed");
		if (!got)
			return err_set(e, -ECONNRESET,
				       "the replica closed the connection in the middle of a pass");
		c->have += got;
		if (c->have >= WIRE_HEADER_BYTES)
			r = take_frame(c, &need, e);
	}
	return r;
}
