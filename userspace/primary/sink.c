// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "../store/medium.h"
#include "../wire/codec.h"
#include "sink.h"

struct sink {
	int sock;
	int dir;			/* the VM's sub-directory */
	int files[STORE_MAX_DISKS];
	struct medium medium;		/* as it will be when the files are synced */
	pthread_t thread;
	uint8_t *payload;		/* WIRE_MAX_PAYLOAD */
};

/* --- frames --------------------------------------------------------------------- */

static int write_all(int fd, struct iovec *iov, int count, uint64_t offset)
{
	ssize_t got;

	while (count) {
		got = pwritev(fd, iov, count, offset);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got ? -errno : -ENOSPC;
		offset += got;
		while (count && (size_t)got >= iov->iov_len) {
			got -= iov->iov_len;
			iov++;
			count--;
		}
		if (count) {
			iov->iov_base = (uint8_t *)iov->iov_base + got;
			iov->iov_len -= got;
		}
	}
	return 0;
}

/* A frame as it came, but numbered in its file. */
static int put_frame(struct sink *s, const struct wire_header *header, struct err *e)
{
	struct medium_disk *disk = &s->medium.disks[header->disk];
	uint8_t link[sizeof(uint64_t) + WIRE_HEADER_BYTES], *head = link + sizeof(uint64_t);
	struct wire_header own = *header;
	struct iovec iov[2] = {
		{ head, WIRE_HEADER_BYTES },
		{ s->payload, header->payload_bytes },
	};
	int r;

	if (header->disk >= s->medium.disk_count)
		return err_set(e, -EPROTO, "the pass has a disk %" PRIu32 " that it should not have",
			       header->disk);
	own.sequence = disk->frames;
	wire_header_seal(&own, head);
	memcpy(link, &disk->digest, sizeof(uint64_t));
	r = write_all(s->files[header->disk], iov, header->payload_bytes ? 2 : 1, disk->file_bytes);
	if (r)
		return err_sys(e, r, "cannot write disk %s to the export of %s", disk->name,
			       s->medium.vm);
	disk->digest = codec_xxh3(link, sizeof(link));
	disk->file_bytes += WIRE_HEADER_BYTES + header->payload_bytes;
	disk->frames++;
	return 0;
}

static int sync_files(struct sink *s, struct err *e)
{
	for (unsigned int i = 0; i < s->medium.disk_count; i++)
		if (fdatasync(s->files[i]))
			return err_sys(e, -errno, "cannot make the export of %s durable",
				       s->medium.vm);
	return 0;
}

static int answer(struct sink *s, enum wire_type type, const struct wire_header *to, struct err *e)
{
	const struct wire_header header = {
		.type = type,
		.disk = to->disk,
		.offset = to->offset,
		.sequence = to->sequence,
	};

	return session_send(s->sock, &header, NULL, e);
}

static int checkpoint(struct sink *s, const struct wire_header *header, struct err *e)
{
	int r = sync_files(s, e);

	if (!r && header->disk < s->medium.disk_count)
		s->medium.disks[header->disk].durable_bytes = header->offset;
	if (!r)
		r = medium_write(s->dir, &s->medium, e);
	return r ? r : answer(s, WIRE_CHECKPOINTED, header, e);
}

static int end(struct sink *s, const struct wire_header *header, struct err *e)
{
	struct wire_pass_end pass_end;
	int r = sync_files(s, e);

	memcpy(&pass_end, s->payload, sizeof(pass_end));
	s->medium.complete = true;
	s->medium.time_us = pass_end.cut_time_us;
	for (unsigned int i = 0; i < s->medium.disk_count; i++)
		s->medium.disks[i].durable_bytes = s->medium.disks[i].size_bytes;
	if (!r)
		r = medium_write(s->dir, &s->medium, e);
	return r ? r : answer(s, WIRE_PASS_DURABLE, header, e);
}

static int take_frame(struct sink *s, struct err *e)
{
	struct wire_header header;
	int r = session_receive(s->sock, &header, s->payload, WIRE_MAX_PAYLOAD, -1, 0, e);

	if (r)
		return r;
	switch (header.type) {
	case WIRE_PASS_BEGIN:
		s->medium.pass = header.sequence;
		return medium_write(s->dir, &s->medium, e);
	case WIRE_DATA:
	case WIRE_ZERO:
		return put_frame(s, &header, e);
	case WIRE_CHECKPOINT:
		return checkpoint(s, &header, e);
	case WIRE_PASS_END:
		return end(s, &header, e);
	default:
		return err_set(e, -EPROTO, "an export has no use for a %s frame",
			       wire_type_name(header.type));
	}
}

static void *serve(void *arg)
{
	struct sink *s = arg;
	struct err e = { 0 };
	int r;

	do
		r = take_frame(s, &e);
	while (!r);
	if (r != -ENOTCONN)	/* the primary has not just hung up */
		session_send_error(s->sock, &e);
	return NULL;
}

/* --- opening ---------------------------------------------------------------------- */

