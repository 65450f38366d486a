// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "properties.h"

#define SERVICE		"org.vmreplica"
#define ROOT		"/org/vmreplica"
#define OBJECT		"/org/vmreplica/ReplicationService"
#define INTERFACE	"org.vmreplica.ReplicationService"

/* polkit may wait for the user */
#define PATIENCE_US	150000000

enum { OK = 0, JOB_STARTED = 4096, IN_USE = 32774 };	/* return values of the service */

static sd_bus *bus;
static uint32_t last_code;
static bool answered;

int client_open(const char *address, struct err *e)
{
	int rc;

	if (!address) {
		rc = sd_bus_open_system(&bus);
	} else {
		rc = sd_bus_new(&bus);
		if (rc >= 0)
			rc = sd_bus_set_address(bus, address);
		if (rc >= 0)
			rc = sd_bus_set_bus_client(bus, 1);
		if (rc >= 0)
			rc = sd_bus_start(bus);
	}
	if (rc >= 0)	/* polkit may ask the user for a password */
		rc = sd_bus_set_allow_interactive_authorization(bus, 1);
	return rc < 0 ? err_sys(e, rc, "cannot connect to the D-Bus") : 0;
}

/* --- calls --------------------------------------------------------------------- */

static int explain(const sd_bus_error *error, int rc, struct err *e)
{
	if (sd_bus_error_has_name(error, SD_BUS_ERROR_SERVICE_UNKNOWN) ||
	    sd_bus_error_has_name(error, SD_BUS_ERROR_NAME_HAS_NO_OWNER))
		return err_set(e, -EREMOTEIO,
			       "the service vmreplicad does not run on this host: start it with `systemctl start vmreplicad`");
	if (sd_bus_error_has_name(error, SD_BUS_ERROR_ACCESS_DENIED))
		return err_set(e, -EACCES, "only root may do this");
	if (sd_bus_error_has_name(error, SD_BUS_ERROR_UNKNOWN_OBJECT))
		return err_set(e, -ENOENT, "there is no such thing any more");
	if (sd_bus_error_has_name(error, SD_BUS_ERROR_NO_REPLY))
		return err_set(e, -EREMOTEIO, "the service vmreplicad went away or does not answer");
	return err_set(e, rc, "the service vmreplicad could not be asked: %.250s",
		       error->message ? error->message : strerror(-rc));
}

int client_query(sd_bus_message *call, sd_bus_message **reply, struct err *e)
{
	sd_bus_error error = SD_BUS_ERROR_NULL;
	int rc = sd_bus_call(bus, call, PATIENCE_US, &error, reply);

	rc = rc < 0 ? explain(&error, rc, e) : 0;
	sd_bus_error_free(&error);
	sd_bus_message_unref(call);
	return rc;
}

int client_call(const char *method, sd_bus_message **call, struct err *e)
{
	int rc = sd_bus_message_new_method_call(bus, call, SERVICE, OBJECT, INTERFACE, method);

	return rc < 0 ? err_sys(e, rc, "cannot ask the service") : 0;
}

int client_append(sd_bus_message *call, struct err *e, const char *types, ...)
{
	va_list ap;
	int rc;

	va_start(ap, types);
	rc = sd_bus_message_appendv(call, types, ap);
	va_end(ap);
	if (rc >= 0)
		return 0;
	sd_bus_message_unref(call);
	return err_sys(e, rc, "cannot ask the service");
}

bool client_last_code(uint32_t *code)
{
	*code = last_code;
	return answered;
}

int client_send(sd_bus_message *call, char job[CLIENT_PATH_BYTES], struct err *e)
{
	const char *path, *message;
	sd_bus_message *reply;
	uint32_t code;
	int rc = client_query(call, &reply, e);

	if (rc)
		return rc;
	rc = sd_bus_message_read(reply, "uos", &code, &path, &message);
	if (rc >= 0) {
		last_code = code;
		answered = true;
	}
	if (rc < 0)
		rc = err_sys(e, rc, "the service's answer is not understood");
	else if (code == IN_USE)
		rc = err_set(e, -EBUSY, "%s", message);
	else if (code != OK && code != JOB_STARTED)
		rc = err_set(e, -EREMOTEIO, "%s", message);
	else
		rc = 0;
	if (!rc && job)
		snprintf(job, CLIENT_PATH_BYTES, "%s", code == JOB_STARTED ? path : "");
	sd_bus_message_unref(reply);
	return rc;
}

int client_accepted(sd_bus_message *reply, const char *types, struct err *e)
{
	const char *message;
	uint32_t code;
	int rc = sd_bus_message_read(reply, "u", &code);

	if (rc >= 0)
		rc = sd_bus_message_skip(reply, types);
	if (rc >= 0)
		rc = sd_bus_message_read(reply, "s", &message);
	if (rc >= 0 && code != OK)
		return err_set(e, -EREMOTEIO, "%s", message);
	if (rc >= 0)
		rc = sd_bus_message_rewind(reply, 1);
	if (rc >= 0)
		rc = sd_bus_message_skip(reply, "u");
	return rc < 0 ? err_sys(e, rc, "the service's answer is not understood") : 0;
}

/* --- what there is --------------------------------------------------------------- */

bool client_job_ended(const struct client_job *job)
{
	return job->state >= CLIENT_JOB_COMPLETED;
}

bool client_compares(const struct client_relationship *r)
{
	return !strcmp(r->tracking, "compare");
}

