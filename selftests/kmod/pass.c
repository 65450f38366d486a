// SPDX-License-Identifier: GPL-2.0-or-later
/* A pass from its cut to its end: which epoch a write belongs to, and what becomes of the map. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"
#include "rig.h"

#define CHUNK	4096
#define LAST	16383	/* chunk of 64 MiB */

FIXTURE(pass) {
	struct rig rig;
	const char *path;
};

FIXTURE_SETUP(pass)
{
	rig_reset();
	self->path = rig_brd(0);
	rig_open(&self->rig);
	rig_track(&self->rig, self->path, CHUNK);
	rig_trust(&self->rig);
}

FIXTURE_TEARDOWN(pass)
{
	rig_close(&self->rig);
}

TEST_F(pass, commit_drops_the_map)
{
	EXPECT_EQ(0, rig_write(self->path, 3 * CHUNK, CHUNK));
	EXPECT_STREQ("3", rig_marked(&self->rig, 0));
	EXPECT_STREQ("", rig_marked(&self->rig, 0));
}

TEST_F(pass, write_after_the_cut_is_the_next_pass)
{
	EXPECT_EQ(0, rig_write(self->path, 3 * CHUNK, CHUNK));
	ASSERT_EQ(0, rig_cut(&self->rig, 0));
	EXPECT_EQ(0, rig_write(self->path, 7 * CHUNK, CHUNK));
	EXPECT_STREQ("3", rig_map(&self->rig, 0));
	rig_commit(&self->rig);
	EXPECT_STREQ("7", rig_marked(&self->rig, 0));
}

TEST_F(pass, given_up_is_merged_back)
{
	EXPECT_EQ(0, rig_write(self->path, 3 * CHUNK, CHUNK));
	ASSERT_EQ(0, rig_cut(&self->rig, 0));
	EXPECT_EQ(0, rig_write(self->path, 7 * CHUNK, CHUNK));
	rig_give_up(&self->rig);
	EXPECT_EQ(2, rig_info(&self->rig, 0).dirty_chunks);
	EXPECT_STREQ("3,7", rig_marked(&self->rig, 0));
}

TEST_F(pass, full_given_up_brings_all_back)
{
	ASSERT_EQ(0, rig_cut(&self->rig, CBT_PASS_F_FULL));
	rig_give_up(&self->rig);
	EXPECT_EQ(0, rig_info(&self->rig, 0).untrusted);
	EXPECT_STREQ("0-16383", rig_marked(&self->rig, 0));
}

TEST_F(pass, committed_range_does_not_come_back)
{
	struct rig *rig = &self->rig;

	EXPECT_EQ(0, rig_write(self->path, 0, 10 * CHUNK));
	ASSERT_EQ(0, rig_cut(rig, 0));
	EXPECT_EQ(0, cbt_pass_commit_range(rig->cbt, rig->group, rig->pass.id, rig->disks[0],
					   4 * CHUNK, 2 * CHUNK));
	/* Neither of these holds a whole chunk. */
	EXPECT_EQ(0, cbt_pass_commit_range(rig->cbt, rig->group, rig->pass.id, rig->disks[0],
					   7 * CHUNK, 512));
	EXPECT_EQ(0, cbt_pass_commit_range(rig->cbt, rig->group, rig->pass.id, rig->disks[0],
					   8 * CHUNK - 512, CHUNK));
	EXPECT_STREQ("0-3,6-9", rig_map(rig, 0));
	rig_give_up(rig);
	EXPECT_STREQ("0-3,6-9", rig_marked(rig, 0));
}

TEST_F(pass, released_range_stays_in_the_map)
{
	struct rig *rig = &self->rig;

	EXPECT_EQ(0, rig_write(self->path, 0, 10 * CHUNK));
	ASSERT_EQ(0, rig_cut(rig, 0));
	EXPECT_EQ(0, cbt_pass_release(rig->cbt, rig->group, rig->pass.id, rig->disks[0], 0,
				      5 * CHUNK));
	EXPECT_STREQ("0-9", rig_map(rig, 0));
	rig_commit(rig);
}

