// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "../common/log.h"
#include "../store/failover.h"
#include "failovers.h"
#include "task.h"

#define MAX_QUERIES 16	/* anyone may ask, and each question takes a thread */

struct query {
	struct service *service;
	char vm[STORE_NAME_BYTES];
	sd_bus_message *call;
	struct store_writables list;
	int rc;
	struct err err;
};

static void query_free(struct query *query)
{
	query->service->queries--;
	store_writables_free(&query->list);
	sd_bus_message_unref(query->call);
	free(query);
}

static void read_list(void *arg)
{
	struct query *query = arg;

	query->rc = store_writables(query->service->replica_dir, query->vm, &query->list,
				    &query->err);
	if (query->rc == -ENOENT)
		err_set(&query->err, -ENOENT, "this host has no replica of %s: ask the host that it is replicated to",
			query->vm);
}

static int append(sd_bus_message *reply, const struct store_writable *w)
{
	char point[24];
	unsigned int i;
	int rc = sd_bus_message_open_container(reply, 'r', "stsa(ssss)");

	snprintf(point, sizeof(point), "%" PRIu64, w->pass);
	if (rc >= 0)
		rc = sd_bus_message_append(reply, "sts", w->name, w->time_us, point);
	if (rc >= 0)
		rc = sd_bus_message_open_container(reply, 'a', "(ssss)");
	for (i = 0; rc >= 0 && i < w->disk_count; i++)
		rc = sd_bus_message_append(reply, "(ssss)", w->disks[i].name, w->disks[i].source,
					   w->disks[i].file, w->disks[i].format);
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
	for (i = 0; rc >= 0 && i < query->list.count; i++)
		rc = append(reply, &query->list.at[i]);
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
		log_warn("cannot answer with the tests of %s: error %d", query->vm, -rc);
	query_free(query);
}

int failovers_get(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	struct service *service = userdata;
	struct query *query;
	const char *vm;
	int rc = sd_bus_message_read(m, "s", &vm);

	if (rc < 0)
		return rc;
	if (!store_name_valid(vm))
		return sd_bus_reply_method_return(m, FAILOVERS_SIGNATURE,
						  SERVICE_INVALID_PARAMETER, 0,
						  "that cannot be a VM's name");
	if (service->queries >= MAX_QUERIES)
		return sd_bus_reply_method_return(m, FAILOVERS_SIGNATURE, SERVICE_IN_USE, 0,
						  "too many ask at once: try again");
	query = calloc(1, sizeof(*query));
	if (!query)
		return -ENOMEM;
	query->service = service;
	service->queries++;
	snprintf(query->vm, sizeof(query->vm), "%s", vm);
	query->call = sd_bus_message_ref(m);
	rc = task_start(service->loop, &service->tasks, read_list, on_read, query);
	if (rc) {
		query_free(query);
		return rc;
	}
	return 1;
}
