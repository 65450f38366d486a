// SPDX-License-Identifier: GPL-2.0-or-later
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../common/log.h"
#include "connection.h"
#include "import.h"

#define MAX_LISTENERS	4
#define BACKLOG		64
/* After a failure to accept (no file descriptors left, as a rule). */
#define ACCEPT_PAUSE_MS	1000

struct replica {
	char *root;
	int stop_fd;			/* eventfd: ends the listener */
	unsigned int listener_count;
	int listeners[MAX_LISTENERS];
	pthread_t thread;
	struct connections connections;
};

/* --- listening -------------------------------------------------------------- */

/* Returns a listening socket or a negative errno. */
static int listen_at(const struct addrinfo *a, bool both_families)
{
	const int one = 1, v6only = !both_families;
	int sock =
		socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol);
	int r = 0;

	if (sock < 0)
		return -errno;
	setsockopt(sock, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (a->ai_family == AF_INET6)
		setsockopt(sock, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, sizeof(v6only));
	if (bind(sock, a->ai_addr, a->ai_addrlen) || listen(sock, BACKLOG))
		r = -errno;
	if (!r)
		return sock;
	close(sock);
	return r;
}

/* All addresses: one socket for both families where there is IPv6, else one for IPv4. */
static int listen_everywhere(struct replica *replica, const struct addrinfo *list)
{
	const int families[] = { AF_INET6, AF_INET };
	int r = -EAFNOSUPPORT;

	for (unsigned int i = 0; i < 2; i++)
		for (const struct addrinfo *a = list; a; a = a->ai_next) {
			if (a->ai_family != families[i])
				continue;
			r = listen_at(a, true);
			if (r >= 0) {
				replica->listeners[replica->listener_count++] = r;
				return 0;
			}
		}
	return r;
}

static int listen_addresses(struct replica *replica, const struct addrinfo *list)
{
	int r = 0;

	for (const struct addrinfo *a = list; a && replica->listener_count < MAX_LISTENERS;
	     a = a->ai_next) {
		r = listen_at(a, false);
		if (r < 0)
			return r;
		replica->listeners[replica->listener_count++] = r;
	}
	return 0;
}

static int start_listening(struct replica *replica, const struct replica_options *options,
			   struct err *e)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE };
	uint16_t port = options->port ? options->port : WIRE_PORT;
	struct addrinfo *list;
	char service[8];
	int r;

	snprintf(service, sizeof(service), "%u", port);
	r = getaddrinfo(options->address, service, &hints, &list);
	if (r)
		return err_set(e, -EADDRNOTAVAIL, "cannot listen on %s: %s",
			       options->address ? options->address : "any address",
			       gai_strerror(r));
	r = options->address ? listen_addresses(replica, list) : listen_everywhere(replica, list);
	freeaddrinfo(list);
	if (r)
		return err_sys(e, r, "cannot listen on %s, port %u",
			       options->address ? options->address : "any address", port);
	return 0;
}

static void accept_one(struct replica *replica, int listener)
{
	struct pollfd stop = { .fd = replica->stop_fd, .events = POLLIN };
	int sock = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	int r;

	if (sock < 0) {
		if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
			return;
		log_err("cannot accept a primary's connection: %s", strerror(errno));
		poll(&stop, 1, ACCEPT_PAUSE_MS);
		return;
	}
	r = connections_add(&replica->connections, sock);
	if (r == -EUSERS)
		log_warn("a connection was refused: there are %d already", REPLICA_MAX_CONNECTIONS);
	else if (r)
		log_err("cannot serve a primary's connection: %s", strerror(-r));
}

