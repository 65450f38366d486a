// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Retention: the oldest overlay is merged down into base.raw, in steps each of
 * which leaves the same bytes visible through every point that the manifest
 * names. Documentation/store-format.rst goes through a power cut at each.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base.h"
#include "qcow2.h"
#include "share.h"
#include "tests.h"
#include "thin.h"
#include "use.h"

/* 1: the oldest pass may go, 0, or negative. Not the newest point while the chain can be borne. */
static int has_surplus(const struct store *store)
{
	const struct manifest *m = &store->manifest;
	bool *stays = history_mark(&store->history, m);
	bool first_stays = stays && m->pass_count && stays[0];

	free(stays);
	if (!stays)
		return -ENOMEM;
	/* An import would put older data over what was merged. */
	if (!m->pass_count || first_stays || m->initial == STORE_INITIAL_AWAITED)
		return 0;
	if (!m->passes[0].whole || m->pass_count > history_too_long(&store->history))
		return 1;
	for (unsigned int i = 1; i < m->pass_count; i++)
		if (m->passes[i].whole)
			return 1;
	return 0;
}

/*
 * Whether some program has a point open, and thereby base.raw. If that point has been merged
 * already, one more merge would change what it shows; which point it is, is not known.
 * Who opens one later finds none in the manifest that the merge about to begin could change.
 * 1, 0 or negative.
 */
static int is_read(const struct store *store, struct err *e)
{
	bool read = false;

	for (unsigned int i = 0; i < store->manifest.spec.disk_count && !read; i++) {
		int fd = base_open(store->disk_fds[i], NULL, e);

		if (fd < 0)
			return fd;
		read = use_elsewhere(fd);
		close(fd);
	}
	return read;
}

/* Step 1: the oldest pass is no longer a point, but still in the chain. */
static int begin_locked(struct store *store, struct err *e)
{
	struct manifest next;
	bool replaced;
	int ret = manifest_copy(&next, &store->manifest, e);

	if (ret)
		return ret;
	next.merging_pass = next.passes[0].id;
	next.pass_count--;
	memmove(next.passes, next.passes + 1, next.pass_count * sizeof(*next.passes));
	ret = store_commit_manifest(store, &next, &replaced, e);
	if (!ret) {
		store->merge_disk = 0;
		store->merge_position = 0;
	}
	return ret;
}

/* 1: a test stands on the oldest point, so that it stays. */
static int begin(struct store *store, struct err *e)
{
	int lock = tests_lock(store->dir_fd, &store->manifest.spec, e);
	uint64_t pinned;
	int ret = lock;

	if (lock < 0)
		return lock;
	ret = tests_oldest(store->dir_fd, &pinned, e);
	if (!ret && pinned <= store->manifest.passes[0].id)
		ret = 1;
	if (!ret)
		ret = begin_locked(store, e);
	tests_unlock(lock);
	return ret;
}

/* Copies what is left of one disk's overlay; 1: left early. */
static int copy_runs(struct store *store, struct qcow2_reader *from, int base_fd,
		     const struct share *share, struct err *e)
{
	struct qcow2_run run;
	uint64_t dirty = 0;
	int ret;

	for (;;) {
		ret = qcow2_reader_next(from, &store->merge_position, SHARE_RUN_BYTES, &run, e);
		if (ret <= 0)
			break;
		if (run.file_offset)
			ret = base_copy(base_fd, run.offset, from->fd, run.file_offset, run.length,
					e);
		else
			ret = base_zero(base_fd, run.offset, run.length, e);
		dirty += run.file_offset ? run.length : 0;
		if (!ret && dirty >= SHARE_DIRTY_BYTES) {
			dirty = 0;
			if (fdatasync(base_fd))
				ret = err_sys(e, -errno, "cannot make %s durable", STORE_BASE_NAME);
		}
		if (ret)
			break;
		if (share_over(share)) {
			ret = 1;
			break;
		}
	}
	/* Also when it is left early: an error is sure to be told to this descriptor only. */
	if (ret >= 0 && fdatasync(base_fd))
		ret = err_sys(e, -errno, "cannot make %s durable", STORE_BASE_NAME);
	return ret;
}

