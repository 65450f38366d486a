// SPDX-License-Identifier: GPL-2.0-or-later
/* A limit of the rate: bytes are counted at the receiver's end. */
#include "userspace/primary/peer.h"
#include "ship-rig.h"

#define RATE		(2ull << 20)	/* bytes a second */
#define SENT_BYTES	(6ull << 20)
/* What TCP sends at once before it paces, and what it rounds up to. */
#define BURST_BYTES	(256u << 10)

/* However slow the machine: more bytes than the time that went by allows are too many. */
TEST(rate)
{
	struct ship_disk disks[RIG_MAX_DISKS];
	struct rig_receiver rx = { 0 };
	struct ship_progress progress;
	struct ship_spec spec;
	struct err e = { 0 };
	uint64_t seed = 5;
	struct peer peer;
	struct rig rig;
	double began, seconds;
	int socks[2];

	rig_init(&rig);
	rig_add_disk(&rig, SENT_BYTES, 64 << 10, 1);
	rig_fill(rig.disks[0].model, SENT_BYTES, 2, &seed);
	fcntl(rig.disks[0].fd, F_SETFL, fcntl(rig.disks[0].fd, F_GETFL) & ~O_DIRECT);
	rig_write(&rig.disks[0], 0, SENT_BYTES);
	rig_create_store(&rig);
	rig_connect(socks);
	peer_init(&peer);
	peer.sock = socks[0];
	peer_set_rate(&peer, RATE);
	rig_start_receiver(&rx, &rig, socks[1]);
	spec = rig_spec(&rig, disks, &progress);
	rig_all_extents(&rig, disks);
	spec.initial = true;
	spec.sock = socks[0];
	began = rig_now();
	CHECK_EQ(rig_ship(&rig, &spec, &e), 0);
	seconds = rig_now() - began;
	pthread_join(rx.thread, NULL);
	CHECK_EQ(rx.result, 0);
	CHECK(rx.progress.wire_bytes >= SENT_BYTES);
	if (rx.progress.wire_bytes > 1.03 * RATE * seconds + BURST_BYTES)
		printf("# %.0f bytes a second\n", rx.progress.wire_bytes / seconds);
	CHECK(rx.progress.wire_bytes <= 1.03 * RATE * seconds + BURST_BYTES);
	rig_free_extents(&rig, disks);
	peer_close(&peer);
	rig_exit(&rig);
}

UNIT_MAIN(T(rate))
