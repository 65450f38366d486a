/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The replica role: listens for primaries, one thread per connection, each with
 * the store of one VM open while the connection lasts.
 */
#ifndef VMR_REPLICA_REPLICA_H
#define VMR_REPLICA_REPLICA_H

#include <stdbool.h>
#include <stdint.h>

#include "../common/err.h"

#define REPLICA_MAX_CONNECTIONS 64

struct replica;

struct replica_options {
	const char *root;	/* directory of the stores, e.g. /var/lib/vmreplica/replica */
	const char *address;	/* to listen on; null: all, IPv6 and IPv4 */
	uint16_t port;		/* 0: WIRE_PORT */
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
	uint64_t receiving_pass;	/* 0: none */
	uint64_t receiving_done_bytes, receiving_total_bytes;
	uint64_t last_pass;
	unsigned int points;
	uint64_t last_point_time_us;	/* 0: none */
};

/* Fills *list with an array for the caller to free; also VMs without a connection. */
int replica_list(struct replica *replica, struct replica_status **list, unsigned int *count,
		 struct err *e);

/* Deletes a VM's replica with all its points; -EBUSY while its primary is connected, -ENOENT. */
int replica_delete(struct replica *replica, const char *vm, struct err *e);

#endif
