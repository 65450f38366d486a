// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What ends a slice of a pass that compares: nothing is dropped from the kernel's map before the
 * replica has said that it is durable, and that is in the state file.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The replica, and the kernel, are here. */
#define session_send fake_send
#define session_receive fake_receive
#define cbt_pass_commit_range fake_drop
#include "../../userspace/primary/pass.c"
#include "unit.h"

#define MIB (UINT64_C(1) << 20)

static char events[4096];		/* in the order in which they came, each behind a blank */
static struct wire_header sent;		/* the last frame */
static struct wire_header answers[4];	/* in order; without a type: the frame sent, as it is due */
static unsigned int answer;
static int answer_error;		/* of the next answers; 0: there are some */
static struct state_file *file;
static char dir[] = "/tmp/test-slices.XXXXXX";	/* of the pass */

static __attribute__((format(printf, 1, 2))) void event(const char *format, ...)
{
	size_t length = strlen(events);
	va_list args;

	va_start(args, format);
	vsnprintf(events + length, sizeof(events) - length, format, args);
	va_end(args);
}

int fake_send(int sock, const struct wire_header *header, const void *payload, struct err *e)
{
	sent = *header;
	if (header->type == WIRE_CHECKPOINT)
		event(" asked:%u:%" PRIu64, header->disk, header->offset / MIB);
	else
		event(" sent:%s", wire_type_name(header->type));
	return 0;
}

int fake_receive(int sock, struct wire_header *header, void *payload, size_t room, int cancel_fd,
		 unsigned int timeout_s, struct err *e)
{
	if (answer_error)
		return err_set(e, answer_error, "no answer");
	*header = answers[answer++];
	if (header->type)
		return 0;
	*header = sent;
	header->type = sent.type == WIRE_CHECKPOINT ? WIRE_CHECKPOINTED :
		       sent.type == WIRE_PASS_END   ? WIRE_PASS_DURABLE :
						      WIRE_PASS_ABORTED;
	return 0;
}

/* The kernel is told what the file says already. */
int fake_drop(struct cbt *cbt, uint32_t group, uint32_t pass, uint32_t disk, uint64_t offset,
	      uint64_t length)
{
	struct state_file *again;
	struct err e = { 0 };
	struct state state;

	CHECK_EQ(state_file_load(dir, "vm1", &again, &e), 0);
	state_file_get(again, &state);
	state_file_close(again);
	CHECK(offset % MIB == 0 && length % MIB == 0);
	event(" dropped:%u:%" PRIu64 "+%" PRIu64 ":recorded:%" PRIu64 ":%" PRIu64, disk, offset / MIB,
	      length / MIB, state.disks[disk].checkpoint_bytes / MIB, state.last_pass);
	return 0;
}

/* --- a pass ------------------------------------------------------------------------ */

static struct ship_progress progress;
static struct peer peer;
static struct pass_spec spec;

/* Three disks of 8, 4 and 16 MiB, all of them in the map. */
static struct pass *pass_of(enum wire_pass_kind kind)
{
	static struct state state = { .vm = "vm1", .host = "replica", .port = 7766, .interval_s = 1,
				      .disk_count = 3,
				      .disks = { { "vda", "/dev/vda", 8 * MIB, 4096, 0 },
						 { "vdb", "/dev/vdb", 4 * MIB, 4096, 0 },
						 { "vdc", "/dev/vdc", 16 * MIB, 4096, 0 } } };
	struct pass *p = calloc(1, sizeof(*p));
	struct err e = { 0 };

	state_new_uuid(state.relationship);
	CHECK(mkdtemp(strcpy(dir, "/tmp/test-slices.XXXXXX")));
	CHECK_EQ(state_file_create(dir, &state, &file, &e), 0);
	spec = (struct pass_spec){ .file = file, .peer = &peer, .cancel_fd = -1,
				   .progress = &progress };
	p->spec = &spec;
	p->cbt = (struct cbt *)&spec;	/* any: there is a tracker */
	p->state = state;
	p->plan.kind = kind;
	p->plan.pass = 7;
	p->sends = p->differ;
	p->sending = &p->slice;
	for (unsigned int i = 0; i < state.disk_count; i++) {
		p->track.disks[i].id = i;
		p->disks[i].size_bytes = state.disks[i].size_bytes;
		CHECK_EQ(extent_list_append(&p->disks[i].extents, 0, p->disks[i].size_bytes), 0);
	}
	events[0] = 0;
	memset(answers, 0, sizeof(answers));
	answer = 0;
	answer_error = 0;
	return p;
}

