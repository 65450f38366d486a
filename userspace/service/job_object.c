// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "guard.h"
#include "job_object.h"
#include "queue.h"
#include "work.h"

#define PREFIX		"/org/vmreplica/Job"
#define INTERFACE	"org.vmreplica.Job"

#define CONSTANT(name, type, member) \
	SD_BUS_PROPERTY(name, type, NULL, offsetof(struct job_view, member), \
			SD_BUS_VTABLE_PROPERTY_CONST)
#define CHANGING(name, type, member) \
	SD_BUS_PROPERTY(name, type, NULL, offsetof(struct job_view, member), \
			SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE)

/* --- RequestStateChange: its codes are those of CIM's jobs ------------------------- */

enum {
	CHANGE_DONE = 0,
	CHANGE_NOT_SUPPORTED = 1,
	CHANGE_FAILED = 4,
	CHANGE_INVALID_PARAMETER = 5,
	CHANGE_INVALID_TRANSITION = 4097,
};

enum { REQUEST_START = 2, REQUEST_SUSPEND = 3, REQUEST_TERMINATE = 4, REQUEST_KILL = 5 };

static int answer(sd_bus_message *m, uint32_t code, const char *text)
{
	return sd_bus_reply_method_return(m, "us", code, text);
}

static int refuse(sd_bus_message *m)
{
	return answer(m, CHANGE_FAILED, "only root, and whom polkit grants it, may do this");
}

static int on_allowed(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	struct job *job = job_find(userdata, sd_bus_message_get_path(m));
	uint16_t state;
	int rc = sd_bus_message_read(m, "q", &state);

	if (rc < 0)
		return rc;
	if (!job || job_ended(job))
		return answer(m, CHANGE_INVALID_TRANSITION, "the job has ended already");
	switch (state) {
	case REQUEST_START:
		if (job->view.state != JOB_NEW)
			return answer(m, CHANGE_INVALID_TRANSITION, "the job waits for no time");
		queue_move(job, 0);
		return answer(m, CHANGE_DONE, "");
	case REQUEST_TERMINATE:
		if (!job->view.cancellable)
			return answer(m, CHANGE_INVALID_TRANSITION, "the job cannot be cancelled");
		job_cancel(job, JOB_CANCEL_USER);
		return answer(m, CHANGE_DONE, "");
	case REQUEST_SUSPEND:
	case REQUEST_KILL:
		return answer(m, CHANGE_NOT_SUPPORTED, "a job can be terminated (4), or started before its time (2)");
	default:
		return answer(m, CHANGE_INVALID_PARAMETER, "there is no such state");
	}
}

static int on_request(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	/* What find() has found: the view is the job's first member. */
	struct job *job = userdata;

	return guard_call(job->service, m, GUARD_OPERATE, on_allowed, refuse);
}

/* --- properties ------------------------------------------------------------------------ */

/* Of a job that verifies; until its end they are its thread's. */
static const struct verify *found(const struct job *job)
{
	const struct work_replicate *work = job->arg;

	return job->view.type == JOB_VERIFY && job_ended(job) ? work->verify : NULL;
}

static int get_differences(sd_bus *bus, const char *path, const char *interface,
			   const char *property, sd_bus_message *reply, void *userdata,
			   sd_bus_error *error)
{
	const struct verify *verify = found(userdata);
	int rc = sd_bus_message_open_container(reply, 'a', "(stt)");

	for (unsigned int i = 0; rc >= 0 && verify && i < verify->place_count &&
				 i < VERIFY_MAX_PLACES; i++) {
		const struct verify_place *place = &verify->places[i];

		rc = sd_bus_message_append(reply, "(stt)", place->disk, place->offset,
					   place->length);
	}
	return rc < 0 ? rc : sd_bus_message_close_container(reply);
}

static int get_difference_size(sd_bus *bus, const char *path, const char *interface,
			       const char *property, sd_bus_message *reply, void *userdata,
			       sd_bus_error *error)
{
	const struct verify *verify = found(userdata);

	return sd_bus_message_append(reply, "t", verify ? verify->bytes : UINT64_C(0));
}