TEST_F(pass, killed_owner_gives_up)
{
	struct rig *rig = &self->rig;
	struct cbt_pass_info info;
	struct cbt *other;
	int ready[2], status;
	pid_t pid;
	char c;

	EXPECT_EQ(0, rig_write(self->path, 3 * CHUNK, CHUNK));
	ASSERT_EQ(0, pipe(ready));
	pid = fork();
	if (!pid) {
		if (cbt_open(&other) || cbt_pass_begin(other, rig->group, 0, &info) || write(ready[1], "", 1) != 1)
			_exit(1);
		pause();
	}
	close(ready[1]);
	ASSERT_EQ(1, read(ready[0], &c, 1));
	EXPECT_EQ(-EBUSY, rig_cut(rig, 0));
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	EXPECT_STREQ("3", rig_marked(rig, 0));
}

TEST_F(pass, closed_socket_gives_up_though_sealed)
{
	struct rig *rig = &self->rig;
	struct cbt_group_info info;

	EXPECT_EQ(0, rig_write(self->path, 3 * CHUNK, CHUNK));
	ASSERT_EQ(0, rig_cut(rig, 0));
	cbt_close(rig->cbt);
	ASSERT_EQ(0, cbt_open(&rig->cbt));
	ASSERT_EQ(-ENOENT, cbt_pass_commit(rig->cbt, rig->group, rig->pass.id));
	snprintf(info.name, sizeof(info.name), "test-%d", getpid());
	ASSERT_EQ(0, cbt_group_find(rig->cbt, info.name, &info));
	EXPECT_EQ(0, info.pass);
	EXPECT_STREQ("3", rig_marked(rig, 0));
}

TEST_F(pass, one_at_a_time)
{
	struct rig *rig = &self->rig;
	struct cbt_disk_info info;

	ASSERT_EQ(0, rig_cut(rig, 0));
	EXPECT_EQ(-EBUSY, cbt_pass_begin(rig->cbt, rig->group, 0, &rig->pass));
	EXPECT_EQ(-EBUSY, cbt_disk_add(rig->cbt, rig->group, rig_brd(1), 0, &info));
	EXPECT_EQ(-EBUSY, cbt_disk_del(rig->cbt, rig->group, rig->disks[0]));
	rig_give_up(rig);
	EXPECT_EQ(-ENOENT, cbt_pass_give_up(rig->cbt, rig->group, rig->pass.id));
}

TEST_F(pass, group_removed_in_the_middle)
{
	struct rig *rig = &self->rig;

	ASSERT_EQ(0, rig_cut(rig, 0));
	EXPECT_EQ(0, cbt_group_del(rig->cbt, rig->group));
	EXPECT_EQ(-ENOENT, cbt_pass_commit(rig->cbt, rig->group, rig->pass.id));
	EXPECT_EQ(0, rig_write(self->path, 0, CHUNK));
}

TEST_F(pass, two_disks_are_cut_together)
{
	struct rig *rig = &self->rig;
	const char *second = rig_brd(1);

	rig_track(rig, second, 2 * CHUNK);
	EXPECT_EQ(-ESTALE, rig_cut(rig, 0));
	rig_trust(rig);
	EXPECT_EQ(0, rig_write(self->path, 3 * CHUNK, CHUNK));
	EXPECT_EQ(0, rig_write(second, 6 * CHUNK, CHUNK));
	ASSERT_EQ(0, rig_cut(rig, 0));
	EXPECT_EQ(2, rig->pass.chunks);
	EXPECT_STREQ("3", rig_map(rig, 0));
	EXPECT_STREQ("3", rig_map(rig, 1));
	rig_commit(rig);
	ASSERT_EQ(0, rig_cut(rig, 0));
	EXPECT_EQ(0, rig->pass.chunks);
	rig_commit(rig);
}

TEST_F(pass, groups_on_one_device_do_not_meet)
{
	struct rig *rig = &self->rig;
	struct rig other = { 0 };

	ASSERT_EQ(0, cbt_open(&other.cbt));
	ASSERT_EQ(0, cbt_group_new(other.cbt, "other", &other.group));
	rig_track(&other, self->path, 4 * CHUNK);
	rig_trust(&other);
	EXPECT_EQ(0, rig_write(self->path, 5 * CHUNK, CHUNK));
	EXPECT_STREQ("5", rig_marked(rig, 0));
	EXPECT_EQ(0, rig_write(self->path, 9 * CHUNK, CHUNK));
	EXPECT_STREQ("1-2", rig_marked(&other, 0));
	EXPECT_STREQ("9", rig_marked(rig, 0));
	rig_close(&other);
	EXPECT_EQ(0, rig_write(self->path, 11 * CHUNK, CHUNK));
	EXPECT_STREQ("11", rig_marked(rig, 0));
}

