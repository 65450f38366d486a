// SPDX-License-Identifier: GPL-2.0-or-later
/* Disks that are sparse files: what is not read must be what reading it would have found. */
#include "userspace/primary/holes.h"
#include "ship-rig.h"

#define KIB 1024ull
#define MIB (1024 * KIB)

static void punch(struct rig_disk *disk, uint64_t offset, uint64_t bytes)
{
	memset(disk->model + offset, 0, bytes);
	if (fallocate(disk->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, bytes))
		rig_fail("punching a hole");
}

/* A disk of noise with holes: long, short, unaligned to chunks, at both ends. */
static void add_sparse(struct rig *rig, uint64_t size_bytes, uint32_t chunk_bytes)
{
	struct rig_disk *disk = &rig->disks[rig->disk_count];
	uint64_t seed = 11;

	rig_add_disk(rig, size_bytes, chunk_bytes, 3);
	rig_fill(disk->model, size_bytes, 2, &seed);
	fcntl(disk->fd, F_SETFL, fcntl(disk->fd, F_GETFL) & ~O_DIRECT);
	rig_write(disk, 0, size_bytes);
	fsync(disk->fd);
	punch(disk, 0, 300 * KIB);
	punch(disk, 1 * MIB + 4 * KIB, 1 * MIB);
	punch(disk, 3 * MIB, 8 * KIB);
	punch(disk, 4 * MIB - 128 * KIB, 200 * KIB);
	punch(disk, size_bytes - 500 * KIB, 500 * KIB);
	fcntl(disk->fd, F_SETFL, fcntl(disk->fd, F_GETFL) | O_DIRECT);
}

static void check_base(const struct rig *rig)
{
	char path[192];

	for (unsigned int i = 0; i < rig->disk_count; i++) {
		snprintf(path, sizeof(path), "%s/%s/disk%u/base.raw", rig->root, RIG_VM, i);
		CHECK(rig_file_equals(path, rig->disks[i].model, rig->disks[i].size_bytes));
	}
}

static void run_pass(struct rig *rig, struct ship_spec *spec)
{
	struct rig_receiver rx = { 0 };
	struct err e = { 0 };
	int socks[2], r;

	rig_connect(socks);
	rig_start_receiver(&rx, rig, socks[1]);
	spec->sock = socks[0];
	r = rig_ship(rig, spec, &e);
	CHECK_STR(r ? e.text : "", "");
	close(socks[0]);
	pthread_join(rx.thread, NULL);
	CHECK_STR(rx.result ? rx.error.text : "", "");
}

static void count_read(void *arg, unsigned int disk, uint64_t offset, uint64_t length)
{
	*(uint64_t *)arg += length;
}

/* All arrives, the holes too; and all is reported as read, since none of it need be kept. */
TEST(initial)
{
	struct ship_disk disks[RIG_MAX_DISKS];
	struct ship_progress progress;
	struct ship_spec spec;
	uint64_t read = 0;
	struct rig rig;

	rig_init(&rig);
	add_sparse(&rig, 9 * MIB + 512, 64 << 10);
	add_sparse(&rig, 8 * MIB, 4 << 10);
	rig_create_store(&rig);
	spec = rig_spec(&rig, disks, &progress);
	rig_all_extents(&rig, disks);
	spec.initial = true;
	spec.read_done = count_read;
	spec.arg = &read;
	run_pass(&rig, &spec);
	check_base(&rig);
	CHECK_EQ(read, 17 * MIB + 512);
	CHECK_EQ(progress.done_bytes, 17 * MIB + 512);
	CHECK(progress.zero_bytes >= 2 * 1700 * KIB);
	rig_free_extents(&rig, disks);
	rig_exit(&rig);
}

/*
 * An initial pass is sent again over a base that holds something: there, what has become a
 * hole since must be made one.
 */
TEST(initial_again)
{
	struct ship_disk disks[RIG_MAX_DISKS];
	struct ship_progress progress;
	struct ship_spec spec;
	struct rig rig;
	char path[192];
	int base;

	rig_init(&rig);
	add_sparse(&rig, 8 * MIB, 64 << 10);
	rig_create_store(&rig);
	snprintf(path, sizeof(path), "%s/%s/disk0/base.raw", rig.root, RIG_VM);
	base = open(path, O_WRONLY | O_CLOEXEC);
	if (base < 0 || pwrite(base, "left over", 9, 100 * KIB) != 9 ||
	    pwrite(base, "left over", 9, 8 * MIB - 9) != 9)
		rig_fail(path);
	close(base);
	spec = rig_spec(&rig, disks, &progress);
	rig_all_extents(&rig, disks);
	spec.initial = true;
	run_pass(&rig, &spec);
	check_base(&rig);
	rig_free_extents(&rig, disks);
	rig_exit(&rig);
}

/* Runs add up to the range, and whatever is called a hole is zero. */
TEST(runs)
{
	struct holes holes;
	struct rig rig;
	uint64_t at = 0, run, skipped = 0;
	bool hole;

	rig_init(&rig);
	add_sparse(&rig, 8 * MIB, 16 << 10);
	rig_create_store(&rig);
	holes_init(&holes, rig.disks[0].fd, 16 << 10);
	for (; at < 8 * MIB; at += run) {
		run = holes_run(&holes, at, 8 * MIB - at, &hole);
		CHECK(run > 0 && run <= 8 * MIB - at && run % (16 << 10) == 0);
		for (uint64_t i = at; hole && i < at + run; i++)
			if (rig.disks[0].model[i]) {
				CHECK(!"a hole is zero");
				break;
			}
		skipped += hole ? run : 0;
		if (!run)
			break;
	}
	CHECK(skipped >= 1700 * KIB);
	/* A range that begins behind the stretch that was found last, and one before it. */
	holes_run(&holes, 2 * MIB + 512 * KIB, 64 * KIB, &hole);
	CHECK(!hole);
	CHECK_EQ(holes_run(&holes, 0, 64 * KIB, &hole), 64 * KIB);
	CHECK(hole);
	rig_exit(&rig);
}

UNIT_MAIN(T(initial), T(initial_again), T(runs))
