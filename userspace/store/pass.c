// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base.h"
#include "qcow2.h"
#include "internal.h"

#define DIRECT_BYTES 4096u /* what a direct write to base.raw is aligned to */

struct pass_disk {
	struct qcow2 overlay; /* delta */
	int base_fd; /* initial */
	int base_direct_fd;
	bool base_empty; /* at the beginning of the pass */
	uint64_t base_end; /* of what the pass has placed in it so far, in bytes */
};

struct store_pass {
	struct store *store;
	uint64_t id;
	enum store_pass_kind kind;
	unsigned int opened; /* of the disks below */
	struct pass_disk disks[STORE_MAX_DISKS];
};

static bool into_base(const struct store_pass *pass)
{
	return pass->kind != STORE_PASS_DELTA;
}

static int open_disk(struct store_pass *pass, unsigned int i, struct err *e)
{
	const struct store_disk *disk = &pass->store->manifest.spec.disks[i];
	struct pass_disk *mine = &pass->disks[i];
	char name[STORE_FILE_BYTES];

	if (!into_base(pass)) {
		store_part_name(pass->id, name);
		return qcow2_create(&mine->overlay, pass->store->disk_fds[i], name,
				    disk->size_bytes, disk->chunk_bytes, e);
	}
	mine->base_fd = base_open(pass->store->disk_fds[i], &mine->base_direct_fd, e);
	if (mine->base_fd < 0)
		return mine->base_fd;
	mine->base_empty = base_empty(mine->base_fd);
	return 0;
}

/* @keep_files: the overlays are named by the manifest, or may be. */
static void end_pass(struct store_pass *pass, bool keep_files)
{
	struct store *store = pass->store;
	char part[STORE_FILE_BYTES], overlay[STORE_FILE_BYTES];

	store_part_name(pass->id, part);
	store_overlay_name(pass->id, overlay);
	for (unsigned int i = 0; i < pass->opened; i++) {
		struct pass_disk *disk = &pass->disks[i];

		if (into_base(pass)) {
			close(disk->base_fd);
			if (disk->base_direct_fd >= 0)
				close(disk->base_direct_fd);
			continue;
		}
		qcow2_close(&disk->overlay);
		if (!keep_files) {
			unlinkat(store->disk_fds[i], part, 0);
			unlinkat(store->disk_fds[i], overlay, 0);
		}
	}
	store->pass = NULL;
	free(pass);
}

static int check_import(const struct store *store, uint64_t id, struct err *e)
{
	const struct manifest *m = &store->manifest;

	if (m->initial == STORE_INITIAL_AWAITED && m->base_pass == id)
		return 0;
	if (m->initial == STORE_INITIAL_AWAITED)
		return err_set(e, -EINVAL,
			       "replica %s awaits the medium of pass %" PRIu64 ", this one is of pass %" PRIu64
			       ": use the newest export",
			       store->name, m->base_pass, id);
	return err_set(e, -EINVAL, "replica %s does not wait for a medium", store->name);
}

static int chain_is_full(const struct store *store, struct err *e)
{
	const struct manifest *m = &store->manifest;

	if (m->initial == STORE_INITIAL_AWAITED)
		return err_set(e, -EBUSY,
			       "replica %s keeps %u passes for the medium that it waits for: import that; until then changes add up on the primary",
			       store->name, m->pass_count);
	return err_set(e, -EBUSY,
		       "replica %s has %u passes that wait to be merged: end its test failovers and "
		       "close what has one of its points open (lsof %s/%s/*/base.raw), then the next "
		       "pass goes through",
		       store->name, m->pass_count, store->root, store->name);
}

/* What is left is for merges, failovers and the manifest: a pass ends before that does. */
static int check_room(const struct store *store, struct err *e)
{
	uint64_t size, left, reserve = STORE_RESERVE_BYTES;
	struct statvfs fs;

	if (fstatvfs(store->dir_fd, &fs))
		return err_sys(e, -errno, "cannot look at the file system of replica %s",
			       store->name);
	size = (uint64_t)fs.f_blocks * fs.f_frsize;
	left = (uint64_t)fs.f_bavail * fs.f_frsize;
	if (reserve > size / STORE_RESERVE_SHARE)
		reserve = size / STORE_RESERVE_SHARE;
	if (left >= reserve)
		return 0;
	return err_set(e, -ENOSPC,
		       "%" PRIu64 " MiB are left, and no pass begins with less than %" PRIu64,
		       left >> 20, (reserve >> 20) + 1);
}

static int check_begin(const struct store *store, uint64_t id, enum store_pass_kind kind,
		       struct err *e)
{
	bool complete = manifest_has_base(&store->manifest);
	int ret = store_check_idle(store, e);

