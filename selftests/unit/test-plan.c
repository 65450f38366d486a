// SPDX-License-Identifier: GPL-2.0-or-later
/* Every combination that decides between a delta, a full pass and a refusal. */
#include "../../userspace/primary/plan.h"
#include "unit.h"

/* Who asked for what; a 1 is StartReplication. And what comes of it; a 1 is all. */
enum { AUTO = 2, WANTED = 4, COMPARING = 8, UNTRACKED = 16, MEDIUM = 32 };
enum { COMPARE = 2 };
enum { NEW = WIRE_STATE_NEW, RECEIVING = WIRE_STATE_RECEIVING, COMPLETE = WIRE_STATE_COMPLETE };
enum { AWAITING = WIRE_STATE_AWAITING };

static const struct {
	const char *what;
	bool complete;
	unsigned int asked;
	bool untrusted;
	uint64_t last, checkpoint;
	int state;
	uint64_t replica_last, durable;
	enum plan_answer answer;
	enum wire_pass_kind kind;	/* with PLAN_GO, as the next two */
	unsigned int full;
	uint64_t pass;
} table[] = {
	{ "the first pass: disks just added are untrusted", 0, 1, 1, 0, 0, NEW, 0, 0,
	  PLAN_GO, WIRE_PASS_INITIAL, true, 1 },
	{ "an initial pass interrupted before a checkpoint", 0, 1, 0, 0, 0, RECEIVING, 0, 0,
	  PLAN_GO, WIRE_PASS_INITIAL, false, 1 },
	{ "interrupted after a checkpoint", 0, 1, 0, 0, 100, RECEIVING, 0, 100,
	  PLAN_GO, WIRE_PASS_INITIAL, false, 1 },
	{ "the replica is ahead of the record", 0, 1, 0, 0, 100, RECEIVING, 0, 200,
	  PLAN_GO, WIRE_PASS_INITIAL, false, 1 },
	{ "the replica went back behind a checkpoint", 0, 1, 0, 0, 100, RECEIVING, 0, 99,
	  PLAN_GO, WIRE_PASS_INITIAL, true, 1 },
	{ "the replica forgot what was checkpointed", 0, 1, 0, 0, 100, NEW, 0, 0,
	  PLAN_GO, WIRE_PASS_INITIAL, true, 1 },
	{ "offsets of a new replica mean nothing", 0, 1, 0, 0, 100, NEW, 0, 100,
	  PLAN_GO, WIRE_PASS_INITIAL, true, 1 },
	{ "the host went down in an initial pass", 0, 1, 1, 0, 100, RECEIVING, 0, 100,
	  PLAN_GO, WIRE_PASS_INITIAL, true, 1 },
	{ "durable on the replica, but we died before the record", 0, 1, 0, 0, 100, COMPLETE, 1, 0,
	  PLAN_GO, WIRE_PASS_DELTA, false, 2 },
	{ "the same, and the host went down", 0, 1, 1, 0, 100, COMPLETE, 1, 0,
	  PLAN_GO, WIRE_PASS_DELTA, true, 2 },
	{ "a delta", 1, 0, 0, 7, 0, COMPLETE, 7, 0, PLAN_GO, WIRE_PASS_DELTA, false, 8 },
	{ "a delta durable, but not recorded", 1, 0, 0, 7, 0, COMPLETE, 8, 0,
	  PLAN_GO, WIRE_PASS_DELTA, false, 9 },
	{ "tracking interrupted: never all by itself", 1, 0, 1, 7, 0, COMPLETE, 7, 0,
	  PLAN_TRACKING_INTERRUPTED, 0, 0, 0 },
	{ "tracking interrupted, and the user asked", 1, 1, 1, 7, 0, COMPLETE, 7, 0,
	  PLAN_GO, WIRE_PASS_DELTA, true, 8 },
	{ "the user asked, but nothing is wrong", 1, 1, 0, 7, 0, COMPLETE, 7, 0,
	  PLAN_GO, WIRE_PASS_DELTA, false, 8 },
	{ "the replica went back", 1, 0, 0, 7, 0, COMPLETE, 6, 0, PLAN_REPLICA_LOST, 0, 0, 0 },
	{ "the replica went back, and the user asked", 1, 1, 0, 7, 0, COMPLETE, 6, 0,
	  PLAN_GO, WIRE_PASS_DELTA, true, 8 },
	{ "the replica is gone", 1, 0, 0, 7, 0, NEW, 0, 0, PLAN_REPLICA_LOST, 0, 0, 0 },
	{ "the replica is gone, and the user asked", 1, 1, 0, 7, 0, NEW, 0, 0,
	  PLAN_GO, WIRE_PASS_INITIAL, true, 8 },
	{ "it was gone, and the new initial pass was interrupted", 0, 1, 0, 7, 100, RECEIVING, 0, 100,
	  PLAN_GO, WIRE_PASS_INITIAL, true, 8 },
	{ "complete here, half there, same pass", 1, 0, 0, 0, 0, RECEIVING, 0, 0,
	  PLAN_REPLICA_LOST, 0, 0, 0 },
	{ "tracking interrupted, and it may be repaired by itself", 1, AUTO, 1, 7, 0, COMPLETE, 7, 0,
	  PLAN_GO, WIRE_PASS_DELTA, 1 | COMPARE, 8 },
	{ "the replica went back, and it may be repaired by itself", 1, AUTO, 0, 7, 0, COMPLETE, 6, 0,
	  PLAN_GO, WIRE_PASS_DELTA, 1 | COMPARE, 8 },
	{ "the replica is gone, and it may be repaired by itself", 1, AUTO, 0, 7, 0, NEW, 0, 0,
	  PLAN_GO, WIRE_PASS_INITIAL, 1 | COMPARE, 8 },
	{ "nothing is to be repaired", 1, AUTO, 0, 7, 0, COMPLETE, 7, 0,
	  PLAN_GO, WIRE_PASS_DELTA, false, 8 },
	{ "tracking interrupted, and the user asked for all", 1, 1 | AUTO, 1, 7, 0, COMPLETE, 7, 0,
	  PLAN_GO, WIRE_PASS_DELTA, true, 8 },
	{ "the user asked for a comparison, though nothing is wrong", 1, WANTED, 0, 7, 0, COMPLETE, 7, 0,
	  PLAN_GO, WIRE_PASS_DELTA, 1 | COMPARE, 8 },
	{ "the user asked for a comparison", 1, WANTED, 1, 7, 0, COMPLETE, 7, 0,
	  PLAN_GO, WIRE_PASS_DELTA, 1 | COMPARE, 8 },
	{ "a comparison was interrupted: the map holds the rest", 1, COMPARING, 0, 7, 0, COMPLETE, 7, 0,
	  PLAN_GO, WIRE_PASS_DELTA, COMPARE, 8 },
	{ "it was, and the host went down", 1, COMPARING, 1, 7, 0, COMPLETE, 7, 0,
	  PLAN_GO, WIRE_PASS_DELTA, 1 | COMPARE, 8 },
	{ "a seeded initial pass", 0, 1 | COMPARING, 1, 0, 0, NEW, 0, 0,
	  PLAN_GO, WIRE_PASS_INITIAL, 1 | COMPARE, 1 },
	{ "a seeded initial pass interrupted", 0, 1 | COMPARING, 0, 0, 100, RECEIVING, 0, 100,
	  PLAN_GO, WIRE_PASS_INITIAL, COMPARE, 1 },
	{ "not tracked: compared, unasked", 1, UNTRACKED, 0, 7, 0, COMPLETE, 7, 0,
	  PLAN_GO, WIRE_PASS_DELTA, 1 | COMPARE, 8 },
	{ "not tracked, whatever the disks say", 1, UNTRACKED, 1, 7, 0, COMPLETE, 7, 0,
	  PLAN_GO, WIRE_PASS_DELTA, 1 | COMPARE, 8 },
	{ "not tracked: the first pass", 0, 1 | UNTRACKED, 0, 0, 0, NEW, 0, 0,
	  PLAN_GO, WIRE_PASS_INITIAL, 1 | COMPARE, 1 },
	{ "not tracked, interrupted in the first pass", 0, 1 | UNTRACKED, 0, 0, 0, RECEIVING, 0, 100,
	  PLAN_GO, WIRE_PASS_INITIAL, 1 | COMPARE, 1 },
	{ "not tracked, and the replica went back: that is said", 1, UNTRACKED, 0, 7, 0, COMPLETE, 6, 0,
	  PLAN_REPLICA_LOST, 0, 0, 0 },
	{ "not tracked, the replica is gone, and the user asked", 1, WANTED | UNTRACKED, 0, 7, 0, NEW, 0, 0,
	  PLAN_GO, WIRE_PASS_INITIAL, 1 | COMPARE, 8 },
	{ "not tracked: with a medium under way nothing can be compared", 1, UNTRACKED, 0, 7, 0, AWAITING, 7, 0,
	  PLAN_TRACKING_INTERRUPTED, 0, 0, 0 },
	{ "not tracked: onto a medium all is sent", 0, 1 | UNTRACKED | MEDIUM, 0, 0, 0, NEW, 0, 0,
	  PLAN_GO, WIRE_PASS_INITIAL, true, 1 },
	{ "not tracked: onto it once more", 0, 1 | UNTRACKED | MEDIUM, 0, 0, 0, RECEIVING, 0, 100,
	  PLAN_GO, WIRE_PASS_INITIAL, true, 1 },
	{ "lost and untrusted: the loss is said", 1, 0, 1, 7, 0, NEW, 0, 0, PLAN_REPLICA_LOST, 0, 0, 0 },
};

