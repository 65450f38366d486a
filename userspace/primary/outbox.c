// SPDX-License-Identifier: GPL-2.0-or-later
#include "outbox.h"

static void put(struct outbox *o, const struct wire_header *header, const void *payload)
{
	struct iovec *iov = &o->iov[o->msg.msg_iovlen];

	wire_header_seal(header, o->headers[o->frames]);
	o->msg.msg_iov = o->iov;
	*iov++ = (struct iovec){ o->headers[o->frames++], WIRE_HEADER_BYTES };
	o->msg.msg_iovlen++;
	if (header->payload_bytes) {
		*iov = (struct iovec){ (void *)payload, header->payload_bytes };
		o->msg.msg_iovlen++;
	}
}

static void put_range(struct outbox *o, struct wire_header *header, const void *payload)
{
	header->sequence = o->sequence++;
	o->raw_bytes += header->raw_bytes;
	put(o, header, payload);
}

void outbox_put_zero(struct outbox *o)
{
	struct wire_header header = {
		.type = WIRE_ZERO,
		.disk = o->zero_disk,
		.offset = o->zero_offset,
		.raw_bytes = o->zero_bytes,
	};

	if (!o->zero_bytes)
		return;
	o->zero_bytes = 0;
	put_range(o, &header, NULL);
}

static void hold_zero(struct outbox *o, uint32_t disk, uint64_t offset, uint64_t bytes)
{
	if (o->zero_bytes && (disk != o->zero_disk || offset != o->zero_offset + o->zero_bytes ||
			      o->zero_bytes + bytes > OUTBOX_MAX_ZERO_BYTES))
		outbox_put_zero(o);
	if (!o->zero_bytes) {
		o->zero_disk = disk;
		o->zero_offset = offset;
	}
	o->zero_bytes += bytes;
}

void outbox_put(struct outbox *o, uint32_t disk, uint64_t offset, const struct encode_frame *frame)
{
	struct wire_header header = {
		.type = WIRE_DATA,
		.flags = frame->lz4 ? WIRE_F_LZ4 : 0,
		.payload_bytes = frame->payload_bytes,
		.disk = disk,
		.offset = offset + frame->at,
		.raw_bytes = frame->raw_bytes,
		.payload_xxh3 = frame->xxh3,
	};

	if (!frame->payload_bytes) {
		hold_zero(o, disk, header.offset, header.raw_bytes);
		return;
	}
	outbox_put_zero(o);
	put_range(o, &header, frame->payload);
}

void outbox_put_checkpoint(struct outbox *o, uint32_t disk, uint64_t offset)
{
	const struct wire_header header = {
		.type = WIRE_CHECKPOINT,
		.disk = disk,
		.offset = offset,
	};

	outbox_put_zero(o);
	put(o, &header, NULL);
}

bool outbox_sent(struct outbox *o, uint64_t bytes)
{
	while (o->msg.msg_iovlen && bytes >= o->msg.msg_iov->iov_len) {
		bytes -= o->msg.msg_iov->iov_len;
		o->msg.msg_iov++;
		o->msg.msg_iovlen--;
	}
	if (o->msg.msg_iovlen) {
		o->msg.msg_iov->iov_base = (uint8_t *)o->msg.msg_iov->iov_base + bytes;
		o->msg.msg_iov->iov_len -= bytes;
		return false;
	}
	o->frames = 0;
	return true;
}
