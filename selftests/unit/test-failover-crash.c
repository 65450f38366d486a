// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A death between any two system calls of tests and failovers: afterwards each of them is
 * there as a whole or not at all, what stands on a point shows that point, and the store
 * goes on.
 */
#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>

struct shared {
	unsigned int done; /* the last step that returned 0 */
};

#include "store-death.h"
#include "userspace/store/failover.h"

#define KEEP 2

static const struct step { /* what holds once it is done; the first is how it begins */
	uint64_t last_pass, test, failover; /* passes; 0: none */
	enum store_failover_state state;
} steps[] = {
	{ 4, 0, 0, STORE_FAILOVER_NONE }, /* four passes */
	{ 4, 2, 0, STORE_FAILOVER_NONE }, /* a test */
	{ 5, 2, 0, STORE_FAILOVER_NONE }, /* a pass, and what may be merged */
	{ 5, 0, 0, STORE_FAILOVER_NONE }, /* the end of the test */
	{ 5, 0, 4, STORE_FAILOVER_RECOVERED },
	{ 5, 0, 0, STORE_FAILOVER_NONE }, /* reverted */
	{ 6, 0, 0, STORE_FAILOVER_NONE }, /* a pass that is no point, and what may be merged */
	{ 6, 0, 5, STORE_FAILOVER_RECOVERED }, /* to the newest point */
	{ 5, 0, 5, STORE_FAILOVER_COMMITTED },
};

#define STEPS (sizeof(steps) / sizeof(steps[0]))

static bool whole(uint64_t id)
{
	return id != 3 && id != 6;
}

static void four_passes(struct world *w)
{
	struct store *store;
	struct err e = { 0 };

	CHECK_EQ(store_create(w->root, &w->spec, &store, &e), 0);
	for (uint64_t id = 1; id <= 4; id++)
		CHECK_EQ(world_pass(w, store, SEED, id, OPS, whole(id), &e), 0);
	store_close(store);
}

static int pass_and_merge(struct world *w, struct store *store, uint64_t id, struct err *e)
{
	int ret = world_pass(w, store, SEED, id, OPS, whole(id), e);

	ret = ret ? ret : store_maintain(store, -1, -1, e);
	return ret == 1 ? 0 : ret; /* a test stands on what would be merged */
}

static int do_step(struct world *w, struct store *store, unsigned int step, struct err *e)
{
	switch (step) {
	case 1:
		return store_test_begin(w->root, WORLD_VM, "try", 2, e);
	case 2:
		return pass_and_merge(w, store, 5, e);
	case 3:
		return store_test_end(w->root, WORLD_VM, "try", e);
	case 4:
		return store_failover_begin(store, 4, e);
	case 5:
		return store_failover_revert(store, e);
	case 6:
		return pass_and_merge(w, store, 6, e);
	case 7:
		return store_failover_begin(store, 0, e);
	default:
		return store_failover_commit(store, e);
	}
}

static void do_steps(struct world *w)
{
	struct store *store;
	struct err e = { 0 };

	if (store_open(w->root, WORLD_VM, &store, &e))
		return;
	store_set_history(store, KEEP - 1, 0);
	for (unsigned int step = 1; step < STEPS; step++) {
		if (do_step(w, store, step, &e))
			break;
		shared->done = step;
	}
	store_close(store);
}

/* Each file that stands on a point shows it. */
static void check_shows(struct world *w, const struct store_writable *stands)
{
	CHECK_EQ(stands->disk_count, w->spec.disk_count);
	for (unsigned int i = 0; i < stands->disk_count; i++) {
		uint64_t size = w->disks[i].size_bytes;
		uint8_t *shows = calloc(1, size);

		world_read_file(stands->disks[i].file, shows, size);
		CHECK(!memcmp(shows, w->shows[stands->pass][i], size));
		free(shows);
	}
}

static bool holds(struct world *w, const struct step *step, uint64_t last_pass,
		  enum store_failover_state state)
{
	struct store_writables list;
	uint64_t test = 0, failover = 0;
	struct err e = { 0 };

