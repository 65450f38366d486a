// SPDX-License-Identifier: GPL-2.0-or-later
/* The store through its interface: every point against a model, with QEMU's tools and without. */
#include <sched.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "store-world.h"
#include "userspace/store/failover.h"

static const char *parent(void)
{
	return getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp";
}

/* A world of three disks of different shapes. */
static void three_disks(struct world *w, const char *where)
{
	static const uint64_t sizes[] = { (1 << 20) + 512, 3 << 20, 300 * 1024 };
	static const uint32_t chunks[] = { 4096, 1 << 20, 65536 };

	world_init(w, where, 3, sizes, chunks);
}

static struct store *create(struct world *w)
{
	struct store *store = NULL;
	struct err e = { 0 };

	CHECK_EQ(store_create(w->root, &w->spec, &store, &e), 0);
	return store;
}

/* Runs pass @id and puts it into the model too. */
static void pass(struct world *w, struct store *store, uint64_t seed, uint64_t id, unsigned int ops,
		 bool whole)
{
	struct err e = { 0 };
	int ret;

	world_model(w, seed, store_last_pass(store), id, ops);
	ret = world_pass(w, store, seed, id, ops, whole, &e);
	if (ret)
		printf("# %s\n", e.text);
	CHECK_EQ(ret, 0);
	CHECK_EQ(store_last_pass(store), id);
}

TEST(every_point_is_exact)
{
	struct world w;
	struct store *store;
	struct err e = { 0 };

	three_disks(&w, parent());
	store = create(&w);
	CHECK_EQ(store_initial(store), STORE_INITIAL_NONE);
	pass(&w, store, 11, 3, 40, true);
	CHECK_EQ(store_initial(store), STORE_INITIAL_COMPLETE);
	CHECK_EQ(world_check_points(&w), 0); /* an initial pass is no point */
	pass(&w, store, 11, 4, 0, true); /* an empty pass is one */
	pass(&w, store, 11, 5, 10, false);
	CHECK_EQ(world_check_points(&w), 1); /* pass 5 is held back */
	pass(&w, store, 11, 7, 12, true);
	pass(&w, store, 11, 8, 30, true);
	CHECK_EQ(world_check_points(&w), 3);
	world_check_points_with_qemu(&w);
	store_set_history(store, 1, 0);
	CHECK_EQ(store_maintain(store, -1, -1, &e), 0);
	CHECK_EQ(world_check_points(&w), 2);
	world_check_points_with_qemu(&w);
	pass(&w, store, 11, 9, 10, true);
	CHECK_EQ(store_maintain(store, -1, -1, &e), 0);
	CHECK_EQ(world_check_points(&w), 2);
	world_check_points_with_qemu(&w);
	store_close(store);
	CHECK_EQ(store_open(w.root, WORLD_VM, &store, &e), 0);
	CHECK_EQ(store_last_pass(store), 9);
	CHECK_STR(store_spec(store)->disks[2].source, w.disks[2].source);
	store_close(store);
	world_exit(&w);
}

/* A whole disk discarded, then a merge of that: base.raw is a hole. */
TEST(whole_disk_of_zeros)
{
	static const uint64_t sizes[] = { (4 << 20) + 1536 };
	static const uint32_t chunks[] = { 16384 };
	struct store_pass *p;
	struct store *store;
	struct err e = { 0 };
	char path[PATH_MAX];
	struct world w;
	struct stat st;

	world_init(&w, parent(), 1, sizes, chunks);
	store = create(&w);
	pass(&w, store, 1, 1, 30, true);
	world_model(&w, 0, 0, 2, 0);
	CHECK_EQ(store_pass_begin(store, 2, STORE_PASS_DELTA, &p, &e), 0);
	CHECK_EQ(store_pass_zero(p, 0, 0, sizes[0], &e), 0);
	CHECK_EQ(store_pass_commit(p, 2000000, true, STORE_CONSISTENCY_APPLICATION, &e), 0);
	pass(&w, store, 1, 3, 0, true);
	CHECK_EQ(world_check_points(&w), 2);
	world_check_points_with_qemu(&w);
	store_set_history(store, 0, 0);
	CHECK_EQ(store_maintain(store, -1, -1, &e), 0);
	CHECK_EQ(world_check_points(&w), 1);
	snprintf(path, sizeof(path), "%s/" WORLD_VM "/vda/base.raw", w.root);
	CHECK(!stat(path, &st));
	CHECK(st.st_blocks <= 16);
	store_close(store);
	world_exit(&w);
}

