// SPDX-License-Identifier: GPL-2.0-or-later
/* Several consumers of one group: none loses, holds up or is shown what is another's. */
#include <errno.h>
#include <fcntl.h>
#include <scsi/sg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "harness.h"
#include "rig.h"

#define CHUNK	4096
#define MOST	8	/* consumers of a group */
#define LIST_BYTES	256

static void fill(const char *path, uint64_t chunk, char c)
{
	char data[CHUNK];
	int fd = open(path, O_WRONLY | O_DSYNC | O_CLOEXEC);

	memset(data, c, sizeof(data));
	if (fd < 0 || pwrite(fd, data, CHUNK, chunk * CHUNK) != CHUNK)
		rig_die("cannot write %s", path);
	close(fd);
}

/* What a byte of a chunk is in the consumer's image. */
static char seen(struct rig *rig, uint64_t chunk)
{
	char data[CHUNK] = "";

	if (rig_read(rig_info(rig, 0).image, chunk * CHUNK, CHUNK, data))
		rig_die("cannot read the image");
	return data[17];
}

static struct cbt_pass_info *now(struct rig *rig)
{
	if (cbt_pass_get(rig->cbt, rig->group, rig->pass.id, &rig->pass))
		rig_die("asking for a pass: %s", cbt_error(rig->cbt));
	return &rig->pass;
}

/* --- two, on a RAM disk -------------------------------------------------------------- */

FIXTURE(two) {
	struct rig a, b;
	const char *path;
};

FIXTURE_SETUP(two)
{
	rig_reset();
	self->path = rig_brd(0);
	rig_open(&self->a);
	rig_track(&self->a, self->path, CHUNK);
	rig_trust(&self->a);
	rig_join(&self->b, &self->a, "b");
	rig_trust(&self->b);
}

FIXTURE_TEARDOWN(two)
{
	rig_leave(&self->b);
	rig_close(&self->a);
}

TEST_F(two, each_is_owed_every_write)
{
	fill(self->path, 3, 'a');
	EXPECT_STREQ("3", rig_marked(&self->a, 0));
	fill(self->path, 7, 'a');
	EXPECT_EQ(1, rig_info(&self->a, 0).dirty_chunks);
	EXPECT_EQ(2, rig_info(&self->b, 0).dirty_chunks);
	EXPECT_STREQ("7", rig_marked(&self->a, 0));
	EXPECT_STREQ("3,7", rig_marked(&self->b, 0));
	EXPECT_STREQ("", rig_marked(&self->b, 0));
	EXPECT_STREQ("", rig_marked(&self->a, 0));
}

TEST_F(two, what_one_gives_up_comes_back_to_it_alone)
{
	fill(self->path, 3, 'a');
	EXPECT_STREQ("3", rig_marked(&self->b, 0));
	ASSERT_EQ(0, rig_cut(&self->a, 0));
	fill(self->path, 7, 'a');
	rig_give_up(&self->a);
	EXPECT_STREQ("7", rig_marked(&self->b, 0));
	EXPECT_STREQ("3,7", rig_marked(&self->a, 0));
}

TEST_F(two, passes_are_open_at_a_time)
{
	fill(self->path, 3, 'a');
	ASSERT_EQ(0, rig_cut(&self->a, 0));
	fill(self->path, 7, 'a');
	ASSERT_EQ(0, rig_cut(&self->b, 0));
	EXPECT_NE(self->a.pass.id, self->b.pass.id);
	EXPECT_STREQ("3", rig_map(&self->a, 0));
	EXPECT_STREQ("3,7", rig_map(&self->b, 0));
	EXPECT_EQ(-EBUSY, rig_cut(&self->b, 0));
	EXPECT_EQ(0, cbt_pass_commit_range(self->b.cbt, self->b.group, now(&self->b)->id,
					   self->b.disks[0], 3 * CHUNK, CHUNK));
	EXPECT_STREQ("3", rig_map(&self->a, 0));
	rig_commit(&self->b);
	EXPECT_STREQ("3", rig_map(&self->a, 0));
	rig_give_up(&self->a);
	EXPECT_STREQ("3,7", rig_marked(&self->a, 0));
	EXPECT_STREQ("", rig_marked(&self->b, 0));
}

