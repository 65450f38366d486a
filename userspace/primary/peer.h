/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The replica as the primary meets it: the session that passes go through, and what
 * is said without one. A session that is kept for the next pass lets the replica merge
 * old passes in between, and take its time for that when the passes come fast.
 */
#ifndef VMR_PRIMARY_PEER_H
#define VMR_PRIMARY_PEER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "../common/err.h"
#include "../wire/session.h"
#include "state.h"
#include "track.h"

/* One thread at a time, but for peer_set_rate(). */
struct peer {
	int sock;			/* -1: no session; changes under @lock */
	pthread_mutex_t lock;
	uint64_t rate;			/* bytes a second, 0: no limit; under @lock */
	/* what the replica has; brought up to date after each pass */
	struct session_opened opened;
};

void peer_init(struct peer *peer);
void peer_close(struct peer *peer);

/*
 * At most so many bytes a second go out, from now on, 0: no limit. TCP does it, packet by
 * packet, so nothing waits in our threads. From any thread.
 */
void peer_set_rate(struct peer *peer, uint64_t rate);

/* There is a session, and the replica has neither hung up nor said anything since. */
bool peer_ready(const struct peer *peer);

/* @cancel_fd, here and below: an eventfd that ends it with -ECANCELED when readable. */

/* Can the replica be reached, and does it speak our language? */
int peer_probe(const char *host, uint16_t port, int cancel_fd, struct err *e);

int peer_connect(struct peer *peer, const struct state *state, int cancel_fd, struct err *e);

/*
 * Opens the session on the connection. @track: the disks as they are now; null: as they were
 * recorded.
 */
int peer_open(struct peer *peer, const struct state *state, const struct track *track,
	      int cancel_fd, struct err *e);

/*
 * Tells the replica of an open session that the initial pass @pass comes on a medium; it takes
 * deltas ahead of it from then on. -EINVAL: it has an initial pass, or awaits a newer one.
 */
int peer_await(struct peer *peer, uint64_t pass, int cancel_fd, struct err *e);

/* Tells the replica that the relationship is removed; it keeps its points. */
int peer_release(const struct state *state, int cancel_fd, struct err *e);

#endif
