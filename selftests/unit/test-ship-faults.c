// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A pass that goes wrong: each side says what happened, at once, and nothing of the pass is
 * shown.
 */
#include <poll.h>
#include <sys/mount.h>

#include "ship-rig.h"
#include "userspace/wire/codec.h"

#define DISK_BYTES (24u << 20)

/* One disk of noise, and a store for it. */
static void noise_rig(struct rig *rig, const char *root)
{
	rig_init(rig);
	if (root)
		snprintf(rig->root, sizeof(rig->root), "%s", root);
	rig_add_disk(rig, DISK_BYTES, 4096, 11);
	for (uint64_t seed = 5, at = 0; at < DISK_BYTES; at += 1 << 20)
		rig_fill(rig->disks[0].model + at, 1 << 20, 2, &seed);
	fcntl(rig->disks[0].fd, F_SETFL, fcntl(rig->disks[0].fd, F_GETFL) & ~O_DIRECT);
	rig_write(&rig->disks[0], 0, DISK_BYTES);
	rig_create_store(rig);
}

/* An initial pass without any data: the replica's disk is all zeros then. */
static void empty_initial(struct rig *rig)
{
	struct ship_disk disks[RIG_MAX_DISKS];
	struct rig_receiver rx = { 0 };
	struct ship_progress progress;
	struct ship_spec spec = rig_spec(rig, disks, &progress);
	struct err e = { 0 };
	int socks[2];

	rig_connect(socks);
	rig_start_receiver(&rx, rig, socks[1]);
	spec.sock = socks[0];
	spec.initial = true;
	CHECK_EQ(rig_ship(rig, &spec, &e), 0);
	close(socks[0]);
	pthread_join(rx.thread, NULL);
	CHECK_EQ(store_last_pass(rig->store), 1);
}

/* Ships all of the rig's disks as a delta over @sock; ended by @cancel_fd, -1: none. */
static int ship_all(struct rig *rig, int sock, int cancel_fd, struct err *e)
{
	struct ship_disk disks[RIG_MAX_DISKS];
	struct ship_progress progress;
	struct ship_spec spec = rig_spec(rig, disks, &progress);
	int r;

	rig_all_extents(rig, disks);
	spec.sock = sock;
	spec.cancel_fd = cancel_fd;
	r = rig_ship(rig, &spec, e);
	rig_free_extents(rig, disks);
	return r;
}

static void check_nothing_shown(struct rig *rig)
{
	struct store_points points;

	CHECK_EQ(store_last_pass(rig->store), 1);
	CHECK_EQ(store_points(rig->root, RIG_VM, &points, NULL), 0);
	CHECK_EQ(points.count, 0);
	store_points_free(&points);
}

/* --- what stands between the two ends --------------------------------------- */

struct middle {
	int primary, replica;		/* sockets towards each */
	/* byte of the primary's stream whose bits are turned; -1: none */
	int64_t damage_at;
	uint8_t damage;
	int64_t cut_at;			/* the connection ends after so many bytes; -1: not */
	pthread_t thread;
};

static bool pass_on(struct middle *m, int from, int to, int64_t *at)
{
	uint8_t buffer[65536];
	ssize_t got = recv(from, buffer, sizeof(buffer), 0);

	if (got <= 0)
		return false;
	if (at && m->damage_at >= *at && m->damage_at < *at + got)
		buffer[m->damage_at - *at] ^= m->damage;
	if (at && m->cut_at >= 0 && *at + got > m->cut_at)
		return false;
	if (at)
		*at += got;
	return send(to, buffer, got, MSG_NOSIGNAL) == got;
}

static void *stand_between(void *arg)
{
	struct middle *m = arg;
	struct pollfd fds[2] = { { .fd = m->primary, .events = POLLIN },
				 { .fd = m->replica, .events = POLLIN } };
	int64_t at = 0;
	bool on = true;

	while (on && poll(fds, 2, -1) > 0) {
		if (fds[1].revents)
			on = pass_on(m, m->replica, m->primary, NULL);
		else if (fds[0].revents)
			on = pass_on(m, m->primary, m->replica, &at);
	}
	close(m->primary);
	close(m->replica);
	return NULL;
}

