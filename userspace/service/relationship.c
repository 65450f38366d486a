// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../common/datetime.h"
#include "../common/log.h"
#include "../primary/record.h"
#include "judge.h"
#include "queue.h"
#include "relationship.h"
#include "relationship_object.h"
#include "schedule.h"
#include "work.h"

#define LOOK_PERIOD_US	200000
#define LOOK_AGAIN_US	5000000		/* without a tracker: the kernel tries to load it */
#define KEEP_PEER_US	10000000	/* the session is kept for a pass that is due within that */
#define FIRST_BACKOFF_S	5
#define MAX_BACKOFF_S	60

static struct relationship *add(struct service *service, enum relationship_mode mode)
{
	struct relationship *r = calloc(1, sizeof(*r)), **at = &service->relationships;

	if (!r)
		return NULL;
	r->service = service;
	r->mode = mode;
	peer_init(&r->peer);
	r->number = ++service->next_relationship;
	snprintf(r->path, sizeof(r->path), "/org/vmreplica/Relationship/%u", r->number);
	while (*at)
		at = &(*at)->next;
	*at = r;
	return r;
}

void relationship_due_now(struct relationship *r)
{
	r->due_us = r->cycle_us = service_now_us();
}

struct relationship *relationship_new_primary(struct service *service, struct state_file *file)
{
	struct relationship *r = add(service, RELATIONSHIP_PRIMARY);

	if (!r)
		return NULL;
	r->file = file;
	/* A pass at once: what was unfinished goes on, what is wrong shows. */
	relationship_due_now(r);
	relationship_refresh(r);
	relationship_object_added(r);
	return r;
}

struct relationship *relationship_new_damaged(struct service *service, const char *vm,
					      const char *damage)
{
	struct relationship *r = add(service, RELATIONSHIP_PRIMARY);

	if (!r)
		return NULL;
	snprintf(r->state.vm, sizeof(r->state.vm), "%s", vm);
	snprintf(r->damage, sizeof(r->damage), "%s", damage);
	relationship_refresh(r);
	relationship_object_added(r);
	return r;
}

struct relationship *relationship_new_replica(struct service *service,
					      const struct replica_status *status)
{
	struct relationship *r = add(service, RELATIONSHIP_REPLICA);

	if (!r)
		return NULL;
	r->status = *status;
	relationship_refresh(r);
	relationship_object_added(r);
	return r;
}

void relationship_free(struct relationship *r)
{
	struct relationship **at = &r->service->relationships;

	relationship_object_removed(r);
	while (*at != r)
		at = &(*at)->next;
	*at = r->next;
	peer_close(&r->peer);
	state_file_close(r->file);
	free(r);
}

void relationship_free_all(struct service *service)
{
	while (service->relationships)
		relationship_free(service->relationships);
}

struct relationship *relationship_find(struct service *service, const char *vm,
				       enum relationship_mode mode)
{
	struct relationship *r = service->relationships;

	while (r && (r->mode != mode ||
		     strcmp(mode == RELATIONSHIP_PRIMARY ? r->state.vm : r->status.vm, vm)))
		r = r->next;
	return r;
}

struct relationship *relationship_at(struct service *service, const char *path)
{
	struct relationship *r = service->relationships;

	while (r && strcmp(r->path, path))
		r = r->next;
	return r;
}

/* --- refresh --------------------------------------------------------------------- */

/* Asks the kernel how the disks stand: a few netlink messages. */
static void look(struct relationship *r)
{
	struct service *service = r->service;
	uint64_t pause = r->no_tracker ? LOOK_AGAIN_US : LOOK_PERIOD_US;
	struct err why = { 0 };
	int rc = 0;

	if (r->looked_us && service_now_us() - r->looked_us < pause)
		return;
	r->looked_us = service_now_us();
	r->track_error[0] = 0;
	if (!service->cbt)
		rc = track_open(&service->cbt, &why);
	r->no_tracker = rc == -ENOENT;
	if (rc) {
		r->track.disk_count = 0;
		strcpy(r->track_error, why.text);
		return;
	}
	rc = track_get(service->cbt, &r->state, &r->track, &why);
	if (!rc)
		return;
	/* The handle may be older than the module. */
	cbt_close(service->cbt);
	service->cbt = NULL;
	r->track.disk_count = 0;
	/* No group: the next pass makes it and says what follows from that. */
	if (rc != -ENOENT)
		strcpy(r->track_error, why.text);
}

