// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <userspace/common/extent.h>

#include "unit.h"

TEST(appends_and_merges)
{
	struct extent_list list = { 0 };

	CHECK_EQ(extent_list_append(&list, 0, 4096), 0);
	CHECK_EQ(extent_list_append(&list, 4096, 4096), 0);
	CHECK_EQ(list.count, 1);
	CHECK_EQ(list.at[0].length, 8192);
	CHECK_EQ(extent_list_append(&list, 12288, 512), 0);
	CHECK_EQ(list.count, 2);
	CHECK_EQ(list.at[1].offset, 12288);
	CHECK_EQ(list.bytes, 8192 + 512);
	extent_list_free(&list);
	CHECK_EQ(list.count, 0);
	CHECK_EQ(list.bytes, 0);
	CHECK(!list.at);
}

TEST(refuses_what_is_out_of_order)
{
	struct extent_list list = { 0 };

	CHECK_EQ(extent_list_append(&list, 8192, 4096), 0);
	CHECK_EQ(extent_list_append(&list, 0, 4096), -EINVAL);
	CHECK_EQ(extent_list_append(&list, 8192, 4096), -EINVAL);
	CHECK_EQ(extent_list_append(&list, 12287, 1), -EINVAL);
	CHECK_EQ(extent_list_append(&list, 12288, 0), -EINVAL);
	CHECK_EQ(extent_list_append(&list, UINT64_MAX, 2), -EINVAL);
	CHECK_EQ(extent_list_append(&list, 20000, UINT64_MAX), -EINVAL);
	CHECK_EQ(list.count, 1);
	CHECK_EQ(list.bytes, 4096);
	extent_list_free(&list);
}

/* Against one byte a block: lists are united and subtracted as sets are. */
TEST(unites_and_subtracts)
{
	enum { BLOCKS = 400, ROUNDS = 300 };
	unsigned int seed = 11;

	for (unsigned int round = 0; round < ROUNDS; round++) {
		struct extent_list a = { 0 }, b = { 0 }, both = { 0 }, rest = { 0 };
		struct extent_list want_both = { 0 }, want_rest = { 0 };
		int dense = 1 + rand_r(&seed) % 9;
		bool in_a = false, in_b = false;

		for (unsigned int i = 0; i < BLOCKS; i++) {
			in_a ^= rand_r(&seed) % 10 < dense;
			in_b ^= rand_r(&seed) % 10 < dense;
			if (in_a)
				CHECK_EQ(extent_list_append(&a, i, 1), 0);
			if (in_b)
				CHECK_EQ(extent_list_append(&b, i, 1), 0);
			if (in_a || in_b)
				CHECK_EQ(extent_list_append(&want_both, i, 1), 0);
			if (in_a && !in_b)
				CHECK_EQ(extent_list_append(&want_rest, i, 1), 0);
		}
		CHECK_EQ(extent_list_unite(&a, &b, &both), 0);
		CHECK_EQ(extent_list_subtract(&a, &b, &rest), 0);
		CHECK_EQ(both.count, want_both.count);
		CHECK_EQ(rest.count, want_rest.count);
		CHECK_EQ(both.bytes, want_both.bytes);
		CHECK_EQ(rest.bytes, want_rest.bytes);
		for (size_t i = 0; i < both.count; i++)
			CHECK_EQ(both.at[i].offset, want_both.at[i].offset);
		for (size_t i = 0; i < rest.count; i++)
			CHECK_EQ(rest.at[i].offset, want_rest.at[i].offset);
		extent_list_free(&a);
		extent_list_free(&b);
		extent_list_free(&both);
		extent_list_free(&rest);
		extent_list_free(&want_both);
		extent_list_free(&want_rest);
	}
}

/* Against one byte a block: the list holds those blocks and no others, in maximal runs. */
TEST(random_blocks)
{
	enum { BLOCKS = 5000 };
	static unsigned char model[BLOCKS];
	unsigned int seed = 7, bytes = 0;
	struct extent_list list = { 0 };
	size_t at = 0;

	for (unsigned int b = 0; b < BLOCKS; b++) {
		model[b] = rand_r(&seed) % 3 > 0;
		bytes += model[b];
		if (model[b])
			CHECK_EQ(extent_list_append(&list, b, 1), 0);
	}
	CHECK_EQ(list.bytes, bytes);
	for (unsigned int b = 0; b < BLOCKS; b++) {
		if (at < list.count && b == list.at[at].offset + list.at[at].length)
			at++;
		CHECK_EQ(model[b], at < list.count && b >= list.at[at].offset);
	}
	for (size_t i = 1; i < list.count; i++)
		CHECK(list.at[i].offset > list.at[i - 1].offset + list.at[i - 1].length);
	extent_list_free(&list);
}

UNIT_MAIN(T(appends_and_merges), T(refuses_what_is_out_of_order), T(unites_and_subtracts),
	  T(random_blocks))
