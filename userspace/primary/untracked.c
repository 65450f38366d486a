// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "untracked.h"

#define SECTOR_BYTES		512
#define MIN_CHUNK_BYTES		4096u
#define MAX_CHUNK_BYTES		(1u << 20)
#define MAX_CHUNKS		(UINT64_C(1) << 28)	/* as the tracker: 32 MiB of map */
/* A write that has landed may not be counted yet: its completion is on its way. */
#define SETTLE_MS		200

/* --- the disks ---------------------------------------------------------------------- */

static uint32_t chunk_for(uint64_t size)
{
	uint32_t chunk = MIN_CHUNK_BYTES;

	while (chunk < MAX_CHUNK_BYTES && size / chunk > MAX_CHUNKS)
		chunk *= 2;
	return chunk;
}

static int get_disk(const struct state_disk *disk, struct cbt_disk_info *info, struct err *e)
{
	int fd = open(disk->device, O_RDONLY | O_CLOEXEC), rc = 0;
	struct stat st;

	if (fd < 0)
		return err_sys(e, -errno, "cannot open the disk %s", disk->device);
	if (fstat(fd, &st) < 0 || ioctl(fd, BLKGETSIZE64, &info->size_bytes) < 0)
		rc = err_sys(e, -errno, "cannot look at the disk %s", disk->device);
	else if (!info->size_bytes)
		rc = err_set(e, -ENOMEDIUM, "the disk %s has no capacity: attach its medium first", disk->device);
	close(fd);
	if (rc)
		return rc;
	info->major = major(st.st_rdev);
	info->minor = minor(st.st_rdev);
	info->chunk_bytes = disk->chunk_bytes ? disk->chunk_bytes : chunk_for(info->size_bytes);
	snprintf(info->path, sizeof(info->path), "%s", disk->device);
	return 0;
}

int untracked_get(const struct state *state, struct track *track, struct err *e)
{
	unsigned int i;
	int rc = 0;

	memset(track, 0, sizeof(*track));
	track->disk_count = state->disk_count;
	for (i = 0; !rc && i < state->disk_count; i++)
		rc = get_disk(&state->disks[i], &track->disks[i], e);
	return rc;
}

/* --- a stretch of time ---------------------------------------------------------------- */

static bool unused(int fd, const struct state_disk *disk)
{
	return !evidence_unused(fd, disk->device, NULL);
}

void untracked_watch(struct untracked_watch *watch, const struct state *state, const int *fds)
{
	unsigned int i;

	watch->still = true;
	watch->disk_count = state->disk_count;
	for (i = 0; i < watch->disk_count; i++) {
		watch->fds[i] = fds[i];
		watch->still = watch->still && evidence_count(fds[i], &watch->counts[i]) &&
			       unused(fds[i], &state->disks[i]);
	}
}

static bool unchanged(const struct evidence_counts *before, const struct evidence_counts *now)
{
	return now->writes == before->writes && now->written_sectors == before->written_sectors &&
	       now->discards == before->discards &&
	       now->discarded_sectors == before->discarded_sectors;
}

/* That our reads were counted says that writes would have been. */
static bool was_still(const struct untracked_watch *watch, unsigned int i,
		      const struct state_disk *disk)
{
	const struct evidence_counts *before = &watch->counts[i];
	struct evidence_counts now;

	return evidence_idle(watch->fds[i]) && evidence_count(watch->fds[i], &now) &&
	       unchanged(before, &now) &&
	       now.read_sectors - before->read_sectors >= disk->size_bytes / SECTOR_BYTES &&
	       unused(watch->fds[i], disk);
}

bool untracked_still(const struct untracked_watch *watch, const struct state *state)
{
	unsigned int look, i;
	bool still = watch->still;

	for (look = 0; still && look < 2; look++) {
		if (look)
			poll(NULL, 0, SETTLE_MS);
		for (i = 0; still && i < watch->disk_count; i++)
			still = was_still(watch, i, &state->disks[i]);
	}
	return still;
}