static void done(struct pass *p)
{
	state_file_remove(file, NULL);
	state_file_close(file);
	free_lists((struct extent_list[STATE_MAX_DISKS]){
		p->disks[0].extents, p->disks[1].extents, p->disks[2].extents });
	free(p);
	CHECK_EQ(rmdir(dir), 0);
}

static const struct compare_cursor start;

/* A folder is where the state's next file would be. */
static void refuse_records(bool refuse)
{
	char path[sizeof(dir) + 20];

	snprintf(path, sizeof(path), "%s/.vm1.json.new", dir);
	CHECK_EQ(refuse ? mkdir(path, 0700) : rmdir(path), 0);
}

/* The map of a disk is a piece of it alone. */
static void replace_map(struct pass *p, unsigned int disk, uint64_t offset, uint64_t length)
{
	extent_list_free(&p->disks[disk].extents);
	p->disks[disk].extents = (struct extent_list){ 0 };
	CHECK_EQ(extent_list_append(&p->disks[disk].extents, offset, length), 0);
}

/* --- of an initial pass ---------------------------------------------------------------- */

TEST(initial_within_a_disk)
{
	const struct compare_cursor to = { .within = 6 * MIB };
	struct pass *p = pass_of(WIRE_PASS_INITIAL);
	struct err e = { 0 };

	CHECK_EQ(end_initial_slice(p, &start, &to, &e), 0);
	CHECK_STR(events, " asked:0:6 dropped:0:0+6:recorded:6:0 sent:PASS_ABORT");
	done(p);
}

TEST(initial_over_disks)
{
	const struct compare_cursor to = { .disk = 2, .within = 5 * MIB };
	struct pass *p = pass_of(WIRE_PASS_INITIAL);
	struct err e = { 0 };

	CHECK_EQ(end_initial_slice(p, &start, &to, &e), 0);
	CHECK_STR(events, " asked:0:8 dropped:0:0+8:recorded:8:0 asked:1:4 dropped:1:0+4:recorded:4:0"
			  " asked:2:5 dropped:2:0+5:recorded:5:0 sent:PASS_ABORT");
	done(p);
}

/* It ends with the disk: the next one has nothing to be asked for. */
TEST(initial_to_the_end_of_a_disk)
{
	const struct compare_cursor to = { .disk = 1 };
	struct pass *p = pass_of(WIRE_PASS_INITIAL);
	struct err e = { 0 };

	CHECK_EQ(end_initial_slice(p, &start, &to, &e), 0);
	CHECK_STR(events, " asked:0:8 dropped:0:0+8:recorded:8:0 sent:PASS_ABORT");
	done(p);
}

/* What the replica had before stays owed, plan.h. */
TEST(initial_below_what_stays)
{
	const struct compare_cursor within = { .within = 3 * MIB }, behind = { .within = 6 * MIB };
	struct pass *p = pass_of(WIRE_PASS_INITIAL);
	struct err e = { 0 };

	p->plan.stays_bytes[0] = 4 * MIB;
	CHECK_EQ(end_initial_slice(p, &start, &within, &e), 0);
	CHECK_STR(events, " asked:0:3 sent:PASS_ABORT");
	events[0] = 0;
	CHECK_EQ(end_initial_slice(p, &within, &behind, &e), 0);
	CHECK_STR(events, " asked:0:6 dropped:0:4+2:recorded:6:0 sent:PASS_ABORT");
	done(p);
}

TEST(initial_unanswered)
{
	const struct compare_cursor to = { .within = 6 * MIB };
	struct pass *p = pass_of(WIRE_PASS_INITIAL);
	struct err e = { 0 };

	answer_error = -ETIMEDOUT;
	CHECK_EQ(end_initial_slice(p, &start, &to, &e), -ETIMEDOUT);
	CHECK_STR(events, " asked:0:6");
	done(p);
}

/* Of another place, or not of a checkpoint at all. */
TEST(initial_answered_wrong)
{
	const struct wire_header wrong[] = {
		{ .type = WIRE_CHECKPOINTED, .disk = 0, .offset = 5 * MIB },
		{ .type = WIRE_CHECKPOINTED, .disk = 1, .offset = 6 * MIB },
		{ .type = WIRE_PASS_DURABLE, .disk = 0, .offset = 6 * MIB },
	};
	const struct compare_cursor to = { .within = 6 * MIB };
	struct err e = { 0 };

	for (unsigned int i = 0; i < 3; i++) {
		struct pass *p = pass_of(WIRE_PASS_INITIAL);

		answers[0] = wrong[i];
		CHECK_EQ(end_initial_slice(p, &start, &to, &e), -EPROTO);
		CHECK_STR(events, " asked:0:6");
		done(p);
	}
}

