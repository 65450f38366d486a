// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "session.h"

#define PROGRAM "vmreplicad 1.0"

/* A dead peer is noticed after about SESSION_TIMEOUT_S: idle + count * interval. */
#define KEEPALIVE_IDLE_S	10
#define KEEPALIVE_INTERVAL_S	5
#define KEEPALIVE_COUNT		4

#define NO_DEADLINE INT64_MAX

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int64_t deadline_in(unsigned int seconds)
{
	return now_ms() + 1000 * (int64_t)seconds;
}

/* Waits for @events on @sock. 0, -ECANCELED, -ETIMEDOUT or what poll(2) says; no sentence. */
static int wait_for(int sock, short events, int cancel_fd, int64_t deadline)
{
	struct pollfd fds[2] = { { .fd = sock, .events = events },
				 { .fd = cancel_fd, .events = POLLIN } };
	int64_t left;
	int r;

	for (;;) {
		left = deadline == NO_DEADLINE ? -1 : deadline - now_ms();
		if (deadline != NO_DEADLINE && left <= 0)
			return -ETIMEDOUT;
		r = poll(fds, 2, (int)left);
		if (r < 0 && errno != EINTR)
			return -errno;
		if (r <= 0)
			continue;
		if (fds[1].revents)
			return -ECANCELED;
		return 0;
	}
}

static int say_wait(int r, const char *what, struct err *e)
{
	if (r == -ECANCELED)
		return err_set(e, r, "canceled");
	if (r == -ETIMEDOUT)
		return err_set(e, r, "the peer did not %s in time", what);
	return err_sys(e, r, "waiting for the peer to %s failed", what);
}

/* All are there to notice trouble early: what a kind of socket does not have is left out. */
static void set_options(int sock)
{
	const unsigned int user_timeout_ms = SESSION_TIMEOUT_S * 1000;
	const struct { int level, name, value; } options[] = {
		{ IPPROTO_TCP, TCP_NODELAY, 1 },
		{ SOL_SOCKET, SO_KEEPALIVE, 1 },
		{ IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S },
		{ IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S },
		{ IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_COUNT },
		{ IPPROTO_TCP, TCP_USER_TIMEOUT, (int)user_timeout_ms },
	};

	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		setsockopt(sock, options[i].level, options[i].name, &options[i].value, sizeof(int));
}

/* Returns a connected, blocking socket or a negative errno without a sentence. */
static int connect_address(const struct addrinfo *address, int cancel_fd, int64_t deadline)
{
	int sock = socket(address->ai_family, address->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK,
			  address->ai_protocol);
	socklen_t size = sizeof(int);
	int r = 0;

	if (sock < 0)
		return -errno;
	set_options(sock);
	if (connect(sock, address->ai_addr, address->ai_addrlen) < 0)
		r = -errno;
	if (r == -EINPROGRESS) {
		r = wait_for(sock, POLLOUT, cancel_fd, deadline);
		if (!r && getsockopt(sock, SOL_SOCKET, SO_ERROR, &r, &size) == 0)
			r = -r;
	}
	if (!r && fcntl(sock, F_SETFL, fcntl(sock, F_GETFL) & ~O_NONBLOCK) < 0)
		r = -errno;
	if (!r)
		return sock;
	close(sock);
	return r;
}

/* Tries the addresses of @host one after another within one deadline. */
static int connect_host(const char *host, uint16_t port, int cancel_fd, struct err *e)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	int64_t deadline = deadline_in(SESSION_TIMEOUT_S);
	struct addrinfo *list;
	char service[8];
	int r;

	snprintf(service, sizeof(service), "%u", port);
	r = getaddrinfo(host, service, &hints, &list);
	if (r)
		return err_set(e, -EHOSTUNREACH, "the replica host %s cannot be looked up: %s",
			       host, gai_strerror(r));
	r = -EHOSTUNREACH;
	for (const struct addrinfo *a = list; a; a = a->ai_next) {
		int64_t share = now_ms() + (deadline - now_ms()) / (a->ai_next ? 2 : 1);

		r = connect_address(a, cancel_fd, share);
		if (r >= 0 || r == -ECANCELED)
			break;
	}
	freeaddrinfo(list);
	if (r == -ECANCELED)
		return err_set(e, r, "canceled");
	if (r < 0)
		return err_sys(
			e, r,
			"cannot connect to the replica host %s, port %u (does vmreplicad run there, "
			"and does the firewall let the port in?)",
			host, port);
	return r;
}

