// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Failed over or not is what the manifest says; a directory of overlays that it does
 * not name was never the VM's, or no longer is. Its number is the generation in which it was
 * made: what has a larger one than the manifest is from a later time than the manifest, and is
 * left alone.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "failover.h"
#include "failover_files.h"
#include "tests.h"
#include "tree.h"
#include "writable.h"

#define PREFIX ".failover-"

/* --- directories --------------------------------------------------------- */

void failover_directory(uint64_t generation, char name[STORE_FILE_BYTES])
{
	snprintf(name, STORE_FILE_BYTES, PREFIX "%" PRIu64, generation);
}

/* Its generation; 0: the name of something else. */
static uint64_t parse(const char *name)
{
	const char *digits = name + strlen(PREFIX);

	if (strncmp(name, PREFIX, strlen(PREFIX)) || !digits[0] || strlen(digits) > 18 ||
	    strspn(digits, "0123456789") != strlen(digits))
		return 0;
	return strtoull(digits, NULL, 10);
}

/* Calls @each with each directory of a failover; what it returns ends it, unless 0. */
static int each_directory(const struct store *store,
			  int (*each)(const struct store *store, const char *name,
				      uint64_t generation, void *arg),
			  void *arg, struct err *e)
{
	int fd = openat(store->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	int ret = 0;

	if (!dir) {
		ret = -errno;
		if (fd >= 0)
			close(fd);
		return err_sys(e, ret, "cannot list replica %s", store->name);
	}
	while (!ret && (entry = readdir(dir)))
		if (parse(entry->d_name))
			ret = each(store, entry->d_name, parse(entry->d_name), arg);
	closedir(dir);
	return ret;
}

/* @arg: struct err */
static int remove_old(const struct store *store, const char *name, uint64_t generation, void *arg)
{
	const struct manifest *m = &store->manifest;
	int ret = 0;

	if (generation <= m->generation &&
	    !(m->failover.state && generation == m->failover.generation))
		ret = tree_remove(store->dir_fd, name);
	return ret ? err_sys(arg, ret, "cannot remove %s of replica %s", name, store->name) : 0;
}

int failover_clean(const struct store *store, struct err *e)
{
	return each_directory(store, remove_old, e, e);
}

static int take_newest(const struct store *store, const char *name, uint64_t generation, void *arg)
{
	uint64_t *newest = arg;

	if (generation > *newest)
		*newest = generation;
	return 0;
}

/* The disks of a VM that runs here: without them the manifest cannot be right. */
int failover_check_files(const struct store *store, struct err *e)
{
	const struct manifest *m = &store->manifest;
	char path[STORE_FILE_BYTES + WRITABLE_FILE_BYTES], file[WRITABLE_FILE_BYTES];
	char name[STORE_FILE_BYTES];

	failover_directory(m->failover.generation, name);
	for (unsigned int i = 0; m->failover.state && i < m->spec.disk_count; i++) {
		writable_file(&m->spec.disks[i], file);
		snprintf(path, sizeof(path), "%s/%s", name, file);
		if (faccessat(store->dir_fd, path, F_OK, AT_SYMLINK_NOFOLLOW))
			return err_set(e, -EUCLEAN, "replica %s is damaged: %s is missing",
				       store->name, path);
	}
	return 0;
}

/* --- what it is ---------------------------------------------------------- */

struct store_failover store_failover(const struct store *store)
{
	return store->manifest.failover;
}

int store_check_failover(const struct store *store, struct err *e)
{
	const struct store_failover *f = &store->manifest.failover;

	switch (f->state) {
	case STORE_FAILOVER_NONE:
		return 0;
	case STORE_FAILOVER_RECOVERED:
		return err_set(e, -EROFS,
			       "%s was failed over to the replica, to point %" PRIu64
			       ", which takes no passes since: `vmreplica revert %s` there lets replication "
			       "go on, `vmreplica commit %s` there makes it final",
			       store->name, f->pass, store->name, store->name);
	case STORE_FAILOVER_COMMITTED:
		break;
	}
	return err_set(e, -EROFS,
		       "%s was failed over to the replica for good, and has its primary there: do not start "
		       "the machine here; end this relationship with `vmreplica disable %s`",
		       store->name, store->name);
}

/* --- changes ------------------------------------------------------------- */

static uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec * 1000000ULL + ts.tv_nsec / 1000;
}

