// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The store dies between any two of its system calls, and what had not been synced by
 * then is lost in part: after each such death it must open, name the last
 * acknowledged pass (or the one being committed) and show every point exactly.
 */
#include <stdbool.h>
#include <stdint.h>

struct shared { /* of the child that dies, for its parent */
	uint64_t acknowledged; /* last pass whose commit returned 0 */
	uint64_t begun; /* pass being committed */
	bool initial; /* the initial pass is complete */
	uint64_t durable[2]; /* checkpoints that returned 0 */
	bool created;
};

#include "store-death.h"

/* --- what is done until the death ---------------------------------------- */

#define FIRST_NEW 5 /* passes 1 to 4 are there before */
#define LAST_NEW  7
#define KEEP	  2
#define THIN_FROM 14 /* passes that are there before some are thinned out */
#define SPAN_S	  100 /* all of them are within */

static bool whole(uint64_t id)
{
	return id != 3 && id != 6;
}

static void four_passes(struct world *w)
{
	struct store *store;
	struct err e = { 0 };

	CHECK_EQ(store_create(w->root, &w->spec, &store, &e), 0);
	for (uint64_t id = 1; id < FIRST_NEW; id++)
		CHECK_EQ(world_pass(w, store, SEED, id, OPS, whole(id), &e), 0);
	store_close(store);
}

/* Passes and merges on a store that has four passes. Failures end it, as they do a connection. */
static void do_passes(struct world *w)
{
	struct store *store;
	struct err e = { 0 };

	if (store_open(w->root, WORLD_VM, &store, &e))
		return;
	store_set_history(store, KEEP - 1, 0);
	for (uint64_t id = FIRST_NEW; id <= LAST_NEW; id++) {
		shared->begun = id;
		if (world_pass(w, store, SEED, id, OPS, whole(id), &e))
			break;
		shared->acknowledged = id;
		if (store_maintain(store, -1, -1, &e))
			break;
	}
	store_close(store);
}

static void do_initial(struct world *w)
{
	uint64_t durable[2] = { 40960, 16384 };
	struct store_pass *pass;
	struct store *store;
	struct err e = { 0 };
	int ret;

	if (store_create(w->root, &w->spec, &store, &e))
		return;
	shared->created = true;
	ret = store_pass_begin(store, 1, STORE_PASS_INITIAL, &pass, &e);
	for (unsigned int n = 0; n < OPS && !ret; n++) {
		struct world_op op = world_op(w, SEED, 1, n);

		ret = world_write(pass, &op, &e);
		if (!ret && n == OPS / 2) {
			ret = store_initial_checkpoint(pass, durable, &e);
			if (!ret)
				memcpy(shared->durable, durable, sizeof(durable));
		}
		if (ret)
			store_pass_abort(pass);
	}
	if (!ret && !store_pass_commit(pass, 1000000, true, STORE_CONSISTENCY_CRASH, &e))
		shared->initial = true;
	store_close(store);
}
static void fourteen_passes(struct world *w)
{
	struct store *store;
	struct err e = { 0 };

	CHECK_EQ(store_create(w->root, &w->spec, &store, &e), 0);
	for (uint64_t id = 1; id <= THIN_FROM; id++)
		CHECK_EQ(world_pass(w, store, SEED, id, OPS, whole(id), &e), 0);
	store_close(store);
}

static void do_thin(struct world *w)
{
	struct store *store;
	struct err e = { 0 };

	if (store_open(w->root, WORLD_VM, &store, &e))
		return;
	store_set_history(store, 1, SPAN_S);
	if (!store_maintain(store, -1, -1, &e)) {
		shared->begun = THIN_FROM + 1;
		if (!world_pass(w, store, SEED, THIN_FROM + 1, OPS, true, &e)) {
			shared->acknowledged = THIN_FROM + 1;
			store_maintain(store, -1, -1, &e);
		}
	}
	store_close(store);
}

/* --- what must hold after it --------------------------------------------- */

