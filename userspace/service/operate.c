// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../common/datetime.h"
#include "answer.h"
#include "imports.h"
#include "operate.h"
#include "queue.h"
#include "relationship.h"
#include "replicas.h"
#include "schedule.h"
#include "work.h"

#define MAX_AHEAD_US (7 * 86400 * UINT64_C(1000000))

enum requested_state {
	REQUEST_READY = 1,
	REQUEST_INITIAL = 2,
	REQUEST_REPLICATING = 3,
	REQUEST_SYNCED = 4,
	REQUEST_SUSPEND = 7,
	REQUEST_CANCEL_RESYNC = 9,
};

/* Nothing else works on it, and it is not suspended; or the answer has been given (*rc). */
static bool is_free(struct relationship *r, sd_bus_message *m, int *rc)
{
	const char *vm = r->state.vm;

	if (r->removal)
		*rc = answer_code(m, SERVICE_IN_USE, "%s is being removed", vm);
	else if (r->job)
		*rc = answer_code(m, SERVICE_IN_USE, "job %u works on %s already", r->job->number, vm);
	else if (r->state.suspended)
		*rc = answer_code(m, SERVICE_INVALID_STATE, "%s is suspended: run `vmreplica resume %s` first", vm,
				  vm);
	else if (r->state.prepared)
		*rc = answer_code(m, SERVICE_INVALID_STATE,
				  "%s is ready for a planned failover: run `vmreplica resume %s` first if it does not take place",
				  vm, vm);
	else
		return true;
	return false;
}

/* --- StartReplication ------------------------------------------------------------------ */

/* "": at once, 0. Else the answer has been given (*rc). */
static int read_start_time(sd_bus_message *m, const char *text, uint64_t *time_us, int *rc)
{
	uint64_t now = datetime_now_us();

	*time_us = 0;
	if (!text[0])
		return 0;
	if (datetime_parse(text, time_us))
		*rc = answer_code(m, SERVICE_INCORRECT_TYPE,
				  "'%.60s' is not a time: write 2026-01-31T18:30 (local), 2026-01-31T18:30Z (UTC), or CIM's form",
				  text);
	else if (*time_us < now)
		*rc = answer_code(m, SERVICE_INVALID_PARAMETER, "the start time %.60s is over", text);
	else if (*time_us > now + MAX_AHEAD_US)
		*rc = answer_code(m, SERVICE_INVALID_PARAMETER,
				  "the start time %.60s is more than 7 days ahead", text);
	else
		return 0;
	return -EINVAL;
}

/* True: it was answered, and *@rc is what to return. */
static bool refuse_export(sd_bus_message *m, const char *location, int *rc)
{
	struct stat st;

	if (location[0] != '/')
		*rc = answer_code(m, SERVICE_INVALID_PARAMETER,
				   "InitialReplicationExportLocation must be the absolute path of a directory, not '%.200s'",
				   location);
	else if (strlen(location) >= sizeof(((struct state *)NULL)->export_dir))
		*rc = answer_code(m, SERVICE_INVALID_PARAMETER, "the path of the directory is too long");
	else if (stat(location, &st) || !S_ISDIR(st.st_mode))
		*rc = answer_code(m, SERVICE_NOT_FOUND, "there is no directory %.200s", location);
	else
		return false;
	return true;
}

/* Another time for the job that waits for one. */
static int move(struct relationship *r, uint64_t start_us, sd_bus_message *m)
{
	struct err e = { 0 };

	if (relationship_set_start_time(r, start_us, &e))
		return answer_err(m, &e);
	queue_move(r->job, start_us);
	relationship_refresh(r);
	return answer_job(m, r->job);
}

static bool waits(const struct relationship *r, enum job_type type)
{
	return r->job && r->job->view.state == JOB_NEW && r->job->view.type == type && !r->removal;
}

static int start(struct relationship *r, enum state_initial type, uint64_t start_us,
		 const char *export_dir, sd_bus_message *m)
{
	const char *vm = r->state.vm;
	struct err e = { 0 };
	int rc;

	if (waits(r, JOB_INITIAL))
		return move(r, start_us, m);
	if (!is_free(r, m, &rc))
		return rc;
	if (r->state.initial_complete && r->view.state != RELATIONSHIP_CRITICAL)
		return answer_code(m, SERVICE_INVALID_STATE,
				   "the initial replication of %s is complete and changes are followed: for a pass at once, run `vmreplica replicate %s`",
				   vm, vm);
	if (relationship_set_start(r, type, start_us, export_dir, &e))
		return answer_err(m, &e);
	relationship_refresh(r);
	return answer_job(m, relationship_start_pass(r, JOB_INITIAL));
}

