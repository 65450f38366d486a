// SPDX-License-Identifier: GPL-2.0-or-later
/* Devices that fail, shrink, grow or go away below the tracker, also while a pass runs. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "harness.h"
#include "rig.h"

#define CHUNK	4096

FIXTURE(faults) {
	struct rig rig;
};

FIXTURE_SETUP(faults)
{
	rig_reset();
	rig_open(&self->rig);
}

FIXTURE_TEARDOWN(faults)
{
	rig_close(&self->rig);
}

static bool is_fuzzy(struct rig *rig)
{
	if (cbt_pass_get(rig->cbt, rig->group, rig->pass.id, &rig->pass))
		rig_die("asking for a pass: %s", cbt_error(rig->cbt));
	return rig->pass.fuzzy;
}

/* Whether a write that failed has changed the disk nobody knows. */
TEST_F(faults, failed_write_is_marked)
{
	const char *path = rig_dm("bad", "0 65536 linear %s 0\n65536 8 error\n65544 65528 linear %s 65544",
				  rig_brd(0), rig_brd(0));

	rig_track(&self->rig, path, CHUNK);
	rig_trust(&self->rig);
	EXPECT_EQ(-EIO, rig_write(path, 8192 * CHUNK, CHUNK));
	EXPECT_NE(0, rig_write(path, 8190 * CHUNK, 4 * CHUNK));
	EXPECT_STREQ("8190-8193", rig_marked(&self->rig, 0));
	EXPECT_EQ(0, rig_info(&self->rig, 0).untrusted);
}

TEST_F(faults, flaky_device)
{
	const char *path = rig_dm("flaky", "0 131072 flakey %s 0 0 1000 1 error_writes", rig_brd(0));
	struct rig *rig = &self->rig;
	char before[CHUNK], data[CHUNK];

	EXPECT_EQ(0, rig_read(path, 3 * CHUNK, CHUNK, before));
	rig_track(rig, path, CHUNK);
	rig_trust(rig);
	EXPECT_NE(0, rig_write(path, 3 * CHUNK, 2 * CHUNK));
	ASSERT_EQ(0, rig_cut(rig, 0));
	EXPECT_STREQ("3-4", rig_map(rig, 0));
	/* Held, kept, and then failed by the device. */
	EXPECT_NE(0, rig_write(path, 3 * CHUNK, CHUNK));
	EXPECT_EQ(0, rig_read(rig_info(rig, 0).image, 3 * CHUNK, CHUNK, data));
	EXPECT_EQ(0, memcmp(before, data, CHUNK));
	EXPECT_FALSE(is_fuzzy(rig));
	rig_commit(rig);
	EXPECT_STREQ("3", rig_marked(rig, 0));
	EXPECT_EQ(0, rig_info(rig, 0).untrusted);
}

/* The disk cannot read sectors 0x1234 and nine more, which are in chunks 582 and 583. */
TEST_F(faults, what_has_to_be_kept_cannot_be_read)
{
	const char *path = rig_scsi_with("opts=2");
	struct rig *rig = &self->rig;
	char data[CHUNK];

	rig_track(rig, path, CHUNK);
	rig_trust(rig);
	EXPECT_EQ(0, rig_write(path, 580 * CHUNK, 10 * CHUNK));
	ASSERT_EQ(0, rig_cut(rig, 0));
	EXPECT_EQ(0, rig_write(path, 581 * CHUNK, 2 * CHUNK));
	EXPECT_TRUE(is_fuzzy(rig));
	EXPECT_NE(0, rig_read(rig_info(rig, 0).image, 582 * CHUNK, CHUNK, data));
	rig_commit(rig);
	rig_must("echo 0 >/sys/bus/pseudo/drivers/scsi_debug/opts");
	ASSERT_EQ(0, rig_cut(rig, 0));
	EXPECT_STREQ("581-582", rig_map(rig, 0));
	EXPECT_EQ(0, rig_write(path, 581 * CHUNK, 2 * CHUNK));
	EXPECT_FALSE(is_fuzzy(rig));
	rig_commit(rig);
}

/* A write to a device that answers nothing but errors is the writer's to hear of. */
TEST_F(faults, device_that_fails_in_a_pass)
{
	const char *path = rig_dm("dying", "0 131072 linear %s 0", rig_brd(0));
	struct rig *rig = &self->rig;
	char data[CHUNK];

	rig_track(rig, path, CHUNK);
	rig_trust(rig);
	EXPECT_EQ(0, rig_write(path, 0, 4 * CHUNK));
	ASSERT_EQ(0, rig_cut(rig, 0));
	rig_must("dmsetup load dying --table '0 131072 error' && dmsetup suspend --nolockfs dying && "
		 "dmsetup resume dying");
	EXPECT_NE(0, rig_write(path, 0, CHUNK));
	EXPECT_TRUE(is_fuzzy(rig));
	EXPECT_NE(0, rig_read(rig_info(rig, 0).image, CHUNK, CHUNK, data));
	rig_give_up(rig);
	EXPECT_STREQ("0-3", rig_marked(rig, 0));
}

static void set_loop_size(const char *path, unsigned int mib)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	rig_must("truncate -s %uM /tmp/rig/loop0", mib);
	if (ioctl(fd, LOOP_SET_CAPACITY))
		rig_die("cannot resize %s", path);
	close(fd);
}

