// SPDX-License-Identifier: GPL-2.0-or-later
/* vmreplicad: brings the parts up in order, and down in reverse. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "../common/log.h"
#include "imports.h"
#include "job.h"
#include "job_object.h"
#include "journal.h"
#include "options.h"
#include "reboots.h"
#include "relationship.h"
#include "relationship_object.h"
#include "schedule.h"
#include "service.h"
#include "service_object.h"

#define BUS_NAME	"org.vmreplica"
#define BUS_ROOT	"/org/vmreplica"
#define STOP_US		25000000	/* for passes to be given up; more hangs in a disk */
#define STOP_CHECK_US	20000

/* --- directories ------------------------------------------------------------------ */

static int make_directory(const char *parent, const char *name, char **path)
{
	if (asprintf(path, "%s%s", parent, name) < 0) {
		*path = NULL;
		return -ENOMEM;
	}
	if (mkdir(*path, 0700) < 0 && errno != EEXIST) {
		log_err("cannot make the directory %s: %s", *path, strerror(errno));
		return -errno;
	}
	return 0;
}

static int make_directories(struct service *service, const char *root)
{
	char *base;
	int rc = make_directory(root, "", &base);

	free(base);
	if (!rc)
		rc = make_directory(root, "/primary", &service->primary_dir);
	if (!rc)
		rc = make_directory(root, "/replica", &service->replica_dir);
	return rc;
}

/* --- bus ----------------------------------------------------------------------------- */

static int open_bus(const struct options *options, sd_bus **bus)
{
	int rc;

	if (options->session_bus)
		return sd_bus_open_user(bus);
	if (!options->bus)
		return sd_bus_open_system(bus);
	rc = sd_bus_new(bus);
	if (rc >= 0)
		rc = sd_bus_set_address(*bus, options->bus);
	if (rc >= 0)
		rc = sd_bus_set_bus_client(*bus, 1);
	return rc < 0 ? rc : sd_bus_start(*bus);
}

static int register_objects(struct service *service)
{
	int rc = sd_bus_add_object_manager(service->bus, NULL, BUS_ROOT);

	if (rc >= 0)
		rc = service_object_register(service);
	if (rc >= 0)
		rc = relationship_object_register(service);
	if (rc >= 0)
		rc = job_object_register(service);
	return rc;
}

static int start_bus(struct service *service, const struct options *options)
{
	int rc = open_bus(options, &service->bus);

	if (rc >= 0)	/* a bus that went away ends the service; systemd starts both again */
		rc = sd_bus_set_exit_on_disconnect(service->bus, 1);
	if (rc >= 0)
		rc = sd_bus_attach_event(service->bus, service->loop, SD_EVENT_PRIORITY_NORMAL);
	if (rc >= 0)
		rc = register_objects(service);
	if (rc < 0) {
		log_err("cannot use the D-Bus: %s", strerror(-rc));
		return rc;
	}
	return 0;
}

/* When all that the name promises is there; what is asked meanwhile waits for the loop. */
static int take_name(struct service *service)
{
	int rc = sd_bus_request_name(service->bus, BUS_NAME, 0);

	if (rc == -EEXIST || rc == -EALREADY)
		log_err("the name " BUS_NAME " is taken: another vmreplicad runs");
	else if (rc < 0)
		log_err("cannot take the name " BUS_NAME " on the D-Bus: %s (is org.vmreplica.conf installed?)",
			strerror(-rc));
	return rc < 0 ? rc : 0;
}

/* --- relationships ---------------------------------------------------------------------- */

static void load(const char *vm, void *arg)
{
	struct service *service = arg;
	struct state_file *file;
	struct err e = { 0 };

	if (state_file_load(service->primary_dir, vm, &file, &e)) {
		log_err("%s: %s", vm, e.text);
		relationship_new_damaged(service, vm, e.text);
		return;
	}
	/* Where it was not done as the host came up. */
	reboots_restore(file, service->primary_dir, vm);
	if (!relationship_new_primary(service, file)) {
		log_err("%s: no memory for the relationship", vm);
		state_file_close(file);
	}
}

