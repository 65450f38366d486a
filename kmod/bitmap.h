/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A flat bitmap with a summary: one summary bit stands for CBT_BITMAP_BLOCK_BITS
 * bits and is set whenever one of them may be, so that finding, counting,
 * clearing and merging cost in proportion to what is set.
 *
 * Bits are set by any number of CPUs at once, in any context and without a lock. Only
 * cbt_bitmap_set() and cbt_bitmap_fill() may run beside other setters; whoever
 * clears, merges from, or needs an exact answer has to know that no one
 * sets (the epoch that the bitmap belongs to is sealed).
 */
#ifndef CBT_BITMAP_H
#define CBT_BITMAP_H

#include <linux/bitops.h>
#include <linux/types.h>

#define CBT_BITMAP_BLOCK_SHIFT	12
#define CBT_BITMAP_BLOCK_BITS	(1UL << CBT_BITMAP_BLOCK_SHIFT)
#define CBT_BITMAP_MAX_BITS	(1ULL << 36)

struct cbt_bitmap {
	unsigned long *bits;
	unsigned long *summary;
	u64 nr_bits;
};

/* May sleep. -ENOMEM. All bits are clear. */
int cbt_bitmap_init(struct cbt_bitmap *map, u64 nr_bits);
/* May sleep. Also after a failed init. */
void cbt_bitmap_exit(struct cbt_bitmap *map);
u64 cbt_bitmap_memory(const struct cbt_bitmap *map);

/* Any context. Cheap when the bit is set already: nothing is written then. */
static inline void cbt_bitmap_set_one(struct cbt_bitmap *map, u64 bit)
{
	if (!test_bit(bit, map->bits))
		set_bit(bit, map->bits);
	/*
	 * The summary follows the bits, also where the bit was another's: whoever set it
	 * may have yet to come to the summary.
	 */
	bit >>= CBT_BITMAP_BLOCK_SHIFT;
	if (!test_bit(bit, map->summary))
		set_bit(bit, map->summary);
}

/* Any context. @first + @count <= nr_bits, @count > 0. */
void cbt_bitmap_set(struct cbt_bitmap *map, u64 first, u64 count);
/* Sets all; may run beside setters. */
void cbt_bitmap_fill(struct cbt_bitmap *map);

void cbt_bitmap_clear(struct cbt_bitmap *map);
void cbt_bitmap_clear_range(struct cbt_bitmap *map, u64 first, u64 count);
/* @to |= @from; @to may have setters. Same number of bits. */
void cbt_bitmap_merge(struct cbt_bitmap *to, const struct cbt_bitmap *from);

static inline bool cbt_bitmap_test(const struct cbt_bitmap *map, u64 bit)
{
	return test_bit(bit, map->bits);
}

/*
 * Finds the first run of set bits at or behind @from; returns false when there is
 * none. A run begins at @from if that bit is set.
 */
bool cbt_bitmap_next_run(const struct cbt_bitmap *map, u64 from, u64 *first, u64 *count);
u64 cbt_bitmap_count(const struct cbt_bitmap *map);
/* How many bits are set in both. */
u64 cbt_bitmap_count_common(const struct cbt_bitmap *a, const struct cbt_bitmap *b);

#endif