/* One delta through @m. */
static void through(struct middle *m, int *shipped, struct err *shipped_e, struct rig_receiver *rx)
{
	int front[2], back[2];
	struct rig rig;

	noise_rig(&rig, NULL);
	empty_initial(&rig);
	rig_connect(front);
	rig_connect(back);
	m->primary = front[1];
	m->replica = back[0];
	pthread_create(&m->thread, NULL, stand_between, m);
	rig_start_receiver(rx, &rig, back[1]);
	*shipped = ship_all(&rig, front[0], -1, shipped_e);
	close(front[0]);
	pthread_join(rx->thread, NULL);
	pthread_join(m->thread, NULL);
	if (rx->result)
		check_nothing_shown(&rig);
	else
		CHECK_EQ(store_last_pass(rig.store), 2);
	rig_exit(&rig);
}

TEST(undamaged)
{
	struct middle m = { .damage_at = -1, .cut_at = -1 };
	struct rig_receiver rx = { 0 };
	struct err e = { 0 };
	int r;

	through(&m, &r, &e, &rx);
	CHECK_EQ(r, 0);
	CHECK_EQ(rx.result, 0);
}

static void damaged_at(int64_t at)
{
	struct middle m = { .damage_at = at, .damage = 0x10, .cut_at = -1 };
	struct rig_receiver rx = { 0 };
	struct err e = { 0 };
	int r;

	through(&m, &r, &e, &rx);
	CHECK_EQ(rx.result, -EBADMSG);
	CHECK_EQ(r, -EBADMSG);			/* in the replica's own words */
	CHECK_STR(e.text, rx.error.text);
}

/* Behind PASS_BEGIN come a header and 256 KiB of payload, again and again. */
TEST(damaged_payload) { damaged_at(64 + 24 + 20 * (64 + 262144) + 1000); }
TEST(damaged_header) { damaged_at(64 + 24 + 20 * (64 + 262144) + 30); }
TEST(damaged_last_payload) { damaged_at(64 + 24 + 95ll * (64 + 262144) + 64 + 262143); }

TEST(cut)
{
	struct middle m = { .damage_at = -1, .cut_at = 9 << 20 };
	struct rig_receiver rx = { 0 };
	struct err e = { 0 };
	int r;

	through(&m, &r, &e, &rx);
	CHECK(rx.result == -ECONNRESET);
	CHECK(r == -ECONNRESET || r == -EPIPE);
	CHECK(e.text[0]);
}

/* --- a replica that stops taking -------------------------------------------- */

struct poker {
	int fd;
	unsigned int after_ms;
};

static void *poke_later(void *arg)
{
	struct poker *p = arg;
	const uint64_t one = 1;

	poll(NULL, 0, p->after_ms);
	CHECK_EQ(write(p->fd, &one, sizeof(one)), sizeof(one));
	return NULL;
}

TEST(cancel_while_stalled)
{
	struct poker poker = { .fd = eventfd(0, EFD_CLOEXEC), .after_ms = 300 };
	struct err e = { 0 };
	pthread_t thread;
	struct rig rig;
	double start;
	int socks[2];

	noise_rig(&rig, NULL);
	rig_connect(socks);		/* nobody reads at the other end */
	pthread_create(&thread, NULL, poke_later, &poker);
	start = rig_now();
	CHECK_EQ(ship_all(&rig, socks[0], poker.fd, &e), -ECANCELED);
	CHECK(rig_now() - start < 25);
	pthread_join(thread, NULL);
	close(socks[0]);
	close(socks[1]);
	close(poker.fd);
	rig_exit(&rig);
}

TEST(stop_while_idle)
{
	struct poker poker = { .fd = eventfd(0, EFD_CLOEXEC), .after_ms = 300 };
	struct rig_receiver rx = { 0 };
	struct err e = { 0 };
	pthread_t thread;
	struct rig rig;
	double start;
	int socks[2];

	noise_rig(&rig, NULL);
	rig_connect(socks);
	rig_start_receiver(&rx, &rig, socks[1]);
	rx.stop_fd = poker.fd;
	CHECK_EQ(rig_begin(&rig, socks[0], WIRE_PASS_INITIAL, &e), 0);
	pthread_create(&thread, NULL, poke_later, &poker);
	start = rig_now();
	CHECK(session_receive(socks[0], &(struct wire_header){ 0 }, NULL, 0, -1, 60, &e) ==
	      -ESHUTDOWN);
	CHECK(rig_now() - start < 25);
	close(socks[0]);
	pthread_join(rx.thread, NULL);
	pthread_join(thread, NULL);
	CHECK_EQ(rx.result, -ESHUTDOWN);
	close(poker.fd);
	rig_exit(&rig);
}

