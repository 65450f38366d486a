// SPDX-License-Identifier: GPL-2.0-or-later
/* Every way to write to a disk marks the chunks that it changes, and no others. */
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "harness.h"
#include "rig.h"

#define CHUNK	4096

static const char *make_null(void)
{
	return rig_null("size=64 memory_backed=1 discard=1 cache_size=1");
}

static const char *make_null_small_bios(void)
{
	return rig_null("size=64 memory_backed=1 max_sectors=16");
}

static const char *make_brd(void) { return rig_brd(0); }
static const char *make_loop(void) { return rig_loop(64 * RIG_MIB); }
static const char *make_virtio(void) { return "/dev/vda"; }

static const char *make_linear(void)
{
	return rig_dm("rig-linear", "0 65536 linear %s 2048", rig_brd(0));
}

FIXTURE(mark) {
	struct rig rig;
	const char *path;
	int fd;
};

FIXTURE_VARIANT(mark) {
	const char *(*make)(void);
};

FIXTURE_VARIANT_ADD(mark, null_blk) { .make = make_null };
FIXTURE_VARIANT_ADD(mark, null_blk_small_bios) { .make = make_null_small_bios };
FIXTURE_VARIANT_ADD(mark, brd) { .make = make_brd };
FIXTURE_VARIANT_ADD(mark, loop) { .make = make_loop };
FIXTURE_VARIANT_ADD(mark, virtio) { .make = make_virtio };
FIXTURE_VARIANT_ADD(mark, dm_linear) { .make = make_linear };

FIXTURE_SETUP(mark)
{
	rig_reset();
	self->path = variant->make();
	self->fd = open(self->path, O_RDWR | O_CLOEXEC);
	rig_open(&self->rig);
	rig_track(&self->rig, self->path, CHUNK);
	rig_trust(&self->rig);
}

FIXTURE_TEARDOWN(mark)
{
	close(self->fd);
	rig_close(&self->rig);
}

TEST_F(mark, one_sector_at_borders)
{
	EXPECT_EQ(0, rig_write(self->path, 8 * CHUNK - 512, 512));
	EXPECT_STREQ("7", rig_marked(&self->rig, 0));
	EXPECT_EQ(0, rig_write(self->path, 8 * CHUNK, 512));
	EXPECT_STREQ("8", rig_marked(&self->rig, 0));
	EXPECT_EQ(0, rig_write(self->path, 8 * CHUNK - 512, 1024));
	EXPECT_STREQ("7-8", rig_marked(&self->rig, 0));
	EXPECT_EQ(0, rig_write(self->path, 8 * CHUNK - 512, CHUNK + 1024));
	EXPECT_STREQ("7-9", rig_marked(&self->rig, 0));
}

TEST_F(mark, first_and_last)
{
	uint64_t last = rig_size(self->path) / CHUNK - 1;
	char text[32];

	EXPECT_EQ(0, rig_write(self->path, 0, 512));
	EXPECT_STREQ("0", rig_marked(&self->rig, 0));
	EXPECT_EQ(0, rig_write(self->path, rig_size(self->path) - 512, 512));
	snprintf(text, sizeof(text), "%llu", (unsigned long long)last);
	EXPECT_STREQ(text, rig_marked(&self->rig, 0));
}

TEST_F(mark, large_and_scattered_writes)
{
	EXPECT_EQ(0, rig_write(self->path, 3 * RIG_MIB, 5 * RIG_MIB));
	EXPECT_STREQ("768-2047", rig_marked(&self->rig, 0));
	EXPECT_EQ(0, rig_info(&self->rig, 0).untrusted);
	for (int i = 0; i < 5; i++)
		EXPECT_EQ(0, rig_write(self->path, (uint64_t)i * 300 * CHUNK, CHUNK));
	EXPECT_STREQ("0,300,600,900,1200", rig_marked(&self->rig, 0));
}

TEST_F(mark, buffered_write_with_fsync)
{
	EXPECT_EQ(5, pwrite(self->fd, "hello", 5, 20 * CHUNK + 4094));
	EXPECT_EQ(0, fsync(self->fd));
	EXPECT_STREQ("20-21", rig_marked(&self->rig, 0));
}

