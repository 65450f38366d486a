// SPDX-License-Identifier: GPL-2.0-only
#include <linux/bitmap.h>
#include <linux/bitops.h>
#include <linux/err.h>
#include <linux/math64.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "bitmap.h"

#define BLOCK_WORDS (CBT_BITMAP_BLOCK_BITS / BITS_PER_LONG)

static u64 words_of(u64 bits)
{
	return (bits + BITS_PER_LONG - 1) / BITS_PER_LONG;
}

static u64 blocks_of(u64 bits)
{
	return (bits + CBT_BITMAP_BLOCK_BITS - 1) >> CBT_BITMAP_BLOCK_SHIFT;
}

int cbt_bitmap_init(struct cbt_bitmap *map, u64 nr_bits)
{
	map->nr_bits = nr_bits;
	/* Whole blocks, so that loops over a block need no look at the end. */
	map->bits = vzalloc(blocks_of(nr_bits) * BLOCK_WORDS * sizeof(long));
	map->summary = kvcalloc(words_of(blocks_of(nr_bits)), sizeof(long), GFP_KERNEL);
	if (map->bits && map->summary)
		return 0;
	cbt_bitmap_exit(map);
	return -ENOMEM;
}

void cbt_bitmap_exit(struct cbt_bitmap *map)
{
	vfree(map->bits);
	kvfree(map->summary);
	map->bits = NULL;
	map->summary = NULL;
}

u64 cbt_bitmap_memory(const struct cbt_bitmap *map)
{
	u64 blocks = blocks_of(map->nr_bits);

	return PAGE_ALIGN(blocks * BLOCK_WORDS * sizeof(long)) + words_of(blocks) * sizeof(long);
}

static void set_whole_words(unsigned long *word, u64 count)
{
	while (count--)
		WRITE_ONCE(*word++, ~0UL);
}

void cbt_bitmap_set(struct cbt_bitmap *map, u64 first, u64 count)
{
	u64 end = first + count, bit = first, whole;

	while (bit < end && (bit % BITS_PER_LONG || end - bit < BITS_PER_LONG))
		cbt_bitmap_set_in(map->bits, bit++);
	whole = (end - bit) / BITS_PER_LONG;
	set_whole_words(map->bits + bit / BITS_PER_LONG, whole);
	for (bit += whole * BITS_PER_LONG; bit < end; bit++)
		cbt_bitmap_set_in(map->bits, bit);

	for (bit = first >> CBT_BITMAP_BLOCK_SHIFT; bit <= (end - 1) >> CBT_BITMAP_BLOCK_SHIFT;
	     bit++)
		cbt_bitmap_set_in(map->summary, bit);
}

void cbt_bitmap_fill(struct cbt_bitmap *map)
{
	u64 done, step;

	for (done = 0; done < map->nr_bits; done += step) {
		step = min_t(u64, map->nr_bits - done, 1 << 24);
		cbt_bitmap_set(map, done, step);
		cond_resched();
	}
}

/* The next block at or behind @block that may hold a set bit; the number of blocks if none. */
static u64 next_block(const struct cbt_bitmap *map, u64 block)
{
	return find_next_bit(map->summary, blocks_of(map->nr_bits), block);
}

static unsigned long *block_words(const struct cbt_bitmap *map, u64 block)
{
	return map->bits + block * BLOCK_WORDS;
}

#define for_each_used_block(map, block) \
	for (block = next_block(map, 0); block < blocks_of((map)->nr_bits); \
	     block = next_block(map, block + 1))

void cbt_bitmap_clear(struct cbt_bitmap *map)
{
	u64 block;

	for_each_used_block(map, block) {
		memset(block_words(map, block), 0, BLOCK_WORDS * sizeof(long));
		clear_bit(block, map->summary);
		cond_resched();
	}
}

void cbt_bitmap_clear_range(struct cbt_bitmap *map, u64 first, u64 count)
{
	u64 block, end = first + count, from, until;

	for (block = next_block(map, first >> CBT_BITMAP_BLOCK_SHIFT);
	     block << CBT_BITMAP_BLOCK_SHIFT < end && block < blocks_of(map->nr_bits);
	     block = next_block(map, block + 1)) {
		from = max(first, block << CBT_BITMAP_BLOCK_SHIFT);
		until = min(end, (block + 1) << CBT_BITMAP_BLOCK_SHIFT);
		bitmap_clear(block_words(map, block), from % CBT_BITMAP_BLOCK_BITS, until - from);
		if (bitmap_empty(block_words(map, block), CBT_BITMAP_BLOCK_BITS))
			clear_bit(block, map->summary);
		cond_resched();
	}
}