static const sd_bus_vtable vtable[] = {
	SD_BUS_VTABLE_START(0),
	/* 2 starts before its time, 4 terminates; 0 done, 1 not supported, 4 failed, 5, 4097 */
	SD_BUS_METHOD_WITH_NAMES("RequestStateChange", "q", SD_BUS_PARAM(RequestedState), "us",
				 SD_BUS_PARAM(ReturnValue) SD_BUS_PARAM(Message), on_request,
				 SD_BUS_VTABLE_UNPRIVILEGED),
	CONSTANT("ComputerSystem", "s", vm),
	/*
	 * 91 create, 93 remove, 94 initial replication, 95 import; 97 failover, 98 its revert, 99
	 * its commit, 100 preparation of a planned one; 102 test failover, 103 its end; 104
	 * reverse, 105 delta, 107 resynchronization, 112 verification, 115 test of a connection,
	 * 118 export
	 */
	CONSTANT("JobType", "q", type),
	/*
	 * 2 new (its time is to come), 3 starting (its turn is), 4 running, 7 completed, 8
	 * terminated, 10 exception
	 */
	CHANGING("JobState", "q", state),
	/* 0 to 100; 100 once completed */
	CHANGING("PercentComplete", "q", percent),
	/* microseconds since 1970 UTC; ScheduledStartTime 0: at once; StartTime 0: not yet */
	CONSTANT("TimeSubmitted", "t", submitted_us),
	CHANGING("ScheduledStartTime", "t", scheduled_us),
	CHANGING("StartTime", "t", started_us),
	/* microseconds */
	CHANGING("ElapsedTime", "t", elapsed_us),
	/* microseconds from its end until it is no longer here */
	CONSTANT("TimeBeforeRemoval", "t", keep_us),
	/*
	 * 0, or a return value of the service's methods with a sentence; a completed job's sentence
	 * is a remark
	 */
	CHANGING("ErrorCode", "u", error_code),
	CHANGING("ErrorDescription", "s", error),
	CHANGING("Cancellable", "b", cancellable),
	/* what it does just now, in words */
	CHANGING("Phase", "s", phase),
	/*
	 * bytes of disk to ship, shipped, of these zero; bytes on the wire; all passes of the job
	 */
	CHANGING("TotalBytes", "t", total_bytes),
	CHANGING("DoneBytes", "t", done_bytes),
	CHANGING("ZeroBytes", "t", zero_bytes),
	CHANGING("WireBytes", "t", wire_bytes),
	/* size of all disks */
	CHANGING("DiskBytes", "t", disk_bytes),
	/*
	 * id of its newest durable pass, how many it took, the cut of the point it made (0: none)
	 */
	CHANGING("Pass", "t", pass),
	CHANGING("Passes", "t", passes),
	CHANGING("PointTime", "t", point_time_us),
	/*
	 * Of a verification that has ended: what the replica had otherwise than it was sent, by the
	 * disk's name, offset and bytes, the first 256 places; and bytes in all
	 */
	SD_BUS_PROPERTY("Differences", "a(stt)", get_differences, 0,
			SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("DifferenceSize", "t", get_difference_size, 0,
			SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_VTABLE_END
};

static int find(sd_bus *bus, const char *path, const char *interface, void *userdata, void **found,
		sd_bus_error *error)
{
	struct job *job = job_find(userdata, path);

	if (!job)
		return 0;
	job_refresh(job);
	*found = &job->view;
	return 1;
}

static int enumerate(sd_bus *bus, const char *prefix, void *userdata, char ***nodes,
		     sd_bus_error *error)
{
	struct service *service = userdata;
	struct job *job;
	size_t count = 0;
	char **paths;

	for (job = service->jobs; job; job = job->next)
		count++;
	paths = calloc(count + 1, sizeof(*paths));
	if (!paths)
		return -ENOMEM;
	count = 0;
	for (job = service->jobs; job; job = job->next) {
		paths[count] = strdup(job->path);
		count += paths[count] != NULL;
	}
	*nodes = paths;		/* freed by the caller, with the strings */
	return 0;
}

int job_object_register(struct service *service)
{
	int rc = sd_bus_add_fallback_vtable(service->bus, NULL, PREFIX, INTERFACE, vtable, find,
					    service);

	return rc < 0 ? rc :
			sd_bus_add_node_enumerator(service->bus, NULL, PREFIX, enumerate, service);
}

void job_object_added(struct job *job)
{
	sd_bus_emit_object_added(job->service->bus, job->path);
}

void job_object_changed(struct job *job)
{
	sd_bus_emit_properties_changed(job->service->bus, job->path, INTERFACE, "JobState",
				       "PercentComplete", "ScheduledStartTime", "StartTime", "ElapsedTime", "ErrorCode", "ErrorDescription",
				       "Cancellable", "Phase", "TotalBytes", "DoneBytes", "ZeroBytes",
				       "WireBytes", "Pass", "Passes", "PointTime",
				       "Differences", "DifferenceSize", NULL);
}

void job_object_removed(struct job *job)
{
	sd_bus_emit_object_removed(job->service->bus, job->path);
}
