// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "../common/log.h"
#include "../store/failover.h"
#include "compare.h"
#include "connection.h"

/* A store may be held for a moment by a connection that begins, or one that ends. */
#define TAKE_TRIES	100
#define TAKE_PAUSE_MS	100

#define ROOM_S		5	/* for one that gives way to end; it only has to be woken */

#define OPEN_MAX_BYTES (sizeof(struct wire_open) + WIRE_MAX_DISKS * sizeof(struct wire_open_disk))

static void uuid_text(const uint8_t uuid[16], char text[37])
{
	unsigned int used = 0;

	for (unsigned int i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			text[used++] = '-';
		used += snprintf(text + used, 37 - used, "%02x", uuid[i]);
	}
}

static void poke(int fd)
{
	const uint64_t one = 1;

	if (write(fd, &one, sizeof(one)) < 0)
		return;		/* full: it is readable, which is all that it is for */
}

/* --- which connection has a VM ---------------------------------------------- */

/* Caller holds the lock. */
static void __stop(struct connection *c)
{
	if (c->stopping)
		return;
	c->stopping = true;
	poke(c->stop_fd);
	shutdown(c->sock, SHUT_RDWR);
}

struct connection *__connections_find(struct connections *all, const char *vm)
{
	for (unsigned int i = 0; i < REPLICA_MAX_CONNECTIONS; i++) {
		struct connection *c = &all->at[i];

		if (c->state == CONNECTION_RUNNING && c->connected && !strcmp(c->vm, vm))
			return c;
	}
	return NULL;
}

/* A connection with a claim on @vm that is older than @claim, or null. Caller holds the lock. */
static struct connection *__find_older(struct connections *all, const char *vm, uint64_t claim)
{
	for (unsigned int i = 0; i < REPLICA_MAX_CONNECTIONS; i++) {
		struct connection *c = &all->at[i];

		if (c->state == CONNECTION_RUNNING && c->claim && c->claim < claim &&
		    !strcmp(c->vm, vm))
			return c;
	}
	return NULL;
}

/*
 * Ends all with an older claim on @vm. False: one did not end in time, or @me is to stop.
 * Caller holds the lock.
 */
static bool __end_older(struct connections *all, const char *vm, uint64_t claim,
			const struct connection *me)
{
	struct connection *older;
	struct timespec until;
	int r = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += CONNECTION_END_S;
	while ((older = __find_older(all, vm, claim)) && !r && !(me && me->stopping)) {
		__stop(older);
		r = pthread_cond_timedwait(&all->changed, &all->lock, &until);
	}
	return !older;
}

/*
 * A primary that connects again has been restarted, or lost the connection before
 * this side noticed: the newer connection of a relationship takes over.
 */
static int claim(struct connection *c, const struct session_open *open, struct err *e)
{
	struct connections *all = c->all;
	struct connection *other;
	int r = 0;

	pthread_mutex_lock(&all->lock);
	other = __connections_find(all, open->vm);
	if (other && memcmp(other->relationship, open->relationship, sizeof(other->relationship))) {
		r = err_set(
			e, -EEXIST,
			"the VM name %s is in use on this replica by another relationship, whose primary is "
			"connected: use another name or another replica",
			open->vm);
	} else {
		memcpy(c->vm, open->vm, sizeof(c->vm));
		memcpy(c->relationship, open->relationship, sizeof(c->relationship));
		c->claim = ++all->claims;
		if (!__end_older(all, c->vm, c->claim, c))
			r = err_set(
				e, -EBUSY,
				"the replica of %s is still busy with an older connection: try again",
				open->vm);
	}
	pthread_mutex_unlock(&all->lock);
	return r;
}

static void set_connected(struct connection *c, bool connected)
{
	pthread_mutex_lock(&c->all->lock);
	c->connected = connected;
	pthread_mutex_unlock(&c->all->lock);
}

/* Ends all that works on @vm, also its primary's connection, and waits; -EBUSY: not in time. */
static int end_all(struct connections *all, const char *vm, struct err *e)
{
	int r = 0;

	pthread_mutex_lock(&all->lock);
	if (!__end_older(all, vm, UINT64_MAX, NULL))
		r = err_set(e, -EBUSY, "the replica of %s is busy: try again", vm);
	pthread_mutex_unlock(&all->lock);
	return r;
}

/* A connection that came between taking the store over and opening it is ended as well. */
int connections_take_store(struct connections *all, const char *vm, struct store **store,
			   struct err *e)
{
	int r = -EBUSY;

