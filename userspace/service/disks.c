// SPDX-License-Identifier: GPL-2.0-or-later
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "../store/store.h"
#include "disks.h"
#include "relationship.h"

static int find_device(const char *path, dev_t *device, struct err *e)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return err_sys(e, -errno, "cannot find the disk %s", path);
	if (!S_ISBLK(st.st_mode))
		return err_set(e, -ENOTBLK, "%s is not a block device: give the path of a disk", path);
	*device = st.st_rdev;
	return 0;
}

/* Which VM has this device? Null: none. */
static const char *owner(struct service *service, dev_t device)
{
	struct relationship *r;
	struct stat st;
	unsigned int i;

	for (r = service->relationships; r; r = r->next) {
		for (i = 0; r->mode == RELATIONSHIP_PRIMARY && i < r->state.disk_count; i++) {
			if (!stat(r->state.disks[i].device, &st) && st.st_rdev == device)
				return r->state.vm;
		}
	}
	return NULL;
}

static bool name_taken(const struct state *state, unsigned int count, const char *name)
{
	unsigned int i;

	for (i = 0; i < count; i++) {
		if (!strcmp(state->disks[i].name, name))
			return true;
	}
	return false;
}

/* The base name of the device, made a file name, made unique: "vda", "vg-lv", "vda-2". */
static void choose_name(struct state *state, unsigned int i)
{
	const char *base = strrchr(state->disks[i].device, '/') + 1;
	char *name = state->disks[i].name, clean[48];
	unsigned int number;
	char *c;

	snprintf(clean, sizeof(clean), "%s", base[0] ? base : "disk");
	for (c = clean; *c; c++) {
		if (!isalnum((unsigned char)*c) && !strchr("._-", *c))
			*c = '_';
	}
	if (!isalnum((unsigned char)clean[0]))
		clean[0] = '_';
	strcpy(name, clean);
	for (number = 2; name_taken(state, i, name) || !store_name_valid(name); number++)
		snprintf(name, sizeof(state->disks[i].name), "%s-%u", clean, number);
}

int disks_check(struct service *service, struct state *state, struct err *e)
{
	dev_t devices[STATE_MAX_DISKS];
	const char *vm;
	unsigned int i, j;
	int rc;

	for (i = 0; i < state->disk_count; i++) {
		rc = find_device(state->disks[i].device, &devices[i], e);
		if (rc)
			return rc;
		for (j = 0; j < i; j++) {
			if (devices[j] == devices[i])
				return err_set(e, -EINVAL, "%.160s and %.160s are the same disk",
					       state->disks[j].device, state->disks[i].device);
		}
		vm = owner(service, devices[i]);
		if (vm)
			return err_set(e, -EBUSY, "%.200s is replicated already, as a disk of %s",
				       state->disks[i].device, vm);
		choose_name(state, i);
	}
	return 0;
}
