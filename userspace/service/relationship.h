/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A relationship as the service sees it: one that this host is the primary of, or
 * one whose replica it keeps. Loop's thread only.
 */
#ifndef VMR_SERVICE_RELATIONSHIP_H
#define VMR_SERVICE_RELATIONSHIP_H

#include "../primary/peer.h"
#include "../primary/state.h"
#include "../primary/track.h"
#include "job.h"
#include "service.h"

enum relationship_mode { RELATIONSHIP_PRIMARY = 1, RELATIONSHIP_REPLICA = 2 };

enum relationship_state {
	RELATIONSHIP_DISABLED = 0,
	RELATIONSHIP_READY = 1,
	RELATIONSHIP_INITIAL = 2,	/* waiting to complete the initial replication */
	RELATIONSHIP_REPLICATING = 3,
	RELATIONSHIP_SUSPENDED = 7,
	RELATIONSHIP_CRITICAL = 8,
};

enum relationship_health {
	RELATIONSHIP_OK = 1,
	RELATIONSHIP_WARNING = 2,
	RELATIONSHIP_CRITICALLY_ILL = 3
};

/* Properties on the bus, read there by offset. */
struct relationship_view {
	uint16_t state, health, mode, port;
	uint32_t interval_s;
	int compress, initial_complete, connected, released;
	const char *vm, *uuid, *reason, *host, *job;
	uint64_t last_point_time_us, last_point, last_pass, pending_bytes;
	uint64_t passes, failures, bytes, wire_bytes, last_bytes, last_wire_bytes,
		last_milliseconds;
	uint64_t receiving_pass, receiving_done_bytes, receiving_total_bytes;
	uint32_t points;
	char reason_text[ERR_TEXT_BYTES];
	struct relationship *relationship;	/* this */
};

struct relationship {
	struct relationship_view view;
	struct service *service;
	struct relationship *next;
	enum relationship_mode mode;
	unsigned int number;
	char path[64];
	/* primary */
	struct state_file *file;
	struct state state;		/* copy of the file's, taken by relationship_refresh() */
	struct job *job;		/* has not ended; null: none */
	struct peer peer;		/* while there is a job: the job's thread's */
	struct job *removal;		/* begins when @job has ended */
	uint64_t due_us;		/* CLOCK_MONOTONIC: next pass, if one may run by itself */
	unsigned int failures;		/* passes in a row */
	char failure[ERR_TEXT_BYTES];	/* why the last one failed; "": it did not */
	char warning[ERR_TEXT_BYTES];	/* what was not as it should be though it did not fail */
	/* as the kernel said at looked_us; disk_count 0: it could not be asked */
	struct track track;
	char track_error[ERR_TEXT_BYTES];	/* why not */
	uint64_t looked_us;
	/* replica */
	struct replica_status status;
	bool listed;			/* by the listing just taken */
};

/* Takes @file over. */
struct relationship *relationship_new_primary(struct service *service, struct state_file *file);
struct relationship *relationship_new_replica(struct service *service,
					      const struct replica_status *status);
void relationship_free(struct relationship *r);
void relationship_free_all(struct service *service);

struct relationship *relationship_find(struct service *service, const char *vm,
				       enum relationship_mode mode);
struct relationship *relationship_at(struct service *service, const char *path);

/* Brings r->view up to date, asking the kernel at most five times a second. */
void relationship_refresh(struct relationship *r);

/* A job for a pass: the first (type JOB_INITIAL, with all that may follow) or a delta. Begun. */
struct job *relationship_start_pass(struct relationship *r, enum job_type type);

/* Begins r->removal; there is no other job. */
void relationship_begin_removal(struct relationship *r);

/* Changes the state file: sets @suspended, or @start_wanted; ends with signals on the bus. */
int relationship_set_suspended(struct relationship *r, bool suspended, struct err *e);
int relationship_set_start_wanted(struct relationship *r, bool start_wanted, struct err *e);

/* A pass may be run by the schedule, at r->due_us. */
bool relationship_scheduled(const struct relationship *r);

#endif