	for (unsigned int i = 0; r == -EBUSY && i < TAKE_TRIES; i++) {
		if (i)
			poll(NULL, 0, TAKE_PAUSE_MS);
		r = end_all(all, vm, e);
		if (!r)
			r = store_open(all->root, vm, store, e);
	}
	return r;
}

int connections_end_idle(struct connections *all, const char *vm, struct err *e)
{
	int r = 0;

	pthread_mutex_lock(&all->lock);
	if (__connections_find(all, vm))
		r = err_set(e, -EBUSY,
			    "the primary of %s is connected: disable the replication there first",
			    vm);
	else if (!__end_older(all, vm, UINT64_MAX, NULL))
		r = err_set(e, -EBUSY, "the replica of %s is busy: try again", vm);
	pthread_mutex_unlock(&all->lock);
	return r;
}

/* --- the store of a connection ---------------------------------------------- */

static int check_disks(const struct session_open *open, const struct store_spec *spec,
		       struct err *e)
{
	if (open->disk_count != spec->disk_count)
		return err_set(
			e, -EINVAL,
			"the replica of %s has %u disks, the primary %u: remove the relationship and enable "
			"it anew to replicate other disks",
			open->vm, spec->disk_count, open->disk_count);
	for (unsigned int i = 0; i < open->disk_count; i++) {
		const struct session_disk *mine = &open->disks[i];
		const struct store_disk *there = &spec->disks[i];

		if (strcmp(mine->name, there->name))
			return err_set(e, -EINVAL,
				       "disk %u of %s is %s on the replica and %s on the primary",
				       i, open->vm, there->name, mine->name);
		if (mine->size_bytes != there->size_bytes)
			return err_set(e, -EINVAL,
				       "disk %s of %s has %" PRIu64
				       " bytes on the replica and %" PRIu64 " on the "
				       "primary: a disk that was resized needs a new relationship",
				       mine->name, open->vm, there->size_bytes, mine->size_bytes);
		if (mine->chunk_bytes != there->chunk_bytes)
			return err_set(e, -EINVAL,
				       "disk %s of %s has chunks of %" PRIu32
				       " bytes on the replica and %" PRIu32 " on the primary",
				       mine->name, open->vm, there->chunk_bytes, mine->chunk_bytes);
	}
	return 0;
}

static int create_store(const char *root, const struct session_open *open, struct store **store,
			struct err *e)
{
	struct store_spec spec = { .disk_count = open->disk_count };
	int r;

	spec.disks = calloc(open->disk_count, sizeof(*spec.disks));
	if (!spec.disks)
		return err_set(e, -ENOMEM, "the replica is out of memory");
	memcpy(spec.vm, open->vm, sizeof(spec.vm));
	uuid_text(open->relationship, spec.relationship);
	for (unsigned int i = 0; i < open->disk_count; i++) {
		memcpy(spec.disks[i].name, open->disks[i].name, sizeof(spec.disks[i].name));
		memcpy(spec.disks[i].source, open->disks[i].source, sizeof(open->disks[i].source));
		spec.disks[i].size_bytes = open->disks[i].size_bytes;
		spec.disks[i].chunk_bytes = open->disks[i].chunk_bytes;
	}
	r = store_create(root, &spec, store, e);
	free(spec.disks);
	return r;
}

/* A VM whose disks are sent from here is not received here, or two of them would be the primary. */
static int check_role(const struct connections *all, const struct session_open *open, struct err *e)
{
	char relationship[37];

	uuid_text(open->relationship, relationship);
	if (!all->is_primary || !all->is_primary(all->arg, open->vm, relationship))
		return 0;
	return err_set(e, -EEXIST,
		       "the replica's host is itself the primary of %s: run `vmreplica disable %s` there before it becomes a replica",
		       open->vm, open->vm);
}

/*
 * Opens the VM's store, or creates it; what a removed relationship left keeps its points
 * under another name.
 */
static int open_store(const struct connections *all, const struct session_open *open,
		      struct store **store, struct err *e)
{
	char relationship[37];
	int r = store_open(all->root, open->vm, store, e);