/* Step 2: base.raw of one disk becomes what base.raw and the overlay show together. */
static int copy_disk(struct store *store, const struct share *share, struct err *e)
{
	const struct store_disk *disk = &store->manifest.spec.disks[store->merge_disk];
	int dir_fd = store->disk_fds[store->merge_disk];
	char name[STORE_FILE_BYTES];
	struct qcow2_reader from;
	int base_fd, ret;

	store_overlay_name(store->manifest.merging_pass, name);
	ret = qcow2_reader_open(&from, dir_fd, name, disk->size_bytes, disk->chunk_bytes, e);
	if (ret)
		return ret;
	base_fd = base_open(dir_fd, NULL, e);
	ret = base_fd;
	if (base_fd >= 0) {
		ret = copy_runs(store, &from, base_fd, share, e);
		close(base_fd);
	}
	qcow2_reader_close(&from);
	/* What a failed copy may have left out must be copied again. */
	if (ret < 0)
		store->merge_position = 0;
	return ret;
}

/* Steps 3 to 5: base.raw backs the next overlay, then the manifest says so, then the file goes. */
static int finish(struct store *store, struct err *e)
{
	static const struct qcow2_backing base = { .name = STORE_BASE_NAME, .format = "raw" };
	char next_name[STORE_FILE_BYTES], merged_name[STORE_FILE_BYTES];
	struct manifest next;
	bool replaced;
	int ret = 0;

	store_overlay_name(store->manifest.passes[0].id, next_name);
	store_overlay_name(store->manifest.merging_pass, merged_name);
	for (unsigned int i = 0; i < store->manifest.spec.disk_count && !ret; i++)
		ret = qcow2_rebase(store->disk_fds[i], next_name, &base, e);
	if (!ret)
		ret = manifest_copy(&next, &store->manifest, e);
	if (ret)
		return ret;
	next.base_pass = next.merging_pass;
	next.merging_pass = 0;
	ret = store_commit_manifest(store, &next, &replaced, e);
	/* A file that cannot be removed now is removed at the next open. */
	for (unsigned int i = 0; i < store->manifest.spec.disk_count && !ret; i++)
		unlinkat(store->disk_fds[i], merged_name, 0);
	return ret;
}

static int merge_oldest(struct store *store, const struct share *share, struct err *e)
{
	int ret = 0;

	if (!store->manifest.merging_pass)
		ret = begin(store, e);
	for (; store->merge_disk < store->manifest.spec.disk_count && !ret;) {
		ret = copy_disk(store, share, e);
		if (!ret) {
			store->merge_disk++;
			store->merge_position = 0;
		}
	}
	return ret ? ret : finish(store, e);
}

/* The oldest passes, one after another; as store_maintain(). */
static int merge_down(struct store *store, const struct share *share, struct err *e)
{
	int ret = has_surplus(store);

	while (ret > 0 || store->manifest.merging_pass) {
		if (share_over(share))
			return 1;
		ret = store->manifest.merging_pass ? 0 : is_read(store, e);
		if (!ret)
			ret = merge_oldest(store, share, e);
		if (ret)
			return ret;
		ret = has_surplus(store);
	}
	return ret < 0 ? err_sys(e, ret, "cannot merge passes of replica %s", store->name) : ret;
}

int store_maintain(struct store *store, int stop_fd, int busy_fd, struct err *e)
{
	bool is_long = store->manifest.pass_count >= history_long(&store->history);
	struct share share =
		share_begin(stop_fd, busy_fd,
			    is_long ? STORE_MERGE_LONG_SHARE_MS : STORE_MERGE_SHARE_MS);
	int thinned, ret = store_check_idle(store, e);

	if (ret || store->manifest.failover.state)
		return ret;
	thinned = thin(store, &share, e);
	if (thinned < 0)
		return thinned;
	/* What is to go into base.raw does not have to wait for what was left early. */
	ret = merge_down(store, &share, e);
	return ret ? ret : thinned;
}