/* The slice ended well otherwise, and costs copying once more. */
TEST(initial_not_recorded)
{
	const struct compare_cursor to = { .within = 6 * MIB };
	struct pass *p = pass_of(WIRE_PASS_INITIAL);
	struct err e = { 0 };

	refuse_records(true);
	CHECK_EQ(end_initial_slice(p, &start, &to, &e), 0);
	CHECK_STR(events, " asked:0:6 sent:PASS_ABORT");
	refuse_records(false);
	done(p);
}

/* --- of a delta --------------------------------------------------------------------------- */

TEST(delta_within_a_disk)
{
	const struct compare_cursor middle = { .within = 2 * MIB }, to = { .within = 6 * MIB };
	struct pass *p = pass_of(WIRE_PASS_DELTA);
	struct err e = { 0 };

	p->whole = true;
	CHECK_EQ(end_delta_slice(p, &start, &middle, &e), 0);
	CHECK_STR(events, " sent:PASS_END dropped:0:0+2:recorded:0:7");
	events[0] = 0;
	CHECK_EQ(end_delta_slice(p, &middle, &to, &e), 0);
	CHECK_STR(events, " sent:PASS_END dropped:0:2+4:recorded:0:8");
	CHECK_EQ(p->plan.pass, 9);
	CHECK(!p->whole);
	done(p);
}

TEST(delta_over_disks)
{
	const struct compare_cursor from = { .within = 7 * MIB }, to = { .disk = 2, .within = MIB };
	struct pass *p = pass_of(WIRE_PASS_DELTA);
	struct err e = { 0 };

	CHECK_EQ(end_delta_slice(p, &from, &to, &e), 0);
	CHECK_STR(events, " sent:PASS_END dropped:0:7+1:recorded:0:7 dropped:1:0+4:recorded:0:7"
			  " dropped:2:0+1:recorded:0:7");
	done(p);
}

/* Behind the cursor nothing is dropped, whatever the map leaves out. */
TEST(delta_of_a_part)
{
	const struct compare_cursor to = { .disk = 0, .within = MIB };
	struct pass *p = pass_of(WIRE_PASS_DELTA);
	struct err e = { 0 };

	replace_map(p, 0, 3 * MIB, 4 * MIB);
	CHECK_EQ(end_delta_slice(p, &start, &to, &e), 0);
	CHECK_STR(events, " sent:PASS_END dropped:0:3+1:recorded:0:7");
	done(p);
}

TEST(delta_not_durable)
{
	const struct compare_cursor to = { .within = 6 * MIB };
	struct pass *p = pass_of(WIRE_PASS_DELTA);
	struct err e = { 0 };
	struct state state;

	answer_error = -ECONNRESET;
	CHECK_EQ(end_delta_slice(p, &start, &to, &e), -ECONNRESET);
	answer_error = 0;
	answers[0] = (struct wire_header){ .type = WIRE_PASS_DURABLE, .sequence = 6 };
	CHECK_EQ(end_delta_slice(p, &start, &to, &e), -EPROTO);
	CHECK_STR(events, " sent:PASS_END sent:PASS_END");
	state_file_get(file, &state);
	CHECK_EQ(state.last_pass, 0);
	CHECK_EQ(p->plan.pass, 7);
	done(p);
}

/* Known to be durable, but not for good. */
TEST(delta_not_recorded)
{
	const struct compare_cursor to = { .within = 6 * MIB };
	struct pass *p = pass_of(WIRE_PASS_DELTA);
	struct err e = { 0 };

	refuse_records(true);
	CHECK(end_delta_slice(p, &start, &to, &e) < 0);
	CHECK_STR(events, " sent:PASS_END");
	refuse_records(false);
	done(p);
}

UNIT_MAIN(T(initial_within_a_disk), T(initial_over_disks), T(initial_to_the_end_of_a_disk),
	  T(initial_below_what_stays), T(initial_unanswered), T(initial_answered_wrong),
	  T(initial_not_recorded), T(delta_within_a_disk), T(delta_over_disks), T(delta_of_a_part),
	  T(delta_not_durable), T(delta_not_recorded))