TEST(initial_pass_goes_on)
{
	uint64_t durable[3] = { 65536, 1 << 20, 1 << 30 };
	struct store_pass *p;
	struct store *store;
	struct err e = { 0 };
	struct world w;

	three_disks(&w, parent());
	store = create(&w);
	CHECK_EQ(store_pass_begin(store, 1, STORE_PASS_INITIAL, &p, &e), 0);
	for (unsigned int n = 0; n < 20; n++) {
		struct world_op op = world_op(&w, 5, 1, n);

		CHECK_EQ(world_write(p, &op, &e), 0);
	}
	CHECK_EQ(store_initial_checkpoint(p, durable, &e), 0);
	store_pass_abort(p);
	store_close(store);
	CHECK_EQ(store_open(w.root, WORLD_VM, &store, &e), 0);
	CHECK_EQ(store_initial(store), STORE_INITIAL_RECEIVING);
	CHECK_EQ(store_initial_durable(store, 0), 65536);
	CHECK_EQ(store_initial_durable(store, 2), w.disks[2].size_bytes);
	CHECK_EQ(store_pass_begin(store, 2, STORE_PASS_DELTA, &p, &e), -EINVAL);
	/* What the interrupted pass left behind is overwritten, by zeros too. */
	world_model(&w, 5, 0, 1, 20);
	world_model(&w, 6, 1, 2, 25);
	CHECK_EQ(world_pass(&w, store, 6, 2, 25, true, &e), 0);
	CHECK_EQ(store_pass_begin(store, 3, STORE_PASS_INITIAL, &p, &e), -EINVAL);
	pass(&w, store, 5, 3, 3, true);
	CHECK_EQ(world_check_points(&w), 1);
	store_close(store);
	world_exit(&w);
}