TEST_F(two, images_are_of_two_cuts)
{
	fill(self->path, 3, 'a');
	fill(self->path, 4, 'a');
	ASSERT_EQ(0, rig_cut(&self->a, 0));
	fill(self->path, 3, 'b');
	ASSERT_EQ(0, rig_cut(&self->b, 0));
	EXPECT_STRNE(rig_info(&self->a, 0).image, rig_info(&self->b, 0).image);
	/* Chunk 3 has to wait for b, chunk 4 for both. */
	fill(self->path, 3, 'c');
	fill(self->path, 4, 'c');
	EXPECT_EQ('a', seen(&self->a, 3));
	EXPECT_EQ('b', seen(&self->b, 3));
	EXPECT_EQ('a', seen(&self->a, 4));
	EXPECT_EQ('a', seen(&self->b, 4));
	EXPECT_FALSE(now(&self->a)->fuzzy);
	EXPECT_FALSE(now(&self->b)->fuzzy);
	rig_commit(&self->a);
	EXPECT_EQ('b', seen(&self->b, 3));
	EXPECT_EQ('a', seen(&self->b, 4));
	fill(self->path, 4, 'd');
	EXPECT_EQ('a', seen(&self->b, 4));
	rig_commit(&self->b);
	EXPECT_STREQ("3-4", rig_marked(&self->a, 0));
	EXPECT_STREQ("3-4", rig_marked(&self->b, 0));
}

TEST_F(two, what_one_has_read_is_kept_for_the_other)
{
	struct rig *a = &self->a;

	fill(self->path, 3, 'a');
	ASSERT_EQ(0, rig_cut(a, 0));
	ASSERT_EQ(0, rig_cut(&self->b, 0));
	EXPECT_EQ(0, cbt_pass_release(a->cbt, a->group, a->pass.id, a->disks[0], 3 * CHUNK, CHUNK));
	fill(self->path, 3, 'b');
	EXPECT_EQ('a', seen(&self->b, 3));
	EXPECT_EQ('b', seen(a, 3));
	rig_commit(a);
	rig_commit(&self->b);
}

/* What was written since one's cut stays known, though another's cut took it along. */
TEST_F(two, overwritten_before_the_cut_of_another)
{
	fill(self->path, 3, 'a');
	ASSERT_EQ(0, rig_cut(&self->a, CBT_PASS_F_FUZZY));
	EXPECT_EQ(0, now(&self->a)->overwritten);
	fill(self->path, 3, 'b');
	EXPECT_EQ(1, now(&self->a)->overwritten);
	EXPECT_STREQ("3", rig_marked(&self->b, 0));
	EXPECT_EQ(1, now(&self->a)->overwritten);
	EXPECT_TRUE(now(&self->a)->fuzzy);
	EXPECT_EQ(1, rig_info(&self->a, 0).overwritten_chunks);
	EXPECT_EQ(0, rig_info(&self->b, 0).overwritten_chunks);
	rig_commit(&self->a);
	EXPECT_STREQ("3", rig_marked(&self->a, 0));
}

TEST_F(two, one_is_stuck_and_the_other_goes_on)
{
	fill(self->path, 3, 'a');
	ASSERT_EQ(0, rig_cut(&self->a, 0));
	for (unsigned int i = 0; i < 50; i++) {
		fill(self->path, 3, 'b');
		fill(self->path, 10 + i, 'b');
		ASSERT_EQ(0, rig_cut(&self->b, i % 2 ? CBT_PASS_F_FUZZY : 0));
		EXPECT_EQ(2, self->b.pass.chunks);
		if (i % 2)
			fill(self->path, 3, 'c');
		rig_commit(&self->b);
	}
	EXPECT_STREQ("3", rig_map(&self->a, 0));
	EXPECT_EQ('a', seen(&self->a, 3));
	EXPECT_FALSE(now(&self->a)->fuzzy);
	rig_commit(&self->a);
	EXPECT_STREQ("3,10-59", rig_marked(&self->a, 0));
}

TEST_F(two, a_full_pass_is_of_one_alone)
{
	fill(self->path, 3, 'a');
	ASSERT_EQ(0, rig_cut(&self->b, CBT_PASS_F_FULL | CBT_PASS_F_FUZZY));
	EXPECT_EQ(16384, self->b.pass.chunks);
	EXPECT_STREQ("3", rig_marked(&self->a, 0));
	rig_give_up(&self->b);
	EXPECT_STREQ("", rig_marked(&self->a, 0));
	EXPECT_STREQ("0-16383", rig_marked(&self->b, 0));
}

