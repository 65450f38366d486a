// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The comparing pass: a primary and a replica that hash at the same time, over a real
 * connection and with a real store, against a model that knows which chunks differ.
 */
#include "ship-rig.h"
#include "userspace/primary/compare.h"
#include "userspace/replica/compare.h"
#include "userspace/wire/session.h"

#define MIB (1u << 20)

/* --- the replica's side --------------------------------------------------------- */

struct server {
	struct rig *rig;
	int sock;
	pthread_t thread;
	int result;
	unsigned int ranges;
	struct err error;
};

/* As a connection does between passes, until the primary hangs up. */
static void *serve(void *arg)
{
	struct server *s = arg;
	struct wire_compare compare;
	struct wire_header header;

	while (!(s->result = session_receive(s->sock, &header, &compare, sizeof(compare), -1, 60,
					     &s->error))) {
		if (header.type != WIRE_COMPARE)
			s->result = err_set(&s->error, -EPROTO, "not COMPARE");
		else
			s->result = compare_serve(s->sock, s->rig->store, &header, &compare, -1,
						  &s->error);
		if (s->result)
			break;
		s->ranges++;
	}
	if (s->result != -ENOTCONN)
		session_send_error(s->sock, &s->error);
	close(s->sock);
	return NULL;
}

static int start_server(struct server *s, struct rig *rig)
{
	int socks[2];

	rig_connect(socks);
	*s = (struct server){ .rig = rig, .sock = socks[1] };
	if (pthread_create(&s->thread, NULL, serve, s))
		rig_fail("pthread_create");
	return socks[0];
}

static void stop_server(struct server *s, int sock)
{
	close(sock);
	pthread_join(s->thread, NULL);
}

/* --- passes --------------------------------------------------------------------- */

/* Sends the extents of @disks, or with null all. */
static void send_pass(struct rig *rig, struct extent_list *lists)
{
	struct ship_progress progress;
	struct ship_disk disks[RIG_MAX_DISKS];
	struct ship_spec spec = rig_spec(rig, disks, &progress);
	struct rig_receiver rx = { 0 };
	struct err e = { 0 };
	int socks[2];

	spec.initial = store_initial(rig->store) != STORE_INITIAL_COMPLETE;
	for (unsigned int i = 0; lists && i < rig->disk_count; i++)
		disks[i].extents = lists[i];
	if (!lists)
		rig_all_extents(rig, disks);
	rig_connect(socks);
	spec.sock = socks[0];
	rig_start_receiver(&rx, rig, socks[1]);
	CHECK_EQ(rig_ship(rig, &spec, &e), 0);
	close(socks[0]);
	pthread_join(rx.thread, NULL);
	rig_free_extents(rig, disks);
}

/* Changes the disk, and the model with it; *list gets the chunks. */
static void change(struct rig_disk *disk, struct extent_list *list, uint64_t chunk, uint64_t seed)
{
	uint64_t at = chunk * disk->chunk_bytes, bytes = disk->chunk_bytes;

	if (bytes > disk->size_bytes - at)
		bytes = disk->size_bytes - at;
	disk->model[at + seed % bytes] ^= 1 + seed % 255;
	fcntl(disk->fd, F_SETFL, fcntl(disk->fd, F_GETFL) & ~O_DIRECT);
	rig_write(disk, at, bytes);
	fsync(disk->fd);
	fcntl(disk->fd, F_SETFL, fcntl(disk->fd, F_GETFL) | O_DIRECT);
	CHECK_EQ(extent_list_append(list, at, bytes), 0);
}

/* Every so many chunks one, and always the first and the last. */
static void change_some(struct rig_disk *disk, struct extent_list *list, unsigned int every,
			uint64_t *seed)
{
	uint64_t chunks = (disk->size_bytes + disk->chunk_bytes - 1) / disk->chunk_bytes, chunk;

	change(disk, list, 0, rig_random(seed));
	for (chunk = 1; chunk < chunks - 1; chunk += 1 + rig_random(seed) % (2 * every))
		change(disk, list, chunk, rig_random(seed));
	change(disk, list, chunks - 1, rig_random(seed));
}

