/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Failover on the replica's side. Each blocks for as long as disks take: for a thread of its
 * own. Errors as of store/failover.h, each with a sentence.
 */
#ifndef VMR_REPLICA_FAILOVER_H
#define VMR_REPLICA_FAILOVER_H

#include "../store/failover.h"
#include "replica.h"

/* Test @name of @pass (0: the newest point); passes go on meanwhile. */
int replica_test_begin(struct replica *replica, const char *vm, const char *name, uint64_t pass,
		       struct err *e);
int replica_test_end(struct replica *replica, const char *vm, const char *name, struct err *e);

/*
 * The VM is to run here, from @pass (0: the newest point). Ends the connection of its primary, a
 * pass under way is dropped, and the primary is refused from then on.
 */
int replica_failover(struct replica *replica, const char *vm, uint64_t pass, struct err *e);
/* Back to where it was: passes are taken again. */
int replica_revert(struct replica *replica, const char *vm, struct err *e);
/* For good. */
int replica_commit(struct replica *replica, const char *vm, struct err *e);

/* As store_writables(). */
int replica_writables(struct replica *replica, const char *vm, struct store_writables *list,
		      struct err *e);

#endif
