// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Devices on top of one another: a write that reaches a tracked disk by any way
 * is marked there, or the disk says that it is untrusted.
 */
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "rig.h"

#define CHUNK	4096
#define SECTORS	(CHUNK / 512)

/* Does @list ("0-3,7" or "untrusted") cover all of chunks @first to @last? */
static bool covers(const char *list, unsigned long first, unsigned long last)
{
	unsigned long from, until;
	char *rest = (char *)list;

	if (!strcmp(list, "untrusted"))
		return true;
	while (*rest) {
		from = until = strtoul(rest, &rest, 10);
		if (*rest == '-')
			until = strtoul(rest + 1, &rest, 10);
		if (from <= first && first <= until)
			first = until + 1;
		if (first > last)
			return true;
		if (*rest)
			rest++;
	}
	return false;
}

/* --- partitions --------------------------------------------------------------------- */

FIXTURE(partition) {
	struct rig rig;
	const char *disk, *first, *second;
};

/* Of 16 MiB each, at 8 and at 24 MiB: chunks 2048 to 6143 and 6144 to 10239 of the disk. */
FIXTURE_SETUP(partition)
{
	rig_reset();
	self->disk = rig_null("size=64 memory_backed=1 discard=1");
	self->first = rig_partition(self->disk, 1, 8 * RIG_MIB, 16 * RIG_MIB);
	self->second = rig_partition(self->disk, 2, 24 * RIG_MIB, 16 * RIG_MIB);
	rig_open(&self->rig);
}

FIXTURE_TEARDOWN(partition)
{
	rig_close(&self->rig);
}

TEST_F(partition, tracked_and_written_itself)
{
	rig_track(&self->rig, self->first, CHUNK);
	rig_trust(&self->rig);
	EXPECT_EQ(0, rig_write(self->first, 0, 512));
	EXPECT_EQ(0, rig_write(self->first, 16 * RIG_MIB - 512, 512));
	EXPECT_STREQ("0,4095", rig_marked(&self->rig, 0));
}

TEST_F(partition, tracked_and_written_through_the_disk)
{
	rig_track(&self->rig, self->first, CHUNK);
	rig_trust(&self->rig);
	EXPECT_EQ(0, rig_write(self->disk, 8 * RIG_MIB - 512, 1024));
	EXPECT_STREQ("0", rig_marked(&self->rig, 0));
	EXPECT_EQ(0, rig_write(self->disk, 24 * RIG_MIB - 512, 1024));
	EXPECT_STREQ("4095", rig_marked(&self->rig, 0));
	EXPECT_EQ(0, rig_write(self->disk, 8 * RIG_MIB - 512, 512));
	EXPECT_EQ(0, rig_write(self->disk, 24 * RIG_MIB, 512));
	EXPECT_STREQ("", rig_marked(&self->rig, 0));
	EXPECT_EQ(0, rig_write(self->disk, 4 * RIG_MIB, 32 * RIG_MIB));
	EXPECT_STREQ("0-4095", rig_marked(&self->rig, 0));
	EXPECT_EQ(0, rig_range_ioctl(self->disk, BLKDISCARD, 0, 64 * RIG_MIB));
	EXPECT_STREQ("0-4095", rig_marked(&self->rig, 0));
	EXPECT_EQ(0, rig_info(&self->rig, 0).untrusted);
}

TEST_F(partition, neighbour_is_not_marked)
{
	rig_track(&self->rig, self->first, CHUNK);
	rig_trust(&self->rig);
	EXPECT_EQ(0, rig_write(self->second, 0, 16 * RIG_MIB));
	EXPECT_STREQ("", rig_marked(&self->rig, 0));
	EXPECT_EQ(0, rig_info(&self->rig, 0).untrusted);
}

TEST_F(partition, disk_tracked_and_written_through_partition)
{
	rig_track(&self->rig, self->disk, CHUNK);
	rig_trust(&self->rig);
	EXPECT_EQ(0, rig_write(self->first, 0, 512));
	EXPECT_EQ(0, rig_write(self->second, 16 * RIG_MIB - 512, 512));
	EXPECT_STREQ("2048,10239", rig_marked(&self->rig, 0));
}