TEST(refusals)
{
	struct store_pass *p, *other;
	struct store *store, *second;
	struct store_place place;
	struct err e = { 0 };
	struct world w;

	three_disks(&w, parent());
	store = create(&w);
	CHECK_EQ(store_create(w.root, &w.spec, &second, &e), -EEXIST);
	CHECK_EQ(store_open(w.root, WORLD_VM, &second, &e), -EBUSY);
	CHECK_EQ(store_delete(w.root, WORLD_VM, &e), -EBUSY);
	CHECK_EQ(store_open(w.root, "nobody", &second, &e), -ENOENT);
	CHECK_EQ(store_open(w.root, "../vm", &second, &e), -EINVAL);
	CHECK_EQ(store_open("/nonexistent", WORLD_VM, &second, &e), -ENOENT);
	pass(&w, store, 1, 5, 3, true);
	CHECK_EQ(store_pass_begin(store, 5, STORE_PASS_DELTA, &p, &e), -EINVAL);
	CHECK_EQ(store_pass_begin(store, 6, STORE_PASS_DELTA, &p, &e), 0);
	CHECK_EQ(store_pass_begin(store, 7, STORE_PASS_DELTA, &other, &e), -EBUSY);
	CHECK_EQ(store_maintain(store, -1, -1, &e), -EBUSY);
	CHECK_EQ(store_pass_place(p, 3, 0, 4096, &place, &e), -EINVAL);
	CHECK_EQ(store_pass_place(p, 0, 512, 4096, &place, &e), -EINVAL);
	CHECK_EQ(store_pass_place(p, 0, 0, 512, &place, &e), -EINVAL);
	CHECK_EQ(store_pass_place(p, 0, 0, 0, &place, &e), -EINVAL);
	CHECK_EQ(store_pass_place(p, 0, 1 << 20, 4096, &place, &e), -EINVAL);
	CHECK_EQ(store_pass_zero(p, 0, UINT64_MAX - 4095, 4096, &e), -EINVAL);
	CHECK_EQ(store_pass_zero(p, 1, 0, (3 << 20) + 1, &e), -EINVAL);
	CHECK_EQ(store_pass_commit(p, UINT64_MAX, true, STORE_CONSISTENCY_CRASH, &e), -EINVAL);
	CHECK_EQ(store_last_pass(store), 5);
	store_close(store);
	strcpy(w.disks[1].name, "vda");
	strcpy(w.spec.vm, "other");
	CHECK_EQ(store_create(w.root, &w.spec, &second, &e), -EINVAL);
	strcpy(w.disks[1].name, "..");
	CHECK_EQ(store_create(w.root, &w.spec, &second, &e), -EINVAL);
	strcpy(w.disks[1].name, "a/b");
	CHECK_EQ(store_create(w.root, &w.spec, &second, &e), -EINVAL);
	strcpy(w.disks[1].name, "vdb");
	w.disks[1].size_bytes = 9ULL << 40;
	w.disks[1].chunk_bytes = 4096;
	CHECK_EQ(store_create(w.root, &w.spec, &second, &e), -EFBIG);
	w.disks[1].size_bytes = 1000;
	CHECK_EQ(store_create(w.root, &w.spec, &second, &e), -EINVAL);
	world_exit(&w);
}

TEST(release_move_delete)
{
	struct store_points points;
	struct store *store;
	struct err e = { 0 };
	struct world w;

	three_disks(&w, parent());
	for (int round = 0; round < 2; round++) {
		store = create(&w);
		pass(&w, store, 1, 1, 3, true);
		pass(&w, store, 1, 2, 3, true);
		CHECK_EQ(store_release(store, &e), 0);
		CHECK(store_released(store));
		CHECK_EQ(store_move_aside(store, &e), 0);
	}
	CHECK_EQ(store_open(w.root, WORLD_VM, &store, &e), -ENOENT);
	CHECK_EQ(store_points(w.root, WORLD_VM, &points, &e), -ENOENT);
	CHECK_EQ(store_points(w.root, "vm.released-0f8fad5b-1", &points, &e), 0);
	CHECK_EQ(points.count, 1);
	CHECK(!access(points.at[0].disks[2].file, R_OK));
	store_points_free(&points);
	CHECK_EQ(store_delete(w.root, "vm.released-0f8fad5b", &e), 0);
	CHECK_EQ(store_delete(w.root, "vm.released-0f8fad5b", &e), -ENOENT);
	CHECK_EQ(store_open(w.root, "vm.released-0f8fad5b-1", &store, &e), 0);
	CHECK(store_released(store));
	store_close(store);
	world_exit(&w);
}