TEST_F(two, a_closed_socket_gives_up_its_own)
{
	fill(self->path, 3, 'a');
	ASSERT_EQ(0, rig_cut(&self->a, 0));
	ASSERT_EQ(0, rig_cut(&self->b, 0));
	cbt_close(self->b.cbt);
	ASSERT_EQ(0, cbt_open(&self->b.cbt));
	EXPECT_STREQ("3", rig_map(&self->a, 0));
	EXPECT_NE('\0', rig_info(&self->a, 0).image[0]);
	EXPECT_STREQ("3", rig_marked(&self->b, 0));
	rig_commit(&self->a);
	EXPECT_STREQ("", rig_marked(&self->a, 0));
}

/* A pass is the socket's, not the consumer's. */
TEST_F(two, passes_of_another_are_not_to_be_touched)
{
	struct rig *a = &self->a, *b = &self->b;

	ASSERT_EQ(0, rig_cut(b, 0));
	EXPECT_EQ(-EPERM, cbt_pass_commit(a->cbt, a->group, b->pass.id));
	EXPECT_EQ(-EPERM, cbt_pass_give_up(a->cbt, a->group, b->pass.id));
	EXPECT_EQ(-EBUSY, cbt_disk_del(a->cbt, a->group, a->disks[0]));
	rig_commit(b);
}

TEST_F(two, removed_with_its_pass_open)
{
	struct rig *b = &self->b;
	struct cbt_consumer_info info;
	char image[CBT_PATH_BYTES];

	fill(self->path, 3, 'a');
	ASSERT_EQ(0, rig_cut(b, 0));
	strcpy(image, rig_info(b, 0).image);
	EXPECT_EQ(0, cbt_consumer_del(self->a.cbt, self->a.group, b->consumer));
	EXPECT_NE(0, access(image, F_OK));
	EXPECT_EQ(-ENOENT, cbt_pass_commit(b->cbt, b->group, b->pass.id));
	EXPECT_EQ(-ENOENT, rig_cut(b, 0));
	EXPECT_EQ(-ENOENT, cbt_consumer_find(b->cbt, b->group, "b", &info));
	fill(self->path, 7, 'a');
	EXPECT_STREQ("3,7", rig_marked(&self->a, 0));
	/* Who comes in its place has nothing of it. */
	EXPECT_EQ(0, cbt_consumer_new(b->cbt, b->group, "b", &b->consumer));
	EXPECT_EQ(-ESTALE, rig_cut(b, 0));
	rig_trust(b);
	EXPECT_STREQ("", rig_marked(b, 0));
}

TEST_F(two, a_disk_added_later_is_everyones)
{
	const char *second = rig_brd(1);

	rig_track(&self->a, second, CHUNK);
	self->b.disks[1] = self->a.disks[1];
	EXPECT_EQ(-ESTALE, rig_cut(&self->b, 0));
	rig_trust(&self->b);
	EXPECT_EQ(-ESTALE, rig_cut(&self->a, 0));
	rig_trust(&self->a);
	fill(second, 5, 'a');
	EXPECT_STREQ("5", rig_marked(&self->a, 1));
	EXPECT_STREQ("5", rig_marked(&self->b, 1));
}

/* --- names, numbers, memory ------------------------------------------------------------- */

static int list_one(const struct cbt_consumer_info *info, void *arg)
{
	char *list = arg;

	snprintf(list + strlen(list), LIST_BYTES - strlen(list), "%u:%s ", info->id, info->name);
	return 0;
}

static uint64_t memory(struct rig *rig)
{
	char name[32];
	struct cbt_group_info info;

	snprintf(name, sizeof(name), "test-%d", getpid());
	if (cbt_group_find(rig->cbt, name, &info))
		rig_die("the group is gone");
	return info.memory_bytes;
}

