// SPDX-License-Identifier: GPL-2.0-or-later
/* Passes from files through a socket into a store: what arrives is compared bit for bit. */
#include "ship-rig.h"

static void check_base(const struct rig *rig)
{
	char path[192];

	for (unsigned int i = 0; i < rig->disk_count; i++) {
		snprintf(path, sizeof(path), "%s/%s/disk%u/base.raw", rig->root, RIG_VM, i);
		CHECK(rig_file_equals(path, rig->disks[i].model, rig->disks[i].size_bytes));
	}
}

static void add_disks(struct rig *rig)
{
	rig_add_disk(rig, (5 << 20) + 512, 64 << 10, 1);
	rig_add_disk(rig, 777 * 512, 4 << 10, 2);
	rig_add_disk(rig, 9 << 20, 1 << 20, 3);
	rig_add_disk(rig, (3 << 20) + 4096, 4 << 10, 4);
}

/* One pass; both sides must agree that it went well. */
static void run_pass(struct rig *rig, struct ship_spec *spec, struct rig_receiver *rx)
{
	struct err e = { 0 };
	int socks[2], r;

	rig_connect(socks);
	rig_start_receiver(rx, rig, socks[1]);
	spec->sock = socks[0];
	r = rig_ship(rig, spec, &e);
	CHECK_STR(r ? e.text : "", "");
	close(socks[0]);
	pthread_join(rx->thread, NULL);
	CHECK_STR(rx->result ? rx->error.text : "", "");
}

static void run_initial(struct ship_options ship, struct receive_options receive)
{
	struct rig_receiver rx = { .options = receive };
	struct ship_disk disks[RIG_MAX_DISKS];
	struct ship_progress progress;
	struct ship_spec spec;
	uint64_t total = 0;
	struct rig rig;

	rig_init(&rig);
	add_disks(&rig);
	rig_create_store(&rig);
	spec = rig_spec(&rig, disks, &progress);
	rig_all_extents(&rig, disks);
	spec.initial = true;
	spec.options = ship;
	run_pass(&rig, &spec, &rx);
	check_base(&rig);
	for (unsigned int i = 0; i < rig.disk_count; i++)
		total += rig.disks[i].size_bytes;
	CHECK_EQ(progress.total_bytes, total);
	CHECK_EQ(progress.done_bytes, total);
	CHECK_EQ(progress.raw_bytes, total);
	CHECK_EQ(rx.progress.done_bytes, total);
	CHECK(progress.zero_bytes > total / 10);
	CHECK(progress.wire_bytes < total - progress.zero_bytes + 100 * progress.frames);
	if (ship.compress == SHIP_COMPRESS_LZ4)
		CHECK(progress.wire_bytes < (total - progress.zero_bytes) * 3 / 4);
	CHECK_EQ(store_last_pass(rig.store), 1);
	CHECK_EQ(store_initial(rig.store), STORE_INITIAL_COMPLETE);
	rig_free_extents(&rig, disks);
	rig_exit(&rig);
}

TEST(initial_off)
{
	run_initial((struct ship_options){ .compress = SHIP_COMPRESS_OFF },
		    (struct receive_options){ 0 });
}
TEST(initial_lz4)
{
	run_initial((struct ship_options){ .compress = SHIP_COMPRESS_LZ4 },
		    (struct receive_options){ 0 });
}
TEST(initial_auto)
{
	run_initial((struct ship_options){ .compress = SHIP_COMPRESS_AUTO },
		    (struct receive_options){ 0 });
}

TEST(initial_narrow)
{
	run_initial((struct ship_options){ .depth = 1,
					   .threads = 1,
					   .buffer_bytes = 64 << 10,
					   .compress = SHIP_COMPRESS_LZ4,
					   .checkpoint_bytes = 1 << 20 },
		    (struct receive_options){ .depth = 1, .threads = 1 });
}

TEST(initial_wide)
{
	run_initial((struct ship_options){ .depth = 64,
					   .threads = 8,
					   .buffer_bytes = 1 << 20,
					   .checkpoint_bytes = 4096 },
		    (struct receive_options){ .depth = 64, .threads = 8 });
}


/* --- deltas ----------------------------------------------------------------- */

/* Changes chunks here and there, the last one of each disk too, and lists them. */
static void change(struct rig *rig, struct ship_disk *disks, uint64_t *seed)
{
	for (unsigned int i = 0; i < rig->disk_count; i++) {
		struct rig_disk *disk = &rig->disks[i];
		uint64_t chunk = disk->chunk_bytes;

		for (uint64_t at = 0; at < disk->size_bytes; at += chunk) {
			uint64_t bytes = disk->size_bytes - at < chunk ? disk->size_bytes - at :
									 chunk;

			if (rig_random(seed) % 4 && at + chunk < disk->size_bytes)
				continue;
			rig_fill(disk->model + at, bytes, rig_random(seed) % 3, seed);
			fcntl(disk->fd, F_SETFL, fcntl(disk->fd, F_GETFL) & ~O_DIRECT);
			rig_write(disk, at, bytes);
			fcntl(disk->fd, F_SETFL, fcntl(disk->fd, F_GETFL) | O_DIRECT);
			extent_list_append(&disks[i].extents, at, bytes);
		}
		fsync(disk->fd);
	}
}