/* What a crash leaves is removed, what people put there is not; what is missing is said. */
TEST(open_cleans_up)
{
	static const char *const files[] = { "manifest.json.tmp", "vda/000000000009.part",
					     "vda/000000000009.qcow2", "vdb/notes.txt",
					     "vdb/test.qcow2" };
	struct store *store;
	struct err e = { 0 };
	char path[PATH_MAX];
	struct world w;

	three_disks(&w, parent());
	store = create(&w);
	pass(&w, store, 1, 1, 3, true);
	pass(&w, store, 1, 2, 3, true);
	store_close(store);
	for (int i = 0; i < 5; i++)
		CHECK_EQ(world_run("echo x > '%s/vm/%s'", w.root, files[i]), 0);
	CHECK_EQ(store_open(w.root, WORLD_VM, &store, &e), 0);
	pass(&w, store, 1, 3, 3, true);
	store_close(store);
	for (int i = 0; i < 5; i++) {
		snprintf(path, sizeof(path), "%s/vm/%s", w.root, files[i]);
		CHECK_EQ(!access(path, F_OK), i >= 3);
	}
	CHECK_EQ(world_check_points(&w), 2);
	snprintf(path, sizeof(path), "%s/vm/vdc/000000000002.qcow2", w.root);
	CHECK(!unlink(path));
	CHECK_EQ(store_open(w.root, WORLD_VM, &store, &e), -EUCLEAN);
	CHECK(strstr(e.text, "vdc/000000000002.qcow2 is missing") != NULL);
	world_exit(&w);
}

/* --- retention ----------------------------------------------------------- */

TEST(newest_point_stays)
{
	struct store_points points;
	struct store *store;
	struct err e = { 0 };
	struct world w;

	three_disks(&w, parent());
	store = create(&w);
	store_set_history(store, 1, 0);
	pass(&w, store, 2, 1, 10, true);
	pass(&w, store, 2, 2, 10, true);
	for (unsigned int id = 3; id <= 33; id++) {
		pass(&w, store, 2, id, 4, false);
		CHECK_EQ(store_maintain(store, -1, -1, &e), 0);
	}
	CHECK_EQ(world_check_points(&w), 1); /* the chain has 32 passes now, of two */
	pass(&w, store, 2, 34, 4, false);
	CHECK_EQ(store_maintain(store, -1, -1, &e), 0);
	CHECK_EQ(world_check_points(&w), 0); /* more cannot be borne */
	pass(&w, store, 2, 35, 4, true);
	CHECK_EQ(store_maintain(store, -1, -1, &e), 0);
	CHECK_EQ(world_check_points(&w), 1);
	CHECK_EQ(store_points(w.root, WORLD_VM, &points, &e), 0);
	CHECK_STR(points.at[0].id, "35");
	store_points_free(&points);
	world_check_points_with_qemu(&w);
	store_close(store);
	world_exit(&w);
}

/* What a program sees that has had a point open since then: its overlay over base.raw. */
static void check_held(struct world *w, unsigned int id, const int overlays[3], const int bases[3])
{
	for (unsigned int i = 0; i < 3; i++) {
		uint64_t size = w->disks[i].size_bytes;
		uint8_t *shows = calloc(1, size);

		CHECK(pread(bases[i], shows, size, 0) == (ssize_t)size);
		world_read_clusters(overlays[i], shows, size);
		CHECK(!memcmp(shows, w->shows[id][i], size));
		free(shows);
	}
}

/* A point that is open stays what it is, whatever comes; when it is closed, merges go on. */
TEST(open_point_stays)
{
	int overlays[3], bases[3];
	struct store_pass *p;
	struct store *store;
	struct err e = { 0 };
	char path[2 * PATH_MAX];
	struct world w;

	three_disks(&w, parent());
	store = create(&w);
	store_set_history(store, 0, 0);
	pass(&w, store, 21, 1, 40, true);
	pass(&w, store, 21, 2, 10, true);
	for (unsigned int i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "%s/" WORLD_VM "/vd%c/000000000002.qcow2", w.root, 'a' + i);
		overlays[i] = open(path, O_RDONLY | O_CLOEXEC);
		snprintf(path, sizeof(path), "%s/" WORLD_VM "/vd%c/base.raw", w.root, 'a' + i);
		bases[i] = open(path, O_RDONLY | O_CLOEXEC);
		CHECK(overlays[i] >= 0 && bases[i] >= 0);
	}
	for (unsigned int id = 3; id <= 49; id++) {
		pass(&w, store, 21, id, 10, true);
		CHECK_EQ(store_maintain(store, -1, -1, &e), 1);
		check_held(&w, 2, overlays, bases);
	}
	CHECK_EQ(world_check_points(&w), 48);
	/* Then it is too much, and said so. */
	CHECK_EQ(store_pass_begin(store, 50, STORE_PASS_DELTA, &p, &e), -EBUSY);
	for (unsigned int i = 0; i < 3; i++) {
		close(overlays[i]);
		CHECK_EQ(store_maintain(store, -1, -1, &e), 1); /* one disk is enough */
		close(bases[i]);
	}
	CHECK_EQ(store_maintain(store, -1, -1, &e), 0);
	CHECK_EQ(world_check_points(&w), 1);
	pass(&w, store, 21, 50, 10, true);
	world_check_points_with_qemu(&w);
	store_close(store);
	world_exit(&w);
}

