/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the parts of the service share. Everything here belongs to the thread of
 * the event loop, which never waits for the network or a disk's data: that is done by
 * tasks (task.h).
 */
#ifndef VMR_SERVICE_SERVICE_H
#define VMR_SERVICE_SERVICE_H

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "../libblkcbt/blkcbt.h"
#include "../replica/replica.h"
#include "config.h"

struct job;
struct relationship;

struct service {
	sd_event *loop;
	sd_bus *bus;
	struct config config;
	char *primary_dir;		/* state files */
	char *replica_dir;		/* stores */
	struct replica *replica;	/* null: this host is no replica */
	/* for looking, never for a pass; null: the module was not there */
	struct cbt *cbt;
	struct relationship *relationships;	/* list, oldest first */
	struct job *jobs;			/* list, oldest first */
	unsigned int next_relationship;	/* number of its object */
	unsigned int next_job;
	unsigned int tasks;		/* running */
	bool stopping;
	/* CLOCK_MONOTONIC: then the tasks are no longer waited for */
	uint64_t stop_by_us;
	bool listing_replicas;		/* a task is */
	unsigned int replica_changes;	/* by jobs; see replicas.h */
	unsigned int queries;		/* tasks that read points */
	unsigned int questions;		/* to polkit, without an answer yet */
	uint64_t replicas_due_us;	/* CLOCK_MONOTONIC */
	sd_event_source *tick;
};

/*
 * Return values of methods, and error codes of jobs, as Hyper-V's.
 *
 * FAILED: a system call did, as the sentence says. ACCESS_DENIED: neither root nor granted by
 * polkit. NOT_SUPPORTED: a value that the interface knows and this service does not.
 * STATUS_UNKNOWN: the VM's state file is damaged, and was left alone. TIMEOUT: the replica, or a
 * disk, did not answer in time. INVALID_PARAMETER: a value is out of bounds or makes no sense.
 * IN_USE: a job works on it, or it is taken. INVALID_STATE: not now, or not in this role.
 * INCORRECT_TYPE: a setting of another D-Bus type, a start time that is no time. NOT_AVAILABLE: the
 * replica cannot be reached, or this host keeps none. OUT_OF_MEMORY: memory, or one of the limits
 * that bound it. NOT_FOUND: no such VM, job, disk or directory.
 */
enum service_code {
	SERVICE_OK = 0,
	SERVICE_JOB_STARTED = 4096,
	SERVICE_FAILED = 32768,
	SERVICE_ACCESS_DENIED = 32769,
	SERVICE_NOT_SUPPORTED = 32770,
	SERVICE_STATUS_UNKNOWN = 32771,
	SERVICE_TIMEOUT = 32772,
	SERVICE_INVALID_PARAMETER = 32773,
	SERVICE_IN_USE = 32774,
	SERVICE_INVALID_STATE = 32775,
	SERVICE_INCORRECT_TYPE = 32776,
	SERVICE_NOT_AVAILABLE = 32777,
	SERVICE_OUT_OF_MEMORY = 32778,
	SERVICE_NOT_FOUND = 32779,
};

/* The code that says best what a negative errno means. */
enum service_code service_code_of(int error);

uint64_t service_now_us(void);		/* CLOCK_MONOTONIC, microseconds */

#endif
