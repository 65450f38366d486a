// SPDX-License-Identifier: GPL-2.0-or-later
/* The replica role as primaries see it: opening, passes, taking over, releasing, deleting. */
#include <arpa/inet.h>
#include <dirent.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "ship-rig.h"
#include "userspace/replica/failover.h"
#include "userspace/replica/replica.h"

#define DISK_BYTES (1u << 20)

static struct replica *replica;
static uint16_t port;
static char root[64];

/* A port that nobody listens on just now. */
static uint16_t free_port(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(address);
	int sock = socket(AF_INET, SOCK_STREAM, 0);

	if (bind(sock, (struct sockaddr *)&address, size) ||
	    getsockname(sock, (struct sockaddr *)&address, &size))
		rig_fail("bind");
	close(sock);
	return ntohs(address.sin_port);
}

static void start(void)
{
	struct replica_options options = { .root = root };
	struct err e = { 0 };

	strcpy(root, "/tmp/vmreplica-test-XXXXXX");
	if (!mkdtemp(root))
		rig_fail("mkdtemp");
	options.port = port = free_port();
	if (replica_start(&options, &replica, &e)) {
		printf("Bail out! %s\n", e.text);
		exit(1);
	}
}

static void stop(void)
{
	replica_stop(replica);
	rig_remove(root);
}

static struct session_open offer(uint8_t relationship)
{
	struct session_open open = { .vm = "vm1", .relationship = { relationship }, .disk_count = 1 };

	strcpy(open.disks[0].name, "vda");
	strcpy(open.disks[0].source, "/dev/vda");
	open.disks[0].size_bytes = DISK_BYTES;
	open.disks[0].chunk_bytes = 4096;
	return open;
}

/* Returns the socket of an open session, or what went wrong. */
static int connect_as(const struct session_open *open, struct session_opened *opened, struct err *e)
{
	int sock = session_connect("localhost", port, -1, e), r;

	if (sock < 0)
		return sock;
	r = session_open(sock, open, opened, -1, e);
	if (!r)
		return sock;
	close(sock);
	return r;
}

/* A pass that is one range of zeros. */
static int zero_pass(int sock, uint64_t pass, enum wire_pass_kind kind, struct err *e)
{
	const struct wire_pass_begin begin = { .pass = pass, .kind = kind, .bytes = DISK_BYTES };
	const struct wire_pass_end end = {
		.pass = pass,
		.cut_time_us = 1000000 * pass,
		.frames = 1,
		.raw_bytes = DISK_BYTES,
		.whole = 1,
		.consistency = 1,
	};
	struct wire_header h = { .type = WIRE_PASS_BEGIN,
				 .payload_bytes = sizeof(begin),
				 .sequence = pass };
	int r = session_send(sock, &h, &begin, e);

	h = (struct wire_header){ .type = WIRE_ZERO, .raw_bytes = DISK_BYTES };
	r = r ? r : session_send(sock, &h, NULL, e);
	h = (struct wire_header){ .type = WIRE_PASS_END,
				  .payload_bytes = sizeof(end),
				  .sequence = pass };
	r = r ? r : session_send(sock, &h, &end, e);
	r = r ? r : session_receive(sock, &h, NULL, 0, -1, 10, e);
	if (!r)
		CHECK_EQ(h.type, WIRE_PASS_DURABLE);
	return r;
}

static struct replica_status only_status(void)
{
	struct replica_status *list = NULL, one = { .points = 99 };
	unsigned int count = 0;

	CHECK_EQ(replica_list(replica, &list, &count, NULL), 0);
	CHECK_EQ(count, 1);
	if (count == 1)
		one = list[0];
	free(list);
	return one;
}

/* The replica notices a closed connection when it gets round to it. */
static bool becomes_unconnected(void)
{
	for (unsigned int i = 0; i < 2400; i++) {
		if (!only_status().connected)
			return true;
		usleep(50000);
	}
	return false;
}