/* What QEMU's own tools make of the newest point. */
static void check_point(const struct rig *rig)
{
	struct store_points points;
	char command[3 * 4096], raw[128];

	CHECK_EQ(store_points(rig->root, RIG_VM, &points, NULL), 0);
	CHECK(points.count > 0);
	snprintf(raw, sizeof(raw), "%s/raw", rig->dir);
	for (unsigned int i = 0; points.count && i < rig->disk_count; i++) {
		const char *file = points.at[points.count - 1].disks[i].file;

		snprintf(command, sizeof(command), "qemu-img check -q '%s' && qemu-img convert -O raw '%s' '%s'", file, file, raw);
		CHECK_EQ(system(command), 0);
		CHECK(rig_file_equals(raw, rig->disks[i].model, rig->disks[i].size_bytes));
	}
	store_points_free(&points);
}

static void run_deltas(struct ship_options options)
{
	struct rig_receiver rx = { 0 };
	struct ship_disk disks[RIG_MAX_DISKS];
	struct ship_progress progress;
	struct ship_spec spec;
	uint64_t seed = 99;
	struct rig rig;

	rig_init(&rig);
	add_disks(&rig);
	rig_create_store(&rig);
	spec = rig_spec(&rig, disks, &progress);
	rig_all_extents(&rig, disks);
	spec.initial = true;
	run_pass(&rig, &spec, &rx);
	for (unsigned int n = 0; n < 3; n++) {
		rig_free_extents(&rig, disks);
		spec = rig_spec(&rig, disks, &progress);
		spec.options = options;
		if (n < 2)		/* the third pass is an empty one */
			change(&rig, disks, &seed);
		run_pass(&rig, &spec, &rx);
		CHECK_EQ(store_last_pass(rig.store), 2 + n);
		check_point(&rig);
	}
	rig_free_extents(&rig, disks);
	rig_exit(&rig);
}

TEST(delta) { run_deltas((struct ship_options){ .compress = SHIP_COMPRESS_LZ4 }); }
TEST(delta_narrow)
{
	run_deltas((struct ship_options){ .depth = 1, .threads = 1, .buffer_bytes = 64 << 10 });
}

/* --- zeros ------------------------------------------------------------------ */

TEST(zeros_become_one_frame)
{
	struct rig_receiver rx = { 0 };
	struct ship_disk disks[RIG_MAX_DISKS];
	struct ship_progress progress;
	struct ship_spec spec;
	struct rig rig;
	struct stat st;
	char path[192];

	rig_init(&rig);
	rig_add_disk(&rig, 40 << 20, 4096, 7);
	memset(rig.disks[0].model, 0, 40 << 20);
	CHECK_EQ(ftruncate(rig.disks[0].fd, 0), 0);
	CHECK_EQ(ftruncate(rig.disks[0].fd, 40 << 20), 0);
	rig_create_store(&rig);
	spec = rig_spec(&rig, disks, &progress);
	rig_all_extents(&rig, disks);
	spec.initial = true;
	run_pass(&rig, &spec, &rx);
	CHECK_EQ(progress.frames, 1);
	CHECK_EQ(progress.wire_bytes, WIRE_HEADER_BYTES);
	CHECK_EQ(progress.zero_bytes, 40 << 20);
	snprintf(path, sizeof(path), "%s/%s/disk0/base.raw", rig.root, RIG_VM);
	CHECK_EQ(stat(path, &st), 0);
	CHECK_EQ(st.st_size, 40 << 20);
	CHECK(st.st_blocks * 512 < 1 << 20);
	check_base(&rig);
	rig_free_extents(&rig, disks);
	rig_exit(&rig);
}

/* --- what the caller is told ------------------------------------------------ */

struct told {
	struct rig *rig;
	int cancel_fd;			/* poked after @cancel_after checkpoints */
	unsigned int cancel_after, checkpoints;
	uint64_t read_bytes, durable[RIG_MAX_DISKS];
	unsigned int reads_done;
};

static void on_read(void *arg, unsigned int disk, uint64_t offset, uint64_t length)
{
	struct told *told = arg;

	CHECK_EQ(told->reads_done, 0);
	told->read_bytes += length;
}

static void on_reads_done(void *arg)
{
	((struct told *)arg)->reads_done++;
}

/* What the replica says is durable must be in its file. */
static bool range_arrived(const struct rig *rig, unsigned int disk, uint64_t from, uint64_t to)
{
	uint8_t *there = malloc(to - from);
	char path[192];
	bool same;
	int fd;

	snprintf(path, sizeof(path), "%s/%s/disk%u/base.raw", rig->root, RIG_VM, disk);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	same = fd >= 0 && pread(fd, there, to - from, from) == (ssize_t)(to - from) &&
	       !memcmp(there, rig->disks[disk].model + from, to - from);
	close(fd);
	free(there);
	return same;
}

