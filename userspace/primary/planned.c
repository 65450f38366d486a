// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "planned.h"
#include "track.h"

/* QEMU's locks are in these bytes of a device that it has open. */
#define LOCKED_FROM  100
#define LOCKED_BYTES 200

static bool locked_by_qemu(int fd)
{
	struct flock lock = {
		.l_type = F_WRLCK,
		.l_whence = SEEK_SET,
		.l_start = LOCKED_FROM,
		.l_len = LOCKED_BYTES,
	};

	return !fcntl(fd, F_OFD_GETLK, &lock) && lock.l_type != F_UNLCK;
}

static int hold(const struct state_disk *disk, int *fd, struct err *e)
{
	*fd = open(disk->device, O_RDONLY | O_EXCL | O_CLOEXEC);
	if (*fd < 0 && errno == EBUSY)
		return err_set(e, -EBUSY,
			       "the disk %s is still in use (mounted, or part of something else): stop the machine first",
			       disk->device);
	if (*fd < 0)
		return err_sys(e, -errno, "cannot open %s", disk->device);
	if (!locked_by_qemu(*fd))
		return 0;
	close(*fd);
	return err_set(e, -EBUSY, "the disk %s is still open in QEMU: stop the machine first", disk->device);
}

int planned_hold(struct planned *planned, const struct state *state, struct err *e)
{
	int rc = 0;

	for (planned->count = 0; planned->count < state->disk_count; planned->count++) {
		rc = hold(&state->disks[planned->count], &planned->fds[planned->count], e);
		if (rc)
			break;
	}
	if (rc)
		planned_let_go(planned);
	return rc;
}

void planned_let_go(struct planned *planned)
{
	while (planned->count)
		close(planned->fds[--planned->count]);
}

static int check_clean(struct cbt *cbt, const struct state *state, struct track *track,
		       struct err *e)
{
	int rc = track_get(cbt, state, track, e);
	unsigned int i;

	for (i = 0; !rc && i < state->disk_count; i++) {
		const struct cbt_disk_info *info = &track->disks[i];

		if (info->dirty_chunks || info->untrusted)
			rc = err_set(e, -EBUSY,
				     "the disk %s is still being written, %" PRIu64
				     " bytes since the last pass: stop the machine first",
				     state->disks[i].device,
				     (uint64_t)info->dirty_chunks * info->chunk_bytes);
	}
	return rc;
}

int planned_check_clean(const struct state *state, struct err *e)
{
	struct track *track = calloc(1, sizeof(*track));
	struct cbt *cbt = NULL;
	int rc = track ? track_open(&cbt, e) : err_sys(e, -ENOMEM, "cannot look at the disks of %s", state->vm);

	if (!rc) {
		rc = check_clean(cbt, state, track, e);
		cbt_close(cbt);
	}
	free(track);
	return rc;
}