static void *listen_thread(void *arg)
{
	struct replica *replica = arg;
	struct pollfd fds[MAX_LISTENERS + 2];
	unsigned int count = replica->listener_count;

	for (unsigned int i = 0; i < count; i++)
		fds[i] = (struct pollfd){ .fd = replica->listeners[i], .events = POLLIN };
	fds[count] = (struct pollfd){ .fd = replica->connections.ended_fd, .events = POLLIN };
	fds[count + 1] = (struct pollfd){ .fd = replica->stop_fd, .events = POLLIN };
	for (;;) {
		if (poll(fds, count + 2, -1) < 0)
			continue;
		if (fds[count + 1].revents)
			return NULL;
		connections_reap(&replica->connections);
		for (unsigned int i = 0; i < count; i++)
			if (fds[i].revents)
				accept_one(replica, fds[i].fd);
	}
}

/* --- starting and stopping -------------------------------------------------- */

static void replica_free(struct replica *replica)
{
	for (unsigned int i = 0; i < replica->listener_count; i++)
		close(replica->listeners[i]);
	if (replica->stop_fd >= 0)
		close(replica->stop_fd);
	free(replica->root);
	free(replica);
}

int replica_start(const struct replica_options *options, struct replica **out, struct err *e)
{
	struct replica *replica = calloc(1, sizeof(*replica));
	int r;

	if (!replica)
		return err_set(e, -ENOMEM, "out of memory");
	replica->stop_fd = eventfd(0, EFD_CLOEXEC);
	replica->root = strdup(options->root);
	if (replica->stop_fd < 0 || !replica->root)
		r = err_set(e, -ENOMEM, "cannot set up the replica role");
	else
		r = start_listening(replica, options, e);
	if (!r) {
		r = connections_init(&replica->connections, replica->root);
		if (!r) {
			replica->connections.is_primary = options->is_primary;
			replica->connections.arg = options->arg;
			r = -pthread_create(&replica->thread, NULL, listen_thread, replica);
			if (r)
				connections_exit(&replica->connections);
		}
		if (r)
			err_sys(e, r, "cannot set up the replica role");
	}
	if (r) {
		replica_free(replica);
		return r;
	}
	*out = replica;
	return 0;
}

void replica_stop(struct replica *replica)
{
	const uint64_t one = 1;

	if (!replica)
		return;
	if (write(replica->stop_fd, &one, sizeof(one)) < 0)
		log_err("cannot stop the listener: %s", strerror(errno));
	pthread_join(replica->thread, NULL);
	connections_exit(&replica->connections);
	replica_free(replica);
}

/* --- status ----------------------------------------------------------------- */

static void fill_live(struct replica *replica, struct replica_status *status)
{
	struct connection *c;

	troubles_get(&replica->connections.troubles, status->vm, status->trouble);
	pthread_mutex_lock(&replica->connections.lock);
	c = __connections_find(&replica->connections, status->vm);
	if (c) {
		status->connected = true;
		status->receiving_pass = atomic_load(&c->receiving_pass);
		if (status->receiving_pass) {
			status->receiving_done_bytes = atomic_load(&c->progress.done_bytes);
			status->receiving_total_bytes = atomic_load(&c->progress.total_bytes);
		}
	}
	pthread_mutex_unlock(&replica->connections.lock);
}

int replica_look(struct replica *replica, const char *vm, struct replica_status *status,
		 struct err *e)
{
	struct store_points points;
	int r;

	memset(status, 0, sizeof(*status));
	snprintf(status->vm, sizeof(status->vm), "%.63s", vm);
	/* First: all that a connection brought is there when it is said to be gone. */
	fill_live(replica, status);
	r = store_points(replica->root, vm, &points, e);
	if (r)
		return r;
	status->released = points.released;
	status->awaits_import = points.awaited;
	status->last_pass = points.last_pass;
	status->points = points.count;
	status->last_point_time_us = points.count ? points.at[points.count - 1].time_us : 0;
	status->tests = points.tests;
	status->used_bytes = points.used_bytes;
	status->failover = points.failover;
	snprintf(status->relationship, sizeof(status->relationship), "%s", points.relationship);
	store_points_free(&points);
	return 0;
}