TEST_F(mark, dsync_writes)
{
	static char data[CHUNK] __attribute__((aligned(CHUNK))) = "x";
	struct iovec iov = { data, CHUNK };
	int fd;

	EXPECT_EQ(CHUNK, pwritev2(self->fd, &iov, 1, 30 * CHUNK, RWF_DSYNC));
	EXPECT_STREQ("30", rig_marked(&self->rig, 0));
	/* A direct one is a write with FUA. */
	fd = open(self->path, O_WRONLY | O_DIRECT | O_DSYNC | O_CLOEXEC);
	EXPECT_EQ(CHUNK, pwrite(fd, data, CHUNK, 31 * CHUNK));
	close(fd);
	EXPECT_STREQ("31", rig_marked(&self->rig, 0));
}

TEST_F(mark, mapped_write)
{
	char *map = mmap(NULL, CHUNK, PROT_READ | PROT_WRITE, MAP_SHARED, self->fd, 40 * CHUNK);

	ASSERT_NE(MAP_FAILED, map);
	map[17] = 'y';
	EXPECT_EQ(0, msync(map, CHUNK, MS_SYNC));
	EXPECT_STREQ("40", rig_marked(&self->rig, 0));
	munmap(map, CHUNK);
}

TEST_F(mark, reads_and_empty_flushes_mark_nothing)
{
	char data[CHUNK];

	EXPECT_EQ(0, rig_read(self->path, 0, CHUNK, data));
	EXPECT_EQ(0, fsync(self->fd));
	EXPECT_STREQ("", rig_marked(&self->rig, 0));
	EXPECT_EQ(0, rig_info(&self->rig, 0).untrusted);
}

TEST_F(mark, zeroed_range)
{
	EXPECT_EQ(0, rig_range_ioctl(self->path, BLKZEROOUT, 50 * CHUNK - 512, 2 * CHUNK));
	EXPECT_STREQ("49-51", rig_marked(&self->rig, 0));
	EXPECT_EQ(0, rig_info(&self->rig, 0).untrusted);
}

TEST_F(mark, whole_disk)
{
	char text[32];

	EXPECT_EQ(0, rig_range_ioctl(self->path, BLKZEROOUT, 0, rig_size(self->path)));
	snprintf(text, sizeof(text), "0-%llu", (unsigned long long)rig_size(self->path) / CHUNK - 1);
	EXPECT_STREQ(text, rig_marked(&self->rig, 0));
	EXPECT_EQ(0, rig_info(&self->rig, 0).untrusted);
}

/* --- devices that can discard --------------------------------------------------- */

FIXTURE(discard) {
	struct rig rig;
	const char *path;
};

FIXTURE_VARIANT(discard) {
	const char *(*make)(void);
	bool zeroes;	/* has a command of its own for zeroing */
};

FIXTURE_VARIANT_ADD(discard, null_blk) { .make = make_null };
FIXTURE_VARIANT_ADD(discard, loop) { .make = make_loop, .zeroes = true };
FIXTURE_VARIANT_ADD(discard, virtio) { .make = make_virtio, .zeroes = true };
FIXTURE_VARIANT_ADD(discard, scsi) { .make = rig_scsi, .zeroes = true };

FIXTURE_SETUP(discard)
{
	rig_reset();
	self->path = variant->make();
	rig_open(&self->rig);
	rig_track(&self->rig, self->path, CHUNK);
	rig_trust(&self->rig);
}

FIXTURE_TEARDOWN(discard)
{
	rig_close(&self->rig);
}

TEST_F(discard, range)
{
	EXPECT_EQ(0, rig_range_ioctl(self->path, BLKDISCARD, 100 * CHUNK, 3 * CHUNK));
	EXPECT_STREQ("100-102", rig_marked(&self->rig, 0));
}

TEST_F(discard, whole_disk)
{
	char text[32];

	EXPECT_EQ(0, rig_range_ioctl(self->path, BLKDISCARD, 0, rig_size(self->path)));
	snprintf(text, sizeof(text), "0-%llu", (unsigned long long)rig_size(self->path) / CHUNK - 1);
	EXPECT_STREQ(text, rig_marked(&self->rig, 0));
	EXPECT_EQ(0, rig_info(&self->rig, 0).untrusted);
}

static bool zeroes_by_command(const char *path)
{
	return !rig_sh("grep -qvx 0 /sys/block/%s/queue/write_zeroes_max_bytes",
		       strrchr(path, '/') + 1);
}