/* --- errors of disks -------------------------------------------------------- */

TEST(replica_full)
{
	char root[] = "/tmp/vmreplica-full-XXXXXX";
	struct rig_receiver rx = { 0 };
	struct err e = { 0 };
	struct rig rig;
	int socks[2];

	if (!mkdtemp(root))
		rig_fail("mkdtemp");
	if (mount("none", root, "tmpfs", 0, "size=8m")) {
		printf("# skipped: %s: %s\n", "mounting a tmpfs", strerror(errno));
		rmdir(root);
		return;
	}
	noise_rig(&rig, root);
	empty_initial(&rig);
	rig_connect(socks);
	rig_start_receiver(&rx, &rig, socks[1]);
	CHECK_EQ(ship_all(&rig, socks[0], -1, &e), -ENOSPC);
	close(socks[0]);
	pthread_join(rx.thread, NULL);
	CHECK_EQ(rx.result, -ENOSPC);
	CHECK(strstr(e.text, root));
	CHECK_STR(e.text, rx.error.text);
	check_nothing_shown(&rig);
	rig_exit(&rig);
	CHECK_EQ(umount(root), 0);
	rmdir(root);
}

TEST(source_became_smaller)
{
	struct rig_receiver rx = { 0 };
	struct err e = { 0 };
	struct rig rig;
	int socks[2];

	noise_rig(&rig, NULL);
	empty_initial(&rig);
	CHECK_EQ(ftruncate(rig.disks[0].fd, DISK_BYTES / 2 + 777), 0);
	rig_connect(socks);
	rig_start_receiver(&rx, &rig, socks[1]);
	CHECK_EQ(ship_all(&rig, socks[0], -1, &e), -EIO);
	CHECK(strstr(e.text, "smaller"));
	close(socks[0]);
	pthread_join(rx.thread, NULL);
	CHECK_EQ(rx.result, -ECONNRESET);
	check_nothing_shown(&rig);
	rig_exit(&rig);
}

/* --- frames that are well formed but not allowed ---------------------------- */

/* A pass of one hand-made frame and PASS_END with what @end says; the replica's answer. */
static int one_frame(enum wire_pass_kind kind, struct wire_header frame, const void *payload,
		     struct wire_pass_end end, struct err *e)
{
	struct wire_header header = { .type = WIRE_PASS_END, .payload_bytes = sizeof(end) };
	struct rig_receiver rx = { 0 };
	struct rig rig;
	int socks[2], r;

	noise_rig(&rig, NULL);
	if (kind == WIRE_PASS_DELTA)
		empty_initial(&rig);
	rig_connect(socks);
	rig_start_receiver(&rx, &rig, socks[1]);
	CHECK_EQ(rig_begin(&rig, socks[0], kind, e), 0);
	header.sequence = end.pass = rig.pass;
	CHECK_EQ(session_send(socks[0], &frame, payload, e), 0);
	session_send(socks[0], &header, &end, e);
	r = session_receive(socks[0], &header, NULL, 0, -1, 10, e);
	close(socks[0]);
	pthread_join(rx.thread, NULL);
	CHECK_EQ(rx.result, r);
	CHECK_EQ(store_last_pass(rig.store), (kind == WIRE_PASS_DELTA) + !r);
	rig_exit(&rig);
	return r;
}

static int one_range(struct wire_header frame, const void *payload)
{
	const struct wire_pass_end end = {
		.frames = 1, .raw_bytes = frame.raw_bytes, .whole = 1, .consistency = 1
	};
	struct err e = { 0 };

	return one_frame(WIRE_PASS_DELTA, frame, payload, end, &e);
}

