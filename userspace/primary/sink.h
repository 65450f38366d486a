/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A medium that takes an initial pass as a replica does: a thread that speaks the replica's part
 * of a session over a socket, and writes what comes to files. So an export is read, packed,
 * checkpointed and interrupted by the same code as a pass over the network.
 */
#ifndef VMR_PRIMARY_SINK_H
#define VMR_PRIMARY_SINK_H

#include "../wire/session.h"
#include "state.h"

struct sink;

/*
 * Opens or makes the VM's sub-directory of @dir and begins to serve. *@sock: the primary's end, for
 * the caller to close, before sink_join(). *@opened: what the medium holds already, as a replica
 * would say it. -EEXIST: the sub-directory holds another relationship's export, or a complete one.
 */
int sink_start(const char *dir, const struct state *state, struct sink **sink, int *sock,
	       struct session_opened *opened, struct err *e);

/* Waits until what came is written, and frees it. Null is allowed. */
void sink_join(struct sink *sink);

#endif