/* A merge that is stopped over and over, with passes in between, changes no point. */
TEST(merge_in_pieces)
{
	static const uint64_t sizes[] = { 40 << 20, 1 << 20 };
	static const uint32_t chunks[] = { 4096, 4096 };
	int stop = eventfd(0, EFD_CLOEXEC);
	struct store *store;
	struct err e = { 0 };
	struct world w;
	uint64_t one = 1;
	unsigned int left = 0;

	world_init(&w, parent(), 2, sizes, chunks);
	store = create(&w);
	store_set_history(store, 0, 0);
	pass(&w, store, 3, 1, 5, true);
	pass(&w, store, 3, 2, 40, true);
	pass(&w, store, 3, 3, 10, true);
	CHECK(write(stop, &one, sizeof(one)) == sizeof(one));
	CHECK_EQ(store_maintain(store, stop, -1, &e), 1);
	CHECK_EQ(world_check_points(&w), 2); /* stopped before anything was done */
	CHECK(read(stop, &one, sizeof(one)) == sizeof(one));
	CHECK_EQ(store_maintain(store, stop, stop, &e), 0);
	CHECK_EQ(world_check_points(&w), 1);
	for (unsigned int id = 4; id <= 8; id++) {
		pass(&w, store, 3, id, 20, true);
		/* A child stops the merge at some moment: the next call goes on. */
		if (!fork()) {
			usleep(1000 * id);
			_exit(write(stop, &one, sizeof(one)) != sizeof(one));
		}
		left += store_maintain(store, stop, -1, &e) == 1;
		CHECK(wait(NULL) > 0);
		CHECK(read(stop, &one, sizeof(one)) == sizeof(one));
		world_check_points(&w);
	}
	printf("# a merge was left early %u times\n", left);
	CHECK_EQ(store_maintain(store, -1, -1, &e), 0);
	CHECK_EQ(world_check_points(&w), 1);
	world_check_points_with_qemu(&w);
	store_close(store);
	close(stop);
	world_exit(&w);
}

static bool has_point(const struct world *w, const char *id)
{
	struct store_points points;
	struct err e = { 0 };
	bool found = false;

	CHECK_EQ(store_points(w->root, WORLD_VM, &points, &e), 0);
	for (unsigned int i = 0; i < points.count; i++)
		found |= !strcmp(points.at[i].id, id);
	store_points_free(&points);
	return found;
}

/* Passes come each second, a point of every ten is to stay: the newest three of these. */
TEST(history_is_thinned)
{
	struct store *store;
	struct err e = { 0 };
	struct world w;

	three_disks(&w, parent());
	store = create(&w);
	store_set_history(store, 3, 10);
	for (unsigned int id = 1; id <= 47; id++) {
		pass(&w, store, 31, id, 6, id % 7 != 3);
		CHECK_EQ(store_maintain(store, -1, -1, &e), 0);
		CHECK(world_check_points(&w) <= 1 + 3 + 8);
	}
	/* Pass 10 ends a span of three that are behind the newest of the fifth one, 40. */
	CHECK(!has_point(&w, "11") && has_point(&w, "20") && has_point(&w, "30"));
	CHECK(has_point(&w, "40") && has_point(&w, "47") && !has_point(&w, "10"));
	world_check_points_with_qemu(&w);
	/* A history of none leaves the newest. */
	store_set_history(store, 0, 10);
	CHECK_EQ(store_maintain(store, -1, -1, &e), 0);
	CHECK_EQ(world_check_points(&w), 1);
	CHECK(has_point(&w, "47"));
	store_close(store);
	world_exit(&w);
}

