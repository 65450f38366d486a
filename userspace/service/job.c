// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "../common/datetime.h"
#include "../common/log.h"
#include "job.h"
#include "job_object.h"
#include "task.h"

static void job_free(struct job *job)
{
	if (job->free_arg)
		job->free_arg(job->arg);
	pthread_mutex_destroy(&job->progress.lock);
	close(job->cancel_fd);
	free(job);
}

static void append(struct service *service, struct job *job)
{
	struct job **at = &service->jobs;

	while (*at)
		at = &(*at)->next;
	*at = job;
}

static unsigned int live(const struct service *service)
{
	const struct job *job;
	unsigned int count = 0;

	for (job = service->jobs; job; job = job->next)
		count += !job_ended(job);
	return count;
}

static struct job *allocate(struct service *service)
{
	struct job *job = live(service) < JOB_MAX_LIVE ? calloc(1, sizeof(*job)) : NULL;

	if (!job)
		return NULL;
	job->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (job->cancel_fd < 0) {
		free(job);
		return NULL;
	}
	return job;
}

struct job *job_new(struct service *service, const struct job_spec *spec)
{
	struct job *job = allocate(service);

	if (!job) {
		if (spec->free_arg)
			spec->free_arg(spec->arg);
		return NULL;
	}
	job->service = service;
	job->number = ++service->next_job;
	snprintf(job->path, sizeof(job->path), "/org/vmreplica/Job/%u", job->number);
	snprintf(job->vm, sizeof(job->vm), "%s", spec->vm);
	job->relationship = spec->relationship;
	job->run = spec->run;
	job->done = spec->done;
	job->arg = spec->arg;
	job->free_arg = spec->free_arg;
	pthread_mutex_init(&job->progress.lock, NULL);
	job->view.type = spec->type;
	job->view.state = JOB_STARTING;
	job->view.submitted_us = datetime_now_us();
	job->view.keep_us = JOB_KEEP_S * UINT64_C(1000000);
	/* What a removal has begun can only be finished. */
	job->view.cancellable = spec->type != JOB_REMOVE;
	append(service, job);
	job_object_added(job);
	return job;
}

static void run_in_thread(void *arg)
{
	struct job *job = arg;

	log_set_about(job->vm, job->number);
	job->rc = job->run(job, &job->err);
}

static void end(void *arg)
{
	struct job *job = arg;

	job->ended_us = service_now_us();
	job->view.cancellable = 0;
	if (!job->rc) {
		job->view.state = JOB_COMPLETED;
	} else if (job->cancel != JOB_GO_ON) {
		job->view.state = JOB_TERMINATED;
		err_set(&job->err, job->rc, "job %u was %s", job->number,
			job->cancel == JOB_CANCEL_SUSPEND ? "ended by suspending the replication" :
			job->cancel == JOB_CANCEL_REMOVE ? "ended by removing the replication" :
			job->cancel == JOB_CANCEL_SHUTDOWN ? "ended by the end of the service" : "cancelled");
	} else {
		job->view.state = JOB_EXCEPTION;
	}
	/* First the relationship, so that whoever sees the job's end sees its effect. */
	log_set_about(job->vm, job->number);
	job->done(job);
	log_set_about(NULL, 0);
	job_object_changed(job);
}

void job_begin(struct job *job)
{
	struct service *service = job->service;
	int rc;

	job->queued = false;
	job->begun_us = service_now_us();
	job->view.started_us = datetime_now_us();
	job->view.state = JOB_RUNNING;
	rc = task_start(service->loop, &service->tasks, run_in_thread, end, job);
	if (rc) {
		job->rc = err_sys(&job->err, rc, "cannot start a thread");
		end(job);
	}
}

void job_cancel(struct job *job, enum job_cancel why)
{
	job->cancel = why;
	eventfd_write(job->cancel_fd, 1);
	if (!job->queued)
		return;
	job->queued = false;
	job->rc = -ECANCELED;
	end(job);
}

bool job_ended(const struct job *job)
{
	return job->ended_us != 0;
}

void job_pass_ended(struct job *job)
{
	struct job_progress *sum = &job->progress;

	pthread_mutex_lock(&sum->lock);
	sum->total_bytes += atomic_exchange(&sum->pass.total_bytes, 0);
	sum->done_bytes += atomic_exchange(&sum->pass.done_bytes, 0);
	sum->zero_bytes += atomic_exchange(&sum->pass.zero_bytes, 0);
	sum->wire_bytes += atomic_exchange(&sum->pass.wire_bytes, 0);
	atomic_store(&sum->pass.frames, 0);
	atomic_store(&sum->pass.raw_bytes, 0);
	pthread_mutex_unlock(&sum->lock);
}