/* False: not a replica (any more), or one whose manifest cannot be read. */
static bool fill_status(struct replica *replica, const char *vm, struct replica_status *status)
{
	struct err e;
	int r = replica_look(replica, vm, status, &e);

	if (r && r != -ENOENT)
		log_warn("%s: %s", vm, e.text);
	return !r;
}

static int append_status(struct replica *replica, const char *vm, struct replica_status **list,
			 unsigned int *count)
{
	struct replica_status status, *grown;

	if (!fill_status(replica, vm, &status))
		return 0;
	grown = reallocarray(*list, *count + 1, sizeof(**list));
	if (!grown)
		return -ENOMEM;
	grown[(*count)++] = status;
	*list = grown;
	return 0;
}

int replica_list(struct replica *replica, struct replica_status **list, unsigned int *count,
		 struct err *e)
{
	DIR *dir = opendir(replica->root);
	struct dirent *entry;
	int r = 0;

	*list = NULL;
	*count = 0;
	if (!dir && errno == ENOENT)
		return 0;	/* the first replica makes it */
	if (!dir)
		return err_sys(e, -errno, "cannot list the replicas in %s", replica->root);
	while (!r && (entry = readdir(dir)))
		if (store_name_valid(entry->d_name))
			r = append_status(replica, entry->d_name, list, count);
	closedir(dir);
	if (r) {
		free(*list);
		*list = NULL;
		*count = 0;
		return err_set(e, r, "out of memory");
	}
	return 0;
}

struct connections *replica_connections(struct replica *replica)
{
	return &replica->connections;
}

const char *replica_root(const struct replica *replica)
{
	return replica->root;
}

/* --- import ----------------------------------------------------------------- */

/* The VM's sub-directory: @location, or what is below it. */
static int open_medium(const char *location, const char *vm, struct err *e)
{
	int parent = open(location, O_RDONLY | O_DIRECTORY | O_CLOEXEC), dir;

	if (parent < 0)
		return err_sys(e, -errno, "cannot open the medium at %s", location);
	dir = openat(parent, vm, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0)
		return parent;
	close(parent);
	return dir;
}

static int check_medium(const struct medium *m, const char *vm, struct err *e)
{
	if (strcmp(m->vm, vm))
		return err_set(e, -EINVAL, "the medium is of the VM %s, not of %s", m->vm, vm);
	if (!m->complete)
		return err_set(e, -EAGAIN,
			       "the medium is half-written: the export of %s on its primary has not ended", vm);
	return 0;
}

static int import_medium(struct replica *replica, const char *vm, const struct import *import,
			 struct err *e)
{
	struct store *store;
	int r = check_medium(import->medium, vm, e);

	for (unsigned int i = 0; i < import->medium->disk_count; i++)
		atomic_fetch_add(import->progress->total_bytes,
				 2 * import->medium->disks[i].file_bytes);
	if (!r)
		r = import_verify(import, e);
	if (!r)
		r = connections_take_store(&replica->connections, vm, &store, e);
	if (r)
		return r;
	r = import_apply(import, store, e);
	store_close(store);
	return r;
}

int replica_import(struct replica *replica, const char *vm, const char *location, int cancel_fd,
		   struct replica_import_progress *progress, struct err *e)
{
	struct medium *medium = calloc(1, sizeof(*medium));
	struct import import = { .medium = medium, .cancel_fd = cancel_fd, .progress = progress };
	int r = 0;

	if (!medium)
		return err_set(e, -ENOMEM, "out of memory");
	if (!store_name_valid(vm))
		r = err_set(e, -EINVAL, "\"%.64s\" cannot be a VM's name", vm);
	if (!r)
		r = import.dir = open_medium(location, vm, e);
	if (r >= 0) {
		r = medium_read(import.dir, medium, e);
		if (!r)
			r = import_medium(replica, vm, &import, e);
		close(import.dir);
	}
	free(medium);
	return r;
}

int replica_delete(struct replica *replica, const char *vm, struct err *e)
{
	int r = connections_end_idle(&replica->connections, vm, e);

	return r ? r : store_delete(replica->root, vm, e);
}
