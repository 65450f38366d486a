// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <sys/mman.h>

#include "bufpool.h"

int bufpool_init(struct bufpool *pool, unsigned int count, size_t bytes_each)
{
	void *base;

	bytes_each = (bytes_each + BUFPOOL_ALIGN - 1) & ~(size_t)(BUFPOOL_ALIGN - 1);
	base = mmap(NULL, count * bytes_each, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		    -1, 0);
	if (base == MAP_FAILED)
		return -ENOMEM;
	*pool = (struct bufpool){ .base = base, .bytes_each = bytes_each, .count = count };
	return 0;
}

void bufpool_exit(struct bufpool *pool)
{
	if (pool->base)
		munmap(pool->base, pool->count * pool->bytes_each);
	pool->base = NULL;
}