bool job_is_transfer(const struct job *job)
{
	switch (job->view.type) {
	case JOB_INITIAL:
	case JOB_DELTA:
	case JOB_RESYNC:
	case JOB_VERIFY:
	case JOB_EXPORT:
	case JOB_PREPARE:
		return true;
	default:
		return false;
	}
}

struct job *job_find(struct service *service, const char *path)
{
	struct job *job = service->jobs;

	while (job && strcmp(job->path, path))
		job = job->next;
	return job;
}

struct job *job_of_vm(struct service *service, const char *vm)
{
	struct job *job = service->jobs;

	while (job && (job_ended(job) || strcmp(job->vm, vm)))
		job = job->next;
	return job;
}

bool job_any_running(const struct service *service)
{
	const struct job *job = service->jobs;

	while (job && job_ended(job))
		job = job->next;
	return job != NULL;
}

static void refresh_progress(struct job *job)
{
	struct job_progress *sum = &job->progress;
	struct job_view *view = &job->view;

	pthread_mutex_lock(&sum->lock);
	view->total_bytes = sum->total_bytes + atomic_load(&sum->pass.total_bytes);
	view->done_bytes = sum->done_bytes + atomic_load(&sum->pass.done_bytes);
	view->zero_bytes = sum->zero_bytes + atomic_load(&sum->pass.zero_bytes);
	view->wire_bytes = sum->wire_bytes + atomic_load(&sum->pass.wire_bytes);
	pthread_mutex_unlock(&sum->lock);
}

static const char *phase(const struct job *job)
{
	if (job_ended(job))
		return "ended";
	if (job->view.state == JOB_NEW)
		return "waiting for its time";
	if (job->view.state == JOB_STARTING)
		return job->queued ? "waiting for its turn among the transfers" : "waiting";
	switch (job->view.type) {
	case JOB_CREATE:
	case JOB_REVERSE:
		return "looking at disks and replica";
	case JOB_REMOVE:
		return "removing";
	case JOB_TEST_CONNECTION:
		return "asking the replica";
	case JOB_FAILOVER:
	case JOB_REVERT:
	case JOB_COMMIT:
	case JOB_TEST:
	case JOB_END_TEST:
		return "changing the store";
	default:
		return pass_phase_name(atomic_load(&job->phase));
	}
}

void job_refresh(struct job *job)
{
	struct job_view *view = &job->view;
	uint64_t until = job->ended_us ? job->ended_us : service_now_us();

	refresh_progress(job);
	/* 100 is only said of what is done. */
	view->percent = view->total_bytes ? view->done_bytes * 100.0 / view->total_bytes : 0;
	if (view->percent > 99)
		view->percent = 99;
	if (view->state == JOB_COMPLETED)
		view->percent = 100;
	view->elapsed_us = job->begun_us ? until - job->begun_us : 0;
	view->vm = job->vm;
	/* Until the end it belongs to the job's thread. */
	view->error = job_ended(job) ? job->err.text : "";
	view->error_code = view->state == JOB_EXCEPTION || view->state == JOB_TERMINATED ?
			   service_code_of(job->rc) : 0;
	view->phase = phase(job);
	view->pass = atomic_load(&job->pass);
	view->passes = atomic_load(&job->passes);
	view->point_time_us = atomic_load(&job->point_time_us);
	view->disk_bytes = atomic_load(&job->disk_bytes);
}

static void drop(struct service *service, struct job **at)
{
	struct job *job = *at;

	job_object_removed(job);	/* while it can still be found */
	*at = job->next;
	job_free(job);
}

void job_expire(struct service *service)
{
	uint64_t now = service_now_us();
	unsigned int ended = 0;
	struct job **at, *job;

	for (job = service->jobs; job; job = job->next)
		ended += job_ended(job);
	for (at = &service->jobs; *at; ) {
		job = *at;
		if (job_ended(job) && (ended > JOB_MAX_ENDED ||
				       now - job->ended_us > JOB_KEEP_S * UINT64_C(1000000))) {
			drop(service, at);
			ended--;
		} else {
			at = &job->next;
		}
	}
}

void job_free_all(struct service *service)
{
	while (service->jobs)
		drop(service, &service->jobs);
}
