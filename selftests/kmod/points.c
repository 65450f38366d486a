// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What passes make of disks that are written all the time: each pass that is whole leaves them
 * as they stood at one instant.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "rig.h"

#define CHUNK		4096

/* --- one chain of writes over three disks ------------------------------------------------- */

#define DISKS		3
#define BLOCKS		256U	/* of each disk that are written to */
#define MAX_WRITES	2000000U
#define WHOLE_PASSES	10

/* Where the chain's write of each number went: disk * BLOCKS + block; set before it is issued. */
static uint16_t *place;
static atomic_uint completed;
static atomic_bool stop;
static const char *paths[DISKS];
static unsigned char (*shadow)[BLOCKS][CHUNK];

/* Each write is issued only after the one before it has completed, on whichever disk. */
static void *write_chain(void *arg)
{
	unsigned int seed = 1, *data;
	int fds[DISKS];

	(void)arg;
	for (unsigned int d = 0; d < DISKS; d++)
		fds[d] = open(paths[d], O_WRONLY | O_DIRECT | O_CLOEXEC);
	if (posix_memalign((void **)&data, CHUNK, CHUNK))
		rig_die("no memory");
	for (unsigned int n = 1; n < MAX_WRITES && !atomic_load(&stop); n++) {
		place[n] = rand_r(&seed) % (DISKS * BLOCKS);
		for (unsigned int i = 0; i < CHUNK / sizeof(*data); i++)
			data[i] = n;
		if (pwrite(fds[place[n] / BLOCKS], data, CHUNK,
			   (off_t)(place[n] % BLOCKS) * CHUNK) != CHUNK)
			rig_die("a write failed: %s", strerror(errno));
		atomic_store(&completed, n);
	}
	free(data);
	for (unsigned int d = 0; d < DISKS; d++)
		close(fds[d]);
	return NULL;
}

struct copy {
	int fd;
	unsigned char *to;
	uint64_t bytes;	/* that @to has room for */
};

static int copy_extent(uint64_t offset, uint64_t length, void *arg)
{
	struct copy *copy = arg;
	uint64_t end = offset + length < copy->bytes ? offset + length : copy->bytes;

	if (offset < end &&
	    pread(copy->fd, copy->to + offset, end - offset, offset) != (ssize_t)(end - offset))
		rig_die("cannot read an image: %s", strerror(errno));
	return 0;
}

/* Reads what the pass has of a disk through its image, or the disk itself if there is none. */
static void copy_disk(struct rig *rig, unsigned int disk, struct copy copy)
{
	struct cbt_disk_info info = rig_info(rig, disk);

	copy.fd = open(info.image[0] ? info.image : info.path, O_RDONLY | O_CLOEXEC);
	if (copy.fd < 0 ||
	    cbt_map_get(rig->cbt, rig->group, rig->pass.id, rig->disks[disk], copy_extent, &copy))
		rig_die("cannot read disk %u: %s", disk, cbt_error(rig->cbt));
	close(copy.fd);
}

/* Does the shadow hold just the writes up to some number? *last is that number. */
static bool is_prefix(unsigned int *last)
{
	static unsigned int expected[DISKS * BLOCKS];
	unsigned int newest = 0, *found, wrong = 0;

	for (unsigned int p = 0; p < DISKS * BLOCKS; p++) {
		found = (unsigned int *)shadow[p / BLOCKS][p % BLOCKS];
		newest = *found > newest ? *found : newest;
	}
	memset(expected, 0, sizeof(expected));
	for (unsigned int n = 1; n <= newest; n++)
		expected[place[n]] = n;
	for (unsigned int p = 0; p < DISKS * BLOCKS; p++) {
		found = (unsigned int *)shadow[p / BLOCKS][p % BLOCKS];
		for (unsigned int i = 0; i < CHUNK / sizeof(*found); i++) {
			if (found[i] == expected[p])
				continue;
			if (wrong++ < 5)
				fprintf(stderr,
					"# disk %u block %u: write %u, not %u, though %u is there\n",
					p / BLOCKS, p % BLOCKS, found[i], expected[p], newest);
			break;
		}
	}
	*last = newest;
	return !wrong;
}

TEST(writes_of_three_disks_are_cut_in_order)
{
	unsigned int whole = 0, floor, newest = 0, seed = 7;
	pthread_t writer;
	struct rig rig;

	rig_reset();
	rig_open(&rig);
	paths[0] = rig_null("size=16 memory_backed=1");
	paths[1] = rig_brd(0);
	paths[2] = rig_dm("third", "0 32768 linear %s 2048",
			  rig_null("size=32 memory_backed=1 max_sectors=16"));
	for (unsigned int d = 0; d < DISKS; d++)
		rig_must("dd if=/dev/zero of=%s bs=1M count=1 oflag=direct 2>/dev/null", paths[d]);
	rig_track(&rig, paths[0], CHUNK);
	rig_track(&rig, paths[1], 4 * CHUNK);
	rig_track(&rig, paths[2], CHUNK);
	rig_trust(&rig);
	place = calloc(MAX_WRITES, sizeof(*place));
	shadow = calloc(DISKS, sizeof(*shadow));
	ASSERT_EQ(0, pthread_create(&writer, NULL, write_chain, NULL));
	for (unsigned int pass = 0; whole < WHOLE_PASSES; pass++) {
		ASSERT_GT(10 * WHOLE_PASSES, pass);
		usleep(rand_r(&seed) % 20000);
		floor = atomic_load(&completed);
		ASSERT_EQ(0, rig_cut(&rig, 0));
		for (unsigned int d = 0; d < DISKS; d++)
			copy_disk(&rig, d, (struct copy){ .to = shadow[d][0],
							  .bytes = sizeof(shadow[d]) });
		ASSERT_EQ(0, cbt_pass_get(rig.cbt, rig.group, rig.pass.id, &rig.pass));
		rig_commit(&rig);
		if (rig.pass.fuzzy)
			continue;
		EXPECT_TRUE(is_prefix(&newest));
		EXPECT_LE(floor, newest);
		whole++;
	}
	atomic_store(&stop, true);
	pthread_join(writer, NULL);
	EXPECT_LT(WHOLE_PASSES, newest);
	TH_LOG("%u writes, the last point has %u of them", atomic_load(&completed), newest);
	for (unsigned int d = 0; d < DISKS; d++)
		EXPECT_EQ(0, rig_info(&rig, d).untrusted);
	rig_close(&rig);
}

