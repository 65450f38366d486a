/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A few threads that run jobs for one thread, the owner, which makes all calls
 * here. A job is a member of the owner's structure: nothing is allocated, and the
 * queues are bounded by how many jobs the owner has.
 */
#ifndef VMR_COMMON_WORKERS_H
#define VMR_COMMON_WORKERS_H

struct workers;

struct workers_job {
	struct workers_job *next;
	void (*run)(struct workers_job *job);	/* in one of the threads */
};

/* 0 or a negative errno. */
int workers_create(struct workers **workers, unsigned int threads);

/* Waits for the jobs that run; those that were not begun are dropped. Null is allowed. */
void workers_destroy(struct workers *workers);

void workers_put(struct workers *workers, struct workers_job *job);

/* Readable when a job has ended since the last workers_take(). */
int workers_fd(const struct workers *workers);

/*
 * All jobs that have ended since the last call, linked by @next, in the order of their end; or
 * null.
 */
struct workers_job *workers_take(struct workers *workers);

#endif