/* --- a device that takes its time -------------------------------------------------- */

FIXTURE(slow) {
	struct rig rig;
	const char *path;
	struct rig_async *write;
};

/* A write of chunk 5 is in flight for a second and a half. */
FIXTURE_SETUP(slow)
{
	rig_reset();
	self->path = rig_null("size=64 memory_backed=1 irqmode=2 completion_nsec=1500000000");
	rig_open(&self->rig);
	rig_track(&self->rig, self->path, CHUNK);
	rig_trust(&self->rig);
	self->write = rig_write_begin(self->path, 5 * CHUNK, CHUNK);
	ASSERT_FALSE(rig_write_done(self->write));
}

FIXTURE_TEARDOWN(slow)
{
	rig_close(&self->rig);
}

TEST_F(slow, write_in_flight_at_the_cut_is_waited_for)
{
	struct rig *rig = &self->rig;
	struct rig_async *next;

	ASSERT_EQ(0, cbt_pass_begin(rig->cbt, rig->group, CBT_PASS_F_FUZZY, &rig->pass));
	EXPECT_FALSE(rig->pass.sealed);
	EXPECT_EQ(-EAGAIN, cbt_pass_commit(rig->cbt, rig->group, rig->pass.id));
	EXPECT_EQ(-EAGAIN, cbt_pass_commit_range(rig->cbt, rig->group, rig->pass.id, rig->disks[0],
						 0, CHUNK));
	EXPECT_EQ(-EAGAIN,
		  cbt_map_get(rig->cbt, rig->group, rig->pass.id, rig->disks[0], NULL, NULL));
	EXPECT_FALSE(rig_write_done(self->write));
	next = rig_write_begin(self->path, 9 * CHUNK, CHUNK);
	ASSERT_EQ(0, cbt_pass_wait_sealed(rig->cbt, rig->group, rig->pass.id, 100000, &rig->pass));
	EXPECT_TRUE(rig_write_done(self->write));
	EXPECT_STREQ("5", rig_map(rig, 0));
	rig_commit(rig);
	EXPECT_EQ(0, rig_write_end(next));
	EXPECT_STREQ("9", rig_marked(rig, 0));
	EXPECT_EQ(0, rig_write_end(self->write));
}

TEST_F(slow, given_up_before_the_seal)
{
	struct rig *rig = &self->rig;

	ASSERT_EQ(0, cbt_pass_begin(rig->cbt, rig->group, 0, &rig->pass));
	rig_give_up(rig);
	EXPECT_EQ(-EAGAIN, cbt_pass_begin(rig->cbt, rig->group, 0, &rig->pass));
	EXPECT_FALSE(rig_write_done(self->write));
	EXPECT_EQ(0, rig_write_end(self->write));
	rig_sleep_ms(100);
	EXPECT_STREQ("5", rig_marked(rig, 0));
}

TEST_F(slow, socket_closed_before_the_seal)
{
	struct rig *rig = &self->rig;

	ASSERT_EQ(0, cbt_pass_begin(rig->cbt, rig->group, 0, &rig->pass));
	cbt_close(rig->cbt);
	ASSERT_EQ(0, cbt_open(&rig->cbt));
	EXPECT_EQ(-EAGAIN, cbt_pass_begin(rig->cbt, rig->group, 0, &rig->pass));
	EXPECT_EQ(0, rig_write_end(self->write));
	rig_sleep_ms(100);
	EXPECT_STREQ("5", rig_marked(rig, 0));
}

TEST_F(slow, group_removed_before_the_seal)
{
	struct rig *rig = &self->rig;

	ASSERT_EQ(0, cbt_pass_begin(rig->cbt, rig->group, 0, &rig->pass));
	EXPECT_EQ(0, cbt_group_del(rig->cbt, rig->group));
	EXPECT_FALSE(rig_write_done(self->write));
	EXPECT_EQ(0, rig_write_end(self->write));
}