static void refresh_tracking(struct relationship *r)
{
	const char *untracked = relationship_untracked(r);
	struct relationship_view *view = &r->view;
	unsigned int i;

	view->tracking = untracked ? "compare" : "blkcbt";
	view->tracking_reason = untracked ? untracked : "";
	view->pending_bytes = 0;
	for (i = 0; i < r->track.disk_count; i++)
		view->pending_bytes +=
			r->track.disks[i].dirty_chunks * r->track.disks[i].chunk_bytes;
	if (untracked)
		view->pending_bytes = RELATIONSHIP_UNKNOWN_BYTES;
}

static void refresh_primary(struct relationship *r)
{
	struct relationship_view *view = &r->view;
	const struct state *state = &r->state;

	if (r->file) {
		state_file_get(r->file, &r->state);
		look(r);
	}
	view->vm = state->vm;
	view->uuid = state->relationship;
	view->host = state->host;
	view->port = state->port;
	view->interval_s = state->interval_s;
	view->compress = state->compress;
	view->rate = state->rate;
	view->history = state->history.points;
	view->history_spacing_s = state->history.spacing_s;
	view->auto_resync = state->auto_resync.enabled;
	view->start_time_us = state->start_time_us;
	view->last_sent_time_us = state->last_sent_time_us;
	view->last_type = state->last_point ? 1 : 0;
	view->initial_complete = state->initial_complete;
	view->job = r->job ? r->job->path : "/";
	view->last_pass = state->last_pass;
	view->last_point = state->last_point;
	view->last_point_time_us = state->last_point_time_us;
	view->passes = state->statistics.passes;
	view->failures = state->statistics.failures;
	view->bytes = state->statistics.bytes;
	view->wire_bytes = state->statistics.wire_bytes;
	view->last_bytes = state->statistics.last_bytes;
	view->last_wire_bytes = state->statistics.last_wire_bytes;
	view->last_milliseconds = state->statistics.last_milliseconds;
	refresh_tracking(r);
}

/* A host may be the replica of its own, by the same relationship. */
static bool is_reversed(const struct relationship *r)
{
	const struct relationship *primary =
		relationship_find(r->service, r->status.vm, RELATIONSHIP_PRIMARY);

	return primary && strcmp(primary->state.relationship, r->status.relationship);
}

static void refresh_replica(struct relationship *r)
{
	struct relationship_view *view = &r->view;
	const struct replica_status *status = &r->status;

	view->vm = status->vm;
	view->uuid = status->relationship;
	view->host = view->tracking = view->tracking_reason = "";
	view->job = r->job ? r->job->path : "/";
	view->connected = status->connected;
	view->released = status->released;
	view->initial_complete = status->points > 0;
	view->last_pass = status->last_pass;
	view->last_point_time_us = status->last_point_time_us;
	view->points = status->points;
	view->tests = status->tests;
	view->used_bytes = status->used_bytes;
	view->failover_point = status->failover.pass;
	view->reversed = is_reversed(r);
	view->receiving_pass = status->receiving_pass;
	view->receiving_done_bytes = status->receiving_done_bytes;
	view->receiving_total_bytes = status->receiving_total_bytes;
}

void relationship_refresh(struct relationship *r)
{
	r->view.relationship = r;
	r->view.mode = r->mode;
	if (r->mode == RELATIONSHIP_PRIMARY)
		refresh_primary(r);
	else
		refresh_replica(r);
	judge(r);
	r->view.reason = r->view.issue_count ? r->view.issues[0].text : "";
}

