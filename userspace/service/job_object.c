// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "job_object.h"

#define PREFIX		"/org/vmreplica/Job"
#define INTERFACE	"org.vmreplica.Job"

#define CONSTANT(name, type, member) \
	SD_BUS_PROPERTY(name, type, NULL, offsetof(struct job_view, member), \
			SD_BUS_VTABLE_PROPERTY_CONST)
#define CHANGING(name, type, member) \
	SD_BUS_PROPERTY(name, type, NULL, offsetof(struct job_view, member), \
			SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE)

static const sd_bus_vtable vtable[] = {
	SD_BUS_VTABLE_START(0),
	CONSTANT("ComputerSystem", "s", vm),
	/* 91 create, 93 remove, 94 initial replication, 105 delta */
	CONSTANT("JobType", "q", type),
	/* 3 starting, 4 running, 7 completed, 8 terminated, 10 exception */
	CHANGING("JobState", "q", state),
	/* 0 to 100; 100 once completed */
	CHANGING("PercentComplete", "q", percent),
	/* microseconds since 1970 UTC; StartTime 0: not yet */
	CONSTANT("TimeSubmitted", "t", submitted_us),
	CHANGING("StartTime", "t", started_us),
	/* microseconds */
	CHANGING("ElapsedTime", "t", elapsed_us),
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
				       "PercentComplete", "ElapsedTime", "ErrorCode", "ErrorDescription",
				       "Cancellable", "Phase", "TotalBytes", "DoneBytes", "ZeroBytes",
				       "WireBytes", "Pass", "Passes", "PointTime", NULL);
}

void job_object_removed(struct job *job)
{
	sd_bus_emit_object_removed(job->service->bus, job->path);
}
