// SPDX-License-Identifier: GPL-2.0-or-later
#include "../common/datetime.h"
#include "job_object.h"
#include "pace.h"
#include "queue.h"

static unsigned int transfers(const struct service *service)
{
	const struct job *job;
	unsigned int count = 0;

	for (job = service->jobs; job; job = job->next)
		count += job_is_transfer(job) && job->begun_us && !job_ended(job);
	return count;
}

static bool may_begin(struct service *service, struct job *job)
{
	if (job->view.scheduled_us > datetime_now_us())
		return false;
	if (job->view.state == JOB_NEW) {
		job->view.state = JOB_STARTING;
		job_object_changed(job);
	}
	return !job_is_transfer(job) || transfers(service) < service->config.max_transfers;
}

void queue_run(struct service *service)
{
	bool begun = false;
	struct job *job;

	for (job = service->jobs; job && !service->stopping; job = job->next) {
		if (!job->queued || !may_begin(service, job))
			continue;
		job_begin(job);
		begun = true;
	}
	if (begun)
		pace_apply(service);
}

void queue_move(struct job *job, uint64_t start_us)
{
	job->view.scheduled_us = start_us;
	job->view.state = start_us > datetime_now_us() ? JOB_NEW : JOB_STARTING;
	job_object_changed(job);
	queue_run(job->service);
}

void queue_put(struct job *job, uint64_t start_us)
{
	job->queued = true;
	queue_move(job, start_us);
}
