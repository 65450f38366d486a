// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "turn.h"
#include "wait.h"

#define MAX_TURNS 10	/* of a pass by the schedule that was first */

#define TYPE_DELTA 105

/*
 * Waits until no job works on @vm. With @follows one that is no delta is -EBUSY at once, and @e is
 * as it was.
 */
static int wait_for_turn(const char *vm, bool follows, bool progress, struct err *e)
{
	const struct client_relationship *r;
	const struct client_job *other_job;
	struct client_snapshot snapshot;
	bool refused;
	char path[CLIENT_PATH_BYTES] = "";
	struct client_job job;
	struct err other = { 0 };
	int rc = client_snapshot(&snapshot, e);

	if (rc)
		return rc;
	r = client_find(&snapshot, vm, CLIENT_PRIMARY);
	if (r && strcmp(r->job, "/"))
		snprintf(path, sizeof(path), "%.63s", r->job);
	other_job = client_find_job(&snapshot, path);
	refused = follows && other_job && other_job->type != TYPE_DELTA;
	client_snapshot_free(&snapshot);
	if (refused)
		return -EBUSY;
	if (!path[0])
		return 0;
	/* How the other one ended is not ours to judge. */
	return wait_for_job(path, progress, &job, &other) == -EINTR ? err_set(e, -EINTR, "%s", other.text) : 0;
}

/* Sends @call, which stays the caller's, until nothing is in its way. */
static int send(sd_bus_message *call, const char *vm, bool follows, bool progress,
		char path[CLIENT_PATH_BYTES], struct err *e)
{
	unsigned int turn;
	int rc = -EBUSY;

	for (turn = 0; rc == -EBUSY && turn < MAX_TURNS; turn++) {
		rc = turn ? wait_for_turn(vm, follows, progress, e) : 0;
		if (rc)
			return rc;
		rc = client_send(sd_bus_message_ref(call), path, e);
	}
	return rc;
}

int turn_send(sd_bus_message *call, const char *vm, bool progress, char path[CLIENT_PATH_BYTES],
	      struct err *e)
{
	int rc = send(call, vm, true, progress, path, e);

	sd_bus_message_unref(call);
	return rc;
}

int turn_call(const char *method, const char *vm, bool progress, char path[CLIENT_PATH_BYTES],
	      struct err *e)
{
	sd_bus_message *call;
	int rc = client_call(method, &call, e);

	if (!rc)
		rc = client_append(call, e, "s", vm);
	if (rc)
		return rc;
	rc = send(call, vm, false, progress, path, e);
	sd_bus_message_unref(call);
	return rc;
}
