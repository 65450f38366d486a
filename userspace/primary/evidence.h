/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What tells of a device that it is the one that it was before the host was booted, that nobody
 * uses it, and that nothing has been written to it. design.rst says what follows from it.
 */
#ifndef VMR_PRIMARY_EVIDENCE_H
#define VMR_PRIMARY_EVIDENCE_H

#include <stdbool.h>
#include <stdint.h>

#include "../common/err.h"
#include "marks.h"

/*
 * The name that the device @fd has by itself, or that its volume manager gave it: of a kind and a
 * value. -EOPNOTSUPP with a sentence: it has none that outlasts a boot, or it is a partition.
 */
int evidence_identity(int fd, const char *path, char identity[MARKS_IDENTITY_BYTES],
		      struct err *e);

/*
 * A hash of some of what is on it: the beginning, where file systems note that they were used, the
 * end, and places all over. @fd: O_DIRECT.
 */
int evidence_fingerprint(int fd, const char *path, uint64_t size_bytes, uint64_t *fingerprint,
			 struct err *e);

/*
 * Nothing has been written to the device since the host was booted: its counter says so, is seen
 * to count, and is as old as the boot. -EUCLEAN with a sentence: there is no proof of that. Writes
 * that are still in flight are for the tracker to notice. @fd: O_DIRECT.
 */
int evidence_unwritten(int fd, const char *path, struct err *e);

/* What the kernel has counted of a device since it was made: sectors of 512 bytes, commands. */
struct evidence_counts {
	uint64_t read_sectors, writes, written_sectors, discards, discarded_sectors;
};

/* False: it counts nothing. */
bool evidence_count(int fd, struct evidence_counts *counts);

/* It is all of a disk, and no write to it is under way. */
bool evidence_idle(int fd);

/* No process but this one has the device @fd, or a partition of it, open. -EBUSY names one. */
int evidence_unused(int fd, const char *path, struct err *e);

#endif
