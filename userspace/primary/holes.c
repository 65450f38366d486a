// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "holes.h"

/* A shorter hole is read with what is around it: finding it would cost as much. */
#define WORTH_BYTES	(64u << 10)
/* Short holes are looked past so far, then the stretch of data is long enough. */
#define STRETCH_BYTES	(4u << 20)

void holes_init(struct holes *h, int fd, uint32_t chunk_bytes)
{
	struct stat st;

	*h = (struct holes){ .fd = fd, .chunk_bytes = chunk_bytes };
	h->none = fstat(fd, &st) || !S_ISREG(st.st_mode);
}

/* Where data begins at or behind @offset; UINT64_MAX: nowhere. */
static uint64_t next_data(struct holes *h, uint64_t offset)
{
	off_t at = lseek(h->fd, (off_t)offset, SEEK_DATA);

	if (at >= 0)
		return (uint64_t)at;
	if (errno == ENXIO)
		return UINT64_MAX;
	h->none = true;		/* it does not tell: all is taken for data */
	return offset;
}

static void find_data(struct holes *h, uint64_t offset)
{
	uint64_t next = next_data(h, offset), to;
	off_t at;

	h->data_from = next;
	h->data_to = next;
	while (!h->none && next != UINT64_MAX && next - h->data_to < WORTH_BYTES &&
	       h->data_to - h->data_from < STRETCH_BYTES) {
		at = lseek(h->fd, (off_t)next, SEEK_HOLE);
		if (at < 0) {
			h->none = true;
			return;
		}
		to = (uint64_t)at;
		h->data_to = to;
		next = next_data(h, to);
	}
}

uint64_t holes_run(struct holes *h, uint64_t offset, uint64_t bytes, bool *hole)
{
	const uint64_t mask = h->chunk_bytes - 1;
	uint64_t end;

	*hole = false;
	if (!h->none && (offset < h->data_from || offset >= h->data_to))
		find_data(h, offset);
	if (h->none)
		return bytes;
	if (h->data_from == UINT64_MAX) {
		*hole = true;
		return bytes;
	}
	*hole = (h->data_from & ~mask) > offset;
	end = *hole ? h->data_from & ~mask : (h->data_to + mask) & ~mask;
	return end - offset < bytes ? end - offset : bytes;
}