static int check_begin(const struct store *store, struct err *e)
{
	int ret = store_check_idle(store, e);

	if (ret)
		return ret;
	if (store->manifest.failover.state)
		return err_set(e, -EALREADY,
			       "%s is failed over already, to point %" PRIu64
			       ": revert that first with `vmreplica revert %s`",
			       store->name, store->manifest.failover.pass, store->name);
	return 0;
}

static void tell_consistency(const struct store *store, uint64_t pass, struct err *e)
{
	err_set(e, 0,
		"point %" PRIu64 " of %s was not tracked and may have been written to while it was read: check its file systems and databases before you rely on it",
		pass, store->name);
}

int store_failover_begin(struct store *store, uint64_t pass, struct err *e)
{
	uint64_t generation = store->manifest.generation;
	const struct manifest_pass *point;
	char name[STORE_FILE_BYTES];
	struct manifest next;
	bool replaced, doubtful;
	int ret = check_begin(store, e);

	if (ret)
		return ret;
	point = manifest_point(&store->manifest, pass, e);
	if (!point)
		return -ENOENT;
	ret = each_directory(store, take_newest, &generation, e);
	if (ret)
		return ret;
	failover_directory(++generation, name);
	ret = writable_create(store->dir_fd, name, "..", &store->manifest.spec, point->id, e);
	if (!ret && fsync(store->dir_fd))
		ret = err_sys(e, -errno, "cannot make the overlays of %s durable", store->name);
	if (!ret)
		ret = manifest_copy(&next, &store->manifest, e);
	if (ret)
		return ret;
	pass = point->id;
	doubtful = point->consistency == STORE_CONSISTENCY_NONE;
	next.generation = generation;
	next.failover = (struct store_failover){ STORE_FAILOVER_RECOVERED, pass, generation,
						 now_us() };
	ret = store_commit_manifest(store, &next, &replaced, e);
	if (!ret && doubtful)
		tell_consistency(store, pass, e);
	return ret;
}

static int check_recovered(const struct store *store, struct err *e)
{
	int ret = store_check_idle(store, e);

	if (ret)
		return ret;
	if (store->manifest.failover.state == STORE_FAILOVER_NONE)
		return err_set(e, -EINVAL, "%s is not failed over to here", store->name);
	if (store->manifest.failover.state == STORE_FAILOVER_COMMITTED)
		return err_set(e, -EINVAL, "the failover of %s is final already", store->name);
	return 0;
}

int store_failover_revert(struct store *store, struct err *e)
{
	char name[STORE_FILE_BYTES], what[STORE_NAME_BYTES + 32];
	struct manifest next;
	bool replaced;
	int ret = check_recovered(store, e);

	if (ret)
		return ret;
	failover_directory(store->manifest.failover.generation, name);
	snprintf(what, sizeof(what), "%s, as failed over,", store->name);
	ret = writable_check_unused(store->dir_fd, name, &store->manifest.spec, what, e);
	if (!ret)
		ret = manifest_copy(&next, &store->manifest, e);
	if (ret)
		return ret;
	next.generation++;
	next.failover = (struct store_failover){ 0 };
	ret = store_commit_manifest(store, &next, &replaced, e);
	/* What cannot be removed now is removed at the next open. */
	if (!ret)
		tree_remove(store->dir_fd, name);
	return ret;
}

/* Nobody may have an overlay open that is about to be deleted. */
static int check_newer_unused(const struct store *store, struct err *e)
{
	const struct manifest *m = &store->manifest;
	int ret = tests_check(store->dir_fd, m->failover.pass + 1, store->name, e);

	for (unsigned int i = 0; i < m->pass_count && !ret; i++)
		if (m->passes[i].id > m->failover.pass)
			ret = store_check_pass_unused(store, m->passes[i].id, e);
	return ret;
}

static int commit(struct store *store, struct err *e)
{
	uint64_t keep = store->manifest.failover.pass;
	struct manifest next;
	bool replaced;
	int ret = manifest_copy(&next, &store->manifest, e);

	if (ret)
		return ret;
	while (next.pass_count && next.passes[next.pass_count - 1].id > keep)
		next.pass_count--;
	next.generation++;
	next.failover.state = STORE_FAILOVER_COMMITTED;
	ret = store_commit_manifest(store, &next, &replaced, e);
	return ret ? ret : store_clean(store, e);
}

int store_failover_commit(struct store *store, struct err *e)
{
	int lock, ret = check_recovered(store, e);

	if (ret)
		return ret;
	lock = tests_lock(store->dir_fd, &store->manifest.spec, e);
	if (lock < 0)
		return lock;
	ret = check_newer_unused(store, e);
	if (!ret)
		ret = commit(store, e);
	tests_unlock(lock);
	return ret;
}