bool relationship_scheduled(const struct relationship *r)
{
	return r->mode == RELATIONSHIP_PRIMARY && r->file && !r->job && !r->removal &&
	       !r->service->stopping && !r->state.suspended && !r->state.prepared &&
	       (r->state.start_wanted || r->state.initial_complete);
}

/* --- cycles ------------------------------------------------------------------------- */

/* What begins half an interval late or more has missed its cycle. */
static uint64_t cycles_between(const struct relationship *r, uint64_t due_us, uint64_t begun_us)
{
	uint64_t interval_us = r->state.interval_s * UINT64_C(1000000);

	if (due_us < r->judged_us)
		due_us = r->judged_us;
	return begun_us > due_us ? (begun_us - due_us + interval_us / 2) / interval_us : 0;
}

uint64_t relationship_missed(const struct relationship *r)
{
	uint64_t missed, next, now = service_now_us();

	if (!r->file || r->state.suspended || r->state.prepared || !r->state.initial_complete)
		return 0;
	if (!r->job || !r->job->begun_us)
		return cycles_between(r, r->cycle_us, now);
	missed = cycles_between(r, r->cycle_us, r->job->begun_us);
	next = r->job->begun_us + r->state.interval_s * UINT64_C(1000000);
	return missed + cycles_between(r, next, now);
}

int relationship_judge_cycles(struct relationship *r, struct err *e)
{
	uint64_t missed = relationship_missed(r);
	int rc = missed ? record_missed(r->file, missed, e) : 0;

	if (!rc)
		r->judged_us = service_now_us();
	return rc;
}

/* A pass that began at @begun_us is durable: the next cycle is one interval after it. */
static void next_cycle(struct relationship *r, const struct job *job)
{
	uint64_t missed = job->view.type == JOB_DELTA ?
				  cycles_between(r, r->cycle_us, job->begun_us) : 0;
	struct err why = { 0 };

	if (missed && record_missed(r->file, missed, &why))
		log_warn("%s", why.text);
	r->begun_us = job->begun_us;
	r->due_us = r->cycle_us = job->begun_us + r->state.interval_s * UINT64_C(1000000);
	/* An initial replication takes as long as it takes. */
	if (job->view.type != JOB_DELTA && r->due_us < service_now_us())
		relationship_due_now(r);
}

/* --- passes ------------------------------------------------------------------------- */

static void start_not_wanted(struct relationship *r)
{
	struct err why = { 0 };

	if ((r->state.start_wanted || r->state.start_time_us || r->state.resync_wanted) &&
	    relationship_clear_start(r, &why))
		log_err("%s", why.text);
}

static void on_success(struct relationship *r, struct job *job)
{
	if (r->failure[0])
		log_notice("%s: replication goes on", r->state.vm);
	r->failure[0] = r->warning[0] = 0;
	r->failures = 0;
	start_not_wanted(r);
	next_cycle(r, job);
}

static void on_no_point(struct relationship *r, struct job *job)
{
	if (!r->warning[0])
		log_warn("%s", job->err.text);
	r->failure[0] = 0;
	r->failures = 0;
	snprintf(r->warning, sizeof(r->warning), "%s", job->err.text);
	start_not_wanted(r);
	next_cycle(r, job);
}

static uint64_t backoff_us(const struct relationship *r)
{
	uint64_t most = r->state.interval_s < MAX_BACKOFF_S ? r->state.interval_s : MAX_BACKOFF_S;
	uint64_t pause = FIRST_BACKOFF_S << (r->failures < 8 ? r->failures - 1 : 7);

	if (most < FIRST_BACKOFF_S)
		most = FIRST_BACKOFF_S;
	return (pause < most ? pause : most) * UINT64_C(1000000);
}

static void on_failure(struct relationship *r, struct job *job)
{
	/* A failure that lasts is said once. */
	if (strcmp(r->failure, job->err.text))
		log_err("%s: %s", r->state.vm, job->err.text);
	snprintf(r->failure, sizeof(r->failure), "%s", job->err.text);
	r->failures++;
	r->due_us = service_now_us() + backoff_us(r);
}

