// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <poll.h>

#include "../common/log.h"
#include "connection.h"
#include "failover.h"

/* The store may be held for a moment by a connection that begins, or one that ends. */
#define OPEN_TRIES   100
#define OPEN_PAUSE_MS 100

int replica_test_begin(struct replica *replica, const char *vm, const char *name, uint64_t pass,
		       struct err *e)
{
	return store_test_begin(replica_root(replica), vm, name, pass, e);
}

int replica_test_end(struct replica *replica, const char *vm, const char *name, struct err *e)
{
	return store_test_end(replica_root(replica), vm, name, e);
}

int replica_writables(struct replica *replica, const char *vm, struct store_writables *list,
		      struct err *e)
{
	return store_writables(replica_root(replica), vm, list, e);
}

/* The store, taken from whoever works on it. */
static int take_store(struct replica *replica, const char *vm, struct store **store, struct err *e)
{
	int r = -EBUSY;

	for (unsigned int i = 0; r == -EBUSY && i < OPEN_TRIES; i++) {
		if (i)
			poll(NULL, 0, OPEN_PAUSE_MS);
		r = connections_end(replica_connections(replica), vm, e);
		if (!r)
			r = store_open(replica_root(replica), vm, store, e);
	}
	return r;
}

int replica_failover(struct replica *replica, const char *vm, uint64_t pass, struct err *e)
{
	struct store *store;
	int r = take_store(replica, vm, &store, e);

	if (r)
		return r;
	r = store_failover_begin(store, pass, e);
	if (!r)
		log_notice("%s: failed over to point %llu", vm,
			   (unsigned long long)store_failover(store).pass);
	store_close(store);
	return r;
}

int replica_revert(struct replica *replica, const char *vm, struct err *e)
{
	struct store *store;
	int r = take_store(replica, vm, &store, e);

	if (r)
		return r;
	r = store_failover_revert(store, e);
	if (!r)
		log_notice("%s: the failover was reverted", vm);
	store_close(store);
	return r;
}

int replica_commit(struct replica *replica, const char *vm, struct err *e)
{
	struct store *store;
	int r = take_store(replica, vm, &store, e);

	if (r)
		return r;
	r = store_failover_commit(store, e);
	if (!r)
		log_notice("%s: the failover is final", vm);
	store_close(store);
	return r;
}
