// SPDX-License-Identifier: GPL-2.0-or-later
/* OPEN and OPENED: which VM with which disks, and where the replica stands. */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "session.h"

#define OPEN_MAX_BYTES (sizeof(struct wire_open) + WIRE_MAX_DISKS * sizeof(struct wire_open_disk))
#define OPENED_MAX_BYTES (sizeof(struct wire_opened) + WIRE_MAX_DISKS * sizeof(uint64_t))

#define MIN_CHUNK_BYTES 4096u
#define MAX_CHUNK_BYTES WIRE_MAX_PAYLOAD

static bool terminated(const char *text, size_t room)
{
	return text[0] && memchr(text, 0, room);
}

static uint32_t open_encode(const struct session_open *open, uint8_t *payload)
{
	struct wire_open head = { .last_pass = open->last_pass, .disk_count = open->disk_count };
	uint32_t used = sizeof(head);

	snprintf(head.vm, sizeof(head.vm), "%s", open->vm);
	memcpy(head.relationship, open->relationship, sizeof(head.relationship));
	memcpy(payload, &head, sizeof(head));
	for (unsigned int i = 0; i < open->disk_count; i++) {
		const struct session_disk *from = &open->disks[i];
		struct wire_open_disk disk = { .size_bytes = from->size_bytes,
					       .chunk_bytes = from->chunk_bytes };

		snprintf(disk.name, sizeof(disk.name), "%s", from->name);
		snprintf(disk.source, sizeof(disk.source), "%s", from->source);
		memcpy(payload + used, &disk, sizeof(disk));
		used += sizeof(disk);
	}
	return used;
}

static int disk_decode(const struct wire_open_disk *disk, unsigned int index,
		       struct session_disk *out, struct err *e)
{
	if (!terminated(disk->name, sizeof(disk->name)) ||
	    !memchr(disk->source, 0, sizeof(disk->source)))
		return err_set(e, -EPROTO, "disk %u in OPEN has a name that does not end", index);
	if (disk->chunk_bytes < MIN_CHUNK_BYTES || disk->chunk_bytes > MAX_CHUNK_BYTES ||
	    disk->chunk_bytes & (disk->chunk_bytes - 1))
		return err_set(e, -EPROTO, "disk %u in OPEN has chunks of %" PRIu32 " bytes", index,
			       disk->chunk_bytes);
	if (!disk->size_bytes || disk->size_bytes % 512 ||
	    disk->size_bytes > INT64_MAX - MAX_CHUNK_BYTES)
		return err_set(e, -EPROTO, "disk %u in OPEN has a size of %" PRIu64 " bytes", index,
			       disk->size_bytes);
	if (disk->reserved)
		return err_set(e, -EPROTO,
			       "disk %u in OPEN has a field set that this version does not know",
			       index);
	memcpy(out->name, disk->name, sizeof(out->name));
	memcpy(out->source, disk->source, sizeof(out->source));
	session_clean_text(out->source);
	out->size_bytes = disk->size_bytes;
	out->chunk_bytes = disk->chunk_bytes;
	return 0;
}

int session_open_decode(const struct wire_header *header, const void *payload,
			struct session_open *open, struct err *e)
{
	struct wire_open_disk disk;
	struct wire_open head;
	int r = 0;

	if (header->type != WIRE_OPEN)
		return err_set(e, -EPROTO, "the primary sent a %s frame instead of OPEN",
			       wire_type_name(header->type));
	memcpy(&head, payload, sizeof(head));
	if (!head.disk_count || head.disk_count > WIRE_MAX_DISKS ||
	    header->payload_bytes != sizeof(head) + head.disk_count * sizeof(disk))
		return err_set(e, -EPROTO, "OPEN says %" PRIu32 " disks in %" PRIu32 " bytes",
			       head.disk_count, header->payload_bytes);
	if (!terminated(head.vm, sizeof(head.vm)))
		return err_set(e, -EPROTO, "OPEN has no VM name");
	if (head.flags)
		return err_set(e, -EPROTO, "OPEN has unknown flags 0x%" PRIx32, head.flags);
	*open = (struct session_open){ .last_pass = head.last_pass, .disk_count = head.disk_count };
	memcpy(open->vm, head.vm, sizeof(open->vm));
	memcpy(open->relationship, head.relationship, sizeof(open->relationship));
	for (unsigned int i = 0; i < head.disk_count && !r; i++) {
		memcpy(&disk, (const uint8_t *)payload + sizeof(head) + i * sizeof(disk),
		       sizeof(disk));
		r = disk_decode(&disk, i, &open->disks[i], e);
	}
	return r;
}

int session_opened_send(int sock, const struct session_opened *opened, unsigned int disk_count,
			struct err *e)
{
	const struct wire_opened head = {
		.state = opened->state, .disk_count = disk_count, .last_pass = opened->last_pass,
	};
	const struct wire_header header = {
		.type = WIRE_OPENED,
		.sequence = opened->generation,
		.payload_bytes = sizeof(head) + disk_count * sizeof(uint64_t),
	};
	uint8_t payload[OPENED_MAX_BYTES];

	memcpy(payload, &head, sizeof(head));
	memcpy(payload + sizeof(head), opened->initial_durable, disk_count * sizeof(uint64_t));
	return session_send(sock, &header, payload, e);
}

static int opened_decode(const struct wire_header *header, const uint8_t *payload,
			 const struct session_open *open, struct session_opened *opened,
			 struct err *e)
{
	struct wire_opened head;

	if (header->type != WIRE_OPENED)
		return err_set(e, -EPROTO, "the replica answered OPEN with a %s frame",
			       wire_type_name(header->type));
	memcpy(&head, payload, sizeof(head));
	if (head.disk_count != open->disk_count || head.state > WIRE_STATE_AWAITING ||
	    head.last_pass >= INT64_MAX || header->sequence > INT64_MAX ||
	    header->payload_bytes != sizeof(head) + head.disk_count * sizeof(uint64_t))
		return err_set(e, -EPROTO,
			       "the replica's answer to OPEN is of state %" PRIu32 ", pass %" PRIu64
			       " and %" PRIu32 " disks",
			       head.state, head.last_pass, head.disk_count);
	*opened = (struct session_opened){ .state = head.state,
					   .last_pass = head.last_pass,
					   .generation = header->sequence };
	memcpy(opened->initial_durable, payload + sizeof(head), head.disk_count * sizeof(uint64_t));
	for (unsigned int i = 0; i < head.disk_count; i++)
		if (opened->initial_durable[i] > open->disks[i].size_bytes)
			return err_set(e, -EPROTO,
				       "the replica says that it has more of disk %s than there is",
				       open->disks[i].name);
	return 0;
}

int session_open(int sock, const struct session_open *open, struct session_opened *opened,
		 int cancel_fd, struct err *e)
{
	uint8_t payload[OPEN_MAX_BYTES];
	struct wire_header header = { .type = WIRE_OPEN,
				      .payload_bytes = open_encode(open, payload) };
	int r;

	r = session_send(sock, &header, payload, e);
	if (!r)
		r = session_receive(sock, &header, payload, sizeof(payload), cancel_fd,
				    SESSION_TIMEOUT_S, e);
	if (!r)
		r = opened_decode(&header, payload, open, opened, e);
	return r;
}
