// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdlib.h>
#include <string.h>

#include "../common/log.h"
#include "relationship.h"
#include "relationship_object.h"
#include "replicas.h"
#include "task.h"

#define PERIOD_US 1000000

struct listing {
	struct service *service;
	struct replica_status *at;
	unsigned int count;
	unsigned int changes;	/* the service's, when it began */
	int rc;
	struct err err;
};

/* Reads manifests: in a thread, since their file system may be slow. */
static void list(void *arg)
{
	struct listing *listing = arg;

	listing->rc = replica_list(listing->service->replica, &listing->at, &listing->count,
				   &listing->err);
}

static void take(struct service *service, const struct replica_status *status)
{
	struct relationship *r = relationship_find(service, status->vm, RELATIONSHIP_REPLICA);

	/* Another relationship may have taken the name over. */
	if (r && !r->job && strcmp(r->status.relationship, status->relationship)) {
		relationship_free(r);
		r = NULL;
	}
	if (!r) {
		r = relationship_new_replica(service, status);
	} else if (memcmp(&r->status, status, sizeof(*status))) {
		r->status = *status;
		relationship_refresh(r);
		relationship_object_changed(r);
	}
	if (r)
		r->listed = true;
}

static void take_all(struct service *service, const struct listing *listing)
{
	struct relationship *r, *next;
	unsigned int i;

	for (r = service->relationships; r; r = r->next)
		r->listed = false;
	for (i = 0; i < listing->count; i++)
		take(service, &listing->at[i]);
	for (r = service->relationships; r; r = next) {
		next = r->next;
		/* A removal under way ends by itself. */
		if (r->mode == RELATIONSHIP_REPLICA && !r->listed && !r->job)
			relationship_free(r);
	}
}

static void listed(void *arg)
{
	struct listing *listing = arg;
	struct service *service = listing->service;

	service->listing_replicas = false;
	service->replicas_due_us = service_now_us() + PERIOD_US;
	if (listing->rc)
		log_err("cannot list the replicas: %s", listing->err.text);
	else if (listing->changes != service->replica_changes)
		service->replicas_due_us = service_now_us();
	else
		take_all(service, listing);
	free(listing->at);
	free(listing);
}

void replicas_look(struct service *service)
{
	struct listing *listing;

	if (!service->replica || service->stopping || service->listing_replicas ||
	    service_now_us() < service->replicas_due_us)
		return;
	listing = calloc(1, sizeof(*listing));
	if (!listing)
		return;
	listing->service = service;
	listing->changes = service->replica_changes;
	if (task_start(service->loop, &service->tasks, list, listed, listing)) {
		free(listing);
		return;
	}
	service->listing_replicas = true;
}

struct relationship *replicas_find(struct service *service, const char *vm)
{
	struct relationship *r = relationship_find(service, vm, RELATIONSHIP_REPLICA);
	struct replica_status status;
	struct err why;

	if (r || !service->replica || replica_look(service->replica, vm, &status, &why))
		return r;
	replicas_changed(service);	/* one that began before would not have it */
	return relationship_new_replica(service, &status);
}

void replicas_changed(struct service *service)
{
	service->replica_changes++;
	service->replicas_due_us = service_now_us();
}