static void on_checkpoint(void *arg, unsigned int disk, uint64_t offset)
{
	struct told *told = arg;
	const uint64_t one = 1;

	CHECK(offset > told->durable[disk]);
	CHECK(range_arrived(told->rig, disk, told->durable[disk], offset));
	told->durable[disk] = offset;
	if (++told->checkpoints == told->cancel_after)
		CHECK_EQ(write(told->cancel_fd, &one, sizeof(one)), sizeof(one));
}

static void tell(struct ship_spec *spec, struct told *told)
{
	spec->read_done = on_read;
	spec->reads_done = on_reads_done;
	spec->checkpointed = on_checkpoint;
	spec->arg = told;
}

/* An initial pass is cut off after a few checkpoints and goes on from there, with a gap before. */
TEST(checkpoint_and_resume)
{
	struct told told = { .cancel_fd = eventfd(0, EFD_CLOEXEC), .cancel_after = 9 };
	struct told again = { .cancel_fd = -1 };
	/* One write at a time: what comes before a CHECKPOINT is still waiting when it is read. */
	struct rig_receiver rx = { .options = { .depth = 1 } };
	struct ship_disk disks[RIG_MAX_DISKS];
	struct ship_progress progress;
	struct ship_spec spec;
	struct err e = { 0 };
	uint64_t left = 0;
	struct rig rig;
	int socks[2];

	told.rig = again.rig = &rig;
	rig_init(&rig);
	rig_add_disk(&rig, 1 << 20, 4096, 5);
	/* more than the sockets and both pools hold */
	rig_add_disk(&rig, 96 << 20, 64 << 10, 6);
	rig_create_store(&rig);
	spec = rig_spec(&rig, disks, &progress);
	rig_all_extents(&rig, disks);
	spec.initial = true;
	spec.options = (struct ship_options){ .checkpoint_bytes = 1 << 20,
					      .depth = 1,
					      .buffer_bytes = 64 << 10 };
	spec.cancel_fd = told.cancel_fd;
	tell(&spec, &told);
	rig_connect(socks);
	rig_start_receiver(&rx, &rig, socks[1]);
	spec.sock = socks[0];
	CHECK_EQ(rig_ship(&rig, &spec, &e), -ECANCELED);
	close(socks[0]);
	pthread_join(rx.thread, NULL);
	/* The replica notices while it reads, or while it answers a CHECKPOINT. */
	CHECK(rx.result == -ECONNRESET || rx.result == -EPIPE);
	CHECK(told.checkpoints >= 9);
	CHECK_EQ(store_initial(rig.store), STORE_INITIAL_RECEIVING);
	rig_free_extents(&rig, disks);
	spec = rig_spec(&rig, disks, &progress);
	for (unsigned int i = 0; i < rig.disk_count; i++) {
		uint64_t size = rig.disks[i].size_bytes, durable = told.durable[i];

		CHECK(store_initial_durable(rig.store, i) >= durable);
		if (durable < size)
			extent_list_append(&disks[i].extents, durable, size - durable);
		again.durable[i] = durable;
		left += size - durable;
	}
	spec.initial = true;
	tell(&spec, &again);
	run_pass(&rig, &spec, &rx);
	check_base(&rig);
	CHECK_EQ(again.read_bytes, left);
	CHECK_EQ(again.reads_done, 1);
	CHECK_EQ(store_initial(rig.store), STORE_INITIAL_COMPLETE);
	rig_free_extents(&rig, disks);
	close(told.cancel_fd);
	rig_exit(&rig);
}

/* The primary gives a pass up in good order; nothing of it stays. */
TEST(abort_frame)
{
	struct wire_header header = { .type = WIRE_PASS_ABORT };
	struct rig_receiver rx = { 0 };
	struct err e = { 0 };
	struct rig rig;
	int socks[2];

	rig_init(&rig);
	rig_add_disk(&rig, 1 << 20, 4096, 7);
	rig_create_store(&rig);
	rig_connect(socks);
	rig_start_receiver(&rx, &rig, socks[1]);
	CHECK_EQ(rig_begin(&rig, socks[0], WIRE_PASS_INITIAL, &e), 0);
	header.sequence = rig.pass;
	CHECK_EQ(session_send(socks[0], &header, NULL, &e), 0);
	CHECK_EQ(session_receive(socks[0], &header, NULL, 0, -1, 60, &e), 0);
	CHECK_EQ(header.type, WIRE_PASS_ABORTED);
	pthread_join(rx.thread, NULL);
	CHECK_EQ(rx.result, -ECANCELED);
	CHECK_EQ(store_last_pass(rig.store), 0);
	close(socks[0]);
	rig_exit(&rig);
}

UNIT_MAIN(T(initial_off), T(initial_lz4), T(initial_auto), T(initial_narrow), T(initial_wide),
	  T(delta), T(delta_narrow), T(zeros_become_one_frame), T(checkpoint_and_resume),
	  T(abort_frame))