static bool same_lists(const struct extent_list *a, const struct extent_list *b)
{
	return a->count == b->count && a->bytes == b->bytes &&
	       (!a->count || !memcmp(a->at, b->at, a->count * sizeof(*a->at)));
}

/* --- comparing ------------------------------------------------------------------- */

struct outcome {
	bool disk_by_disk;		/* how it is to be done */
	struct extent_list differ[RIG_MAX_DISKS];
	struct ship_progress progress;
	unsigned int slices;
};

static int compare_all(struct rig *rig, int sock, uint64_t slice_bytes, struct outcome *out,
		       struct err *e)
{
	struct ship_progress unused;
	struct ship_disk disks[RIG_MAX_DISKS];
	struct ship_spec all = rig_spec(rig, disks, &unused);
	struct compare_cursor at = { 0 };
	struct compare_spec spec = {
		.sock = sock,
		.disk_count = all.disk_count,
		.disks = disks,
		.cancel_fd = -1,
		.disk_by_disk = out->disk_by_disk,
		.slice_bytes = slice_bytes,
		.progress = &out->progress,
	};
	int r = 0;

	rig_all_extents(rig, disks);
	while (!r && !compare_ended(&spec, &at)) {
		r = compare_slice(&spec, &at, out->differ, e);
		out->slices++;
	}
	rig_free_extents(rig, disks);
	return r;
}

static void free_outcome(struct outcome *out)
{
	for (unsigned int i = 0; i < RIG_MAX_DISKS; i++)
		extent_list_free(&out->differ[i]);
}

/* A rig with these disks whose store has an initial pass and some passes on top. */
static void make(struct rig *rig, unsigned int passes, uint64_t *seed)
{
	rig_init(rig);
	rig_add_disk(rig, 70 * MIB + 512, 4096, 1);	/* two segments, an odd end */
	rig_add_disk(rig, 9 * MIB + 7 * 512, 65536, 2);
	rig_add_disk(rig, 66 * MIB, MIB, 3);
	rig_create_store(rig);
	send_pass(rig, NULL);
	while (passes--) {
		struct extent_list lists[RIG_MAX_DISKS] = { 0 };

		for (unsigned int i = 0; i < rig->disk_count; i++)
			change_some(&rig->disks[i], &lists[i], 40, seed);
		send_pass(rig, lists);
	}
}

/* What is the same is found to be; through base, overlays and zeros. */
TEST(equal)
{
	struct outcome out = { 0 };
	struct server server;
	struct err e = { 0 };
	uint64_t seed = 11;
	struct rig rig;
	int sock;

	make(&rig, 3, &seed);
	sock = start_server(&server, &rig);
	CHECK_EQ(compare_all(&rig, sock, 0, &out, &e), 0);
	for (unsigned int i = 0; i < rig.disk_count; i++)
		CHECK_EQ(out.differ[i].count, 0);
	CHECK_EQ(out.slices, 1);
	CHECK_EQ(out.progress.done_bytes, 145 * MIB + 8 * 512);
	/* 16 bytes for each 128 KiB, the secrets, a few headers. */
	CHECK(out.progress.wire_bytes < 16 * 1024);
	stop_server(&server, sock);
	CHECK_EQ(server.result, -ENOTCONN);
	CHECK_EQ(server.ranges, 3);
	free_outcome(&out);
	rig_exit(&rig);
}

