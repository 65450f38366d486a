// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdarg.h>
#include <stdio.h>

#include "judge.h"

static void say(struct relationship *r, enum relationship_state state,
		enum relationship_health health, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

static void say(struct relationship *r, enum relationship_state state,
		enum relationship_health health, const char *fmt, ...)
{
	va_list ap;

	r->view.state = state;
	r->view.health = health;
	va_start(ap, fmt);
	vsnprintf(r->view.reason_text, sizeof(r->view.reason_text), fmt, ap);
	va_end(ap);
}

static void judge_initial(struct relationship *r)
{
	const char *vm = r->state.vm;

	if (!r->state.start_wanted)
		say(r, RELATIONSHIP_READY, RELATIONSHIP_WARNING,
		    "nothing is replicated yet: run `vmreplica start-replication %s`", vm);
	else if (r->failure[0])
		say(r, RELATIONSHIP_CRITICAL, RELATIONSHIP_CRITICALLY_ILL,
		    "%s (the initial replication goes on by itself from where it stopped)", r->failure);
	else if (r->state.last_point)
		say(r, RELATIONSHIP_INITIAL, RELATIONSHIP_WARNING,
		    "the whole disk is being sent again; the points that there are stay");
	else
		say(r, RELATIONSHIP_INITIAL, RELATIONSHIP_WARNING,
		    "the initial replication is under way; there is no point yet");
}

/* The tracker may know of a reason before the next pass stumbles over it. */
static bool judge_tracking(struct relationship *r)
{
	uint32_t untrusted = track_untrusted(&r->track);

	if (r->track_error[0])
		say(r, RELATIONSHIP_CRITICAL, RELATIONSHIP_CRITICALLY_ILL, "%s", r->track_error);
	else if (untrusted)
		say(r, RELATIONSHIP_CRITICAL, RELATIONSHIP_CRITICALLY_ILL,
		    "tracking was interrupted (%s): run `vmreplica start-replication %s`, which sends the whole disk again into a new point and keeps the old ones",
		    track_untrusted_reason(untrusted), r->state.vm);
	else
		return false;
	return true;
}

static void judge_primary(struct relationship *r)
{
	const struct state *state = &r->state;

	if (state->suspended)
		say(r, RELATIONSHIP_SUSPENDED, RELATIONSHIP_WARNING,
		    "suspended; changes are tracked meanwhile: run `vmreplica resume %s`", state->vm);
	else if (!state->initial_complete)
		judge_initial(r);
	else if (r->failure[0])
		say(r, RELATIONSHIP_CRITICAL, RELATIONSHIP_CRITICALLY_ILL, "%s", r->failure);
	else if (judge_tracking(r))
		return;
	else if (r->warning[0])
		say(r, RELATIONSHIP_REPLICATING, RELATIONSHIP_WARNING, "%s", r->warning);
	else if (!state->last_point)
		say(r, RELATIONSHIP_REPLICATING, RELATIONSHIP_WARNING, "there is no point yet");
	else if (state->statistics.last_milliseconds > state->interval_s * UINT64_C(1000))
		say(r, RELATIONSHIP_REPLICATING, RELATIONSHIP_WARNING,
		    "the last pass took %.1f s, longer than the interval of %u s",
		    state->statistics.last_milliseconds / 1000.0, state->interval_s);
	else
		say(r, RELATIONSHIP_REPLICATING, RELATIONSHIP_OK, "%s", "");
}

static void judge_replica(struct relationship *r)
{
	if (r->status.released)
		say(r, RELATIONSHIP_DISABLED, RELATIONSHIP_OK,
		    "its primary ended the replication; the points are kept until `vmreplica disable %s --delete-points`",
		    r->status.vm);
	else if (!r->status.points)
		say(r, RELATIONSHIP_INITIAL, RELATIONSHIP_WARNING, "there is no point yet");
	else
		say(r, RELATIONSHIP_REPLICATING, RELATIONSHIP_OK, "%s", "");
}

void judge(struct relationship *r)
{
	if (r->mode == RELATIONSHIP_PRIMARY)
		judge_primary(r);
	else
		judge_replica(r);
}