/* Who has a point open, or a test on one, while it or what is around it is merged. */
TEST(history_in_use)
{
	char path[2 * PATH_MAX];
	uint8_t *shows;
	struct store *store;
	struct err e = { 0 };
	struct world w;
	int fd;

	three_disks(&w, parent());
	store = create(&w);
	store_set_history(store, 2, 100);
	/* The smallest are merged first. */
	for (unsigned int id = 1; id <= 8; id++)
		pass(&w, store, 32, id, id >= 5 && id <= 7 ? 1 : 12, true);
	CHECK_EQ(store_test_begin(w.root, WORLD_VM, "one", 5, &e), 0);
	snprintf(path, sizeof(path), "%s/" WORLD_VM "/vda/000000000006.qcow2", w.root);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	for (unsigned int id = 9; id <= 40; id++) {
		pass(&w, store, 32, id, 12, true);
		CHECK_EQ(store_maintain(store, -1, -1, &e), 0);
	}
	CHECK(has_point(&w, "5") && !has_point(&w, "6") && has_point(&w, "2"));
	CHECK(world_check_points(&w) <= 1 + 2 + 1 + 8);
	/* What is held open, over what it lay on, is what it was. */
	shows = malloc(w.disks[0].size_bytes);
	memcpy(shows, w.shows[5][0], w.disks[0].size_bytes);
	world_read_clusters(fd, shows, w.disks[0].size_bytes);
	CHECK(!memcmp(shows, w.shows[6][0], w.disks[0].size_bytes));
	free(shows);
	close(fd);
	CHECK_EQ(store_test_end(w.root, WORLD_VM, "one", &e), 0);
	pass(&w, store, 32, 41, 12, true);
	CHECK_EQ(store_maintain(store, -1, -1, &e), 0);
	CHECK(!has_point(&w, "5"));
	world_check_points_with_qemu(&w);
	store_close(store);
	world_exit(&w);
}

/* --- damage -------------------------------------------------------------- */

static void put_file(const char *path, const char *text, size_t bytes)
{
	int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);

	CHECK(write(fd, text, bytes) == (ssize_t)bytes);
	close(fd);
}

TEST(damaged_manifest)
{
	char path[PATH_MAX], *good, *bad;
	struct store_points points;
	struct store *store;
	struct err e = { 0 };
	struct world w;
	struct stat st;
	int fd;

	three_disks(&w, parent());
	store = create(&w);
	pass(&w, store, 1, 1, 3, true);
	pass(&w, store, 1, 2, 3, true);
	store_close(store);
	snprintf(path, sizeof(path), "%s/vm/manifest.json", w.root);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	CHECK(!fstat(fd, &st));
	good = malloc(st.st_size);
	bad = malloc(st.st_size);
	CHECK(read(fd, good, st.st_size) == st.st_size);
	close(fd);
	for (off_t at = 0; at < st.st_size; at++) {
		memcpy(bad, good, st.st_size);
		bad[at] ^= 1 << at % 8;
		put_file(path, bad, st.st_size);
		e = (struct err){ 0 };
		CHECK_EQ(store_open(w.root, WORLD_VM, &store, &e), -EUCLEAN);
		CHECK(strstr(e.text, "damaged") != NULL);
		CHECK_EQ(store_points(w.root, WORLD_VM, &points, &e), -EUCLEAN);
		put_file(path, good, at);
		CHECK_EQ(store_points(w.root, WORLD_VM, &points, &e), -EUCLEAN);
	}
	put_file(path, good, st.st_size);
	CHECK_EQ(world_check_points(&w), 1);
	CHECK(!unlink(path));
	CHECK_EQ(store_open(w.root, WORLD_VM, &store, &e), -ENOENT);
	free(good);
	free(bad);
	world_exit(&w);
}

