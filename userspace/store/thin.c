// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Two neighbours become one: what the upper holds, and of the lower what the upper does not hold.
 * Passes are many and come often, a merge writes all that its two hold: so a few are left, and
 * then the two that are the smallest together are merged. Each byte of a pass is written
 * anew about as often as the logarithm of how many passes lie between two kept points.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base.h"
#include "qcow2.h"
#include "tests.h"
#include "thin.h"

/* A merge under way; nothing of it counts before finish(). */
struct thin {
	uint64_t below, lower, upper;	/* three passes in a row; the one in the middle is to go */
	unsigned int disk;		/* that is being merged; those before are written */
	bool open;			/* @out and @from are */
	bool is_lower;			/* @from is the lower one: the upper one is copied */
	uint64_t position;		/* in @from */
	uint64_t dirty;			/* bytes copied since the last sync */
	struct qcow2 out;
	struct qcow2_reader from;
};

/* --- which ----------------------------------------------------------------------- */

struct marks {
	const struct manifest *m;
	bool *stays;
};

static int mark_test(void *arg, const char *name, uint64_t pass, const char *directory)
{
	struct marks *marks = arg;

	for (unsigned int i = 0; i < marks->m->pass_count; i++)
		if (marks->m->passes[i].id == pass)
			marks->stays[i] = true;
	return 0;
}

/* What a pass takes of the file system, of all disks together. */
static uint64_t used_bytes(const struct store *store, uint64_t pass)
{
	char name[STORE_FILE_BYTES];
	uint64_t bytes = 0;
	struct stat st;

	store_overlay_name(pass, name);
	for (unsigned int i = 0; i < store->manifest.spec.disk_count; i++)
		if (!fstatat(store->disk_fds[i], name, &st, AT_SYMLINK_NOFOLLOW))
			bytes += st.st_blocks * 512ULL;
	return bytes;
}

/* The index of the pass that is best merged into the one above it, or -1: there are few. */
static int choose(const struct store *store, const bool *stays)
{
	const struct manifest *m = &store->manifest;
	unsigned int first = 0, many = 0;
	uint64_t best_bytes = UINT64_MAX;
	int best = -1;

	/* What is older than all that stays goes into base.raw. */
	while (first < m->pass_count && !stays[first])
		first++;
	for (unsigned int i = first; i + 1 < m->pass_count; i++) {
		uint64_t bytes;

		if (stays[i])
			continue;
		many++;
		bytes = used_bytes(store, m->passes[i].id) + used_bytes(store, m->passes[i + 1].id);
		if (bytes < best_bytes) {
			best_bytes = bytes;
			best = i;
		}
	}
	return many > HISTORY_SLACK ? best : -1;
}

/* 1: store->thin is to be worked on, 0: there is nothing to do, or negative. */
static int begin(struct store *store, struct err *e)
{
	struct marks marks = { .m = &store->manifest };
	int best, ret;

	if (store->thin)
		return 1;
	if (!store->history.spacing_s)
		return 0;
	marks.stays = history_mark(&store->history, marks.m);
	if (!marks.stays)
		return err_sys(e, -ENOMEM, "cannot merge passes of replica %s", store->name);
	ret = tests_each(store->dir_fd, mark_test, &marks, e);
	best = ret ? -1 : choose(store, marks.stays);
	free(marks.stays);
	if (best < 0)
		return ret;
	store->thin = calloc(1, sizeof(*store->thin));
	if (!store->thin)
		return err_sys(e, -ENOMEM, "cannot merge passes of replica %s", store->name);
	/* There is one below, since what lies below all that stays is not chosen. */
	store->thin->below = marks.m->passes[best - 1].id;
	store->thin->lower = marks.m->passes[best].id;
	store->thin->upper = marks.m->passes[best + 1].id;
	return 1;
}

/*
 * The index of the lower pass; -1: the three are no longer in a row, since the lowest went into
 * base.raw meanwhile, or all were dropped for a newer medium.
 */
static int find(const struct store *store)
{
	const struct manifest_pass *passes = store->manifest.passes;
	const struct thin *t = store->thin;

	for (unsigned int i = 1; i + 1 < store->manifest.pass_count; i++)
		if (passes[i].id == t->lower)
			return passes[i - 1].id == t->below && passes[i + 1].id == t->upper ?
				       (int)i :
				       -1;
	return -1;
}

/* --- one disk ---------------------------------------------------------------------- */

