// SPDX-License-Identifier: GPL-2.0-or-later
/* What the tracker cannot see, it says aloud: every way to an untrusted disk, and back. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <scsi/sg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "harness.h"
#include "rig.h"

#define CHUNK	4096

FIXTURE(distrust) {
	struct rig rig;
};

FIXTURE_SETUP(distrust)
{
	rig_reset();
	rig_open(&self->rig);
}

FIXTURE_TEARDOWN(distrust)
{
	rig_close(&self->rig);
}

TEST_F(distrust, fresh)
{
	struct rig *rig = &self->rig;

	rig_track(rig, rig_brd(0), CHUNK);
	EXPECT_EQ(CBT_UNTRUSTED_FRESH, rig_info(rig, 0).untrusted);
	EXPECT_EQ(-ESTALE, rig_cut(rig, 0));
	EXPECT_STREQ("a disk of the group is untrusted; begin a full pass", cbt_error(rig->cbt));
	ASSERT_EQ(0, rig_cut(rig, CBT_PASS_F_FULL));
	EXPECT_EQ(0, rig_info(rig, 0).untrusted);
	rig_commit(rig);
	EXPECT_STREQ("", rig_marked(rig, 0));
}

TEST_F(distrust, resized)
{
	struct rig *rig = &self->rig;
	const char *path = rig_loop(32 * RIG_MIB);
	int fd = open(path, O_RDWR | O_CLOEXEC);

	rig_track(rig, path, CHUNK);
	rig_trust(rig);
	rig_must("truncate -s 48M /tmp/rig/loop0");
	ASSERT_EQ(0, ioctl(fd, LOOP_SET_CAPACITY));
	close(fd);
	EXPECT_EQ(CBT_UNTRUSTED_RESIZED, rig_info(rig, 0).untrusted);
	EXPECT_EQ(-ESTALE, rig_cut(rig, 0));
	/* A full pass of the old size would miss the new part. */
	EXPECT_EQ(-ESTALE, rig_cut(rig, CBT_PASS_F_FULL));
	EXPECT_EQ(0, cbt_disk_del(rig->cbt, rig->group, rig->disks[0]));
	rig_track(rig, path, CHUNK);
	rig_trust(rig);
	EXPECT_EQ(0, rig_write(path, 47 * RIG_MIB, CHUNK));
	EXPECT_STREQ("12032", rig_marked(rig, 1));
}

/* Nobody asks about the disk between the growth and the write beyond its old end. */
TEST_F(distrust, write_beyond_the_old_end)
{
	struct rig *rig = &self->rig;
	const char *path = rig_loop(32 * RIG_MIB);
	int fd = open(path, O_RDWR | O_CLOEXEC);

	rig_track(rig, path, CHUNK);
	rig_trust(rig);
	rig_must("truncate -s 48M /tmp/rig/loop0");
	ASSERT_EQ(0, ioctl(fd, LOOP_SET_CAPACITY));
	EXPECT_EQ(0, rig_write(path, 40 * RIG_MIB, CHUNK));
	rig_must("truncate -s 32M /tmp/rig/loop0");
	ASSERT_EQ(0, ioctl(fd, LOOP_SET_CAPACITY));
	close(fd);
	EXPECT_EQ(CBT_UNTRUSTED_RESIZED, rig_info(rig, 0).untrusted);
}

TEST_F(distrust, removed)
{
	struct rig *rig = &self->rig;
	const char *path = rig_null("size=16 memory_backed=1");

	rig_track(rig, path, CHUNK);
	rig_trust(rig);
	rig_null_remove(path);
	EXPECT_EQ(-ENODEV, rig_cut(rig, 0));
	EXPECT_TRUE(rig_info(rig, 0).untrusted & CBT_UNTRUSTED_REMOVED);
	EXPECT_EQ(-ENODEV, rig_cut(rig, CBT_PASS_F_FULL));
	EXPECT_EQ(0, cbt_disk_del(rig->cbt, rig->group, rig->disks[0]));
}

