/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Points that are written on: a directory with one writable overlay per disk, on
 * top of a point that itself never changes. Of a test there may be several, each with a
 * name; of a failover there is one, and the manifest names it: while it does, the replica
 * takes no passes.
 *
 *	ROOT/VM/.tests/NAME@12/DISK.qcow2	test NAME of point 12
 *	ROOT/VM/.failover-7/DISK.qcow2		the VM's disks since the failover in generation 7
 *
 * A point that a test or a failover stands on is not merged. Tests come and go while
 * another thread or process has the store open, since passes go on; a failover needs the
 * store opened. Documentation/store-format.rst says what a power cut leaves.
 */
#ifndef VMR_STORE_FAILOVER_H
#define VMR_STORE_FAILOVER_H

#include "store.h"

#define STORE_MAX_TESTS 16	/* of one VM at a time */

/* --- tests ---------------------------------------------------------------- */

/*
 * Makes test @name (as a VM's name) of @pass (0: the newest point). -EEXIST: there is one of
 * that name; -ENOENT: no such replica or point; -EUSERS: there are STORE_MAX_TESTS.
 */
int store_test_begin(const char *root, const char *vm, const char *name, uint64_t pass,
		     struct err *e);

/* Throws it away. -ENOENT: there is none; -EBUSY: a program has one of its disks open. */
int store_test_end(const char *root, const char *vm, const char *name, struct err *e);

/* --- failover --------------------------------------------------------------- */

/* Of an open store. */
struct store_failover store_failover(const struct store *store);

/* 0, or -EROFS with a sentence, for a primary's ears too, when the VM was failed over to here. */
int store_check_failover(const struct store *store, struct err *e);

/*
 * The VM is to run from @pass (0: the newest point): overlays, then the manifest, in one
 * step. Afterwards no pass is taken. -ENOENT: no such point; -EALREADY: it is failed over. 0 with a
 * sentence: the point is of STORE_CONSISTENCY_NONE.
 */
int store_failover_begin(struct store *store, uint64_t pass, struct err *e);

/* Throws away what was written since; passes are taken again. -EBUSY: a disk is still open. */
int store_failover_revert(struct store *store, struct err *e);

/*
 * Makes it final: newer points than the one that it stands on are deleted. -EBUSY: a test
 * stands on one of those, or a program has it open.
 */
int store_failover_commit(struct store *store, struct err *e);

/* --- both ------------------------------------------------------------------- */

struct store_writable {
	char name[STORE_NAME_BYTES];	/* of the test; "": the failover */
	uint64_t pass;			/* what it stands on */
	uint64_t time_us;		/* when it was made, microseconds since 1970 UTC */
	unsigned int disk_count;
	struct store_point_disk *disks;	/* the files to be written to */
};

struct store_writables {
	unsigned int count;
	struct store_writable *at;	/* the failover first, then the tests by name */
};

/* Takes no lock for long. -ENOENT: no such replica. */
int store_writables(const char *root, const char *vm, struct store_writables *list, struct err *e);
void store_writables_free(struct store_writables *list);

#endif