/* --- file systems with databases ------------------------------------------------------------ */

#define FS_BYTES	(96 * RIG_MIB)
#define FS_POINTS	3

FIXTURE(files) {
	struct rig rig;
	const char *path;
	pid_t load;
};

FIXTURE_VARIANT(files) {
	const char *make, *mount, *check;
};

FIXTURE_VARIANT_ADD(files, ext4) {
	.make = "mkfs.ext4 -q -b 4096", .mount = "-t ext4 -o errors=continue", .check = "e2fsck -fn",
};
FIXTURE_VARIANT_ADD(files, xfs) {
	.make = "mkfs.xfs -q --unsupported", .mount = "-t xfs -o nouuid", .check = "xfs_repair -n",
};

FIXTURE_SETUP(files)
{
	rig_reset();
	self->path = rig_null("size=96 memory_backed=1 discard=1 cache_size=2");
	rig_open(&self->rig);
	rig_track(&self->rig, self->path, CHUNK);
	rig_must("modprobe loop && %s %s && mkdir -p /tmp/rig/fs /tmp/rig/point /tmp/rig/db && "
		 "mount %s %s /tmp/rig/fs && mkdir /tmp/rig/fs/data",
		 variant->make, self->path, variant->mount, self->path);
	self->load = fork();
	if (!self->load) {
		execl("selftests/kmod/database", "database", "load", "/tmp/rig/fs/data", "/tmp/rig/done",
		      NULL);
		_exit(1);
	}
}

FIXTURE_TEARDOWN(files)
{
	kill(self->load, SIGKILL);
	waitpid(self->load, NULL, 0);
	rig_close(&self->rig);
	rig_sh("umount /tmp/rig/point 2>/dev/null; umount /tmp/rig/fs");
}

static unsigned int rounds_done(void)
{
	char text[16] = "";
	int fd = open("/tmp/rig/done", O_RDONLY | O_CLOEXEC);

	if (fd >= 0 && read(fd, text, sizeof(text) - 1) < 0)
		text[0] = '\0';
	close(fd);
	return atoi(text);
}

/* A copy of the point replays its log, checks clean, and has what was done before the cut. */
static bool point_is_good(const char *mount, const char *check, unsigned int floor)
{
	return !rig_sh("set -e; cp --sparse=always /tmp/rig/shadow /tmp/rig/copy;"
		       "dev=$(losetup --find --show /tmp/rig/copy);"
		       "mount %s $dev /tmp/rig/point; umount /tmp/rig/point;"
		       "%s $dev >/tmp/rig/check 2>&1 || { cat /tmp/rig/check; exit 1; };"
		       "mount %s,ro $dev /tmp/rig/point; rm -f /tmp/rig/db/*;"
		       "cp /tmp/rig/point/data/*.db* /tmp/rig/db; umount /tmp/rig/point;"
		       "losetup -d $dev; selftests/kmod/database check /tmp/rig/db %u",
		       mount, check, mount, floor);
}

TEST_F_TIMEOUT(files, points_under_load, 400)
{
	struct rig *rig = &self->rig;
	struct copy copy = { .bytes = FS_BYTES };
	unsigned int good = 0, floor;
	int fd = open("/tmp/rig/shadow", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	ASSERT_EQ(0, ftruncate(fd, FS_BYTES));
	copy.to = mmap(NULL, FS_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	ASSERT_NE(MAP_FAILED, copy.to);
	/* The first one brings everything, and is no point unless it happens to be whole. */
	ASSERT_EQ(0, rig_cut(rig, CBT_PASS_F_FULL | CBT_PASS_F_FUZZY));
	copy_disk(rig, 0, copy);
	rig_commit(rig);
	while (rounds_done() < 5)
		rig_sleep_ms(20);
	for (unsigned int pass = 0; good < FS_POINTS; pass++) {
		ASSERT_GT(5 * FS_POINTS, pass);
		rig_sleep_ms(300);
		floor = rounds_done();
		ASSERT_EQ(0, rig_cut(rig, 0));
		copy_disk(rig, 0, copy);
		ASSERT_EQ(0, cbt_pass_get(rig->cbt, rig->group, rig->pass.id, &rig->pass));
		rig_commit(rig);
		if (rig->pass.fuzzy)
			continue;
		ASSERT_TRUE(point_is_good(variant->mount, variant->check, floor));
		good++;
	}
	EXPECT_EQ(0, kill(self->load, 0));
	munmap(copy.to, FS_BYTES);
}

TEST_HARNESS_MAIN