/* Drops the first @bytes of what @msg is yet to send. */
static void advance(struct msghdr *msg, size_t bytes)
{
	while (msg->msg_iovlen && bytes >= msg->msg_iov->iov_len) {
		bytes -= msg->msg_iov->iov_len;
		msg->msg_iov++;
		msg->msg_iovlen--;
	}
	if (bytes) {
		msg->msg_iov->iov_base = (char *)msg->msg_iov->iov_base + bytes;
		msg->msg_iov->iov_len -= bytes;
	}
}

static int send_all(int sock, struct iovec *iov, int count, struct err *e)
{
	int64_t deadline = deadline_in(SESSION_TIMEOUT_S);
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = count };
	ssize_t sent;
	int r;

	while (msg.msg_iovlen) {
		sent = sendmsg(sock, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent >= 0) {
			advance(&msg, sent);
			continue;
		}
		if (errno != EAGAIN && errno != EINTR)
			return err_sys(e, -errno, "sending to the peer failed");
		r = wait_for(sock, POLLOUT, -1, deadline);
		if (r)
			return say_wait(r, "take a frame", e);
	}
	return 0;
}

int session_send(int sock, const struct wire_header *header, const void *payload, struct err *e)
{
	uint8_t head[WIRE_HEADER_BYTES];
	struct iovec iov[2] = {
		{ head, sizeof(head) },
		{ (void *)payload, header->payload_bytes },
	};

	wire_header_encode(header, payload, head);
	return send_all(sock, iov, header->payload_bytes ? 2 : 1, e);
}

/* Receives exactly @bytes. -ENOTCONN when the peer closes before the first of them. */
static int receive_all(int sock, void *buffer, size_t bytes, int cancel_fd, int64_t deadline,
		       struct err *e)
{
	size_t have = 0;
	ssize_t got;
	int r;

	while (have < bytes) {
		r = wait_for(sock, POLLIN, cancel_fd, deadline);
		if (r)
			return say_wait(r, "send a frame", e);
		got = recv(sock, (char *)buffer + have, bytes - have, MSG_DONTWAIT);
		if (got < 0 && errno != EAGAIN && errno != EINTR)
			return err_sys(e, -errno, "receiving from the peer failed");
		if (!got && !have)
			return err_set(e, -ENOTCONN, "the peer closed the connection");
		if (!got)
			return err_set(e, -ECONNRESET,
				       "the peer closed the connection within a frame");
		if (got > 0 && !have && deadline == NO_DEADLINE)
			deadline = deadline_in(SESSION_TIMEOUT_S);
		have += got > 0 ? got : 0;
	}
	return 0;
}

void session_clean_text(char *text)
{
	for (; *text; text++) {
		if ((unsigned char)*text < ' ' || (unsigned char)*text > '~')
			*text = '?';
	}
}

int session_error_decode(const struct wire_error *frame, struct err *e)
{
	char text[ERR_TEXT_BYTES];
	int code = frame->code < 0 && frame->code > -4096 ? frame->code : -EPROTO;

	memcpy(text, frame->text, sizeof(text));
	text[sizeof(text) - 1] = 0;
	session_clean_text(text);
	return err_set(e, code, "%s", text);
}