int operate_start(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	const char *vm, *location, *start_time;
	struct relationship *r;
	uint64_t start_us = 0;
	uint16_t type;
	int rc = sd_bus_message_read(m, "sqss", &vm, &type, &location, &start_time);

	if (rc < 0)
		return rc;
	if (type < STATE_INITIAL_NETWORK || type > STATE_INITIAL_SEEDED)
		return answer_code(m, SERVICE_INVALID_PARAMETER,
				   "there is no initial replication of type %u: 1 is network transfer, 2 export, 3 seeded network transfer",
				   type);
	/* An export begins at once. */
	if (type != STATE_INITIAL_EXPORT && read_start_time(m, start_time, &start_us, &rc))
		return rc;
	r = answer_unless_primary(userdata, m, vm, &rc);
	if (!r)
		return rc;
	if (type != STATE_INITIAL_EXPORT)
		location = "";
	else if (refuse_export(m, location, &rc))
		return rc;
	return start(r, type, start_us, location, m);
}

/* --- ImportInitialReplica, Resynchronize, Replicate ----------------------------------------- */

int operate_import(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	const char *vm, *location;
	struct service *service = userdata;
	struct err e = { 0 };
	struct job *job = NULL;
	int rc = sd_bus_message_read(m, "ss", &vm, &location);

	if (rc < 0)
		return rc;
	if (location[0] != '/')
		return answer_code(m, SERVICE_INVALID_PARAMETER,
				   "InitialReplicationImportLocation must be the absolute path of a directory, not '%.200s'",
				   location);
	if (!service->replica)
		return answer_code(m, SERVICE_NOT_AVAILABLE,
				   "this host keeps no replicas: import on the replica, or set `listen` in " CONFIG_FILE);
	if (!replicas_find(service, vm))
		return answer_code(m, SERVICE_NOT_FOUND, "this host has no replica of '%.64s'", vm);
	if (imports_any_of(service, vm))
		return answer_code(m, SERVICE_IN_USE, "the first copy of %s is being imported already", vm);
	if (strlen(location) > WORK_MAX_LOCATION)
		return answer_code(m, SERVICE_INVALID_PARAMETER, "the path of the directory is too long");
	if (imports_start(service, vm, location, &job, &e))
		return answer_err(m, &e);
	return answer_job(m, job);
}

static int resynchronize(struct relationship *r, uint64_t start_us, sd_bus_message *m)
{
	const char *vm = r->state.vm;
	struct err e = { 0 };
	int rc;

	if (waits(r, JOB_RESYNC))
		return move(r, start_us, m);
	if (!is_free(r, m, &rc))
		return rc;
	if (!r->state.initial_complete)
		return answer_code(m, SERVICE_INVALID_STATE,
				   "the initial replication of %s is not complete: run `vmreplica start-replication %s`",
				   vm, vm);
	/* Passes would have to wait with it. */
	if (start_us && r->view.state != RELATIONSHIP_CRITICAL)
		return answer_code(m, SERVICE_INVALID_STATE,
				   "%s replicates: a resynchronization of it can only begin at once", vm);
	if (relationship_set_resync(r, true, start_us, &e))
		return answer_err(m, &e);
	relationship_refresh(r);
	return answer_job(m, relationship_start_pass(r, JOB_RESYNC));
}

int operate_resynchronize(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	const char *vm, *start_time;
	struct relationship *r;
	uint64_t start_us;
	int rc = sd_bus_message_read(m, "ss", &vm, &start_time);

	if (rc < 0 || read_start_time(m, start_time, &start_us, &rc))
		return rc;
	r = answer_unless_primary(userdata, m, vm, &rc);
	return r ? resynchronize(r, start_us, m) : rc;
}

int operate_verify(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	struct relationship *r;
	const char *vm;
	int rc = sd_bus_message_read(m, "s", &vm);

	if (rc < 0)
		return rc;
	r = answer_unless_primary(userdata, m, vm, &rc);
	if (!r || !is_free(r, m, &rc))
		return rc;
	if (!r->state.initial_complete || r->state.medium_pass)
		return answer_code(m, SERVICE_INVALID_STATE,
				   "the initial replication of %s is not complete: there is nothing to verify yet", vm);
	if (relationship_untracked(r))
		return answer_code(m, SERVICE_INVALID_STATE,
				   "%s is not tracked, so that each pass compares all of it: run `vmreplica replicate %s`",
				   vm, vm);
	if (r->state.comparing || r->state.resync_wanted)
		return answer_code(m, SERVICE_INVALID_STATE,
				   "%s is to be resynchronized, which compares all of it: run `vmreplica resynchronize %s`",
				   vm, vm);
	return answer_job(m, relationship_start_pass(r, JOB_VERIFY));
}

int operate_replicate(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	struct relationship *r;
	const char *vm;
	int rc = sd_bus_message_read(m, "s", &vm);

	if (rc < 0)
		return rc;
	r = answer_unless_primary(userdata, m, vm, &rc);
	if (!r || !is_free(r, m, &rc))
		return rc;
	if (!r->state.initial_complete)
		return answer_code(m, SERVICE_INVALID_STATE,
				   "the initial replication of %s is not complete: run `vmreplica start-replication %s`",
				   vm, vm);
	return answer_job(m, relationship_start_pass(r, JOB_DELTA));
}

/* --- RequestReplicationStateChange ------------------------------------------------------ */