/* The new device has the number, the name and the size of the old one. */
TEST_F(distrust, removed_and_made_anew)
{
	struct rig *rig = &self->rig;
	const char *path = rig_null("size=16 memory_backed=1");

	rig_track(rig, path, CHUNK);
	rig_trust(rig);
	rig_null_remove(path);
	path = rig_null("size=16 memory_backed=1");
	EXPECT_EQ(0, rig_write(path, 0, CHUNK));
	EXPECT_TRUE(rig_info(rig, 0).untrusted & CBT_UNTRUSTED_REMOVED);
	EXPECT_EQ(0, rig_info(rig, 0).dirty_chunks);
}

TEST_F(distrust, removed_in_a_pass)
{
	struct rig *rig = &self->rig;
	const char *path = rig_null("size=16 memory_backed=1");

	rig_track(rig, path, CHUNK);
	ASSERT_EQ(0, rig_cut(rig, CBT_PASS_F_FULL));
	rig_null_remove(path);
	EXPECT_TRUE(rig_info(rig, 0).untrusted & CBT_UNTRUSTED_REMOVED);
	rig_give_up(rig);
	EXPECT_EQ(-ENODEV, rig_cut(rig, 0));
}

TEST_F(distrust, scsi_disk_deleted)
{
	struct rig *rig = &self->rig;
	const char *path = rig_scsi();

	rig_track(rig, path, CHUNK);
	rig_trust(rig);
	rig_must("echo 1 >/sys/block/%s/device/delete", strrchr(path, '/') + 1);
	EXPECT_EQ(-ENODEV, rig_cut(rig, 0));
	EXPECT_TRUE(rig_info(rig, 0).untrusted & CBT_UNTRUSTED_REMOVED);
}

TEST_F(distrust, loop_bound_to_another_file)
{
	struct rig *rig = &self->rig;
	const char *path = rig_loop(32 * RIG_MIB);
	int fd = open(path, O_RDWR | O_CLOEXEC);

	rig_track(rig, path, CHUNK);
	rig_trust(rig);
	ASSERT_EQ(0, ioctl(fd, LOOP_CLR_FD));
	close(fd);
	rig_must("truncate -s 32M /tmp/rig/other");
	/* The unbinding ends with the last closing of the device. */
	rig_must("while [ -e /sys/block/%s/loop ]; do sleep 0.05; done", strrchr(path, '/') + 1);
	rig_loop_bind(path, "/tmp/rig/other");
	EXPECT_TRUE(rig_info(rig, 0).untrusted & CBT_UNTRUSTED_REMOVED);
	EXPECT_EQ(-ENODEV, rig_cut(rig, 0));
}

/* --- commands that carry no bio ------------------------------------------------------- */

/* A SCSI command; @data of @length bytes goes to the disk, or comes from it. Returns its status. */
static int scsi_command(const char *path, const uint8_t *cdb, uint8_t cdb_bytes, int direction,
			void *data, uint32_t length)
{
	uint8_t sense[32];
	struct sg_io_hdr hdr = {
		.interface_id = 'S', .dxfer_direction = direction, .cmd_len = cdb_bytes,
		.cmdp = (uint8_t *)cdb, .dxfer_len = length, .dxferp = data, .timeout = 100000,
		.sbp = sense, .mx_sb_len = sizeof(sense),
	};
	int fd = open(path, O_RDWR | O_CLOEXEC), err;

	err = fd < 0 || ioctl(fd, SG_IO, &hdr) ? -errno : hdr.status;
	close(fd);
	return err;
}

FIXTURE(passthrough) {
	struct rig rig;
	const char *path;
	char data[512];
};

FIXTURE_SETUP(passthrough)
{
	rig_reset();
	self->path = rig_scsi();
	memset(self->data, 'p', sizeof(self->data));
	rig_open(&self->rig);
	rig_track(&self->rig, self->path, CHUNK);
	rig_trust(&self->rig);
}

FIXTURE_TEARDOWN(passthrough)
{
	rig_close(&self->rig);
}

TEST_F(passthrough, write_command)
{
	static const uint8_t write10[] = { 0x2a, 0, 0, 0, 0, 8, 0, 0, 1, 0 };

	EXPECT_EQ(0, scsi_command(self->path, write10, 10, SG_DXFER_TO_DEV, self->data, 512));
	EXPECT_EQ(CBT_UNTRUSTED_PASSTHROUGH, rig_info(&self->rig, 0).untrusted);
	EXPECT_STREQ("untrusted", rig_marked(&self->rig, 0));
	rig_trust(&self->rig);
	EXPECT_STREQ("", rig_marked(&self->rig, 0));
}