TEST(frames_out_of_bounds)
{
	static uint8_t data[8192];
	const struct wire_header good = {
		.type = WIRE_DATA, .payload_bytes = 4096, .raw_bytes = 4096, .offset = 8192
	};
	const struct wire_header zero = { .type = WIRE_ZERO, .raw_bytes = DISK_BYTES };
	struct wire_header h;

	CHECK_EQ(one_range(good, data), 0);
	CHECK_EQ(one_range(zero, NULL), 0);
	h = good, h.disk = 1;
	CHECK_EQ(one_range(h, data), -EPROTO);
	h = good, h.offset = 512;
	CHECK_EQ(one_range(h, data), -EPROTO);
	h = good, h.offset = DISK_BYTES;
	CHECK_EQ(one_range(h, data), -EPROTO);
	h = good, h.offset = UINT64_MAX - 4095;
	CHECK_EQ(one_range(h, data), -EPROTO);
	h = good, h.payload_bytes = h.raw_bytes = 4608;
	CHECK_EQ(one_range(h, data), -EPROTO);
	h = good, h.sequence = 1;
	CHECK_EQ(one_range(h, data), -EPROTO);
	h = zero, h.raw_bytes += 4096;
	CHECK_EQ(one_range(h, NULL), -EPROTO);
	h = zero, h.raw_bytes = UINT64_MAX;
	CHECK_EQ(one_range(h, NULL), -EPROTO);
	/* A block of lz4 that is none, and one that unpacks to half of what it is said to. */
	h = good, h.flags = WIRE_F_LZ4, h.payload_bytes = 100;
	memset(data, 0xff, 100);
	CHECK_EQ(one_range(h, data), -EBADMSG);
	h.payload_bytes = codec_pack(data, 1000, data + 4096, 2048);
	CHECK_EQ(one_range(h, data), -EBADMSG);
}

TEST(counts_that_do_not_match)
{
	static const uint8_t data[4096];
	const struct wire_header good = { .type = WIRE_DATA,
					  .payload_bytes = 4096,
					  .raw_bytes = 4096 };
	const struct wire_pass_end right = {
		.frames = 1, .raw_bytes = 4096, .whole = 1, .consistency = 1
	};
	struct wire_pass_end end;
	struct err e = { 0 };

	end = right, end.frames = 2;
	CHECK_EQ(one_frame(WIRE_PASS_DELTA, good, data, end, &e), -EPROTO);
	end = right, end.raw_bytes = 8192;
	CHECK_EQ(one_frame(WIRE_PASS_DELTA, good, data, end, &e), -EPROTO);
	end = right, end.whole = 2;
	CHECK_EQ(one_frame(WIRE_PASS_DELTA, good, data, end, &e), -EPROTO);
	end = right, end.consistency = 3;
	CHECK_EQ(one_frame(WIRE_PASS_DELTA, good, data, end, &e), -EPROTO);
}

TEST(frames_in_the_wrong_place)
{
	const struct wire_pass_end end = { 0 };
	const struct wire_header checkpoint = { .type = WIRE_CHECKPOINT, .offset = 4096 };
	const struct wire_header far = { .type = WIRE_CHECKPOINT, .offset = DISK_BYTES + 4096 };
	const struct wire_header hello = { .type = WIRE_HELLO,
					   .payload_bytes = sizeof(struct wire_hello) };
	const struct wire_hello body = { .version_min = 1, .version_max = 1 };
	struct err e = { 0 };

	CHECK_EQ(one_frame(WIRE_PASS_DELTA, checkpoint, NULL, end, &e), -EPROTO);
	CHECK_EQ(one_frame(WIRE_PASS_INITIAL, far, NULL, end, &e), -EPROTO);
	CHECK_EQ(one_frame(WIRE_PASS_INITIAL, hello, &body, end, &e), -EPROTO);
}

UNIT_MAIN(T(undamaged), T(damaged_payload), T(damaged_header), T(damaged_last_payload), T(cut),
	  T(cancel_while_stalled), T(stop_while_idle), T(replica_full), T(source_became_smaller),
	  T(frames_out_of_bounds), T(counts_that_do_not_match), T(frames_in_the_wrong_place))
