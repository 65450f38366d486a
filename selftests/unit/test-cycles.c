// SPDX-License-Identifier: GPL-2.0-or-later
/* Cycles that were missed are counted by the interval, and in the period, in which they were. */
#include <stdlib.h>
#include <unistd.h>

#include "../../userspace/service/relationship.c"
#include "../../userspace/service/relationship_change.c"
#include "unit.h"

#define SECOND UINT64_C(1000000)

static uint64_t now_us = 1000 * SECOND;

uint64_t service_now_us(void)
{
	return now_us;
}

void judge(struct relationship *r) { }
void queue_put(struct job *job, uint64_t start_us) { }
void schedule_wake(struct service *service) { }
void relationship_object_added(struct relationship *r) { }
void relationship_object_removed(struct relationship *r) { }
void relationship_object_changed(struct relationship *r) { }
void job_begin(struct job *job) { }
int work_replicate(struct job *job, struct err *e) { return 0; }
int work_prepare(struct job *job, struct err *e) { return 0; }
int work_verify(struct job *job, struct err *e) { return 0; }
void work_replicate_free(void *arg) { }
struct job *job_new(struct service *service, const struct job_spec *spec) { return NULL; }

static char dir[] = "/tmp/test-cycles.XXXXXX";

/* With a pass that began now, at an interval of a second. */
static struct relationship *begin(struct service *service)
{
	static struct state state;
	struct relationship *r;
	struct state_file *file;
	struct err e = { 0 };

	state = (struct state){ .vm = "vm1", .host = "replica", .port = 7766, .interval_s = 1,
				.initial_complete = true, .disk_count = 1,
				.disks = { { "vda", "/dev/vda", 1 << 20, 4096, 0 } } };
	state_new_uuid(state.relationship);
	CHECK(access(dir, F_OK) == 0 || mkdtemp(dir));
	CHECK_EQ(state_file_create(dir, &state, &file, &e), 0);
	r = relationship_new_primary(service, file);
	r->begun_us = now_us;
	r->cycle_us = r->due_us = now_us + SECOND;
	return r;
}

static void end(struct relationship *r)
{
	state_file_remove(r->file, NULL);
	relationship_free(r);
}

static void set_interval(struct relationship *r, uint32_t seconds)
{
	struct state state = r->state;
	struct err e = { 0 };

	state.interval_s = seconds;
	CHECK_EQ(relationship_modify(r, &state, &e), 0);
	relationship_refresh(r);
	CHECK_EQ(r->state.interval_s, seconds);
}

static uint64_t missed(struct relationship *r)
{
	relationship_refresh(r);
	return r->state.period.missed + relationship_missed(r);
}

TEST(longer_interval)
{
	struct service service = { 0 };
	struct relationship *r = begin(&service);

	now_us += 101 * SECOND;
	CHECK_EQ(missed(r), 100);
	set_interval(r, 3600);
	CHECK_EQ(missed(r), 100);
	now_us += 100 * SECOND;
	CHECK_EQ(missed(r), 100);
	set_interval(r, 1);
	CHECK_EQ(missed(r), 100);	/* those of the hour were none */
	now_us += 10 * SECOND;
	CHECK_EQ(missed(r), 110);
	end(r);
}

/* A pass fails while the interval changes, so that its cycle stays where it is. */
TEST(while_passes_fail)
{
	struct service service = { 0 };
	struct relationship *r = begin(&service);

	r->failures = 1;
	set_interval(r, 100);
	now_us += 1001 * SECOND;
	CHECK_EQ(missed(r), 10);
	set_interval(r, 1);
	CHECK_EQ(missed(r), 10);
	now_us += 5 * SECOND;
	CHECK_EQ(missed(r), 15);
	end(r);
}

TEST(new_period)
{
	struct service service = { 0 };
	struct relationship *r = begin(&service);
	struct err e = { 0 };

	now_us += 51 * SECOND;
	CHECK_EQ(missed(r), 50);
	CHECK_EQ(relationship_reset_statistics(r, &e), 0);
	CHECK_EQ(missed(r), 0);
	now_us += 3 * SECOND;
	CHECK_EQ(missed(r), 3);
	end(r);
}

UNIT_MAIN(T(longer_interval), T(while_passes_fail), T(new_period))
