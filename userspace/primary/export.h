/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The initial replication of type 2: the first copy is written below a directory, in one
 * sub-directory for each VM, to be carried to the replica. Documentation/export-format.rst.
 */
#ifndef VMR_PRIMARY_EXPORT_H
#define VMR_PRIMARY_EXPORT_H

#include "pass.h"

struct export_spec {
	/*
	 * Of the relationship: state.initial_type is STATE_INITIAL_EXPORT and state.export_dir an
	 * absolute path of a directory that exists; state.compress says whether to pack.
	 */
	struct state_file *file;
	/* eventfd: readable ends it with -ECANCELED; what is durable on the medium stays */
	int cancel_fd;
	struct ship_progress *progress;	/* wire_bytes: bytes written to the medium */
	_Atomic int *phase;		/* enum pass_phase */
};

/*
 * Tracks the disks, cuts, and writes all of them. 0: the medium is complete and durable, and so is
 * the record of it (state.medium_pass, state.last_pass, state.initial_complete): passes may
 * follow at once, and are kept by the replica until the medium is imported there. Called again
 * after it was interrupted, by whatever, it goes on where it was, as long as the disks stayed
 * tracked; else it begins anew in the same place.
 * -EINVAL: the relationship is past its initial replication, and no import is awaited. -EEXIST:
 * the sub-directory holds an export of another relationship, or a complete one. -ENOTDIR,
 * -ENOENT, -ENOSPC and so on.
 */
int export_run(const struct export_spec *spec, struct pass_result *result, struct err *e);

#endif
