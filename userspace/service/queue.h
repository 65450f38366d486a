/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Jobs that wait: for a time, and then for their turn, as only so many transfers run at the
 * same time. First come, first served.
 */
#ifndef VMR_SERVICE_QUEUE_H
#define VMR_SERVICE_QUEUE_H

#include "job.h"

/* @start_us: since 1970 UTC, 0: at once. May begin it before it returns. */
void queue_put(struct job *job, uint64_t start_us);

/* Another time for a job that still waits for one. */
void queue_move(struct job *job, uint64_t start_us);

/* Begins what can begin. */
void queue_run(struct service *service);

#endif