/* At least @min, and the newest whole pass up to the last one is a point. */
static void check_points_kept(struct world *w, uint64_t last)
{
	struct store_points points;
	struct err e = { 0 };
	uint64_t newest = last;

	while (!whole(newest))
		newest--;
	CHECK_EQ(store_points(w->root, WORLD_VM, &points, &e), 0);
	CHECK(points.count > 0);
	if (points.count)
		CHECK_EQ(strtoull(points.at[points.count - 1].id, NULL, 10), newest);
	store_points_free(&points);
}

static void check_after_passes(struct world *w)
{
	uint64_t acknowledged = shared->acknowledged ? shared->acknowledged : FIRST_NEW - 1, last;
	struct store *store = NULL;
	struct err e = { 0 };
	int ret;

	world_check_points(w); /* before anything is cleaned up, as a failover would find it */
	ret = store_open(w->root, WORLD_VM, &store, &e);
	if (ret)
		printf("# %s\n", e.text);
	CHECK_EQ(ret, 0);
	if (ret)
		return;
	last = store_last_pass(store);
	CHECK(last == acknowledged || last == shared->begun);
	world_check_points(w);
	check_points_kept(w, last);
	store_set_history(store, KEEP - 1, 0);
	CHECK_EQ(store_maintain(store, -1, -1, &e), 0);
	world_check_points(w);
	/* The model counts passes from one to the next: go on behind the last. */
	world_model(w, SEED, last, LAST_NEW + 1, OPS);
	CHECK_EQ(world_pass(w, store, SEED, LAST_NEW + 1, OPS, true, &e), 0);
	CHECK_EQ(store_maintain(store, -1, -1, &e), 0);
	CHECK(world_check_points(w) <= KEEP);
	store_close(store);
}

static void check_after_thin(struct world *w)
{
	uint64_t acknowledged = shared->acknowledged ? shared->acknowledged : THIN_FROM, last;
	struct store *store = NULL;
	struct err e = { 0 };
	int ret;

	world_check_points(w);
	ret = store_open(w->root, WORLD_VM, &store, &e);
	if (ret)
		printf("# %s\n", e.text);
	CHECK_EQ(ret, 0);
	if (ret)
		return;
	last = store_last_pass(store);
	CHECK(last == acknowledged || last == shared->begun);
	world_check_points(w);
	check_points_kept(w, last);
	store_set_history(store, 1, SPAN_S);
	CHECK_EQ(store_maintain(store, -1, -1, &e), 0);
	world_model(w, SEED, last, THIN_FROM + 2, OPS);
	CHECK_EQ(world_pass(w, store, SEED, THIN_FROM + 2, OPS, true, &e), 0);
	CHECK_EQ(store_maintain(store, -1, -1, &e), 0);
	CHECK(world_check_points(w) <= 2 + 8);
	store_close(store);
}

static void check_after_initial(struct world *w)
{
	struct store *store = NULL;
	struct err e = { 0 };
	int ret = store_open(w->root, WORLD_VM, &store, &e);

	if (ret == -ENOENT && !shared->created) {
		ret = store_create(w->root, &w->spec, &store, &e);
		if (ret)
			printf("# %s\n", e.text);
	}
	CHECK_EQ(ret, 0);
	if (ret)
		return;
	if (shared->initial)
		CHECK_EQ(store_initial(store), STORE_INITIAL_COMPLETE);
	if (store_initial(store) != STORE_INITIAL_COMPLETE) {
		for (unsigned int i = 0; i < 2; i++)
			CHECK(store_initial_durable(store, i) >= shared->durable[i]);
		CHECK_EQ(world_pass(w, store, SEED, 1, OPS, true, &e), 0);
	}
	CHECK_EQ(world_pass(w, store, SEED, 2, OPS, true, &e), 0);
	CHECK_EQ(world_check_points(w), 1);
	store_close(store);
}

TEST(death_during_passes_and_merges)
{
	with_every_death(do_passes, check_after_passes, four_passes);
}

TEST(death_during_thinning)
{
	with_every_death(do_thin, check_after_thin, fourteen_passes);
}

TEST(death_during_the_initial_pass)
{
	with_every_death(do_initial, check_after_initial, NULL);
}

UNIT_MAIN(T(death_during_passes_and_merges), T(death_during_thinning),
	  T(death_during_the_initial_pass))
