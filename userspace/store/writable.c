// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <limits.h>

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "internal.h"
#include "qcow2.h"
#include "tree.h"
#include "use.h"
#include "writable.h"

/*
 * QEMU's own default, whatever the chunk: a VM that runs from it for long wants few and large
 * tables, and QEMU fills up a cluster from below where it is written in part.
 */
#define CLUSTER_BYTES (64u << 10)

void writable_file(const struct store_disk *disk, char name[WRITABLE_FILE_BYTES])
{
	snprintf(name, WRITABLE_FILE_BYTES, "%s.qcow2", disk->name);
}

static int create_file(int dir_fd, const char *up, const struct store_disk *disk, uint64_t pass,
		       struct err *e)
{
	char name[WRITABLE_FILE_BYTES], overlay[STORE_FILE_BYTES];
	char below[8 + STORE_NAME_BYTES + STORE_FILE_BYTES];
	const struct qcow2_backing backing = { .name = below, .format = "qcow2" };
	struct qcow2 q;
	int ret;

	writable_file(disk, name);
	store_overlay_name(pass, overlay);
	snprintf(below, sizeof(below), "%.7s/%s/%s", up, disk->name, overlay);
	ret = qcow2_create(&q, dir_fd, name, disk->size_bytes, CLUSTER_BYTES, e);
	if (ret)
		return ret;
	ret = qcow2_finish(&q, &backing, e);
	if (!ret)
		ret = qcow2_sync(&q, e);
	qcow2_close(&q);
	return ret;
}

static int fill(int dir_fd, const char *up, const struct store_spec *spec, uint64_t pass,
		struct err *e)
{
	int ret = 0;

	for (unsigned int i = 0; i < spec->disk_count && !ret; i++)
		ret = create_file(dir_fd, up, &spec->disks[i], pass, e);
	if (!ret && fsync(dir_fd))
		ret = err_sys(e, -errno, "cannot make the overlays of %s durable", spec->vm);
	return ret;
}

int writable_create(int parent_fd, const char *name, const char *up, const struct store_spec *spec,
		    uint64_t pass, struct err *e)
{
	int fd, ret;

	if (mkdirat(parent_fd, name, 0700))
		return err_sys(e, -errno, "cannot create the overlays of %s", spec->vm);
	fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0) {
		ret = err_sys(e, -errno, "cannot open the overlays of %s", spec->vm);
	} else {
		ret = fill(fd, up, spec, pass, e);
		close(fd);
	}
	if (ret)
		tree_remove(parent_fd, name);
	return ret;
}

int writable_check_unused(int parent_fd, const char *name, const struct store_spec *spec,
			  const char *what, struct err *e)
{
	char path[NAME_MAX + 1 + WRITABLE_FILE_BYTES], file[WRITABLE_FILE_BYTES];
	bool used;
	int fd;

	for (unsigned int i = 0; i < spec->disk_count; i++) {
		writable_file(&spec->disks[i], file);
		snprintf(path, sizeof(path), "%.*s/%s", NAME_MAX, name, file);
		fd = openat(parent_fd, path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0 && errno == ENOENT) /* by hand; it is in nobody's way */
			continue;
		if (fd < 0)
			return err_sys(e, -errno, "cannot open %s of %s", file, spec->vm);
		used = use_elsewhere(fd);
		close(fd);
		if (used)
			return err_set(e, -EBUSY,
				       "%s is in use: a program has its disk %s open; stop the machine that "
				       "runs on it first",
				       what, spec->disks[i].name);
	}
	return 0;
}