TEST(table)
{
	for (unsigned int i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct plan_facts facts = {
			.initial_complete = table[i].complete,
			.allow_full = table[i].asked & 1,
			.allow_compare = table[i].asked & AUTO,
			.resync_wanted = table[i].asked & WANTED,
			.comparing = table[i].asked & COMPARING,
			.untracked = table[i].asked & UNTRACKED,
			.medium = table[i].asked & MEDIUM,
			.untrusted = table[i].untrusted,
			.last_pass = table[i].last,
			.disk_count = 2,
			/* The second disk decides as the first does; the first is always well. */
			.checkpoint_bytes = { 0, table[i].checkpoint },
			.replica = {
				.state = table[i].state,
				.last_pass = table[i].replica_last,
				.initial_durable = { 0, table[i].durable },
			},
		};
		struct plan plan = { 0 };
		int before = unit_failures;
		enum plan_answer answer = plan_make(&facts, &plan);

		CHECK_EQ(answer, table[i].answer);
		if (answer == PLAN_GO && table[i].answer == PLAN_GO) {
			CHECK_EQ(plan.kind, table[i].kind);
			CHECK_EQ(plan.full, table[i].full & 1);
			CHECK_EQ(plan.compare, !!(table[i].full & COMPARE));
			CHECK_EQ(plan.pass, table[i].pass);
		}
		if (unit_failures > before)
			printf("# in: %s\n", table[i].what);
	}
}

