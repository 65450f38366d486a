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

#endif
