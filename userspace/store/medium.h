/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What an export writes below a directory for one VM, and an import reads: export.json, which
 * says what is there, and a file of frames for each disk. Documentation/export-format.rst.
 */
#ifndef VMR_STORE_MEDIUM_H
#define VMR_STORE_MEDIUM_H

#include "store.h"

#define MEDIUM_SOURCE_BYTES	256
#define MEDIUM_FILE_BYTES	(STORE_NAME_BYTES + 8)

struct medium_disk {
	char name[STORE_NAME_BYTES];
	char source[MEDIUM_SOURCE_BYTES];	/* the primary's device path, for people */
	uint64_t size_bytes;
	uint32_t chunk_bytes;
	/* of the disk, from its start: durable on the medium */
	uint64_t durable_bytes;
	/* of the file of frames: what counts, even if it is longer */
	uint64_t file_bytes;
	uint64_t frames;
	uint64_t digest;			/* of the frames' headers, one after another */
};

struct medium {
	char vm[STORE_NAME_BYTES];
	char relationship[37];
	uint64_t pass;				/* id */
	uint64_t time_us;			/* of the cut; 0: not complete */
	bool complete;
	unsigned int disk_count;
	struct medium_disk disks[STORE_MAX_DISKS];
};

/* -ENOENT: there is none; -EUCLEAN: damaged. @dir_fd: the VM's sub-directory. */
int medium_read(int dir_fd, struct medium *m, struct err *e);
/* Replaces export.json by rename, durable on return. */
int medium_write(int dir_fd, const struct medium *m, struct err *e);

/* "vda.frames" */
void medium_file_name(const struct medium_disk *disk, char name[MEDIUM_FILE_BYTES]);

#endif
