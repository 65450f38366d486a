// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The initial replication by a medium: written by the sink that takes a pass as a replica does,
 * joined by a replica to what came ahead of it; damaged in all ways, it is refused.
 */
#include <arpa/inet.h>

#include "ship-rig.h"
#include "userspace/primary/sink.h"
#include "userspace/replica/replica.h"
#include "userspace/store/medium.h"

#define MIB (1u << 20)
#define MUTATIONS 300

struct world {
	struct rig rig;
	struct state state;
	char out[96];			/* directory to export to */
	struct replica *replica;
	uint16_t port;
};

/* --- exporting ------------------------------------------------------------------ */

static void world_init(struct world *w)
{
	*w = (struct world){ .state = { .vm = RIG_VM, .relationship = RIG_UUID } };
	rig_init(&w->rig);
	rig_add_disk(&w->rig, 6 * MIB + 512, 4096, 1);
	rig_add_disk(&w->rig, 3 * MIB, 65536, 2);
	snprintf(w->out, sizeof(w->out), "%s/out", w->rig.dir);
	if (mkdir(w->out, 0700))
		rig_fail("mkdir");
	w->state.disk_count = w->rig.disk_count;
	for (unsigned int i = 0; i < w->rig.disk_count; i++) {
		struct state_disk *disk = &w->state.disks[i];

		snprintf(disk->name, sizeof(disk->name), "disk%u", i);
		snprintf(disk->device, sizeof(disk->device), "/dev/disk%u", i);
		disk->size_bytes = w->rig.disks[i].size_bytes;
		disk->chunk_bytes = w->rig.disks[i].chunk_bytes;
	}
}

static void world_exit(struct world *w)
{
	replica_stop(w->replica);
	rig_exit(&w->rig);
}

/* From @from of disk 0 on, and all of disk 1 unless @half, which leaves the pass open. */
static int export_from(struct world *w, uint64_t from, bool half, struct err *e)
{
	struct ship_progress progress;
	struct ship_disk disks[RIG_MAX_DISKS];
	struct ship_spec spec = rig_spec(&w->rig, disks, &progress);
	struct session_opened opened;
	struct sink *sink;
	int r = sink_start(w->out, &w->state, &sink, &spec.sock, &opened, e);

	if (r)
		return r;
	CHECK_EQ(opened.state, from ? WIRE_STATE_RECEIVING : WIRE_STATE_NEW);
	CHECK_EQ(from ? opened.initial_durable[0] : 0, from);
	extent_list_append(&disks[0].extents, from, (half ? 4 * MIB : disks[0].size_bytes) - from);
	if (!half)
		extent_list_append(&disks[1].extents, 0, disks[1].size_bytes);
	spec.initial = true;
	spec.options.checkpoint_bytes = MIB;
	spec.options.compress = SHIP_COMPRESS_LZ4;
	w->rig.pass = 0;
	r = rig_begin(&w->rig, spec.sock, WIRE_PASS_INITIAL, e);
	if (!r)
		r = ship_run(&spec, e);
	if (!r && !half)
		r = rig_end(&w->rig, spec.sock, &progress, e);
	close(spec.sock);
	sink_join(sink);
	rig_free_extents(&w->rig, disks);
	return r;
}

/* --- the replica ------------------------------------------------------------------- */

static void start_replica(struct world *w)
{
	struct replica_options options = { .root = w->rig.root, .address = "127.0.0.1" };
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(address);
	int sock = socket(AF_INET, SOCK_STREAM, 0);
	struct err e = { 0 };

	if (bind(sock, (struct sockaddr *)&address, size) ||
	    getsockname(sock, (struct sockaddr *)&address, &size))
		rig_fail("bind");
	close(sock);
	options.port = w->port = ntohs(address.sin_port);
	if (replica_start(&options, &w->replica, &e)) {
		printf("Bail out! %s\n", e.text);
		exit(1);
	}
}