TEST_F(two, found_again_by_name)
{
	struct rig *b = &self->b;
	struct cbt_consumer_info info;
	char list[LIST_BYTES] = "";

	rig_leave(b);
	ASSERT_EQ(0, cbt_open(&b->cbt));
	EXPECT_EQ(0, cbt_consumer_find(b->cbt, b->group, "b", &info));
	EXPECT_EQ(b->consumer, info.id);
	EXPECT_EQ(0, info.pass);
	EXPECT_EQ(0, cbt_consumer_find(b->cbt, b->group, "default", &info));
	EXPECT_EQ(CBT_CONSUMER_FIRST, info.id);
	EXPECT_EQ(-ENOENT, cbt_consumer_find(b->cbt, b->group, "c", &info));
	EXPECT_EQ(0, cbt_consumer_list(b->cbt, b->group, list_one, list));
	EXPECT_STREQ("1:default 2:b ", list);
	ASSERT_EQ(0, rig_cut(b, 0));
	EXPECT_EQ(0, cbt_consumer_find(self->a.cbt, b->group, "b", &info));
	EXPECT_EQ(b->pass.id, info.pass);
	rig_commit(b);
	EXPECT_EQ(-EEXIST, cbt_consumer_new(b->cbt, b->group, "b", &info.id));
	EXPECT_EQ(-EEXIST, cbt_consumer_new(b->cbt, b->group, "default", &info.id));
	EXPECT_EQ(-EPERM, cbt_consumer_del(b->cbt, b->group, CBT_CONSUMER_FIRST));
}

TEST_F(two, the_ninth_is_refused)
{
	const uint64_t bitmap = 16384 / 8, before = memory(&self->a);
	uint32_t ids[MOST];
	char name[16];

	for (unsigned int i = 2; i < MOST; i++) {
		snprintf(name, sizeof(name), "more-%u", i);
		ASSERT_EQ(0, cbt_consumer_new(self->a.cbt, self->a.group, name, &ids[i]));
	}
	EXPECT_EQ(-ENOSPC, cbt_consumer_new(self->a.cbt, self->a.group, "ninth", ids));
	EXPECT_STREQ("the group has as many consumers as it can have", cbt_error(self->a.cbt));
	/* Three bitmaps for each, which vmalloc() rounds up to pages, and their summaries. */
	EXPECT_LE(before + 6 * 3 * bitmap, memory(&self->a));
	EXPECT_GE(before + 6 * 3 * (bitmap + 8192), memory(&self->a));
	for (unsigned int i = 2; i < MOST; i++)
		EXPECT_EQ(0, cbt_consumer_del(self->a.cbt, self->a.group, ids[i]));
	EXPECT_EQ(before, memory(&self->a));
	/* Numbers are not used twice. */
	ASSERT_EQ(0, cbt_consumer_new(self->a.cbt, self->a.group, "later", ids));
	EXPECT_LT(ids[MOST - 1], ids[0]);
}

/* --- on a device that takes its time --------------------------------------------------- */

FIXTURE(slow) {
	struct rig a, b;
	const char *path;
	struct rig_async *write;
};

/* A write of chunk 5 is in flight for four seconds. */
FIXTURE_SETUP(slow)
{
	rig_reset();
	self->path = rig_null("size=64 memory_backed=1 irqmode=2 completion_nsec=4000000000");
	rig_open(&self->a);
	rig_track(&self->a, self->path, CHUNK);
	rig_join(&self->b, &self->a, "b");
	rig_trust(&self->a);
	rig_trust(&self->b);
	self->write = rig_write_begin(self->path, 5 * CHUNK, CHUNK);
	ASSERT_FALSE(rig_write_done(self->write));
}

FIXTURE_TEARDOWN(slow)
{
	EXPECT_EQ(0, rig_write_end(self->write));
	rig_leave(&self->b);
	rig_close(&self->a);
}

static int try_begin(struct rig *rig, uint32_t flags)
{
	const struct cbt_pass_spec spec = { .consumer = rig->consumer, .flags = flags };

	return cbt_pass_begin_as(rig->cbt, rig->group, &spec, &rig->pass);
}

static bool begins(void *rig)
{
	return !try_begin(rig, CBT_PASS_F_FUZZY);
}

static void wait_sealed(struct rig *rig)
{
	if (cbt_pass_wait_sealed(rig->cbt, rig->group, rig->pass.id, 100000, &rig->pass))
		rig_die("no seal: %s", cbt_error(rig->cbt));
}

TEST_F(slow, a_write_in_flight_is_everyones)
{
	ASSERT_EQ(0, try_begin(&self->a, CBT_PASS_F_FUZZY));
	EXPECT_FALSE(self->a.pass.sealed);
	EXPECT_EQ(-EAGAIN, try_begin(&self->b, CBT_PASS_F_FUZZY));
	EXPECT_EQ(1, rig_info(&self->b, 0).dirty_chunks);
	wait_sealed(&self->a);
	EXPECT_STREQ("5", rig_map(&self->a, 0));
	rig_wait_for(begins, &self->b, "b cuts");
	wait_sealed(&self->b);
	EXPECT_STREQ("5", rig_map(&self->b, 0));
	rig_commit(&self->b);
	rig_commit(&self->a);
}

