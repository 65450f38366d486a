// SPDX-License-Identifier: GPL-2.0-or-later
#include "listing.h"
#include "points.h"

static int read_points(const char *root, const char *vm, void *list, struct err *e)
{
	return store_points(root, vm, list, e);
}

static int append(sd_bus_message *reply, const void *list)
{
	const struct store_points *points = list;
	unsigned int i;
	int rc = 0;

	for (i = 0; rc >= 0 && i < points->count; i++) {
		const struct store_point *point = &points->at[i];

		rc = listing_append(reply, point->id, point->time_us,
				    store_consistency_name(point->consistency), point->disks,
				    point->disk_count);
	}
	return rc;
}

static void free_points(void *list)
{
	store_points_free(list);
}

int points_get(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	static const struct listing_kind kind = {
		.what = "points",
		.bytes = sizeof(struct store_points),
		.read = read_points,
		.append = append,
		.free = free_points,
	};

	return listing_get(userdata, m, &kind);
}
