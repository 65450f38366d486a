/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control frames of a connection, sent and received one at a time on a
 * blocking socket (with timeouts): everything but the stream of DATA and ZERO
 * frames, which userspace/primary/ship.h and userspace/replica/receive.h do.
 */
#ifndef VMR_WIRE_SESSION_H
#define VMR_WIRE_SESSION_H

#include "wire.h"

/* for one frame to come or go; TCP keepalive finds dead peers in about the same */
#define SESSION_TIMEOUT_S	30
#define SESSION_LINGER_S	2

/*
 * Connects to @host (name or address, IPv4 or IPv6) and @port, sets TCP_NODELAY,
 * keepalive and timeouts, exchanges HELLO. Returns the socket or a negative errno.
 * @cancel_fd: an eventfd that ends the wait with -ECANCELED when readable; -1: none.
 */
int session_connect(const char *host, uint16_t port, int cancel_fd, struct err *e);

/* The replica's end of the same, on an accepted socket. */
int session_accept(int sock, struct err *e);

/* Sends one frame with its payload. */
int session_send(int sock, const struct wire_header *header, const void *payload, struct err *e);

/*
 * Receives one frame; the payload goes to @payload (room for @room bytes; a
 * longer one is -EPROTO). An ERROR frame is turned into its code and sentence.
 * @cancel_fd as above. @timeout_s 0: wait for ever for it to begin, then
 * SESSION_TIMEOUT_S for the rest. -ENOTCONN: the peer closed between two frames.
 */
int session_receive(int sock, struct wire_header *header, void *payload, size_t room,
		    int cancel_fd, unsigned int timeout_s, struct err *e);

/*
 * Sends an ERROR frame, as well as it goes; never fails. Then ends the sending side
 * and throws away what still comes, for SESSION_LINGER_S at most: a
 * socket closed with unread data would reset the connection, and the peer would
 * lose the sentence. The caller closes the socket.
 */
void session_send_error(int sock, const struct err *why);

/*
 * Text of a peer goes to logs, terminals and the bus, which does not carry what is not UTF-8:
 * what is not printable ASCII becomes '?'.
 */
void session_clean_text(char *text);

/* Fills @e with what the peer's ERROR frame says and returns its code. */
int session_error_decode(const struct wire_error *frame, struct err *e);

/* A disk as the primary offers it; strings NUL terminated. */
struct session_disk {
	char name[WIRE_NAME_BYTES];
	char source[256];
	uint64_t size_bytes;
	uint32_t chunk_bytes;
};

struct session_open {
	char vm[WIRE_NAME_BYTES];
	uint8_t relationship[16];
	uint64_t last_pass;
	unsigned int disk_count;
	struct session_disk disks[WIRE_MAX_DISKS];
};

struct session_opened {
	enum wire_state state;
	uint64_t last_pass;
	/*
	 * grows with each session that has passes; less than it once was: the replica is an
	 * older copy of itself
	 */
	uint64_t generation;
	uint64_t initial_durable[WIRE_MAX_DISKS];	/* bytes per disk */
};

/* Primary: OPEN, and the replica's answer. */
int session_open(int sock, const struct session_open *open, struct session_opened *opened,
		 int cancel_fd, struct err *e);
/* Replica: decodes and checks an OPEN frame's payload; encodes the answer and sends it. */
int session_open_decode(const struct wire_header *header, const void *payload,
			struct session_open *open, struct err *e);
int session_opened_send(int sock, const struct session_opened *opened, unsigned int disk_count,
			struct err *e);

#endif
