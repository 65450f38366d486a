// SPDX-License-Identifier: GPL-2.0-or-later
/* What the module shows to people: debugfs and tracepoints. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness.h"
#include "rig.h"

#define CHUNK		4096
#define STATE		"/sys/kernel/debug/blkcbt/state"
#define TRACES		"/sys/kernel/tracing/instances/blkcbt-test"
#define TEXT_BYTES	65536
#define LINE_BYTES	512

/* A whole file, as a string that the next call overwrites. */
static const char *contents(const char *path)
{
	static char text[TEXT_BYTES];
	size_t length = 0;
	ssize_t got;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		rig_die("%s: %s", path, strerror(errno));
	while ((got = read(fd, text + length, sizeof(text) - 1 - length)) > 0)
		length += got;
	close(fd);
	if (got < 0 || length == sizeof(text) - 1)
		rig_die("%s cannot be read, or is too long", path);
	text[length] = '\0';
	return text;
}

/* The line of @text that begins with @begin; "" if none. Overwritten by the next call. */
static const char *line_of(const char *text, const char *begin)
{
	static char line[LINE_BYTES];

	line[0] = '\0';
	while (text && strncmp(text, begin, strlen(begin))) {
		text = strchr(text, '\n');
		text = text ? text + 1 : NULL;
	}
	if (text)
		snprintf(line, sizeof(line), "%.*s", (int)strcspn(text, "\n"), text);
	return line;
}

static bool has(const char *line, const char *words)
{
	bool found = strstr(line, words);

	if (!found)
		fprintf(stderr, "# no \"%s\" in \"%s\"\n", words, line);
	return found;
}

/* The line of debugfs about @what of the group. */
static const char *state_line(struct rig *rig, const char *what, const char *key)
{
	char begin[64];

	snprintf(begin, sizeof(begin), "%s %s=%u ", what, key, rig->group);
	return line_of(contents(STATE), begin);
}

/* --- debugfs --------------------------------------------------------------------------- */

FIXTURE(state) {
	struct rig rig;
};

FIXTURE_SETUP(state)
{
	rig_reset();
	rig_open(&self->rig);
}

FIXTURE_TEARDOWN(state)
{
	rig_close(&self->rig);
}

TEST_F(state, version_comes_first)
{
	EXPECT_EQ(0, strncmp(contents(STATE), "version=1\n", 10));
	rig_close(&self->rig);
	EXPECT_STREQ("version=1\n", contents(STATE));
}

TEST_F(state, only_root_reads_it)
{
	struct stat about;

	ASSERT_EQ(0, stat(STATE, &about));
	EXPECT_EQ(0400, about.st_mode & 07777);
}

TEST_F(state, disk)
{
	struct rig *rig = &self->rig;
	const char *line;

	rig_track(rig, rig_brd(0), CHUNK);
	EXPECT_TRUE(has(state_line(rig, "disk", "group"), " untrusted=0x1,"));
	rig_trust(rig);
	EXPECT_EQ(0, rig_write(rig_brd(0), 7 * CHUNK, 2 * CHUNK));
	line = state_line(rig, "disk", "group");
	EXPECT_TRUE(has(line, " id=1 "));
	EXPECT_TRUE(has(line, " sectors=131072 "));
	EXPECT_TRUE(has(line, " chunk=4096 "));
	EXPECT_TRUE(has(line, " untrusted=0x0,"));
	EXPECT_TRUE(has(line, " writes=1 written=8192 "));
	/* The full pass was of one epoch, this write is of the other. */
	EXPECT_TRUE(has(line, " marked=0,2 "));
	EXPECT_TRUE(has(line, " path=/dev/ram0"));
	line = state_line(rig, "group", "id");
	EXPECT_TRUE(has(line, " disks=1 live=1 inflight=0,0 kept=0 name=test-"));
}