static uint32_t crc32_of(const char *text, size_t bytes)
{
	uint32_t crc = ~0u;

	for (size_t i = 0; i < bytes; i++) {
		crc ^= (uint8_t)text[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc & 1 ? crc >> 1 ^ 0xedb88320u : crc >> 1;
	}
	return ~crc;
}

/* Replaces @was by @is in the manifest, with a checksum that is right. */
static void edit(const char *path, const char *was, const char *is)
{
	char text[65536] = "", out[65536];
	int fd = open(path, O_RDONLY | O_CLOEXEC), bytes;
	char *at, *end;

	CHECK(read(fd, text, sizeof(text) - 1) > 0);
	close(fd);
	at = strstr(text, was);
	end = strstr(text, ",\n  \"crc32\"");
	CHECK(at && end);
	if (!at || !end)
		return;
	*end = '\0';
	bytes = snprintf(out, sizeof(out), "%.*s%s%s", (int)(at - text), text, is,
			 at + strlen(was));
	bytes += snprintf(out + bytes, sizeof(out) - bytes, ",\n  \"crc32\": \"%08x\"\n}\n",
			  crc32_of(out, bytes));
	put_file(path, out, bytes);
}

/* A manifest whose checksum is right but which cannot be true. */
TEST(impossible_manifest)
{
	static const struct {
		const char *was, *is;
	} edits[] = {
		{ "\"version\": 2", "\"version\": 3" },
		{ "vmreplica-store", "vmreplica-stare" },
		{ "\"base_pass\": 1,", "\"base_pass\": 0," },
		{ "\"base_pass\": 1,", "\"base_pass\": -1," },
		{ "\"base_pass\": 1,", "\"base_pass\": \"1\"," },
		{ "\"base_pass\": 1,", "\"base_pass\": 2," },
		{ "\"merging_pass\": 0", "\"merging_pass\": 1" },
		{ "\"merging_pass\": 0", "\"merging_pass\": 3" },
		{ "\"name\": \"vda\"", "\"name\": \"..\"" },
		{ "\"name\": \"vda\"", "\"name\": \"vdb\"" },
		{ "\"name\": \"vda\"", "\"name\": \"a/b\"" },
		{ "\"name\": \"vda\"", "\"name\": \"vd\\u0000\"" },
		{ "\"chunk_bytes\": 4096", "\"chunk_bytes\": 4097" },
		{ "\"chunk_bytes\": 4096", "\"chunk_bytes\": 2048" },
		{ "\"size_bytes\": 1049088", "\"size_bytes\": 1049087" },
		{ "\"size_bytes\": 1049088", "\"size_bytes\": 1049600" },
		{ "\"initial\": \"complete\"", "\"initial\": \"receiving\"" },
		{ "\"initial\": \"complete\"", "\"initial\": \"done\"" },
		{ "\"whole\": true", "\"whole\": 1" },
		{ "\"consistency\": \"crash\"", "\"consistency\": \"good\"" },
		{ "\"released\": false,", "" },
		{ "\"released\": false,", "\"released\": false, \"more\": 1," },
		{ "\"id\": 2", "\"id\": 3" },
		{ "\"passes\": [", "\"passes\": [7, " },
	};
	struct store *store;
	struct err e = { 0 };
	char path[PATH_MAX];
	struct world w;

	three_disks(&w, parent());
	store = create(&w);
	pass(&w, store, 1, 1, 3, true);
	pass(&w, store, 1, 2, 3, true);
	store_close(store);
	snprintf(path, sizeof(path), "%s/vm/manifest.json", w.root);
	for (unsigned int i = 0; i < sizeof(edits) / sizeof(edits[0]); i++) {
		int ret;

		CHECK_EQ(world_run("cp '%s' '%s.good'", path, path), 0);
		edit(path, edits[i].was, edits[i].is);
		ret = store_open(w.root, WORLD_VM, &store, &e);
		if (ret != -EUCLEAN)
			printf("# %s instead of %s was taken\n", edits[i].is, edits[i].was);
		CHECK_EQ(ret, -EUCLEAN);
		CHECK_EQ(world_run("mv '%s.good' '%s'", path, path), 0);
	}
	CHECK_EQ(world_check_points(&w), 1);
	world_exit(&w);
}

/* --- no space ------------------------------------------------------------ */

/* Passes until one does not fit: all points before it stay. */
static int fill_up(const char *where, int expected)
{
	struct store *store;
	struct err e = { 0 };
	unsigned int id = 2;
	struct world w;
	int ret = 0;

	three_disks(&w, where);
	store = create(&w);
	pass(&w, store, 9, 1, 10, true);
	pass(&w, store, 9, 2, 2, true);
	while (!ret && id + 1 < WORLD_PASSES) {
		id++;
		world_model(&w, 9, store_last_pass(store), id, 20);
		ret = world_pass(&w, store, 9, id, 20, true, &e);
	}
	if (ret != expected)
		printf("# pass %u: %s\n", id, e.text);
	CHECK_EQ(ret, expected);
	CHECK_EQ(store_last_pass(store), id - 1);
	CHECK_EQ(world_check_points(&w), id - 2);
	store_close(store);
	CHECK_EQ(store_open(w.root, WORLD_VM, &store, &e), 0);
	CHECK_EQ(world_check_points(&w), id - 2);
	store_close(store);
	world_exit(&w);
	return unit_failures;
}

TEST(file_system_full)
{
	char where[] = "/tmp/full-XXXXXX";
	int status;

	CHECK(mkdtemp(where) != NULL);
	fflush(stdout);
	if (!fork()) {
		unit_failures = 0;
		if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
		    mount("none", where, "tmpfs", 0, "size=24m")) {
			printf("# needs root to mount a small file system: left out\n");
			exit(0);
		}
		fill_up(where, -ENOSPC);
		exit(!!unit_failures);
	}
	CHECK(wait(&status) > 0);
	CHECK_EQ(status, 0);
	rmdir(where);
}

