/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A directory with one writable overlay per disk, on top of the overlays of a pass. */
#ifndef VMR_STORE_WRITABLE_H
#define VMR_STORE_WRITABLE_H

#include "store.h"

#define WRITABLE_FILE_BYTES (STORE_NAME_BYTES + 8)

/*
 * Makes directory @name below @parent_fd with an empty overlay for each disk, all of it durable
 * but the directory's own name. @up leads from it to the VM's directory. Nothing stays on failure.
 */
int writable_create(int parent_fd, const char *name, const char *up, const struct store_spec *spec,
		    uint64_t pass, struct err *e);

/* "DISK.qcow2" */
void writable_file(const struct store_disk *disk, char name[WRITABLE_FILE_BYTES]);

/* 0: nobody has one of its files open; -EBUSY with a sentence that begins with @what. */
int writable_check_unused(int parent_fd, const char *name, const struct store_spec *spec,
			  const char *what, struct err *e);

#endif
