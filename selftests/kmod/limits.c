// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a pass may cost those who write: memory up to its budget, a wait up to its limit, and
 * nothing that outlives it.
 */
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "rig.h"

#define CHUNK		4096
#define PARAMETERS	"/sys/module/blkcbt/parameters/"

FIXTURE(limits) {
	struct rig rig;
	const char *path;
};

FIXTURE_SETUP(limits)
{
	rig_reset();
	self->path = rig_null("size=64 memory_backed=1");
	rig_open(&self->rig);
	rig_track(&self->rig, self->path, CHUNK);
	rig_trust(&self->rig);
}

FIXTURE_TEARDOWN(limits)
{
	rig_close(&self->rig);
}

static uint64_t memory_of(struct rig *rig)
{
	struct cbt_group_info info = { 0 };

	snprintf(info.name, sizeof(info.name), "test-%d", getpid());
	if (cbt_group_find(rig->cbt, info.name, &info))
		rig_die("no group %s: %s", info.name, cbt_error(rig->cbt));
	return info.memory_bytes;
}

TEST_F(limits, have_bounds)
{
	EXPECT_NE(0, rig_sh("echo -1 2>/dev/null >" PARAMETERS "preserve_kib"));
	EXPECT_NE(0, rig_sh("echo 4194305 2>/dev/null >" PARAMETERS "preserve_kib"));
	EXPECT_EQ(0, rig_sh("echo 4194304 >" PARAMETERS "preserve_kib"));
	EXPECT_NE(0, rig_sh("echo 0 2>/dev/null >" PARAMETERS "hold_ms"));
	EXPECT_NE(0, rig_sh("echo 60001 2>/dev/null >" PARAMETERS "hold_ms"));
}

/* What is kept is accounted, freed as it is released, and gone with the pass. */
TEST_F(limits, memory_is_accounted)
{
	struct rig *rig = &self->rig;
	uint64_t before = memory_of(rig), kept;

	EXPECT_EQ(0, rig_write(self->path, 0, 4 * RIG_MIB));
	ASSERT_EQ(0, rig_cut(rig, 0));
	EXPECT_EQ(before, memory_of(rig));
	EXPECT_EQ(0, rig_write(self->path, RIG_MIB, 2 * RIG_MIB));
	kept = memory_of(rig) - before;
	EXPECT_LE(2 * RIG_MIB, kept);
	EXPECT_GE(2 * RIG_MIB * 11 / 10, kept);
	EXPECT_EQ(0, cbt_pass_release(rig->cbt, rig->group, rig->pass.id, rig->disks[0], 0,
				      2 * RIG_MIB));
	EXPECT_EQ(kept / 2, memory_of(rig) - before);
	rig_commit(rig);
	for (unsigned int tries = 0; memory_of(rig) != before; tries++) {
		ASSERT_GT(10000, tries);
		rig_sleep_ms(10);
	}
}

/*
 * Spent, it costs the pass its instant and the writer nothing; another group's is its own, and
 * the next pass is whole again.
 */
TEST_F(limits, budget_is_spent)
{
	const char *path = rig_null("size=16 memory_backed=1");
	struct rig *rig = &self->rig, other = { 0 };
	uint64_t before = memory_of(rig);

	ASSERT_EQ(0, cbt_open(&other.cbt));
	ASSERT_EQ(0, cbt_group_new(other.cbt, "other", &other.group));
	rig_track(&other, path, CHUNK);
	rig_trust(&other);
	rig_set("preserve_kib", 80);
	EXPECT_EQ(0, rig_write(self->path, 0, 4 * RIG_MIB));
	EXPECT_EQ(0, rig_write(path, 0, RIG_MIB));
	ASSERT_EQ(0, rig_cut(rig, 0));
	ASSERT_EQ(0, rig_cut(&other, 0));
	for (unsigned int i = 0; i < 256; i++)
		EXPECT_EQ(0, rig_write(self->path, (uint64_t)i * CHUNK, CHUNK));
	EXPECT_EQ(0, rig_write(path, 0, 8 * CHUNK));
	EXPECT_GE(before + (80 << 10), memory_of(rig));
	EXPECT_EQ(0, cbt_pass_get(rig->cbt, rig->group, rig->pass.id, &rig->pass));
	EXPECT_TRUE(rig->pass.fuzzy);
	EXPECT_EQ(0, cbt_pass_get(other.cbt, other.group, other.pass.id, &other.pass));
	EXPECT_FALSE(other.pass.fuzzy);
	rig_commit(rig);
	rig_commit(&other);
	rig_close(&other);
	/* The next one, small by then. */
	ASSERT_EQ(0, rig_cut(rig, 0));
	EXPECT_EQ(256, rig->pass.chunks);
	for (unsigned int i = 0; i < 8; i++)
		EXPECT_EQ(0, rig_write(self->path, (uint64_t)i * CHUNK, CHUNK));
	EXPECT_EQ(0, cbt_pass_get(rig->cbt, rig->group, rig->pass.id, &rig->pass));
	EXPECT_FALSE(rig->pass.fuzzy);
	rig_commit(rig);
	EXPECT_STREQ("0-7", rig_marked(rig, 0));
}