static int open_reader(struct store *store, uint64_t pass, struct err *e)
{
	const struct store_disk *disk = &store->manifest.spec.disks[store->thin->disk];
	char name[STORE_FILE_BYTES];

	store_overlay_name(pass, name);
	store->thin->position = 0;
	return qcow2_reader_open(&store->thin->from, store->disk_fds[store->thin->disk], name,
				 disk->size_bytes, disk->chunk_bytes, e);
}

static int open_files(struct store *store, struct err *e)
{
	struct thin *t = store->thin;
	const struct store_disk *disk = &store->manifest.spec.disks[t->disk];
	int dir = store->disk_fds[t->disk], ret;
	char part[STORE_FILE_BYTES];

	store_part_name(t->upper, part);
	unlinkat(dir, part, 0);
	t->is_lower = false;
	ret = open_reader(store, t->upper, e);
	if (ret)
		return ret;
	ret = qcow2_create(&t->out, dir, part, disk->size_bytes, disk->chunk_bytes, e);
	if (ret)
		qcow2_reader_close(&t->from);
	t->open = !ret;
	return ret;
}

static void close_files(struct thin *t)
{
	if (!t->open)
		return;
	qcow2_close(&t->out);
	qcow2_reader_close(&t->from);
	t->open = false;
}

/* Copies @length bytes of @run, from the disk's @offset on. */
static int copy(struct thin *t, const struct qcow2_run *run, uint64_t offset, uint64_t length,
		struct err *e)
{
	struct store_place place;
	uint64_t bytes;
	int ret = 0;

	if (!run->file_offset)
		return qcow2_zero(&t->out, offset, length, e);
	t->dirty += length;
	for (uint64_t done = 0; done < length && !ret; done += bytes) {
		ret = qcow2_place(&t->out, offset + done, length - done, &place, e);
		if (ret)
			return ret;
		bytes = place.length < length - done ? place.length : length - done;
		ret = base_copy(t->out.fd, place.file_offset, t->from.fd,
				run->file_offset + (offset - run->offset) + done, bytes, e);
	}
	return ret;
}

/* What of a run of the lower overlay the upper one does not cover. */
static int copy_uncovered(struct thin *t, const struct qcow2_run *run, struct err *e)
{
	uint32_t cluster = t->out.cluster_bytes;
	uint64_t end = run->offset + run->length, index = run->offset / cluster;
	uint64_t last = end / cluster + !!(end % cluster), count, from, to;
	int ret = 0;

	while (!ret && (count = clustermap_untouched(&t->out.map, &index, last))) {
		from = index * cluster;
		to = from + count * cluster < end ? from + count * cluster : end;
		ret = copy(t, run, from, to - from, e);
		index += count;
	}
	return ret;
}

/* Copies what is left of the overlay that is read. 1: left early. */
static int copy_runs(struct thin *t, const struct share *share, struct err *e)
{
	struct qcow2_run run;
	int ret;

	while ((ret = qcow2_reader_next(&t->from, &t->position, SHARE_RUN_BYTES, &run, e)) > 0) {
		ret = t->is_lower ? copy_uncovered(t, &run, e) :
				    copy(t, &run, run.offset, run.length, e);
		if (!ret && t->dirty >= SHARE_DIRTY_BYTES) {
			t->dirty = 0;
			ret = qcow2_sync(&t->out, e);
		}
		if (ret || share_over(share))
			return ret ? ret : 1;
	}
	return ret;
}

static int finish_disk(struct thin *t, struct err *e)
{
	char name[STORE_FILE_BYTES];
	const struct qcow2_backing below = { .name = name, .format = "qcow2" };
	int ret;

	store_overlay_name(t->below, name);
	ret = qcow2_finish(&t->out, &below, e);
	return ret ? ret : qcow2_sync(&t->out, e);
}

static int merge_disk(struct store *store, const struct share *share, struct err *e)
{
	struct thin *t = store->thin;
	int ret = t->open ? 0 : open_files(store, e);

	if (!ret)
		ret = copy_runs(t, share, e);
	if (!ret && !t->is_lower) {
		qcow2_reader_close(&t->from);
		t->is_lower = true;
		ret = open_reader(store, t->lower, e);
		if (ret) {
			qcow2_close(&t->out);
			t->open = false;
			return ret;
		}
		ret = copy_runs(t, share, e);
	}
	if (!ret)
		ret = finish_disk(t, e);
	if (!ret)
		close_files(t);
	return ret;
}

/* --- all disks --------------------------------------------------------------------- */