/* With more than fit into a buffer: the list goes on where it stopped. */
TEST_F(state, many_groups)
{
	struct rig *rig = &self->rig;
	uint32_t ids[200];
	char name[CBT_NAME_BYTES], begin[32];
	unsigned int i;

	for (i = 0; i < 200; i++) {
		snprintf(name, sizeof(name), "a group with a long name, %u of many, and blanks", i);
		ASSERT_EQ(0, cbt_group_new(rig->cbt, name, &ids[i]));
	}
	for (i = 0; i < 200; i++) {
		snprintf(begin, sizeof(begin), "group id=%u ", ids[i]);
		EXPECT_TRUE(has(line_of(contents(STATE), begin), "\\040long\\040name"));
	}
	for (i = 0; i < 200; i++)
		EXPECT_EQ(0, cbt_group_del(rig->cbt, ids[i]));
}

/* --- a device that stands still ----------------------------------------------------------- */

/* Completes nothing between suspend() and resume(). */
static const char *stoppable(void)
{
	return rig_dm("watched", "0 32768 linear %s 0", rig_brd(0));
}

static void suspend(void)
{
	rig_must("dmsetup suspend --nolockfs watched");
}

static void resume(void)
{
	rig_must("dmsetup resume watched");
}

FIXTURE(hang) {
	struct rig rig;
	struct rig_async *write, *held;
	const char *path;
};

/* A write is in flight at the cut, and one of after the cut is to the same chunk. */
FIXTURE_SETUP(hang)
{
	rig_reset();
	rig_open(&self->rig);
	self->path = stoppable();
	rig_track(&self->rig, self->path, CHUNK);
	rig_trust(&self->rig);
	suspend();
	self->write = rig_write_begin(self->path, 5 * CHUNK, CHUNK);
	ASSERT_EQ(0, cbt_pass_begin(self->rig.cbt, self->rig.group, 0, &self->rig.pass));
	self->held = rig_write_begin(self->path, 5 * CHUNK, CHUNK);
}

FIXTURE_TEARDOWN(hang)
{
	resume();
	EXPECT_EQ(0, rig_write_end(self->write));
	EXPECT_EQ(0, rig_write_end(self->held));
	rig_close(&self->rig);
	rig_reset();
}

TEST_F(hang, is_shown)
{
	struct rig *rig = &self->rig;
	const char *line;

	line = state_line(rig, "preserve", "group");
	EXPECT_TRUE(has(line, " sealed=0 "));
	EXPECT_TRUE(has(line, " off=0 torn=0 held=1"));
	EXPECT_TRUE(has(state_line(rig, "pass", "group"), " state=sealing "));
	EXPECT_TRUE(has(state_line(rig, "group", "id"), " live=0 inflight=1,1 "));
	resume();
	ASSERT_EQ(0, cbt_pass_wait_sealed(rig->cbt, rig->group, rig->pass.id, 100000, &rig->pass));
	EXPECT_TRUE(has(state_line(rig, "pass", "group"), " state=sealed "));
	EXPECT_TRUE(has(state_line(rig, "group", "id"), " inflight=0,"));
	rig_commit(rig);
	EXPECT_STREQ("", state_line(rig, "pass", "group"));
}

static bool is_torn(void *rig)
{
	return strstr(state_line(rig, "preserve", "group"), " off=1 torn=1 held=0");
}

TEST_F(hang, ends_preserving_after_a_while)
{
	rig_set("hold_ms", 1);
	rig_wait_for(is_torn, &self->rig, "the held write goes on");
	EXPECT_TRUE(has(state_line(&self->rig, "pass", "group"), " state=sealing "));
}

/* --- tracepoints --------------------------------------------------------------------------- */

FIXTURE(trace) {
	struct rig rig;
	const char *path;
};

static void set_events(const char *value)
{
	rig_must("echo %s >" TRACES "/events/blkcbt/enable", value);
}

FIXTURE_SETUP(trace)
{
	rig_reset();
	rig_must("mkdir -p " TRACES);
	set_events("1");
	rig_open(&self->rig);
}

FIXTURE_TEARDOWN(trace)
{
	set_events("0");
	rig_close(&self->rig);
	rig_must("rmdir " TRACES);
	rig_reset();
}