	if (r == -ENOENT) {
		r = check_role(all, open, e);
		return r ? r : create_store(all->root, open, store, e);
	}
	if (r)
		return r;
	uuid_text(open->relationship, relationship);
	if (!strcmp(store_spec(*store)->relationship, relationship)) {
		r = check_role(all, open, e);
		if (!r)
			r = store_check_failover(*store, e);
		if (!r)
			r = check_disks(open, store_spec(*store), e);
	} else if (store_released(*store)) {
		r = check_role(all, open, e);
		if (!r)
			r = store_move_aside(*store, e);
		if (!r)
			return create_store(all->root, open, store, e);
	} else {
		r = err_set(
			e, -EEXIST,
			"this replica has a VM %s of another relationship (%s): use another name, or remove "
			"that replica there with \"vmreplica disable %s --delete-points\"",
			open->vm, store_spec(*store)->relationship, open->vm);
	}
	if (r)
		store_close(*store);
	return r;
}

static int send_opened(struct connection *c, const struct store *store, struct err *e)
{
	static const enum wire_state states[] = {
		[STORE_INITIAL_NONE] = WIRE_STATE_NEW,
		[STORE_INITIAL_RECEIVING] = WIRE_STATE_RECEIVING,
		[STORE_INITIAL_COMPLETE] = WIRE_STATE_COMPLETE,
		[STORE_INITIAL_AWAITED] = WIRE_STATE_AWAITING,
	};
	struct session_opened opened = {
		.state = states[store_initial(store)],
		.last_pass = store_last_pass(store),
		.generation = store_generation(store),
	};

	for (unsigned int i = 0; i < store_spec(store)->disk_count; i++)
		opened.initial_durable[i] = store_initial_durable(store, i);
	return session_opened_send(c->sock, &opened, store_spec(store)->disk_count, e);
}

/* --- frames between passes -------------------------------------------------- */

/*
 * A full disk is said in the same words to both sides, whatever found it out: it is the one failure
 * that somebody has to do something about here.
 */
static int tell_full(struct connection *c, int r, struct err *e)
{
	char what[160];

	if (r != -ENOSPC && r != -EDQUOT)
		return r;
	snprintf(what, sizeof(what), "%.150s", e->text);
	err_set(e, r,
		"the replica host's disk is full: make room in %.100s there, and passes go on by themselves; all points are kept (%s)",
		c->all->root, what);
	troubles_set(&c->all->troubles, c->vm, e->text);
	return r;
}

/* Before the primary hears of it, so that both sides say that it is over. */
static void on_durable(void *arg)
{
	struct connection *c = arg;

	troubles_set(&c->all->troubles, c->vm, NULL);
}

static int receive_one_pass(struct connection *c, struct store *store,
			    const struct wire_header *header, const struct wire_pass_begin *begin,
			    struct err *e)
{
	const struct receive_options options = { .durable = on_durable, .arg = c };
	int r;

	if (header->sequence != begin->pass || !begin->pass)
		return err_set(e, -EPROTO, "PASS_BEGIN names two passes, or pass 0");
	if (store_released(store))
		return err_set(e, -EPERM,
			       "the relationship of %s was removed on its primary: enable it anew",
			       c->vm);
	/*
	 * Not when it is opened: a primary that finds an older copy here, and sends nothing, must
	 * find it older the next time too.
	 */
	r = c->generation ? 0 : store_next_generation(store, e);
	if (r)
		return tell_full(c, r, e);
	c->generation = store_generation(store);
	atomic_store(&c->progress.done_bytes, 0);
	atomic_store(&c->progress.wire_bytes, 0);
	atomic_store(&c->receiving_pass, begin->pass);
	r = receive_pass(c->sock, store, begin, &options, &c->progress, c->stop_fd, e);
	atomic_store(&c->receiving_pass, 0);
	return tell_full(c, r, e);
}

static int release(struct connection *c, struct store *store, struct err *e)
{
	const struct wire_header released = { .type = WIRE_RELEASED };
	int r = store_release(store, e);

	if (r)
		return r;
	log_notice("%s: the primary removed the relationship; its points are kept", c->vm);
	/* Before the primary hears of it: from then on the name is free for another one. */
	set_connected(c, false);
	return session_send(c->sock, &released, NULL, e);
}

static int await_medium(struct connection *c, struct store *store,
			const struct wire_header *header, struct err *e)
{
	const struct wire_header awaiting = { .type = WIRE_AWAITING, .sequence = header->sequence };
	int r = store_await(store, header->sequence, e);

	return r ? r : session_send(c->sock, &awaiting, NULL, e);
}

static int keep_points(struct store *store, const struct wire_keep *keep, struct err *e)
{
	if (keep->points > WIRE_MAX_KEEP_POINTS || keep->spacing_s > WIRE_MAX_KEEP_SPACING_S)
		return err_set(e, -EPROTO, "the primary asked for a history that is not possible");
	store_set_history(store, keep->points, keep->spacing_s);
	return 0;
}

