// SPDX-License-Identifier: GPL-2.0-or-later
/* State and health of a relationship, by Hyper-V's rules. */
#include <stdlib.h>
#include <string.h>

#include "../../userspace/service/judge.c"
#include "unit.h"

static uint64_t missed_now;	/* since the last pass began */

uint64_t relationship_missed(const struct relationship *r)
{
	return missed_now;
}

/* One that replicates well. */
static struct relationship *well(void)
{
	static struct relationship r;

	missed_now = 0;
	memset(&r, 0, sizeof(r));
	r.mode = RELATIONSHIP_PRIMARY;
	r.file = (struct state_file *)&r;	/* there is one; it is not looked at */
	strcpy(r.state.vm, "vm1");
	r.state.interval_s = 300;
	r.state.initial_complete = true;
	r.state.last_point = 7;
	r.state.last_sent_time_us = datetime_now_us() - 1000000;
	r.state.period.since_us = 1;
	r.state.period.passes = 100;
	r.state.period.milliseconds = 100000;
	return &r;
}

static void expect(struct relationship *r, unsigned int state, unsigned int health,
		   const char *reason)
{
	judge(r);
	CHECK_EQ(r->view.state, state);
	CHECK_EQ(r->view.health, health);
	CHECK_EQ(r->view.issue_count > 0, reason[0] != 0);
	if (!r->view.issue_count || strstr(r->view.issues[0].text, reason))
		return;
	CHECK(!"the reason is another one");
	printf("# %s\n", r->view.issues[0].text);
}

TEST(ok)
{
	expect(well(), 3, 1, "");
}

TEST(a_fifth_of_the_cycles_missed)
{
	struct relationship *r = well();

	r->state.period.missed = 25;	/* 25 of 125 */
	expect(r, 3, 1, "");
	missed_now = 1;
	expect(r, 3, 2, "26 of 126 cycles");
	r->state.period = (struct state_period){ .since_us = 1, .passes = 1, .missed = 3 };
	missed_now = 0;
	expect(r, 3, 1, "");
	missed_now = 1;
	expect(r, 3, 2, "4 of 5 cycles");
}

TEST(nothing_sent_for_an_hour)
{
	struct relationship *r = well();

	r->state.last_sent_time_us = datetime_now_us() - 3590 * UINT64_C(1000000);
	expect(r, 3, 1, "");
	r->state.last_sent_time_us = datetime_now_us() - 3610 * UINT64_C(1000000);
	expect(r, 3, 2, "nothing was sent for 1 h");
	r->state.interval_s = 7200;
	expect(r, 3, 1, "");
	r->state.last_sent_time_us = datetime_now_us() - 10900 * UINT64_C(1000000);
	expect(r, 3, 2, "nothing was sent for 3 h");
}

TEST(latency_of_five_minutes)
{
	struct relationship *r = well();

	r->state.period.milliseconds = 100 * 300000;
	expect(r, 3, 1, "");
	r->state.period.milliseconds += 100;
	expect(r, 3, 2, "300 s on average");
}

TEST(paused_and_failing)
{
	struct relationship *r = well();

	r->state.suspended = true;
	strcpy(r->failure, "no link");
	expect(r, 7, 2, "suspended");
	r->state.comparing = true;
	expect(r, 11, 2, "suspended");
	r->state.suspended = false;
	expect(r, 8, 3, "no link");
}

TEST(not_tracked)
{
	struct relationship *r = well();

	r->no_tracker = true;
	strcpy(r->track_error, "load it");
	expect(r, 3, 2, "compares all of the disks, and a point is of one instant only if nothing wrote meanwhile: load it");
	r->state.suspended = true;
	expect(r, 7, 2, "suspended: run");
	r->state.suspended = false;
	r->state.prepared = true;
	expect(r, 4, 3, "not known whether the disks were written");
	r->state.prepared = false;
	/* Of the last pass; that the tracker is there by now, and new, is no interruption. */
	r->no_tracker = false;
	r->track_error[0] = 0;
	strcpy(r->state.untracked, "zoned");
	r->track.disk_count = 1;
	r->track.disks[0].untrusted = 1;
	expect(r, 3, 2, "meanwhile: zoned");
	r->state.untracked[0] = 0;
	expect(r, 8, 3, "tracking was interrupted");
	/* Another failure to ask it is one. */
	r->track.disk_count = 0;
	strcpy(r->track_error, "no memory");
	expect(r, 8, 3, "no memory");
}

TEST(gravest_first)
{
	struct relationship *r = well();

	r->state.period.missed = 100;
	strcpy(r->warning, "no point of one instant");
	strcpy(r->failure, "no link");
	expect(r, 8, 3, "no link");
	CHECK_EQ(r->view.issue_count, 3);
	CHECK_STR(r->view.issues[1].text, "no point of one instant");
	CHECK(strstr(r->view.issues[2].text, "cycles"));
}

TEST(before_the_first_point)
{
	struct relationship *r = well();
	struct job job = { .view.state = JOB_NEW, .view.scheduled_us = UINT64_C(1790000000000000) };

	r->state.initial_complete = false;
	r->state.last_point = 0;
	expect(r, 1, 2, "vmreplica start-replication vm1");
	r->state.start_wanted = true;
	expect(r, 2, 2, "under way");
	r->job = &job;
	expect(r, 1, 2, "begins at 2026-09-21T");
	r->job = NULL;
	strcpy(r->failure, "no link");
	expect(r, 8, 3, "no link (the initial replication goes on");
}

TEST(damaged)
{
	struct relationship *r = well();

	r->file = NULL;
	strcpy(r->damage, "vm1.json is damaged");
	expect(r, 17, 3, "vm1.json is damaged");
}

UNIT_MAIN(T(ok), T(a_fifth_of_the_cycles_missed), T(nothing_sent_for_an_hour),
	  T(latency_of_five_minutes), T(paused_and_failing), T(not_tracked), T(gravest_first),
	  T(before_the_first_point), T(damaged))
