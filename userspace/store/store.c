// SPDX-License-Identifier: GPL-2.0-or-later
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base.h"
#include "failover_files.h"
#include "qcow2.h"
#include "tests.h"
#include "thin.h"
#include "use.h"
#include "tree.h"

bool store_name_valid(const char *name)
{
	size_t bytes = strlen(name);

	if (!bytes || bytes >= STORE_NAME_BYTES || name[0] == '.')
		return false;
	return strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") ==
	       bytes;
}

void store_overlay_name(uint64_t pass, char name[STORE_FILE_BYTES])
{
	snprintf(name, STORE_FILE_BYTES, "%012" PRIu64 ".qcow2", pass);
}

void store_part_name(uint64_t pass, char name[STORE_FILE_BYTES])
{
	snprintf(name, STORE_FILE_BYTES, "%012" PRIu64 ".part", pass);
}

int store_commit_manifest(struct store *store, struct manifest *next, bool *replaced, struct err *e)
{
	int ret = manifest_write(store->dir_fd, next, replaced, e);

	if (ret) {
		store->broken = *replaced;
		manifest_free(next);
		return ret;
	}
	manifest_free(&store->manifest);
	store->manifest = *next;
	return 0;
}

int store_check_idle(const struct store *store, struct err *e)
{
	if (store->broken)
		return err_set(e, -EIO,
			       "replica %s could not be synced before: close and open it again",
			       store->name);
	if (store->pass)
		return err_set(e, -EBUSY, "replica %s is receiving a pass", store->name);
	return 0;
}

int store_begin_change(const struct store *store, struct manifest *next, struct err *e)
{
	int ret = store_check_idle(store, e);

	return ret ? ret : manifest_copy(next, &store->manifest, e);
}

/* --- a store in memory --------------------------------------------------- */

static struct store *new_store(const char *root, const char *vm, struct err *e)
{
	struct store *store;

	if (!store_name_valid(vm)) {
		err_set(e, -EINVAL,
			"\"%.64s\" cannot be a VM's name: use letters, digits, dot, underscore, hyphen",
			vm);
		return NULL;
	}
	store = calloc(1, sizeof(*store));
	if (store)
		store->root = strdup(root);
	if (!store || !store->root) {
		free(store);
		err_sys(e, -ENOMEM, "cannot open replica %s", vm);
		return NULL;
	}
	store->root_fd = store->dir_fd = -1;
	for (unsigned int i = 0; i < STORE_MAX_DISKS; i++)
		store->disk_fds[i] = -1;
	strcpy(store->name, vm);
	store_set_history(store, STORE_HISTORY_POINTS, 0);
	return store;
}

void store_close(struct store *store)
{
	if (!store)
		return;
	if (store->pass)
		store_pass_abort(store->pass);
	thin_abandon(store);
	for (unsigned int i = 0; i < STORE_MAX_DISKS; i++)
		if (store->disk_fds[i] >= 0)
			close(store->disk_fds[i]);
	if (store->dir_fd >= 0)
		close(store->dir_fd);
	if (store->root_fd >= 0)
		close(store->root_fd);
	manifest_free(&store->manifest);
	free(store->root);
	free(store);
}