/* A kernel may find, on the first refusal, that a loop has no command for zeroing after all. */
TEST_F(discard, fallocate)
{
	int fd = open(self->path, O_RDWR | O_CLOEXEC);
	bool zeroes;

	EXPECT_EQ(variant->zeroes, zeroes_by_command(self->path));
	EXPECT_EQ(0, fallocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 70 * CHUNK, CHUNK));
	EXPECT_STREQ("70", rig_marked(&self->rig, 0));
	/* Without such a command the kernel refuses, and nothing is changed. */
	zeroes = zeroes_by_command(self->path);
	EXPECT_EQ(zeroes ? 0 : -1,
		  fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 60 * CHUNK, CHUNK));
	EXPECT_STREQ(zeroes ? "60" : "", rig_marked(&self->rig, 0));
	close(fd);
}

/* --- chunk sizes ------------------------------------------------------------------ */

FIXTURE(chunk) {
	struct rig rig;
	const char *path;
};

FIXTURE_VARIANT(chunk) {
	uint32_t bytes;
};

FIXTURE_VARIANT_ADD(chunk, 4k) { .bytes = 4 << 10 };
FIXTURE_VARIANT_ADD(chunk, 8k) { .bytes = 8 << 10 };
FIXTURE_VARIANT_ADD(chunk, 16k) { .bytes = 16 << 10 };
FIXTURE_VARIANT_ADD(chunk, 32k) { .bytes = 32 << 10 };
FIXTURE_VARIANT_ADD(chunk, 64k) { .bytes = 64 << 10 };
FIXTURE_VARIANT_ADD(chunk, 128k) { .bytes = 128 << 10 };
FIXTURE_VARIANT_ADD(chunk, 256k) { .bytes = 256 << 10 };
FIXTURE_VARIANT_ADD(chunk, 512k) { .bytes = 512 << 10 };
FIXTURE_VARIANT_ADD(chunk, 1m) { .bytes = 1 << 20 };

/* 63 MiB and 5 sectors: no multiple of any chunk. */
FIXTURE_SETUP(chunk)
{
	rig_reset();
	self->path = rig_dm("rig-odd", "0 %llu linear %s 8", 63 * 2048 + 5ULL, rig_brd(0));
	rig_open(&self->rig);
	rig_track(&self->rig, self->path, variant->bytes);
	rig_trust(&self->rig);
}

FIXTURE_TEARDOWN(chunk)
{
	rig_close(&self->rig);
}

TEST_F(chunk, borders)
{
	EXPECT_EQ(variant->bytes, rig_info(&self->rig, 0).chunk_bytes);
	EXPECT_EQ(0, rig_write(self->path, 5 * variant->bytes - 512, 512));
	EXPECT_STREQ("4", rig_marked(&self->rig, 0));
	EXPECT_EQ(0, rig_write(self->path, 5 * variant->bytes, 512));
	EXPECT_STREQ("5", rig_marked(&self->rig, 0));
	EXPECT_EQ(0, rig_write(self->path, 5 * variant->bytes - 512, 1024));
	EXPECT_STREQ("4-5", rig_marked(&self->rig, 0));
	EXPECT_EQ(0, rig_write(self->path, 2 * variant->bytes - 512, 1024 + variant->bytes));
	EXPECT_STREQ("1-3", rig_marked(&self->rig, 0));
}

static int take_last(uint64_t offset, uint64_t length, void *arg)
{
	uint64_t *end = arg;

	(void)offset;
	*end = offset + length;
	return 0;
}

TEST_F(chunk, last_is_partial)
{
	uint64_t size = rig_size(self->path), end = 0;
	struct rig *rig = &self->rig;
	char text[32];

	EXPECT_NE(0, size % variant->bytes);
	EXPECT_EQ(0, rig_write(self->path, size - 512, 512));
	ASSERT_EQ(0, rig_cut(rig, 0));
	snprintf(text, sizeof(text), "%llu", (unsigned long long)size / variant->bytes);
	EXPECT_STREQ(text, rig_map(rig, 0));
	EXPECT_EQ(0,
		  cbt_map_get(rig->cbt, rig->group, rig->pass.id, rig->disks[0], take_last, &end));
	EXPECT_EQ(size, end);
	rig_commit(rig);
	/* So is a full pass's. */
	ASSERT_EQ(0, rig_cut(rig, CBT_PASS_F_FULL | CBT_PASS_F_FUZZY));
	snprintf(text, sizeof(text), "0-%llu", (unsigned long long)size / variant->bytes);
	EXPECT_STREQ(text, rig_map(rig, 0));
	rig_commit(rig);
}

TEST_HARNESS_MAIN