static void maintain(struct connection *c, struct store *store, int busy_fd)
{
	struct err e;

	if (store_maintain(store, c->stop_fd, busy_fd, &e) < 0)
		log_warn("%s: merging old passes failed, they are kept: %s", c->vm, e.text);
}

/* Returns -ENOTCONN when the primary leaves in good order. */
static int serve_passes(struct connection *c, struct store *store, struct err *e)
{
	union {
		struct wire_pass_begin begin;
		struct wire_compare compare;
		struct wire_keep keep;
	} payload;
	struct wire_header header;
	int r;

	for (;;) {
		r = session_receive(c->sock, &header, &payload, sizeof(payload), c->stop_fd, 0, e);
		if (r)
			return r;
		switch (header.type) {
		case WIRE_PASS_BEGIN:
			r = receive_one_pass(c, store, &header, &payload.begin, e);
			if (r && r != -ECANCELED)
				return r;
			maintain(c, store, c->sock);
			break;
		case WIRE_COMPARE:
			r = compare_serve(c->sock, store, &header, &payload.compare, c->stop_fd, e);
			if (r)
				return r;
			break;
		case WIRE_AWAIT:
			r = await_medium(c, store, &header, e);
			if (r)
				return r;
			break;
		case WIRE_KEEP:
			r = keep_points(store, &payload.keep, e);
			if (r)
				return r;
			break;
		case WIRE_RELEASE:
			r = release(c, store, e);
			if (r)
				return r;
			break;
		default:
			return err_set(e, -EPROTO, "the primary sent a %s frame between passes",
				       wire_type_name(header.type));
		}
	}
}

/* --- the thread ------------------------------------------------------------- */

static int receive_open(struct connection *c, struct session_open *open, struct err *e)
{
	uint8_t payload[OPEN_MAX_BYTES];
	struct wire_header header;
	int r;

	r = session_receive(c->sock, &header, payload, sizeof(payload), c->stop_fd,
			    SESSION_TIMEOUT_S, e);
	return r ? r : session_open_decode(&header, payload, open, e);
}

static void end_session(struct connection *c, int r, const struct err *e)
{
	if (r == -ENOTCONN)
		return;
	if (r == -ECANCELED || r == -ESHUTDOWN)
		log_info(
			"%s: the connection ends, since the replica stops or the primary has connected anew",
			c->vm);
	else
		log_warn("%s: %s", c->vm[0] ? c->vm : "a connection", e->text);
	session_send_error(c->sock, e);
}

/* Fills in @store only if the session has come so far; it is to be closed then. */
static int serve(struct connection *c, struct store **store, struct err *e)
{
	struct session_open *open = calloc(1, sizeof(*open));
	int r;

	if (!open)
		return err_set(e, -ENOMEM, "the replica is out of memory");
	r = session_accept(c->sock, e);
	if (!r)
		r = receive_open(c, open, e);
	if (!r && !store_name_valid(open->vm))
		r = err_set(
			e, -EINVAL,
			"the VM's name cannot be a file name: use letters, digits, dot, underscore, hyphen");
	if (!r)
		r = claim(c, open, e);
	if (!r)
		r = open_store(c->all, open, store, e);
	free(open);
	if (r) {
		*store = NULL;
		return r;
	}
	set_connected(c, true);
	r = send_opened(c, *store, e);
	if (!r)
		r = serve_passes(c, *store, e);
	set_connected(c, false);
	return r;
}

static void *connection_thread(void *arg)
{
	struct connection *c = arg;
	struct connections *all = c->all;
	struct store *store = NULL;
	struct err e = { 0 };

	end_session(c, serve(c, &store, &e), &e);
	/* The primary is not made to wait for a socket that nobody reads. */
	shutdown(c->sock, SHUT_RDWR);
	if (store) {
		maintain(c, store, -1);
		store_close(store);
	}
	pthread_mutex_lock(&all->lock);
	c->state = CONNECTION_ENDED;
	close(c->sock);
	close(c->stop_fd);
	pthread_cond_broadcast(&all->changed);
	pthread_mutex_unlock(&all->lock);
	poke(all->ended_fd);
	return NULL;
}

/* --- all connections -------------------------------------------------------- */

