// SPDX-License-Identifier: GPL-2.0-or-later
/* Tests and failovers on a store: what stands on a point, with QEMU's tools writing to it. */
#include <signal.h>
#include <sys/wait.h>

#include "userspace/store/failover.h"
#include "store-world.h"

#define SEED 5
#define OPS  8
#define KEEP 4

static void two_disks(struct world *w)
{
	static const uint64_t sizes[] = { (1 << 20) + 512, 300 * 1024 };
	static const uint32_t chunks[] = { 4096, 65536 };

	world_init(w, getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp", 2, sizes, chunks);
}

static void pass(struct world *w, struct store *store, uint64_t id)
{
	struct err e = { 0 };

	world_model(w, SEED, id - 1, id, OPS);
	CHECK_EQ(world_pass(w, store, SEED, id, OPS, true, &e), 0);
}

/* A store with passes 1 to @last. */
static struct store *with_passes(struct world *w, uint64_t last)
{
	struct store *store = NULL;
	struct err e = { 0 };

	two_disks(w);
	CHECK_EQ(store_create(w->root, &w->spec, &store, &e), 0);
	for (uint64_t id = 1; id <= last; id++)
		pass(w, store, id);
	return store;
}

static struct store *reopen(struct world *w, struct store *store)
{
	struct err e = { 0 };

	store_close(store);
	CHECK_EQ(store_open(w->root, WORLD_VM, &store, &e), 0);
	store_set_history(store, KEEP - 1, 0);
	return store;
}

static int begin(struct world *w, const char *name, uint64_t id)
{
	struct err e = { 0 };

	return store_test_begin(w->root, WORLD_VM, name, id, &e);
}

static int end(struct world *w, const char *name)
{
	struct err e = { 0 };

	return store_test_end(w->root, WORLD_VM, name, &e);
}

/* The file of disk @disk of the one named @name ("": the failover). */
static void file_of(struct world *w, const char *name, unsigned int disk, char path[PATH_MAX])
{
	struct store_writables list;
	struct err e = { 0 };

	path[0] = 0;
	CHECK_EQ(store_writables(w->root, WORLD_VM, &list, &e), 0);
	for (unsigned int i = 0; i < list.count; i++)
		if (!strcmp(list.at[i].name, name))
			strcpy(path, list.at[i].disks[disk].file);
	CHECK(path[0]);
	store_writables_free(&list);
}

/* QEMU finds the file sound, and it shows what pass @id showed, or not. */
static void shows(struct world *w, const char *name, uint64_t id, bool same)
{
	char path[PATH_MAX], raw[PATH_MAX + 8];
	int fd;

	snprintf(raw, sizeof(raw), "%s.raw", w->root);
	for (unsigned int i = 0; i < w->spec.disk_count; i++) {
		file_of(w, name, i, path);
		fd = open(raw, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		CHECK(write(fd, w->shows[id][i], w->disks[i].size_bytes) ==
		      (ssize_t)w->disks[i].size_bytes);
		close(fd);
		CHECK_EQ(world_run("qemu-img check -q -f qcow2 '%s'", path), 0);
		CHECK_EQ(world_run("%s qemu-img compare -q -f qcow2 -F raw '%s' '%s'",
				   same ? "" : "!", path, raw),
			 0);
	}
	unlink(raw);
}

static void scribble(struct world *w, const char *name)
{
	char path[PATH_MAX];

	for (unsigned int i = 0; i < w->spec.disk_count; i++) {
		file_of(w, name, i, path);
		CHECK_EQ(world_run("qemu-io -f qcow2 -c 'write -P 99 1000 70000' -c flush '%s' >/dev/null",
				   path),
			 0);
	}
}

TEST(a_test_is_written_to_and_no_point_changes)
{
	struct world w;
	struct store *store = with_passes(&w, 6);

	CHECK_EQ(begin(&w, "one", 3), 0);
	CHECK_EQ(begin(&w, "two", 3), 0);
	CHECK_EQ(begin(&w, "newest", 0), 0);
	shows(&w, "one", 3, true);
	shows(&w, "newest", 6, true);
	scribble(&w, "one");
	shows(&w, "one", 3, false);
	shows(&w, "two", 3, true);
	world_check_points_with_qemu(&w);
	pass(&w, store, 7);
	CHECK_EQ(end(&w, "one"), 0);
	CHECK_EQ(end(&w, "one"), -ENOENT);
	shows(&w, "two", 3, true);
	CHECK_EQ(end(&w, "two"), 0);
	CHECK_EQ(end(&w, "newest"), 0);
	CHECK_EQ(world_run("test -z \"$(ls -A '%s/%s/.tests')\"", w.root, WORLD_VM), 0);
	world_check_points_with_qemu(&w);
	store_close(store);
	world_exit(&w);
}

static unsigned int point_count(struct world *w, uint64_t *oldest)
{
	struct store_points points;
	struct err e = { 0 };
	unsigned int count;

	CHECK_EQ(store_points(w->root, WORLD_VM, &points, &e), 0);
	count = points.count;
	*oldest = count ? strtoull(points.at[0].id, NULL, 10) : 0;
	store_points_free(&points);
	return count;
}

TEST(a_point_with_a_test_is_not_merged)
{
	struct world w;
	struct store *store = with_passes(&w, 4);
	struct err e = { 0 };
	uint64_t oldest;

	store_set_history(store, KEEP - 1, 0);
	CHECK_EQ(begin(&w, "one", 3), 0);
	for (uint64_t id = 5; id <= 5 * KEEP; id++) {
		pass(&w, store, id);
		CHECK(store_maintain(store, -1, -1, &e) >= 0);
		if (id == 10)
			store = reopen(&w, store);
	}
	CHECK_EQ(point_count(&w, &oldest), 5 * KEEP - 2);
	CHECK_EQ(oldest, 3);
	CHECK_EQ(store_maintain(store, -1, -1, &e), 1);
	scribble(&w, "one");
	world_check_points_with_qemu(&w);
	CHECK_EQ(end(&w, "one"), 0);
	CHECK_EQ(store_maintain(store, -1, -1, &e), 0);
	CHECK_EQ(point_count(&w, &oldest), KEEP);
	world_check_points_with_qemu(&w);
	CHECK_EQ(begin(&w, "one", 3), -ENOENT);
	store_close(store);
	world_exit(&w);
}

TEST(what_a_test_cannot_be)
{
	struct world w;
	struct store *store = with_passes(&w, 1);
	char name[16];

	CHECK_EQ(begin(&w, "one", 0), -ENOENT); /* the initial pass is no point */
	pass(&w, store, 2);
	CHECK_EQ(begin(&w, "", 0), -EINVAL);
	CHECK_EQ(begin(&w, "a/b", 0), -EINVAL);
	CHECK_EQ(begin(&w, "..", 0), -EINVAL);
	CHECK_EQ(begin(&w, "a@1", 0), -EINVAL);
	CHECK_EQ(begin(&w, "one", 7), -ENOENT);
	for (int i = 0; i < STORE_MAX_TESTS; i++) {
		snprintf(name, sizeof(name), "t%d", i);
		CHECK_EQ(begin(&w, name, 0), 0);
		CHECK_EQ(begin(&w, name, 0), -EEXIST);
	}
	CHECK_EQ(begin(&w, "more", 0), -EUSERS);
	CHECK_EQ(end(&w, "more"), -ENOENT);
	store_close(store);
	world_exit(&w);
}

/* A process that has @path open until it is killed. */
static pid_t hold(const char *path)
{
	int ready[2];
	char byte;
	pid_t pid;

	CHECK_EQ(pipe(ready), 0);
	pid = fork();
	if (!pid) {
		if (open(path, O_RDWR) >= 0 && write(ready[1], "", 1) == 1)
			pause();
		_exit(1);
	}
	close(ready[1]);
	CHECK_EQ(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	return pid;
}

static void let_go(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

TEST(what_is_in_use_stays)
{
	struct world w;
	struct store *store = with_passes(&w, 4);
	struct err e = { 0 };
	char path[PATH_MAX];
	pid_t pid;

	CHECK_EQ(begin(&w, "one", 2), 0);
	file_of(&w, "one", 1, path);
	pid = hold(path);
	CHECK_EQ(end(&w, "one"), -EBUSY);
	let_go(pid);
	shows(&w, "one", 2, true);
	CHECK_EQ(store_failover_begin(store, 3, &e), 0);
	file_of(&w, "", 0, path);
	pid = hold(path);
	CHECK_EQ(store_failover_revert(store, &e), -EBUSY);
	let_go(pid);
	store_close(store);
	CHECK_EQ(store_delete(w.root, WORLD_VM, &e), -EBUSY); /* failed over */
	CHECK_EQ(store_open(w.root, WORLD_VM, &store, &e), 0);
	CHECK_EQ(store_failover_revert(store, &e), 0);
	store_close(store);
	CHECK_EQ(store_delete(w.root, WORLD_VM, &e), -EBUSY); /* a test */
	CHECK_EQ(end(&w, "one"), 0);
	CHECK_EQ(store_delete(w.root, WORLD_VM, &e), 0);
	world_exit(&w);
}

TEST(failed_over_and_back)
{
	struct world w;
	struct store *store = with_passes(&w, 6);
	uint64_t generation = store_generation(store), oldest;
	struct err e = { 0 };

	CHECK_EQ(store_failover_revert(store, &e), -EINVAL);
	CHECK_EQ(store_failover_commit(store, &e), -EINVAL);
	CHECK_EQ(store_failover_begin(store, 9, &e), -ENOENT);
	CHECK_EQ(store_failover_begin(store, 4, &e), 0);
	CHECK_EQ(store_failover_begin(store, 4, &e), -EALREADY);
	CHECK(store_generation(store) > generation);
	store = reopen(&w, store);
	CHECK_EQ(store_failover(store).state, STORE_FAILOVER_RECOVERED);
	CHECK_EQ(store_failover(store).pass, 4);
	shows(&w, "", 4, true);
	scribble(&w, "");
	shows(&w, "", 4, false);
	CHECK_EQ(world_pass(&w, store, SEED, 7, OPS, true, &e), -EROFS);
	CHECK_EQ(store_maintain(store, -1, -1, &e), 0);
	CHECK_EQ(point_count(&w, &oldest), 5); /* nothing is merged meanwhile */
	world_check_points_with_qemu(&w);
	CHECK_EQ(store_failover_revert(store, &e), 0);
	store = reopen(&w, store);
	CHECK_EQ(store_failover(store).state, STORE_FAILOVER_NONE);
	pass(&w, store, 7);
	CHECK_EQ(store_maintain(store, -1, -1, &e), 0);
	world_check_points_with_qemu(&w);
	CHECK_EQ(store_failover_begin(store, 0, &e), 0);
	shows(&w, "", 7, true);
	store_close(store);
	world_exit(&w);
}

TEST(a_commit_keeps_what_is_needed)
{
	struct world w;
	struct store *store = with_passes(&w, 6);
	struct err e = { 0 };
	uint64_t oldest;

	CHECK_EQ(begin(&w, "one", 6), 0);
	CHECK_EQ(store_failover_begin(store, 4, &e), 0);
	scribble(&w, "");
	CHECK_EQ(store_failover_commit(store, &e), -EBUSY); /* a test on a point that would go */
	CHECK_EQ(end(&w, "one"), 0);
	CHECK_EQ(store_failover_commit(store, &e), 0);
	CHECK_EQ(store_failover_commit(store, &e), -EINVAL);
	CHECK_EQ(store_failover_revert(store, &e), -EINVAL);
	store = reopen(&w, store);
	CHECK_EQ(store_failover(store).state, STORE_FAILOVER_COMMITTED);
	CHECK_EQ(point_count(&w, &oldest), 3);
	CHECK_EQ(store_last_pass(store), 4);
	CHECK_EQ(world_pass(&w, store, SEED, 7, OPS, true, &e), -EROFS);
	CHECK_EQ(world_run("ls '%s/%s/vda' | grep -q 000000000005", w.root, WORLD_VM) != 0, 1);
	shows(&w, "", 4, false);
	world_check_points_with_qemu(&w);
	CHECK_EQ(begin(&w, "one", 4), 0);
	store_close(store);
	world_exit(&w);
}

static uint32_t crc32_of(const char *text, size_t bytes)
{
	uint32_t crc = ~0u;

	for (size_t i = 0; i < bytes; i++) {
		crc ^= (uint8_t)text[i];
		for (int bit = 0; bit < 8; bit++)
			crc = (crc >> 1) ^ (crc & 1 ? 0xedb88320u : 0);
	}
	return ~crc;
}

/* As a program wrote it that knew no failover. */
static void make_old(struct world *w)
{
	char path[PATH_MAX + 64], text[8192] = "", *end;
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s/manifest.json", w->root, WORLD_VM);
	CHECK_EQ(world_run("sed -i -e 's/\"version\": 2/\"version\": 1/' -e '/^  \"generation\":/d' "
			   "-e '/^  \"failover\":/,/^  },/d' '%s'",
			   path),
		 0);
	file = fopen(path, "r+");
	CHECK(file && fread(text, 1, sizeof(text) - 1, file) > 100);
	end = strstr(text, ",\n  \"crc32\"");
	CHECK(end != NULL);
	if (end) {
		fseek(file, end - text, SEEK_SET);
		fprintf(file, ",\n  \"crc32\": \"%08x\"\n}\n", crc32_of(text, end - text));
	}
	fclose(file);
}

TEST(an_older_manifest_is_read)
{
	struct world w;
	struct store *store = with_passes(&w, 4);
	struct err e = { 0 };
	int ret;

	CHECK_EQ(store_next_generation(store, &e), 0);
	store_close(store);
	make_old(&w);
	world_check_points(&w);
	ret = store_open(w.root, WORLD_VM, &store, &e);
	if (ret)
		printf("# %s\n", e.text);
	CHECK_EQ(ret, 0);
	CHECK_EQ(store_generation(store), 0);
	CHECK_EQ(store_failover(store).state, STORE_FAILOVER_NONE);
	CHECK_EQ(store_next_generation(store, &e), 0);
	CHECK_EQ(store_generation(store), 1);
	pass(&w, store, 5);
	world_check_points(&w);
	store_close(store);
	world_exit(&w);
}

UNIT_MAIN(T(a_test_is_written_to_and_no_point_changes), T(a_point_with_a_test_is_not_merged),
	  T(what_a_test_cannot_be), T(what_is_in_use_stays), T(failed_over_and_back),
	  T(a_commit_keeps_what_is_needed), T(an_older_manifest_is_read))
