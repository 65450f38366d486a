/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The replica's side of a comparison: hashes its newest state while the primary hashes its disk,
 * and says where the two differ. Changes nothing but what is under a seed's name.
 */
#ifndef VMR_REPLICA_COMPARE_H
#define VMR_REPLICA_COMPARE_H

#include "../store/store.h"
#include "../wire/wire.h"

/*
 * @header and @compare: the COMPARE frame just received on @sock. Runs until all of its range is
 * compared. No pass may be under way. @stop_fd: eventfd that ends it with -ECANCELED; -1: none.
 */
int compare_serve(int sock, struct store *store, const struct wire_header *header,
		  const struct wire_compare *compare, int stop_fd, struct err *e);

#endif
