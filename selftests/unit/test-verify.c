// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdlib.h>
#include <string.h>
#include <userspace/primary/verify.h>

#include "unit.h"

#define CHUNK 4096u

static void append(struct extent_list *list, uint64_t chunk, uint64_t count)
{
	CHECK_EQ(extent_list_append(list, chunk * CHUNK, count * CHUNK), 0);
}

/* What differs and was written is no damage; what differs and was not, is; all is sent. */
TEST(judges)
{
	const struct state_disk disk = { .name = "vdb" };
	struct extent_list map = { 0 }, out = { 0 };
	struct verify *verify = verify_new();
	struct err e = { 0 };

	append(&verify->differ[3], 10, 4);
	append(&verify->differ[3], 20, 1);
	append(&verify->differ[3], 30, 2);
	append(&map, 5, 1);
	append(&map, 11, 2);
	append(&map, 20, 5);
	CHECK_EQ(verify_judge(verify, &disk, 3, &map, &out, &e), 0);
	CHECK_EQ(verify->place_count, 3);
	CHECK_EQ(verify->bytes, 4 * CHUNK);
	CHECK(!strcmp(verify->places[0].disk, "vdb"));
	CHECK_EQ(verify->places[0].offset, 10 * CHUNK);
	CHECK_EQ(verify->places[0].length, CHUNK);
	CHECK_EQ(verify->places[1].offset, 13 * CHUNK);
	CHECK_EQ(verify->places[1].length, CHUNK);
	CHECK_EQ(verify->places[2].offset, 30 * CHUNK);
	CHECK_EQ(verify->places[2].length, 2 * CHUNK);
	CHECK_EQ(out.bytes, 12 * CHUNK);
	CHECK_EQ(out.count, 4);
	extent_list_free(&map);
	extent_list_free(&out);
	verify_free(verify);
}

/* However much differs, so many places are noted, and all are counted and sent. */
TEST(notes_no_more_than_it_can)
{
	const struct state_disk disk = { .name = "vda" };
	const struct extent_list map = { 0 };
	struct verify *verify = verify_new();
	struct extent_list out = { 0 };
	struct err e = { 0 };

	for (unsigned int i = 0; i < 3 * VERIFY_MAX_PLACES; i++)
		append(&verify->differ[0], 2 * i, 1);
	CHECK_EQ(verify_judge(verify, &disk, 0, &map, &out, &e), 0);
	CHECK_EQ(verify->place_count, 3 * VERIFY_MAX_PLACES);
	CHECK_EQ(verify->bytes, 3 * VERIFY_MAX_PLACES * CHUNK);
	CHECK_EQ(verify->places[VERIFY_MAX_PLACES - 1].offset, 2 * (VERIFY_MAX_PLACES - 1) * CHUNK);
	CHECK_EQ(out.count, 3 * VERIFY_MAX_PLACES);
	extent_list_free(&out);
	verify_free(verify);
}

UNIT_MAIN(T(judges), T(notes_no_more_than_it_can))
