/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One pass of one relationship, from the cut to the replica's word that it is
 * durable. Blocks for as long as it takes: runs in a thread of its own.
 */
#ifndef VMR_PRIMARY_PASS_H
#define VMR_PRIMARY_PASS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "../common/err.h"
#include "peer.h"
#include "ship.h"
#include "state.h"
#include "verify.h"

enum pass_phase {
	PASS_PHASE_PREPARE,	/* look at the tracker */
	PASS_PHASE_CONNECT,
	PASS_PHASE_CUT,
	PASS_PHASE_COMPARE,	/* with what the replica has */
	PASS_PHASE_SEND,
	PASS_PHASE_CONFIRM,	/* all sent, the replica makes it durable */
};

const char *pass_phase_name(enum pass_phase phase);

struct pass_spec {
	/* of the relationship; what is acknowledged is recorded there */
	struct state_file *file;
	/* to the replica: used if it is ready, kept after success only */
	struct peer *peer;
	bool allow_full;		/* all may be sent again, if it must be */
	/* all may be compared, if it must be, and what differs sent; @allow_full goes before */
	bool allow_compare;
	/* the next slice of a look at all that the replica has goes before the cut; null: none */
	struct verify *verify;
	bool export;			/* @peer is a medium (export.h), not the replica */
	/* eventfd: readable ends it with -ECANCELED and nothing lost */
	int cancel_fd;
	struct ship_progress *progress;
	_Atomic int *phase;		/* enum pass_phase */
};

struct pass_result {
	uint64_t pass;			/* id */
	bool initial;
	/* all of the instant of the cut: a point, unless @initial */
	bool whole;
	uint64_t cut_time_us;
	uint64_t bytes;			/* of disk that it held */
	uint64_t wire_bytes;
};

/*
 * 0: durable on the replica and recorded. -ESTALE: all would have to be sent again,
 * and @allow_full is not set; or, with @verify, compared. After any failure nothing is lost: what
 * was not acknowledged is in the kernel's map again.
 */
int pass_run(const struct pass_spec *spec, struct pass_result *result, struct err *e);

#endif
