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

TEST(initial_off) { run_initial((struct ship_options){ .compress = SHIP_COMPRESS_OFF }, (struct receive_options){ 0 }); }
TEST(initial_lz4) { run_initial((struct ship_options){ .compress = SHIP_COMPRESS_LZ4 }, (struct receive_options){ 0 }); }
TEST(initial_auto) { run_initial((struct ship_options){ .compress = SHIP_COMPRESS_AUTO }, (struct receive_options){ 0 }); }

TEST(initial_narrow)
{
	run_initial((struct ship_options){ .depth = 1, .threads = 1, .buffer_bytes = 64 << 10, .compress = SHIP_COMPRESS_LZ4,
					   .checkpoint_bytes = 1 << 20 },
		    (struct receive_options){ .depth = 1, .threads = 1 });
}

TEST(initial_wide)
{
	run_initial((struct ship_options){ .depth = 64, .threads = 8, .buffer_bytes = 1 << 20, .checkpoint_bytes = 4096 },
		    (struct receive_options){ .depth = 64, .threads = 8 });
}

UNIT_MAIN(T(initial_off), T(initial_lz4), T(initial_auto), T(initial_narrow), T(initial_wide))