	if (!ret)
		ret = store_check_failover(store, e);
	if (ret)
		return ret;
	if (kind == STORE_PASS_IMPORT)
		return check_import(store, id, e);
	if (id <= store_last_pass(store) || id > INT64_MAX)
		return err_set(e, -EINVAL,
			       "pass %" PRIu64 " does not follow pass %" PRIu64 " of replica %s",
			       id, store_last_pass(store), store->name);
	if ((kind == STORE_PASS_INITIAL) == complete)
		return err_set(e, -EINVAL,
			       complete ? "replica %s has its initial pass already" :
					  "replica %s has no complete initial pass yet",
			       store->name);
	if (store->manifest.pass_count >= history_full(&store->history))
		return chain_is_full(store, e);
	return check_room(store, e);
}

int store_pass_begin(struct store *store, uint64_t id, enum store_pass_kind kind,
		     struct store_pass **out, struct err *e)
{
	struct store_pass *pass;
	int ret = check_begin(store, id, kind, e);

	if (ret)
		return ret;
	pass = calloc(1, sizeof(*pass));
	if (!pass)
		return err_sys(e, -ENOMEM, "cannot begin a pass of replica %s", store->name);
	pass->store = store;
	pass->id = id;
	pass->kind = kind;
	store->pass = pass;
	for (; pass->opened < store->manifest.spec.disk_count; pass->opened++) {
		ret = open_disk(pass, pass->opened, e);
		if (ret) {
			end_pass(pass, false);
			return ret;
		}
	}
	*out = pass;
	return 0;
}

/* A range begins at a chunk and ends at one or at the end of its disk. */
static int check_range(const struct store_pass *pass, unsigned int disk, uint64_t offset,
		       uint64_t length, struct err *e)
{
	const struct store_spec *spec = &pass->store->manifest.spec;
	uint64_t size, chunk;

	if (disk >= spec->disk_count)
		return err_set(e, -EINVAL, "replica %s has no disk %u", pass->store->name, disk);
	size = spec->disks[disk].size_bytes;
	chunk = spec->disks[disk].chunk_bytes;
	if (!length || offset > size || length > size - offset)
		return err_set(e, -EINVAL, "a range at %" PRIu64 " does not lie within disk %s",
			       offset, spec->disks[disk].name);
	if (offset % chunk || ((offset + length) % chunk && offset + length != size))
		return err_set(e, -EINVAL,
			       "a range at %" PRIu64 " of disk %s is not made of whole chunks",
			       offset, spec->disks[disk].name);
	return 0;
}

/* In base.raw each byte has its place; only a disk's end may not be aligned for direct writes. */
static void place_in_base(const struct pass_disk *disk, uint64_t offset, uint32_t length,
			  struct store_place *place)
{
	uint32_t aligned = length / DIRECT_BYTES * DIRECT_BYTES;

	place->file_offset = offset;
	place->direct = disk->base_direct_fd >= 0 && aligned;
	place->fd = place->direct ? disk->base_direct_fd : disk->base_fd;
	place->length = place->direct ? aligned : length;
}

int store_pass_place(struct store_pass *pass, unsigned int disk, uint64_t offset, uint32_t length,
		     struct store_place *place, struct err *e)
{
	uint64_t chunk, size, mid = offset;
	int ret;

	if (!into_base(pass)) {
		ret = check_range(pass, disk, offset, length, e);
		return ret ? ret :
			     qcow2_place(&pass->disks[disk].overlay, offset, length, place, e);
	}
	/* What is left of a range whose aligned part was placed begins within the last chunk. */
	if (disk < pass->opened && offset % DIRECT_BYTES == 0) {
		chunk = pass->store->manifest.spec.disks[disk].chunk_bytes;
		size = pass->store->manifest.spec.disks[disk].size_bytes;
		if (offset < size && length == size - offset && length < DIRECT_BYTES)
			mid = offset / chunk * chunk;
	}
	ret = check_range(pass, disk, mid, length + (offset - mid), e);
	if (ret)
		return ret;
	place_in_base(&pass->disks[disk], offset, length, place);
	if (pass->disks[disk].base_end < offset + place->length)
		pass->disks[disk].base_end = offset + place->length;
	return 0;
}

int store_pass_zero(struct store_pass *pass, unsigned int disk, uint64_t offset, uint64_t length,
		    struct err *e)
{
	int ret = check_range(pass, disk, offset, length, e);

	if (ret)
		return ret;
	if (!into_base(pass))
		return qcow2_zero(&pass->disks[disk].overlay, offset, length, e);
	/* It is a hole already, and punching one would wait for the writes that are under way. */
	if (pass->disks[disk].base_empty && offset >= pass->disks[disk].base_end)
		return 0;
	return base_zero(pass->disks[disk].base_fd, offset, length, e);
}

