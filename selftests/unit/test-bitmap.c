// SPDX-License-Identifier: GPL-2.0-or-later
/* The module's bitmap with its summary against the plainest model: one byte a bit. */
#include <kmod/bitmap.c>

#include "unit.h"

#define MAX_BITS 20000

struct pair {
	struct cbt_bitmap map;
	unsigned char model[MAX_BITS];
};

static unsigned int seed = 1;

static u64 dice(u64 sides)
{
	return (u64)rand_r(&seed) % sides;
}

static void pair_init(struct pair *pair, u64 bits)
{
	memset(pair, 0, sizeof(*pair));
	CHECK_EQ(cbt_bitmap_init(&pair->map, bits), 0);
}

/* Everything that can be asked has the model's answer; the summary covers every set bit. */
static void check(const struct pair *pair)
{
	u64 from = 0, first, count, total = 0, bits = pair->map.nr_bits;

	for (u64 bit = 0; bit < bits; bit++) {
		total += pair->model[bit];
		if (cbt_bitmap_test(&pair->map, bit) != pair->model[bit])
			CHECK_EQ(bit, -1);
		if (pair->model[bit] && !test_bit(bit >> CBT_BITMAP_BLOCK_SHIFT, pair->map.summary))
			CHECK_EQ(bit, -2);
	}
	CHECK_EQ(cbt_bitmap_count(&pair->map), total);
	while (cbt_bitmap_next_run(&pair->map, from, &first, &count)) {
		CHECK(count && first >= from && first + count <= bits);
		for (; from < first; from++)
			CHECK(!pair->model[from]);
		for (; from < first + count; from++)
			CHECK(pair->model[from]);
		CHECK(from == bits || !pair->model[from]);
	}
	for (; from < bits; from++)
		CHECK(!pair->model[from]);
}

static void set(struct pair *pair, u64 first, u64 count)
{
	cbt_bitmap_set(&pair->map, first, count);
	memset(pair->model + first, 1, count);
}

static void clear(struct pair *pair, u64 first, u64 count)
{
	cbt_bitmap_clear_range(&pair->map, first, count);
	memset(pair->model + first, 0, count);
}

static const u64 sizes[] = {
	1, 2, 63, 64, 65, 127, 128, 4095, 4096, 4097, 8192, 8193, 12345, MAX_BITS
};

TEST(empty)
{
	struct pair pair;
	u64 first, count;

	for (unsigned int i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		pair_init(&pair, sizes[i]);
		check(&pair);
		CHECK(!cbt_bitmap_next_run(&pair.map, sizes[i], &first, &count));
		CHECK(!cbt_bitmap_next_run(&pair.map, ~0ULL, &first, &count));
		cbt_bitmap_exit(&pair.map);
	}
}

TEST(fill_and_clear)
{
	struct pair pair;

	for (unsigned int i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		pair_init(&pair, sizes[i]);
		cbt_bitmap_fill(&pair.map);
		memset(pair.model, 1, sizes[i]);
		check(&pair);
		cbt_bitmap_clear(&pair.map);
		memset(pair.model, 0, sizes[i]);
		check(&pair);
		CHECK(bitmap_empty(pair.map.summary, blocks_of(sizes[i])));
		cbt_bitmap_exit(&pair.map);
	}
}

/* A fill goes in steps of 16 Mi bits. */
TEST(fill_of_more_than_a_step)
{
	struct cbt_bitmap map;
	u64 bits = (1 << 24) + 4097, first, count;

	CHECK_EQ(cbt_bitmap_init(&map, bits), 0);
	cbt_bitmap_fill(&map);
	CHECK(cbt_bitmap_next_run(&map, 0, &first, &count));
	CHECK_EQ(first, 0);
	CHECK_EQ(count, bits);
	cbt_bitmap_exit(&map);
}

TEST(runs_at_every_border)
{
	static const u64 borders[] = { 0, 1, 63, 64, 65, 4095, 4096, 4097, 8191, 8192, 12344 };
	const unsigned int n = sizeof(borders) / sizeof(borders[0]);
	struct pair pair;

	for (unsigned int i = 0; i < n; i++) {
		for (unsigned int j = i; j < n; j++) {
			pair_init(&pair, 12345);
			set(&pair, borders[i], borders[j] - borders[i] + 1);
			check(&pair);
			clear(&pair, borders[i], 1);
			check(&pair);
			clear(&pair, borders[j], 1);
			check(&pair);
			cbt_bitmap_exit(&pair.map);
		}
	}
}

TEST(one_at_a_time)
{
	struct pair pair;

	pair_init(&pair, 9000);
	for (unsigned int i = 0; i < 200; i++) {
		u64 bit = dice(9000);

		cbt_bitmap_set_one(&pair.map, bit);
		pair.model[bit] = 1;
	}
	check(&pair);
	cbt_bitmap_exit(&pair.map);
}

static void do_something(struct pair *pair)
{
	u64 bits = pair->map.nr_bits, first = dice(bits), count = 1 + dice(bits - first);

	if (dice(3))
		count = 1 + count % 100 < bits - first ? 1 + count % 100 : bits - first;
	if (dice(2))
		set(pair, first, count);
	else
		clear(pair, first, count);
}