/* --- images ------------------------------------------------------------------------- */

static void read_block(struct rig *rig, struct __test_metadata *_metadata, uint64_t chunk, char *c)
{
	char data[CHUNK];

	ASSERT_EQ(0, rig_read(rig_info(rig, 0).image, chunk * CHUNK, CHUNK, data));
	*c = data[17];
}

static void fill(const char *path, uint64_t chunk, char c)
{
	char data[CHUNK];
	int fd = open(path, O_WRONLY | O_DSYNC | O_CLOEXEC);

	memset(data, c, sizeof(data));
	if (fd < 0 || pwrite(fd, data, CHUNK, chunk * CHUNK) != CHUNK)
		rig_die("cannot write %s", path);
	close(fd);
}

TEST_F(pass, image_is_of_the_cut)
{
	struct rig *rig = &self->rig;
	char c;

	fill(self->path, 3, 'a');
	fill(self->path, 4, 'a');
	ASSERT_EQ(0, rig_cut(rig, 0));
	fill(self->path, 3, 'b');
	read_block(rig, _metadata, 3, &c);
	EXPECT_EQ('a', c);
	EXPECT_EQ(0, rig_range_ioctl(self->path, BLKZEROOUT, 4 * CHUNK, CHUNK));
	read_block(rig, _metadata, 4, &c);
	EXPECT_EQ('a', c);
	EXPECT_EQ(0, cbt_pass_get(rig->cbt, rig->group, rig->pass.id, &rig->pass));
	EXPECT_FALSE(rig->pass.fuzzy);
	rig_commit(rig);
	EXPECT_STREQ("3-4", rig_marked(rig, 0));
}

TEST_F(pass, image_goes_with_the_pass)
{
	struct cbt_disk_info info;

	ASSERT_EQ(0, rig_cut(&self->rig, 0));
	info = rig_info(&self->rig, 0);
	EXPECT_EQ(0, access(info.image, F_OK));
	EXPECT_NE(0, rig_write(info.image, 0, CHUNK));
	rig_commit(&self->rig);
	EXPECT_NE(0, access(info.image, F_OK));
	EXPECT_STREQ("", rig_info(&self->rig, 0).image);
}

TEST_F(pass, without_image_overwritten_is_fuzzy)
{
	struct rig *rig = &self->rig;

	fill(self->path, 3, 'a');
	ASSERT_EQ(0, rig_cut(rig, CBT_PASS_F_FUZZY));
	EXPECT_FALSE(rig->pass.fuzzy);
	fill(self->path, 9, 'b');
	EXPECT_EQ(0, cbt_pass_get(rig->cbt, rig->group, rig->pass.id, &rig->pass));
	EXPECT_FALSE(rig->pass.fuzzy);
	fill(self->path, 3, 'b');
	EXPECT_EQ(0, cbt_pass_get(rig->cbt, rig->group, rig->pass.id, &rig->pass));
	EXPECT_TRUE(rig->pass.fuzzy);
	EXPECT_EQ(1, rig->pass.overwritten);
	rig_commit(rig);
}

/*
 * A full pass over very many chunks, while one after another of the last is written: its
 * image must not show a write that was issued after the cut, though no chunk
 * was in the map before.
 */
#define TAIL	(32ULL << 20)

static atomic_bool stop;

static void *stamp_tail(void *arg)
{
	const char *path = arg;
	uint64_t from = rig_size(path) - TAIL, at = 0;
	uint64_t *data;
	struct timespec now;
	int fd = open(path, O_WRONLY | O_DIRECT | O_CLOEXEC);

	if (fd < 0 || posix_memalign((void **)&data, CHUNK, CHUNK))
		rig_die("cannot open %s", path);
	memset(data, 0, CHUNK);
	while (!atomic_load(&stop)) {
		clock_gettime(CLOCK_REALTIME, &now);
		*data = now.tv_sec * 1000000000ULL + now.tv_nsec;
		if (pwrite(fd, data, CHUNK, from + at) != CHUNK)
			rig_die("cannot write %s", path);
		at = (at + CHUNK) % TAIL;
	}
	close(fd);
	free(data);
	return NULL;
}

