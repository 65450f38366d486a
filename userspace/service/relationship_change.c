// SPDX-License-Identifier: GPL-2.0-or-later
/* What users change: each change is in the state file when these return. */
#include <string.h>

#include "../primary/record.h"
#include "relationship.h"
#include "relationship_object.h"
#include "schedule.h"

int relationship_clear_prepared(struct relationship *r, struct err *e)
{
	int rc = record_prepared(r->file, false, e);

	relationship_due_now(r);
	relationship_object_changed(r);
	return rc;
}

int relationship_set_suspended(struct relationship *r, bool suspended, struct err *e)
{
	int rc;

	if (!r->job)
		peer_close(&r->peer);
	state_file_begin(r->file)->suspended = suspended;
	rc = state_file_end(r->file, e);
	r->failure[0] = 0;
	r->failures = 0;
	relationship_due_now(r);
	relationship_object_changed(r);
	return rc;
}

int relationship_set_start(struct relationship *r, enum state_initial type, uint64_t start_us,
			   const char *export_dir, struct err *e)
{
	struct state *state = state_file_begin(r->file);
	int rc;

	snprintf(state->export_dir, sizeof(state->export_dir), "%s", export_dir);
	state->start_wanted = true;
	state->start_time_us = start_us;
	state->initial_type = type;
	state->resync_wanted = type == STATE_INITIAL_SEEDED;
	rc = state_file_end(r->file, e);
	relationship_object_changed(r);
	return rc;
}

int relationship_set_start_time(struct relationship *r, uint64_t start_us, struct err *e)
{
	int rc;

	state_file_begin(r->file)->start_time_us = start_us;
	rc = state_file_end(r->file, e);
	relationship_object_changed(r);
	return rc;
}

int relationship_clear_start(struct relationship *r, struct err *e)
{
	struct state *state = state_file_begin(r->file);
	int rc;

	state->start_wanted = false;
	state->start_time_us = 0;
	state->resync_wanted = false;
	rc = state_file_end(r->file, e);
	relationship_object_changed(r);
	return rc;
}

int relationship_set_resync(struct relationship *r, bool wanted, uint64_t start_us, struct err *e)
{
	struct state *state = state_file_begin(r->file);
	int rc;

	state->resync_wanted = wanted;
	state->start_time_us = wanted ? start_us : 0;
	rc = state_file_end(r->file, e);
	relationship_object_changed(r);
	return rc;
}

int relationship_modify(struct relationship *r, const struct state *from, struct err *e)
{
	bool moves = strcmp(from->host, r->state.host) || from->port != r->state.port;
	int rc = from->interval_s != r->state.interval_s ? relationship_judge_cycles(r, e) : 0;
	struct state *state;

	if (rc)
		return rc;
	state = state_file_begin(r->file);
	strcpy(state->host, from->host);
	state->port = from->port;
	state->interval_s = from->interval_s;
	state->compress = from->compress;
	state->rate = from->rate;
	state->auto_resync = from->auto_resync;
	state->history = from->history;
	rc = state_file_end(r->file, e);
	if (rc)
		return rc;
	if (moves)
		peer_close(&r->peer);
	if (r->begun_us && !r->job && !r->failures)
		r->due_us = r->cycle_us = r->begun_us + from->interval_s * UINT64_C(1000000);
	relationship_refresh(r);
	relationship_object_changed(r);
	schedule_wake(r->service);
	return 0;
}

int relationship_reset_statistics(struct relationship *r, struct err *e)
{
	int rc = relationship_judge_cycles(r, e);

	if (!rc)
		rc = record_new_period(r->file, e);
	relationship_refresh(r);
	relationship_object_changed(r);
	return rc;
}
