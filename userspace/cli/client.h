/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The service as seen from the bus. Functions: 0 or negative errno with the sentence in @e. */
#ifndef VMR_CLI_CLIENT_H
#define VMR_CLI_CLIENT_H

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-bus.h>

#include "../common/err.h"

#define CLIENT_TEXT_BYTES	ERR_TEXT_BYTES
#define CLIENT_PATH_BYTES	64

/* --- what there is ---------------------------------------------------------- */

#define CLIENT_UNKNOWN_BYTES UINT64_MAX	/* of pending_bytes, dirty_bytes */

struct client_disk {
	char name[64];
	char device[256];
	uint64_t size_bytes;
	uint32_t chunk_bytes;
	uint64_t dirty_bytes;
	uint32_t untrusted;
};

struct client_issue {
	uint16_t health;	/* 3 critical, 2 warning, 1 a note */
	char text[CLIENT_TEXT_BYTES];
};

enum { CLIENT_PRIMARY = 1, CLIENT_REPLICA = 2 };	/* client_relationship.mode */

struct client_relationship {
	char path[CLIENT_PATH_BYTES];
	char vm[CLIENT_TEXT_BYTES], uuid[CLIENT_TEXT_BYTES], reason[CLIENT_TEXT_BYTES];
	char host[CLIENT_TEXT_BYTES], job[CLIENT_TEXT_BYTES];
	char tracking[CLIENT_TEXT_BYTES], tracking_reason[CLIENT_TEXT_BYTES];
	uint16_t mode, state, health, port, history;
	uint32_t history_spacing_s, interval_s, points, tests;
	uint64_t failover_point, used_bytes;
	bool compress, initial_complete, connected, released;
	uint64_t last_point_time_us, last_point, last_pass, pending_bytes;
	uint64_t start_time_us, last_apply_time_us, rate, rate_now;
	uint64_t passes, failures, bytes, wire_bytes, last_bytes, last_wire_bytes,
		last_milliseconds;
	uint64_t receiving_pass, receiving_done_bytes, receiving_total_bytes;
	unsigned int disk_count;
	struct client_disk *disks;
	unsigned int issue_count;
	struct client_issue *issues;	/* the gravest first */
};

enum {		/* client_job.state */
	CLIENT_JOB_NEW = 2,
	CLIENT_JOB_RUNNING = 4,
	CLIENT_JOB_COMPLETED = 7,
	CLIENT_JOB_TERMINATED = 8,
	CLIENT_JOB_EXCEPTION = 10,
};

#define CLIENT_MAX_PLACES 256

struct client_place {
	char disk[64];
	uint64_t offset, length;
};

struct client_job {
	char path[CLIENT_PATH_BYTES];
	char vm[CLIENT_TEXT_BYTES], error[CLIENT_TEXT_BYTES], phase[CLIENT_TEXT_BYTES];
	uint16_t type, state, percent;
	uint32_t error_code;
	bool cancellable;
	uint64_t submitted_us, scheduled_us, started_us, elapsed_us;
	uint64_t total_bytes, done_bytes, zero_bytes, wire_bytes, disk_bytes;
	uint64_t pass, passes, point_time_us;
	/* of a verification: what differed, in all, and the first places of it */
	uint64_t difference_bytes;
	unsigned int place_count;
	struct client_place places[CLIENT_MAX_PLACES];
};

struct client_snapshot {
	unsigned int relationship_count, job_count;
	struct client_relationship *relationships;	/* by the number of their objects */
	struct client_job *jobs;			/* by number */
};

/* Connects to the bus at @address (null: the system's); closed when the program ends. */
int client_open(const char *address, struct err *e);

int client_snapshot(struct client_snapshot *snapshot, struct err *e);
void client_snapshot_free(struct client_snapshot *snapshot);
const struct client_relationship *client_find(const struct client_snapshot *snapshot,
					      const char *vm, int mode);
const struct client_job *client_find_job(const struct client_snapshot *snapshot, const char *path);

int client_job(const char *path, struct client_job *job, struct err *e);
bool client_job_ended(const struct client_job *job);
/* Each pass of it compares all of the disks. */
bool client_compares(const struct client_relationship *r);
/* The number at the end of a path. */
unsigned int client_number(const char *path);

/* --- calls --------------------------------------------------------------------- */

/* A call of a method of the service, to be filled with arguments and given to client_send(). */
int client_call(const char *method, sd_bus_message **call, struct err *e);

/* Adds arguments to a call that is then sent or freed: frees it on failure. */
int client_append(sd_bus_message *call, struct err *e, const char *types, ...);

/*
 * Sends the call (and frees it). The service's refusal is -EREMOTEIO with its sentence, or
 * -EBUSY when the VM is worked on already. @job: the job's path, "" without one; may be null.
 */
int client_send(sd_bus_message *call, char job[CLIENT_PATH_BYTES], struct err *e);

/* The return value of the last client_send() that was answered; false: there was none. */
bool client_last_code(uint32_t *code);

/* Sends a call with an answer of its own kind, for the caller to read and free. */
int client_query(sd_bus_message *call, sd_bus_message **reply, struct err *e);

/*
 * Looks, before anything is printed, whether such an answer is a refusal: return value, what is
 * asked for (of these @types), sentence. Left behind the return value.
 */
int client_accepted(sd_bus_message *reply, const char *types, struct err *e);

#endif
