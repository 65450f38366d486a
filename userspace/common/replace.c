// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "replace.h"

static int write_all(int fd, const char *data, size_t left)
{
	ssize_t got;

	for (; left; data += got, left -= got) {
		got = write(fd, data, left);
		if (got < 0 && errno != EINTR)
			return -errno;
		if (got < 0)
			got = 0;
	}
	return 0;
}

static int write_temp(int dir_fd, const char *temp, const void *data, size_t bytes)
{
	int fd = openat(dir_fd, temp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	int ret;

	if (fd < 0)
		return -errno;
	ret = write_all(fd, data, bytes);
	if (!ret && fsync(fd))
		ret = -errno;
	close(fd);
	return ret;
}

int replace_file(int dir_fd, const char *name, const char *temp, const void *data, size_t bytes,
		 bool *replaced)
{
	int ret = write_temp(dir_fd, temp, data, bytes);

	if (!ret && renameat(dir_fd, temp, dir_fd, name))
		ret = -errno;
	if (replaced)
		*replaced = !ret;
	if (ret)
		unlinkat(dir_fd, temp, 0);
	else if (fsync(dir_fd))
		ret = -errno;
	return ret;
}
