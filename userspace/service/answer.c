// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdarg.h>
#include <stdio.h>

#include "answer.h"
#include "relationship.h"
#include "replicas.h"
#include "schedule.h"

int answer_code(sd_bus_message *m, enum service_code code, const char *fmt, ...)
{
	char text[ERR_TEXT_BYTES];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return sd_bus_reply_method_return(m, "uos", code, "/", text);
}

int answer_done(sd_bus_message *m)
{
	return sd_bus_reply_method_return(m, "uos", SERVICE_OK, "/", "");
}

int answer_err(sd_bus_message *m, const struct err *e)
{
	return answer_code(m, service_code_of(e->code), "%s", e->text);
}

int answer_job(sd_bus_message *m, const struct job *job)
{
	if (!job)
		return answer_code(m, SERVICE_OUT_OF_MEMORY,
				   "there is no memory for a job, or there are %d already: try again when some have ended",
				   JOB_MAX_LIVE);
	schedule_wake(job->service);
	return sd_bus_reply_method_return(m, "uos", SERVICE_JOB_STARTED, job->path, "");
}

struct relationship *answer_unless_primary(struct service *service, sd_bus_message *m,
					   const char *vm, int *rc)
{
	struct relationship *r = relationship_find(service, vm, RELATIONSHIP_PRIMARY);

	if (r && !r->file) {
		*rc = answer_code(m, SERVICE_STATUS_UNKNOWN, "%s", r->damage);
		return NULL;
	}
	if (r) {
		relationship_refresh(r);
		return r;
	}
	if (replicas_find(service, vm))
		*rc = answer_code(m, SERVICE_NOT_SUPPORTED,
				  "%s is a replica on this host: run this on its primary (a replica of a replica is not supported)",
				  vm);
	else
		*rc = answer_code(m, SERVICE_NOT_FOUND,
				  "this host does not replicate '%.64s': make the relationship first with `vmreplica enable`",
				  vm);
	return NULL;
}