TEST_F(partition, both_and_disk_in_groups_of_their_own)
{
	struct rig other = { 0 };

	ASSERT_EQ(0, cbt_open(&other.cbt));
	ASSERT_EQ(0, cbt_group_new(other.cbt, "other", &other.group));
	rig_track(&self->rig, self->first, CHUNK);
	rig_track(&self->rig, self->second, CHUNK);
	rig_trust(&self->rig);
	rig_track(&other, self->disk, 2 * CHUNK);
	rig_trust(&other);
	EXPECT_EQ(0, rig_write(self->first, 16 * RIG_MIB - CHUNK, CHUNK));
	EXPECT_EQ(0, rig_write(self->disk, 24 * RIG_MIB - CHUNK, 2 * CHUNK));
	ASSERT_EQ(0, rig_cut(&self->rig, 0));
	EXPECT_STREQ("4095", rig_map(&self->rig, 0));
	EXPECT_STREQ("0", rig_map(&self->rig, 1));
	rig_commit(&self->rig);
	EXPECT_STREQ("3071-3072", rig_marked(&other, 0));
	rig_close(&other);
}

/* --- device-mapper, which clones what it passes on ----------------------------------- */

FIXTURE(linear) {
	struct rig rig;
	const char *below, *above;
};

/* Two halves of the disk in exchanged order, so that a write may be split. */
FIXTURE_SETUP(linear)
{
	rig_reset();
	self->below = rig_brd(0);
	self->above = rig_dm("halves", "0 65536 linear %s 65536\n65536 65536 linear %s 0",
			     self->below, self->below);
	rig_open(&self->rig);
}

FIXTURE_TEARDOWN(linear)
{
	rig_close(&self->rig);
}

TEST_F(linear, tracked_below)
{
	rig_track(&self->rig, self->below, CHUNK);
	rig_trust(&self->rig);
	EXPECT_EQ(0, rig_write(self->above, 0, CHUNK));
	EXPECT_STREQ("8192", rig_marked(&self->rig, 0));
	EXPECT_EQ(0, rig_write(self->above, 32 * RIG_MIB - CHUNK, 2 * CHUNK));
	EXPECT_STREQ("0,16383", rig_marked(&self->rig, 0));
	EXPECT_EQ(0, rig_info(&self->rig, 0).untrusted);
}

TEST_F(linear, tracked_above)
{
	rig_track(&self->rig, self->above, CHUNK);
	rig_trust(&self->rig);
	EXPECT_EQ(0, rig_write(self->above, 32 * RIG_MIB - CHUNK, 2 * CHUNK));
	EXPECT_STREQ("8191-8192", rig_marked(&self->rig, 0));
	EXPECT_EQ(0, rig_info(&self->rig, 0).untrusted);
}

TEST_F(linear, tracked_above_and_below)
{
	rig_track(&self->rig, self->above, CHUNK);
	rig_track(&self->rig, self->below, CHUNK);
	rig_trust(&self->rig);
	EXPECT_EQ(0, rig_write(self->above, 31 * RIG_MIB, 2 * RIG_MIB));
	ASSERT_EQ(0, rig_cut(&self->rig, 0));
	EXPECT_STREQ("7936-8447", rig_map(&self->rig, 0));
	EXPECT_STREQ("0-255,16128-16383", rig_map(&self->rig, 1));
	rig_commit(&self->rig);
}

/* --- md, which passes bios on --------------------------------------------------------- */

FIXTURE(md) {
	struct rig rig;
	const char *legs[2], *array;
};

FIXTURE_VARIANT(md) {
	const char *level;
	bool whole_on_each;	/* each write goes to each leg */
};

FIXTURE_VARIANT_ADD(md, linear) { .level = "linear" };
FIXTURE_VARIANT_ADD(md, raid0) { .level = "raid0" };
FIXTURE_VARIANT_ADD(md, raid1) { .level = "raid1", .whole_on_each = true };