TEST_F(faults, grown_in_a_pass)
{
	const char *path = rig_loop(32 * RIG_MIB);
	struct rig *rig = &self->rig;
	char data[CHUNK];

	rig_track(rig, path, CHUNK);
	rig_trust(rig);
	EXPECT_EQ(0, rig_write(path, 32 * RIG_MIB - CHUNK, CHUNK));
	ASSERT_EQ(0, rig_cut(rig, 0));
	set_loop_size(path, 48);
	EXPECT_EQ(0, rig_write(path, 40 * RIG_MIB, CHUNK));
	EXPECT_EQ(0, rig_range_ioctl(path, BLKZEROOUT, 32 * RIG_MIB - CHUNK, 2 * CHUNK));
	EXPECT_EQ(32 * RIG_MIB, rig_size(rig_info(rig, 0).image));
	EXPECT_EQ(0, rig_read(rig_info(rig, 0).image, 32 * RIG_MIB - CHUNK, CHUNK, data));
	EXPECT_EQ((char)0xa5, data[0]);
	EXPECT_EQ(CBT_UNTRUSTED_RESIZED, rig_info(rig, 0).untrusted);
	/* It no longer is all of the disk. */
	EXPECT_TRUE(is_fuzzy(rig));
	rig_commit(rig);
	EXPECT_EQ(-ESTALE, rig_cut(rig, CBT_PASS_F_FULL));
}

TEST_F(faults, shrunk_in_a_pass)
{
	const char *path = rig_loop(32 * RIG_MIB);
	struct rig *rig = &self->rig;
	char data[CHUNK];

	rig_track(rig, path, CHUNK);
	rig_trust(rig);
	EXPECT_EQ(0, rig_write(path, 0, 32 * RIG_MIB));
	ASSERT_EQ(0, rig_cut(rig, 0));
	set_loop_size(path, 16);
	EXPECT_NE(0, rig_read(rig_info(rig, 0).image, 24 * RIG_MIB, CHUNK, data));
	EXPECT_EQ(CBT_UNTRUSTED_RESIZED, rig_info(rig, 0).untrusted);
	EXPECT_TRUE(is_fuzzy(rig));
	rig_give_up(rig);
	EXPECT_EQ(-ESTALE, rig_cut(rig, 0));
}

/* --- removed ------------------------------------------------------------------------------- */

/* With writes that wait for a seal which does not come. */
TEST_F(faults, removed_with_writes_held)
{
	const char *path = rig_null("size=16 memory_backed=1"), *stuck;
	struct rig_async *old, *held[4];
	struct rig *rig = &self->rig;

	stuck = rig_dm("stuck", "0 32768 linear %s 0", rig_brd(0));
	rig_track(rig, path, CHUNK);
	rig_track(rig, stuck, CHUNK);
	rig_trust(rig);
	EXPECT_EQ(0, rig_write(path, 0, 8 * CHUNK));
	rig_must("dmsetup suspend --nolockfs --noflush stuck");
	old = rig_write_begin(stuck, 0, CHUNK);
	ASSERT_EQ(0, cbt_pass_begin(rig->cbt, rig->group, 0, &rig->pass));
	for (unsigned int i = 0; i < 4; i++)
		held[i] = rig_write_begin(path, i * CHUNK, CHUNK);
	rig_null_remove(path);
	EXPECT_TRUE(rig_info(rig, 0).untrusted & CBT_UNTRUSTED_REMOVED);
	rig_must("dmsetup resume stuck");
	EXPECT_EQ(0, rig_write_end(old));
	for (unsigned int i = 0; i < 4; i++)
		EXPECT_NE(0, rig_write_end(held[i]));
	ASSERT_EQ(0, cbt_pass_wait_sealed(rig->cbt, rig->group, rig->pass.id, 100000, &rig->pass));
	EXPECT_TRUE(is_fuzzy(rig));
	rig_give_up(rig);
	EXPECT_EQ(-ENODEV, rig_cut(rig, 0));
	/* What is left of the group can be tracked on without it. */
	EXPECT_EQ(0, cbt_disk_del(rig->cbt, rig->group, rig->disks[0]));
	ASSERT_EQ(0, rig_cut(rig, 0));
	EXPECT_STREQ("0", rig_map(rig, 1));
	rig_commit(rig);
}

/* A new device under the number of one that is gone, while a pass of that one is open. */
TEST_F(faults, exchanged_in_a_pass)
{
	const char *path = rig_null("size=16 memory_backed=1");
	struct rig *rig = &self->rig;
	char data[CHUNK];

	rig_track(rig, path, CHUNK);
	rig_trust(rig);
	EXPECT_EQ(0, rig_write(path, 0, 4 * CHUNK));
	ASSERT_EQ(0, rig_cut(rig, 0));
	rig_null_remove(path);
	path = rig_null("size=16 memory_backed=1");
	EXPECT_EQ(0, rig_write(path, 0, 8 * CHUNK));
	/* Neither the new one's contents nor silence. */
	EXPECT_NE(0, rig_read(rig_info(rig, 0).image, 0, CHUNK, data));
	EXPECT_TRUE(rig_info(rig, 0).untrusted & CBT_UNTRUSTED_REMOVED);
	EXPECT_TRUE(is_fuzzy(rig));
	rig_give_up(rig);
	EXPECT_EQ(-ENODEV, rig_cut(rig, CBT_PASS_F_FULL));
}

/* --- refused --------------------------------------------------------------------------------- */

TEST_F(faults, zoned_devices_are_refused)
{
	const char *path = rig_null("size=64 memory_backed=1 zoned=1 zone_size=4");
	struct rig *rig = &self->rig;
	struct cbt_disk_info info;

	EXPECT_EQ(-EOPNOTSUPP, cbt_disk_add(rig->cbt, rig->group, path, CHUNK, &info));
	EXPECT_STREQ("zoned devices cannot be tracked; use a device-mapper target that hides the zones",
		     cbt_error(rig->cbt));
}

TEST_HARNESS_MAIN
