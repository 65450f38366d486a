// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "../common/log.h"
#include "listing.h"
#include "task.h"

#define MAX_QUERIES 16	/* anyone may ask, and each question takes a thread */

struct query {
	struct service *service;
	const struct listing_kind *kind;
	char vm[STORE_NAME_BYTES];
	sd_bus_message *call;
	void *list;
	int rc;
	struct err err;
};

static void query_free(struct query *query)
{
	query->service->queries--;
	query->kind->free(query->list);
	free(query->list);
	sd_bus_message_unref(query->call);
	free(query);
}

static struct query *query_new(struct service *service, sd_bus_message *m, const char *vm,
			       const struct listing_kind *kind)
{
	struct query *query = calloc(1, sizeof(*query));

	if (!query)
		return NULL;
	query->list = calloc(1, kind->bytes);
	if (!query->list) {
		free(query);
		return NULL;
	}
	query->service = service;
	query->kind = kind;
	snprintf(query->vm, sizeof(query->vm), "%s", vm);
	query->call = sd_bus_message_ref(m);
	service->queries++;
	return query;
}

static void read_list(void *arg)
{
	struct query *query = arg;

	query->rc = query->kind->read(query->service->replica_dir, query->vm, query->list,
				      &query->err);
	if (query->rc == -ENOENT)
		err_set(&query->err, -ENOENT, "this host has no replica of %s: ask the host that it is replicated to",
			query->vm);
}

int listing_append(sd_bus_message *reply, const char *first, uint64_t time_us, const char *second,
		   const struct store_point_disk *disks, unsigned int disk_count)
{
	unsigned int i;
	int rc = sd_bus_message_open_container(reply, 'r', "stsa(ssss)");

	if (rc >= 0)
		rc = sd_bus_message_append(reply, "sts", first, time_us, second);
	if (rc >= 0)
		rc = sd_bus_message_open_container(reply, 'a', "(ssss)");
	for (i = 0; rc >= 0 && i < disk_count; i++)
		rc = sd_bus_message_append(reply, "(ssss)", disks[i].name, disks[i].source,
					   disks[i].file, disks[i].format);
	if (rc >= 0)
		rc = sd_bus_message_close_container(reply);
	return rc < 0 ? rc : sd_bus_message_close_container(reply);
}

static int send_reply(struct query *query)
{
	sd_bus_message *reply = NULL;
	int rc = sd_bus_message_new_method_return(query->call, &reply);

	if (rc >= 0)
		rc = sd_bus_message_append(reply, "u", query->rc ? service_code_of(query->rc) : SERVICE_OK);
	if (rc >= 0)
		rc = sd_bus_message_open_container(reply, 'a', "(stsa(ssss))");
	if (rc >= 0)
		rc = query->kind->append(reply, query->list);
	if (rc >= 0)
		rc = sd_bus_message_close_container(reply);
	if (rc >= 0)
		rc = sd_bus_message_append(reply, "s", query->rc ? query->err.text : "");
	if (rc >= 0)
		rc = sd_bus_send(NULL, reply, NULL);
	sd_bus_message_unref(reply);
	return rc;
}

static void on_read(void *arg)
{
	struct query *query = arg;
	int rc = send_reply(query);

	if (rc < 0)
		log_warn("cannot answer with the %s of %s: error %d", query->kind->what, query->vm, -rc);
	query_free(query);
}

int listing_get(struct service *service, sd_bus_message *m, const struct listing_kind *kind)
{
	struct query *query;
	const char *vm;
	int rc = sd_bus_message_read(m, "s", &vm);

	if (rc < 0)
		return rc;
	if (!store_name_valid(vm))
		return sd_bus_reply_method_return(m, LISTING_SIGNATURE, SERVICE_INVALID_PARAMETER,
						  0, "that cannot be a VM's name");
	if (service->queries >= MAX_QUERIES)
		return sd_bus_reply_method_return(m, LISTING_SIGNATURE, SERVICE_IN_USE, 0,
						  "too many ask at once: try again");
	query = query_new(service, m, vm, kind);
	if (!query)
		return -ENOMEM;
	rc = task_start(service->loop, &service->tasks, read_list, on_read, query);
	if (rc) {
		query_free(query);
		return rc;
	}
	return 1;
}