int connections_init(struct connections *all, const char *root)
{
	pthread_condattr_t attr;

	*all = (struct connections){ .root = root };
	for (unsigned int i = 0; i < REPLICA_MAX_CONNECTIONS; i++)
		all->at[i].all = all;
	all->ended_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (all->ended_fd < 0)
		return -errno;
	pthread_mutex_init(&all->lock, NULL);
	troubles_init(&all->troubles);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&all->changed, &attr);
	pthread_condattr_destroy(&attr);
	return 0;
}

static bool used(struct connection *c)
{
	bool yes;

	pthread_mutex_lock(&c->all->lock);
	yes = c->state != CONNECTION_FREE;
	pthread_mutex_unlock(&c->all->lock);
	return yes;
}

void connections_exit(struct connections *all)
{
	pthread_mutex_lock(&all->lock);
	for (unsigned int i = 0; i < REPLICA_MAX_CONNECTIONS; i++)
		if (all->at[i].state == CONNECTION_RUNNING)
			__stop(&all->at[i]);
	pthread_mutex_unlock(&all->lock);
	for (unsigned int i = 0; i < REPLICA_MAX_CONNECTIONS; i++)
		if (used(&all->at[i]))
			pthread_join(all->at[i].thread, NULL);
	pthread_cond_destroy(&all->changed);
	pthread_mutex_destroy(&all->lock);
	troubles_exit(&all->troubles);
	close(all->ended_fd);
}

/* It has left the lock, which the caller holds: it is at its end but for a few instructions. */
static void __join(struct connection *c)
{
	pthread_join(c->thread, NULL);
	c->state = CONNECTION_FREE;
}

void connections_reap(struct connections *all)
{
	uint64_t count;

	if (read(all->ended_fd, &count, sizeof(count)) < 0)
		return;		/* none has ended */
	pthread_mutex_lock(&all->lock);
	for (unsigned int i = 0; i < REPLICA_MAX_CONNECTIONS; i++) {
		struct connection *c = &all->at[i];

		if (c->state == CONNECTION_ENDED)
			__join(c);
	}
	pthread_mutex_unlock(&all->lock);
}

static struct connection *__find_free(struct connections *all)
{
	for (unsigned int i = 0; i < REPLICA_MAX_CONNECTIONS; i++) {
		struct connection *c = &all->at[i];

		if (c->state == CONNECTION_ENDED)
			__join(c);
		if (c->state == CONNECTION_FREE)
			return c;
	}
	return NULL;
}

/* The oldest that has no claim on a VM yet, or null. */
static struct connection *__find_unclaimed(struct connections *all)
{
	struct connection *oldest = NULL;

	for (unsigned int i = 0; i < REPLICA_MAX_CONNECTIONS; i++) {
		struct connection *c = &all->at[i];

		if (c->state == CONNECTION_RUNNING && !c->claim &&
		    (!oldest || c->number < oldest->number))
			oldest = c;
	}
	return oldest;
}

/*
 * A primary says within a few round trips which VM it is about. Whoever has not done so for
 * longest gives way, so that those who connect and say nothing keep no primary out. Null: all
 * have a claim, or it did not end in time. Caller holds the lock, which is let go meanwhile.
 */
static struct connection *__make_room(struct connections *all)
{
	struct connection *oldest = __find_unclaimed(all);
	struct timespec until;
	int r = 0;

	if (!oldest)
		return NULL;
	log_warn("there are %d connections: the oldest that has not said which VM it is about is ended",
		 REPLICA_MAX_CONNECTIONS);
	__stop(oldest);
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += ROOM_S;
	while (oldest->state == CONNECTION_RUNNING && !r)
		r = pthread_cond_timedwait(&all->changed, &all->lock, &until);
	if (oldest->state == CONNECTION_ENDED)
		__join(oldest);
	return oldest->state == CONNECTION_FREE ? oldest : NULL;
}

int connections_add(struct connections *all, int sock)
{
	struct connection *c;
	int r = -EUSERS;

	pthread_mutex_lock(&all->lock);
	c = __find_free(all);
	if (!c)
		c = __make_room(all);
	if (c) {
		*c = (struct connection){ .all = all, .sock = sock, .number = ++all->added };
		c->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		r = c->stop_fd < 0 ? -errno : 0;
		if (!r)
			r = -pthread_create(&c->thread, NULL, connection_thread, c);
		if (!r)
			c->state = CONNECTION_RUNNING;
		else if (c->stop_fd >= 0)
			close(c->stop_fd);
	}
	pthread_mutex_unlock(&all->lock);
	if (r)
		close(sock);
	return r;
}
