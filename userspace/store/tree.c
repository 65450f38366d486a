// SPDX-License-Identifier: GPL-2.0-or-later
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "tree.h"

#define MAX_DEPTH 3

static int remove_level(int dir_fd, const char *name, int depth)
{
	struct dirent *entry;
	DIR *dir;
	int fd, ret = 0;

	if (!unlinkat(dir_fd, name, 0) || errno == ENOENT)
		return 0;
	if (errno != EISDIR || depth == MAX_DEPTH)
		return -errno;
	fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		ret = -errno;
		if (fd >= 0)
			close(fd);
		return ret;
	}
	while (!ret && (entry = readdir(dir)))
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			ret = remove_level(fd, entry->d_name, depth + 1);
	closedir(dir);
	if (!ret && unlinkat(dir_fd, name, AT_REMOVEDIR))
		ret = -errno;
	return ret;
}

int tree_remove(int dir_fd, const char *name)
{
	return remove_level(dir_fd, name, 0);
}