/* Exactly the chunks that differ are found; sent, they make both sides equal. */
TEST(differ)
{
	struct extent_list want[RIG_MAX_DISKS] = { 0 };
	struct outcome out = { 0 };
	struct server server;
	struct err e = { 0 };
	uint64_t seed = 12;
	struct rig rig;
	int sock;

	make(&rig, 2, &seed);
	for (unsigned int i = 0; i < rig.disk_count; i++)
		change_some(&rig.disks[i], &want[i], 25, &seed);
	sock = start_server(&server, &rig);
	CHECK_EQ(compare_all(&rig, sock, 0, &out, &e), 0);
	for (unsigned int i = 0; i < rig.disk_count; i++)
		CHECK(same_lists(&out.differ[i], &want[i]));
	stop_server(&server, sock);
	send_pass(&rig, out.differ);	/* takes the lists */
	out = (struct outcome){ 0 };
	sock = start_server(&server, &rig);
	CHECK_EQ(compare_all(&rig, sock, 0, &out, &e), 0);
	for (unsigned int i = 0; i < rig.disk_count; i++)
		CHECK_EQ(out.differ[i].count, 0);
	stop_server(&server, sock);
	free_outcome(&out);
	for (unsigned int i = 0; i < rig.disk_count; i++)
		extent_list_free(&want[i]);
	rig_exit(&rig);
}

/* Slices together are the whole, wherever they are cut. */
TEST(slices)
{
	struct extent_list want[RIG_MAX_DISKS] = { 0 };
	struct outcome out = { 0 };
	struct server server;
	struct err e = { 0 };
	uint64_t seed = 13;
	struct rig rig;
	int sock;

	make(&rig, 1, &seed);
	for (unsigned int i = 0; i < rig.disk_count; i++)
		change_some(&rig.disks[i], &want[i], 100, &seed);
	sock = start_server(&server, &rig);
	CHECK_EQ(compare_all(&rig, sock, 13 * MIB, &out, &e), 0);
	for (unsigned int i = 0; i < rig.disk_count; i++)
		CHECK(same_lists(&out.differ[i], &want[i]));
	CHECK_EQ(out.slices, 12);
	CHECK_EQ(out.progress.done_bytes, 145 * MIB + 8 * 512);
	stop_server(&server, sock);
	free_outcome(&out);
	for (unsigned int i = 0; i < rig.disk_count; i++)
		extent_list_free(&want[i]);
	rig_exit(&rig);
}

/* A slice that ends with its disk, too: none is of two disks, and none is empty. */
TEST(disk_by_disk)
{
	struct outcome whole = { .disk_by_disk = true }, out = { .disk_by_disk = true };
	struct extent_list want[RIG_MAX_DISKS] = { 0 };
	struct server server;
	struct err e = { 0 };
	uint64_t seed = 16;
	struct rig rig;
	int sock;

	make(&rig, 1, &seed);
	for (unsigned int i = 0; i < rig.disk_count; i++)
		change_some(&rig.disks[i], &want[i], 100, &seed);
	sock = start_server(&server, &rig);
	CHECK_EQ(compare_all(&rig, sock, 0, &whole, &e), 0);
	CHECK_EQ(whole.slices, 3);
	CHECK_EQ(compare_all(&rig, sock, 13 * MIB, &out, &e), 0);
	CHECK_EQ(out.slices, 6 + 1 + 6);
	for (unsigned int i = 0; i < rig.disk_count; i++)
		CHECK(same_lists(&whole.differ[i], &want[i]) &&
		      same_lists(&out.differ[i], &want[i]));
	stop_server(&server, sock);
	free_outcome(&whole);
	free_outcome(&out);
	for (unsigned int i = 0; i < rig.disk_count; i++)
		extent_list_free(&want[i]);
	rig_exit(&rig);
}