TEST(open_pass_status)
{
	struct session_open open = offer(1);
	struct session_opened opened;
	struct replica_status status;
	struct err e = { 0 };
	int sock;

	start();
	sock = connect_as(&open, &opened, &e);
	CHECK(sock >= 0);
	CHECK_EQ(opened.state, WIRE_STATE_NEW);
	CHECK_EQ(opened.last_pass, 0);
	CHECK_EQ(zero_pass(sock, 5, WIRE_PASS_INITIAL, &e), 0);
	CHECK_EQ(zero_pass(sock, 6, WIRE_PASS_DELTA, &e), 0);
	for (unsigned int i = 0; i < 6000 && only_status().receiving_pass; i++)
		usleep(20000);	/* it tells the primary before it is done itself */
	status = only_status();
	CHECK(status.connected);
	CHECK_STR(status.vm, "vm1");
	CHECK_STR(status.relationship, "01000000-0000-0000-0000-000000000000");
	CHECK_EQ(status.last_pass, 6);
	CHECK_EQ(status.points, 1);
	CHECK_EQ(status.last_point_time_us, 6000000);
	CHECK_EQ(status.receiving_pass, 0);
	CHECK_EQ(replica_delete(replica, "vm1", &e), -EBUSY);
	close(sock);
	CHECK(becomes_unconnected());
	sock = connect_as(&open, &opened, &e);
	CHECK(sock >= 0);
	CHECK_EQ(opened.state, WIRE_STATE_COMPLETE);
	CHECK_EQ(opened.last_pass, 6);
	CHECK_EQ(opened.initial_durable[0], DISK_BYTES);
	/* A pass that does not follow is refused, and the replica says why. */
	CHECK_EQ(zero_pass(sock, 6, WIRE_PASS_DELTA, &e), -EINVAL);
	CHECK(strstr(e.text, "6"));
	close(sock);
	CHECK(becomes_unconnected());
	CHECK_EQ(replica_delete(replica, "vm1", &e), 0);
	CHECK_EQ(replica_delete(replica, "vm1", &e), -ENOENT);
	stop();
}

/* Failed over: refused with a sentence, at once; reverted: on from where it was; then for good. */
TEST(failed_over)
{
	struct session_open open = offer(1);
	struct session_opened opened;
	struct store_writables list;
	struct err e = { 0 };
	uint64_t generation;
	int sock;

	start();
	sock = connect_as(&open, &opened, &e);
	CHECK_EQ(opened.generation, 0);
	CHECK_EQ(zero_pass(sock, 5, WIRE_PASS_INITIAL, &e), 0);
	CHECK_EQ(zero_pass(sock, 6, WIRE_PASS_DELTA, &e), 0);
	CHECK_EQ(replica_test_begin(replica, "vm1", "try", 0, &e), 0);
	CHECK_EQ(zero_pass(sock, 7, WIRE_PASS_DELTA, &e), 0);
	CHECK_EQ(replica_test_end(replica, "vm1", "try", &e), 0);
	CHECK_EQ(replica_failover(replica, "vm1", 6, &e), 0);
	CHECK(zero_pass(sock, 8, WIRE_PASS_DELTA, &e) < 0);
	close(sock);
	CHECK_EQ(only_status().failover.state, STORE_FAILOVER_RECOVERED);
	CHECK_EQ(replica_writables(replica, "vm1", &list, &e), 0);
	CHECK_EQ(list.count, 1);
	store_writables_free(&list);
	CHECK_EQ(connect_as(&open, &opened, &e), -EROFS);
	CHECK(strstr(e.text, "vmreplica revert vm1"));
	CHECK_EQ(replica_revert(replica, "vm1", &e), 0);
	sock = connect_as(&open, &opened, &e);
	CHECK(sock >= 0);
	CHECK_EQ(opened.last_pass, 7);
	generation = opened.generation;
	CHECK(generation > 0);
	CHECK_EQ(zero_pass(sock, 8, WIRE_PASS_DELTA, &e), 0);
	close(sock);
	sock = connect_as(&open, &opened, &e);
	CHECK_EQ(opened.generation, generation + 1);
	close(sock);
	CHECK_EQ(replica_commit(replica, "vm1", &e), -EINVAL);
	CHECK_EQ(replica_failover(replica, "vm1", 0, &e), 0);
	CHECK_EQ(replica_commit(replica, "vm1", &e), 0);
	CHECK_EQ(connect_as(&open, &opened, &e), -EROFS);
	CHECK(strstr(e.text, "for good"));
	CHECK_EQ(replica_delete(replica, "vm1", &e), -EBUSY);
	stop();
}

TEST(disks_that_differ)
{
	struct session_open open = offer(1), other;
	struct session_opened opened;
	struct err e = { 0 };
	int sock;

	start();
	sock = connect_as(&open, &opened, &e);
	CHECK(sock >= 0);
	close(sock);
	other = open, other.disks[0].size_bytes *= 2;
	CHECK_EQ(connect_as(&other, &opened, &e), -EINVAL);
	CHECK(strstr(e.text, "2097152"));
	other = open, other.disks[0].chunk_bytes *= 2;
	CHECK_EQ(connect_as(&other, &opened, &e), -EINVAL);
	other = open, strcpy(other.disks[0].name, "vdb");
	CHECK_EQ(connect_as(&other, &opened, &e), -EINVAL);
	other = open, other.disks[1] = open.disks[0], strcpy(other.disks[1].name, "vdb"), other.disk_count = 2;
	CHECK_EQ(connect_as(&other, &opened, &e), -EINVAL);
	other = open, strcpy(other.vm, "../vm1");
	CHECK_EQ(connect_as(&other, &opened, &e), -EINVAL);
	sock = connect_as(&open, &opened, &e);
	CHECK(sock >= 0);
	close(sock);
	stop();
}

