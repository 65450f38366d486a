// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../store/store.h"
#include "../wire/wire.h"
#include "answer.h"
#include "disks.h"
#include "relationship.h"
#include "relationship_object.h"
#include "replicas.h"
#include "setup.h"
#include "settings.h"
#include "work.h"

/* --- CreateReplicationRelationship ------------------------------------------------ */

static void on_created(struct job *job)
{
	struct work_create *create = job->arg;

	struct relationship *r;

	if (job->rc)
		return;
	r = relationship_new_primary(job->service, create->file);
	if (!r) {
		job->rc = err_sys(&job->err, -ENOMEM, "the service must be started again to see %s", job->vm);
		return;
	}
	create->file = NULL;
	/* So that who waits for it finds it with the end of this job. */
	if (r->state.start_wanted)
		relationship_start_pass(r, JOB_INITIAL);
}

static int create_job(struct service *service, sd_bus_message *m, struct work_create *create)
{
	struct job_spec spec = {
		.type = create->replica_dir ? JOB_REVERSE : JOB_CREATE,
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

static unsigned int primaries(const struct service *service)
{
	const struct relationship *r;
	const struct job *job;
	unsigned int count = 0;

	for (r = service->relationships; r; r = r->next)
		count += r->mode == RELATIONSHIP_PRIMARY;
	for (job = service->jobs; job; job = job->next)
		count += (job->view.type == JOB_CREATE || job->view.type == JOB_REVERSE) &&
			 !job_ended(job);
	return count;
}

/* 0, or the answer has been given (*rc). */
static int check_name(struct service *service, sd_bus_message *m, const char *vm, int *rc)
{
	struct relationship *r = relationship_find(service, vm, RELATIONSHIP_PRIMARY);

	if (!store_name_valid(vm))
		*rc = answer_code(m, SERVICE_INVALID_PARAMETER,
				  "'%.64s' cannot be a VM's name: use letters, digits, dots, underscores and hyphens, 63 at most, and no dot first",
				  vm);
	else if (r && !r->file)
		*rc = answer_code(m, SERVICE_STATUS_UNKNOWN, "%s", r->damage);
	else if (r || job_of_vm(service, vm))
		*rc = answer_code(m, SERVICE_IN_USE, "%s is replicated already, or about to be", vm);
	else if (primaries(service) >= service->config.max_relationships)
		*rc = answer_code(m, SERVICE_OUT_OF_MEMORY,
				  "this host has %u relationships, as many as it may: remove one, or set max-relationships in " CONFIG_FILE,
				  service->config.max_relationships);
	else
		return 0;
	return -EINVAL;
}

/* At the settings of @create's relationship, which is taken over. */
static int create(struct service *service, sd_bus_message *m, struct work_create *create)
{
	struct err e = { 0 };

	settings_defaults(&create->state);
	if (settings_read(m, true, &create->state, &e) ||
	    disks_check(service, &create->state, &e)) {
		free(create);
		return answer_err(m, &e);
	}
	return create_job(service, m, create);
}

static struct work_create *new_create(const char *vm)
{
	struct work_create *create = calloc(1, sizeof(*create));

	if (create)
		strcpy(create->state.vm, vm);
	return create;
}

int setup_create(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	struct work_create *work;
	const char *vm;
	int rc = sd_bus_message_read(m, "s", &vm);

	if (rc < 0 || check_name(userdata, m, vm, &rc))
		return rc;
	work = new_create(vm);
	if (!work)
		return answer_code(m, SERVICE_OUT_OF_MEMORY, "there is no memory for a relationship");
	return create(userdata, m, work);
}

/* --- ReverseReplicationRelationship --------------------------------------------------- */

/* 0, or the answer has been given (*rc). */
static int check_failed_over(struct service *service, sd_bus_message *m, const char *vm, int *rc)
{
	const struct relationship *r = replicas_find(service, vm);

	if (!r)
		*rc = answer_code(m, SERVICE_NOT_FOUND,
				  "this host has no replica of '%.64s': run this where it was failed over to", vm);
	else if (r->removal || r->job)
		*rc = answer_code(m, SERVICE_IN_USE, "something else works on the replica of %s: try again", vm);
	else if (r->status.failover.state != STORE_FAILOVER_COMMITTED)
		*rc = answer_code(m, SERVICE_INVALID_STATE,
				  "%s is not failed over to this host for good: run `vmreplica failover %s` and `vmreplica commit %s` first",
				  vm, vm, vm);
	else
		return 0;
	return -EINVAL;
}

int setup_reverse(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	struct service *service = userdata;
	struct work_create *work;
	const char *vm;
	int rc = sd_bus_message_read(m, "s", &vm);

	if (rc < 0 || check_failed_over(service, m, vm, &rc) || check_name(service, m, vm, &rc))
		return rc;
	work = new_create(vm);
	if (!work)
		return answer_code(m, SERVICE_OUT_OF_MEMORY, "there is no memory for a relationship");
	work->replica_dir = service->replica_dir;
	/* What the old primary has is compared with, and only what differs sent. */
	work->state.start_wanted = work->state.resync_wanted = true;
	work->state.initial_type = STATE_INITIAL_SEEDED;
	return create(service, m, work);
}

/* --- ModifyReplicationSettings ------------------------------------------------------- */

static int modify(struct relationship *r, const struct state *state, sd_bus_message *m)
{
	bool moves = strcmp(state->host, r->state.host) || state->port != r->state.port;
	struct err e = { 0 };

	/* The pass under way would record what another replica has. */
	if (moves && r->job)
		return answer_code(m, SERVICE_IN_USE,
				   "job %u speaks to the replica: wait for its end, or suspend %s first",
				   r->job->number, state->vm);
	if (relationship_modify(r, state, &e))
		return answer_err(m, &e);
	return answer_done(m);
}

int setup_modify(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	struct relationship *r;
	struct state *state;
	struct err e = { 0 };
	const char *vm;
	int rc = sd_bus_message_read(m, "s", &vm);

	if (rc < 0)
		return rc;
	r = answer_unless_primary(userdata, m, vm, &rc);
	if (!r)
		return rc;
	if (r->removal)
		return answer_code(m, SERVICE_IN_USE, "%s is being removed", vm);
	state = malloc(sizeof(*state));
	if (!state)
		return answer_code(m, SERVICE_OUT_OF_MEMORY, "there is no memory for settings");
	*state = r->state;
	rc = settings_read(m, false, state, &e) ? answer_err(m, &e) : modify(r, state, m);
	free(state);
	return rc;
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
	if (work->replica)
		replicas_changed(job->service);
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

int setup_remove(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	struct service *service = userdata;
	struct relationship *primary, *replica;
	int delete_points, rc;
	const char *vm;

	rc = sd_bus_message_read(m, "sb", &vm, &delete_points);
	if (rc < 0)
		return rc;
	primary = relationship_find(service, vm, RELATIONSHIP_PRIMARY);
	replica = replicas_find(service, vm);
	if (!primary && !replica)
		return answer_code(m, SERVICE_NOT_FOUND,
				   "there is neither a relationship nor a replica '%.64s' here", vm);
	if (primary && !primary->file)
		return answer_code(m, SERVICE_STATUS_UNKNOWN, "%s", primary->damage);
	if (!primary && !delete_points)
		return answer_code(m, SERVICE_INVALID_PARAMETER,
				   "%s is a replica on this host, and all that can be removed here is its points: run `vmreplica disable %s --delete-points`",
				   vm, vm);
	if (primary && delete_points && !replica)
		return answer_code(m, SERVICE_INVALID_PARAMETER,
				   "the points of %s are on the replica %s: run `vmreplica disable %s` here and then `vmreplica disable %s --delete-points` there",
				   vm, primary->state.host, vm, vm);
	if ((primary && primary->removal) || (replica && replica->removal))
		return answer_code(m, SERVICE_IN_USE, "%s is being removed already", vm);
	return remove_job(primary ? primary : replica, delete_points, m);
}

/* --- TestReplicationConnection -------------------------------------------------------------- */

static void on_tested(struct job *job)
{
}

int setup_test_connection(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	struct job_spec spec = {
		.type = JOB_TEST_CONNECTION,
		.vm = "",
		.run = work_test,
		.done = on_tested,
		.free_arg = free,
	};
	const char *host, *thumb_print;
	struct work_test *test;
	struct job *job;
	uint16_t port, authentication;
	int bypass, rc;

	rc = sd_bus_message_read(m, "sqqsb", &host, &port, &authentication, &thumb_print, &bypass);
	if (rc < 0)
		return rc;
	if (!host[0] || strlen(host) >= sizeof(test->host))
		return answer_code(m, SERVICE_INVALID_PARAMETER,
				   "RecoveryConnectionPoint is empty or longer than %zu bytes",
				   sizeof(test->host) - 1);
	if (authentication > 2)
		return answer_code(m, SERVICE_INVALID_PARAMETER,
				   "AuthenticationType must be 0, 1 or 2, not %u", authentication);
	test = calloc(1, sizeof(*test));
	if (!test)
		return answer_job(m, NULL);
	strcpy(test->host, host);
	test->port = port ? port : WIRE_PORT;
	spec.arg = test;
	job = job_new(userdata, &spec);
	if (job)
		job_begin(job);
	return answer_job(m, job);
}
