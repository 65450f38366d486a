/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * As much of the kernel as pure parts of the module need to be tested on a desk: by the
 * names of the kernel's headers, and as plain as can be. One thread only.
 */
#ifndef VMR_SELFTESTS_SHIM_H
#define VMR_SELFTESTS_SHIM_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t u64;

#define BITS_PER_LONG	64
#define PAGE_ALIGN(n)	(((n) + 4095) & ~4095ULL)
#define GFP_KERNEL	0
#define READ_ONCE(x)	(x)
#define smp_rmb()	do { } while (0)
#define WRITE_ONCE(x, value) ((x) = (value))
#define min_t(type, a, b) ((type)(a) < (type)(b) ? (type)(a) : (type)(b))
#define max_t(type, a, b) ((type)(a) > (type)(b) ? (type)(a) : (type)(b))
#define min(a, b)	((a) < (b) ? (a) : (b))
#define max(a, b)	((a) > (b) ? (a) : (b))
#define cond_resched()	do { } while (0)

/* The shim fails the n-th allocation from now on when this is n. */
static int shim_fail_alloc;

static inline void *shim_alloc(size_t bytes)
{
	return shim_fail_alloc && !--shim_fail_alloc ? NULL : calloc(1, bytes);
}

#define vzalloc(bytes)			shim_alloc(bytes)
#define kvcalloc(count, bytes, gfp)	shim_alloc((count) * (bytes))
#define vfree(at)			free(at)
#define kvfree(at)			free(at)

static inline bool test_bit(u64 bit, const unsigned long *words)
{
	return words[bit / BITS_PER_LONG] >> bit % BITS_PER_LONG & 1;
}

static inline void set_bit(u64 bit, unsigned long *words)
{
	words[bit / BITS_PER_LONG] |= 1UL << bit % BITS_PER_LONG;
}

static inline void clear_bit(u64 bit, unsigned long *words)
{
	words[bit / BITS_PER_LONG] &= ~(1UL << bit % BITS_PER_LONG);
}

static inline u64 find_next_bit(const unsigned long *words, u64 size, u64 from)
{
	while (from < size && !test_bit(from, words))
		from++;
	return from < size ? from : size;
}

static inline u64 find_next_zero_bit(const unsigned long *words, u64 size, u64 from)
{
	while (from < size && test_bit(from, words))
		from++;
	return from < size ? from : size;
}

static inline void bitmap_clear(unsigned long *words, u64 first, u64 count)
{
	while (count--)
		clear_bit(first++, words);
}

static inline bool bitmap_empty(const unsigned long *words, u64 size)
{
	return find_next_bit(words, size, 0) == size;
}

static inline unsigned long hweight_long(unsigned long word)
{
	return __builtin_popcountl(word);
}

static inline u64 bitmap_weight(const unsigned long *words, u64 size)
{
	u64 count = 0;

	for (u64 bit = 0; bit < size; bit++)
		count += test_bit(bit, words);
	return count;
}

typedef struct { long counter; } atomic_long_t;

static inline void atomic_long_or(long bits, atomic_long_t *at)
{
	at->counter |= bits;
}

#endif
