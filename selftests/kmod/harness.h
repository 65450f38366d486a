/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel's own test harness, with the patience that an emulated guest needs: as many
 * times as the environment variable PATIENCE says on a busy machine.
 */
#ifndef VMR_SELFTESTS_HARNESS_H
#define VMR_SELFTESTS_HARNESS_H

#include <kselftest_harness.h>
#include <stdlib.h>

#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT 120	/* seconds */

/* Before a test is run for the first time, all of them know of more patience. */
static inline int run_with_patience(int argc, char **argv)
{
	const char *word = getenv("PATIENCE");
	int patience = word ? atoi(word) : 1;

	for (struct __fixture_metadata *f = __fixture_list; f; f = f->next)
		for (struct __test_metadata *t = f->tests; t; t = t->next)
			t->timeout *= patience;
	return test_harness_run(argc, argv);
}

#define test_harness_run run_with_patience

#endif