/* Any thread. A file that cannot be read may be of another relationship. */
static bool is_primary(void *arg, const char *vm, const char *relationship)
{
	const struct service *service = arg;
	struct state *state = malloc(sizeof(*state));
	struct state_file *file;
	struct err why = { 0 };
	bool other = true;
	int rc = state ? state_file_load(service->primary_dir, vm, &file, &why) : -ENOMEM;

	if (!rc) {
		state_file_get(file, state);
		other = strcmp(state->relationship, relationship);
		state_file_close(file);
	}
	free(state);
	return rc != -ENOENT && other;
}

static int start_replica(struct service *service)
{
	const struct config *config = &service->config;
	struct replica_options replica = {
		.root = service->replica_dir,
		.address = config->address[0] ? config->address : NULL,
		.port = config->port,
		.is_primary = is_primary,
		.arg = service,
	};
	struct err e = { 0 };
	int rc = config->listen ? replica_start(&replica, &service->replica, &e) : 0;

	if (rc)
		log_err("%s", e.text);
	return rc;
}

/* --- end ----------------------------------------------------------------------------------- */

static int on_stop_check(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct service *service = userdata;

	if (service->tasks && service_now_us() < service->stop_by_us) {
		sd_event_source_set_time(source, service_now_us() + STOP_CHECK_US);
		return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
	}
	return sd_event_exit(service->loop, 0);
}

static int on_signal(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata)
{
	struct service *service = userdata;
	struct job *job;

	if (service->stopping)
		return 0;
	log_info("stopping");
	sd_notify(0, "STOPPING=1");
	service->stopping = true;
	service->stop_by_us = service_now_us() + STOP_US;
	for (job = service->jobs; job; job = job->next) {
		if (!job_ended(job))
			job_cancel(job, JOB_CANCEL_SHUTDOWN);
	}
	return sd_event_add_time(service->loop, NULL, CLOCK_MONOTONIC, 0, 1, on_stop_check,
				 service);
}

static int handle_signals(struct service *service)
{
	sigset_t set;
	int rc;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	rc = sd_event_add_signal(service->loop, NULL, SIGTERM, on_signal, service);
	if (rc >= 0)
		rc = sd_event_add_signal(service->loop, NULL, SIGINT, on_signal, service);
	return rc < 0 ? rc : 0;
}

static int start(struct service *service, const struct options *options)
{
	struct err e = { 0 };
	int rc = sd_event_default(&service->loop);

	/* Signals first: threads inherit the mask. */
	if (rc >= 0)
		rc = handle_signals(service);
	if (rc >= 0)
		rc = make_directories(service, service->config.state_dir);
	if (!rc)
		rc = start_bus(service, options);
	if (!rc)
		rc = start_replica(service);
	if (rc)
		return rc;
	rc = state_file_list(service->primary_dir, load, service, &e);
	if (rc)
		log_err("%s", e.text);
	else
		rc = take_name(service);
	/* The name also keeps a second service from working on the same disks. */
	if (rc < 0)
		return rc;
	imports_go_on(service);
	return schedule_start(service);
}

static void stop(struct service *service)
{
	if (service->tasks) {
		/* Their threads use what would be freed; the kernel gives their passes up. */
		log_warn("%u tasks did not end in time", service->tasks);
		_exit(1);
	}
	if (service->replica)
		replica_stop(service->replica);
	sd_event_source_unref(service->tick);
	relationship_free_all(service);
	job_free_all(service);
	if (service->cbt)
		cbt_close(service->cbt);
	sd_bus_flush_close_unref(service->bus);
	sd_event_unref(service->loop);
	free(service->primary_dir);
	free(service->replica_dir);
}

int main(int argc, char **argv)
{
	struct service service = { 0 };
	struct options options;
	struct err e = { 0 };
	int rc = options_parse(argc, argv, &options, &service.config, &e);

	if (options.verbose)
		log_set_level(LOG_LEVEL_DEBUG);
	journal_use();
	if (rc)
		log_err("%s", e.text);
	if (rc || options.check_config)
		return rc ? 1 : 0;
	if (options.save_tracking || options.restore_tracking)
		return reboots_run(service.config.state_dir, options.save_tracking) ? 1 : 0;
	rc = start(&service, &options);
	if (!rc) {
		sd_notify(0, "READY=1");
		log_info("ready");
		rc = sd_event_loop(service.loop);
	}
	stop(&service);
	return rc ? 1 : 0;
}
