/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One primary's connection: a thread that has the store of one VM open while it
 * lasts, and after it until the store's merges are done.
 */
#ifndef VMR_REPLICA_CONNECTION_H
#define VMR_REPLICA_CONNECTION_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "receive.h"
#include "replica.h"
#include "trouble.h"

/* How long a newer connection of a VM, or a deletion, waits for an older one to end. */
#define CONNECTION_END_S 20

enum connection_state {
	CONNECTION_FREE,
	CONNECTION_RUNNING,
	CONNECTION_ENDED,	/* the thread is to be joined */
};

struct connection {
	struct connections *all;
	enum connection_state state;
	pthread_t thread;
	int sock;
	int stop_fd;			/* eventfd: readable when it is to end */
	bool stopping;
	bool connected;			/* the primary is there, and its store is open */
	uint64_t generation;		/* of the store since this one's first pass; 0: none yet */
	uint64_t number;		/* the larger, the newer */
	uint64_t claim;			/* 0: no VM yet; else the larger, the newer */
	char vm[WIRE_NAME_BYTES];
	uint8_t relationship[16];
	_Atomic uint64_t receiving_pass;	/* 0: none */
	struct receive_progress progress;
};

struct connections {
	const char *root;
	/* as of struct replica_options; set before there are connections */
	bool (*is_primary)(void *arg, const char *vm, const char *relationship);
	void *arg;
	pthread_mutex_t lock;		/* guards all of each connection that is not atomic */
	pthread_cond_t changed;		/* a connection has ended (CLOCK_MONOTONIC) */
	int ended_fd;			/* eventfd: poked when one has ended */
	uint64_t added, claims;
	struct troubles troubles;	/* has a lock of its own */
	struct connection at[REPLICA_MAX_CONNECTIONS];
};

/* 0 or a negative errno. @root must outlive it. */
int connections_init(struct connections *all, const char *root);
/* Ends all connections and waits for their threads. */
void connections_exit(struct connections *all);

/* Joins the threads that have ended. */
void connections_reap(struct connections *all);

/*
 * Takes @sock over, also on failure. With REPLICA_MAX_CONNECTIONS the oldest that has not said
 * which VM it is about is ended for it; -EUSERS: all have, or what pthread says. Waits for
 * seconds at most. Only the thread that reaps may call it.
 */
int connections_add(struct connections *all, int sock);

/* The connection of @vm whose primary is there, or null. Caller holds the lock. */
struct connection *__connections_find(struct connections *all, const char *vm);

/*
 * The store of @vm, taken from whoever works on it, also from its primary's connection, which is
 * refused until the store is closed again and then tries anew. Errors of store_open(); -EBUSY: it
 * was not to be had.
 */
int connections_take_store(struct connections *all, const char *vm, struct store **store,
			   struct err *e);

/* What @replica is made of, for the rest of this folder. */
struct connections *replica_connections(struct replica *replica);
const char *replica_root(const struct replica *replica);

/*
 * Ends what still works on @vm after its primary has left, and waits for it.
 * -EBUSY: a primary is connected, or it did not end in time.
 */
int connections_end_idle(struct connections *all, const char *vm, struct err *e);

#endif
