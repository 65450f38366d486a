/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A call that has to wait while something else works on the VM. */
#ifndef VMR_CLI_TURN_H
#define VMR_CLI_TURN_H

#include "client.h"

/*
 * Calls @method(s vm), which answers with a job, when no other job works on @vm: one that runs
 * already may have begun before we were asked, so its end is waited for.
 */
int turn_call(const char *method, const char *vm, bool progress, char path[CLIENT_PATH_BYTES],
	      struct err *e);

/*
 * Sends the call (and frees it), which is about @vm. A pass that follows the changes is waited for,
 * as it comes and goes by itself; anything else that works on @vm makes it a refusal.
 */
int turn_send(sd_bus_message *call, const char *vm, bool progress, char path[CLIENT_PATH_BYTES],
	      struct err *e);

#endif
