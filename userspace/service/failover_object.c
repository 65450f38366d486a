// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../replica/failover.h"
#include "answer.h"
#include "failover_object.h"
#include "relationship.h"
#include "relationship_object.h"
#include "replicas.h"

/* What a job's thread is to do, and what the replica is like afterwards. */
struct work {
	struct replica *replica;
	uint64_t point;			/* 0: the newest */
	char name[STORE_NAME_BYTES];	/* of a test */
	struct replica_status status;
	bool looked;
};

static int run(struct job *job, struct err *e)
{
	struct work *work = job->arg;
	struct err why;
	int rc = -EINVAL;

	switch (job->view.type) {
	case JOB_FAILOVER:
		rc = replica_failover(work->replica, job->vm, work->point, e);
		break;
	case JOB_REVERT:
		rc = replica_revert(work->replica, job->vm, e);
		break;
	case JOB_COMMIT:
		rc = replica_commit(work->replica, job->vm, e);
		break;
	case JOB_TEST:
		rc = replica_test_begin(work->replica, job->vm, work->name, work->point, e);
		break;
	case JOB_END_TEST:
		rc = replica_test_end(work->replica, job->vm, work->name, e);
		break;
	default:
		break;
	}
	work->looked = !replica_look(work->replica, job->vm, &work->status, &why);
	return rc;
}

static void on_done(struct job *job)
{
	struct relationship *r = job->relationship;
	const struct work *work = job->arg;

	r->job = NULL;
	replicas_changed(r->service);
	if (work->looked)
		r->status = work->status;
	relationship_refresh(r);
	relationship_object_changed(r);
	if (r->removal && !r->service->stopping)
		relationship_begin_removal(r);
}

/* The replica's relationship, when nothing else works on it; or null, and the answer was given. */
static struct relationship *find(struct service *service, sd_bus_message *m, const char *vm,
				 int *rc)
{
	struct relationship *r = replicas_find(service, vm);

	if (!r && relationship_find(service, vm, RELATIONSHIP_PRIMARY))
		*rc = answer_code(m, SERVICE_NOT_SUPPORTED,
				  "this host is the primary of %s: run this on its replica", vm);
	else if (!r)
		*rc = answer_code(m, SERVICE_NOT_FOUND, "this host has no replica of '%.64s'", vm);
	else if (r->removal)
		*rc = answer_code(m, SERVICE_IN_USE, "the replica of %s is being removed", vm);
	else if (r->job)
		*rc = answer_code(m, SERVICE_IN_USE, "job %u works on %s already", r->job->number, vm);
	else
		return r;
	return NULL;
}

/* "": the newest, 0; else the id of a point. */
static int read_point(const char *text, uint64_t *point)
{
	*point = 0;
	if (!text[0])
		return 0;
	if (strlen(text) > 18 || strspn(text, "0123456789") != strlen(text))
		return -EINVAL;
	*point = strtoull(text, NULL, 10);
	return *point ? 0 : -EINVAL;
}

static int begin(struct relationship *r, sd_bus_message *m, enum job_type type, uint64_t point,
		 const char *name)
{
	struct work *work = calloc(1, sizeof(*work));
	struct job_spec spec = {
		.type = type,
		.vm = r->status.vm,
		.relationship = r,
		.run = run,
		.done = on_done,
		.arg = work,
		.free_arg = free,
	};

	if (!work)
		return answer_job(m, NULL);
	work->replica = r->service->replica;
	work->point = point;
	snprintf(work->name, sizeof(work->name), "%s", name);
	r->job = job_new(r->service, &spec);
	if (!r->job)
		return answer_job(m, NULL);
	job_begin(r->job);
	relationship_refresh(r);
	relationship_object_changed(r);
	return answer_job(m, r->job);
}

static int no_point(sd_bus_message *m, const char *point)
{
	return answer_code(m, SERVICE_INVALID_PARAMETER,
			   "'%.60s' is not the id of a point: see `vmreplica points`", point);
}

int failover_initiate(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	const char *vm, *text;
	struct relationship *r;
	uint64_t point;
	int rc = sd_bus_message_read(m, "ss", &vm, &text);

	if (rc < 0)
		return rc;
	if (read_point(text, &point))
		return no_point(m, text);
	r = find(userdata, m, vm, &rc);
	if (!r)
		return rc;
	if (r->status.failover.state)
		return answer_code(m, SERVICE_INVALID_STATE,
				   "%s is failed over already: see `vmreplica status %s`", vm, vm);
	return begin(r, m, JOB_FAILOVER, point, "");
}

/* Both end a failover that can still go either way. */
static int end_failover(sd_bus_message *m, struct service *service, enum job_type type)
{
	struct relationship *r;
	const char *vm;
	int rc = sd_bus_message_read(m, "s", &vm);

	if (rc < 0)
		return rc;
	r = find(service, m, vm, &rc);
	if (!r)
		return rc;
	if (r->status.failover.state == STORE_FAILOVER_NONE)
		return answer_code(m, SERVICE_INVALID_STATE, "%s is not failed over to this host", vm);
	if (r->status.failover.state == STORE_FAILOVER_COMMITTED)
		return answer_code(m, SERVICE_INVALID_STATE, "the failover of %s is final already", vm);
	return begin(r, m, type, 0, "");
}

int failover_revert(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	return end_failover(m, userdata, JOB_REVERT);
}

int failover_commit(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	return end_failover(m, userdata, JOB_COMMIT);
}

int failover_test(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	const char *vm, *text, *name;
	struct relationship *r;
	uint64_t point;
	int rc = sd_bus_message_read(m, "sss", &vm, &text, &name);

	if (rc < 0)
		return rc;
	if (read_point(text, &point))
		return no_point(m, text);
	if (!store_name_valid(name))
		return answer_code(m, SERVICE_INVALID_PARAMETER,
				   "'%.64s' cannot be a test's name: use letters, digits, dots, underscores and hyphens",
				   name);
	r = find(userdata, m, vm, &rc);
	return r ? begin(r, m, JOB_TEST, point, name) : rc;
}

int failover_end_test(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	const char *vm, *name;
	struct relationship *r;
	int rc = sd_bus_message_read(m, "ss", &vm, &name);

	if (rc < 0)
		return rc;
	if (!store_name_valid(name))
		return answer_code(m, SERVICE_INVALID_PARAMETER, "'%.64s' cannot be a test's name", name);
	r = find(userdata, m, vm, &rc);
	return r ? begin(r, m, JOB_END_TEST, 0, name) : rc;
}
