// SPDX-License-Identifier: GPL-2.0-or-later
/* What is saved of the tracker over a reboot: it comes back as it was, or not at all. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../userspace/primary/marks.h"
#include "unit.h"

#define MIB (UINT64_C(1) << 20)

static void fill(struct marks *marks)
{
	memset(marks, 0, sizeof(*marks));
	strcpy(marks->relationship, "00112233-4455-6677-8899-aabbccddeeff");
	state_new_uuid(marks->token);
	marks->last_pass = 42;
	marks->disk_count = 2;
	marks->disks[0] = (struct marks_disk){ .size_bytes = 64 * MIB + 512, .chunk_bytes = 4096,
					       .identity = "serial disk0", .fingerprint = 7 };
	marks->disks[1] = (struct marks_disk){ .size_bytes = 8 * MIB, .chunk_bytes = 65536,
					       .identity = "dm/uuid LVM-abc", .fingerprint = 8 };
	CHECK_EQ(extent_list_append(&marks->disks[0].extents, 0, 4096), 0);
	CHECK_EQ(extent_list_append(&marks->disks[0].extents, 5 * MIB, 3 * MIB), 0);
	CHECK_EQ(extent_list_append(&marks->disks[0].extents, 64 * MIB, 512), 0);
}

static void check_same(const struct marks *a, const struct marks *b)
{
	unsigned int i;

	CHECK_STR(a->relationship, b->relationship);
	CHECK_STR(a->token, b->token);
	CHECK_EQ(a->last_pass, b->last_pass);
	CHECK_EQ(a->disk_count, b->disk_count);
	for (i = 0; i < a->disk_count; i++) {
		const struct marks_disk *x = &a->disks[i], *y = &b->disks[i];

		CHECK_EQ(x->size_bytes, y->size_bytes);
		CHECK_EQ(x->chunk_bytes, y->chunk_bytes);
		CHECK_STR(x->identity, y->identity);
		CHECK_EQ(x->fingerprint, y->fingerprint);
		CHECK_EQ(x->extents.count, y->extents.count);
		CHECK(!x->extents.count || !memcmp(x->extents.at, y->extents.at,
						   x->extents.count * sizeof(*x->extents.at)));
	}
}

TEST(there_and_back)
{
	static struct marks marks, read;
	char dir[] = "/tmp/test-marks.XXXXXX";
	struct err e = { 0 };

	CHECK(mkdtemp(dir));
	CHECK_EQ(marks_read(dir, "vm1", &read, &e), -ENOENT);
	fill(&marks);
	CHECK_EQ(marks_write(dir, "vm1", &marks, &e), 0);
	CHECK_EQ(marks_read(dir, "vm1", &read, &e), 0);
	check_same(&marks, &read);
	marks_free(&read);
	marks_remove(dir, "vm1");
	CHECK_EQ(marks_read(dir, "vm1", &read, &e), -ENOENT);
	marks_free(&marks);
	CHECK_EQ(rmdir(dir), 0);
}

/* Whatever byte is another one, and wherever it ends. */
TEST(damaged)
{
	static struct marks marks, read;
	struct err e = { 0 };
	uint8_t *data;
	size_t bytes, i;

	fill(&marks);
	data = marks_encode(&marks, &bytes);
	CHECK_EQ(marks_decode(data, bytes, &read, &e), 0);
	marks_free(&read);
	for (i = 0; i < bytes; i++) {
		data[i] ^= 1 << i % 8;
		CHECK_EQ(marks_decode(data, bytes, &read, &e), -EUCLEAN);
		marks_free(&read);
		data[i] ^= 1 << i % 8;
		CHECK_EQ(marks_decode(data, i, &read, &e), -EUCLEAN);
		marks_free(&read);
	}
	free(data);
	marks_free(&marks);
}

/* With a right checksum all the same: what makes no sense is refused. */
TEST(senseless)
{
	static struct marks marks, read;
	struct err e = { 0 };
	uint8_t *data;
	size_t bytes;
	int what;

	for (what = 0; what < 5; what++) {
		fill(&marks);
		if (what == 0)
			marks.disks[0].extents.at[2].length = 1024;	/* beyond the end */
		else if (what == 1)
			marks.disks[0].extents.at[1].offset = 0;	/* not ascending */
		else if (what == 2)
			marks.disks[0].extents.at[1].offset += 512;	/* no chunk begins there */
		else if (what == 3)
			marks.disks[1].chunk_bytes = 12288;
		else
			memset(marks.disks[1].identity, 'x', MARKS_IDENTITY_BYTES);
		data = marks_encode(&marks, &bytes);
		CHECK_EQ(marks_decode(data, bytes, &read, &e), -EUCLEAN);
		CHECK(strstr(e.text, "no sense"));
		free(data);
		marks_free(&read);
		marks_free(&marks);
	}
}

/* Nothing that was marked is left out, and it ends where the disk does. */
TEST(coarser)
{
	static struct marks marks;
	const struct extent_list *extents = &marks.disks[0].extents;
	struct extent last;
	uint64_t at, i;
	size_t j;

	fill(&marks);
	extent_list_free(&marks.disks[0].extents);
	for (at = 4096; at < 64 * MIB; at += 3 * 8192)
		CHECK_EQ(extent_list_append(&marks.disks[0].extents, at, 4096), 0);
	CHECK_EQ(extent_list_append(&marks.disks[0].extents, 64 * MIB, 512), 0);
	CHECK_EQ(marks_coarsen(&marks, extents->count), 0);
	CHECK(extents->count > 1000);	/* not without need */
	CHECK_EQ(marks_coarsen(&marks, 4), 0);
	CHECK(extents->count <= 4);
	for (i = 4096; i < 64 * MIB; i += 3 * 8192) {
		for (j = 0; j < extents->count && (extents->at[j].offset > i ||
		     extents->at[j].offset + extents->at[j].length < i + 4096); j++)
			;
		CHECK(j < extents->count);
	}
	last = extents->at[extents->count - 1];
	CHECK_EQ(last.offset + last.length, 64 * MIB + 512);
	marks_free(&marks);
}

UNIT_MAIN(T(there_and_back), T(damaged), T(senseless), T(coarser))