TEST_F(slow, given_up_before_the_seal)
{
	ASSERT_EQ(0, try_begin(&self->a, 0));
	rig_give_up(&self->a);
	EXPECT_EQ(1, rig_info(&self->a, 0).dirty_chunks);
	rig_wait_for(begins, &self->b, "b cuts");
	wait_sealed(&self->b);
	EXPECT_STREQ("5", rig_map(&self->b, 0));
	rig_commit(&self->b);
	EXPECT_STREQ("5", rig_marked(&self->a, 0));
}

TEST_F(slow, removed_before_the_seal)
{
	ASSERT_EQ(0, try_begin(&self->b, 0));
	EXPECT_EQ(0, cbt_consumer_del(self->a.cbt, self->a.group, self->b.consumer));
	rig_wait_for(begins, &self->a, "a cuts");
	wait_sealed(&self->a);
	EXPECT_STREQ("5", rig_map(&self->a, 0));
	rig_commit(&self->a);
}

/* Who was refused comes before who had the last cut; on a machine that stands still it need not. */
TEST_F(slow, who_waits_comes_first)
{
	uint64_t asked;
	int err;

	ASSERT_EQ(0, try_begin(&self->a, CBT_PASS_F_FUZZY));
	do {
		asked = rig_now_ms();
		err = try_begin(&self->b, CBT_PASS_F_FUZZY);
		if (!err)	/* sealed since it was last looked at: nobody had to wait */
			return;
		ASSERT_EQ(-EAGAIN, err);
		cbt_pass_wait_sealed(self->a.cbt, self->a.group, self->a.pass.id, 100,
				     &self->a.pass);
	} while (!self->a.pass.sealed);
	rig_commit(&self->a);
	err = try_begin(&self->a, CBT_PASS_F_FUZZY);
	if (rig_now_ms() - asked < 900) {
		EXPECT_EQ(-EAGAIN, err);
		EXPECT_STREQ("another consumer of the group waits to cut and comes first; try again",
			     cbt_error(self->a.cbt));
	}
	rig_wait_for(begins, &self->b, "b cuts");
	wait_sealed(&self->b);
	rig_commit(&self->b);
	if (!err)
		return;
	/* Its turn now. */
	rig_wait_for(begins, &self->a, "a cuts");
	wait_sealed(&self->a);
	rig_commit(&self->a);
}

/* --- trust ------------------------------------------------------------------------------- */

/* A write that comes as a command. */
static void send_write(const char *path)
{
	static char data[512];
	unsigned char command[10] = { 0x2a, [8] = 1 };
	struct sg_io_hdr hdr = {
		.interface_id = 'S',
		.dxfer_direction = SG_DXFER_TO_DEV,
		.cmd_len = sizeof(command),
		.cmdp = command,
		.dxferp = data,
		.dxfer_len = sizeof(data),
		.timeout = 100000,
	};
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0 || ioctl(fd, SG_IO, &hdr) || hdr.status)
		rig_die("a command to %s failed", path);
	close(fd);
}

TEST(trust_is_each_ones_own)
{
	struct rig a, b;
	const char *path;

	rig_reset();
	path = rig_scsi();
	rig_open(&a);
	rig_track(&a, path, CHUNK);
	rig_join(&b, &a, "b");
	rig_trust(&a);
	EXPECT_EQ(CBT_UNTRUSTED_FRESH, rig_info(&b, 0).untrusted);
	EXPECT_EQ(-ESTALE, rig_cut(&b, 0));
	rig_trust(&b);
	EXPECT_EQ(0, rig_info(&b, 0).untrusted);
	send_write(path);
	EXPECT_EQ(CBT_UNTRUSTED_PASSTHROUGH, rig_info(&a, 0).untrusted);
	EXPECT_EQ(CBT_UNTRUSTED_PASSTHROUGH, rig_info(&b, 0).untrusted);
	rig_trust(&b);
	EXPECT_EQ(0, rig_info(&b, 0).untrusted);
	EXPECT_EQ(CBT_UNTRUSTED_PASSTHROUGH, rig_info(&a, 0).untrusted);
	EXPECT_STREQ("untrusted", rig_marked(&a, 0));
	EXPECT_STREQ("", rig_marked(&b, 0));
	rig_trust(&a);
	EXPECT_STREQ("", rig_marked(&a, 0));
	rig_leave(&b);
	rig_close(&a);
}