	CHECK_EQ(store_writables(w->root, WORLD_VM, &list, &e), 0);
	for (unsigned int i = 0; i < list.count; i++)
		*(list.at[i].name[0] ? &test : &failover) = list.at[i].pass;
	store_writables_free(&list);
	return last_pass == step->last_pass && test == step->test && failover == step->failover &&
	       state == step->state;
}

static void check_stands(struct world *w)
{
	struct store_writables list;
	struct err e = { 0 };

	CHECK_EQ(store_writables(w->root, WORLD_VM, &list, &e), 0);
	for (unsigned int i = 0; i < list.count; i++)
		check_shows(w, &list.at[i]);
	store_writables_free(&list);
}

static void go_on(struct world *w, struct store *store)
{
	bool committed = store_failover(store).state == STORE_FAILOVER_COMMITTED;
	uint64_t last = store_last_pass(store);
	struct store_writables list;
	struct err e = { 0 };

	if (store_failover(store).state == STORE_FAILOVER_RECOVERED)
		CHECK_EQ(store_failover_revert(store, &e), 0);
	CHECK_EQ(store_writables(w->root, WORLD_VM, &list, &e), 0);
	for (unsigned int i = 0; i < list.count; i++)
		if (list.at[i].name[0])
			CHECK_EQ(store_test_end(w->root, WORLD_VM, list.at[i].name, &e), 0);
	store_writables_free(&list);
	world_model(w, SEED, last, LAST_PASS, OPS);
	CHECK_EQ(world_pass(w, store, SEED, LAST_PASS, OPS, true, &e), committed ? -EROFS : 0);
	CHECK_EQ(store_maintain(store, -1, -1, &e), 0);
	CHECK_EQ(store_failover_begin(store, 0, &e), committed ? -EALREADY : 0);
	check_stands(w);
	world_check_points(w);
}

/* How many names in @dir, below the VM's directory, begin with @prefix. */
static unsigned int count_names(struct world *w, const char *dir, const char *prefix)
{
	char path[PATH_MAX];
	struct dirent *entry;
	unsigned int count = 0;
	DIR *names;

	snprintf(path, sizeof(path), "%.3000s/%s/%s", w->root, WORLD_VM, dir);
	names = opendir(path);
	while (names && (entry = readdir(names)))
		count += !strncmp(entry->d_name, prefix, strlen(prefix)) &&
			 strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..");
	if (names)
		closedir(names);
	return count;
}

/* Only the directory of the failover that is, and nothing half made. */
static void check_tidy(struct world *w)
{
	CHECK_EQ(count_names(w, ".", ".failover"), 1);
	CHECK_EQ(count_names(w, ".tests", "."), 0);
}

static void check_after_steps(struct world *w)
{
	unsigned int next = shared->done + 1 < STEPS ? shared->done + 1 : shared->done;
	enum store_failover_state state;
	struct store *store = NULL;
	struct err e = { 0 };
	int ret;

	world_check_points(w);
	check_stands(w); /* before anything is cleaned up, as a machine would find it */
	ret = store_open(w->root, WORLD_VM, &store, &e);
	if (ret)
		printf("# %s\n", e.text);
	CHECK_EQ(ret, 0);
	if (ret)
		return;
	state = store_failover(store).state;
	CHECK(holds(w, &steps[shared->done], store_last_pass(store), state) ||
	      holds(w, &steps[next], store_last_pass(store), state));
	check_stands(w);
	world_check_points(w);
	store_set_history(store, KEEP - 1, 0);
	go_on(w, store);
	CHECK_EQ(store_next_generation(store, &e), 0);
	store_close(store);
	CHECK_EQ(store_open(w->root, WORLD_VM, &store, &e), 0);
	check_tidy(w);
	store_close(store);
}

TEST(death_during_tests_and_failovers)
{
	with_every_death(do_steps, check_after_steps, four_passes);
}

UNIT_MAIN(T(death_during_tests_and_failovers))
