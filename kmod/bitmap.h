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

/* Bit numbers that the kernel's own helpers take have 32 bits on some machines. */
static inline void cbt_bitmap_set_in(unsigned long *words, u64 bit)
{
	words += bit / BITS_PER_LONG;
	bit %= BITS_PER_LONG;
	if (!test_bit(bit, words))
		set_bit(bit, words);
}

/* Any context. Cheap when the bit is set already: nothing is written then. */
static inline void cbt_bitmap_set_one(struct cbt_bitmap *map, u64 bit)
{
	cbt_bitmap_set_in(map->bits, bit);
	/*
	 * The summary follows the bits, also where the bit was another's: whoever set it
	 * may have yet to come to the summary.
	 */
	cbt_bitmap_set_in(map->summary, bit >> CBT_BITMAP_BLOCK_SHIFT);
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
	return test_bit(bit % BITS_PER_LONG, map->bits + bit / BITS_PER_LONG);
}

/*
 * How many bits from @first to @end (exclusive) are set in @map or @also and clear in @not; the
 * last two may be null. Looks at this range only; any context. @also is read first: who moves
 * bits from @also to @map and clears them behind a barrier is never caught without.
 */
u64 cbt_bitmap_count_range(const struct cbt_bitmap *map, const struct cbt_bitmap *also,
			   const struct cbt_bitmap *not, u64 first, u64 end);

/*
 * Finds the first run of set bits at or behind @from; returns false when there is
 * none. A run begins at @from if that bit is set.
 */
bool cbt_bitmap_next_run(const struct cbt_bitmap *map, u64 from, u64 *first, u64 *count);
u64 cbt_bitmap_count(const struct cbt_bitmap *map);
/*
 * How many bits from @first to @end (exclusive) are set in one at least of the @count bitmaps at
 * @any and also in @mask, which may be null. All have the same number of bits.
 */
u64 cbt_bitmap_count_any(const struct cbt_bitmap *const *any, unsigned int count,
			 const struct cbt_bitmap *mask, u64 first, u64 end);

#endif
