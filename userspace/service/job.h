/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One piece of work that takes its time, and what is to be seen of it. */
#ifndef VMR_SERVICE_JOB_H
#define VMR_SERVICE_JOB_H

#include <pthread.h>
#include <stdatomic.h>

#include "../common/err.h"
#include "../primary/pass.h"
#include "service.h"

#define JOB_KEEP_S	300	/* an ended job is to be seen for so long */
#define JOB_MAX_ENDED	64	/* and so many of them at most */
#define JOB_MAX_LIVE	1024	/* that have not ended */

enum job_type {
	JOB_CREATE = 91,
	JOB_REMOVE = 93,
	JOB_INITIAL = 94,
	JOB_IMPORT = 95,
	JOB_FAILOVER = 97,
	JOB_REVERT = 98,
	JOB_COMMIT = 99,
	JOB_PREPARE = 100,		/* of a planned failover, on the primary */
	JOB_TEST = 102,
	JOB_END_TEST = 103,
	JOB_REVERSE = 104,
	JOB_DELTA = 105,
	JOB_RESYNC = 107,
	JOB_VERIFY = 112,
	JOB_TEST_CONNECTION = 115,
	JOB_EXPORT = 118,
};

enum job_state {
	JOB_NEW = 2,			/* begins at @scheduled_us */
	JOB_STARTING = 3,		/* waits for its turn */
	JOB_RUNNING = 4,
	JOB_COMPLETED = 7,
	JOB_TERMINATED = 8,
	JOB_EXCEPTION = 10,
};

enum job_cancel {
	JOB_GO_ON,
	JOB_CANCEL_USER,
	JOB_CANCEL_SUSPEND,
	JOB_CANCEL_REMOVE,
	JOB_CANCEL_SHUTDOWN
};

/* Properties on the bus, read there by offset. */
struct job_view {
	uint16_t type, state, percent;
	uint32_t error_code;
	int cancellable;
	const char *vm, *error, *phase;
	/* since 1970 UTC, 0: not yet; scheduled: when it is to begin, 0: at once */
	uint64_t submitted_us, scheduled_us, started_us;
	uint64_t keep_us;
	uint64_t elapsed_us;
	uint64_t total_bytes, done_bytes, zero_bytes, wire_bytes;
	uint64_t disk_bytes, pass, passes, point_time_us;
};

/* Bytes of the passes that have ended, and of the one under way. */
struct job_progress {
	/* protects the sums against the move from one to the other */
	pthread_mutex_t lock;
	uint64_t total_bytes, done_bytes, zero_bytes, wire_bytes;
	struct ship_progress pass;
};

struct job {
	struct job_view view;
	struct service *service;
	struct job *next;
	unsigned int number;
	char path[48];
	char vm[64];
	struct relationship *relationship;	/* whose job it is; null: none yet */
	enum job_cancel cancel;			/* why cancel_fd is readable */
	bool queued;				/* queue.h begins it */
	uint64_t begun_us, ended_us;		/* CLOCK_MONOTONIC, 0: not yet */
	int (*run)(struct job *job, struct err *e);	/* in the job's thread */
	void (*done)(struct job *job);		/* in the loop's thread */
	void *arg;				/* of these two */
	void (*free_arg)(void *arg);
	int rc;					/* what @run returned */
	struct err err;				/* what it said; with rc 0 a remark */
	/* for the job's thread */
	int cancel_fd;				/* eventfd */
	_Atomic int phase;			/* enum pass_phase */
	struct job_progress progress;
	_Atomic uint64_t pass, passes, point_time_us, disk_bytes;
};

/* What a new job is to do; @vm is copied. */
struct job_spec {
	enum job_type type;
	const char *vm;
	struct relationship *relationship;
	int (*run)(struct job *job, struct err *e);
	void (*done)(struct job *job);
	void *arg;
	void (*free_arg)(void *arg);	/* called when the job object goes, or was not made */
};

/* A job that waits for job_begin(); null: no memory, or there are JOB_MAX_LIVE. */
struct job *job_new(struct service *service, const struct job_spec *spec);
/* On failure the job ends at once, as if its work had failed. */
void job_begin(struct job *job);
/* Ends at once what has not begun and is queued. */
void job_cancel(struct job *job, enum job_cancel why);
bool job_ended(const struct job *job);
/* It sends disks' data, so it counts for the limit of transfers. */
bool job_is_transfer(const struct job *job);

/* The job's thread: the pass under way has ended. */
void job_pass_ended(struct job *job);

struct job *job_find(struct service *service, const char *path);
/* A job for this VM that has not ended. */
struct job *job_of_vm(struct service *service, const char *vm);
bool job_any_running(const struct service *service);

/* Brings job->view up to date. */
void job_refresh(struct job *job);

/* Drops ended jobs whose time is over. */
void job_expire(struct service *service);
void job_free_all(struct service *service);

#endif
