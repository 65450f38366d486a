/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The replica role: listens for primaries, one thread per connection, each with
 * the store of one VM open while the connection lasts.
 */
#ifndef VMR_REPLICA_REPLICA_H
#define VMR_REPLICA_REPLICA_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "../common/err.h"
#include "../store/store.h"

#define REPLICA_MAX_CONNECTIONS 64

struct replica;

struct replica_options {
	const char *root;	/* directory of the stores, e.g. /var/lib/vmreplica/replica */
	const char *address;	/* to listen on; null: all, IPv6 and IPv4 */
	uint16_t port;		/* 0: WIRE_PORT */
	/*
	 * This host is the primary of @vm itself, by another relationship than @relationship: then
	 * no primary may send it here. Called from any thread. May be null.
	 */
	bool (*is_primary)(void *arg, const char *vm, const char *relationship);
	void *arg;		/* of it */
};

int replica_start(const struct replica_options *options, struct replica **replica, struct err *e);
/* Ends all connections (a pass that is not yet durable is dropped) and joins the threads. */
void replica_stop(struct replica *replica);

/* One VM's replica as status shows it. */
struct replica_status {
	char vm[64];
	char relationship[37];
	bool connected;
	bool released;		/* its primary removed the relationship */
	/* the first copy comes on a medium: points are shown when it has been imported */
	bool awaits_import;
	uint64_t receiving_pass;	/* 0: none */
	uint64_t receiving_done_bytes, receiving_total_bytes;
	uint64_t last_pass;
	unsigned int points;
	uint64_t last_point_time_us;	/* 0: none */
	unsigned int tests;		/* failover.h */
	uint64_t used_bytes;		/* of the file system, by this replica */
	char trouble[ERR_TEXT_BYTES];	/* why no pass can be taken just now; "": none is known */
	struct store_failover failover;
};

/* Fills *list with an array for the caller to free; also VMs without a connection. */
int replica_list(struct replica *replica, struct replica_status **list, unsigned int *count,
		 struct err *e);

/* The same of one VM. -ENOENT: no such replica. */
int replica_look(struct replica *replica, const char *vm, struct replica_status *status,
		 struct err *e);

/* The caller's counters, from 0 on. Written by the importing thread, read by any. */
struct replica_import_progress {
	_Atomic uint64_t *total_bytes;	/* of the medium, which is read twice: twice its bytes */
	_Atomic uint64_t *done_bytes;
};

/*
 * ImportInitialReplica: joins what @location holds, the directory that was given to the export or
 * the VM's sub-directory in it, to the replica of @vm. First all of the medium is verified; then
 * the replica's store is taken over from its primary's connection, which is refused with -EBUSY
 * meanwhile and tries again. Points become visible when it returns 0. Blocks for as long as it
 * takes: for a thread of its own. @cancel_fd: eventfd, readable ends it with -ECANCELED and
 * the import can be begun again; -1: none.
 * -ENOENT: no medium there; -EUCLEAN: damaged; -EAGAIN: half-written; -EINVAL: foreign (of
 * another VM, relationship, or export than the one that is awaited), or the replica is complete
 * already; each with a sentence.
 */
int replica_import(struct replica *replica, const char *vm, const char *location, int cancel_fd,
		   struct replica_import_progress *progress, struct err *e);

/* Deletes a VM's replica with all its points; -EBUSY while its primary is connected, -ENOENT. */
int replica_delete(struct replica *replica, const char *vm, struct err *e);

#endif
