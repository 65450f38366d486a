/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Death between any two system calls of the store, for the tests that include this (one file of
 * a program only). The includer defines struct shared before, which the child that dies tells its
 * parent by.
 *
 * The calls by which the store changes files are replaced here. They keep what
 * they overwrite until it is synced; a death then takes back, according to the
 * way to die, the unsynced data, the unsynced names, both, or some. Names
 * are lost from the newest on, as journals do; data of each file by itself.
 */
#ifndef VMR_STORE_DEATH_H
#define VMR_STORE_DEATH_H

#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "store-world.h"
#include "userspace/store/tree.h"

enum death {
	KILLED,
	ALL_LOST,
	NAMES_LOST,
	DATA_LOST,
	SOME_LOST,
	DEATHS,
	ERROR_RETURNED = DEATHS
};

struct undo {
	ino_t ino; /* file, or the directory of a name */
	int fd; /* of the file or directory; kept open */
	bool is_name, is_dir;
	/* data: what was there, and how long the file was */
	uint64_t offset, bytes, size;
	void *old;
	/* name: what to do about it */
	char name[256], from[256]; /* from: the name that it had before a rename */
	char saved[64]; /* link to what the name stood for before, or "" */
};

static struct undo undos[4096];
static unsigned int undo_count;
static enum death death;
static unsigned int calls, die_at; /* die_at 0: do not count, do not die */
static int saved_fd = -1;
static uint64_t chance;

static struct shared *shared;

/* --- what a death takes back --------------------------------------------- */

static void undo_data(const struct undo *u)
{
	if (u->bytes && syscall(SYS_pwrite64, u->fd, u->old, u->bytes, u->offset) != (long)u->bytes)
		abort();
	if (syscall(SYS_ftruncate, u->fd, u->size))
		abort();
}

static void undo_name(const struct undo *u)
{
	if (u->from[0])
		syscall(SYS_renameat2, u->fd, u->name, u->fd, u->from, 0);
	else if (u->is_dir)
		tree_remove(u->fd, u->name); /* with what in it was synced */
	else
		syscall(SYS_unlinkat, u->fd, u->name, 0);
	if (u->saved[0])
		syscall(SYS_linkat, saved_fd, u->saved, u->fd, u->name, 0);
}

static void undo_all(void)
{
	bool names = death == ALL_LOST || death == NAMES_LOST,
	     data = death == ALL_LOST || death == DATA_LOST;
	unsigned int keep_names = 0;

	if (death == SOME_LOST)
		keep_names = world_random(&chance) % (undo_count + 1);
	for (unsigned int i = undo_count; i-- > 0;) {
		const struct undo *u = &undos[i];

		if (u->is_name && (names || (death == SOME_LOST && i >= keep_names)))
			undo_name(u);
		else if (!u->is_name &&
			 (data || (death == SOME_LOST && (chance >> u->ino % 61 & 1))))
			undo_data(u);
	}
}

static void die(void)
{
	/* What changes files from here on is not the store. */
	die_at = 0;
	undo_all();
	_exit(99);
}

/* Called before each change; true: the call fails instead of being made. */
static bool step(void)
{
	if (!die_at || ++calls != die_at)
		return false;
	if (death != ERROR_RETURNED)
		die();
	errno = ENOSPC;
	return true;
}

static struct undo *remember(int fd, bool is_name)
{
	struct undo *u = &undos[undo_count++];
	char path[64];
	struct stat st;

	if (undo_count == sizeof(undos) / sizeof(undos[0]) || fstat(fd, &st))
		abort();
	*u = (struct undo){ .ino = st.st_ino, .is_name = is_name, .size = st.st_size };
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	u->fd = open(path, (is_name ? O_RDONLY | O_DIRECTORY : O_RDWR) | O_CLOEXEC);
	if (u->fd < 0)
		abort();
	return u;
}

static void remember_data(int fd, uint64_t offset, uint64_t bytes)
{
	struct undo *u;

	if (!die_at || death == ERROR_RETURNED)
		return;
	u = remember(fd, false);
	u->offset = offset;
	if (offset < u->size)
		u->bytes = bytes < u->size - offset ? bytes : u->size - offset;
	u->old = malloc(u->bytes + 1);
	if (pread(u->fd, u->old, u->bytes, offset) != (ssize_t)u->bytes)
		abort();
}

static void remember_name(int dir_fd, const char *name, const char *from)
{
	static unsigned int saved;
	struct undo *u;
	struct stat st;

	if (!die_at || death == ERROR_RETURNED)
		return;
	u = remember(dir_fd, true);
	snprintf(u->name, sizeof(u->name), "%s", name);
	snprintf(u->from, sizeof(u->from), "%s", from);
	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) || !S_ISREG(st.st_mode))
		return;
	snprintf(u->saved, sizeof(u->saved), "%u", ++saved);
	if (linkat(dir_fd, name, saved_fd, u->saved, 0))
		abort();
}

static void forget(int fd)
{
	unsigned int kept = 0;
	struct stat st;

	if (fstat(fd, &st))
		abort();
	for (unsigned int i = 0; i < undo_count; i++) {
		if (undos[i].ino == st.st_ino) {
			free(undos[i].old);
			close(undos[i].fd);
		} else {
			undos[kept++] = undos[i];
		}
	}
	undo_count = kept;
}

/* --- the calls ----------------------------------------------------------- */