/* What lies under a seed's name is compared with; what does not, with zeros. */
TEST(seed)
{
	struct extent_list want = { 0 };
	struct outcome out = { 0 };
	struct server server;
	struct err e = { 0 };
	char command[600];
	uint64_t seed = 14;
	struct rig rig;
	int sock;

	rig_init(&rig);
	rig_add_disk(&rig, 40 * MIB + 512, 4096, 4);
	rig_add_disk(&rig, 10 * MIB, 4096, 5);
	rig_create_store(&rig);
	/* Shorter than the disk, whose end is new then. */
	snprintf(command, sizeof(command),
		 "mkdir -p %s/.seed/vm1 && head -c %u %s/disk0 >%s/.seed/vm1/disk0.raw", rig.root,
		 40 * MIB, rig.dir, rig.root);
	CHECK_EQ(system(command), 0);
	memset(rig.disks[0].model + 40 * MIB, 7, 512);
	change_some(&rig.disks[0], &want, 50, &seed);
	sock = start_server(&server, &rig);
	CHECK_EQ(compare_all(&rig, sock, 0, &out, &e), 0);
	CHECK(same_lists(&out.differ[0], &want));
	/* A third of the other disk is zeros, and so is what the replica has of it. */
	CHECK(out.differ[1].bytes > 4 * MIB && out.differ[1].bytes < 9 * MIB);
	stop_server(&server, sock);
	snprintf(command, sizeof(command), "test ! -e %s/.seed/vm1/disk0.raw", rig.root);
	CHECK_EQ(system(command), 0);
	/* The initial pass that sends only this makes the replica what the disks are. */
	send_pass(&rig, out.differ);
	out = (struct outcome){ 0 };
	for (unsigned int i = 0; i < 2; i++) {
		snprintf(command, sizeof(command), "%s/%s/disk%u/base.raw", rig.root, RIG_VM, i);
		CHECK(rig_file_equals(command, rig.disks[i].model, rig.disks[i].size_bytes));
	}
	extent_list_free(&want);
	rig_exit(&rig);
}

/* A seed that is also somebody else's file is not written to. */
TEST(seed_with_links)
{
	struct outcome out = { 0 };
	struct server server;
	struct err e = { 0 };
	char command[600];
	struct rig rig;
	int sock;

	rig_init(&rig);
	rig_add_disk(&rig, 10 * MIB, 4096, 4);
	rig_create_store(&rig);
	snprintf(command, sizeof(command), "mkdir -p %s/.seed/vm1 && ln %s/disk0 %s/.seed/vm1/disk0.raw",
		 rig.root, rig.dir, rig.root);
	CHECK_EQ(system(command), 0);
	sock = start_server(&server, &rig);
	CHECK_EQ(compare_all(&rig, sock, 0, &out, &e), -EINVAL);
	CHECK(strstr(e.text, "put a copy there"));
	stop_server(&server, sock);
	free_outcome(&out);
	rig_exit(&rig);
}

/* --- peers that are wrong ------------------------------------------------------------ */

struct liar {
	int sock;
	pthread_t thread;
	uint32_t payload_bytes;
	uint8_t payload[1024];
	int64_t offset;		/* added to the right one */
};

static void *lie(void *arg)
{
	struct wire_header header;
	struct liar *liar = arg;
	uint8_t hashes[8192];

	session_receive(liar->sock, &header, hashes, sizeof(hashes), -1, 60, NULL);
	if (!session_receive(liar->sock, &header, hashes, sizeof(hashes), -1, 60, NULL)) {
		header.type = WIRE_COMPARED;
		header.offset += liar->offset;
		header.payload_bytes = liar->payload_bytes;
		session_send(liar->sock, &header, liar->payload, NULL);
	}
	session_receive(liar->sock, &header, hashes, sizeof(hashes), -1, 60, NULL);
	close(liar->sock);
	return NULL;
}

static int hear_lie(struct rig *rig, struct liar *liar)
{
	struct outcome out = { 0 };
	struct err e = { 0 };
	int socks[2], r;

	rig_connect(socks);
	liar->sock = socks[1];
	if (pthread_create(&liar->thread, NULL, lie, liar))
		rig_fail("pthread_create");
	r = compare_all(rig, socks[0], 0, &out, &e);
	close(socks[0]);
	pthread_join(liar->thread, NULL);
	free_outcome(&out);
	return r;
}