/* The first line of the trace behind @after that has the event @name; null if none. */
static const char *event(const char *after, const char *name)
{
	char text[64];

	snprintf(text, sizeof(text), " %s: ", name);
	after = after ? strstr(after, text) : NULL;
	if (!after)
		fprintf(stderr, "# no event %s there\n", name);
	return after ? after + 1 : NULL;
}

static bool says(const char *event, const char *words)
{
	char line[LINE_BYTES];

	snprintf(line, sizeof(line), "%.*s", event ? (int)strcspn(event, "\n") : 0, event ?: "");
	return has(line, words);
}

TEST_F(trace, a_pass_from_cut_to_commit)
{
	struct rig *rig = &self->rig;
	const char *at;
	char words[128];

	self->path = rig_brd(0);
	rig_track(rig, self->path, CHUNK);
	rig_trust(rig);
	EXPECT_EQ(0, rig_write(self->path, 3 * CHUNK, CHUNK));
	ASSERT_EQ(0, rig_cut(rig, 0));
	EXPECT_EQ(0, rig_write(self->path, 3 * CHUNK, CHUNK));
	rig_commit(rig);

	at = event(contents(TRACES "/trace"), "blkcbt_cut");
	EXPECT_TRUE(says(at, "flags=full|fuzzy "));
	at = event(event(at, "blkcbt_sealed"), "blkcbt_commit");
	at = event(at, "blkcbt_cut");
	snprintf(words, sizeof(words), "group=%u pass=%u flags= inflight=0 name=test-", rig->group,
		 rig->pass.id);
	EXPECT_TRUE(says(at, words));
	at = event(at, "blkcbt_sealed");
	EXPECT_TRUE(says(at, " waited_ns="));
	at = event(at, "blkcbt_hold");
	EXPECT_TRUE(says(at, "dev=1:0 "));
	EXPECT_TRUE(says(at, " sector=24+8"));
	at = event(at, "blkcbt_unhold");
	EXPECT_TRUE(says(at, " kept=1"));
	EXPECT_NE(NULL, event(at, "blkcbt_commit"));
}

TEST_F(trace, a_pass_given_up)
{
	struct rig *rig = &self->rig;

	rig_track(rig, rig_brd(0), CHUNK);
	ASSERT_EQ(0, rig_cut(rig, CBT_PASS_F_FULL));
	rig_give_up(rig);
	EXPECT_NE(NULL, event(contents(TRACES "/trace"), "blkcbt_give_up"));
}

/* A write that nobody saw begin ends the trust; one that hangs makes a pass fuzzy. */
TEST_F(trace, what_goes_wrong)
{
	struct rig *rig = &self->rig;
	struct rig_async *unseen, *hanging;
	const char *at;

	self->path = stoppable();
	suspend();
	unseen = rig_write_begin(self->path, 0, CHUNK);
	rig_track(rig, self->path, CHUNK);
	rig_trust(rig);
	resume();
	EXPECT_EQ(0, rig_write_end(unseen));
	EXPECT_TRUE(rig_wait_untrusted(rig, 0, CBT_UNTRUSTED_UNKNOWN_WRITE));
	rig_trust(rig);
	rig_set("hold_ms", 1);
	suspend();
	hanging = rig_write_begin(self->path, 0, CHUNK);
	ASSERT_EQ(0, cbt_pass_begin(rig->cbt, rig->group, 0, &rig->pass));
	rig_wait_for(is_torn, rig, "the pass is fuzzy");
	resume();
	EXPECT_EQ(0, rig_write_end(hanging));
	ASSERT_EQ(0, cbt_pass_wait_sealed(rig->cbt, rig->group, rig->pass.id, 100000, &rig->pass));
	rig_commit(rig);

	at = event(contents(TRACES "/trace"), "blkcbt_distrust");
	EXPECT_TRUE(says(at, " reasons=unknown-write"));
	at = event(at, "blkcbt_fuzzy");
	EXPECT_TRUE(says(at, " caller="));
	EXPECT_NE(NULL, event(at, "blkcbt_sealed"));
}

TEST_HARNESS_MAIN
