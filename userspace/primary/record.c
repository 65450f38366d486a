// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdio.h>

#include "../common/datetime.h"
#include "record.h"

int record_opened(struct state_file *file, struct err *e)
{
	state_file_begin(file)->replica_opened = true;
	return state_file_end(file, e);
}

int record_generation(struct state_file *file, uint64_t generation, struct err *e)
{
	struct state state;

	state_file_get(file, &state);
	if (generation <= state.generation)
		return 0;
	state_file_begin(file)->generation = generation;
	return state_file_end(file, e);
}

int record_prepared(struct state_file *file, bool prepared, struct err *e)
{
	state_file_begin(file)->prepared = prepared;
	return state_file_end(file, e);
}

int record_saved(struct state_file *file, const char *token, const char *boot, struct err *e)
{
	struct state *state = state_file_begin(file);

	snprintf(state->saved_token, sizeof(state->saved_token), "%s", token);
	snprintf(state->saved_boot, sizeof(state->saved_boot), "%s", boot);
	return state_file_end(file, e);
}

static void clear_checkpoints(struct state *state)
{
	unsigned int i;

	for (i = 0; i < state->disk_count; i++)
		state->disks[i].checkpoint_bytes = 0;
}

int record_incomplete(struct state_file *file, struct err *e)
{
	state_file_begin(file)->initial_complete = false;
	return state_file_end(file, e);
}

int record_comparing(struct state_file *file, bool initial, struct err *e)
{
	struct state *state = state_file_begin(file);

	state->comparing = true;
	if (initial)
		state->initial_complete = false;
	return state_file_end(file, e);
}

int record_full(struct state_file *file, uint64_t generation, struct err *e)
{
	struct state *state = state_file_begin(file);

	clear_checkpoints(state);
	state->resync_wanted = false;
	state->generation = generation;
	return state_file_end(file, e);
}

int record_untracked(struct state_file *file, const char *reason, struct err *e)
{
	struct state *state = state_file_begin(file);

	snprintf(state->untracked, sizeof(state->untracked), "%.*s", STATE_REASON_BYTES - 1,
		 reason);
	state->comparing = false;
	clear_checkpoints(state);
	return state_file_end(file, e);
}

int record_tracked(struct state_file *file, struct err *e)
{
	state_file_begin(file)->untracked[0] = 0;
	return state_file_end(file, e);
}

int record_awaited(struct state_file *file, struct err *e)
{
	state_file_begin(file)->medium_awaited = true;
	return state_file_end(file, e);
}

static void forget_medium(struct state *state)
{
	state->medium_pass = 0;
	state->medium_awaited = false;
}

int record_imported(struct state_file *file, struct err *e)
{
	forget_medium(state_file_begin(file));
	return state_file_end(file, e);
}

int record_checkpoint(struct state_file *file, unsigned int disk, uint64_t offset, struct err *e)
{
	state_file_begin(file)->disks[disk].checkpoint_bytes = offset;
	return state_file_end(file, e);
}

static void begin_period(struct state_period *period)
{
	*period = (struct state_period){ .since_us = datetime_now_us() };
}

/* The first count begins the first period. */
static struct state_period *period_of(struct state *state)
{
	if (!state->period.since_us)
		begin_period(&state->period);
	return &state->period;
}

static void count_pass(struct state_period *period, const struct record_pass *pass)
{
	period->passes++;
	period->bytes += pass->bytes;
	period->milliseconds += pass->milliseconds;
	if (pass->bytes > period->max_bytes)
		period->max_bytes = pass->bytes;
	if (pass->milliseconds > period->max_milliseconds)
		period->max_milliseconds = pass->milliseconds;
}

static void count(struct state *state, const struct record_pass *pass)
{
	struct state_statistics *statistics = &state->statistics;

	state->last_pass = pass->pass;
	state->last_sent_time_us = datetime_now_us();
	count_pass(period_of(state), pass);
	statistics->passes++;
	statistics->bytes += pass->bytes;
	statistics->wire_bytes += pass->wire_bytes;
	statistics->last_bytes = pass->bytes;
	statistics->last_wire_bytes = pass->wire_bytes;
	statistics->last_milliseconds = pass->milliseconds;
}

int record_slice(struct state_file *file, const struct record_pass *pass, struct err *e)
{
	count(state_file_begin(file), pass);
	return state_file_end(file, e);
}

int record_durable(struct state_file *file, const struct record_pass *pass, struct err *e)
{
	struct state *state = state_file_begin(file);

	count(state, pass);
	state->initial_complete = true;
	state->comparing = false;
	clear_checkpoints(state);
	if (pass->exported || pass->full)
		forget_medium(state);
	if (pass->exported)
		state->medium_pass = pass->pass;
	if (pass->point) {
		state->last_point = pass->pass;
		state->last_point_time_us = pass->cut_time_us;
	}
	return state_file_end(file, e);
}

static bool is_network(int code)
{
	switch (-code) {
	case ECONNREFUSED:
	case ECONNRESET:
	case ECONNABORTED:
	case EHOSTUNREACH:
	case EHOSTDOWN:
	case ENETUNREACH:
	case ENETDOWN:
	case ENOTCONN:
	case EPIPE:
	case ETIMEDOUT:
		return true;
	default:
		return false;
	}
}

int record_failure(struct state_file *file, int code, struct err *e)
{
	struct state *state = state_file_begin(file);

	state->statistics.failures++;
	period_of(state)->failures++;
	period_of(state)->network_failures += is_network(code);
	return state_file_end(file, e);
}

int record_missed(struct state_file *file, uint64_t cycles, struct err *e)
{
	period_of(state_file_begin(file))->missed += cycles;
	return state_file_end(file, e);
}

int record_new_period(struct state_file *file, struct err *e)
{
	begin_period(&state_file_begin(file)->period);
	return state_file_end(file, e);
}