static int connect_to(struct world *w, struct session_opened *opened)
{
	struct session_open open = { .vm = RIG_VM, .disk_count = w->rig.disk_count };
	struct err e = { 0 };
	int sock = session_connect("127.0.0.1", w->port, -1, &e);

	state_parse_uuid(RIG_UUID, open.relationship);
	for (unsigned int i = 0; i < open.disk_count; i++) {
		strcpy(open.disks[i].name, w->state.disks[i].name);
		strcpy(open.disks[i].source, w->state.disks[i].device);
		open.disks[i].size_bytes = w->state.disks[i].size_bytes;
		open.disks[i].chunk_bytes = w->state.disks[i].chunk_bytes;
	}
	CHECK_EQ(session_open(sock, &open, opened, -1, &e), 0);
	return sock;
}

static int await_pass(int sock, uint64_t pass)
{
	struct wire_header header = { .type = WIRE_AWAIT, .sequence = pass };
	struct err e = { 0 };
	int r = session_send(sock, &header, NULL, &e);

	if (!r)
		r = session_receive(sock, &header, NULL, 0, -1, 30, &e);
	CHECK(r || (header.type == WIRE_AWAITING && header.sequence == pass));
	return r;
}

/* Changes some of each disk and sends that ahead of the medium. */
static void send_ahead(struct world *w, int sock)
{
	struct ship_progress progress;
	struct ship_disk disks[RIG_MAX_DISKS];
	struct ship_spec spec = rig_spec(&w->rig, disks, &progress);
	struct err e = { 0 };

	spec.sock = sock;
	for (unsigned int i = 0; i < w->rig.disk_count; i++) {
		struct rig_disk *disk = &w->rig.disks[i];

		memset(disk->model + MIB, 0x5a + w->rig.pass, 2 * 65536);
		rig_write(disk, MIB, 2 * 65536);
		extent_list_append(&disks[i].extents, MIB, 2 * 65536);
	}
	CHECK_EQ(rig_ship(&w->rig, &spec, &e), 0);
	rig_free_extents(&w->rig, disks);
}

static int import(struct world *w, struct err *e)
{
	_Atomic uint64_t total = 0, done = 0;
	struct replica_import_progress progress = { .total_bytes = &total, .done_bytes = &done };
	int r = replica_import(w->replica, RIG_VM, w->out, -1, &progress, e);

	CHECK(r || (done && done == total));
	return r;
}

static unsigned int count_points(struct world *w, bool *awaited)
{
	struct store_points points;
	unsigned int count;

	CHECK_EQ(store_points(w->rig.root, RIG_VM, &points, NULL), 0);
	count = points.count;
	*awaited = points.awaited;
	store_points_free(&points);
	return count;
}

/* What all that the replica has adds up to is what the disks hold. */
static bool replica_equals(struct world *w)
{
	uint8_t *there = aligned_alloc(4096, 8 * MIB);
	struct store_view *view = NULL;
	struct store *store = NULL;
	struct err e = { 0 };
	bool same = true;

	/* A connection that was closed may not have ended yet. */
	for (unsigned int i = 0; i < 1200; i++) {
		if (store_open(w->rig.root, RIG_VM, &store, &e) != -EBUSY)
			break;
		usleep(100000);
	}
	CHECK(store && !store_view_open(store, &view, &e));
	for (unsigned int i = 0; view && i < w->rig.disk_count; i++) {
		CHECK_EQ(store_view_read(view, i, 0, there, w->rig.disks[i].size_bytes), 0);
		same = same && !memcmp(there, w->rig.disks[i].model, w->rig.disks[i].size_bytes);
	}
	store_view_close(view);
	store_close(store);
	free(there);
	return same;
}

/* --- tests ---------------------------------------------------------------------------- */

