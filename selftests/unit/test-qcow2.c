// SPDX-License-Identifier: GPL-2.0-or-later
/* Overlays of all shapes, against a model in memory and QEMU's own tools. */
#include <sys/resource.h>

#include "store-world.h"
#include "userspace/store/qcow2.h"

#define TIB (UINT64_C(1) << 40)

static char dir[PATH_MAX / 2];
static int dir_fd;

static __attribute__((constructor)) void setup(void)
{
	snprintf(dir, sizeof(dir), "%s/qcow2-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	CHECK(mkdtemp(dir) != NULL);
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CHECK(dir_fd >= 0);
}

static __attribute__((destructor)) void teardown(void)
{
	close(dir_fd);
	world_run("rm -rf '%s'", dir);
}

static void make_base(uint64_t size, uint8_t fill)
{
	int fd = openat(dir_fd, "base.raw", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	uint8_t *buf = malloc(1 << 20);

	CHECK(!ftruncate(fd, size));
	memset(buf, fill, 1 << 20);
	if (size <= 64 << 20)
		for (uint64_t at = 0; at < size; at += 1 << 20)
			CHECK(pwrite(fd, buf, size - at < 1 << 20 ? size - at : 1 << 20, at) > 0);
	free(buf);
	close(fd);
}

static void create(struct qcow2 *q, uint64_t size, uint32_t cluster)
{
	struct err e = { 0 };

	unlinkat(dir_fd, "o.qcow2", 0);
	CHECK_EQ(qcow2_create(q, dir_fd, "o.qcow2", size, cluster, &e), 0);
}

static void finish(struct qcow2 *q)
{
	static const struct qcow2_backing backing = { "base.raw", "raw" };
	struct err e = { 0 };

	CHECK_EQ(qcow2_finish(q, &backing, &e), 0);
	CHECK_EQ(qcow2_sync(q, &e), 0);
	qcow2_close(q);
}

static int check_with_qemu(void)
{
	return world_run("qemu-img check -q -f qcow2 '%s/o.qcow2'", dir);
}

/* Places a range and fills it, as often as it takes. */
static void put(struct qcow2 *q, uint64_t offset, uint32_t length, uint8_t fill)
{
	struct store_place place;
	struct err e = { 0 };
	uint8_t *buf;

	for (uint32_t done = 0; done < length; done += place.length) {
		CHECK_EQ(qcow2_place(q, offset + done, length - done, &place, &e), 0);
		buf = aligned_alloc(4096, place.length);
		memset(buf, 0, place.length);
		memset(buf, fill, place.length < length - done ? place.length : length - done);
		CHECK(pwrite(place.fd, buf, place.length, place.file_offset) ==
		      (ssize_t)place.length);
		free(buf);
	}
}

static void compare_with(const uint8_t *shows, uint64_t size)
{
	char path[PATH_MAX];
	uint8_t *got = calloc(1, size);
	int fd = openat(dir_fd, "model.raw", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	CHECK(write(fd, shows, size) == (ssize_t)size);
	close(fd);
	snprintf(path, sizeof(path), "%s/o.qcow2", dir);
	world_read_file(path, got, size);
	CHECK(!memcmp(got, shows, size));
	free(got);
	CHECK_EQ(check_with_qemu(), 0);
	CHECK_EQ(world_run("qemu-img compare -q -f qcow2 -F raw '%s' '%s/model.raw'", path, dir),
		 0);
}

/* What the store's reader finds, laid over the base, is the model too. */
static void read_back(const uint8_t *shows, uint8_t fill, uint64_t size, uint32_t cluster)
{
	uint8_t *got = malloc(size);
	uint64_t position = 0, end = 0;
	struct qcow2_reader r;
	struct qcow2_run run;
	struct err e = { 0 };
	int ret;

	memset(got, fill, size);
	CHECK_EQ(qcow2_reader_open(&r, dir_fd, "o.qcow2", size, cluster, &e), 0);
	while ((ret = qcow2_reader_next(&r, &position, 1 << 20, &run, &e)) == 1) {
		CHECK(run.offset >= end && run.length && run.offset + run.length <= size);
		end = run.offset + run.length;
		if (run.file_offset)
			CHECK(pread(r.fd, got + run.offset, run.length, run.file_offset) ==
			      (ssize_t)run.length);
		else
			memset(got + run.offset, 0, run.length);
	}
	CHECK_EQ(ret, 0);
	CHECK(!memcmp(got, shows, size));
	qcow2_reader_close(&r);
	free(got);
}

TEST(random_overlays)
{
	static const uint64_t sizes[] = {
		512, 4096, 4608, 1 << 20, (9 << 20) + 512, (5 << 20) + 4096 * 3 + 1024
	};

	for (uint32_t bits = 12; bits <= 20; bits += 2) {
		for (unsigned int i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			uint64_t size = sizes[i], state = bits * 100 + i + 1;
			uint32_t cluster = 1u << bits;
			uint64_t count = (size + cluster - 1) / cluster;
			uint8_t *shows = malloc(size);
			struct qcow2 q;
			struct err e = { 0 };

			memset(shows, 0xbb, size);
			make_base(size, 0xbb);
			create(&q, size, cluster);
			for (int n = 0; n < 30; n++) {
				uint64_t first = world_random(&state) % count;
				uint64_t many =
					1 + world_random(&state) %
						    (count - first < 20 ? count - first : 20);
				uint64_t length = many * cluster;
				uint8_t fill = world_random(&state) % 3 ? 1 + n : 0;

				if (first + many == count)
					length = size - first * cluster;
				memset(shows + first * cluster, fill, length);
				if (fill)
					put(&q, first * cluster, length, fill);
				else
					CHECK_EQ(qcow2_zero(&q, first * cluster, length, &e), 0);
			}
			finish(&q);
			compare_with(shows, size);
			read_back(shows, 0xbb, size, cluster);
			free(shows);
		}
	}
}

/* Ranges that follow one another lie one behind the other, and no cluster twice. */
TEST(sequential_places)
{
	struct store_place place;
	struct err e = { 0 };
	struct qcow2 q;

	make_base(8 << 20, 1);
	create(&q, 8 << 20, 4096);
	CHECK_EQ(qcow2_place(&q, 0, 1 << 20, &place, &e), 0);
	CHECK_EQ(place.length, 1 << 20);
	CHECK_EQ(place.file_offset, 4096);
	CHECK_EQ(qcow2_place(&q, 1 << 20, 65536, &place, &e), 0);
	CHECK_EQ(place.file_offset, 4096 + (1 << 20));
	/* again, overlapping: the same place, and the rest behind it */
	CHECK_EQ(qcow2_place(&q, (1 << 20) + 32768, 65536, &place, &e), 0);
	CHECK_EQ(place.file_offset, 4096 + (1 << 20) + 32768);
	CHECK_EQ(place.length, 65536);
	/* a new range in front of an old one ends where the old one begins */
	CHECK_EQ(qcow2_place(&q, 4 << 20, 4096, &place, &e), 0);
	CHECK_EQ(qcow2_place(&q, (4 << 20) - 4096, 8192, &place, &e), 0);
	CHECK_EQ(place.length, 4096);
	finish(&q);
	CHECK_EQ(check_with_qemu(), 0);
}

TEST(last_placement_wins)
{
	uint8_t *shows = malloc(2 << 20);
	struct err e = { 0 };
	struct qcow2 q;

	memset(shows, 0xbb, 2 << 20);
	make_base(2 << 20, 0xbb);
	create(&q, 2 << 20, 65536);
	put(&q, 0, 4 * 65536, 1);
	CHECK_EQ(qcow2_zero(&q, 65536, 2 * 65536, &e), 0);
	put(&q, 2 * 65536, 65536, 2); /* data, zero, data */
	CHECK_EQ(qcow2_zero(&q, 8 * 65536, 2 * 65536, &e), 0);
	put(&q, 9 * 65536, 65536, 3); /* zero, data */
	memset(shows, 1, 65536);
	memset(shows + 65536, 0, 65536);
	memset(shows + 2 * 65536, 2, 65536);
	memset(shows + 3 * 65536, 1, 65536);
	memset(shows + 8 * 65536, 0, 65536);
	memset(shows + 9 * 65536, 3, 65536);
	finish(&q);
	compare_with(shows, 2 << 20);
	free(shows);
}

TEST(empty_overlay)
{
	struct qcow2 q;
	struct stat st;
	uint8_t *shows = malloc(3 << 20);

	memset(shows, 0xbb, 3 << 20);
	make_base(3 << 20, 0xbb);
	create(&q, 3 << 20, 4096);
	finish(&q);
	compare_with(shows, 3 << 20);
	CHECK(!fstatat(dir_fd, "o.qcow2", &st, 0));
	CHECK_EQ(st.st_size, 4 * 4096); /* header, L1, refcount block, refcount table */
	free(shows);
}

static long heap_peak_kib(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_maxrss;
}

/* 2 TiB in 4 KiB clusters: the cost is that of what was touched. */
TEST(large_sparse_disk)
{
	uint64_t size = 2 * TIB, state = 5;
	long before = heap_peak_kib();
	struct stat st;
	struct qcow2 q;

	make_base(size, 0);
	create(&q, size, 4096);
	for (int i = 0; i < 200; i++)
		put(&q, world_random(&state) % (size / 4096) * 4096, 4096, 1 + i);
	put(&q, size - 4096, 4096, 0xee);
	finish(&q);
	CHECK(!fstatat(dir_fd, "o.qcow2", &st, 0));
	CHECK(st.st_size < 12 << 20); /* 8 MiB of it the L1 table */
	CHECK(st.st_blocks * 512 < 4 << 20); /* which is sparse */
	CHECK(heap_peak_kib() - before < 64 << 10); /* sanitizers take most of this */
	CHECK_EQ(check_with_qemu(), 0);
	CHECK_EQ(world_run("qemu-io -f qcow2 -r -c 'read -q -P 0xee %" PRIu64
			   " 4096' '%s/o.qcow2' | grep -q fail && exit 1 || true",
			   size - 4096, dir),
		 0);
}

/* The whole of a large disk discarded at once, in pieces, and but for two clusters. */
TEST(large_discards)
{
	uint64_t size = 2 * TIB + 512, piece = 1 << 20;
	long before = heap_peak_kib();
	struct err e = { 0 };
	struct stat st;
	struct qcow2 q;

	make_base(size, 0);
	create(&q, size, 4096);
	CHECK_EQ(qcow2_zero(&q, 0, size, &e), 0);
	finish(&q);
	CHECK(!fstatat(dir_fd, "o.qcow2", &st, 0));
	CHECK(st.st_size < 12 << 20);
	create(&q, size, 4096);
	for (uint64_t at = 0; at < size; at += piece)
		CHECK_EQ(qcow2_zero(&q, at, size - at < piece ? size - at : piece, &e), 0);
	put(&q, TIB, 4096, 0xaa);
	CHECK_EQ(qcow2_zero(&q, TIB - (1 << 30), 2ULL << 30, &e), 0);
	put(&q, TIB + 4096, 4096, 0xab);
	finish(&q);
	CHECK(!fstatat(dir_fd, "o.qcow2", &st, 0));
	CHECK(st.st_size < 12 << 20);
	CHECK(heap_peak_kib() - before < 96 << 10);
	CHECK_EQ(world_run("qemu-io -f qcow2 -r -c 'read -P 0 %" PRIu64
			   " 4096' -c 'read -P 0xab %" PRIu64 " 4096' -c 'read -P 0 %" PRIu64
			   " 512' '%s/o.qcow2' > '%s/log' && "
			   "! grep -q 'verification failed' '%s/log'",
			   TIB, TIB + 4096, size - 512, dir, dir, dir),
		 0);
}

/* One table of zeros may have 65535 references: here it takes two, the second with a single one. */
TEST(shared_zero_tables)
{
	struct err e = { 0 };
	struct stat st;
	struct qcow2 q;

	for (uint64_t tables = 65535; tables <= 65536; tables++) {
		uint64_t size = tables * (2 << 20);

		make_base(size, 0);
		create(&q, size, 4096);
		CHECK_EQ(qcow2_zero(&q, 0, size, &e), 0);
		finish(&q);
		CHECK(!fstatat(dir_fd, "o.qcow2", &st, 0));
		CHECK(st.st_size < 1 << 20);
		CHECK_EQ(check_with_qemu(), 0);
	}
}

TEST(limits)
{
	struct err e = { 0 };

	CHECK_EQ(qcow2_check_limits(512, 4096, &e), 0);
	CHECK_EQ(qcow2_check_limits(7 * TIB, 4096, &e), 0);
	CHECK_EQ(qcow2_check_limits(9 * TIB, 4096, &e), -EFBIG);
	CHECK(strstr(e.text, "larger chunks") != NULL);
	CHECK_EQ(qcow2_check_limits(9 * TIB, 8192, &e), 0);
	CHECK_EQ(qcow2_check_limits(1ULL << 62, 1 << 20, &e), -EFBIG);
	CHECK_EQ(qcow2_check_limits(UINT64_MAX, 4096, &e), -EFBIG);
}

/* A header, L1 or L2 table that something has changed is refused, never followed. */
TEST(damaged_overlays)
{
	uint64_t size = 4 << 20, position, bytes = 0;
	struct qcow2_reader r;
	struct qcow2_run run;
	struct err e = { 0 };
	unsigned int refused = 0;
	uint8_t *good, *bad;
	struct stat st;
	struct qcow2 q;
	int fd, ret;

	make_base(size, 1);
	create(&q, size, 4096);
	put(&q, 0, 8192, 1);
	put(&q, 3 << 20, 4096, 2);
	finish(&q);
	fd = openat(dir_fd, "o.qcow2", O_RDWR | O_CLOEXEC);
	CHECK(!fstat(fd, &st));
	good = malloc(st.st_size);
	bad = malloc(st.st_size);
	CHECK(pread(fd, good, st.st_size, 0) == st.st_size);
	for (off_t at = 0; at < st.st_size; at++) {
		if (at >= 512 && at < 4 * 4096 && at % 4096 > 8)
			continue; /* data has no meaning here */
		memcpy(bad, good, st.st_size);
		bad[at] ^= 0xff;
		CHECK(pwrite(fd, bad, st.st_size, 0) == st.st_size);
		ret = qcow2_reader_open(&r, dir_fd, "o.qcow2", size, 4096, &e);
		refused += ret == -EUCLEAN;
		if (ret)
			continue;
		position = 0;
		while ((ret = qcow2_reader_next(&r, &position, 1 << 20, &run, &e)) == 1) {
			CHECK(run.offset + run.length <= size);
			CHECK(!run.file_offset ||
			      run.file_offset + run.length <= (uint64_t)st.st_size);
			bytes += run.length;
		}
		refused += ret == -EUCLEAN;
		qcow2_reader_close(&r);
	}
	CHECK(refused > 20);
	CHECK(bytes > 0);
	CHECK(!ftruncate(fd, 300));
	CHECK_EQ(qcow2_reader_open(&r, dir_fd, "o.qcow2", size, 4096, &e), -EUCLEAN);
	close(fd);
	free(good);
	free(bad);
}

TEST(rebase)
{
	static const struct qcow2_backing other = { "000000000007.qcow2", "qcow2" },
					  base = { "base.raw", "raw" };
	uint8_t *shows = malloc(1 << 20);
	struct err e = { 0 };
	struct qcow2 q;

	memset(shows, 0xbb, 1 << 20);
	make_base(1 << 20, 0xbb);
	create(&q, 1 << 20, 4096);
	put(&q, 4096, 4096, 9);
	memset(shows + 4096, 9, 4096);
	CHECK_EQ(qcow2_finish(&q, &other, &e), 0);
	qcow2_close(&q);
	CHECK_EQ(
		world_run(
			"qemu-img info -U -f qcow2 '%s/o.qcow2' | grep -q '^backing file: 000000000007.qcow2 '",
			dir),
		0);
	CHECK_EQ(qcow2_rebase(dir_fd, "o.qcow2", &base, &e), 0);
	compare_with(shows, 1 << 20);
	CHECK_EQ(qcow2_rebase(dir_fd, "base.raw", &base, &e), -EUCLEAN);
	free(shows);
}

UNIT_MAIN(T(random_overlays), T(sequential_places), T(last_placement_wins), T(empty_overlay),
	  T(large_sparse_disk), T(large_discards), T(shared_zero_tables), T(limits),
	  T(damaged_overlays), T(rebase))
