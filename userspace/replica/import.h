/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The medium of an exported initial pass, verified and put into a replica's base. */
#ifndef VMR_REPLICA_IMPORT_H
#define VMR_REPLICA_IMPORT_H

#include "../store/medium.h"
#include "replica.h"

struct import {
	int dir;			/* the VM's sub-directory */
	const struct medium *medium;
	int cancel_fd;			/* eventfd: readable ends it with -ECANCELED; -1: none */
	struct replica_import_progress *progress;
};

/* Reads all of the medium. -EUCLEAN: it is damaged, or does not hold all of each disk. */
int import_verify(const struct import *import, struct err *e);

/*
 * Puts what was verified into the store, which awaits it. What changes on the medium
 * meanwhile is found as well; the store goes on waiting then.
 */
int import_apply(const struct import *import, struct store *store, struct err *e);

#endif
