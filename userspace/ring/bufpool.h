/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Page-aligned buffers of one size in one mapping; memory is taken when first touched. */
#ifndef VMR_RING_BUFPOOL_H
#define VMR_RING_BUFPOOL_H

#include <stddef.h>
#include <stdint.h>

#define BUFPOOL_ALIGN 4096

struct bufpool {
	uint8_t *base;
	size_t bytes_each;	/* multiple of BUFPOOL_ALIGN */
	unsigned int count;
};

/* 0 or -ENOMEM. @bytes_each is rounded up to BUFPOOL_ALIGN. */
int bufpool_init(struct bufpool *pool, unsigned int count, size_t bytes_each);
void bufpool_exit(struct bufpool *pool);

static inline void *bufpool_at(const struct bufpool *pool, unsigned int index)
{
	return pool->base + index * pool->bytes_each;
}

#endif