unsigned int client_number(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? strtoul(slash + 1, NULL, 10) : 0;
}

int client_job(const char *path, struct client_job *job, struct err *e)
{
	sd_bus_message *call, *reply;
	int rc = sd_bus_message_new_method_call(bus, &call, SERVICE, path, "org.freedesktop.DBus.Properties",
						"GetAll");

	if (rc >= 0)
		rc = sd_bus_message_append(call, "s", "org.vmreplica.Job");
	if (rc < 0)
		return err_sys(e, rc, "cannot ask for the job");
	rc = client_query(call, &reply, e);
	if (rc)
		return rc;
	memset(job, 0, sizeof(*job));
	snprintf(job->path, sizeof(job->path), "%s", path);
	rc = properties_of_job(reply, job);
	sd_bus_message_unref(reply);
	return rc < 0 ? err_sys(e, rc, "the service's answer is not understood") : 0;
}

static void *append(void **array, unsigned int *count, size_t size)
{
	char *grown = reallocarray(*array, *count + 1, size);

	if (!grown)
		return NULL;
	*array = grown;
	memset(grown + *count * size, 0, size);
	return grown + (*count)++ * size;
}

/* At "{sa{sv}}": one interface of the object at @path. */
static int read_interface(sd_bus_message *m, const char *path, struct client_snapshot *s)
{
	struct client_relationship *r;
	struct client_job *job;
	const char *interface;
	int rc = sd_bus_message_read(m, "s", &interface);

	if (rc < 0)
		return rc;
	if (!strcmp(interface, "org.vmreplica.Relationship")) {
		r = append((void **)&s->relationships, &s->relationship_count, sizeof(*r));
		if (!r)
			return -ENOMEM;
		snprintf(r->path, sizeof(r->path), "%s", path);
		return properties_of_relationship(m, r);
	}
	if (!strcmp(interface, "org.vmreplica.Job")) {
		job = append((void **)&s->jobs, &s->job_count, sizeof(*job));
		if (!job)
			return -ENOMEM;
		snprintf(job->path, sizeof(job->path), "%s", path);
		return properties_of_job(m, job);
	}
	return sd_bus_message_skip(m, "a{sv}");
}

/* At "{oa{sa{sv}}}": one object. */
static int read_object(sd_bus_message *m, struct client_snapshot *s)
{
	const char *path;
	int rc = sd_bus_message_read(m, "o", &path);

	if (rc >= 0)
		rc = sd_bus_message_enter_container(m, 'a', "{sa{sv}}");
	while (rc >= 0 && (rc = sd_bus_message_enter_container(m, 'e', "sa{sv}")) > 0) {
		rc = read_interface(m, path, s);
		if (rc >= 0)
			rc = sd_bus_message_exit_container(m);
	}
	return rc < 0 ? rc : sd_bus_message_exit_container(m);
}

static int by_relationship(const void *a, const void *b)
{
	const struct client_relationship *x = a, *y = b;

	return (client_number(x->path) > client_number(y->path)) -
	       (client_number(x->path) < client_number(y->path));
}

static int by_job(const void *a, const void *b)
{
	const struct client_job *x = a, *y = b;

	return (client_number(x->path) > client_number(y->path)) -
	       (client_number(x->path) < client_number(y->path));
}

int client_snapshot(struct client_snapshot *s, struct err *e)
{
	sd_bus_message *call, *reply;
	int rc = sd_bus_message_new_method_call(bus, &call, SERVICE, ROOT,
						"org.freedesktop.DBus.ObjectManager", "GetManagedObjects");

	memset(s, 0, sizeof(*s));
	if (rc < 0)
		return err_sys(e, rc, "cannot ask the service");
	rc = client_query(call, &reply, e);
	if (rc)
		return rc;
	rc = sd_bus_message_enter_container(reply, 'a', "{oa{sa{sv}}}");
	while (rc >= 0 && (rc = sd_bus_message_enter_container(reply, 'e', "oa{sa{sv}}")) > 0) {
		rc = read_object(reply, s);
		if (rc >= 0)
			rc = sd_bus_message_exit_container(reply);
	}
	sd_bus_message_unref(reply);
	if (rc < 0) {
		client_snapshot_free(s);
		return err_sys(e, rc, "the service's answer is not understood");
	}
	if (s->relationship_count)
		qsort(s->relationships, s->relationship_count, sizeof(*s->relationships),
		      by_relationship);
	if (s->job_count)
		qsort(s->jobs, s->job_count, sizeof(*s->jobs), by_job);
	return 0;
}

void client_snapshot_free(struct client_snapshot *s)
{
	unsigned int i;

	for (i = 0; i < s->relationship_count; i++) {
		free(s->relationships[i].disks);
		free(s->relationships[i].issues);
	}
	free(s->relationships);
	free(s->jobs);
	memset(s, 0, sizeof(*s));
}

const struct client_relationship *client_find(const struct client_snapshot *s, const char *vm,
					      int mode)
{
	unsigned int i;

	for (i = 0; i < s->relationship_count; i++) {
		if (s->relationships[i].mode == mode && !strcmp(s->relationships[i].vm, vm))
			return &s->relationships[i];
	}
	return NULL;
}

const struct client_job *client_find_job(const struct client_snapshot *s, const char *path)
{
	unsigned int i;

	for (i = 0; i < s->job_count; i++) {
		if (!strcmp(s->jobs[i].path, path))
			return &s->jobs[i];
	}
	return NULL;
}