TEST_F(passthrough, read_command_is_harmless)
{
	static const uint8_t read10[] = { 0x28, 0, 0, 0, 0, 8, 0, 0, 1, 0 };

	EXPECT_EQ(0, scsi_command(self->path, read10, 10, SG_DXFER_FROM_DEV, self->data, 512));
	EXPECT_EQ(0, rig_info(&self->rig, 0).untrusted);
}

/* WRITE SAME (16) with NDOB: zeroes a block, and carries no data that would show it. */
TEST_F(passthrough, write_command_without_data)
{
	static const uint8_t write_same[] = {
		0x93, 0x01, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 1, 0, 0
	};
	char before[512] = "something", after[512];

	EXPECT_EQ(0, rig_write(self->path, CHUNK, CHUNK));
	EXPECT_STREQ("1", rig_marked(&self->rig, 0));
	EXPECT_EQ(0, rig_read(self->path, CHUNK, 512, before));
	ASSERT_EQ(0, scsi_command(self->path, write_same, 16, SG_DXFER_NONE, NULL, 0));
	EXPECT_EQ(0, rig_read(self->path, CHUNK, 512, after));
	EXPECT_NE(0, memcmp(before, after, 512));
	EXPECT_EQ(CBT_UNTRUSTED_PASSTHROUGH, rig_info(&self->rig, 0).untrusted);
}

/* What multipathd and others ask every disk all the time. */
TEST_F(passthrough, test_unit_ready_is_harmless)
{
	static const uint8_t test_unit_ready[6];

	EXPECT_EQ(0, scsi_command(self->path, test_unit_ready, 6, SG_DXFER_NONE, NULL, 0));
	EXPECT_EQ(0, rig_info(&self->rig, 0).untrusted);
}

/* --- writes that nobody saw begin --------------------------------------------------------- */

TEST_F(distrust, write_in_flight_when_the_disk_was_added)
{
	struct rig *rig = &self->rig;
	const char *path = rig_null("size=16 memory_backed=1 irqmode=2 completion_nsec=3000000000");
	struct rig_async *write = rig_write_begin(path, 0, CHUNK);

	rig_track(rig, path, CHUNK);
	rig_trust(rig);
	EXPECT_EQ(0, rig_info(rig, 0).untrusted);
	/* The full pass may have read before the write landed, so trust must end with it. */
	ASSERT_FALSE(rig_write_done(write));
	EXPECT_EQ(0, rig_write_end(write));
	EXPECT_EQ(CBT_UNTRUSTED_UNKNOWN_WRITE,
		  rig_wait_untrusted(rig, 0, CBT_UNTRUSTED_UNKNOWN_WRITE));
	EXPECT_STREQ("untrusted", rig_marked(rig, 0));
	rig_trust(rig);
	EXPECT_STREQ("", rig_marked(rig, 0));
}

/* It passes writes on, but accounts for them, and therefore ends them itself. */
TEST_F(distrust, write_in_flight_when_the_array_was_added)
{
	struct rig *rig = &self->rig;
	const char *array = "/dev/md7", *stuck = rig_dm("stuck", "0 32768 linear %s 0", rig_brd(0)),
		   *other = rig_dm("other", "0 32768 linear %s 0", rig_brd(1));
	struct rig_async *write;

	rig_must("modprobe -q md-raid0 && mdadm --build %s --level=raid0 --raid-devices=2 %s %s "
		 ">/dev/null 2>&1", array, stuck, other);
	rig_size(array);	/* what the first opening reads must not be stuck */
	rig_must("dmsetup suspend --nolockfs --noflush stuck");
	write = rig_write_begin(array, 0, CHUNK);
	rig_track(rig, array, CHUNK);
	rig_trust(rig);
	EXPECT_EQ(0, rig_info(rig, 0).untrusted);
	ASSERT_FALSE(rig_write_done(write));
	rig_must("dmsetup resume stuck");
	EXPECT_EQ(0, rig_write_end(write));
	EXPECT_EQ(CBT_UNTRUSTED_UNKNOWN_WRITE,
		  rig_wait_untrusted(rig, 0, CBT_UNTRUSTED_UNKNOWN_WRITE));
	EXPECT_STREQ("untrusted", rig_marked(rig, 0));
}

TEST_HARNESS_MAIN