static int suspend(struct relationship *r, sd_bus_message *m)
{
	struct err e = { 0 };

	if (r->state.suspended)
		return answer_code(m, SERVICE_INVALID_STATE, "%s is suspended already", r->state.vm);
	if (!r->state.initial_complete && !r->state.start_wanted)
		return answer_code(m, SERVICE_INVALID_STATE,
				   "%s is not replicated yet, so there is nothing to suspend", r->state.vm);
	if (relationship_set_suspended(r, true, &e))
		return answer_err(m, &e);
	if (r->job)
		job_cancel(r->job, JOB_CANCEL_SUSPEND);
	return answer_done(m);
}

static int resume(struct relationship *r, sd_bus_message *m)
{
	struct err e = { 0 };

	if (!r->state.suspended && !r->state.prepared)
		return answer_code(m, SERVICE_INVALID_STATE, "%s is not suspended", r->state.vm);
	if (r->state.prepared && relationship_clear_prepared(r, &e))
		return answer_err(m, &e);
	if (r->state.suspended && relationship_set_suspended(r, false, &e))
		return answer_err(m, &e);
	relationship_refresh(r);
	schedule_wake(r->service);
	return answer_done(m);
}

/* Gives up an initial replication that was asked for; what the replica has of it stays. */
static int back_to_ready(struct relationship *r, sd_bus_message *m)
{
	struct err e = { 0 };

	if (r->state.initial_complete || !r->state.start_wanted)
		return answer_code(m, SERVICE_INVALID_STATE,
				   "no initial replication of %s is under way or waits for its time", r->state.vm);
	if (r->job)
		job_cancel(r->job, JOB_CANCEL_USER);
	else if (relationship_clear_start(r, &e))
		return answer_err(m, &e);
	return answer_done(m);
}

/*
 * What has begun can only go on, since what the disks hold has to be gone through: it is suspended
 * then, and resuming goes on where it was.
 */
static int cancel_resync(struct relationship *r, sd_bus_message *m)
{
	struct err e = { 0 };

	if (!r->state.resync_wanted && !r->state.comparing)
		return answer_code(m, SERVICE_INVALID_STATE, "%s is not being resynchronized", r->state.vm);
	if (r->state.comparing)
		return suspend(r, m);
	if (r->job)
		job_cancel(r->job, JOB_CANCEL_USER);
	else if (relationship_set_resync(r, false, 0, &e))
		return answer_err(m, &e);
	return answer_done(m);
}

/* The last pass of disks that are in no use, then none any more. */
static int prepare(struct relationship *r, sd_bus_message *m)
{
	int rc;

	if (!is_free(r, m, &rc))
		return rc;
	if (!r->state.initial_complete)
		return answer_code(m, SERVICE_INVALID_STATE,
				   "the initial replication of %s is not complete: run `vmreplica start-replication %s`",
				   r->state.vm, r->state.vm);
	if (relationship_untracked(r))
		return answer_code(m, SERVICE_INVALID_STATE,
				   "%s is not tracked, so that it cannot be proven that nothing is written behind the last pass: stop the machine, run `vmreplica replicate %s`, then fail over on the replica; or have it tracked: %s",
				   r->state.vm, r->state.vm, relationship_untracked(r));
	return answer_job(m, relationship_start_pass(r, JOB_PREPARE));
}

static int change_state(struct relationship *r, enum requested_state state, sd_bus_message *m)
{
	switch (state) {
	case REQUEST_READY:
		return back_to_ready(r, m);
	case REQUEST_INITIAL:
		if (r->state.initial_complete)
			return answer_code(m, SERVICE_INVALID_STATE,
					   "the initial replication of %s is complete", r->state.vm);
		return resume(r, m);
	case REQUEST_REPLICATING:
		return resume(r, m);
	case REQUEST_SYNCED:
		return prepare(r, m);
	case REQUEST_SUSPEND:
		return suspend(r, m);
	case REQUEST_CANCEL_RESYNC:
		return cancel_resync(r, m);
	}
	return answer_code(m, SERVICE_INVALID_PARAMETER,
			   "state %u cannot be requested: 7 suspends, 3 resumes, 1 gives the initial replication up",
			   state);
}

int operate_request_state(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	struct relationship *r;
	const char *vm;
	uint16_t state;
	int rc = sd_bus_message_read(m, "sq", &vm, &state);

	if (rc < 0)
		return rc;
	r = answer_unless_primary(userdata, m, vm, &rc);
	if (!r)
		return rc;
	if (r->removal)
		return answer_code(m, SERVICE_IN_USE, "%s is being removed", vm);
	return change_state(r, state, m);
}

/* --- CancelJob -------------------------------------------------------------------------- */

int operate_cancel_job(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	struct job *job;
	const char *path;
	int rc = sd_bus_message_read(m, "o", &path);

	if (rc < 0)
		return rc;
	job = job_find(userdata, path);
	if (!job)
		return answer_code(m, SERVICE_NOT_FOUND, "there is no job %s", path);
	if (job_ended(job))
		return answer_code(m, SERVICE_INVALID_STATE, "job %u has ended already", job->number);
	if (!job->view.cancellable)
		return answer_code(m, SERVICE_INVALID_STATE, "job %u cannot be cancelled", job->number);
	job_cancel(job, JOB_CANCEL_USER);
	return answer_done(m);
}