void thin_abandon(struct store *store)
{
	struct thin *t = store->thin;
	char part[STORE_FILE_BYTES];

	if (!t)
		return;
	close_files(t);
	store_part_name(t->upper, part);
	/* What cannot be removed now is removed at the next open. */
	for (unsigned int i = 0; i < store->manifest.spec.disk_count; i++)
		unlinkat(store->disk_fds[i], part, 0);
	free(t);
	store->thin = NULL;
}

static int repair_disk(const struct store *store, unsigned int disk, struct err *e)
{
	const struct manifest *m = &store->manifest;
	char name[STORE_FILE_BYTES], below[STORE_FILE_BYTES];
	const struct qcow2_backing backing = { .name = below, .format = "qcow2" };
	int ret = 1;

	for (unsigned int i = 1; i < m->pass_count && ret >= 0; i++) {
		store_overlay_name(m->passes[i].id, name);
		store_overlay_name(m->passes[i - 1].id, below);
		ret = qcow2_is_backed(store->disk_fds[disk], name, &backing, e);
		if (!ret)
			ret = qcow2_rebase(store->disk_fds[disk], name, &backing, e);
	}
	return ret < 0 ? ret : 0;
}

int thin_repair(const struct store *store, struct err *e)
{
	int ret = 0;

	for (unsigned int i = 0; i < store->manifest.spec.disk_count && !ret; i++)
		ret = repair_disk(store, i, e);
	return ret;
}

/*
 * Disk by disk the upper overlay is replaced by one that shows the same without the lower one;
 * when that is durable the manifest no longer names that. What fails in between is for
 * thin_repair(), so the store is not gone on with.
 */
static int replace(struct store *store, unsigned int lower, struct err *e)
{
	char part[STORE_FILE_BYTES], overlay[STORE_FILE_BYTES];
	struct manifest next;
	bool replaced;
	int ret;

	store_part_name(store->thin->upper, part);
	store_overlay_name(store->thin->upper, overlay);
	for (unsigned int i = 0; i < store->manifest.spec.disk_count; i++) {
		int dir = store->disk_fds[i];

		if (renameat(dir, part, dir, overlay) || fsync(dir)) {
			ret = -errno;
			store->broken = true;
			return err_sys(e, ret, "cannot name overlay %s of replica %s", overlay,
				       store->name);
		}
	}
	ret = store_begin_change(store, &next, e);
	if (ret) {
		store->broken = true;
		return ret;
	}
	next.pass_count--;
	for (unsigned int i = lower; i < next.pass_count; i++)
		next.passes[i] = next.passes[i + 1];
	ret = store_commit_manifest(store, &next, &replaced, e);
	store->broken = ret;
	return ret;
}

static int finish(struct store *store, unsigned int lower, struct err *e)
{
	struct marks marks = { .m = &store->manifest };
	int lock = tests_lock(store->dir_fd, &store->manifest.spec, e), ret;
	char name[STORE_FILE_BYTES];

	if (lock < 0)
		return lock;
	marks.stays = calloc(marks.m->pass_count, sizeof(*marks.stays));
	ret = marks.stays ? tests_each(store->dir_fd, mark_test, &marks, e) :
			    err_sys(e, -ENOMEM, "cannot merge passes of replica %s", store->name);
	store_overlay_name(store->thin->lower, name);
	/* A test that began on the lower one meanwhile: it stays. */
	if (!ret && !marks.stays[lower]) {
		ret = replace(store, lower, e);
		for (unsigned int i = 0; i < store->manifest.spec.disk_count && !ret; i++)
			unlinkat(store->disk_fds[i], name, 0);
	}
	free(marks.stays);
	tests_unlock(lock);
	return ret;
}

static int merge_disks(struct store *store, const struct share *share, struct err *e)
{
	int lower = find(store), ret = 0;

	for (; lower > 0 && store->thin->disk < store->manifest.spec.disk_count && !ret;) {
		ret = merge_disk(store, share, e);
		if (!ret)
			store->thin->disk++;
	}
	return ret || lower < 0 ? ret : finish(store, lower, e);
}

int thin(struct store *store, const struct share *share, struct err *e)
{
	int ret;

	while ((ret = begin(store, e)) > 0) {
		if (share_over(share))
			return 1;
		ret = merge_disks(store, share, e);
		if (ret > 0)
			return 1;
		thin_abandon(store);
		if (ret)
			return ret;
	}
	return ret;
}
