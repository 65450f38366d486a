/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What jobs do, each in its job's thread: touches neither bus nor relationships. */
#ifndef VMR_SERVICE_WORK_H
#define VMR_SERVICE_WORK_H

#include "../primary/peer.h"
#include "../primary/state.h"
#include "job.h"

#define WORK_MAX_PASSES 16	/* passes in a row to get one that is whole */
#define WORK_MAX_LOCATION 255	/* bytes of the path of a medium */

/* Argument of work_create(); free with work_create_free(). */
struct work_create {
	const char *dir;		/* of the state files */
	struct state state;
	/* of a reverse: where the store is whose failover's disks these are; null: none */
	const char *replica_dir;
	struct state_file *file;	/* the result */
};

/* Looks at the replica, begins to track the disks, makes the state file. */
int work_create(struct job *job, struct err *e);
void work_create_free(void *create);

/* Argument of work_replicate(). */
struct work_replicate {
	struct state_file *file;
	struct peer *peer;
	bool allow_full, allow_compare;	/* as of struct pass_spec */
	/* of work_verify() alone: what it finds; the job's thread's until the job has ended */
	struct verify *verify;
	/* of a failure: all passes are durable, but none was whole */
	bool no_point;
};

void work_replicate_free(void *replicate);

/* Passes until one is a point. */
int work_replicate(struct job *job, struct err *e);

/* The same with disks that are in no use; then all that is on them is recorded as sent. */
int work_prepare(struct job *job, struct err *e);

/*
 * The same once all of the disks has been compared with what the replica has. 0 with a sentence:
 * something differed, and was sent again.
 */
int work_verify(struct job *job, struct err *e);

/* Argument of work_remove(). */
struct work_remove {
	struct state_file *file;	/* of the primary; null: there is none here */
	struct replica *replica;	/* whose copy to delete; null: leave it */
};

/* 0 with a sentence: done, but the replica could not be told. */
int work_remove(struct job *job, struct err *e);

/* Argument of work_import(). */
struct work_import {
	struct replica *replica;
	char location[WORK_MAX_LOCATION + 1];
};

/* Joins an exported initial pass to the replica. */
int work_import(struct job *job, struct err *e);

/* Argument of work_test(). */
struct work_test {
	char host[256];
	uint16_t port;
};

/* Is there a replica, and does it speak our language? */
int work_test(struct job *job, struct err *e);

#endif
