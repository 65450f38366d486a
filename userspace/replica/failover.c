// SPDX-License-Identifier: GPL-2.0-or-later
#include "../common/log.h"
#include "connection.h"
#include "failover.h"

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

int replica_failover(struct replica *replica, const char *vm, uint64_t pass, struct err *e)
{
	struct store *store;
	int r = connections_take_store(replica_connections(replica), vm, &store, e);

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
	int r = connections_take_store(replica_connections(replica), vm, &store, e);

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
	int r = connections_take_store(replica_connections(replica), vm, &store, e);

	if (r)
		return r;
	r = store_failover_commit(store, e);
	if (!r)
		log_notice("%s: the failover is final", vm);
	store_close(store);
	return r;
}
