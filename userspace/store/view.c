// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A read takes the base and puts on top what the overlays hold of the range, from
 * the oldest on. That an overlay holds nothing up to some place is remembered, so that reading
 * a disk from front to back looks at its tables once, however few clusters it has.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"
#include "qcow2.h"

#define ALIGN		4096u
#define MAX_RUN_BYTES	(1u << 20)

struct layer {
	struct qcow2_reader reader;
	pthread_mutex_t lock;		/* of the reader, whose tables it loads one at a time */
	uint64_t empty_from, empty_to;	/* it holds nothing of this range */
};

struct view_disk {
	uint64_t size_bytes;
	uint32_t chunk_bytes;
	int base_fd;			/* O_DIRECT if @direct */
	bool direct;
	unsigned int count;
	struct layer *layers;		/* oldest first */
};

struct store_view {
	unsigned int disk_count;
	struct view_disk disks[STORE_MAX_DISKS];
};

/* --- opening ------------------------------------------------------------------ */

static int open_base(struct view_disk *disk, int dir_fd, struct err *e)
{
	disk->base_fd = openat(dir_fd, STORE_BASE_NAME,
			       O_RDONLY | O_DIRECT | O_NOFOLLOW | O_CLOEXEC);
	disk->direct = disk->base_fd >= 0;
	if (disk->base_fd < 0)
		disk->base_fd = openat(dir_fd, STORE_BASE_NAME, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	return disk->base_fd < 0 ? err_sys(e, -errno, "cannot open %s", STORE_BASE_NAME) : 0;
}

static int open_layer(struct view_disk *disk, int dir_fd, uint64_t pass, struct err *e)
{
	struct layer *layer = &disk->layers[disk->count];
	char name[STORE_FILE_BYTES];
	int ret;

	store_overlay_name(pass, name);
	ret = qcow2_reader_open(&layer->reader, dir_fd, name, disk->size_bytes, disk->chunk_bytes,
				e);
	if (ret)
		return ret;
	/* What is in the cache may hide what the disk has made of it. */
	posix_fadvise(layer->reader.fd, 0, 0, POSIX_FADV_DONTNEED);
	pthread_mutex_init(&layer->lock, NULL);
	disk->count++;
	return 0;
}

static int open_disk(struct store_view *view, const struct store *store, unsigned int i,
		     struct err *e)
{
	const struct manifest *m = &store->manifest;
	struct view_disk *disk = &view->disks[i];
	int ret;

	disk->size_bytes = m->spec.disks[i].size_bytes;
	disk->chunk_bytes = m->spec.disks[i].chunk_bytes;
	disk->layers = calloc(m->pass_count + 1, sizeof(*disk->layers));
	if (!disk->layers)
		return err_sys(e, -ENOMEM, "cannot read replica %s", store->name);
	ret = open_base(disk, store->disk_fds[i], e);
	if (!ret && m->merging_pass)
		ret = open_layer(disk, store->disk_fds[i], m->merging_pass, e);
	for (unsigned int k = 0; k < m->pass_count && !ret; k++)
		ret = open_layer(disk, store->disk_fds[i], m->passes[k].id, e);
	return ret;
}

int store_view_open(struct store *store, struct store_view **out, struct err *e)
{
	struct store_view *view = calloc(1, sizeof(*view));
	int ret = view ? store_check_idle(store, e) :
			 err_sys(e, -ENOMEM, "cannot read replica %s", store->name);

	if (!view)
		return ret;
	for (unsigned int i = 0; i < STORE_MAX_DISKS; i++)
		view->disks[i].base_fd = -1;
	for (; view->disk_count < store->manifest.spec.disk_count && !ret; view->disk_count++)
		ret = open_disk(view, store, view->disk_count, e);
	if (ret) {
		store_view_close(view);
		return ret;
	}
	*out = view;
	return 0;
}

void store_view_close(struct store_view *view)
{
	if (!view)
		return;
	for (unsigned int i = 0; i < view->disk_count; i++) {
		struct view_disk *disk = &view->disks[i];

		for (unsigned int k = 0; k < disk->count; k++) {
			qcow2_reader_close(&disk->layers[k].reader);
			pthread_mutex_destroy(&disk->layers[k].lock);
		}
		free(disk->layers);
		if (disk->base_fd >= 0)
			close(disk->base_fd);
	}
	free(view);
}

/* --- reading -------------------------------------------------------------------- */

/* Reads @bytes, or at least up to the end of the file if it ends within @room. */
static int read_all(int fd, uint8_t *to, uint32_t bytes, uint32_t room, uint64_t offset)
{
	uint32_t done = 0;
	ssize_t got;

	while (done < bytes) {
		got = pread(fd, to + done, room - done, offset + done);
		if (got < 0 && errno != EINTR)
			return -errno;
		if (!got)
			return -EUCLEAN;
		done += got > 0 ? got : 0;
	}
	return 0;
}

/* The layer's next run at or behind *@position that begins before @end. 1, 0: none, negative. */
static int next_run(struct layer *layer, uint64_t *position, uint64_t end, struct qcow2_run *run)
{
	uint64_t from = *position;
	int ret = 0;

	pthread_mutex_lock(&layer->lock);
	if (from < layer->empty_from || end > layer->empty_to) {
		ret = qcow2_reader_next(&layer->reader, position, MAX_RUN_BYTES, run, NULL);
		if (ret >= 0 && (!ret || run->offset > from)) {
			layer->empty_from = from;
			layer->empty_to = ret ? run->offset : UINT64_MAX;
		}
	}
	pthread_mutex_unlock(&layer->lock);
	return ret > 0 && run->offset >= end ? 0 : ret;
}

static int add_layer(struct layer *layer, uint64_t offset, uint8_t *to, uint32_t bytes)
{
	uint64_t position = offset, end = offset + bytes;
	struct qcow2_run run;
	int ret;

	while ((ret = next_run(layer, &position, end, &run)) > 0) {
		uint32_t at = run.offset - offset;
		uint32_t length = run.length < end - run.offset ? run.length : end - run.offset;

		if (!run.file_offset)
			memset(to + at, 0, length);
		else
			ret = read_all(layer->reader.fd, to + at, length, length, run.file_offset);
		if (ret < 0)
			return ret;
	}
	return ret;
}

int store_view_read(struct store_view *view, unsigned int disk, uint64_t offset, void *buffer,
		    uint32_t bytes)
{
	struct view_disk *from = &view->disks[disk];
	uint32_t room = from->direct ? (bytes + ALIGN - 1) & ~(ALIGN - 1) : bytes;
	int ret = read_all(from->base_fd, buffer, bytes, room, offset);

	for (unsigned int i = 0; i < from->count && !ret; i++)
		ret = add_layer(&from->layers[i], offset, buffer, bytes);
	return ret;
}