/* Passes come ahead, are not shown, and are joined; in any order of the two events. */
TEST(ahead)
{
	struct session_opened opened;
	struct err e = { 0 };
	struct world w;
	bool awaited;
	int sock;

	world_init(&w);
	CHECK_EQ(export_from(&w, 0, false, &e), 0);
	start_replica(&w);
	sock = connect_to(&w, &opened);
	CHECK_EQ(opened.state, WIRE_STATE_NEW);
	CHECK_EQ(await_pass(sock, 1), 0);
	CHECK_EQ(await_pass(sock, 1), 0);	/* the answer may have been lost */
	send_ahead(&w, sock);
	send_ahead(&w, sock);
	CHECK_EQ(count_points(&w, &awaited), 0);
	CHECK(awaited);
	/* With the primary connected: it is ended. */
	CHECK_EQ(import(&w, &e), 0);
	CHECK_EQ(count_points(&w, &awaited), 2);
	CHECK(!awaited);
	CHECK(replica_equals(&w));
	close(sock);
	CHECK_EQ(import(&w, &e), -EINVAL);	/* once is enough */
	sock = connect_to(&w, &opened);
	CHECK_EQ(opened.state, WIRE_STATE_COMPLETE);
	CHECK_EQ(opened.last_pass, 3);
	send_ahead(&w, sock);
	close(sock);
	CHECK(replica_equals(&w));
	world_exit(&w);
}

/* A medium that is made anew replaces the one before, and what came ahead of that. */
TEST(newer_medium)
{
	struct session_opened opened;
	struct err e = { 0 };
	struct world w;
	bool awaited;
	int sock;

	world_init(&w);
	CHECK_EQ(export_from(&w, 0, false, &e), 0);
	start_replica(&w);
	sock = connect_to(&w, &opened);
	CHECK_EQ(await_pass(sock, 1), 0);
	send_ahead(&w, sock);
	CHECK_EQ(await_pass(sock, 7), 0);
	CHECK_EQ(count_points(&w, &awaited), 0);
	close(sock);
	CHECK_EQ(import(&w, &e), -EINVAL);
	CHECK(strstr(e.text, "pass 7"));
	sock = connect_to(&w, &opened);
	CHECK_EQ(opened.state, WIRE_STATE_AWAITING);
	CHECK_EQ(opened.last_pass, 7);
	CHECK(await_pass(sock, 6) < 0);
	close(sock);
	world_exit(&w);
}

/* Interrupted behind a checkpoint, with a torn end, it goes on there. */
TEST(interrupted)
{
	struct session_opened opened;
	struct err e = { 0 };
	char command[300];
	struct world w;
	int sock;

	world_init(&w);
	CHECK_EQ(export_from(&w, 0, true, &e), 0);
	start_replica(&w);
	sock = connect_to(&w, &opened);
	CHECK_EQ(await_pass(sock, 1), 0);
	close(sock);
	CHECK_EQ(import(&w, &e), -EAGAIN);
	CHECK(strstr(e.text, "half-written"));
	snprintf(command, sizeof(command), "head -c 9000000 /dev/urandom >>%s/%s/disk0.frames", w.out, RIG_VM);
	CHECK_EQ(system(command), 0);
	w.state.disks[0].checkpoint_bytes = 3 * MIB;
	CHECK_EQ(export_from(&w, 3 * MIB, false, &e), 0);
	CHECK_EQ(export_from(&w, 0, false, &e), -EEXIST);
	CHECK(strstr(e.text, "complete"));
	CHECK_EQ(import(&w, &e), 0);
	CHECK(replica_equals(&w));
	world_exit(&w);
}

/* A medium that holds less than was recorded is begun anew, never gone on with. */
TEST(medium_lost)
{
	struct err e = { 0 };
	struct world w;

	world_init(&w);
	CHECK_EQ(export_from(&w, 0, true, &e), 0);
	w.state.disks[0].checkpoint_bytes = 6 * MIB;
	CHECK_EQ(export_from(&w, 0, false, &e), 0);
	world_exit(&w);
}

