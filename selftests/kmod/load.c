// SPDX-License-Identifier: GPL-2.0-or-later
/* Coming and going under load, limits, and what is long. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "rig.h"

#define CHUNK	4096
#define TIMES	20

/* --- writers that never end -------------------------------------------------------- */

static pid_t start_writer(const char *path, unsigned int seed)
{
	uint64_t blocks = rig_size(path) / CHUNK;
	pid_t pid = fork();
	void *data;
	int fd;

	if (pid)
		return pid;
	fd = open(path, O_WRONLY | O_DIRECT | O_CLOEXEC);
	if (fd < 0 || posix_memalign(&data, CHUNK, 4 * CHUNK))
		_exit(1);
	while (pwrite(fd, data, CHUNK << rand_r(&seed) % 3, rand_r(&seed) % (blocks - 4) * CHUNK) >
	       0)
		;
	_exit(1);
}

/* It must have been writing until now. */
static bool end_writer(pid_t pid)
{
	int status;

	kill(pid, SIGKILL);
	return waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) &&
	       WTERMSIG(status) == SIGKILL;
}

FIXTURE(load) {
	const char *paths[2];
	pid_t writers[3];
};

FIXTURE_SETUP(load)
{
	rig_reset();
	self->paths[0] = rig_null("size=64 memory_backed=1 irqmode=2 completion_nsec=2000000");
	self->paths[1] = rig_brd(0);
	for (unsigned int i = 0; i < 3; i++)
		self->writers[i] = start_writer(self->paths[i / 2], i);
}

FIXTURE_TEARDOWN(load)
{
	for (unsigned int i = 0; i < 3; i++)
		EXPECT_TRUE(end_writer(self->writers[i]));
}

static void open_and_track(struct rig *rig, const char *const paths[2])
{
	rig_open(rig);
	rig_track(rig, paths[0], CHUNK);
	rig_track(rig, paths[1], 4 * CHUNK);
}

/*
 * A disk that is tracked all the time keeps the probes in place: to patch the kernel for
 * each turn costs an emulated guest seconds. module_comes_and_goes does that.
 */
static void keep_probes(struct rig *keeper)
{
	const char *paths[] = { rig_null("size=16 memory_backed=0"), rig_brd(1) };

	if (cbt_open(&keeper->cbt) || cbt_group_new(keeper->cbt, "keeper", &keeper->group))
		rig_die("no group to keep the probes");
	keeper->count = 0;
	rig_track(keeper, paths[0], 0);
	rig_track(keeper, paths[1], 0);
}

TEST_F(load, groups_come_and_go)
{
	struct rig rig, keeper;

	keep_probes(&keeper);
	for (unsigned int i = 0; i < TIMES; i++) {
		open_and_track(&rig, self->paths);
		if (i % 4)
			ASSERT_EQ(0,
				  cbt_pass_begin(rig.cbt, rig.group, CBT_PASS_F_FULL, &rig.pass));
		if (i % 4 == 2)
			rig_give_up(&rig);
		if (i % 4 == 3) {
			ASSERT_EQ(0, cbt_pass_wait_sealed(rig.cbt, rig.group, rig.pass.id, 10000,
							  &rig.pass));
			rig_commit(&rig);
		}
		rig_close(&rig);
	}
	rig_close(&keeper);
}

TEST_F(load, disks_come_and_go)
{
	struct rig rig, keeper;

	keep_probes(&keeper);
	rig_open(&rig);
	rig_track(&rig, self->paths[1], CHUNK);
	for (unsigned int i = 0; i < TIMES; i++) {
		rig.count = 1;
		rig_track(&rig, self->paths[0], CHUNK);
		rig_sleep_ms(5);
		ASSERT_EQ(0, cbt_disk_del(rig.cbt, rig.group, rig.disks[1]));
	}
	EXPECT_LT(0, rig_info(&rig, 0).writes);
	rig_close(&rig);
	rig_close(&keeper);
}

/* As long as there is a group the module stays; after that it goes, whatever is in flight. */
TEST_F(load, module_comes_and_goes)
{
	int fd = open(getenv("BLKCBT_KO"), O_RDONLY | O_CLOEXEC);
	struct rig rig;

	ASSERT_LE(0, fd);
	for (unsigned int i = 0; i < TIMES; i++) {
		open_and_track(&rig, self->paths);
		ASSERT_EQ(0, cbt_pass_begin(rig.cbt, rig.group, CBT_PASS_F_FULL, &rig.pass));
		EXPECT_EQ(-1, syscall(SYS_delete_module, "blkcbt", O_NONBLOCK));
		EXPECT_EQ(EAGAIN, errno);
		rig_close(&rig);
		/* Images let go of the module in the background. */
		for (unsigned int tries = 0; syscall(SYS_delete_module, "blkcbt", O_NONBLOCK); tries++) {
			ASSERT_GT(20000, tries);
			rig_sleep_ms(5);
		}
		EXPECT_NE(0, access("/sys/module/blkcbt", F_OK));
		ASSERT_EQ(0, syscall(SYS_finit_module, fd, "", 0));
	}
	close(fd);
}

/* --- what is long --------------------------------------------------------------------- */

/* A discard of all of it is a chain of thousands of bios, and each may be split in turn. */
FIXTURE(chain) {
	struct rig rig;
};

FIXTURE_SETUP(chain)
{
	rig_reset();
	rig_open(&self->rig);
}

FIXTURE_TEARDOWN(chain)
{
	rig_close(&self->rig);
}