TEST_F(limits, no_budget_at_all)
{
	struct rig *rig = &self->rig;

	rig_set("preserve_kib", 0);
	EXPECT_EQ(0, rig_write(self->path, 0, 4 * CHUNK));
	ASSERT_EQ(0, rig_cut(rig, 0));
	EXPECT_EQ(0, rig_write(self->path, 0, CHUNK));
	EXPECT_EQ(0, cbt_pass_get(rig->cbt, rig->group, rig->pass.id, &rig->pass));
	EXPECT_TRUE(rig->pass.fuzzy);
	rig_commit(rig);
}

/*
 * A write to one disk waits for the seal, which waits for a write to another that does not end
 * (its device is suspended): the group of both has a pass under way, by a process of its own.
 */
FIXTURE(held) {
	struct rig rig;
	const char *stuck, *path;
	struct rig_async *old, *held;
	pid_t controller;
};

FIXTURE_SETUP(held)
{
	int ready[2];
	char c;

	rig_reset();
	self->path = rig_null("size=16 memory_backed=1");
	self->stuck = rig_dm("stuck", "0 32768 linear %s 0", rig_brd(0));
	rig_open(&self->rig);
	rig_track(&self->rig, self->path, CHUNK);
	rig_track(&self->rig, self->stuck, CHUNK);
	rig_trust(&self->rig);
	EXPECT_EQ(0, rig_write(self->path, 0, 4 * CHUNK));
	rig_must("dmsetup suspend --nolockfs --noflush stuck");
	self->old = rig_write_begin(self->stuck, 0, CHUNK);
	ASSERT_EQ(0, pipe(ready));
	self->controller = fork();
	if (!self->controller) {
		if (cbt_open(&self->rig.cbt) ||
		    cbt_pass_begin(self->rig.cbt, self->rig.group, 0, &self->rig.pass) ||
		    write(ready[1], "", 1) != 1)
			_exit(1);
		pause();
	}
	close(ready[1]);
	ASSERT_EQ(1, read(ready[0], &c, 1));
	close(ready[0]);
}

FIXTURE_TEARDOWN(held)
{
	kill(self->controller, SIGKILL);
	waitpid(self->controller, NULL, 0);
	rig_must("dmsetup resume stuck");
	EXPECT_EQ(0, rig_write_end(self->old));
	rig_close(&self->rig);
}

static bool write_is_done(void *arg)
{
	return rig_write_done(arg);
}

/* With a minute to wait, only the end of the controller can have let the write go. */
TEST_F(held, goes_on_when_the_controller_dies)
{
	self->held = rig_write_begin(self->path, 0, CHUNK);
	rig_sleep_ms(1500);
	EXPECT_FALSE(rig_write_done(self->held));
	kill(self->controller, SIGKILL);
	rig_wait_for(write_is_done, self->held, "the held write has gone on");
	EXPECT_EQ(0, rig_write_end(self->held));
	EXPECT_FALSE(rig_write_done(self->old));
}

TEST_F(held, goes_on_after_a_while)
{
	rig_set("hold_ms", 100);
	self->held = rig_write_begin(self->path, 0, CHUNK);
	rig_wait_for(write_is_done, self->held, "the held write has gone on");
	EXPECT_EQ(0, rig_write_end(self->held));
	EXPECT_FALSE(rig_write_done(self->old));
}

TEST_F(held, goes_on_when_the_group_is_removed)
{
	self->held = rig_write_begin(self->path, 0, CHUNK);
	EXPECT_FALSE(rig_write_done(self->held));
	rig_close(&self->rig);
	rig_wait_for(write_is_done, self->held, "the held write has gone on");
	EXPECT_EQ(0, rig_write_end(self->held));
}

TEST_HARNESS_MAIN