/* An answer that cannot be is refused, and one of random bytes does no harm. */
TEST(wrong_answers)
{
	static const struct {
		uint32_t bytes, run[2];
		int64_t offset;
	} wrong[] = {
		{ 4, { 0 }, 0 },	/* a run without its hashes */
		{ 512, { 0 }, 0 },	/* less than all of them */
		{ 520, { 0 }, 0 },	/* more */
		{ 516, { 80 }, 0 },	/* no such run */
		{ 516, { UINT32_MAX }, 0 },
		{ 0, { 0 }, 4096 },	/* another place */
	};
	uint64_t seed = 15;
	struct rig rig;

	rig_init(&rig);
	rig_add_disk(&rig, 10 * MIB, 4096, 4);
	for (unsigned int i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct liar liar = { .payload_bytes = wrong[i].bytes, .offset = wrong[i].offset };

		memcpy(liar.payload, wrong[i].run, sizeof(wrong[i].run));
		CHECK_EQ(hear_lie(&rig, &liar), -EPROTO);
	}
	for (unsigned int i = 0; i < 100; i++) {
		struct liar liar = { .payload_bytes = 4 * (1 + rig_random(&seed) % 256) };

		for (unsigned int k = 0; k < sizeof(liar.payload); k++)
			liar.payload[k] = rig_random(&seed) % 64 ? 0 : rig_random(&seed);
		CHECK(hear_lie(&rig, &liar) < 0);
	}
	rig_exit(&rig);
}

/* What a primary may not ask for is refused. */
TEST(wrong_questions)
{
	static const struct wire_header wrong[] = {
		{ .disk = 1, .raw_bytes = MIB },
		{ .disk = 63, .raw_bytes = MIB },
		{ .raw_bytes = 0 },
		{ .offset = 512, .raw_bytes = MIB },
		{ .raw_bytes = 4096 + 512 },
		{ .offset = 10 * MIB, .raw_bytes = 4096 },
		{ .offset = 9 * MIB, .raw_bytes = 2 * MIB },
		{ .offset = UINT64_MAX - 4095, .raw_bytes = 8192 },
		{ .raw_bytes = UINT64_MAX },
	};
	struct wire_compare compare = { .secret = { 1 } };
	struct rig rig;

	rig_init(&rig);
	rig_add_disk(&rig, 10 * MIB, 4096, 4);
	rig_create_store(&rig);
	for (unsigned int i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct err e = { 0 };

		CHECK_EQ(compare_serve(-1, rig.store, &wrong[i], &compare, -1, &e), -EPROTO);
		CHECK(e.text[0]);
	}
	rig_exit(&rig);
}

/* A cancel ends it, also while the replica says nothing. */
TEST(cancel)
{
	struct extent_list differ[RIG_MAX_DISKS] = { 0 };
	struct ship_progress progress;
	struct ship_disk disks[RIG_MAX_DISKS];
	struct ship_spec all;
	struct compare_cursor at = { 0 };
	struct compare_spec spec = { .cancel_fd = eventfd(1, 0) };
	struct err e = { 0 };
	struct rig rig;
	int socks[2];

	rig_init(&rig);
	rig_add_disk(&rig, 10 * MIB, 4096, 4);
	all = rig_spec(&rig, disks, &progress);
	rig_all_extents(&rig, disks);
	rig_connect(socks);
	spec.sock = socks[0];
	spec.disk_count = all.disk_count;
	spec.disks = disks;
	spec.progress = &progress;
	CHECK_EQ(compare_slice(&spec, &at, differ, &e), -ECANCELED);
	close(socks[0]);
	close(socks[1]);
	close(spec.cancel_fd);
	rig_free_extents(&rig, disks);
	rig_exit(&rig);
}

UNIT_MAIN(T(equal), T(differ), T(slices), T(disk_by_disk), T(seed), T(seed_with_links),
	  T(wrong_answers), T(wrong_questions), T(cancel))
