// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <linux/blkcbt.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "track.h"

int track_open(struct cbt **cbt, struct err *e)
{
	int rc = cbt_open(cbt);

	if (rc == -ENOENT)
		return err_set(e, rc, "the kernel module blkcbt is not loaded: run `modprobe blkcbt`");
	if (rc)
		return err_sys(e, rc, "cannot talk to the kernel module blkcbt");
	return 0;
}

struct lookup {
	const struct state *state;
	struct track *track;
	uint64_t found;		/* bit per disk of the state */
};

static int found_disk(const struct cbt_disk_info *info, void *arg)
{
	struct lookup *lookup = arg;
	unsigned int i;

	for (i = 0; i < lookup->state->disk_count; i++) {
		if (strcmp(info->path, lookup->state->disks[i].device))
			continue;
		lookup->track->disks[i] = *info;
		lookup->found |= UINT64_C(1) << i;
	}
	return 0;
}

/* Fills in the disks that the group has; @found gets a bit for each. */
static int look_up(struct cbt *cbt, const struct state *state, struct track *track, uint64_t *found,
		   struct err *e)
{
	struct lookup lookup = { state, track, 0 };
	struct cbt_group_info group;
	int rc = cbt_group_find(cbt, state->relationship, &group);

	if (rc == -ENOENT)
		return err_set(e, rc, "the disks of %s are not tracked", state->vm);
	if (!rc) {
		track->group = group.id;
		track->disk_count = state->disk_count;
		rc = cbt_disk_list(cbt, group.id, found_disk, &lookup);
	}
	if (rc)
		return err_set(e, rc, "cannot look up the tracking of %s: %.200s", state->vm, cbt_error(cbt));
	*found = lookup.found;
	return 0;
}

int track_get(struct cbt *cbt, const struct state *state, struct track *track, struct err *e)
{
	uint64_t found;
	unsigned int i;
	int rc = look_up(cbt, state, track, &found, e);

	for (i = 0; !rc && i < state->disk_count; i++) {
		if (!(found & UINT64_C(1) << i))
			rc = err_set(e, -ENOENT, "%s is not tracked", state->disks[i].device);
	}
	return rc;
}

static int add_disk(struct cbt *cbt, const struct state *state, unsigned int i, struct track *track,
		    struct err *e)
{
	const struct state_disk *disk = &state->disks[i];
	/* The chunk size is part of what the replica's files are made for. */
	int rc = cbt_disk_add(cbt, track->group, disk->device, disk->chunk_bytes, &track->disks[i]);

	return rc ? err_set(e, rc, "cannot track %.200s: %.160s", disk->device, cbt_error(cbt)) : 0;
}

int track_ensure(struct cbt *cbt, const struct state *state, bool replace, struct track *track,
		 struct err *e)
{
	const uint32_t gone = CBT_UNTRUSTED_REMOVED | CBT_UNTRUSTED_RESIZED;
	uint64_t found = 0;
	unsigned int i;
	int rc = look_up(cbt, state, track, &found, e);

	if (rc == -ENOENT) {
		rc = cbt_group_new(cbt, state->relationship, &track->group);
		track->disk_count = state->disk_count;
		if (rc)
			return err_set(e, rc, "cannot track %s: %.200s", state->vm, cbt_error(cbt));
	}
	for (i = 0; !rc && i < state->disk_count; i++) {
		bool there = found & UINT64_C(1) << i;

		if (there && replace && (track->disks[i].untrusted & gone)) {
			cbt_disk_del(cbt, track->group, track->disks[i].id);
			there = false;
		}
		if (!there)
			rc = add_disk(cbt, state, i, track, e);
	}
	return rc;
}

int track_try(struct cbt **cbt, const struct state *state, bool replace, struct track *track,
	      bool *cannot, struct err *e)
{
	int rc;

	*cbt = NULL;
	rc = track_open(cbt, e);
	*cannot = rc == -ENOENT;
	if (rc)
		return rc;
	rc = track_ensure(*cbt, state, replace, track, e);
	*cannot = rc == -EOPNOTSUPP;
	return rc;
}

/* The path may lead to another device by now: the numbers say which one is tracked. */
static int check_device(const struct cbt_disk_info *info, int fd, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_sys(e, -errno, "cannot look at %s", info->path);
	if (!S_ISBLK(st.st_mode) || major(st.st_rdev) != info->major ||
	    minor(st.st_rdev) != info->minor)
		return err_set(e, -ENXIO, "%s is not the device %u:%u that is tracked", info->path,
			       info->major, info->minor);
	return 0;
}

int track_open_disk(const struct cbt_disk_info *info, int *fd, struct err *e)
{
	const char *path = info->image[0] ? info->image : info->path;
	int rc;

	*fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (*fd < 0)
		return err_sys(e, -errno, "cannot open %s", path);
	rc = info->image[0] ? 0 : check_device(info, *fd, e);
	if (rc) {
		close(*fd);
		*fd = -1;
	}
	return rc;
}

int track_remove(struct cbt *cbt, const char *relationship, struct err *e)
{
	struct cbt_group_info group;
	int rc = cbt_group_find(cbt, relationship, &group);

	if (!rc)
		rc = cbt_group_del(cbt, group.id);
	if (rc && rc != -ENOENT)
		return err_set(e, rc, "cannot end the tracking: %.200s", cbt_error(cbt));
	return 0;
}

uint32_t track_untrusted(const struct track *track)
{
	uint32_t bits = 0;
	unsigned int i;

	for (i = 0; i < track->disk_count; i++)
		bits |= track->disks[i].untrusted;
	return bits;
}

const char *track_untrusted_reason(uint32_t bits)
{
	static const struct {
		uint32_t bit;
		const char *reason;
	} reasons[] = {
		{ CBT_UNTRUSTED_REMOVED, "the device went away" },
		{ CBT_UNTRUSTED_RESIZED, "the device changed its size" },
		{ CBT_UNTRUSTED_PASSTHROUGH, "a command that may change data went past the tracker" },
		{ CBT_UNTRUSTED_MEMORY, "memory was short when a write had to be noted" },
		{ CBT_UNTRUSTED_UNKNOWN_WRITE, "a write came whose range is not known" },
		{ CBT_UNTRUSTED_FRESH, "the host was booted or the kernel module loaded anew" },
	};
	unsigned int i;

	for (i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
		if (bits & reasons[i].bit)
			return reasons[i].reason;
	}
	return "for a reason unknown to this version";
}
