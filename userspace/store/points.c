// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests.h"

int store_open_dir(const char *root, const char *vm, struct err *e)
{
	int root_fd, dir_fd, ret;

	if (!store_name_valid(vm))
		return err_set(e, -EINVAL, "\"%.64s\" cannot be a VM's name", vm);
	root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root_fd < 0)
		return err_sys(e, -errno, "cannot open the store %s", root);
	dir_fd = openat(root_fd, vm, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	ret = dir_fd < 0 ? -errno : 0;
	close(root_fd);
	if (ret == -ENOENT)
		return err_set(e, ret, "there is no replica %s in %s", vm, root);
	return ret ? err_sys(e, ret, "cannot open replica %s", vm) : dir_fd;
}

static int count_test(void *arg, const char *name, uint64_t pass, const char *directory)
{
	++*(unsigned int *)arg;
	return 0;
}

/* Of files that come and go meanwhile: what is there when it is looked at. */
static uint64_t used_bytes(int dir_fd, const struct manifest *m)
{
	char path[STORE_NAME_BYTES + STORE_FILE_BYTES], name[STORE_FILE_BYTES];
	uint64_t bytes = 0;
	struct stat st;

	for (unsigned int disk = 0; disk < m->spec.disk_count; disk++)
		for (unsigned int i = 0; i <= m->pass_count; i++) {
			if (i < m->pass_count)
				store_overlay_name(m->passes[i].id, name);
			snprintf(path, sizeof(path), "%s/%s", m->spec.disks[disk].name,
				 i < m->pass_count ? name : STORE_BASE_NAME);
			if (!fstatat(dir_fd, path, &st, AT_SYMLINK_NOFOLLOW))
				bytes += st.st_blocks * 512ULL;
		}
	return bytes;
}

static int read_all(const char *root, const char *vm, struct manifest *m,
		    struct store_points *points, struct err *e)
{
	int dir_fd = store_open_dir(root, vm, e);
	int ret;

	if (dir_fd < 0)
		return dir_fd;
	ret = tests_each(dir_fd, count_test, &points->tests, e);
	if (!ret)
		ret = manifest_read(dir_fd, m, e);
	if (!ret)
		points->used_bytes = used_bytes(dir_fd, m);
	close(dir_fd);
	return ret;
}

static int fill_point(const char *dir, const struct manifest *m, const struct manifest_pass *pass,
		      struct store_point *point)
{
	char name[STORE_FILE_BYTES];

	point->disks = calloc(m->spec.disk_count, sizeof(*point->disks));
	if (!point->disks)
		return -ENOMEM;
	point->disk_count = m->spec.disk_count;
	snprintf(point->id, sizeof(point->id), "%" PRIu64, pass->id);
	point->time_us = pass->cut_time_us;
	point->consistency = pass->consistency;
	store_overlay_name(pass->id, name);
	for (unsigned int i = 0; i < m->spec.disk_count; i++) {
		struct store_point_disk *disk = &point->disks[i];

		strcpy(disk->name, m->spec.disks[i].name);
		strcpy(disk->source, m->spec.disks[i].source);
		disk->format = "qcow2";
		if ((size_t)snprintf(disk->file, sizeof(disk->file), "%s/%s/%s", dir, disk->name,
				     name) >= sizeof(disk->file))
			return -ENAMETOOLONG;
	}
	return 0;
}

static int fill_points(const char *dir, const struct manifest *m, struct store_points *points)
{
	int ret = 0;

	strcpy(points->relationship, m->spec.relationship);
	points->released = m->released;
	points->last_pass = manifest_last_pass(m);
	points->generation = m->generation;
	points->failover = m->failover;
	points->at = calloc(m->pass_count + 1, sizeof(*points->at));
	if (!points->at)
		return -ENOMEM;
	points->awaited = m->initial == STORE_INITIAL_AWAITED;
	for (unsigned int i = 0; i < m->pass_count && !ret && !points->awaited; i++)
		if (m->passes[i].whole)
			ret = fill_point(dir, m, &m->passes[i], &points->at[points->count++]);
	return ret;
}

int store_points(const char *root, const char *vm, struct store_points *points, struct err *e)
{
	struct manifest m;
	char *real = NULL, *dir = NULL;
	int ret;

	*points = (struct store_points){ 0 };
	ret = read_all(root, vm, &m, points, e);
	if (ret)
		return ret;
	real = realpath(root, NULL);
	if (!real || asprintf(&dir, "%s/%s", real, vm) < 0) {
		ret = real ? -ENOMEM : -errno;
		dir = NULL;
	}
	if (!ret)
		ret = fill_points(dir, &m, points);
	if (ret) {
		store_points_free(points);
		err_sys(e, ret, "cannot list the points of replica %s", vm);
	}
	free(dir);
	free(real);
	manifest_free(&m);
	return ret;
}

void store_points_free(struct store_points *points)
{
	for (unsigned int i = 0; i < points->count; i++)
		free(points->at[i].disks);
	free(points->at);
	*points = (struct store_points){ 0 };
}
