// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../common/format.h"
#include "../common/log.h"
#include "../primary/export.h"
#include "../primary/pass.h"
#include "../primary/planned.h"
#include "../primary/record.h"
#include "../primary/track.h"
#include "../primary/untracked.h"
#include "../store/failover.h"
#include "work.h"

#define DELETE_TRIES		50	/* for the replica to notice that its primary hung up */
#define DELETE_PAUSE_MS		100

static uint64_t disk_bytes(const struct state *state)
{
	uint64_t bytes = 0;
	unsigned int i;

	for (i = 0; i < state->disk_count; i++)
		bytes += state->disks[i].size_bytes;
	return bytes;
}

/* --- create ------------------------------------------------------------------ */

/* Each pass compares all of the disks then. What was tracked of some of them is of no use. */
static int do_without(struct state *state, struct cbt *cbt, struct track *track, const char *why,
		      struct err *e)
{
	snprintf(state->untracked, sizeof(state->untracked), "%.*s", STATE_REASON_BYTES - 1, why);
	log_warn("%s: changes are not tracked, each pass compares all of the disks: %s", state->vm, why);
	if (cbt)
		track_remove(cbt, state->relationship, NULL);
	return untracked_get(state, track, e);
}

/* Nothing of the tracking stays after a failure. */
static int track_new(struct work_create *create, struct err *e)
{
	struct state *state = &create->state;
	struct track *track = calloc(1, sizeof(*track));
	struct cbt *cbt = NULL;
	struct err why = { 0 };
	bool cannot = false;
	unsigned int i;
	int rc = track ? track_try(&cbt, state, false, track, &cannot, &why) :
			 err_sys(&why, -ENOMEM, "cannot track the disks of %s", state->vm);

	if (rc && !cannot)
		err_set(e, rc, "%s", why.text);
	if (cannot)
		rc = do_without(state, cbt, track, why.text, e);
	for (i = 0; !rc && i < state->disk_count; i++) {
		state->disks[i].size_bytes = track->disks[i].size_bytes;
		state->disks[i].chunk_bytes = track->disks[i].chunk_bytes;
	}
	if (!rc)
		rc = state_file_create(create->dir, state, &create->file, e);
	if (rc && cbt)
		track_remove(cbt, state->relationship, NULL);
	if (cbt)
		cbt_close(cbt);
	free(track);
	return rc;
}

/* What is replicated back has the names that it came with, so that it meets what is there. */
static int take_names(struct work_create *create, struct err *e)
{
	struct state *state = &create->state;
	struct store_writables list;
	int rc = store_writables(create->replica_dir, state->vm, &list, e);
	unsigned int i;

	if (rc)
		return rc;
	if (!list.count || list.at[0].name[0])
		rc = err_set(e, -EINVAL, "%s is no longer failed over", state->vm);
	else if (list.at[0].disk_count != state->disk_count)
		rc = err_set(e, -EINVAL,
			     "%s has %u disks, and %u were named: name all of them, in the order of `vmreplica failover %s --list`",
			     state->vm, list.at[0].disk_count, state->disk_count, state->vm);
	for (i = 0; !rc && i < state->disk_count; i++)
		strcpy(state->disks[i].name, list.at[0].disks[i].name);
	store_writables_free(&list);
	return rc;
}

int work_create(struct job *job, struct err *e)
{
	struct work_create *create = job->arg;
	int rc = create->replica_dir ? take_names(create, e) : 0;

	if (!rc)
		rc = peer_probe(create->state.host, create->state.port, job->cancel_fd, e);
	return rc ? rc : track_new(create, e);
}

void work_create_free(void *arg)
{
	struct work_create *create = arg;

	state_file_close(create->file);
	free(create);
}

/* --- replicate ---------------------------------------------------------------- */

static void count_failure(struct state_file *file, int code)
{
	struct err why = { 0 };

	if (record_failure(file, code, &why))
		log_warn("%s", why.text);
}

static int no_point(const struct state *state, struct err *e)
{
	char when[FORMAT_BYTES];

	return err_set(e, -EAGAIN,
		       "all data of %s is on the replica, but the newest point is still %s: the disks were written while each of %d passes was read, so none is of one instant; the next pass tries again",
		       state->vm, state->last_point ? format_time_us(state->last_point_time_us, when) : "to come",
		       WORK_MAX_PASSES);
}

/* The first copy, onto a medium. Points come with the passes that follow. */
static int export_initial(struct job *job, struct work_replicate *work, struct err *e)
{
	const struct export_spec spec = {
		.file = work->file,
		.cancel_fd = job->cancel_fd,
		.progress = &job->progress.pass,
		.phase = &job->phase,
	};
	struct pass_result result = { 0 };
	int rc = export_run(&spec, &result, e);

	job_pass_ended(job);
	if (rc && job->cancel == JOB_GO_ON)
		count_failure(work->file, rc);
	atomic_store(&job->pass, result.pass);
	return rc;
}

