// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The kernel's map holds what the replica has not acknowledged, as long as two
 * things are true: the map is complete (the disk is trusted) and the
 * replica still has what it acknowledged. Then a pass of the map is enough, however
 * the last one ended, be it an initial one or a delta. If one of them
 * is not true, only a full pass is right. Whether that sends all or compares first is a
 * matter of cost alone, as the map that it drops at the end is the same. Disks that are not tracked
 * have no map that could be complete: all of them is compared, each time.
 */
#include "plan.h"

/* The replica can take a delta. */
static bool has_base(const struct session_opened *replica)
{
	return replica->state == WIRE_STATE_COMPLETE || replica->state == WIRE_STATE_AWAITING;
}

static bool replica_lost(const struct plan_facts *facts)
{
	const struct session_opened *replica = &facts->replica;
	unsigned int i;

	if (replica->last_pass < facts->last_pass || replica->generation < facts->generation ||
	    facts->medium_lost)
		return true;
	if (has_base(replica))
		return false;
	if (facts->initial_complete)
		return true;
	for (i = 0; i < facts->disk_count; i++) {
		uint64_t durable = replica->state == WIRE_STATE_NEW ? 0 :
								      replica->initial_durable[i];

		if (durable < facts->checkpoint_bytes[i])
			return true;
	}
	return false;
}

enum plan_answer plan_make(const struct plan_facts *facts, struct plan *plan)
{
	const struct session_opened *replica = &facts->replica;
	bool lost = replica_lost(facts), needed = facts->untrusted || facts->untracked || lost;
	/* With a medium that is under way nothing can be compared. */
	bool can_compare = replica->state != WIRE_STATE_AWAITING && !facts->medium;
	bool wanted = can_compare && (facts->resync_wanted || facts->comparing);
	bool asked = facts->allow_full || wanted;
	unsigned int i;

	plan->full = needed || (can_compare && facts->resync_wanted);
	plan->compare = wanted || (can_compare && (facts->untracked || (needed && !asked)));
	plan->kind = has_base(replica) ? WIRE_PASS_DELTA : WIRE_PASS_INITIAL;
	plan->pass =
		(replica->last_pass > facts->last_pass ? replica->last_pass : facts->last_pass) + 1;
	/*
	 * A full pass drops marks from the start of a disk on all the same: it would never end
	 * on a link that never lasts for as much as the replica has already.
	 */
	for (i = 0; i < facts->disk_count; i++)
		plan->stays_bytes[i] = plan->full || replica->state == WIRE_STATE_NEW ?
					       0 :
					       replica->initial_durable[i];
	if (!plan->full || asked ||
	    (can_compare && (facts->allow_compare || (facts->untracked && !lost))))
		return PLAN_GO;
	return lost ? PLAN_REPLICA_LOST : PLAN_TRACKING_INTERRUPTED;
}
