// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Unusual ways to write to a disk, and disks that are unusual. Whatever changed on the disk
 * is in the map, or the disk says that it is untrusted; and the image stays that of the cut.
 */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "harness.h"
#include "rig.h"

#define CHUNK		4096
#define HUGE_BYTES	(2U << 20)
#define KEPT		7	/* the chunk that is written during a pass */

FIXTURE(way) {
	struct rig rig;
	char *before;	/* what the disk held at the last commit */
	size_t bytes;
};

FIXTURE_SETUP(way)
{
	rig_reset();
	rig_open(&self->rig);
}

FIXTURE_TEARDOWN(way)
{
	rig_close(&self->rig);
	free(self->before);
}

static char *read_all(const char *path, size_t bytes)
{
	char *data = malloc(bytes);

	for (size_t at = 0; at < bytes; at += RIG_MIB)
		if (rig_read(path, at, bytes - at < RIG_MIB ? bytes - at : RIG_MIB, data + at))
			rig_die("cannot read %s", path);
	return data;
}

/* What changes from here on is to be in the maps to come; after a cut. */
static void remember(struct _test_data_way *self, const char *path)
{
	self->bytes = rig_size(path);
	free(self->before);
	self->before = read_all(path, self->bytes);
}

static void begin(struct _test_data_way *self, const char *path)
{
	rig_track(&self->rig, path, CHUNK);
	rig_trust(&self->rig);
	remember(self, path);
}

struct marks {
	char *of;	/* a byte for each chunk */
};

static int take_marks(uint64_t offset, uint64_t length, void *arg)
{
	struct marks *marks = arg;

	memset(marks->of + offset / CHUNK, 1, (length + CHUNK - 1) / CHUNK);
	return 0;
}

/*
 * Looks at all that the disk holds now: "right" when each chunk that changed since remember() is
 * in the map and some did, "untrusted", "missed", or "unchanged".
 */
static const char *verdict(struct _test_data_way *self, const char *path)
{
	size_t chunks = self->bytes / CHUNK, missed = 0, changed = 0;
	struct rig *rig = &self->rig;
	struct marks marks;
	char *now;
	int err;

	err = rig_cut(rig, CBT_PASS_F_FUZZY);
	if (err == -ESTALE)
		return "untrusted";
	marks.of = calloc(chunks + 1, 1);
	if (err || cbt_map_get(rig->cbt, rig->group, rig->pass.id, rig->disks[rig->count - 1],
			       take_marks, &marks))
		rig_die("no map: %s", cbt_error(rig->cbt));
	rig_commit(rig);
	now = read_all(path, self->bytes);
	for (size_t i = 0; i < chunks; i++) {
		if (!memcmp(now + i * CHUNK, self->before + i * CHUNK, CHUNK))
			continue;
		changed++;
		missed += !marks.of[i];
	}
	fprintf(stderr, "# %s: %zu chunks changed, %zu of them are not in the map\n", path, changed,
		missed);
	free(marks.of);
	free(self->before);
	self->before = now;
	return missed ? "missed" : changed ? "right" : "unchanged";
}

static bool never_wrong(const char *verdict)
{
	fprintf(stderr, "# verdict: %s\n", verdict);
	return !strcmp(verdict, "right") || !strcmp(verdict, "untrusted");
}

/* Begins a pass with KEPT and more in it, of which the image has to keep what is there now. */
static void begin_pass(struct __test_metadata *_metadata, struct rig *rig, const char *path)
{
	EXPECT_EQ(0, rig_write(path, 0, 2 * HUGE_BYTES));
	ASSERT_EQ(0, rig_cut(rig, 0));
}

/* What is behind the cut did not change, and the pass is whole. */
static void end_pass(struct __test_metadata *_metadata, struct rig *rig, size_t bytes)
{
	char *data = malloc(bytes);

	EXPECT_EQ(0, rig_read(rig_info(rig, 0).image, KEPT * CHUNK, bytes, data));
	for (size_t i = 0; i < bytes; i += 512)
		EXPECT_EQ((char)0xa5, data[i]);
	EXPECT_EQ(0, cbt_pass_get(rig->cbt, rig->group, rig->pass.id, &rig->pass));
	EXPECT_FALSE(rig->pass.fuzzy);
	rig_commit(rig);
	free(data);
}

/* --- io_uring ----------------------------------------------------------------------------- */

static int uring_write(unsigned int setup, const char *path, uint64_t offset, void *data,
		       size_t bytes)
{
	int fd = open(path, O_WRONLY | O_DIRECT | O_CLOEXEC), result;
	struct io_uring_cqe *cqe;
	struct io_uring ring;

	if (fd < 0 || io_uring_queue_init(4, &ring, setup))
		rig_die("no ring for %s", path);
	io_uring_prep_write(io_uring_get_sqe(&ring), fd, data, bytes, offset);
	if (io_uring_submit(&ring) != 1 || io_uring_wait_cqe(&ring, &cqe))
		rig_die("io_uring does not answer");
	result = cqe->res;
	io_uring_queue_exit(&ring);
	close(fd);
	return result;
}