int work_replicate(struct job *job, struct err *e)
{
	struct work_replicate *work = job->arg;
	struct pass_spec spec = {
		.file = work->file,
		.peer = work->peer,
		.allow_full = work->allow_full,
		.allow_compare = work->allow_compare,
		.cancel_fd = job->cancel_fd,
		.progress = &job->progress.pass,
		.phase = &job->phase,
	};
	struct pass_result result = { 0 };
	struct state state;
	unsigned int tries = 0;
	int rc;

	state_file_get(work->file, &state);
	atomic_store(&job->disk_bytes, disk_bytes(&state));
	if (state.initial_type == STATE_INITIAL_EXPORT && !state.initial_complete)
		return export_initial(job, work, e);
	while (tries < WORK_MAX_PASSES) {
		rc = pass_run(&spec, &result, e);
		job_pass_ended(job);
		if (rc) {
			if (job->cancel == JOB_GO_ON)
				count_failure(work->file, rc);
			return rc;
		}
		/* An initial pass takes long and is no point itself; a delta follows. */
		tries += !result.initial;
		atomic_store(&job->pass, result.pass);
		atomic_fetch_add(&job->passes, 1);
		if (result.whole && !result.initial) {
			atomic_store(&job->point_time_us, result.cut_time_us);
			return 0;
		}
	}
	state_file_get(work->file, &state);
	work->no_point = true;
	return no_point(&state, e);
}

void work_replicate_free(void *arg)
{
	struct work_replicate *work = arg;

	verify_free(work->verify);
	free(work);
}

static void tell_found(const struct verify *verify, struct err *e)
{
	const struct verify_place *first = &verify->places[0];
	char all[FORMAT_BYTES];

	err_set(e, 0,
		"%s in %" PRIu64 " places of the replica differed and were sent again; the first is %" PRIu64
		" bytes at %" PRIu64 " of %s. Look for the cause there; older points may have it as well",
		format_bytes(verify->bytes, all), verify->place_count, first->length, first->offset,
		first->disk);
}

/* A slice, and a pass behind it that also repairs, until all of the disks has been compared. */
static int verify_all(struct job *job, struct work_replicate *work, struct pass_result *result,
		      struct err *e)
{
	const struct pass_spec spec = {
		.file = work->file,
		.peer = work->peer,
		.verify = work->verify,
		.cancel_fd = job->cancel_fd,
		.progress = &job->progress.pass,
		.phase = &job->phase,
	};
	int rc = 0;

	while (!rc && !work->verify->ended) {
		rc = pass_run(&spec, result, e);
		if (rc)
			break;
		atomic_store(&job->pass, result->pass);
		atomic_fetch_add(&job->passes, 1);
	}
	job_pass_ended(job);
	if (rc && job->cancel == JOB_GO_ON)
		count_failure(work->file, rc);
	return rc;
}

int work_verify(struct job *job, struct err *e)
{
	struct work_replicate *work = job->arg;
	struct pass_result result = { 0 };
	int rc = verify_all(job, work, &result, e);

	if (rc)
		return rc;
	/* What repairs is not whole. */
	if (result.whole)
		atomic_store(&job->point_time_us, result.cut_time_us);
	else
		rc = work_replicate(job, e);
	if (!rc && work->verify->place_count)
		tell_found(work->verify, e);
	return rc;
}

int work_prepare(struct job *job, struct err *e)
{
	struct work_replicate *work = job->arg;
	struct planned planned;
	struct state state;
	int rc;

	state_file_get(work->file, &state);
	rc = planned_hold(&planned, &state, e);
	if (rc)
		return rc;
	rc = work_replicate(job, e);
	if (!rc)
		rc = planned_check_clean(&state, e);
	if (!rc)
		rc = record_prepared(work->file, true, e);
	planned_let_go(&planned);
	return rc;
}

/* --- remove -------------------------------------------------------------------- */

static int untrack(const struct state *state, struct err *e)
{
	struct cbt *cbt;
	int rc = track_open(&cbt, e);

	if (rc == -ENOENT)	/* without the module nothing is tracked */
		return 0;
	if (!rc) {
		rc = track_remove(cbt, state->relationship, e);
		cbt_close(cbt);
	}
	return rc;
}

static int remove_primary(struct job *job, struct state_file *file, struct err *e)
{
	struct err why = { 0 };
	struct state state;
	int rc;

	state_file_get(file, &state);
	if (state.replica_opened && peer_release(&state, job->cancel_fd, &why)) {
		/* The service is being stopped: half of it done, the replica would never know. */
		if (job->cancel != JOB_GO_ON)
			return err_set(e, -ECANCELED, "%s", why.text);
		why.code = -EIO;
	}
	rc = untrack(&state, e);
	if (!rc)
		rc = state_file_remove(file, e);
	if (!rc && why.code)
		err_set(e, 0, "the replica %s could not be told and still waits for passes: %.250s",
			state.host, why.text);
	return rc;
}

static int delete_points(struct job *job, struct replica *replica, struct err *e)
{
	struct err why = { 0 };
	unsigned int i;
	int rc = -EBUSY;

	for (i = 0; rc == -EBUSY && i < DELETE_TRIES; i++) {
		if (i)
			poll(NULL, 0, DELETE_PAUSE_MS);
		rc = replica_delete(replica, job->vm, &why);
	}
	return rc ? err_set(e, rc, "%s", why.text) : 0;
}

int work_remove(struct job *job, struct err *e)
{
	struct work_remove *work = job->arg;
	int rc = work->file ? remove_primary(job, work->file, e) : 0;

	return rc || !work->replica ? rc : delete_points(job, work->replica, e);
}

/* --- import ----------------------------------------------------------------------- */

int work_import(struct job *job, struct err *e)
{
	struct replica_import_progress progress = {
		.total_bytes = &job->progress.pass.total_bytes,
		.done_bytes = &job->progress.pass.done_bytes,
	};
	struct work_import *work = job->arg;

	return replica_import(work->replica, job->vm, work->location, job->cancel_fd, &progress, e);
}

/* --- test of a connection ------------------------------------------------------- */

int work_test(struct job *job, struct err *e)
{
	const struct work_test *test = job->arg;

	return peer_probe(test->host, test->port, job->cancel_fd, e);
}