static uint64_t newest_in_tail(const char *path, uint64_t size)
{
	static uint64_t data[RIG_MIB / sizeof(uint64_t)];
	uint64_t newest = 0;

	for (uint64_t at = 0; at < TAIL; at += RIG_MIB) {
		if (rig_read(path, size - TAIL + at, RIG_MIB, data))
			rig_die("cannot read %s", path);
		for (unsigned int i = 0; i < RIG_MIB / sizeof(uint64_t);
		     i += CHUNK / sizeof(uint64_t))
			newest = data[i] > newest ? data[i] : newest;
	}
	return newest;
}

TEST(image_of_a_full_pass_is_of_the_cut)
{
	unsigned int proven = 0;
	pthread_t writer;
	struct rig rig;
	const char *path;
	uint64_t newest;

	rig_reset();
	path = rig_loop(512ULL << 30);
	rig_open(&rig);
	rig_track(&rig, path, CHUNK);
	ASSERT_EQ(0, pthread_create(&writer, NULL, stamp_tail, (void *)path));
	for (int i = 0; i < 5; i++) {
		rig_sleep_ms(20);
		ASSERT_EQ(0, rig_cut(&rig, CBT_PASS_F_FULL));
		newest = newest_in_tail(rig_info(&rig, 0).image, rig_size(path));
		EXPECT_EQ(0, cbt_pass_get(rig.cbt, rig.group, rig.pass.id, &rig.pass));
		if (!rig.pass.fuzzy) {
			EXPECT_GE(rig.pass.cut_time_ns, newest);
			proven++;
		}
		rig_commit(&rig);
	}
	EXPECT_NE(0, proven);
	atomic_store(&stop, true);
	pthread_join(writer, NULL);
	rig_close(&rig);
}

/* --- large maps ----------------------------------------------------------------------- */

struct expect_every_second {
	uint64_t next, count, bad;
	uint32_t chunk;
};

static int every_second(uint64_t offset, uint64_t length, void *arg)
{
	struct expect_every_second *expect = arg;

	if (offset != expect->next || length != expect->chunk)
		expect->bad++;
	expect->next += 2 * expect->chunk;
	expect->count++;
	return 0;
}

TEST(map_of_very_many_extents)
{
	struct expect_every_second expect = { .chunk = 65536 };
	const uint64_t size = 1ULL << 30;
	static char data[CHUNK] __attribute__((aligned(CHUNK)));
	struct rig rig;
	const char *path;
	int fd;

	rig_reset();
	path = rig_null("size=1024 memory_backed=0");
	rig_open(&rig);
	rig_track(&rig, path, expect.chunk);
	rig_trust(&rig);
	fd = open(path, O_WRONLY | O_DIRECT | O_CLOEXEC);
	for (uint64_t at = 0; at < size; at += 2 * expect.chunk)
		ASSERT_EQ(512, pwrite(fd, data, 512, at));
	close(fd);
	ASSERT_EQ(0, rig_cut(&rig, 0));
	EXPECT_EQ(0, cbt_map_get(rig.cbt, rig.group, rig.pass.id, rig.disks[0], every_second,
				 &expect));
	EXPECT_EQ(size / expect.chunk / 2, expect.count);
	EXPECT_EQ(0, expect.bad);
	rig_commit(&rig);
	rig_close(&rig);
}

TEST(sixteen_tebibytes)
{
	struct rig rig;
	const char *path;
	uint64_t begin;

	rig_reset();
	path = rig_null("size=16777216 memory_backed=0 discard=1");
	rig_open(&rig);
	rig_track(&rig, path, 0);
	EXPECT_EQ(64 << 10, rig_info(&rig, 0).chunk_bytes);
	rig_trust(&rig);
	EXPECT_EQ(0, rig_write(path, 0, CHUNK));
	EXPECT_EQ(0, rig_write(path, 1ULL << 43, CHUNK));
	EXPECT_EQ(0, rig_write(path, (1ULL << 44) - CHUNK, CHUNK));
	begin = rig_now_ms();
	EXPECT_STREQ("0,134217728,268435455", rig_marked(&rig, 0));
	/*
	 * The cost follows what is marked; a walk over all of it would take far longer, emulated.
	 */
	EXPECT_GT(2000, rig_now_ms() - begin);
	rig_close(&rig);
}

TEST_HARNESS_MAIN