TEST(file_too_large)
{
	int status;

	fflush(stdout);
	if (!fork()) {
		struct rlimit limit = { 3 << 20, 3 << 20 };

		unit_failures = 0;
		signal(SIGXFSZ, SIG_IGN);
		setrlimit(RLIMIT_FSIZE, &limit);
		struct world w;
		struct store *store;
		struct err e = { 0 };

		three_disks(&w, parent());
		store = create(&w);
		pass(&w, store, 9, 1, 10, true);
		CHECK_EQ(world_pass(&w, store, 9, 2, 10, true, &e), -EFBIG);
		CHECK_EQ(store_last_pass(store), 1);
		CHECK_EQ(world_check_points(&w), 0);
		store_close(store);
		CHECK_EQ(store_open(w.root, WORLD_VM, &store, &e), 0);
		store_close(store);
		world_exit(&w);
		exit(!!unit_failures);
	}
	CHECK(wait(&status) > 0);
	CHECK_EQ(status, 0);
}

UNIT_MAIN(T(every_point_is_exact), T(whole_disk_of_zeros), T(initial_pass_goes_on), T(refusals),
	  T(release_move_delete), T(open_cleans_up), T(newest_point_stays), T(open_point_stays),
	  T(merge_in_pieces), T(history_is_thinned),
	  T(history_in_use), T(damaged_manifest), T(impossible_manifest), T(file_system_full),
	  T(file_too_large))
