/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Waiting for a job to end. */
#ifndef VMR_CLI_WAIT_H
#define VMR_CLI_WAIT_H

#include <stdbool.h>

#include "client.h"

/*
 * Waits for the job at @path, with a progress bar on a terminal and a line now and
 * then otherwise if @progress. 0: it completed. Else the sentence why it did not, or that the
 * user stopped waiting (the job goes on). *job is what was seen last.
 */
int wait_for_job(const char *path, bool progress, struct client_job *job, struct err *e);

/* Sleeps a moment; -EINTR with a sentence when the user stops waiting. @what goes on. */
int wait_a_moment(const char *what, struct err *e);

#endif
