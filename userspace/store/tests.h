/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tests as a merge must know them. A test pins its point by being there: its directory's name
 * says which. Tests begin and end while a store is open elsewhere, so what looks at
 * them and then acts on it holds the lock.
 */
#ifndef VMR_STORE_TESTS_H
#define VMR_STORE_TESTS_H

#include "internal.h"

#define TESTS_DIRECTORY ".tests" /* below the directory of the VM */

/*
 * Between this and tests_unlock() no test of the VM in @dir_fd begins or ends. Returns what to
 * unlock with, or a negative errno. Not for longer than a few files take to be made.
 */
int tests_lock(int dir_fd, const struct store_spec *spec, struct err *e);
void tests_unlock(int lock);

/* The lock is held: the tests of passes @from and later. -EBUSY with a sentence: there is one. */
int tests_check(int dir_fd, uint64_t from, const char *vm, struct err *e);

/* The lock is held: the oldest pass that a test stands on, UINT64_MAX: there is no test. */
int tests_oldest(int dir_fd, uint64_t *pass, struct err *e);

/* Removes what tests left that never came to be, or were being thrown away. */
int tests_clean(int dir_fd, const struct store_spec *spec, struct err *e);

/* Calls @each with the name, the pass and the directory's name of each test, in no order. */
int tests_each(int dir_fd, int (*each)(void *arg, const char *name, uint64_t pass,
				       const char *directory),
	       void *arg, struct err *e);

#endif