TEST(takes_over_from_a_hung_connection)
{
	const struct wire_pass_begin begin = { .pass = 1, .kind = WIRE_PASS_INITIAL };
	const struct wire_header h = { .type = WIRE_PASS_BEGIN,
				       .payload_bytes = sizeof(begin),
				       .sequence = 1 };
	struct session_open open = offer(1);
	struct session_opened opened;
	struct err e = { 0 };
	int hung, sock;
	double began;

	start();
	hung = connect_as(&open, &opened, &e);
	CHECK(hung >= 0);
	CHECK_EQ(session_send(hung, &h, &begin, &e), 0);
	for (unsigned int i = 0; i < 6000 && !only_status().receiving_pass; i++)
		usleep(20000);
	CHECK_EQ(only_status().receiving_pass, 1);
	began = rig_now();
	sock = connect_as(&open, &opened, &e);
	CHECK(sock >= 0);
	CHECK(rig_now() - began < 25);
	CHECK_EQ(zero_pass(sock, 1, WIRE_PASS_INITIAL, &e), 0);
	CHECK(session_receive(hung, &(struct wire_header){ 0 }, NULL, 0, -1, 60, &e) < 0);
	close(hung);
	close(sock);
	stop();
}

TEST(another_relationship)
{
	const struct wire_header release = { .type = WIRE_RELEASE };
	struct session_open mine = offer(1), other = offer(2);
	struct session_opened opened;
	struct store_points points;
	struct wire_header h;
	struct err e = { 0 };
	int sock, sock2;

	start();
	sock = connect_as(&mine, &opened, &e);
	CHECK(sock >= 0);
	CHECK_EQ(zero_pass(sock, 1, WIRE_PASS_INITIAL, &e), 0);
	CHECK_EQ(zero_pass(sock, 2, WIRE_PASS_DELTA, &e), 0);
	CHECK_EQ(connect_as(&other, &opened, &e), -EEXIST);	/* connected */
	close(sock);
	CHECK(becomes_unconnected());
	CHECK_EQ(connect_as(&other, &opened, &e), -EEXIST);	/* and not */
	CHECK(strstr(e.text, "--delete-points"));
	sock = connect_as(&mine, &opened, &e);
	/* again is no harm: the answer may have been lost */
	for (unsigned int i = 0; i < 2; i++) {
		CHECK_EQ(session_send(sock, &release, NULL, &e), 0);
		CHECK_EQ(session_receive(sock, &h, NULL, 0, -1, 60, &e), 0);
		CHECK_EQ(h.type, WIRE_RELEASED);
	}
	CHECK(only_status().released);
	CHECK_EQ(zero_pass(sock, 3, WIRE_PASS_DELTA, &e), -EPERM);
	close(sock);
	sock = connect_as(&mine, &opened, &e);
	CHECK_EQ(session_send(sock, &release, NULL, &e), 0);
	CHECK_EQ(session_receive(sock, &h, NULL, 0, -1, 60, &e), 0);
	/* Its primary has yet to hang up. */
	sock2 = connect_as(&other, &opened, &e);
	CHECK(sock2 >= 0);
	CHECK_EQ(opened.state, WIRE_STATE_NEW);
	CHECK_EQ(store_points(root, "vm1.released-01000000", &points, &e), 0);
	CHECK_EQ(points.count, 1);
	store_points_free(&points);
	close(sock);
	close(sock2);
	stop();
}

/* Stopping does not wait for primaries that do nothing, whatever they were about to do. */
TEST(stops_at_once)
{
	struct session_open open = offer(1);
	struct session_opened opened;
	struct err e = { 0 };
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int silent = socket(AF_INET, SOCK_STREAM, 0), idle;
	double began;

	start();
	address.sin_port = htons(port);
	CHECK_EQ(connect(silent, (struct sockaddr *)&address, sizeof(address)), 0);
	idle = connect_as(&open, &opened, &e);
	CHECK(idle >= 0);
	began = rig_now();
	stop();
	CHECK(rig_now() - began < 20);
	close(idle);
	close(silent);
}

TEST(nobody_listens)
{
	struct err e = { 0 };

	CHECK_EQ(session_connect("127.0.0.1", free_port(), -1, &e), -ECONNREFUSED);
	CHECK(strstr(e.text, "127.0.0.1"));
	CHECK_EQ(session_connect("no-such-host.invalid", 1, -1, &e), -EHOSTUNREACH);
}

