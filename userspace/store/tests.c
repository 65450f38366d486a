// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A test appears and disappears by the rename of its directory, so it is there as a whole or
 * not at all; what a crash leaves has a name that begins with a dot.
 */
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

#include "failover.h"
#include "tests.h"
#include "tree.h"
#include "writable.h"

#define NAME_BYTES (STORE_NAME_BYTES + 24) /* "NAME@12", with a dot and a suffix */

/* --- the lock ------------------------------------------------------------ */

/* A disk's directory is always there, and nobody else locks it. */
int tests_lock(int dir_fd, const struct store_spec *spec, struct err *e)
{
	int fd = openat(dir_fd, spec->disks[0].name,
			O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int ret;

	while (fd >= 0 && flock(fd, LOCK_EX)) {
		if (errno == EINTR)
			continue;
		ret = -errno;
		close(fd);
		return err_sys(e, ret, "cannot lock the points of replica %s", spec->vm);
	}
	return fd < 0 ? err_sys(e, -errno, "cannot open disk %s of replica %s", spec->disks[0].name,
				spec->vm) :
			fd;
}

void tests_unlock(int lock)
{
	close(lock);
}

/* --- what there is ------------------------------------------------------- */

/* "NAME@12"; false: something else. */
static bool parse(const char *directory, char name[STORE_NAME_BYTES], uint64_t *pass)
{
	const char *at = strchr(directory, '@');
	size_t bytes = at ? at - directory : 0;

	if (!at || bytes >= STORE_NAME_BYTES || strlen(at + 1) > 19 ||
	    strspn(at + 1, "0123456789") != strlen(at + 1))
		return false;
	memcpy(name, directory, bytes);
	name[bytes] = 0;
	*pass = strtoull(at + 1, NULL, 10);
	return *pass && store_name_valid(name);
}

/* The directory of tests, to be closed by closedir(); null with *@ret 0: there is none. */
static DIR *open_tests(int dir_fd, int *ret, struct err *e)
{
	int fd = openat(dir_fd, TESTS_DIRECTORY, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	*ret = 0;
	if (dir)
		return dir;
	if (fd >= 0 || errno != ENOENT)
		*ret = err_sys(e, -errno, "cannot list the tests of a replica");
	if (fd >= 0)
		close(fd);
	return NULL;
}

int tests_each(int dir_fd,
	       int (*each)(void *arg, const char *name, uint64_t pass, const char *directory),
	       void *arg, struct err *e)
{
	char name[STORE_NAME_BYTES];
	struct dirent *entry;
	uint64_t pass;
	int ret;
	DIR *dir = open_tests(dir_fd, &ret, e);

	if (!dir)
		return ret;
	while (!ret && (errno = 0, entry = readdir(dir)))
		if (parse(entry->d_name, name, &pass))
			ret = each(arg, name, pass, entry->d_name);
	if (!ret && errno)
		ret = err_sys(e, -errno, "cannot list the tests of a replica");
	closedir(dir);
	return ret;
}

static int take_oldest(void *arg, const char *name, uint64_t pass, const char *directory)
{
	uint64_t *oldest = arg;

	if (pass < *oldest)
		*oldest = pass;
	return 0;
}

int tests_oldest(int dir_fd, uint64_t *pass, struct err *e)
{
	*pass = UINT64_MAX;
	return tests_each(dir_fd, take_oldest, pass, e);
}

struct search {
	const char *name;	/* wanted, or null: any */
	uint64_t from;		/* of this pass or a later one */
	unsigned int count;	/* of all tests */
	char found[STORE_NAME_BYTES];
	uint64_t pass;
	char directory[NAME_BYTES];
};

static int match(void *arg, const char *name, uint64_t pass, const char *directory)
{
	struct search *search = arg;

	search->count++;
	if ((search->name && strcmp(search->name, name)) || pass < search->from)
		return 0;
	snprintf(search->found, sizeof(search->found), "%s", name);
	snprintf(search->directory, sizeof(search->directory), "%s", directory);
	search->pass = pass;
	return 0;
}

int tests_check(int dir_fd, uint64_t from, const char *vm, struct err *e)
{
	struct search search = { .from = from };
	int ret = tests_each(dir_fd, match, &search, e);

	if (ret || !search.found[0])
		return ret;
	return err_set(e, -EBUSY,
		       "test %s of %s stands on point %" PRIu64
		       ": end it first with `vmreplica test-failover %s --end %s`",
		       search.found, vm, search.pass, vm, search.found);
}

int tests_clean(int dir_fd, const struct store_spec *spec, struct err *e)
{
	struct dirent *entry;
	int ret, lock;
	DIR *dir = open_tests(dir_fd, &ret, e);

	if (!dir)
		return ret;
	lock = tests_lock(dir_fd, spec, e);
	ret = lock < 0 ? lock : 0;
	while (!ret && (entry = readdir(dir)))
		if (entry->d_name[0] == '.' && strcmp(entry->d_name, ".") &&
		    strcmp(entry->d_name, ".."))
			ret = tree_remove(dirfd(dir), entry->d_name);
	if (lock >= 0) {
		if (ret)
			err_sys(e, ret, "cannot remove what is left of a test of replica %s", spec->vm);
		tests_unlock(lock);
	}
	closedir(dir);
	return ret;
}

/* --- beginning and ending ------------------------------------------------ */

struct test { /* what is at hand while one begins or ends */
	const char *vm;
	const char *name;
	int dir_fd;
	int tests_fd;
	int lock;
	struct manifest manifest;
};

static void leave(struct test *t)
{
	if (t->lock >= 0)
		tests_unlock(t->lock);
	if (t->tests_fd >= 0)
		close(t->tests_fd);
	if (t->dir_fd >= 0)
		close(t->dir_fd);
	manifest_free(&t->manifest);
}

/* With the lock held and the manifest read, in this order: what it names stays meanwhile. */
static int enter(struct test *t, const char *root, struct err *e)
{
	int ret;

	if (!store_name_valid(t->name))
		return err_set(e, -EINVAL,
			       "\"%.64s\" cannot be a test's name: use letters, digits, dot, underscore, hyphen",
			       t->name);
	t->dir_fd = store_open_dir(root, t->vm, e);
	if (t->dir_fd < 0)
		return t->dir_fd;
	ret = manifest_read(t->dir_fd, &t->manifest, e);
	if (ret)
		return ret;
	t->lock = tests_lock(t->dir_fd, &t->manifest.spec, e);
	if (t->lock < 0)
		return t->lock;
	manifest_free(&t->manifest);
	return manifest_read(t->dir_fd, &t->manifest, e);
}

static int make_tests(struct test *t, struct err *e)
{
	if (mkdirat(t->dir_fd, TESTS_DIRECTORY, 0700) && errno != EEXIST)
		return err_sys(e, -errno, "cannot create the tests of %s", t->vm);
	if (fsync(t->dir_fd))
		return err_sys(e, -errno, "cannot make the tests of %s durable", t->vm);
	t->tests_fd = openat(t->dir_fd, TESTS_DIRECTORY,
			     O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return t->tests_fd < 0 ? err_sys(e, -errno, "cannot open the tests of %s", t->vm) : 0;
}

static int check_new(const struct test *t, struct err *e)
{
	struct search search = { .name = t->name };
	int ret = tests_each(t->dir_fd, match, &search, e);

	if (ret)
		return ret;
	if (search.found[0])
		return err_set(e, -EEXIST,
			       "there is a test %s of %s already, of point %" PRIu64
			       ": use another name, or end it with `vmreplica test-failover %s --end %s`",
			       t->name, t->vm, search.pass, t->vm, t->name);
	if (search.count >= STORE_MAX_TESTS)
		return err_set(e, -EUSERS, "there are %d tests of %s already: end one first",
			       STORE_MAX_TESTS, t->vm);
	return 0;
}

static int make(struct test *t, uint64_t pass, struct err *e)
{
	char temp[NAME_BYTES], directory[NAME_BYTES];
	int ret;

	snprintf(temp, sizeof(temp), ".%s.new", t->name);
	snprintf(directory, sizeof(directory), "%s@%" PRIu64, t->name, pass);
	ret = tree_remove(t->tests_fd, temp);
	if (ret)
		return err_sys(e, ret, "cannot remove what is left of test %s", t->name);
	ret = writable_create(t->tests_fd, temp, "../..", &t->manifest.spec, pass, e);
	if (!ret && (renameat2(t->tests_fd, temp, t->tests_fd, directory, RENAME_NOREPLACE) ||
		     fsync(t->tests_fd)))
		ret = err_sys(e, -errno, "cannot create test %s of %s", t->name, t->vm);
	return ret;
}

int store_test_begin(const char *root, const char *vm, const char *name, uint64_t pass,
		     struct err *e)
{
	struct test t = { .vm = vm, .name = name, .dir_fd = -1, .tests_fd = -1, .lock = -1 };
	const struct manifest_pass *point;
	int ret = enter(&t, root, e);

	if (!ret)
		ret = make_tests(&t, e);
	if (!ret)
		ret = check_new(&t, e);
	if (!ret) {
		point = manifest_point(&t.manifest, pass, e);
		ret = point ? make(&t, point->id, e) : -ENOENT;
	}
	leave(&t);
	return ret;
}

static int unmake(struct test *t, const char *directory, struct err *e)
{
	char what[STORE_NAME_BYTES + 16], gone[NAME_BYTES];
	int ret;

	snprintf(what, sizeof(what), "test %s", t->name);
	snprintf(gone, sizeof(gone), ".%s.end", t->name);
	ret = writable_check_unused(t->tests_fd, directory, &t->manifest.spec, what, e);
	if (ret)
		return ret;
	tree_remove(t->tests_fd, gone);
	if (renameat2(t->tests_fd, directory, t->tests_fd, gone, RENAME_NOREPLACE) ||
	    fsync(t->tests_fd))
		return err_sys(e, -errno, "cannot end test %s of %s", t->name, t->vm);
	ret = tree_remove(t->tests_fd, gone);
	return ret ? err_sys(e, ret, "test %s of %s has ended, but its files are still there",
			     t->name, t->vm) :
		     0;
}

int store_test_end(const char *root, const char *vm, const char *name, struct err *e)
{
	struct test t = { .vm = vm, .name = name, .dir_fd = -1, .tests_fd = -1, .lock = -1 };
	struct search search = { .name = name };
	int ret = enter(&t, root, e);

	if (!ret)
		ret = make_tests(&t, e);
	if (!ret)
		ret = tests_each(t.dir_fd, match, &search, e);
	if (!ret && !search.found[0])
		ret = err_set(e, -ENOENT, "there is no test %s of %s", name, vm);
	if (!ret)
		ret = unmake(&t, search.directory, e);
	leave(&t);
	return ret;
}
