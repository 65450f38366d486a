/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Receives one pass: socket -> verify -> decompress -> store (io_uring, deep queue)
 * -> durable -> acknowledge. Bounded buffers, mapped once per pass.
 */
#ifndef VMR_REPLICA_RECEIVE_H
#define VMR_REPLICA_RECEIVE_H

#include <stdatomic.h>
#include <stdint.h>

#include "../common/err.h"
#include "../store/store.h"
#include "../wire/session.h"

struct receive_options {		/* 0: default of each */
	unsigned int depth;		/* writes in flight, 1 to 256, default 16 */
	unsigned int threads;		/* decoders (checksum, lz4), 1 to 16, default 2 */
	void (*durable)(void *arg);	/* the pass is, and the primary has yet to hear of it */
	void *arg;
};

struct receive_progress {
	_Atomic uint64_t total_bytes;	/* as PASS_BEGIN announced */
	_Atomic uint64_t done_bytes;
	_Atomic uint64_t wire_bytes;
};

/*
 * @begin is the PASS_BEGIN frame's payload just received on @sock. Runs until the
 * pass is durable and PASS_DURABLE was sent (0), or was aborted by the primary
 * (-ECANCELED, PASS_ABORTED sent), or failed: then the pass is aborted in the
 * store, and @e says why; the caller sends the ERROR frame and closes.
 * @stop_fd: eventfd that ends it with -ESHUTDOWN; -1: none.
 */
int receive_pass(int sock, struct store *store, const struct wire_pass_begin *begin,
		 const struct receive_options *options, struct receive_progress *progress,
		 int stop_fd, struct err *e);

#endif
