/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A growing list of byte ranges of one disk, ascending and not overlapping. */
#ifndef VMR_COMMON_EXTENT_H
#define VMR_COMMON_EXTENT_H

#include <stddef.h>
#include <stdint.h>

struct extent {
	uint64_t offset;	/* bytes from the start of the disk */
	uint64_t length;	/* bytes, > 0 */
};

struct extent_list {
	struct extent *at;
	size_t count;
	size_t room;
	uint64_t bytes;		/* sum of all lengths */
};

/*
 * Appends a range behind the last one; a range that begins where the last one
 * ends is merged into it. 0, -EINVAL when @offset lies before the end of the
 * last range or the range is empty or wraps around, -ENOMEM.
 */
int extent_list_append(struct extent_list *list, uint64_t offset, uint64_t length);

/* Appends all that is in @a or in @b to *@out, which is neither of them. -ENOMEM. */
int extent_list_unite(const struct extent_list *a, const struct extent_list *b,
		      struct extent_list *out);

/* Appends all that is in @a and not in @b to *@out, which is neither of them. -ENOMEM. */
int extent_list_subtract(const struct extent_list *a, const struct extent_list *b,
			 struct extent_list *out);

void extent_list_free(struct extent_list *list);

#endif
