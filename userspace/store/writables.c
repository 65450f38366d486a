// SPDX-License-Identifier: GPL-2.0-or-later
/* What stands on a VM's points, listed. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "failover_files.h"
#include "tests.h"
#include "writable.h"

struct listing {
	struct store_writables *list;
	const struct manifest *manifest;
	const char *dir;	/* absolute path of ROOT/VM */
};

static uint64_t made_us(const char *path)
{
	struct stat st;

	return stat(path, &st) ? 0 :
				 st.st_mtim.tv_sec * 1000000ULL + st.st_mtim.tv_nsec / 1000;
}

static int fill_disks(struct store_writable *w, const struct store_spec *spec, const char *path)
{
	char file[WRITABLE_FILE_BYTES];

	w->disks = calloc(spec->disk_count, sizeof(*w->disks));
	if (!w->disks)
		return -ENOMEM;
	w->disk_count = spec->disk_count;
	for (unsigned int i = 0; i < spec->disk_count; i++) {
		struct store_point_disk *disk = &w->disks[i];

		strcpy(disk->name, spec->disks[i].name);
		strcpy(disk->source, spec->disks[i].source);
		disk->format = "qcow2";
		writable_file(&spec->disks[i], file);
		if ((size_t)snprintf(disk->file, sizeof(disk->file), "%s/%s", path, file) >=
		    sizeof(disk->file))
			return -ENAMETOOLONG;
	}
	return 0;
}

/* @directory: below that of the VM; @time_us 0: the directory's own. */
static int append(struct listing *l, const char *name, uint64_t pass, uint64_t time_us,
		  const char *directory)
{
	struct store_writables *list = l->list;
	struct store_writable *grown, *w;
	char *path;
	int ret;

	grown = reallocarray(list->at, list->count + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	list->at = grown;
	if (asprintf(&path, "%s/%s", l->dir, directory) < 0)
		return -ENOMEM;
	w = &list->at[list->count++];
	*w = (struct store_writable){ .pass = pass,
				      .time_us = time_us ? time_us : made_us(path) };
	snprintf(w->name, sizeof(w->name), "%s", name);
	ret = fill_disks(w, &l->manifest->spec, path);
	free(path);
	return ret;
}

static int append_test(void *arg, const char *name, uint64_t pass, const char *directory)
{
	char below[NAME_MAX + 16];

	snprintf(below, sizeof(below), "%s/%.*s", TESTS_DIRECTORY, NAME_MAX, directory);
	return append(arg, name, pass, 0, below);
}

static int append_failover(struct listing *l)
{
	const struct store_failover *f = &l->manifest->failover;
	char directory[STORE_FILE_BYTES];

	if (!f->state)
		return 0;
	failover_directory(f->generation, directory);
	return append(l, "", f->pass, f->time_us, directory);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct store_writable *)a)->name,
		      ((const struct store_writable *)b)->name);
}

static int list_all(int dir_fd, struct listing *l, const char *root, const char *vm,
		    struct err *e)
{
	char *real = realpath(root, NULL), *dir = NULL;
	int ret = real && asprintf(&dir, "%s/%s", real, vm) > 0 ? 0 : -ENOMEM;

	l->dir = dir;
	if (!ret)
		ret = append_failover(l);
	if (!ret)
		ret = tests_each(dir_fd, append_test, l, e);
	if (l->list->count)
		qsort(l->list->at, l->list->count, sizeof(*l->list->at), by_name);
	free(dir);
	free(real);
	return ret;
}

int store_writables(const char *root, const char *vm, struct store_writables *list, struct err *e)
{
	struct manifest manifest;
	struct listing l = { .list = list, .manifest = &manifest };
	int dir_fd = store_open_dir(root, vm, e);
	int ret;

	*list = (struct store_writables){ 0 };
	if (dir_fd < 0)
		return dir_fd;
	ret = manifest_read(dir_fd, &manifest, e);
	if (!ret) {
		ret = list_all(dir_fd, &l, root, vm, e);
		if (ret) {
			store_writables_free(list);
			err_sys(e, ret, "cannot list what stands on the points of %s", vm);
		}
		manifest_free(&manifest);
	}
	close(dir_fd);
	return ret;
}

void store_writables_free(struct store_writables *list)
{
	for (unsigned int i = 0; i < list->count; i++)
		free(list->at[i].disks);
	free(list->at);
	*list = (struct store_writables){ 0 };
}
