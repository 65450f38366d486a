// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "export.h"
#include "sink.h"

static int check(const struct state *state, struct err *e)
{
	/* A medium that was lost on the way may be made anew. */
	if (state->initial_complete && !state->medium_pass)
		return err_set(e, -EINVAL,
			       "the first copy of %s is made already: a resynchronization sends what differs",
			       state->vm);
	if (state->export_dir[0] != '/')
		return err_set(e, -EINVAL, "'%.200s' is not an absolute path of a directory to export to",
			       state->export_dir);
	return 0;
}

/* What a seeded replication has begun is of no use on a medium. */
static int forget_seed(struct state_file *file, struct state *state, struct err *e)
{
	if (!state->comparing && !state->resync_wanted)
		return 0;
	state = state_file_begin(file);
	state->comparing = state->resync_wanted = false;
	return state_file_end(file, e);
}

int export_run(const struct export_spec *spec, struct pass_result *result, struct err *e)
{
	struct state *state = calloc(1, sizeof(*state));
	struct sink *sink = NULL;
	struct peer peer;
	struct pass_spec pass = {
		.file = spec->file,
		.peer = &peer,
		.allow_full = true,
		.export = true,
		.cancel_fd = spec->cancel_fd,
		.progress = spec->progress,
		.phase = spec->phase,
	};
	int rc = state ? 0 : err_sys(e, -ENOMEM, "cannot begin an export");

	peer_init(&peer);
	if (!rc) {
		state_file_get(spec->file, state);
		rc = check(state, e);
	}
	if (!rc)
		rc = forget_seed(spec->file, state, e);
	if (!rc)
		rc = sink_start(state->export_dir, state, &sink, &peer.sock, &peer.opened, e);
	if (!rc)
		rc = pass_run(&pass, result, e);
	peer_close(&peer);
	sink_join(sink);
	free(state);
	return rc;
}