static int open_root(struct store *store, struct err *e)
{
	store->root_fd = open(store->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return store->root_fd < 0 ? err_sys(e, -errno, "cannot open the store %s", store->root) : 0;
}

/* Opens and locks directory @name below the root; -ENOENT when it has just been moved away. */
static int open_locked(struct store *store, const char *name, struct err *e)
{
	struct stat mine, there;
	int ret;

	store->dir_fd =
		openat(store->root_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (store->dir_fd < 0) {
		ret = -errno;
		if (ret == -ENOENT)
			return err_set(e, ret, "there is no replica %s in %s", store->name,
				       store->root);
		return err_sys(e, ret, "cannot open replica %s", store->name);
	}
	if (flock(store->dir_fd, LOCK_EX | LOCK_NB)) {
		if (errno == EWOULDBLOCK)
			return err_set(e, -EBUSY,
				       "replica %s is in use by another connection or process",
				       store->name);
		return err_sys(e, -errno, "cannot lock replica %s", store->name);
	}
	if (fstat(store->dir_fd, &mine) ||
	    fstatat(store->root_fd, name, &there, AT_SYMLINK_NOFOLLOW) ||
	    mine.st_ino != there.st_ino || mine.st_dev != there.st_dev)
		return err_set(e, -ENOENT, "there is no replica %s in %s", store->name,
			       store->root);
	return 0;
}

static int open_disk(struct store *store, unsigned int i, struct err *e)
{
	const char *name = store->manifest.spec.disks[i].name;

	store->disk_fds[i] =
		openat(store->dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (store->disk_fds[i] < 0)
		return err_sys(e, errno == ENOENT ? -EUCLEAN : -errno,
			       "cannot open disk %s of replica %s", name, store->name);
	return 0;
}

/* --- opening ------------------------------------------------------------- */

static int check_file(const struct store *store, unsigned int i, const char *name,
		      uint64_t size_bytes, struct err *e)
{
	const char *disk = store->manifest.spec.disks[i].name;
	struct stat st;

	if (fstatat(store->disk_fds[i], name, &st, AT_SYMLINK_NOFOLLOW) || !S_ISREG(st.st_mode))
		return err_set(e, -EUCLEAN, "replica %s is damaged: %s/%s is missing", store->name,
			       disk, name);
	if (size_bytes && (uint64_t)st.st_size != size_bytes)
		return err_set(e, -EUCLEAN,
			       "replica %s is damaged: %s/%s has not the size of its disk",
			       store->name, disk, name);
	return 0;
}

/* All that the manifest names must be there. */
static int check_files(const struct store *store, unsigned int disk, struct err *e)
{
	const struct manifest *m = &store->manifest;
	char name[STORE_FILE_BYTES];
	int ret = check_file(store, disk, STORE_BASE_NAME, m->spec.disks[disk].size_bytes, e);

	if (!ret && m->merging_pass) {
		store_overlay_name(m->merging_pass, name);
		ret = check_file(store, disk, name, 0, e);
	}
	for (unsigned int i = 0; i < m->pass_count && !ret; i++) {
		store_overlay_name(m->passes[i].id, name);
		ret = check_file(store, disk, name, 0, e);
	}
	return ret;
}

static bool is_named(const struct manifest *m, const char *file)
{
	char name[STORE_FILE_BYTES];

	store_overlay_name(m->merging_pass, name);
	if (m->merging_pass && !strcmp(file, name))
		return true;
	for (unsigned int i = 0; i < m->pass_count; i++) {
		store_overlay_name(m->passes[i].id, name);
		if (!strcmp(file, name))
			return true;
	}
	return false;
}

/* A file that a pass makes; people's own files are left alone. */
static bool is_ours(const char *file)
{
	size_t digits = strspn(file, "0123456789");

	return digits >= 12 &&
	       (!strcmp(file + digits, ".qcow2") || !strcmp(file + digits, ".part"));
}

/* Removes what a crash left of passes that never came to be, or were merged. */
static int clean_disk(const struct store *store, unsigned int disk, struct err *e)
{
	int fd = openat(store->disk_fds[disk], ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	int ret = 0;

	if (!dir) {
		ret = -errno;
		if (fd >= 0)
			close(fd);
		return err_sys(e, ret, "cannot list replica %s", store->name);
	}
	while ((entry = readdir(dir)))
		if (is_ours(entry->d_name) && !is_named(&store->manifest, entry->d_name) &&
		    unlinkat(fd, entry->d_name, 0))
			ret = err_sys(e, -errno, "cannot remove %s of replica %s", entry->d_name,
				      store->name);
	closedir(dir);
	return ret;
}

int store_clean(const struct store *store, struct err *e)
{
	int ret = 0;

	for (unsigned int i = 0; i < store->manifest.spec.disk_count && !ret; i++)
		ret = clean_disk(store, i, e);
	return ret;
}

int store_check_pass_unused(const struct store *store, uint64_t pass, struct err *e)
{
	char name[STORE_FILE_BYTES];
	bool used = false;
	int fd;

	store_overlay_name(pass, name);
	for (unsigned int i = 0; i < store->manifest.spec.disk_count && !used; i++) {
		fd = openat(store->disk_fds[i], name, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0)
			return err_sys(e, -errno, "cannot open %s of replica %s", name,
				       store->name);
		used = use_elsewhere(fd);
		close(fd);
	}
	return used ? err_set(e, -EBUSY,
			      "a program has point %" PRIu64 " of %s open, which is to go: stop it first",
			      pass, store->name) :
		      0;
}

static int load(struct store *store, struct err *e)
{
	int ret = open_root(store, e);

	if (!ret)
		ret = open_locked(store, store->name, e);
	if (!ret)
		ret = manifest_read(store->dir_fd, &store->manifest, e);
	/* Who replaced it may have died, or failed, before its name was durable. */
	if (!ret && fsync(store->dir_fd))
		ret = err_sys(e, -errno, "cannot make the manifest of replica %s durable",
			      store->name);
	for (unsigned int i = 0; i < store->manifest.spec.disk_count && !ret; i++) {
		ret = open_disk(store, i, e);
		if (!ret)
			ret = check_files(store, i, e);
	}
	if (!ret)
		ret = failover_check_files(store, e);
	if (!ret)
		ret = store_clean(store, e);
	if (!ret)
		ret = thin_repair(store, e);
	if (!ret)
		ret = failover_clean(store, e);
	return ret ? ret : tests_clean(store->dir_fd, &store->manifest.spec, e);
}

int store_open(const char *root, const char *vm, struct store **out, struct err *e)
{
	struct store *store = new_store(root, vm, e);
	int ret;

	if (!store)
		return store_name_valid(vm) ? -ENOMEM : -EINVAL;
	ret = load(store, e);
	if (ret) {
		store_close(store);
		return ret;
	}
	*out = store;
	return 0;
}

/* --- creating ------------------------------------------------------------ */

static int check_spec(const struct store_spec *spec, struct err *e)
{
	int ret = 0;

	if (!spec->disk_count || spec->disk_count > STORE_MAX_DISKS)
		return err_set(e, -EINVAL, "a replica has 1 to %d disks, not %u", STORE_MAX_DISKS,
			       spec->disk_count);
	if (strnlen(spec->relationship, sizeof(spec->relationship)) == sizeof(spec->relationship))
		return err_set(e, -EINVAL, "the relationship's id is too long");
	for (unsigned int i = 0; i < spec->disk_count && !ret; i++) {
		const struct store_disk *disk = &spec->disks[i];

		if (!store_name_valid(disk->name))
			return err_set(
				e, -EINVAL,
				"\"%.64s\" cannot be a disk's name: use letters, digits, dot, "
				"underscore, hyphen",
				disk->name);
		for (unsigned int j = 0; j < i; j++)
			if (!strcmp(spec->disks[j].name, disk->name))
				return err_set(e, -EINVAL, "two disks have the name %s",
					       disk->name);
		if (!disk->size_bytes || disk->size_bytes % 512)
			return err_set(e, -EINVAL,
				       "disk %s has a size that is not a multiple of 512",
				       disk->name);
		if (disk->chunk_bytes < STORE_MIN_CHUNK_BYTES ||
		    disk->chunk_bytes > STORE_MAX_CHUNK_BYTES ||
		    disk->chunk_bytes & (disk->chunk_bytes - 1))
			return err_set(e, -EINVAL, "disk %s has a chunk size that is not possible",
				       disk->name);
		ret = qcow2_check_limits(disk->size_bytes, disk->chunk_bytes, e);
	}
	return ret;
}

/* Disks, base files and the first manifest, below dir_fd. */
static int fill(struct store *store, const struct store_spec *spec, struct err *e)
{
	struct manifest first = { .spec = *spec }, mine;
	bool replaced;
	int ret = manifest_copy(&mine, &first, e);

	if (ret)
		return ret;
	strcpy(mine.spec.vm, store->name);
	for (unsigned int i = 0; i < spec->disk_count && !ret; i++) {
		if (mkdirat(store->dir_fd, spec->disks[i].name, 0700)) {
			ret = err_sys(e, -errno, "cannot create disk %s of replica %s",
				      spec->disks[i].name, store->name);
			break;
		}
		store->disk_fds[i] = openat(store->dir_fd, spec->disks[i].name,
					    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (store->disk_fds[i] < 0)
			ret = err_sys(e, -errno, "cannot open disk %s of replica %s",
				      spec->disks[i].name, store->name);
		else
			ret = base_create(store->disk_fds[i], spec->disks[i].size_bytes, e);
		if (!ret && fsync(store->disk_fds[i]))
			ret = err_sys(e, -errno, "cannot make disk %s durable",
				      spec->disks[i].name);
	}
	if (ret) {
		manifest_free(&mine);
		return ret;
	}
	return store_commit_manifest(store, &mine, &replaced, e);
}

/* Also when it is there already: who made it may have died before its name was durable. */
static int make_root(struct store *store, struct err *e)
{
	int parent, ret;

	if (mkdir(store->root, 0700) && errno != EEXIST)
		return err_sys(e, -errno, "cannot create the store %s", store->root);
	ret = open_root(store, e);
	if (ret)
		return ret;
	parent = openat(store->root_fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (parent < 0 || fsync(parent))
		ret = err_sys(e, -errno, "cannot make the store %s durable", store->root);
	if (parent >= 0)
		close(parent);
	return ret;
}

/* A store appears whole: it is made below a name that is none, then renamed. */
static int make(struct store *store, const struct store_spec *spec, struct err *e)
{
	char temp[STORE_NAME_BYTES + 16];
	int ret = make_root(store, e);

	snprintf(temp, sizeof(temp), ".%s.create", store->name);
	if (ret)
		return ret;
	if (flock(store->root_fd,
		  LOCK_EX)) /* against another process that creates the same; brief */
		return err_sys(e, -errno, "cannot lock the store %s", store->root);
	if (!faccessat(store->root_fd, store->name, F_OK, AT_SYMLINK_NOFOLLOW))
		return err_set(e, -EEXIST, "there is a replica %s already", store->name);
	tree_remove(store->root_fd, temp);
	if (mkdirat(store->root_fd, temp, 0700))
		return err_sys(e, -errno, "cannot create replica %s", store->name);
	ret = open_locked(store, temp, e);
	if (!ret)
		ret = fill(store, spec, e);
	if (!ret && renameat2(store->root_fd, temp, store->root_fd, store->name, RENAME_NOREPLACE))
		ret = err_sys(e, -errno, "cannot create replica %s", store->name);
	if (ret) {
		tree_remove(store->root_fd, temp);
		return ret;
	}
	if (fsync(store->root_fd))
		return err_sys(e, -errno, "cannot make replica %s durable", store->name);
	flock(store->root_fd, LOCK_UN);
	return 0;
}

int store_create(const char *root, const struct store_spec *spec, struct store **out, struct err *e)
{
	struct store *store = new_store(root, spec->vm, e);
	int ret;

	if (!store)
		return store_name_valid(spec->vm) ? -ENOMEM : -EINVAL;
	ret = check_spec(spec, e);
	if (!ret)
		ret = make(store, spec, e);
	if (ret) {
		store_close(store);
		return ret;
	}
	*out = store;
	return 0;
}

/* --- what it is ---------------------------------------------------------- */

const struct store_spec *store_spec(const struct store *store)
{
	return &store->manifest.spec;
}

enum store_initial store_initial(const struct store *store)
{
	return store->manifest.initial;
}

uint64_t store_last_pass(const struct store *store)
{
	return manifest_last_pass(&store->manifest);
}

uint64_t store_generation(const struct store *store)
{
	return store->manifest.generation;
}

int store_next_generation(struct store *store, struct err *e)
{
	struct manifest next;
	bool replaced;
	int ret = store_begin_change(store, &next, e);

	if (ret)
		return ret;
	next.generation++;
	return store_commit_manifest(store, &next, &replaced, e);
}

bool store_released(const struct store *store)
{
	return store->manifest.released;
}

uint64_t store_initial_durable(const struct store *store, unsigned int disk)
{
	return store->manifest.durable[disk];
}

void store_set_history(struct store *store, unsigned int points, uint32_t spacing_s)
{
	store->history = (struct history){ points, spacing_s };
}

/* --- letting go ---------------------------------------------------------- */

int store_release(struct store *store, struct err *e)
{
	struct manifest next;
	bool replaced;
	int ret = store_begin_change(store, &next, e);

	if (ret)
		return ret;
	next.released = true;
	return store_commit_manifest(store, &next, &replaced, e);
}

int store_await(struct store *store, uint64_t pass, struct err *e)
{
	const struct manifest *m = &store->manifest;
	bool awaited = m->initial == STORE_INITIAL_AWAITED;
	struct manifest next;
	bool replaced;
	int ret = store_check_idle(store, e);

	if (ret || (awaited && m->base_pass == pass))
		return ret;
	if (m->initial == STORE_INITIAL_COMPLETE || pass <= store_last_pass(store) ||
	    pass > INT64_MAX)
		return err_set(e, -EINVAL,
			       "replica %s has passes up to %" PRIu64 " and cannot wait for a medium of pass %" PRIu64,
			       store->name, store_last_pass(store), pass);
	ret = manifest_copy(&next, m, e);
	if (ret)
		return ret;
	next.initial = STORE_INITIAL_AWAITED;
	next.base_pass = pass;
	next.pass_count = 0;	/* their files are removed at the next open */
	memset(next.durable, 0, sizeof(next.durable));
	return store_commit_manifest(store, &next, &replaced, e);
}

/* The machine's disks are in there, or a test's. */
static int check_unfailed(const struct store *store, struct err *e)
{
	if (store->manifest.failover.state)
		return err_set(e, -EBUSY,
			       "%s was failed over to here and has its disks in %s/%s: revert that, or copy them "
			       "elsewhere (qemu-img convert) and remove the directory by hand",
			       store->name, store->root, store->name);
	return tests_check(store->dir_fd, 0, store->name, e);
}

/* As the names of tests lead to their files, none may begin while the directory gets another. */
static int move_aside(struct store *store, struct err *e)
{
	char suffix[32], name[STORE_NAME_BYTES];
	int ret = check_unfailed(store, e);

	for (unsigned int n = 0; !ret && n < 1000; n++) {
		int bytes = snprintf(suffix, sizeof(suffix), ".released-%.8s",
				     store->manifest.spec.relationship);

		if (n)
			bytes += snprintf(suffix + bytes, sizeof(suffix) - bytes, "-%u", n);
		/* A long name gives way to the suffix, so that the result is a VM's name again. */
		snprintf(name, sizeof(name), "%.*s%s", STORE_NAME_BYTES - 1 - bytes, store->name,
			 suffix);
		if (!renameat2(store->root_fd, store->name, store->root_fd, name,
			       RENAME_NOREPLACE)) {
			ret = fsync(store->root_fd) ? -errno : 0;
			if (ret)
				return err_sys(e, ret,
					       "cannot make the new name of replica %s durable",
					       store->name);
			return 0;
		}
		if (errno != EEXIST)
			ret = err_sys(e, -errno, "cannot rename replica %s to %s", store->name,
				      name);
	}
	return ret ? ret :
		     err_set(e, -EEXIST, "there are too many released replicas %s", store->name);
}

int store_move_aside(struct store *store, struct err *e)
{
	int lock, ret = store_check_idle(store, e);

	if (ret)
		return ret;
	lock = tests_lock(store->dir_fd, &store->manifest.spec, e);
	if (lock < 0)
		return lock;
	ret = move_aside(store, e);
	tests_unlock(lock);
	if (!ret)
		store_close(store);
	return ret;
}

/*
 * A manifest that cannot be read says nothing of a failover or of tests; what then is to be
 * deleted is by its own name no VM's disk.
 */
static int check_deletable(struct store *store, int *lock, struct err *e)
{
	struct err why;
	int ret = manifest_read(store->dir_fd, &store->manifest, &why);

	if (ret)
		return 0;
	*lock = tests_lock(store->dir_fd, &store->manifest.spec, e);
	return *lock < 0 ? *lock : check_unfailed(store, e);
}

int store_delete(const char *root, const char *vm, struct err *e)
{
	char temp[STORE_NAME_BYTES + 16];
	struct store *store = new_store(root, vm, e);
	int lock = -1, ret;

	if (!store)
		return store_name_valid(vm) ? -ENOMEM : -EINVAL;
	snprintf(temp, sizeof(temp), ".%s.delete", vm);
	ret = open_root(store, e);
	if (!ret)
		ret = open_locked(store, vm, e);
	if (!ret)
		ret = check_deletable(store, &lock, e);
	if (!ret) {
		tree_remove(store->root_fd, temp);
		if (renameat(store->root_fd, vm, store->root_fd, temp) || fsync(store->root_fd))
			ret = err_sys(e, -errno, "cannot delete replica %s", vm);
	}
	if (!ret) {
		ret = tree_remove(store->root_fd, temp);
		if (ret)
			err_sys(e, ret, "cannot delete all of replica %s: remove %s/%s by hand", vm,
				root, temp);
	}
	if (lock >= 0)
		tests_unlock(lock);
	store_close(store);
	return ret;
}
