// SPDX-License-Identifier: GPL-2.0-or-later
#include "record.h"

int record_opened(struct state_file *file, struct err *e)
{
	state_file_begin(file)->replica_opened = true;
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

int record_full(struct state_file *file, struct err *e)
{
	clear_checkpoints(state_file_begin(file));
	return state_file_end(file, e);
}

int record_checkpoint(struct state_file *file, unsigned int disk, uint64_t offset, struct err *e)
{
	state_file_begin(file)->disks[disk].checkpoint_bytes = offset;
	return state_file_end(file, e);
}

int record_durable(struct state_file *file, const struct record_pass *pass, struct err *e)
{
	struct state *state = state_file_begin(file);
	struct state_statistics *statistics = &state->statistics;

	state->last_pass = pass->pass;
	state->initial_complete = true;
	clear_checkpoints(state);
	if (pass->point) {
		state->last_point = pass->pass;
		state->last_point_time_us = pass->cut_time_us;
	}
	statistics->passes++;
	statistics->bytes += pass->bytes;
	statistics->wire_bytes += pass->wire_bytes;
	statistics->last_bytes = pass->bytes;
	statistics->last_wire_bytes = pass->wire_bytes;
	statistics->last_milliseconds = pass->milliseconds;
	return state_file_end(file, e);
}