/* Issued as a write that must not wait, and held: it is the write that waits. */
TEST_F(way, io_uring)
{
	static char data[CHUNK] __attribute__((aligned(CHUNK))) = "new";
	const char *path = rig_null("size=64 memory_backed=1");

	begin(self, path);
	begin_pass(_metadata, &self->rig, path);
	EXPECT_EQ(CHUNK, uring_write(0, path, KEPT * CHUNK, data, CHUNK));
	end_pass(_metadata, &self->rig, CHUNK);
	EXPECT_STREQ("7", rig_marked(&self->rig, 0));
	EXPECT_EQ(0, rig_info(&self->rig, 0).untrusted);
}

/* Who polls for completions gets that of a write that had to wait as well. */
TEST_F(way, polled_io_uring)
{
	static char data[CHUNK] __attribute__((aligned(CHUNK))) = "new";
	const char *path = rig_null("size=64 memory_backed=1 poll_queues=1");

	begin(self, path);
	begin_pass(_metadata, &self->rig, path);
	EXPECT_EQ(CHUNK, uring_write(IORING_SETUP_IOPOLL, path, KEPT * CHUNK, data, CHUNK));
	EXPECT_EQ(CHUNK, uring_write(IORING_SETUP_IOPOLL, path, 5000 * CHUNK, data, CHUNK));
	end_pass(_metadata, &self->rig, CHUNK);
	EXPECT_STREQ("7,5000", rig_marked(&self->rig, 0));
	EXPECT_EQ(0, rig_info(&self->rig, 0).untrusted);
}

/* --- memory ------------------------------------------------------------------------------- */

