// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "../common/log.h"
#include "../store/store.h"
#include "points.h"
#include "task.h"

/* Anyone may ask, and each question takes a thread. */
#define MAX_QUERIES 16

struct query {
	struct service *service;
	const char *root;
	char vm[STORE_NAME_BYTES];
	sd_bus_message *call;
	struct store_points points;
	int rc;
	struct err err;
};

static void query_free(struct query *query)
{
	query->service->queries--;
	store_points_free(&query->points);
	sd_bus_message_unref(query->call);
	free(query);
}

static void read_points(void *arg)
{
	struct query *query = arg;

	query->rc = store_points(query->root, query->vm, &query->points, &query->err);
	if (query->rc == -ENOENT)
		err_set(&query->err, -ENOENT, "this host has no replica of %s: ask the host that it is replicated to",
			query->vm);
}

static int append_point(sd_bus_message *reply, const struct store_point *point)
{
	unsigned int i;
	int rc = sd_bus_message_open_container(reply, 'r', "stsa(ssss)");

	if (rc >= 0)
		rc = sd_bus_message_append(reply, "sts", point->id, point->time_us,
					   store_consistency_name(point->consistency));
	if (rc >= 0)
		rc = sd_bus_message_open_container(reply, 'a', "(ssss)");
	for (i = 0; rc >= 0 && i < point->disk_count; i++)
		rc = sd_bus_message_append(reply, "(ssss)", point->disks[i].name, point->disks[i].source,
					   point->disks[i].file, point->disks[i].format);
	if (rc >= 0)
		rc = sd_bus_message_close_container(reply);
	return rc < 0 ? rc : sd_bus_message_close_container(reply);
}

static int send_reply(struct query *query)
{
	sd_bus_message *reply = NULL;
	unsigned int i;
	int rc = sd_bus_message_new_method_return(query->call, &reply);

	if (rc >= 0)
		rc = sd_bus_message_append(reply, "u", query->rc ? service_code_of(query->rc) : SERVICE_OK);
	if (rc >= 0)
		rc = sd_bus_message_open_container(reply, 'a', "(stsa(ssss))");
	for (i = 0; rc >= 0 && i < query->points.count; i++)
		rc = append_point(reply, &query->points.at[i]);
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
		log_warn("cannot answer with the points of %s: error %d", query->vm, -rc);
	query_free(query);
}

int points_answer(struct service *service, sd_bus_message *m, const char *vm)
{
	struct query *query;
	int rc;

	if (!store_name_valid(vm))
		return sd_bus_reply_method_return(m, "ua(stsa(ssss))s", SERVICE_INVALID_PARAMETER, 0,
						  "that cannot be a VM's name");
	if (service->queries >= MAX_QUERIES)
		return sd_bus_reply_method_return(m, "ua(stsa(ssss))s", SERVICE_IN_USE, 0,
						  "too many ask for points at once: try again");
	query = calloc(1, sizeof(*query));
	if (!query)
		return -ENOMEM;
	query->service = service;
	service->queries++;
	query->root = service->replica_dir;
	snprintf(query->vm, sizeof(query->vm), "%s", vm);
	query->call = sd_bus_message_ref(m);
	rc = task_start(service->loop, &service->tasks, read_points, on_read, query);
	if (rc) {
		query_free(query);
		return rc;
	}
	return 1;
}