static void merge_block(unsigned long *to, const unsigned long *from)
{
	unsigned int i;

	for (i = 0; i < BLOCK_WORDS; i++)
		if (from[i])
			atomic_long_or(from[i], (atomic_long_t *)&to[i]);
}

void cbt_bitmap_merge(struct cbt_bitmap *to, const struct cbt_bitmap *from)
{
	u64 block;

	for_each_used_block(from, block) {
		merge_block(block_words(to, block), block_words(from, block));
		cbt_bitmap_set_in(to->summary, block);
		cond_resched();
	}
}

static bool next_set(const struct cbt_bitmap *map, u64 from, u64 *found)
{
	u64 block = next_block(map, from >> CBT_BITMAP_BLOCK_SHIFT);
	unsigned long start = 0, at;

	if (block == from >> CBT_BITMAP_BLOCK_SHIFT)
		start = from % CBT_BITMAP_BLOCK_BITS;
	for (; block < blocks_of(map->nr_bits); block = next_block(map, block + 1), start = 0) {
		at = find_next_bit(block_words(map, block), CBT_BITMAP_BLOCK_BITS, start);
		if (at < CBT_BITMAP_BLOCK_BITS) {
			*found = (block << CBT_BITMAP_BLOCK_SHIFT) + at;
			return true;
		}
	}
	return false;
}

bool cbt_bitmap_next_run(const struct cbt_bitmap *map, u64 from, u64 *first, u64 *count)
{
	if (from >= map->nr_bits || !next_set(map, from, first))
		return false;
	*count = find_next_zero_bit(map->bits, map->nr_bits, *first) - *first;
	return true;
}

u64 cbt_bitmap_count(const struct cbt_bitmap *map)
{
	u64 block, count = 0;

	for_each_used_block(map, block) {
		count += bitmap_weight(block_words(map, block), CBT_BITMAP_BLOCK_BITS);
		cond_resched();
	}
	return count;
}

/* The next block at or behind @block in which one at least may have a set bit. */
static u64 next_block_of(const struct cbt_bitmap *const *any, unsigned int count, u64 block)
{
	u64 next = blocks_of(any[0]->nr_bits);

	while (count--)
		next = min(next, next_block(any[count], block));
	return next;
}

/* The bits of word @word that lie from @first to @end. */
static unsigned long range_mask(u64 word, u64 first, u64 end)
{
	u64 base = word * BITS_PER_LONG;
	unsigned long mask = ~0UL;

	if (first > base)
		mask &= ~0UL << (first - base);
	if (end < base + BITS_PER_LONG)
		mask &= ~0UL >> (base + BITS_PER_LONG - end);
	return mask;
}

u64 cbt_bitmap_count_any(const struct cbt_bitmap *const *any, unsigned int count,
			 const struct cbt_bitmap *mask, u64 first, u64 end)
{
	u64 block, word, stop, sum = 0;
	unsigned long bits;
	unsigned int n;

	for (block = next_block_of(any, count, first >> CBT_BITMAP_BLOCK_SHIFT);
	     block << CBT_BITMAP_BLOCK_SHIFT < end && block < blocks_of(any[0]->nr_bits);
	     block = next_block_of(any, count, block + 1)) {
		word = max_t(u64, first / BITS_PER_LONG, block * BLOCK_WORDS);
		stop = min_t(u64, words_of(end), (block + 1) * BLOCK_WORDS);
		for (; word < stop; word++) {
			for (bits = 0, n = 0; n < count; n++)
				bits |= READ_ONCE(any[n]->bits[word]);
			if (mask)
				bits &= READ_ONCE(mask->bits[word]);
			sum += hweight_long(bits & range_mask(word, first, end));
		}
		cond_resched();
	}
	return sum;
}

u64 cbt_bitmap_count_range(const struct cbt_bitmap *map, const struct cbt_bitmap *also,
			   const struct cbt_bitmap *not, u64 first, u64 end)
{
	u64 word, count = 0;
	unsigned long bits;

	for (word = first / BITS_PER_LONG; word * BITS_PER_LONG < end; word++) {
		bits = also ? READ_ONCE(also->bits[word]) : 0;
		smp_rmb();	/* see bitmap.h */
		bits = (bits | READ_ONCE(map->bits[word])) & range_mask(word, first, end);
		if (bits && not)
			bits &= ~READ_ONCE(not->bits[word]);
		count += hweight_long(bits);
	}
	return count;
}