static int open_dir(struct sink *s, const char *dir, struct err *e)
{
	int parent = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;

	if (parent < 0)
		return err_sys(e, -errno, "cannot open the directory %s to export to", dir);
	if (mkdirat(parent, s->medium.vm, 0700) && errno != EEXIST)
		r = err_sys(e, -errno, "cannot make the directory %s/%s", dir, s->medium.vm);
	if (!r) {
		s->dir = openat(parent, s->medium.vm,
				O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (s->dir < 0 || fsync(parent))
			r = err_sys(e, -errno, "cannot open the directory %s/%s", dir, s->medium.vm);
	}
	close(parent);
	return r;
}

static void describe(struct sink *s, const struct state *state)
{
	struct medium *m = &s->medium;

	snprintf(m->vm, sizeof(m->vm), "%s", state->vm);
	snprintf(m->relationship, sizeof(m->relationship), "%s", state->relationship);
	m->disk_count = state->disk_count;
	for (unsigned int i = 0; i < state->disk_count; i++) {
		const struct state_disk *from = &state->disks[i];

		snprintf(m->disks[i].name, sizeof(m->disks[i].name), "%s", from->name);
		snprintf(m->disks[i].source, sizeof(m->disks[i].source), "%s", from->device);
		m->disks[i].size_bytes = from->size_bytes;
		m->disks[i].chunk_bytes = from->chunk_bytes;
	}
}

static bool same_disks(const struct medium *a, const struct medium *b)
{
	bool same = a->disk_count == b->disk_count;

	for (unsigned int i = 0; same && i < a->disk_count; i++)
		same = !strcmp(a->disks[i].name, b->disks[i].name) &&
		       a->disks[i].size_bytes == b->disks[i].size_bytes &&
		       a->disks[i].chunk_bytes == b->disks[i].chunk_bytes;
	return same;
}

/*
 * Whether what is there is a part of this export. What was not recorded is not used: a medium
 * that holds less than the state says, or is of another pass, is begun anew.
 */
static int look(struct sink *s, const char *dir, const struct state *state, bool *goes_on,
		struct err *e)
{
	struct medium there;
	int r = medium_read(s->dir, &there, e);

	*goes_on = false;
	if (r == -ENOENT)
		return 0;
	if (r)
		return r;
	if (strcmp(there.relationship, state->relationship))
		return err_set(e, -EEXIST,
			       "%s/%s holds an export of another relationship: remove it or export to another directory",
			       dir, state->vm);
	if (there.complete)
		return err_set(e, -EEXIST,
			       "%s/%s holds a complete export: import it on the replica, or remove it to export anew",
			       dir, state->vm);
	*goes_on = there.pass > state->last_pass && same_disks(&there, &s->medium);
	for (unsigned int i = 0; *goes_on && i < state->disk_count; i++)
		*goes_on = there.disks[i].durable_bytes >= state->disks[i].checkpoint_bytes;
	if (*goes_on)
		s->medium = there;
	return 0;
}

/* What lies behind the last checkpoint is cut off: nobody knows how much of it arrived. */
static int open_files(struct sink *s, struct err *e)
{
	char name[MEDIUM_FILE_BYTES];

	for (unsigned int i = 0; i < s->medium.disk_count; i++) {
		struct medium_disk *disk = &s->medium.disks[i];
		struct stat st;

		medium_file_name(disk, name);
		s->files[i] = openat(s->dir, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (s->files[i] < 0 || fstat(s->files[i], &st))
			return err_sys(e, -errno, "cannot open %s of the export of %s", name,
				       s->medium.vm);
		if ((uint64_t)st.st_size < disk->file_bytes)
			return err_set(e, -EUCLEAN,
				       "%s of the export of %s has lost its end: remove the directory to export anew",
				       name, s->medium.vm);
		if (ftruncate(s->files[i], disk->file_bytes))
			return err_sys(e, -errno, "cannot shorten %s of the export of %s", name,
				       s->medium.vm);
	}
	return 0;
}

static void sink_free(struct sink *s)
{
	for (unsigned int i = 0; i < STORE_MAX_DISKS; i++)
		if (s->files[i] >= 0)
			close(s->files[i]);
	if (s->dir >= 0)
		close(s->dir);
	if (s->sock >= 0)
		close(s->sock);
	free(s->payload);
	free(s);
}

static int start_thread(struct sink *s, int *sock, struct err *e)
{
	int socks[2], r;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, socks))
		return err_sys(e, -errno, "cannot begin an export");
	s->sock = socks[1];
	r = -pthread_create(&s->thread, NULL, serve, s);
	if (r) {
		close(socks[0]);
		return err_sys(e, r, "cannot begin an export");
	}
	*sock = socks[0];
	return 0;
}

static int prepare(struct sink *s, const char *dir, const struct state *state,
		   struct session_opened *opened, struct err *e)
{
	bool goes_on = false;
	int r = open_dir(s, dir, e);

	if (!r)
		r = look(s, dir, state, &goes_on, e);
	/* Before the files change, so that old numbers never stand beside them. */
	if (!r)
		r = medium_write(s->dir, &s->medium, e);
	if (!r)
		r = open_files(s, e);
	*opened = (struct session_opened){
		.state = goes_on ? WIRE_STATE_RECEIVING : WIRE_STATE_NEW,
		.last_pass = state->last_pass,
		.generation = state->generation,
	};
	for (unsigned int i = 0; i < state->disk_count; i++)
		opened->initial_durable[i] = s->medium.disks[i].durable_bytes;
	return r;
}

int sink_start(const char *dir, const struct state *state, struct sink **sink, int *sock,
	       struct session_opened *opened, struct err *e)
{
	struct sink *s = calloc(1, sizeof(*s));
	int r = 0;

	if (!s)
		return err_sys(e, -ENOMEM, "cannot begin an export");
	s->sock = s->dir = -1;
	for (unsigned int i = 0; i < STORE_MAX_DISKS; i++)
		s->files[i] = -1;
	describe(s, state);
	s->payload = malloc(WIRE_MAX_PAYLOAD);
	if (!s->payload)
		r = err_sys(e, -ENOMEM, "cannot begin an export");
	if (!r)
		r = prepare(s, dir, state, opened, e);
	if (!r)
		r = start_thread(s, sock, e);
	if (r) {
		sink_free(s);
		return r;
	}
	*sink = s;
	return 0;
}

void sink_join(struct sink *sink)
{
	if (!sink)
		return;
	pthread_join(sink->thread, NULL);
	sink_free(sink);
}
