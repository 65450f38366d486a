// SPDX-License-Identifier: GPL-2.0-or-later
#include <time.h>

#include "job.h"
#include "job_object.h"
#include "pace.h"
#include "queue.h"
#include "relationship.h"
#include "replicas.h"
#include "schedule.h"
#include "statistics.h"

#define TICK_US			1000000		/* at rest */
#define PROGRESS_TICK_US	250000		/* while a job runs */
#define ACCURACY_US		20000
#define RETRY_US		1000000		/* when not even a job could be made */

/* Returns when the next pass is due, if that is before @next. */
static uint64_t start_due(struct service *service, uint64_t next)
{
	struct relationship *r;

	for (r = service->relationships; r; r = r->next) {
		if (!relationship_scheduled(r))
			continue;
		if (r->due_us <= service_now_us() &&
		    !relationship_start_pass(r, relationship_next_pass(r)))
			r->due_us = service_now_us() + RETRY_US;
		if (relationship_scheduled(r) && r->due_us < next)
			next = r->due_us;
	}
	return next;
}

static void signal_progress(struct service *service)
{
	struct job *job;

	for (job = service->jobs; job; job = job->next) {
		if (job->view.state == JOB_RUNNING)
			job_object_changed(job);
	}
}

static int on_tick(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct service *service = userdata;
	uint64_t next;

	signal_progress(service);
	job_expire(service);
	replicas_look(service);
	statistics_roll(service);
	queue_run(service);
	pace_apply(service);
	next = start_due(service, service_now_us() + TICK_US);
	if (job_any_running(service) && next > service_now_us() + PROGRESS_TICK_US)
		next = service_now_us() + PROGRESS_TICK_US;
	sd_event_source_set_time(source, next);
	sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
	return 0;
}

int schedule_start(struct service *service)
{
	int rc = sd_event_add_time(service->loop, &service->tick, CLOCK_MONOTONIC, service_now_us(),
				   ACCURACY_US, on_tick, service);

	return rc < 0 ? rc : on_tick(service->tick, service_now_us(), service);
}

void schedule_wake(struct service *service)
{
	if (!service->tick)	/* relationships are being loaded: it will run */
		return;
	sd_event_source_set_time(service->tick, service_now_us());
	sd_event_source_set_enabled(service->tick, SD_EVENT_ONESHOT);
}
