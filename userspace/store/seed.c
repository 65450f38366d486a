// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "internal.h"

#define SEED_DIR ".seed"

/* It becomes base.raw and is written to: no file that is also somewhere else may be. */
static int check_seed(int fd, const char *path, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st))
		return err_sys(e, -errno, "cannot look at the seed %s", path);
	if (!S_ISREG(st.st_mode) || st.st_nlink != 1)
		return err_set(e, -EINVAL,
			       "the seed %s must be a regular file without further links: put a copy there",
			       path);
	return 0;
}

static int adopt(struct store *store, unsigned int disk, struct err *e)
{
	const struct store_disk *spec = &store->manifest.spec.disks[disk];
	char path[3 * STORE_NAME_BYTES];
	int fd, ret;

	snprintf(path, sizeof(path), "%s/%s/%s.raw", SEED_DIR, store->name, spec->name);
	fd = openat(store->root_fd, path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : err_sys(e, -errno, "cannot open the seed %s", path);
	ret = check_seed(fd, path, e);
	if (!ret && (ftruncate(fd, spec->size_bytes) || fchmod(fd, 0600)))
		ret = err_sys(e, -errno, "cannot give the seed %s the size of its disk", path);
	if (!ret && renameat(store->root_fd, path, store->disk_fds[disk], STORE_BASE_NAME))
		ret = err_sys(e, -errno, "cannot take the seed %s", path);
	if (!ret && fsync(store->disk_fds[disk]))
		ret = err_sys(e, -errno, "cannot make the seed of %s durable", spec->name);
	close(fd);
	return ret;
}

int store_adopt_seeds(struct store *store, struct err *e)
{
	int ret = store_check_idle(store, e);

	if (store->manifest.initial != STORE_INITIAL_NONE)
		return ret;
	for (unsigned int i = 0; i < store->manifest.spec.disk_count && !ret; i++)
		ret = adopt(store, i, e);
	return ret;
}
