// SPDX-License-Identifier: GPL-2.0-or-later
#include <inttypes.h>
#include <stdio.h>

#include "../store/failover.h"
#include "failovers.h"
#include "listing.h"

static int read_writables(const char *root, const char *vm, void *list, struct err *e)
{
	return store_writables(root, vm, list, e);
}

static int append(sd_bus_message *reply, const void *list)
{
	const struct store_writables *writables = list;
	char point[24];
	unsigned int i;
	int rc = 0;

	for (i = 0; rc >= 0 && i < writables->count; i++) {
		const struct store_writable *w = &writables->at[i];

		snprintf(point, sizeof(point), "%" PRIu64, w->pass);
		rc = listing_append(reply, w->name, w->time_us, point, w->disks, w->disk_count);
	}
	return rc;
}

static void free_writables(void *list)
{
	store_writables_free(list);
}

int failovers_get(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	static const struct listing_kind kind = {
		.what = "tests",
		.bytes = sizeof(struct store_writables),
		.read = read_writables,
		.append = append,
		.free = free_writables,
	};

	return listing_get(userdata, m, &kind);
}