TEST(address_in_use)
{
	struct replica_options options = { .root = root, .address = "127.0.0.1" };
	struct replica *second;
	struct err e = { 0 };

	start();
	options.port = port;
	CHECK_EQ(replica_start(&options, &second, &e), -EADDRINUSE);
	CHECK(e.text[0]);
	stop();
}

static int keep(int sock, uint32_t points, uint32_t spacing_s, struct err *e)
{
	const struct wire_keep what = { points, spacing_s };
	const struct wire_header h = { .type = WIRE_KEEP, .payload_bytes = sizeof(what) };

	return session_send(sock, &h, &what, e);
}

static bool becomes_points(unsigned int points)
{
	for (unsigned int i = 0; i < 2400; i++) {
		if (only_status().points == points)
			return true;
		usleep(50000);
	}
	return false;
}

TEST(the_primary_says_what_is_kept)
{
	struct session_open open = offer(1);
	struct session_opened opened;
	struct wire_header h;
	struct err e = { 0 };
	int sock;

	start();
	sock = connect_as(&open, &opened, &e);
	CHECK_EQ(zero_pass(sock, 1, WIRE_PASS_INITIAL, &e), 0);
	for (uint64_t pass = 2; pass <= 5; pass++)
		CHECK_EQ(zero_pass(sock, pass, WIRE_PASS_DELTA, &e), 0);
	CHECK_EQ(only_status().points, 4);
	CHECK_EQ(keep(sock, 1, 0, &e), 0);
	CHECK_EQ(zero_pass(sock, 6, WIRE_PASS_DELTA, &e), 0);
	CHECK(becomes_points(2));
	CHECK_EQ(keep(sock, WIRE_MAX_KEEP_POINTS + 1, 0, &e), 0);
	CHECK_EQ(session_receive(sock, &h, NULL, 0, -1, 60, &e), -EPROTO);
	close(sock);
	CHECK_EQ(only_status().points, 2);
	stop();
}

/* Leaves @left bytes of the file system. */
static void fill_up(off_t left)
{
	static const char zeros[65536];
	char path[96];
	int fd;

	snprintf(path, sizeof(path), "%s/.ballast", root);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	while (write(fd, zeros, sizeof(zeros)) > 0)
		;
	CHECK(!ftruncate(fd, lseek(fd, 0, SEEK_CUR) - left));
	close(fd);
}

static void check_full(void)
{
	static const char full[] = "the replica host's disk is full: make room in";
	struct session_open open = offer(1);
	struct session_opened opened;
	struct err e = { 0 };
	char path[96];
	int sock = connect_as(&open, &opened, &e);

	CHECK_EQ(zero_pass(sock, 1, WIRE_PASS_INITIAL, &e), 0);
	CHECK_EQ(zero_pass(sock, 2, WIRE_PASS_DELTA, &e), 0);
	CHECK_STR(only_status().trouble, "");
	fill_up(1 << 20);
	for (unsigned int i = 0; i < 2; i++) { /* it stays so as long as it is so */
		CHECK_EQ(zero_pass(sock, 3, WIRE_PASS_DELTA, &e), -ENOSPC);
		CHECK(strstr(e.text, full) != NULL);
		CHECK_STR(only_status().trouble, e.text);
		CHECK_EQ(only_status().points, 1);
		close(sock);
		CHECK(becomes_unconnected());
		sock = connect_as(&open, &opened, &e);
		CHECK_EQ(opened.last_pass, 2);
	}
	snprintf(path, sizeof(path), "%s/.ballast", root);
	CHECK(!unlink(path));
	CHECK_EQ(zero_pass(sock, 3, WIRE_PASS_DELTA, &e), 0);
	CHECK_STR(only_status().trouble, "");
	CHECK_EQ(only_status().points, 2);
	CHECK(only_status().used_bytes > 0);
	close(sock);
}

TEST(a_full_disk_is_said_on_both_sides)
{
	int status;

	fflush(stdout);
	if (!fork()) {
		unit_failures = 0;
		/* Before there are threads, which would not come along. */
		if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL)) {
			printf("# needs root to mount a small file system: left out\n");
			exit(0);
		}
		start();
		CHECK(!mount("none", root, "tmpfs", 0, "size=64m"));
		check_full();
		replica_stop(replica);
		CHECK(!umount(root));
		rmdir(root);
		exit(!!unit_failures);
	}
	CHECK(wait(&status) > 0);
	CHECK_EQ(status, 0);
}

UNIT_MAIN(T(open_pass_status), T(disks_that_differ), T(takes_over_from_a_hung_connection),
	  T(another_relationship), T(stops_at_once), T(nobody_listens), T(address_in_use),
	  T(failed_over),
	  T(the_primary_says_what_is_kept), T(a_full_disk_is_said_on_both_sides))
