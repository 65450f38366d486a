/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The replica as the primary meets it before and without a pass. */
#ifndef VMR_PRIMARY_PEER_H
#define VMR_PRIMARY_PEER_H

#include <stdint.h>

#include "../common/err.h"
#include "../wire/session.h"
#include "state.h"
#include "track.h"

/* @cancel_fd, here and below: an eventfd that ends it with -ECANCELED when readable. */

/* Can the replica be reached, and does it speak our language? */
int peer_probe(const char *host, uint16_t port, int cancel_fd, struct err *e);

/* Opens the session. @track: the disks as they are now; null: as they were recorded. */
int peer_open(int sock, const struct state *state, const struct track *track, struct session_opened *opened,
	      int cancel_fd, struct err *e);

/* Tells the replica that the relationship is removed; it keeps its points. */
int peer_release(const struct state *state, int cancel_fd, struct err *e);

#endif