/* --- deadlines ------------------------------------------------------------------------------ */

static int begin_for(struct rig *rig, uint32_t flags, uint32_t timeout_ms)
{
	const struct cbt_pass_spec spec = { rig->consumer, flags, timeout_ms };

	return cbt_pass_begin_as(rig->cbt, rig->group, &spec, &rig->pass);
}

/* Asked so that the pass does not hear of it. */
static bool is_over(void *arg)
{
	struct cbt_consumer_info info;
	struct rig *rig = arg;

	if (cbt_consumer_find(rig->cbt, rig->group, rig->consumer ? "b" : "default", &info))
		rig_die("the consumer is gone");
	return !info.pass;
}

TEST_F(two, a_silent_owner_loses_its_pass)
{
	struct rig *b = &self->b;

	fill(self->path, 3, 'a');
	ASSERT_EQ(0, rig_cut(&self->a, 0));
	ASSERT_EQ(0, begin_for(b, 0, 1000));
	EXPECT_EQ(1000, b->pass.timeout_ms);
	fill(self->path, 3, 'b');
	rig_wait_for(is_over, b, "the deadline ends the pass");
	EXPECT_STREQ("", rig_info(b, 0).image);
	EXPECT_EQ(-ETIME, cbt_pass_get(b->cbt, b->group, b->pass.id, &b->pass));
	EXPECT_STREQ("the pass was given up: its owner was silent for longer than its timeout; begin a new one",
		     cbt_error(b->cbt));
	EXPECT_EQ(-ETIME, cbt_pass_commit(b->cbt, b->group, b->pass.id));
	EXPECT_EQ(-ETIME, cbt_map_get(b->cbt, b->group, b->pass.id, b->disks[0], NULL, NULL));
	/* Only the silent one. */
	EXPECT_EQ('a', seen(&self->a, 3));
	rig_commit(&self->a);
	EXPECT_STREQ("3", rig_marked(b, 0));
	EXPECT_STREQ("3", rig_marked(&self->a, 0));
}

TEST_F(two, who_is_heard_of_keeps_its_pass)
{
	const uint64_t end = rig_now_ms() + 9000;
	struct rig *a = &self->a;
	uint64_t heard;
	int err;

	fill(self->path, 3, 'a');
	ASSERT_EQ(0, begin_for(a, 0, 6000));
	for (heard = rig_now_ms(); rig_now_ms() < end; heard = rig_now_ms()) {
		rig_sleep_ms(100);
		err = cbt_pass_get(a->cbt, a->group, a->pass.id, &a->pass);
		/* A machine that stood still for so long proves nothing. */
		if (err == -ETIME && rig_now_ms() - heard > 5000)
			return;
		ASSERT_EQ(0, err);
	}
	EXPECT_STREQ("3", rig_map(a, 0));
	rig_commit(a);
	EXPECT_EQ(-ENOENT, cbt_pass_commit(a->cbt, a->group, a->pass.id));
}

TEST_F(two, timeouts_have_bounds)
{
	struct rig *a = &self->a;

	EXPECT_EQ(-ERANGE, begin_for(a, 0, 1));
	EXPECT_EQ(-ERANGE, begin_for(a, 0, 999));
	EXPECT_EQ(-ERANGE, begin_for(a, 0, 86400001));
	EXPECT_EQ(-ERANGE, begin_for(a, 0, ~0U));
	EXPECT_STREQ("the timeout must be from 1000 to 86400000 milliseconds", cbt_error(a->cbt));
	EXPECT_EQ(0, begin_for(a, 0, 86400000));
	EXPECT_EQ(86400000, a->pass.timeout_ms);
	rig_commit(a);
	EXPECT_EQ(0, begin_for(a, 0, 0));
	EXPECT_EQ(600000, a->pass.timeout_ms);
	rig_commit(a);
}

TEST_F(slow, the_deadline_may_come_before_the_seal)
{
	ASSERT_EQ(0, begin_for(&self->a, 0, 1000));
	EXPECT_FALSE(self->a.pass.sealed);
	rig_wait_for(is_over, &self->a, "the deadline ends the pass");
	rig_wait_for(begins, &self->a, "a cuts");
	wait_sealed(&self->a);
	EXPECT_STREQ("5", rig_map(&self->a, 0));
	rig_commit(&self->a);
	EXPECT_STREQ("5", rig_marked(&self->b, 0));
}

TEST_HARNESS_MAIN
