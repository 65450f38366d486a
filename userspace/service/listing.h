/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the store of one VM lists, as an answer on the bus: it is read in a task. */
#ifndef VMR_SERVICE_LISTING_H
#define VMR_SERVICE_LISTING_H

#include "../store/store.h"
#include "service.h"

/*
 * Return value, entries, sentence. Of an entry: two texts with a time in microseconds since 1970
 * UTC between them, disks (name, source, file, format).
 */
#define LISTING_SIGNATURE "ua(stsa(ssss))s"

struct listing_kind {
	const char *what;	/* "points" */
	size_t bytes;		/* of the list, zeroed before it is read */
	/* In the task's thread. -ENOENT: there is no replica. */
	int (*read)(const char *root, const char *vm, void *list, struct err *e);
	/* In the loop's, listing_append() for each entry. Negative errno. */
	int (*append)(sd_bus_message *reply, const void *list);
	void (*free)(void *list);
};

/* A method handler: the VM's name is the one argument of @m. @kind outlives the call. */
int listing_get(struct service *service, sd_bus_message *m, const struct listing_kind *kind);

int listing_append(sd_bus_message *reply, const char *first, uint64_t time_us, const char *second,
		   const struct store_point_disk *disks, unsigned int disk_count);

#endif