/* A replica that says a smaller generation than before is an older copy, whatever its passes. */
TEST(older_copy)
{
	struct plan_facts facts = {
		.initial_complete = true,
		.last_pass = 7,
		.generation = 3,
		.disk_count = 1,
		.replica = { .state = WIRE_STATE_COMPLETE, .last_pass = 7, .generation = 2 },
	};
	struct plan plan = { 0 };

	CHECK_EQ(plan_make(&facts, &plan), PLAN_REPLICA_LOST);
	facts.allow_compare = true;
	CHECK_EQ(plan_make(&facts, &plan), PLAN_GO);
	CHECK(plan.full && plan.compare);
	facts.replica.generation = 3;
	CHECK_EQ(plan_make(&facts, &plan), PLAN_GO);
	CHECK(!plan.full);
}

/* Whatever the facts: full whenever untrusted, never full unasked, ids only grow. */
TEST(promises)
{
	for (unsigned int bits = 0; bits < 1u << 13; bits++) {
		struct plan_facts facts = {
			.initial_complete = bits & 1,
			.allow_full = bits & 2,
			.allow_compare = bits >> 9 & 1,
			.resync_wanted = bits >> 10 & 1,
			.comparing = bits >> 11 & 1,
			.untracked = bits >> 12 & 1,
			.untrusted = bits & 4,
			.last_pass = bits >> 3 & 1 ? 5 : 0,
			.disk_count = 1,
			.checkpoint_bytes = { bits >> 4 & 1 ? 10 : 0 },
			.replica = {
				.state = (bits >> 5 & 3) % 3,
				.last_pass = bits >> 7 & 1 ? 5 : 0,
				.initial_durable = { bits >> 8 & 1 ? 10 : 0 },
			},
		};
		bool asked = facts.allow_full || facts.allow_compare || facts.resync_wanted ||
			     facts.comparing || facts.untracked;
		/* What the replica lost is said all the same. */
		bool lost = facts.replica.last_pass < facts.last_pass ||
			    (facts.replica.state != WIRE_STATE_COMPLETE &&
			     (facts.initial_complete || facts.checkpoint_bytes[0]));
		struct plan plan = { 0 };

		if (plan_make(&facts, &plan) != PLAN_GO) {
			CHECK(!asked || (facts.untracked && lost));
			continue;
		}
		CHECK(plan.full || !facts.untrusted);
		CHECK((plan.full && plan.compare) || !facts.untracked);
		CHECK(plan.full || facts.replica.last_pass >= facts.last_pass);
		CHECK(!plan.full || asked);
		/* All is sent only where somebody asked for just that. */
		CHECK(!plan.full || plan.compare || facts.allow_full);
		CHECK(!facts.comparing || plan.compare);
		CHECK(plan.pass > facts.last_pass && plan.pass > facts.replica.last_pass);
		CHECK((plan.kind == WIRE_PASS_DELTA) ==
		      (facts.replica.state == WIRE_STATE_COMPLETE));
		/* A checkpoint that drops marks is one that an older copy of the replica lacks. */
		if (!plan.full && plan.kind == WIRE_PASS_INITIAL &&
		    facts.replica.state == WIRE_STATE_RECEIVING)
			CHECK(plan.stays_bytes[0] == facts.replica.initial_durable[0]);
		else if (plan.full || facts.replica.state == WIRE_STATE_NEW)
			CHECK_EQ(plan.stays_bytes[0], 0);
	}
}

UNIT_MAIN(T(table), T(older_copy), T(promises))