/* The first of 2048 chained bios ends last, and with it one after another of the rest. */
TEST_F(chain, discard_that_ends_from_its_first_bio)
{
	const char *below = rig_loop(8ULL << 40);
	const char *path = rig_dm("chain", "0 8388608 delay %s 0 500\n8388608 17171480576 linear %s 8388608",
				  below, below);

	rig_track(&self->rig, path, 1 << 20);
	rig_trust(&self->rig);
	EXPECT_EQ(0, rig_range_ioctl(path, BLKDISCARD, 0, 8ULL << 40));
	EXPECT_STREQ("0-8388607", rig_marked(&self->rig, 0));
	EXPECT_EQ(0, rig_info(&self->rig, 0).untrusted);
}

TEST_F(chain, zeroing_in_small_bios)
{
	const char *path = rig_null("size=4096 memory_backed=0 max_sectors=8");

	rig_track(&self->rig, path, 0);
	rig_trust(&self->rig);
	EXPECT_EQ(0, rig_range_ioctl(path, BLKZEROOUT, 0, 256 * RIG_MIB));
	EXPECT_STREQ("0-65535", rig_marked(&self->rig, 0));
	EXPECT_EQ(0, rig_info(&self->rig, 0).untrusted);
}

/* A few bios, each split thousands of times, wrapped twice. */
TEST_F(chain, split_discard_in_two_groups)
{
	struct rig other = { 0 };
	const char *path = rig_loop(16ULL << 30);

	rig_must("echo 1048576 >/sys/block/%s/queue/discard_max_bytes", path + 5);
	ASSERT_EQ(0, cbt_open(&other.cbt));
	ASSERT_EQ(0, cbt_group_new(other.cbt, "other", &other.group));
	rig_track(&self->rig, path, 1 << 20);
	rig_track(&other, path, 1 << 19);
	rig_trust(&self->rig);
	rig_trust(&other);
	EXPECT_EQ(0, rig_range_ioctl(path, BLKDISCARD, 0, 16ULL << 30));
	EXPECT_STREQ("0-16383", rig_marked(&self->rig, 0));
	EXPECT_STREQ("0-32767", rig_marked(&other, 0));
	EXPECT_EQ(0, rig_info(&self->rig, 0).untrusted | rig_info(&other, 0).untrusted);
	rig_close(&other);
}

/* --- limits ------------------------------------------------------------------------------ */

static int count_group(const struct cbt_group_info *info, void *arg)
{
	unsigned int *count = arg;

	(void)info;
	(*count)++;
	return 0;
}

TEST(many_groups)
{
	unsigned int made = 0, listed = 0, refused = 0;
	uint32_t ids[300];
	struct cbt *cbt;
	char name[32];
	int err;

	rig_reset();
	ASSERT_EQ(0, cbt_open(&cbt));
	for (unsigned int i = 0; i < 300; i++) {
		snprintf(name, sizeof(name), "group-%u", i);
		err = cbt_group_new(cbt, name, &ids[made]);
		if (!err) {
			made++;
			continue;
		}
		EXPECT_EQ(-ENOSPC, err);
		EXPECT_STREQ("there are as many groups as there can be", cbt_error(cbt));
		refused++;
	}
	EXPECT_EQ(256, made);
	EXPECT_EQ(44, refused);
	EXPECT_EQ(0, cbt_group_list(cbt, count_group, &listed));
	EXPECT_EQ(made, listed);
	for (unsigned int i = 0; i < made; i++)
		EXPECT_EQ(0, cbt_group_del(cbt, ids[i]));
	EXPECT_EQ(0, cbt_group_new(cbt, "again", ids));
	EXPECT_EQ(0, cbt_group_del(cbt, ids[0]));
	cbt_close(cbt);
}

static int count_disk(const struct cbt_disk_info *info, void *arg)
{
	unsigned int *count = arg;

	*count += info->id == *count + 1;
	return 0;
}

TEST(many_disks)
{
	struct cbt_disk_info info;
	unsigned int listed = 0;
	struct rig rig;
	const char *disk, *part;

	rig_reset();
	disk = rig_null("size=256 memory_backed=0");
	rig_open(&rig);
	for (unsigned int i = 1; i <= 64; i++) {
		part = rig_partition(disk, i, i * RIG_MIB, RIG_MIB);
		EXPECT_EQ(0, cbt_disk_add(rig.cbt, rig.group, part, CHUNK, &info));
		EXPECT_EQ(i < 64 ? -EEXIST : -ENOSPC,
			  cbt_disk_add(rig.cbt, rig.group, part, CHUNK, &info));
	}
	EXPECT_EQ(-ENOSPC, cbt_disk_add(rig.cbt, rig.group, disk, CHUNK, &info));
	EXPECT_EQ(0, cbt_disk_list(rig.cbt, rig.group, count_disk, &listed));
	EXPECT_EQ(64, listed);
	/* One write, seen by all of them. */
	rig_trust(&rig);
	EXPECT_EQ(0, rig_range_ioctl(disk, BLKZEROOUT, 0, 128 * RIG_MIB));
	ASSERT_EQ(0, rig_cut(&rig, 0));
	EXPECT_EQ(64 * 256, rig.pass.chunks);
	rig_commit(&rig);
	rig_close(&rig);
}

/* A device of 300 TiB at 4 KiB would need more than a bitmap may be. */
TEST(bitmap_too_large)
{
	struct cbt_disk_info info;
	struct rig rig;
	const char *path;

	rig_reset();
	path = rig_null("size=314572800 memory_backed=0");
	rig_open(&rig);
	EXPECT_EQ(-EINVAL, cbt_disk_add(rig.cbt, rig.group, path, CHUNK, &info));
	EXPECT_EQ(0, cbt_disk_add(rig.cbt, rig.group, path, 1 << 20, &info));
	rig_close(&rig);
}

TEST_HARNESS_MAIN
