/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Work that may block, in a thread of its own, with its end reported to the event loop. */
#ifndef VMR_SERVICE_TASK_H
#define VMR_SERVICE_TASK_H

#include <systemd/sd-event.h>

/*
 * Runs @run(arg) in a new thread, then @done(arg) in the loop's thread. @running
 * counts the tasks whose @done has not been called yet; loop's thread only.
 */
int task_start(sd_event *loop, unsigned int *running, void (*run)(void *arg),
	       void (*done)(void *arg), void *arg);

#endif
