/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the next pass has to be: a pure function of what both sides and the kernel know. */
#ifndef VMR_PRIMARY_PLAN_H
#define VMR_PRIMARY_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "../wire/session.h"

struct plan_facts {
	/* this side's record */
	bool initial_complete;		/* the relationship is past its initial replication */
	bool allow_full;		/* the user asked for StartReplication */
	bool allow_compare;		/* AutoResynchronize is on, and it is its time */
	bool resync_wanted;		/* the user asked for Resynchronize */
	bool medium_lost;		/* what was exported is not what the replica has */
	bool comparing;			/* a pass that compares has begun and is not durable */
	uint64_t last_pass;		/* newest pass that was acknowledged, 0: none */
	uint64_t generation;		/* the largest that the replica has said, 0: none */
	unsigned int disk_count;
	/* acknowledged of an unfinished initial pass */
	uint64_t checkpoint_bytes[WIRE_MAX_DISKS];
	/* the kernel */
	bool untrusted;			/* a disk's map is not complete */
	/* there is no map, or was none since the last pass: all is compared, unasked */
	bool untracked;
	bool medium;			/* it goes onto one: there is nothing to compare with */
	/* the replica */
	struct session_opened replica;
};

enum plan_answer {
	PLAN_GO,
	/* all has to be sent again, or compared, and nobody asked for it, or it cannot be */
	PLAN_TRACKING_INTERRUPTED,
	/* the same, because the replica no longer has what it acknowledged */
	PLAN_REPLICA_LOST,
};

struct plan {
	enum wire_pass_kind kind;
	bool full;			/* every chunk, not only what the kernel's map holds */
	bool compare;			/* of these, only what differs from the replica's is sent */
	uint64_t pass;			/* id */
	/*
	 * What an initial pass sends of a disk before this stays owed until the whole
	 * pass is durable, whatever was checkpointed: the replica was durable up to here before,
	 * so one that goes back to where it was could not be told from one that did not.
	 */
	uint64_t stays_bytes[WIRE_MAX_DISKS];
};

enum plan_answer plan_make(const struct plan_facts *facts, struct plan *plan);

#endif