TEST(foreign)
{
	struct session_opened opened;
	_Atomic uint64_t count = 0;
	struct replica_import_progress none = { .total_bytes = &count, .done_bytes = &count };
	struct err e = { 0 };
	struct world w;
	int sock;

	world_init(&w);
	CHECK_EQ(export_from(&w, 0, false, &e), 0);
	strcpy(w.state.relationship, "99999999-9999-9999-9999-999999999999");
	CHECK_EQ(export_from(&w, 0, false, &e), -EEXIST);
	CHECK(strstr(e.text, "another relationship"));
	start_replica(&w);
	CHECK_EQ(import(&w, &e), -ENOENT);	/* there is no replica */
	/* One of another relationship. */
	strcpy(w.state.relationship, RIG_UUID);
	rig_create_store(&w.rig);
	store_close(w.rig.store);
	w.rig.store = NULL;
	CHECK_EQ(replica_import(w.replica, "vm2", w.out, -1, &none, &e), -ENOENT);
	sock = connect_to(&w, &opened);
	close(sock);
	CHECK_EQ(import(&w, &e), 0);	/* also if the primary has not said that it comes */
	CHECK(replica_equals(&w));
	world_exit(&w);
}

/* --- damage ----------------------------------------------------------------------------- */

static uint8_t *load(const char *path, size_t *bytes)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	uint8_t *data;

	if (fd < 0 || fstat(fd, &st))
		rig_fail(path);
	data = malloc(st.st_size + 1);
	*bytes = read(fd, data, st.st_size);
	close(fd);
	return data;
}

static void save(const char *path, const uint8_t *data, size_t bytes)
{
	int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);

	if (fd < 0 || write(fd, data, bytes) != (ssize_t)bytes)
		rig_fail(path);
	close(fd);
}

/* A flipped bit, a cut, a longer end, a piece twice, a piece of zeros; anywhere. */
static void mutate(const char *path, const uint8_t *data, size_t bytes, uint64_t *seed)
{
	uint8_t *copy = malloc(bytes + 64);
	size_t at = rig_random(seed) % bytes, piece = 1 + rig_random(seed) % 64, length = bytes;

	memcpy(copy, data, bytes);
	switch (rig_random(seed) % 5) {
	case 0:
		copy[at] ^= 1 << rig_random(seed) % 8;
		break;
	case 1:
		length = at;
		break;
	case 2:
		memset(copy + bytes, 'x', piece);
		length = bytes + piece;
		break;
	case 3:
		memmove(copy + at + 1, copy + at, bytes - at);
		copy[at] = ~copy[at];
		length = bytes + 1;
		break;
	case 4:
		copy[at] = copy[at] ? 0 : 1;
		break;
	}
	save(path, copy, length);
	free(copy);
}

TEST(damaged)
{
	static const char *const files[] = { "export.json", "disk0.frames", "disk1.frames" };
	struct session_opened opened;
	struct err e = { 0 };
	uint64_t seed = 21;
	char path[300];
	struct world w;
	bool awaited;
	int sock;

	world_init(&w);
	CHECK_EQ(export_from(&w, 0, false, &e), 0);
	start_replica(&w);
	sock = connect_to(&w, &opened);
	CHECK_EQ(await_pass(sock, 1), 0);
	send_ahead(&w, sock);
	close(sock);
	for (unsigned int i = 0; i < MUTATIONS; i++) {
		uint8_t *data;
		size_t bytes;
		int r;

		snprintf(path, sizeof(path), "%s/%s/%s", w.out, RIG_VM, files[i % 3]);
		data = load(path, &bytes);
		mutate(path, data, bytes, &seed);
		e = (struct err){ 0 };
		r = import(&w, &e);
		CHECK_EQ(r, -EUCLEAN);
		CHECK(e.text[0]);
		if (r != -EUCLEAN)
			printf("# mutation %u of %s: %s\n", i, files[i % 3], e.text);
		save(path, data, bytes);
		free(data);
	}
	CHECK_EQ(count_points(&w, &awaited), 0);
	CHECK(awaited);
	CHECK_EQ(import(&w, &e), 0);
	CHECK(replica_equals(&w));
	world_exit(&w);
}

UNIT_MAIN(T(ahead), T(newer_medium), T(interrupted), T(medium_lost), T(foreign), T(damaged))