static void on_pass_end(struct job *job)
{
	struct relationship *r = job->relationship;
	const struct work_replicate *work = job->arg;

	r->job = NULL;
	r->looked_us = 0;
	relationship_refresh(r);
	if (!job->rc) {
		on_success(r, job);
	} else if (job->cancel == JOB_CANCEL_USER) {
		start_not_wanted(r);
		relationship_due_now(r);
		r->due_us += r->state.interval_s * UINT64_C(1000000);
		r->cycle_us = r->due_us;
	} else if (job->cancel != JOB_GO_ON ||
		   (job->view.type == JOB_PREPARE && job->rc == -EBUSY)) {
		/* The machine runs, and its replication goes on. */
		r->due_us = service_now_us();
	} else if (work->no_point) {
		on_no_point(r, job);
	} else {
		on_failure(r, job);
	}
	relationship_refresh(r);
	relationship_object_changed(r);
	/* Not for long: the replica can serve so many primaries at a time. */
	if (!relationship_scheduled(r) || r->due_us > service_now_us() + KEEP_PEER_US)
		peer_close(&r->peer);
	schedule_wake(r->service);
	if (r->removal && !r->service->stopping)
		relationship_begin_removal(r);
}

void relationship_begin_removal(struct relationship *r)
{
	peer_close(&r->peer);
	r->job = r->removal;
	job_begin(r->removal);
}

/* By itself, now? */
static bool may_resync(const struct relationship *r)
{
	const struct state_auto *window = &r->state.auto_resync;

	return window->enabled &&
	       datetime_in_window(window->from, window->to, datetime_minute(datetime_now_us()));
}

enum job_type relationship_next_pass(const struct relationship *r)
{
	if (r->state.start_wanted)
		return JOB_INITIAL;
	if (r->state.resync_wanted || r->state.comparing)
		return JOB_RESYNC;
	return track_untrusted(&r->track) && may_resync(r) ? JOB_RESYNC : JOB_DELTA;
}

/* What the job is called: the first copy onto a medium has a type of its own. */
static enum job_type job_type_of(const struct relationship *r, enum job_type type)
{
	bool exports = r->state.initial_type == STATE_INITIAL_EXPORT && !r->state.initial_complete;

	return type == JOB_INITIAL && exports ? JOB_EXPORT : type;
}

static struct work_replicate *new_work(struct relationship *r, enum job_type type)
{
	struct work_replicate *work = calloc(1, sizeof(*work));

	if (!work)
		return NULL;
	work->file = r->file;
	work->peer = &r->peer;
	work->allow_compare = type != JOB_VERIFY && may_resync(r);
	/* Once complete, only what was asked for in so many words sends all again. */
	work->allow_full = type == JOB_INITIAL && r->state.initial_type != STATE_INITIAL_SEEDED;
	if (type == JOB_VERIFY) {
		work->verify = verify_new();
		if (!work->verify) {
			free(work);
			return NULL;
		}
	}
	return work;
}

static int (*run_of(enum job_type type))(struct job *job, struct err *e)
{
	switch (type) {
	case JOB_PREPARE:
		return work_prepare;
	case JOB_VERIFY:
		return work_verify;
	default:
		return work_replicate;
	}
}

/* Only what may have been put off has a time to begin at. */
static uint64_t start_of(const struct relationship *r, enum job_type type)
{
	return type == JOB_INITIAL || type == JOB_RESYNC ? r->state.start_time_us : 0;
}

struct job *relationship_start_pass(struct relationship *r, enum job_type type)
{
	struct work_replicate *work = new_work(r, type);
	struct job_spec spec = {
		.type = job_type_of(r, type),
		.vm = r->state.vm,
		.relationship = r,
		.run = run_of(type),
		.done = on_pass_end,
		.arg = work,
		.free_arg = work_replicate_free,
	};
	struct job *job;

	if (!work)
		return NULL;
	job = job_new(r->service, &spec);
	if (!job)
		return NULL;
	r->job = job;
	queue_put(job, start_of(r, type));
	relationship_object_changed(r);
	return job;
}
