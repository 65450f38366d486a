/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The directories of failovers, as the opening and the listing of a store need them. */
#ifndef VMR_STORE_FAILOVER_FILES_H
#define VMR_STORE_FAILOVER_FILES_H

#include "internal.h"

/* ".failover-7" */
void failover_directory(uint64_t generation, char name[STORE_FILE_BYTES]);

/* Removes what the manifest does not name and is not newer than it. */
int failover_clean(const struct store *store, struct err *e);

/* -EUCLEAN: the disks of a VM that was failed over are not all there. */
int failover_check_files(const struct store *store, struct err *e);

#endif