/* Few and large segments in a bio, which is split by the limits of the device. */
TEST_F(way, huge_pages)
{
	const char *path = rig_null("size=64 memory_backed=1 max_sectors=320");
	int fd = open(path, O_WRONLY | O_DIRECT | O_CLOEXEC);
	char *data;

	rig_must("echo 2 >/proc/sys/vm/nr_hugepages");
	data = mmap(NULL, HUGE_BYTES, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	ASSERT_NE(MAP_FAILED, data);
	memset(data, 'h', HUGE_BYTES);
	begin(self, path);
	EXPECT_EQ(HUGE_BYTES, pwrite(fd, data, HUGE_BYTES, 1000 * CHUNK + 512));
	EXPECT_STREQ("1000-1512", rig_marked(&self->rig, 0));
	begin_pass(_metadata, &self->rig, path);
	EXPECT_EQ(HUGE_BYTES, pwrite(fd, data, HUGE_BYTES, KEPT * CHUNK));
	end_pass(_metadata, &self->rig, HUGE_BYTES);
	EXPECT_STREQ("7-518", rig_marked(&self->rig, 0));
	EXPECT_EQ(0, rig_info(&self->rig, 0).untrusted);
	munmap(data, HUGE_BYTES);
	close(fd);
}

static void swap_out(char *memory, size_t bytes, char with)
{
	for (size_t i = 0; i < bytes; i += CHUNK)
		memset(memory + i, with + i / CHUNK % 7, CHUNK);
	if (madvise(memory, bytes, MADV_PAGEOUT))
		rig_die("MADV_PAGEOUT: %s", strerror(errno));
}

/* Before Linux 6.3 memory disks take pages of swap without a bio. */
TEST_F(way, swap_to_a_memory_disk)
{
	const char *path = rig_brd(0);
	char *memory = mmap(NULL, 4 * RIG_MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			    -1, 0);

	rig_must("mkswap %s >/dev/null && swapon %s", path, path);
	begin(self, path);
	swap_out(memory, 4 * RIG_MIB, 'a');
	EXPECT_TRUE(never_wrong(verdict(self, path)));
	munmap(memory, 4 * RIG_MIB);
	rig_must("swapoff %s", path);
}

/* --- disks ---------------------------------------------------------------------------------- */

TEST_F(way, blocks_of_4096_bytes)
{
	const char *path = rig_null("size=64 memory_backed=1 blocksize=4096 discard=1");
	int fd, block = 0;

	begin(self, path);
	EXPECT_EQ(-EINVAL, rig_write(path, 0, 512));
	EXPECT_EQ(0, rig_write(path, 64 * RIG_MIB - CHUNK, CHUNK));
	EXPECT_EQ(0, rig_range_ioctl(path, BLKDISCARD, 9000 * CHUNK, 2 * CHUNK));
	EXPECT_STREQ("9000-9001,16383", rig_marked(&self->rig, 0));
	begin_pass(_metadata, &self->rig, path);
	EXPECT_EQ(0, rig_range_ioctl(path, BLKZEROOUT, KEPT * CHUNK, CHUNK));
	fd = open(rig_info(&self->rig, 0).image, O_RDONLY | O_CLOEXEC);
	EXPECT_EQ(0, ioctl(fd, BLKSSZGET, &block));
	EXPECT_EQ(4096, block);
	close(fd);
	end_pass(_metadata, &self->rig, CHUNK);
	EXPECT_STREQ("7", rig_marked(&self->rig, 0));
}

/* Written as a whole or not at all, where the kernel has that. */
TEST_F(way, atomic_write)
{
	static char data[4 * CHUNK] __attribute__((aligned(4 * CHUNK))) = "new";
	const char *path = rig_scsi_with("atomic_wr=1");
	struct iovec iov = { data, 4 * CHUNK };
	int fd = open(path, O_WRONLY | O_DIRECT | O_CLOEXEC);
	ssize_t done;

	begin(self, path);
	done = pwritev2(fd, &iov, 1, 16 * CHUNK, 0x40 /* RWF_ATOMIC */);
	EXPECT_STREQ(done < 0 ? "" : "16-19", rig_marked(&self->rig, 0));
	begin_pass(_metadata, &self->rig, path);
	EXPECT_EQ(done, pwritev2(fd, &iov, 1, 8 * CHUNK, 0x40));
	end_pass(_metadata, &self->rig, 8 * CHUNK);
	close(fd);
}

/* --- stacks that keep copies ---------------------------------------------------------------- */

static void make_raid5(const char *const legs[3])
{
	rig_must("mdadm --create /dev/md7 --run --level=5 --raid-devices=3 --assume-clean --chunk=64"
		 " --bitmap=none %s %s %s >/dev/null 2>&1", legs[0], legs[1], legs[2]);
}

TEST_F(way, raid5)
{
	const char *legs[3];

	for (unsigned int i = 0; i < 3; i++)
		legs[i] = rig_null("size=24 memory_backed=1");
	make_raid5(legs);
	begin(self, "/dev/md7");
	EXPECT_EQ(0, rig_write("/dev/md7", 1000 * CHUNK + 512, 5 * CHUNK));
	EXPECT_EQ(0, rig_write("/dev/md7", 2000 * CHUNK, HUGE_BYTES));
	EXPECT_STREQ("right", verdict(self, "/dev/md7"));
	begin_pass(_metadata, &self->rig, "/dev/md7");
	EXPECT_EQ(0, rig_range_ioctl("/dev/md7", BLKZEROOUT, KEPT * CHUNK, 64 * CHUNK));
	end_pass(_metadata, &self->rig, 64 * CHUNK);
	EXPECT_STREQ("7-70", rig_marked(&self->rig, 0));
	/* Data and parity below it: each leg gets some of both. */
	begin(self, legs[0]);
	EXPECT_EQ(0, rig_range_ioctl("/dev/md7", BLKZEROOUT, 0, 8 * HUGE_BYTES));
	EXPECT_TRUE(never_wrong(verdict(self, legs[0])));
	rig_close(&self->rig);
	rig_must("mdadm --stop /dev/md7 2>/dev/null");
}

static void stop_bcache(void)
{
	rig_sh("for f in /sys/block/bcache*/bcache/stop /sys/fs/bcache/*-*/stop; do"
	       " if [ -e $f ]; then echo 1 >$f; fi; done;"
	       "n=0; while ls -d /sys/block/bcache* /sys/fs/bcache/*-* && [ $n -lt 200 ];"
	       " do sleep 0.05; n=$((n + 1)); done >/dev/null 2>&1");
}

/* It passes the very bio on, past all tracepoints. */
TEST_F(way, bcache_without_cache)
{
	const char *backing = rig_null("size=64 memory_backed=1");

	rig_must("modprobe bcache && make-bcache --wipe-bcache -B %s >/dev/null 2>&1 &&"
		 "echo %s >/sys/fs/bcache/register && until [ -b /dev/bcache0 ]; do sleep 0.05; done",
		 backing, backing);
	begin(self, "/dev/bcache0");
	EXPECT_EQ(0, rig_write("/dev/bcache0", 1000 * CHUNK + 512, 5 * CHUNK));
	EXPECT_EQ(0, rig_write("/dev/bcache0", 2000 * CHUNK, HUGE_BYTES));
	EXPECT_STREQ("right", verdict(self, "/dev/bcache0"));
	begin_pass(_metadata, &self->rig, "/dev/bcache0");
	EXPECT_EQ(0, rig_write("/dev/bcache0", KEPT * CHUNK, CHUNK));
	EXPECT_EQ(0, rig_range_ioctl("/dev/bcache0", BLKZEROOUT, (KEPT + 1) * CHUNK, 4 * CHUNK));
	end_pass(_metadata, &self->rig, 5 * CHUNK);
	EXPECT_STREQ("7-11", rig_marked(&self->rig, 0));
	begin(self, backing);
	EXPECT_EQ(0, rig_range_ioctl("/dev/bcache0", BLKZEROOUT, 0, 4 * HUGE_BYTES));
	EXPECT_TRUE(never_wrong(verdict(self, backing)));
	rig_close(&self->rig);
	stop_bcache();
}

TEST_HARNESS_MAIN
