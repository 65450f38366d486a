/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where a disk that is a sparse file has holes: zeros that need not be read. A block device
 * has none, and neither has what does not tell.
 */
#ifndef VMR_PRIMARY_HOLES_H
#define VMR_PRIMARY_HOLES_H

#include <stdbool.h>
#include <stdint.h>

struct holes {
	int fd;
	uint32_t chunk_bytes;
	bool none;			/* all is to be read */
	uint64_t data_from, data_to;	/* the stretch of data that was found last, in bytes */
};

void holes_init(struct holes *h, int fd, uint32_t chunk_bytes);

/*
 * How many of the @bytes at @offset, chunk aligned, are of one kind, at least a chunk (or
 * all): *@hole says of which. Moves @fd's position.
 */
uint64_t holes_run(struct holes *h, uint64_t offset, uint64_t bytes, bool *hole);

#endif
