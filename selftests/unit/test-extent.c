// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
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

UNIT_MAIN(T(appends_and_merges), T(refuses_what_is_out_of_order), T(random_blocks))
