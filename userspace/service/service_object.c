// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../store/store.h"
#include "job.h"
#include "points.h"
#include "relationship.h"
#include "relationship_object.h"
#include "schedule.h"
#include "service_object.h"
#include "settings.h"
#include "work.h"

#define PATH		"/org/vmreplica/ReplicationService"
#define INTERFACE	"org.vmreplica.ReplicationService"

enum requested_state { REQUEST_REPLICATING = 3, REQUEST_SUSPEND = 7 };
enum initial_type { INITIAL_NETWORK = 1, INITIAL_EXPORT = 2, INITIAL_SEEDED = 3 };

/* --- answers ------------------------------------------------------------------- */

static int answer(sd_bus_message *m, enum service_code code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static int answer(sd_bus_message *m, enum service_code code, const char *fmt, ...)
{
	char text[ERR_TEXT_BYTES];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return sd_bus_reply_method_return(m, "uos", code, "/", text);
}

static int answer_done(sd_bus_message *m)
{
	return sd_bus_reply_method_return(m, "uos", SERVICE_OK, "/", "");
}

static int answer_err(sd_bus_message *m, const struct err *e)
{
	return answer(m, service_code_of(e->code), "%s", e->text);
}

static int answer_job(sd_bus_message *m, const struct job *job)
{
	if (!job)
		return answer(m, SERVICE_OUT_OF_MEMORY, "there is no memory for a job");
	schedule_wake(job->service);
	return sd_bus_reply_method_return(m, "uos", SERVICE_JOB_STARTED, job->path, "");
}

/* The primary's relationship, or null and the answer has been given (*rc). */
static struct relationship *find_primary(struct service *service, sd_bus_message *m, const char *vm,
					 int *rc)
{
	struct relationship *r = relationship_find(service, vm, RELATIONSHIP_PRIMARY);

	if (r) {
		relationship_refresh(r);
		return r;
	}
	if (relationship_find(service, vm, RELATIONSHIP_REPLICA))
		*rc = answer(m, SERVICE_NOT_SUPPORTED,
			     "%s is a replica on this host: run this on its primary (a replica of a replica is not supported)",
			     vm);
	else
		*rc = answer(m, SERVICE_NOT_FOUND,
			     "this host does not replicate '%.64s': make the relationship first with `vmreplica enable`",
			     vm);
	return NULL;
}

/* --- CreateReplicationRelationship ------------------------------------------------ */

static void on_created(struct job *job)
{
	struct work_create *create = job->arg;

	if (job->rc)
		return;
	if (relationship_new_primary(job->service, create->file))
		create->file = NULL;
	else
		job->rc = err_sys(&job->err, -ENOMEM, "the service must be started again to see %s", job->vm);
}

static int create_job(struct service *service, sd_bus_message *m, struct work_create *create)
{
	struct job_spec spec = {
		.type = JOB_CREATE,
		.vm = create->state.vm,
		.run = work_create,
		.done = on_created,
		.arg = create,
		.free_arg = work_create_free,
	};
	struct job *job;

	create->dir = service->primary_dir;
	state_new_uuid(create->state.relationship);
	job = job_new(service, &spec);
	if (job)
		job_begin(job);
	return answer_job(m, job);
}

static int on_create(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	struct service *service = userdata;
	struct work_create *create;
	struct err e = { 0 };
	const char *vm;
	int rc = sd_bus_message_read(m, "s", &vm);

	if (rc < 0)
		return rc;
	if (!store_name_valid(vm))
		return answer(m, SERVICE_INVALID_PARAMETER,
			      "'%.64s' cannot be a VM's name: use letters, digits, dots, underscores and hyphens, 63 at most, and no dot first",
			      vm);
	if (job_of_vm(service, vm) || relationship_find(service, vm, RELATIONSHIP_PRIMARY))
		return answer(m, SERVICE_IN_USE, "%s is replicated already, or about to be", vm);
	create = calloc(1, sizeof(*create));
	if (!create)
		return answer(m, SERVICE_OUT_OF_MEMORY, "there is no memory for a relationship");
	strcpy(create->state.vm, vm);
	if (settings_read(m, &create->state, &e) ||
	    settings_check_disks(service, &create->state, &e)) {
		free(create);
		return answer_err(m, &e);
	}
	return create_job(service, m, create);
}

/* --- StartReplication, Replicate ----------------------------------------------------- */

static int start(struct relationship *r, sd_bus_message *m)
{
	const char *vm = r->state.vm;
	struct err e = { 0 };

	if (r->job)
		return answer(m, SERVICE_IN_USE, "job %u works on %s already", r->job->number, vm);
	if (r->state.suspended)
		return answer(m, SERVICE_INVALID_STATE, "%s is suspended: run `vmreplica resume %s` first", vm, vm);
	if (r->state.initial_complete && r->view.state != RELATIONSHIP_CRITICAL)
		return answer(m, SERVICE_INVALID_STATE,
			      "the initial replication of %s is complete and changes are followed: for a pass at once, run `vmreplica replicate %s`",
			      vm, vm);
	if (relationship_set_start_wanted(r, true, &e))
		return answer_err(m, &e);
	relationship_refresh(r);
	return answer_job(m, relationship_start_pass(r, JOB_INITIAL));
}

static int on_start(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	const char *vm, *location, *start_time;
	struct relationship *r;
	uint16_t type;
	int rc = sd_bus_message_read(m, "sqss", &vm, &type, &location, &start_time);

	if (rc < 0)
		return rc;
	if (type < INITIAL_NETWORK || type > INITIAL_SEEDED)
		return answer(m, SERVICE_INVALID_PARAMETER,
			      "there is no initial replication of type %u: 1 is network transfer", type);
	if (type != INITIAL_NETWORK)
		return answer(m, SERVICE_NOT_SUPPORTED, "initial replication by %s is not supported: use type 1, network transfer",
			      type == INITIAL_EXPORT ? "export" : "seeded network transfer");
	if (start_time[0])
		return answer(m, SERVICE_NOT_SUPPORTED,
			      "a start time is not supported: leave it empty to start at once");
	r = find_primary(userdata, m, vm, &rc);
	return r ? start(r, m) : rc;
}

static int on_replicate(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	struct relationship *r;
	const char *vm;
	int rc = sd_bus_message_read(m, "s", &vm);

	if (rc < 0)
		return rc;
	r = find_primary(userdata, m, vm, &rc);
	if (!r)
		return rc;
	if (r->job)
		return answer(m, SERVICE_IN_USE, "job %u works on %s already", r->job->number, vm);
	if (r->state.suspended)
		return answer(m, SERVICE_INVALID_STATE, "%s is suspended: run `vmreplica resume %s` first", vm, vm);
	if (!r->state.initial_complete)
		return answer(m, SERVICE_INVALID_STATE,
			      "the initial replication of %s is not complete: run `vmreplica start-replication %s`",
			      vm, vm);
	return answer_job(m, relationship_start_pass(r, JOB_DELTA));
}

/* --- RequestReplicationStateChange ------------------------------------------------------ */

static int suspend(struct relationship *r, sd_bus_message *m)
{
	struct err e = { 0 };

	if (r->state.suspended)
		return answer(m, SERVICE_INVALID_STATE, "%s is suspended already", r->state.vm);
	if (!r->state.initial_complete && !r->state.start_wanted)
		return answer(m, SERVICE_INVALID_STATE,
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

	if (!r->state.suspended)
		return answer(m, SERVICE_INVALID_STATE, "%s is not suspended", r->state.vm);
	if (relationship_set_suspended(r, false, &e))
		return answer_err(m, &e);
	r->due_us = service_now_us();
	relationship_refresh(r);
	schedule_wake(r->service);
	return answer_done(m);
}

static int on_request_state(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	struct relationship *r;
	const char *vm;
	uint16_t state;
	int rc = sd_bus_message_read(m, "sq", &vm, &state);

	if (rc < 0)
		return rc;
	if (state != REQUEST_SUSPEND && state != REQUEST_REPLICATING)
		return answer(m, SERVICE_INVALID_PARAMETER,
			      "state %u cannot be requested: 7 suspends, 3 resumes", state);
	r = find_primary(userdata, m, vm, &rc);
	if (!r)
		return rc;
	if (r->removal)
		return answer(m, SERVICE_IN_USE, "%s is being removed", vm);
	return state == REQUEST_SUSPEND ? suspend(r, m) : resume(r, m);
}

/* --- RemoveReplicationRelationship --------------------------------------------------------- */

static void on_removed(struct job *job)
{
	struct work_remove *work = job->arg;
	struct relationship *r = job->relationship;
	struct relationship *replica =
		relationship_find(job->service, job->vm, RELATIONSHIP_REPLICA);

	if (job->rc) {
		r->job = r->removal = NULL;
		relationship_object_changed(r);
		return;
	}
	if (work->replica && replica && replica != r)
		relationship_free(replica);
	relationship_free(r);
}

static int remove_job(struct relationship *r, bool delete_points, sd_bus_message *m)
{
	struct work_remove *work = calloc(1, sizeof(*work));
	struct job_spec spec = {
		.type = JOB_REMOVE,
		.vm = r->mode == RELATIONSHIP_PRIMARY ? r->state.vm : r->status.vm,
		.relationship = r,
		.run = work_remove,
		.done = on_removed,
		.arg = work,
		.free_arg = free,
	};

	if (!work)
		return answer_job(m, NULL);
	work->file = r->file;
	work->replica = delete_points ? r->service->replica : NULL;
	r->removal = job_new(r->service, &spec);
	if (!r->removal)
		return answer_job(m, NULL);
	if (r->job)		/* its end begins the removal */
		job_cancel(r->job, JOB_CANCEL_REMOVE);
	else
		relationship_begin_removal(r);
	return answer_job(m, r->removal);
}

static int on_remove(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	struct service *service = userdata;
	struct relationship *primary, *replica;
	int delete_points, rc;
	const char *vm;

	rc = sd_bus_message_read(m, "sb", &vm, &delete_points);
	if (rc < 0)
		return rc;
	primary = relationship_find(service, vm, RELATIONSHIP_PRIMARY);
	replica = relationship_find(service, vm, RELATIONSHIP_REPLICA);
	if (!primary && !replica)
		return answer(m, SERVICE_NOT_FOUND, "there is neither a relationship nor a replica '%.64s' here", vm);
	if (!primary && !delete_points)
		return answer(m, SERVICE_INVALID_PARAMETER,
			      "%s is a replica on this host, and all that can be removed here is its points: run `vmreplica disable %s --delete-points`",
			      vm, vm);
	if (primary && delete_points && !replica)
		return answer(m, SERVICE_INVALID_PARAMETER,
			      "the points of %s are on the replica %s: run `vmreplica disable %s` here and then `vmreplica disable %s --delete-points` there",
			      vm, primary->state.host, vm, vm);
	if ((primary && primary->removal) || (replica && replica->removal))
		return answer(m, SERVICE_IN_USE, "%s is being removed already", vm);
	return remove_job(primary ? primary : replica, delete_points, m);
}

/* --- the rest --------------------------------------------------------------------------------- */

static int on_cancel(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	struct job *job;
	const char *path;
	int rc = sd_bus_message_read(m, "o", &path);

	if (rc < 0)
		return rc;
	job = job_find(userdata, path);
	if (!job)
		return answer(m, SERVICE_NOT_FOUND, "there is no job %s", path);
	if (job_ended(job))
		return answer(m, SERVICE_INVALID_STATE, "job %u has ended already", job->number);
	if (!job->view.cancellable)
		return answer(m, SERVICE_INVALID_STATE, "job %u cannot be cancelled", job->number);
	job_cancel(job, JOB_CANCEL_USER);
	return answer_done(m);
}

static int on_points(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	const char *vm;
	int rc = sd_bus_message_read(m, "s", &vm);

	return rc < 0 ? rc : points_answer(userdata, m, vm);
}

/*
 * All but GetRecoveryPoints answer a return value (SERVICE_* of service.h), the job
 * that was started with 4096 ("/": none) and a sentence ("": none).
 */
#define RESULT SD_BUS_PARAM(ReturnValue) SD_BUS_PARAM(Job) SD_BUS_PARAM(Message)

static const sd_bus_vtable vtable[] = {
	SD_BUS_VTABLE_START(0),
	/*
	 * IncludedDisks as: device paths. RecoveryConnectionPoint s: host.
	 * RecoveryServerPortNumber q: 0 is 7766. ReplicationInterval u: 1 to 86400 seconds, 300.
	 * CompressionEnabled b: true, where it pays. The job ends when the replica has answered
	 * and the disks are tracked.
	 */
	SD_BUS_METHOD_WITH_NAMES("CreateReplicationRelationship", "sa{sv}",
				 SD_BUS_PARAM(ComputerSystem) SD_BUS_PARAM(ReplicationSettingData),
				 "uos", RESULT, on_create, 0),
	/* The job ends when the first point is on the replica. StartTime "": at once. */
	SD_BUS_METHOD_WITH_NAMES("StartReplication", "sqss",
				 SD_BUS_PARAM(ComputerSystem) SD_BUS_PARAM(InitialReplicationType)
					 SD_BUS_PARAM(InitialReplicationExportLocation)
						 SD_BUS_PARAM(StartTime),
				 "uos", RESULT, on_start, 0),
	/* One more point at once. */
	SD_BUS_METHOD_WITH_NAMES("Replicate", "s", SD_BUS_PARAM(ComputerSystem), "uos", RESULT,
				 on_replicate, 0),
	/* 7 suspends, 3 resumes. */
	SD_BUS_METHOD_WITH_NAMES("RequestReplicationStateChange", "sq",
				 SD_BUS_PARAM(ComputerSystem) SD_BUS_PARAM(RequestedState), "uos",
				 RESULT, on_request_state, 0),
	/* DeletePoints: also what this host keeps as the VM's replica. */
	SD_BUS_METHOD_WITH_NAMES("RemoveReplicationRelationship", "sb",
				 SD_BUS_PARAM(ComputerSystem) SD_BUS_PARAM(DeletePoints), "uos",
				 RESULT, on_remove, 0),
	SD_BUS_METHOD_WITH_NAMES("CancelJob", "o", SD_BUS_PARAM(Job), "uos", RESULT, on_cancel, 0),
	/*
	 * Id, cut in microseconds since 1970 UTC, consistency, disks (name, source, file,
	 * format); oldest first.
	 */
	SD_BUS_METHOD_WITH_NAMES("GetRecoveryPoints", "s", SD_BUS_PARAM(ComputerSystem),
				 "ua(stsa(ssss))s",
				 SD_BUS_PARAM(ReturnValue) SD_BUS_PARAM(Points)
					 SD_BUS_PARAM(Message),
				 on_points, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_VTABLE_END
};

int service_object_register(struct service *service)
{
	return sd_bus_add_object_vtable(service->bus, NULL, PATH, INTERFACE, vtable, service);
}
