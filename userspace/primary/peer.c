// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../common/log.h"

#include "peer.h"

#define MIN_BUFFER_BYTES	(64 << 10)
#define MAX_BUFFER_BYTES	(4 << 20)

void peer_init(struct peer *peer)
{
	*peer = (struct peer){ .sock = -1, .lock = PTHREAD_MUTEX_INITIALIZER };
}

/*
 * What the socket takes at once is half a second's worth: were it minutes', the last of a pass
 * would seem to be without an answer.
 */
static int buffer_bytes(uint64_t rate)
{
	if (!rate || rate / 2 > MAX_BUFFER_BYTES)
		return MAX_BUFFER_BYTES;
	return rate / 2 < MIN_BUFFER_BYTES ? MIN_BUFFER_BYTES : rate / 2;
}

/* Caller holds the lock. */
static void apply_rate(struct peer *peer)
{
	unsigned long rate = peer->rate ? peer->rate : ~0UL;
	int bytes = buffer_bytes(peer->rate);

	if (peer->sock < 0)
		return;
	if (setsockopt(peer->sock, SOL_SOCKET, SO_MAX_PACING_RATE, &rate, sizeof(rate)) < 0)
		log_err("the rate of %lu bytes a second cannot be set: %s", rate, strerror(errno));
	/* FORCE is for root; the ordinary limit does for what is less. */
	if (setsockopt(peer->sock, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes)) < 0)
		setsockopt(peer->sock, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
}

void peer_set_rate(struct peer *peer, uint64_t rate)
{
	pthread_mutex_lock(&peer->lock);
	if (peer->rate != rate) {
		peer->rate = rate;
		apply_rate(peer);
	}
	pthread_mutex_unlock(&peer->lock);
}

static void take_socket(struct peer *peer, int sock)
{
	pthread_mutex_lock(&peer->lock);
	peer->sock = sock;
	if (peer->rate)
		apply_rate(peer);
	pthread_mutex_unlock(&peer->lock);
}

void peer_close(struct peer *peer)
{
	int sock = peer->sock;

	if (sock < 0)
		return;
	take_socket(peer, -1);
	close(sock);
}

bool peer_ready(const struct peer *peer)
{
	struct pollfd pollfd = { .fd = peer->sock, .events = POLLIN | POLLRDHUP };

	/* Between passes the replica says nothing but that it is going away. */
	return peer->sock >= 0 && poll(&pollfd, 1, 0) == 0;
}

int peer_connect(struct peer *peer, const struct state *state, int cancel_fd, struct err *e)
{
	int sock;

	peer_close(peer);
	sock = session_connect(state->host, state->port, cancel_fd, e);
	if (sock < 0)
		return sock;
	take_socket(peer, sock);
	return 0;
}

int peer_probe(const char *host, uint16_t port, int cancel_fd, struct err *e)
{
	int sock = session_connect(host, port, cancel_fd, e);

	if (sock < 0)
		return sock;
	close(sock);
	return 0;
}

static void describe(const struct state *state, const struct track *track,
		     struct session_open *open)
{
	unsigned int i;

	strcpy(open->vm, state->vm);
	state_parse_uuid(state->relationship, open->relationship);
	open->last_pass = state->last_pass;
	open->disk_count = state->disk_count;
	for (i = 0; i < state->disk_count; i++) {
		const struct state_disk *disk = &state->disks[i];

		strcpy(open->disks[i].name, disk->name);
		strcpy(open->disks[i].source, disk->device);
		open->disks[i].size_bytes = track ? track->disks[i].size_bytes : disk->size_bytes;
		open->disks[i].chunk_bytes = track ? track->disks[i].chunk_bytes :
						     disk->chunk_bytes;
	}
}

int peer_open(struct peer *peer, const struct state *state, const struct track *track,
	      int cancel_fd, struct err *e)
{
	struct session_open *open = calloc(1, sizeof(*open));
	int rc;

	if (!open)
		return err_sys(e, -ENOMEM, "cannot describe the disks of %s", state->vm);
	describe(state, track, open);
	rc = session_open(peer->sock, open, &peer->opened, cancel_fd, e);
	free(open);
	return rc;
}

int peer_await(struct peer *peer, uint64_t pass, int cancel_fd, struct err *e)
{
	struct wire_header header = { .type = WIRE_AWAIT, .sequence = pass };
	int rc = session_send(peer->sock, &header, NULL, e);

	if (!rc)
		rc = session_receive(peer->sock, &header, NULL, 0, cancel_fd, SESSION_TIMEOUT_S, e);
	if (!rc && (header.type != WIRE_AWAITING || header.sequence != pass))
		rc = err_set(e, -EPROTO, "the replica answered %s where AWAITING was due",
			     wire_type_name(header.type));
	if (!rc) {
		peer->opened.state = WIRE_STATE_AWAITING;
		peer->opened.last_pass = pass;
	}
	return rc;
}

int peer_release(const struct state *state, int cancel_fd, struct err *e)
{
	struct wire_header header = { .type = WIRE_RELEASE };
	struct peer peer;
	int rc;

	peer_init(&peer);
	rc = peer_connect(&peer, state, cancel_fd, e);
	if (!rc)
		rc = peer_open(&peer, state, NULL, cancel_fd, e);
	if (!rc)
		rc = session_send(peer.sock, &header, NULL, e);
	if (!rc)
		rc = session_receive(peer.sock, &header, NULL, 0, cancel_fd, SESSION_TIMEOUT_S, e);
	if (!rc && header.type != WIRE_RELEASED)
		rc = err_set(e, -EPROTO, "the replica answered %s where RELEASED was due",
			     wire_type_name(header.type));
	peer_close(&peer);
	return rc;
}
