// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The store dies between any two of its system calls, and what had not been synced by
 * then is lost in part: after each such death it must open, name the last
 * acknowledged pass (or the one being committed) and show every point exactly.
 *
 * The calls by which the store changes files are replaced here. They keep what
 * they overwrite until it is synced; a death then takes back, according to the
 * way to die, the unsynced data, the unsynced names, both, or some. Names
 * are lost from the newest on, as journals do; data of each file by itself.
 */
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "store-world.h"

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
	bool is_name;
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

static struct shared { /* of the child that dies, for its parent */
	uint64_t acknowledged; /* last pass whose commit returned 0 */
	uint64_t begun; /* pass being committed */
	bool initial; /* the initial pass is complete */
	uint64_t durable[2]; /* checkpoints that returned 0 */
	bool created;
} *shared;

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
	else
		syscall(SYS_unlinkat, u->fd, u->name, 0);
	if (u->saved[0])
		syscall(SYS_linkat, saved_fd, u->saved, u->fd, u->name, 0);
}

static void die(void)
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

/* --- what is done until the death ---------------------------------------- */

#define SEED	  77
#define OPS	  6
#define FIRST_NEW 5 /* passes 1 to 4 are there before */
#define LAST_NEW  7
#define KEEP	  2

static bool whole(uint64_t id)
{
	return id != 3 && id != 6;
}

static void two_disks(struct world *w)
{
	static const uint64_t sizes[] = { 96 * 1024 + 512, 64 * 1024 };
	static const uint32_t chunks[] = { 4096, 16384 };

	/* Memory: thousands of stores are made, and no real disk tells more here. */
	world_init(w, access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm", 2, sizes, chunks);
	for (uint64_t id = 1; id <= LAST_NEW + 2; id++)
		world_model(w, SEED, id - 1, id, OPS);
}

/* Passes and merges on a store that has four passes. Failures end it, as they do a connection. */
static void do_passes(struct world *w)
{
	struct store *store;
	struct err e = { 0 };

	if (store_open(w->root, WORLD_VM, &store, &e))
		return;
	store_set_keep(store, KEEP);
	for (uint64_t id = FIRST_NEW; id <= LAST_NEW; id++) {
		shared->begun = id;
		if (world_pass(w, store, SEED, id, OPS, whole(id), &e))
			break;
		shared->acknowledged = id;
		if (store_maintain(store, -1, -1, &e))
			break;
	}
	store_close(store);
}

static void do_initial(struct world *w)
{
	uint64_t durable[2] = { 40960, 16384 };
	struct store_pass *pass;
	struct store *store;
	struct err e = { 0 };
	int ret;

	if (store_create(w->root, &w->spec, &store, &e))
		return;
	shared->created = true;
	ret = store_pass_begin(store, 1, STORE_PASS_INITIAL, &pass, &e);
	for (unsigned int n = 0; n < OPS && !ret; n++) {
		struct world_op op = world_op(w, SEED, 1, n);

		ret = world_write(pass, &op, &e);
		if (!ret && n == OPS / 2) {
			ret = store_initial_checkpoint(pass, durable, &e);
			if (!ret)
				memcpy(shared->durable, durable, sizeof(durable));
		}
		if (ret)
			store_pass_abort(pass);
	}
	if (!ret && !store_pass_commit(pass, 1000000, true, STORE_CONSISTENCY_CRASH, &e))
		shared->initial = true;
	store_close(store);
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

/* --- what must hold after it --------------------------------------------- */

/* At least @min, and the newest whole pass up to the last one is a point. */
static void check_points_kept(struct world *w, uint64_t last)
{
	struct store_points points;
	struct err e = { 0 };
	uint64_t newest = last;

	while (!whole(newest))
		newest--;
	CHECK_EQ(store_points(w->root, WORLD_VM, &points, &e), 0);
	CHECK(points.count > 0);
	if (points.count)
		CHECK_EQ(strtoull(points.at[points.count - 1].id, NULL, 10), newest);
	store_points_free(&points);
}

static void check_after_passes(struct world *w)
{
	uint64_t acknowledged = shared->acknowledged ? shared->acknowledged : FIRST_NEW - 1, last;
	struct store *store = NULL;
	struct err e = { 0 };
	int ret;

	world_check_points(w); /* before anything is cleaned up, as a failover would find it */
	ret = store_open(w->root, WORLD_VM, &store, &e);
	if (ret)
		printf("# %s\n", e.text);
	CHECK_EQ(ret, 0);
	if (ret)
		return;
	last = store_last_pass(store);
	CHECK(last == acknowledged || last == shared->begun);
	world_check_points(w);
	check_points_kept(w, last);
	store_set_keep(store, KEEP);
	CHECK_EQ(store_maintain(store, -1, -1, &e), 0);
	world_check_points(w);
	/* The model counts passes from one to the next: go on behind the last. */
	world_model(w, SEED, last, LAST_NEW + 1, OPS);
	CHECK_EQ(world_pass(w, store, SEED, LAST_NEW + 1, OPS, true, &e), 0);
	CHECK_EQ(store_maintain(store, -1, -1, &e), 0);
	CHECK(world_check_points(w) <= KEEP);
	store_close(store);
}

static void check_after_initial(struct world *w)
{
	struct store *store = NULL;
	struct err e = { 0 };
	int ret = store_open(w->root, WORLD_VM, &store, &e);

	if (ret == -ENOENT && !shared->created) {
		ret = store_create(w->root, &w->spec, &store, &e);
		if (ret)
			printf("# %s\n", e.text);
	}
	CHECK_EQ(ret, 0);
	if (ret)
		return;
	if (shared->initial)
		CHECK_EQ(store_initial(store), STORE_INITIAL_COMPLETE);
	if (store_initial(store) != STORE_INITIAL_COMPLETE) {
		for (unsigned int i = 0; i < 2; i++)
			CHECK(store_initial_durable(store, i) >= shared->durable[i]);
		CHECK_EQ(world_pass(w, store, SEED, 1, OPS, true, &e), 0);
	}
	CHECK_EQ(world_pass(w, store, SEED, 2, OPS, true, &e), 0);
	CHECK_EQ(world_check_points(w), 1);
	store_close(store);
}

static void with_every_death(void (*what)(struct world *), void (*check)(struct world *),
			     bool has_passes)
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
			struct store *store;
			struct err e = { 0 };

			two_disks(&w);
			if (has_passes) {
				CHECK_EQ(store_create(w.root, &w.spec, &store, &e), 0);
				for (uint64_t id = 1; id < FIRST_NEW; id++)
					CHECK_EQ(world_pass(&w, store, SEED, id, OPS, whole(id),
							    &e),
						 0);
				store_close(store);
			}
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

TEST(death_during_passes_and_merges)
{
	with_every_death(do_passes, check_after_passes, true);
}

TEST(death_during_the_initial_pass)
{
	with_every_death(do_initial, check_after_initial, false);
}

UNIT_MAIN(T(death_during_passes_and_merges), T(death_during_the_initial_pass))
