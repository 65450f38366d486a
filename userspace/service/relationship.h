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
	RELATIONSHIP_PREPARED = 4,	/* all was sent, for a planned failover */
	RELATIONSHIP_RECOVERED = 5,	/* failed over, to be reverted or committed */
	RELATIONSHIP_COMMITTED = 6,
	RELATIONSHIP_SUSPENDED = 7,
	RELATIONSHIP_CRITICAL = 8,
	RELATIONSHIP_WAITING_FOR_RESYNC = 9,
	RELATIONSHIP_RESYNCHRONIZING = 10,
	RELATIONSHIP_RESYNC_SUSPENDED = 11,
	RELATIONSHIP_FAILING_OVER = 12,
	RELATIONSHIP_UNKNOWN = 17,	/* its state file is damaged */
};

enum relationship_health {
	RELATIONSHIP_OK = 1,
	RELATIONSHIP_WARNING = 2,
	RELATIONSHIP_CRITICALLY_ILL = 3
};

/* One thing that is not as it should be. */
struct relationship_issue {
	enum relationship_health health;
	char text[ERR_TEXT_BYTES];	/* what it is, and what to do */
};

#define RELATIONSHIP_MAX_ISSUES 8

#define RELATIONSHIP_UNKNOWN_BYTES UINT64_MAX

/* Properties on the bus, read there by offset. */
struct relationship_view {
	uint16_t state, health, mode, port, last_type, history;
	uint32_t interval_s, history_spacing_s;
	int compress, initial_complete, connected, released, auto_resync;
	const char *vm, *uuid, *reason, *host, *job;
	/* pending: RELATIONSHIP_UNKNOWN_BYTES if it is not tracked */
	uint64_t last_point_time_us, last_point, last_pass, pending_bytes;
	uint64_t start_time_us, last_sent_time_us, rate, rate_now;
	uint64_t passes, failures, bytes, wire_bytes, last_bytes, last_wire_bytes,
		last_milliseconds;
	uint64_t receiving_pass, receiving_done_bytes, receiving_total_bytes;
	uint64_t failover_point, used_bytes;
	const char *tracking, *tracking_reason;
	bool reversed;			/* of a replica: its VM is replicated from here by now */
	uint32_t points, tests;
	/* the gravest comes first, and is @reason */
	unsigned int issue_count;
	struct relationship_issue issues[RELATIONSHIP_MAX_ISSUES];
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
	struct state_file *file;	/* null: it is damaged, and nothing else is known */
	char damage[ERR_TEXT_BYTES];	/* how */
	struct state state;		/* copy of the file's, taken by relationship_refresh() */
	struct job *job;		/* has not ended; null: none */
	struct peer peer;		/* while there is a job: the job's thread's */
	struct job *removal;		/* begins when @job has ended */
	/*
	 * CLOCK_MONOTONIC: when the next pass may begin by itself, and when it should by the
	 * interval, which is earlier while passes fail; when the last one began
	 */
	uint64_t due_us, cycle_us, begun_us;
	uint64_t judged_us;		/* what was missed up to then is recorded, or forgotten */
	unsigned int failures;		/* passes in a row */
	char failure[ERR_TEXT_BYTES];	/* why the last one failed; "": it did not */
	char warning[ERR_TEXT_BYTES];	/* what was not as it should be though it did not fail */
	/* as the kernel said at looked_us; disk_count 0: it could not be asked */
	struct track track;
	char track_error[ERR_TEXT_BYTES];	/* why not */
	bool no_tracker;		/* that is why */
	uint64_t looked_us;
	/* replica */
	struct replica_status status;
	bool listed;			/* by the listing just taken */
};

/*
 * Why each pass of a primary's compares all of the disks: the last one did, or there is no tracker
 * for the next one. Null: what changes is tracked.
 */
static inline const char *relationship_untracked(const struct relationship *r)
{
	return r->state.untracked[0] ? r->state.untracked :
	       r->no_tracker	     ? r->track_error :
				       NULL;
}

/* Takes @file over. */
struct relationship *relationship_new_primary(struct service *service, struct state_file *file);
/* A relationship of which only the name and the sentence @damage are known. */
struct relationship *relationship_new_damaged(struct service *service, const char *vm,
					      const char *damage);
struct relationship *relationship_new_replica(struct service *service,
					      const struct replica_status *status);
void relationship_free(struct relationship *r);
void relationship_free_all(struct service *service);

struct relationship *relationship_find(struct service *service, const char *vm,
				       enum relationship_mode mode);
struct relationship *relationship_at(struct service *service, const char *path);

/*
 * Brings r->view up to date, asking the kernel at most five times a second, and each five seconds
 * while it has no tracker.
 */
void relationship_refresh(struct relationship *r);

/*
 * A job for a pass: the first (type JOB_INITIAL, with all that may follow), one that compares
 * (JOB_RESYNC), those of a look at all that the replica has (JOB_VERIFY), the last one before a
 * planned failover (JOB_PREPARE) or a delta. In the queue.
 */
struct job *relationship_start_pass(struct relationship *r, enum job_type type);

/* Which of these the next pass is. */
enum job_type relationship_next_pass(const struct relationship *r);

/* Begins r->removal; there is no other job. */
void relationship_begin_removal(struct relationship *r);

/* These change the state file, and end with signals on the bus. */
int relationship_set_suspended(struct relationship *r, bool suspended, struct err *e);
/* A planned failover does not take place. */
int relationship_clear_prepared(struct relationship *r, struct err *e);
/* The initial replication of this type is wanted, at @start_us since 1970 UTC, 0: at once. */
int relationship_set_start(struct relationship *r, enum state_initial type, uint64_t start_us,
			   const char *export_dir, struct err *e);
/* Another time for what is wanted. */
int relationship_set_start_time(struct relationship *r, uint64_t start_us, struct err *e);
/* What was wanted is over, or is no longer wanted. */
int relationship_clear_start(struct relationship *r, struct err *e);
/* The next pass is to compare; when not, and such a pass has begun, it goes on all the same. */
int relationship_set_resync(struct relationship *r, bool wanted, uint64_t start_us, struct err *e);
/* Takes the settings of @state over. */
int relationship_modify(struct relationship *r, const struct state *state, struct err *e);
int relationship_reset_statistics(struct relationship *r, struct err *e);

/* The next pass may begin at once, and its cycle begins with it. */
void relationship_due_now(struct relationship *r);

/* Cycles that have come and gone since the last pass began, beyond those that are recorded. */
uint64_t relationship_missed(const struct relationship *r);
/* Records these: what comes is counted by another interval, or in another period. */
int relationship_judge_cycles(struct relationship *r, struct err *e);

/* A pass may be run by the schedule, at r->due_us. */
bool relationship_scheduled(const struct relationship *r);

#endif