/* Most kernels after 6.1 are built without linear. */
FIXTURE_SETUP(md)
{
	if (rig_sh("modprobe -q md-%s", variant->level))
		return;
	rig_reset();
	self->legs[0] = rig_brd(0);
	self->legs[1] = rig_null("size=64 memory_backed=1 max_sectors=64");
	self->array = "/dev/md7";
	rig_must("mdadm --build %s --level=%s --raid-devices=2 %s %s %s >/dev/null 2>&1", self->array,
		 variant->level, variant->whole_on_each ? "--assume-clean" : "--chunk=64",
		 self->legs[0], self->legs[1]);
	rig_open(&self->rig);
}

FIXTURE_TEARDOWN(md)
{
	if (!self->array)
		return;
	rig_close(&self->rig);
	rig_sh("mdadm --stop %s >/dev/null 2>&1", self->array);
}

TEST_F(md, tracked_above)
{
	if (!self->array)
		SKIP(return, "this kernel has no md %s", variant->level);
	rig_track(&self->rig, self->array, CHUNK);
	rig_trust(&self->rig);
	EXPECT_EQ(0, rig_write(self->array, 31 * CHUNK, 2 * CHUNK));
	EXPECT_STREQ("31-32", rig_marked(&self->rig, 0));
	EXPECT_EQ(0, rig_write(self->array, 10 * RIG_MIB, 5 * RIG_MIB));
	EXPECT_STREQ("2560-3839", rig_marked(&self->rig, 0));
	EXPECT_EQ(0, rig_info(&self->rig, 0).untrusted);
}

/* Not all of md fires the tracepoint below itself; what it lets pass must not pass in silence. */
TEST_F(md, tracked_below)
{
	bool first, second;

	if (!self->array)
		SKIP(return, "this kernel has no md %s", variant->level);
	rig_track(&self->rig, self->legs[0], CHUNK);
	rig_trust(&self->rig);
	EXPECT_EQ(0, rig_write(self->array, 0, 64 << 10));
	first = covers(rig_marked(&self->rig, 0), 0, 15);
	TH_LOG("written to the first leg: \"%s\", untrusted %u", self->rig.text,
	       rig_info(&self->rig, 0).untrusted);
	EXPECT_TRUE(first);
	rig_track(&self->rig, self->legs[1], CHUNK);
	rig_trust(&self->rig);
	/*
	 * The second leg of a stripe, the same sectors of a mirror, the second half of a
	 * concatenation.
	 */
	EXPECT_EQ(0, rig_write(self->array, !strcmp(variant->level, "linear") ? 80 * RIG_MIB : 64 << 10, 64 << 10));
	second = covers(rig_marked(&self->rig, 1), !strcmp(variant->level, "linear") ? 16 * 256 : variant->whole_on_each ? 16 : 0,
			!strcmp(variant->level, "linear") ? 16 * 256 + 15 : variant->whole_on_each ? 31 : 15);
	TH_LOG("written to the second leg: \"%s\", untrusted %u", self->rig.text,
	       rig_info(&self->rig, 1).untrusted);
	EXPECT_TRUE(second);
}

/* --- a file system ---------------------------------------------------------------------- */

TEST(file_system_keeps_the_disk_trusted)
{
	struct rig rig;
	const char *path;

	rig_reset();
	path = rig_null("size=128 memory_backed=1 discard=1 cache_size=4 max_sectors=64");
	rig_open(&rig);
	rig_track(&rig, path, CHUNK);
	rig_trust(&rig);
	rig_must("mkfs.ext4 -q %s && mkdir -p /tmp/rig/mnt && mount -o discard %s /tmp/rig/mnt", path, path);
	rig_must("cd /tmp/rig/mnt && head -c 20000000 /dev/zero >a && cp a b && sync && rm a && "
		 "for i in 1 2 3 4 5; do echo $i >$i; sync -f $i; done");
	rig_must("fstrim /tmp/rig/mnt; umount /tmp/rig/mnt");
	EXPECT_EQ(0, rig_info(&rig, 0).untrusted);
	EXPECT_LT(1000, rig_info(&rig, 0).dirty_chunks);
	rig_close(&rig);
}

TEST_HARNESS_MAIN
