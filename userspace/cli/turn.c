// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "turn.h"
#include "wait.h"

#define MAX_TURNS 10	/* of a pass by the schedule that was first */

/* Waits until no job works on @vm. */
static int wait_for_turn(const char *vm, bool progress, struct err *e)
{
	const struct client_relationship *r;
	struct client_snapshot snapshot;
	char path[CLIENT_PATH_BYTES] = "";
	struct client_job job;
	struct err other = { 0 };
	int rc = client_snapshot(&snapshot, e);

	if (rc)
		return rc;
	r = client_find(&snapshot, vm, CLIENT_PRIMARY);
	if (r && strcmp(r->job, "/"))
		snprintf(path, sizeof(path), "%.63s", r->job);
	client_snapshot_free(&snapshot);
	if (!path[0])
		return 0;
	/* How the other one ended is not ours to judge. */
	return wait_for_job(path, progress, &job, &other) == -EINTR ? err_set(e, -EINTR, "%s", other.text) : 0;
}

static int call_once(const char *method, const char *vm, char path[CLIENT_PATH_BYTES],
		     struct err *e)
{
	sd_bus_message *call;
	int rc = client_call(method, &call, e);

	if (!rc)
		rc = client_append(call, e, "s", vm);
	return rc ? rc : client_send(call, path, e);
}

int turn_call(const char *method, const char *vm, bool progress, char path[CLIENT_PATH_BYTES],
	      struct err *e)
{
	unsigned int turn;
	int rc = -EBUSY;

	for (turn = 0; rc == -EBUSY && turn < MAX_TURNS; turn++) {
		rc = turn ? wait_for_turn(vm, progress, e) : 0;
		if (!rc)
			rc = call_once(method, vm, path, e);
	}
	return rc;
}