int session_receive(int sock, struct wire_header *header, void *payload, size_t room,
		    int cancel_fd, unsigned int timeout_s, struct err *e)
{
	int64_t deadline = timeout_s ? deadline_in(timeout_s) : NO_DEADLINE;
	uint8_t head[WIRE_HEADER_BYTES];
	struct wire_error error;
	struct wire_header h;
	int r;

	r = receive_all(sock, head, sizeof(head), cancel_fd, deadline, e);
	if (r)
		return r;
	r = wire_header_decode(head, &h, e);
	if (r)
		return r;
	if (h.type == WIRE_ERROR) {
		payload = &error;
		room = sizeof(error);
	}
	if (h.payload_bytes > room)
		return err_set(e, -EPROTO, "the peer sent a %s frame, which is not expected now",
			       wire_type_name(h.type));
	r = receive_all(sock, payload, h.payload_bytes, cancel_fd, deadline_in(SESSION_TIMEOUT_S),
			e);
	if (!r)
		r = wire_payload_check(&h, payload, e);
	if (r)
		return r == -ENOTCONN ? -ECONNRESET : r;
	if (h.type == WIRE_ERROR)
		return session_error_decode(&error, e);
	*header = h;
	return 0;
}

/* Reads and drops until the peer closes, see session.h. */
static void linger(int sock)
{
	int64_t deadline = deadline_in(SESSION_LINGER_S);
	char dropped[16384];
	ssize_t got;

	shutdown(sock, SHUT_WR);
	while (!wait_for(sock, POLLIN, -1, deadline)) {
		got = recv(sock, dropped, sizeof(dropped), MSG_DONTWAIT);
		if (!got || (got < 0 && errno != EAGAIN && errno != EINTR))
			return;
	}
}

void session_send_error(int sock, const struct err *why)
{
	const struct wire_header header = { .type = WIRE_ERROR,
					    .payload_bytes = sizeof(struct wire_error) };
	struct {
		uint8_t head[WIRE_HEADER_BYTES];
		struct wire_error body;
	} frame = { .body.code = why->code };

	_Static_assert(sizeof(frame) == WIRE_HEADER_BYTES + sizeof(struct wire_error),
		       "no padding");
	snprintf(frame.body.text, sizeof(frame.body.text), "%s", why->text);
	wire_header_encode(&header, &frame.body, frame.head);
	/* In one piece or not at all: half a frame would say nothing. */
	if (send(sock, &frame, sizeof(frame), MSG_NOSIGNAL | MSG_DONTWAIT) == sizeof(frame))
		linger(sock);
}

static int send_hello(int sock, struct err *e)
{
	const struct wire_header header = { .type = WIRE_HELLO,
					    .payload_bytes = sizeof(struct wire_hello) };
	const struct wire_hello hello = {
		.version_min = WIRE_VERSION_MIN,
		.version_max = WIRE_VERSION_MAX,
		.program = PROGRAM,
	};

	return session_send(sock, &header, &hello, e);
}

static int receive_hello(int sock, int cancel_fd, struct err *e)
{
	struct wire_header header;
	struct wire_hello hello;
	int r;

	r = session_receive(sock, &header, &hello, sizeof(hello), cancel_fd, SESSION_TIMEOUT_S, e);
	if (r)
		return r;
	if (header.type != WIRE_HELLO)
		return err_set(e, -EPROTO, "the peer began with a %s frame instead of HELLO",
			       wire_type_name(header.type));
	if (hello.version_min > WIRE_VERSION_MAX || hello.version_max < WIRE_VERSION_MIN)
		return err_set(
			e, -EPROTONOSUPPORT,
			"the peer speaks versions %u to %u of the wire format, this side %u to %u: "
			"install the same version of vmreplica on both",
			hello.version_min, hello.version_max, WIRE_VERSION_MIN, WIRE_VERSION_MAX);
	if (hello.required)
		return err_set(e, -EPROTONOSUPPORT,
			       "the peer requires features 0x%" PRIx64
			       " of the wire format, which this side "
			       "does not have: install the same version of vmreplica on both",
			       hello.required);
	return 0;
}

int session_connect(const char *host, uint16_t port, int cancel_fd, struct err *e)
{
	int sock = connect_host(host, port ? port : WIRE_PORT, cancel_fd, e);
	int r;

	if (sock < 0)
		return sock;
	r = send_hello(sock, e);
	if (!r)
		r = receive_hello(sock, cancel_fd, e);
	if (!r)
		return sock;
	close(sock);
	return r;
}

int session_accept(int sock, struct err *e)
{
	int r;

	set_options(sock);
	r = receive_hello(sock, -1, e);
	return r ? r : send_hello(sock, e);
}