TEST(random_sets_and_clears)
{
	struct pair pair;

	for (unsigned int round = 0; round < 40; round++) {
		pair_init(&pair, 1 + dice(MAX_BITS));
		for (unsigned int i = 0; i < 30; i++) {
			do_something(&pair);
			check(&pair);
		}
		cbt_bitmap_exit(&pair.map);
	}
}

/* In @a or @b, and in @mask; the last two may be null. */
static u64 model_any(const struct pair *a, const struct pair *b, const struct pair *mask, u64 first,
		     u64 end)
{
	u64 count = 0;

	for (u64 bit = first; bit < end; bit++)
		count += (a->model[bit] || (b && b->model[bit])) && (!mask || mask->model[bit]);
	return count;
}

TEST(merge_and_count_any)
{
	static const struct cbt_bitmap *maps[2];
	static struct pair a, b, c;

	maps[0] = &a.map;
	maps[1] = &b.map;

	for (unsigned int round = 0; round < 40; round++) {
		u64 bits = 1 + dice(MAX_BITS), first = dice(bits),
		    end = first + dice(bits - first) + 1;

		pair_init(&a, bits);
		pair_init(&b, bits);
		pair_init(&c, bits);
		for (unsigned int i = 0; i < 6; i++) {
			do_something(&a);
			do_something(&b);
			do_something(&c);
		}
		CHECK_EQ(cbt_bitmap_count_any(&maps[0], 1, &b.map, 0, bits),
			 model_any(&a, NULL, &b, 0, bits));
		CHECK_EQ(cbt_bitmap_count_any(&maps[1], 1, NULL, 0, bits),
			 model_any(&b, NULL, NULL, 0, bits));
		CHECK_EQ(cbt_bitmap_count_any(maps, 2, NULL, first, end),
			 model_any(&a, &b, NULL, first, end));
		CHECK_EQ(cbt_bitmap_count_any(maps, 2, &c.map, first, end),
			 model_any(&a, &b, &c, first, end));
		cbt_bitmap_merge(&a.map, &b.map);
		for (u64 bit = 0; bit < bits; bit++)
			a.model[bit] |= b.model[bit];
		check(&a);
		check(&b);
		cbt_bitmap_exit(&a.map);
		cbt_bitmap_exit(&b.map);
		cbt_bitmap_exit(&c.map);
	}
}

TEST(counts_in_ranges)
{
	static struct pair a, b, c;

	for (unsigned int round = 0; round < 400; round++) {
		u64 bits = 1 + dice(MAX_BITS), first = dice(bits),
		    end = first + dice(bits - first) + 1;
		u64 count = 0, count_not = 0, count_also = 0;

		pair_init(&a, bits);
		pair_init(&b, bits);
		pair_init(&c, bits);
		for (unsigned int i = 0; i < 6; i++) {
			do_something(&a);
			do_something(&b);
			do_something(&c);
		}
		for (u64 bit = first; bit < end; bit++) {
			count += a.model[bit];
			count_not += a.model[bit] && !b.model[bit];
			count_also += (a.model[bit] || c.model[bit]) && !b.model[bit];
		}
		CHECK_EQ(cbt_bitmap_count_range(&a.map, NULL, NULL, first, end), count);
		CHECK_EQ(cbt_bitmap_count_range(&a.map, NULL, &b.map, first, end), count_not);
		CHECK_EQ(cbt_bitmap_count_range(&a.map, &c.map, &b.map, first, end), count_also);
		CHECK_EQ(cbt_bitmap_count_range(&a.map, NULL, NULL, first, first), 0);
		cbt_bitmap_exit(&a.map);
		cbt_bitmap_exit(&b.map);
		cbt_bitmap_exit(&c.map);
	}
}

TEST(no_memory)
{
	struct cbt_bitmap map;

	for (int nth = 1; nth <= 2; nth++) {
		shim_fail_alloc = nth;
		CHECK_EQ(cbt_bitmap_init(&map, 5000), -ENOMEM);
		CHECK(!map.bits && !map.summary);
		cbt_bitmap_exit(&map);
	}
	shim_fail_alloc = 0;
}

TEST(memory_is_what_is_allocated)
{
	struct cbt_bitmap map = { .nr_bits = 1ULL << 28 };

	/* 32 MiB of bits, a bit of summary for each 4096. */
	CHECK_EQ(cbt_bitmap_memory(&map), (32 << 20) + (1 << 28) / 4096 / 8);
	map.nr_bits = 1;
	CHECK_EQ(cbt_bitmap_memory(&map), 4096 + 8);
}

UNIT_MAIN(T(empty), T(fill_and_clear), T(fill_of_more_than_a_step), T(runs_at_every_border),
	  T(one_at_a_time), T(random_sets_and_clears), T(merge_and_count_any), T(counts_in_ranges),
	  T(no_memory), T(memory_is_what_is_allocated))