ssize_t pwrite(int fd, const void *buf, size_t bytes, off_t offset)
{
	if (step())
		return -1;
	remember_data(fd, offset, bytes);
	return syscall(SYS_pwrite64, fd, buf, bytes, offset);
}

ssize_t write(int fd, const void *buf, size_t bytes)
{
	struct stat st;

	if (die_at && !fstat(fd, &st) && S_ISREG(st.st_mode)) {
		if (step())
			return -1;
		remember_data(fd, lseek(fd, 0, SEEK_CUR), bytes);
	}
	return syscall(SYS_write, fd, buf, bytes);
}

ssize_t copy_file_range(int in, off_t *in_offset, int out, off_t *out_offset, size_t bytes,
			unsigned int flags)
{
	if (step())
		return -1;
	remember_data(out, *out_offset, bytes);
	return syscall(SYS_copy_file_range, in, in_offset, out, out_offset, bytes, flags);
}

int fallocate(int fd, int mode, off_t offset, off_t bytes)
{
	if (step())
		return -1;
	remember_data(fd, offset, bytes);
	return syscall(SYS_fallocate, fd, mode, offset, bytes);
}

int ftruncate(int fd, off_t size)
{
	if (step())
		return -1;
	remember_data(fd, 0, 0); /* the store cuts off nothing but holes */
	return syscall(SYS_ftruncate, fd, size);
}

static int sync_call(int fd, long call)
{
	int ret;

	if (step())
		return -1;
	ret = syscall(call, fd);
	if (die_at && death != ERROR_RETURNED)
		forget(fd);
	return ret;
}

int fsync(int fd)
{
	return sync_call(fd, SYS_fsync);
}

int fdatasync(int fd)
{
	return sync_call(fd, SYS_fdatasync);
}

int renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned int flags)
{
	if (step())
		return -1;
	remember_name(to_fd, to, from);
	return syscall(SYS_renameat2, from_fd, from, to_fd, to, flags);
}

int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
	return renameat2(from_fd, from, to_fd, to, 0);
}

int unlinkat(int dir_fd, const char *name, int flags)
{
	struct stat st;

	if (step())
		return -1;
	if (!fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) && S_ISREG(st.st_mode))
		remember_name(dir_fd, name, "");
	return syscall(SYS_unlinkat, dir_fd, name, flags);
}

int mkdirat(int dir_fd, const char *name, mode_t mode)
{
	struct stat st;

	if (step())
		return -1;
	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW)) {
		remember_name(dir_fd, name, "");
		if (die_at && death != ERROR_RETURNED)
			undos[undo_count - 1].is_dir = true;
	}
	return syscall(SYS_mkdirat, dir_fd, name, mode);
}

int openat(int dir_fd, const char *name, int flags, ...)
{
	struct stat st;

	if (flags & O_CREAT) {
		if (step())
			return -1;
		if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW))
			remember_name(dir_fd, name, "");
	}
	return syscall(SYS_openat, dir_fd, name, flags, 0600);
}
/* --- a world that dies --------------------------------------------------- */

#define SEED 77
#define OPS  6
#define LAST_PASS 16 /* that the model knows */

static void two_disks(struct world *w)
{
	static const uint64_t sizes[] = { 96 * 1024 + 512, 64 * 1024 };
	static const uint32_t chunks[] = { 4096, 16384 };

	/* Memory: thousands of stores are made, and no real disk tells more here. */
	world_init(w, access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm", 2, sizes, chunks);
	for (uint64_t id = 1; id <= LAST_PASS; id++)
		world_model(w, SEED, id - 1, id, OPS);
}

/* Runs @what in a child that dies at its @at'th call; false: it came to its end before. */
static bool run_and_die(struct world *w, void (*what)(struct world *), enum death how,
			unsigned int at)
{
	int status;

	memset(shared, 0, sizeof(*shared));
	fflush(stdout);
	if (!fork()) {
		char path[PATH_MAX];

		snprintf(path, sizeof(path), "%s/saved", w->root);
		mkdir(path, 0700);
		saved_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		death = how;
		chance = 0x9e3779b97f4a7c15ULL * at + 1;
		die_at = at;
		what(w);
		if (calls >= at) /* an error was returned, and survived */
			_exit(99);
		_exit(0);
	}
	if (wait(&status) < 0 || !WIFEXITED(status) ||
	    (WEXITSTATUS(status) && WEXITSTATUS(status) != 99)) {
		printf("# the child ended with status %x\n", status);
		CHECK(!"the child ended in order");
		return false;
	}
	return WEXITSTATUS(status) == 99;
}

static void with_every_death(void (*what)(struct world *), void (*check)(struct world *),
			     void (*prepare)(struct world *))
{
	struct world w;
	unsigned int at, deaths = 0;
	int before = unit_failures;
	bool died = true;

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	for (int how = KILLED; how <= ERROR_RETURNED && unit_failures == before; how++) {
		died = true;
		for (at = 1; died && unit_failures == before; at++) {
			two_disks(&w);
			if (prepare)
				prepare(&w);
			died = run_and_die(&w, what, how, at);
			check(&w);
			deaths += died;
			if (unit_failures > before)
				printf("# at call %u, way to die %d\n", at, how);
			world_exit(&w);
		}
	}
	CHECK(deaths > 100);
	printf("# %u deaths\n", deaths);
	munmap(shared, sizeof(*shared));
}

#endif