/* --- the initial pass ---------------------------------------------------- */

static int sync_bases(struct store_pass *pass, struct err *e)
{
	for (unsigned int i = 0; i < pass->opened; i++)
		if (fdatasync(pass->disks[i].base_fd))
			return err_sys(e, -errno, "cannot make %s of replica %s durable",
				       STORE_BASE_NAME, pass->store->name);
	return 0;
}

int store_initial_checkpoint(struct store_pass *pass, const uint64_t *durable_bytes, struct err *e)
{
	struct store *store = pass->store;
	struct manifest next;
	bool replaced;
	int ret = sync_bases(pass, e);

	if (!ret)
		ret = manifest_copy(&next, &store->manifest, e);
	if (ret)
		return ret;
	next.initial = STORE_INITIAL_RECEIVING;
	for (unsigned int i = 0; i < pass->opened; i++) {
		uint64_t size = next.spec.disks[i].size_bytes;
		uint64_t durable = durable_bytes[i] < size ? durable_bytes[i] : size;

		if (durable > next.durable[i])
			next.durable[i] = durable;
	}
	return store_commit_manifest(store, &next, &replaced, e);
}

/* Also of an import: the id is the one that base_pass is already. */
static int commit_base(struct store_pass *pass, bool *named, struct err *e)
{
	struct manifest next;
	int ret = sync_bases(pass, e);

	if (!ret)
		ret = manifest_copy(&next, &pass->store->manifest, e);
	if (ret)
		return ret;
	next.initial = STORE_INITIAL_COMPLETE;
	next.base_pass = pass->id;
	for (unsigned int i = 0; i < pass->opened; i++)
		next.durable[i] = next.spec.disks[i].size_bytes;
	return store_commit_manifest(pass->store, &next, named, e);
}

/* --- a delta ------------------------------------------------------------- */

/* Tables of all disks first, so that the disk works on them while the syncs wait in turn. */
static int write_overlays(struct store_pass *pass, struct err *e)
{
	const struct manifest *m = &pass->store->manifest;
	char below[STORE_FILE_BYTES];
	struct qcow2_backing backing = { .name = STORE_BASE_NAME, .format = "raw" };
	int ret = 0;

	if (m->pass_count) {
		store_overlay_name(m->passes[m->pass_count - 1].id, below);
		backing = (struct qcow2_backing){ .name = below, .format = "qcow2" };
	}
	for (unsigned int i = 0; i < pass->opened && !ret; i++)
		ret = qcow2_finish(&pass->disks[i].overlay, &backing, e);
	for (unsigned int i = 0; i < pass->opened && !ret; i++)
		ret = qcow2_sync(&pass->disks[i].overlay, e);
	return ret;
}

static int name_overlays(struct store_pass *pass, struct err *e)
{
	char part[STORE_FILE_BYTES], overlay[STORE_FILE_BYTES];

	store_part_name(pass->id, part);
	store_overlay_name(pass->id, overlay);
	for (unsigned int i = 0; i < pass->opened; i++) {
		int dir = pass->store->disk_fds[i];

		if (renameat(dir, part, dir, overlay) || fsync(dir))
			return err_sys(e, -errno, "cannot name overlay %s of replica %s", overlay,
				       pass->store->name);
	}
	return 0;
}

static int commit_delta(struct store_pass *pass, const struct manifest_pass *what, bool *named,
			struct err *e)
{
	struct manifest next;
	int ret = write_overlays(pass, e);

	if (!ret)
		ret = name_overlays(pass, e);
	if (!ret)
		ret = manifest_copy(&next, &pass->store->manifest, e);
	if (ret)
		return ret;
	next.passes[next.pass_count++] = *what;
	return store_commit_manifest(pass->store, &next, named, e);
}

int store_pass_commit(struct store_pass *pass, uint64_t cut_time_us, bool whole,
		      enum store_consistency consistency, struct err *e)
{
	struct manifest_pass what = { pass->id, cut_time_us, whole, consistency };
	bool named = false;
	int ret;

	if (cut_time_us > INT64_MAX || consistency > STORE_CONSISTENCY_APPLICATION)
		ret = err_set(e, -EINVAL, "pass %" PRIu64 " has an impossible time or consistency",
			      pass->id);
	else if (into_base(pass))
		ret = commit_base(pass, &named, e);
	else
		ret = commit_delta(pass, &what, &named, e);
	end_pass(pass, named);
	return ret;
}

void store_pass_abort(struct store_pass *pass)
{
	end_pass(pass, false);
}
