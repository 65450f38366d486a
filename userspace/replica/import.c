// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../wire/codec.h"
#include "../wire/wire.h"
#include "import.h"

#define ALIGN 4096

/* One disk's file, read from front to back. */
struct reader {
	const struct import *import;
	unsigned int index;
	const struct medium_disk *disk;
	char name[MEDIUM_FILE_BYTES];
	int fd;
	struct store_pass *pass;	/* null: only verify */
	uint64_t at;			/* of the next frame in the file */
	uint64_t frames, digest;
	uint64_t end;			/* all of the disk before it came */
	uint8_t *payload, *raw;		/* WIRE_MAX_PAYLOAD each, aligned */
};

static int damaged(const struct reader *r, const char *how, struct err *e)
{
	return err_set(e, -EUCLEAN,
		       "the medium is damaged: %s at byte %" PRIu64 " %s; make a new export",
		       r->name, r->at, how);
}

static bool cancelled(const struct import *import)
{
	struct pollfd pollfd = { .fd = import->cancel_fd, .events = POLLIN };

	return poll(&pollfd, 1, 0) > 0;
}

/* --- a frame --------------------------------------------------------------------- */

static int read_all(struct reader *r, void *to, uint32_t bytes, uint64_t offset, struct err *e)
{
	uint32_t done = 0;
	ssize_t got;

	if (bytes > r->disk->file_bytes || offset > r->disk->file_bytes - bytes)
		return damaged(r, "goes on behind its end", e);
	while (done < bytes) {
		got = pread(r->fd, (uint8_t *)to + done, bytes - done, offset + done);
		if (got < 0 && errno != EINTR)
			return err_sys(e, -errno, "cannot read %s of the medium", r->name);
		if (!got)
			return damaged(r, "is cut off", e);
		done += got > 0 ? got : 0;
	}
	return 0;
}

static int read_header(struct reader *r, struct wire_header *header, struct err *e)
{
	uint8_t link[sizeof(uint64_t) + WIRE_HEADER_BYTES], *head = link + sizeof(uint64_t);
	int ret = read_all(r, head, WIRE_HEADER_BYTES, r->at, e);
	uint64_t size = r->disk->size_bytes, chunk = r->disk->chunk_bytes, end;

	if (ret)
		return ret;
	if (wire_header_decode(head, header, NULL) ||
	    (header->type != WIRE_DATA && header->type != WIRE_ZERO))
		return damaged(r, "is no frame of a disk", e);
	end = header->offset + header->raw_bytes;
	if (header->disk != r->index || header->sequence != r->frames || end > size ||
	    header->offset % chunk || (end % chunk && end != size))
		return damaged(r, "is not the frame that was due", e);
	if (header->offset > r->end)
		return damaged(r, "leaves a part of the disk out", e);
	memcpy(link, &r->digest, sizeof(uint64_t));
	r->digest = codec_xxh3(link, sizeof(link));
	return 0;
}

/* The frame's bytes, in r->raw or r->payload. */
static int read_payload(struct reader *r, const struct wire_header *header, uint8_t **bytes,
			struct err *e)
{
	int ret = read_all(r, r->payload, header->payload_bytes, r->at + WIRE_HEADER_BYTES, e);

	if (ret)
		return ret;
	if (wire_payload_check(header, r->payload, NULL))
		return damaged(r, "has a wrong checksum", e);
	*bytes = r->payload;
	if (header->flags & WIRE_F_LZ4) {
		*bytes = r->raw;
		if (!codec_unpack(r->raw, header->raw_bytes, r->payload, header->payload_bytes))
			return damaged(r, "does not unpack", e);
	}
	return 0;
}

static int write_place(const struct store_place *place, const uint8_t *bytes, struct err *e)
{
	uint32_t done = 0;
	ssize_t got;

	while (done < place->length) {
		got = pwrite(place->fd, bytes + done, place->length - done,
			     place->file_offset + done);
		if (!got || (got < 0 && errno != EINTR))
			return err_sys(e, got ? -errno : -ENOSPC,
				       "the replica cannot write what is imported");
		done += got > 0 ? got : 0;
	}
	return 0;
}

static int apply_frame(struct reader *r, const struct wire_header *header, const uint8_t *bytes,
		       struct err *e)
{
	struct store_place place;
	uint32_t done = 0;
	int ret = 0;

	if (header->type == WIRE_ZERO)
		return store_pass_zero(r->pass, r->index, header->offset, header->raw_bytes, e);
	while (!ret && done < header->raw_bytes) {
		ret = store_pass_place(r->pass, r->index, header->offset + done,
				       header->raw_bytes - done, &place, e);
		if (!ret)
			ret = write_place(&place, bytes + done, e);
		done += place.length;
	}
	return ret;
}

static int take_frame(struct reader *r, struct err *e)
{
	struct wire_header header;
	uint8_t *bytes = NULL;
	int ret = read_header(r, &header, e);

	if (!ret && header.payload_bytes)
		ret = read_payload(r, &header, &bytes, e);
	if (!ret && r->pass)
		ret = apply_frame(r, &header, bytes, e);
	if (ret)
		return ret;
	r->at += WIRE_HEADER_BYTES + header.payload_bytes;
	r->frames++;
	if (header.offset + header.raw_bytes > r->end)
		r->end = header.offset + header.raw_bytes;
	atomic_fetch_add(r->import->progress->done_bytes,
			 WIRE_HEADER_BYTES + header.payload_bytes);
	return 0;
}

/* --- a disk ------------------------------------------------------------------------ */

static int read_frames(struct reader *r, struct err *e)
{
	struct stat st;
	int ret = 0;

	if (fstat(r->fd, &st) || !S_ISREG(st.st_mode) ||
	    (uint64_t)st.st_size != r->disk->file_bytes)
		return damaged(r, "does not belong to a file of the size that it should have", e);
	while (!ret && r->at < r->disk->file_bytes)
		ret = cancelled(r->import) ? err_set(e, -ECANCELED, "canceled") : take_frame(r, e);
	if (ret)
		return ret;
	if (r->frames != r->disk->frames || r->digest != r->disk->digest)
		return damaged(r, "ends, but its frames are not those that were written", e);
	if (r->end != r->disk->size_bytes)
		return damaged(r, "ends, but the disk does not", e);
	return 0;
}

static int read_disk(const struct import *import, unsigned int index, struct store_pass *pass,
		     struct err *e)
{
	struct reader r = {
		.import = import,
		.index = index,
		.disk = &import->medium->disks[index],
		.pass = pass,
		.payload = aligned_alloc(ALIGN, WIRE_MAX_PAYLOAD),
		.raw = aligned_alloc(ALIGN, WIRE_MAX_PAYLOAD),
	};
	int ret;

	medium_file_name(r.disk, r.name);
	r.fd = openat(import->dir, r.name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (!r.payload || !r.raw)
		ret = err_set(e, -ENOMEM, "out of memory");
	else if (r.fd < 0)
		ret = err_sys(e, errno == ENOENT ? -EUCLEAN : -errno,
			      "the medium is damaged: cannot open %s", r.name);
	else
		ret = read_frames(&r, e);
	if (r.fd >= 0)
		close(r.fd);
	free(r.payload);
	free(r.raw);
	return ret;
}

int import_verify(const struct import *import, struct err *e)
{
	int ret = 0;

	for (unsigned int i = 0; i < import->medium->disk_count && !ret; i++)
		ret = read_disk(import, i, NULL, e);
	return ret;
}

/* --- into the store ------------------------------------------------------------------ */

static int check_store(const struct medium *m, const struct store_spec *spec, struct err *e)
{
	bool same = m->disk_count == spec->disk_count;

	if (strcmp(m->relationship, spec->relationship))
		return err_set(e, -EINVAL,
			       "the medium is of another relationship of %s: use the one that was exported for this replica",
			       spec->vm);
	for (unsigned int i = 0; same && i < m->disk_count; i++)
		same = !strcmp(m->disks[i].name, spec->disks[i].name) &&
		       m->disks[i].size_bytes == spec->disks[i].size_bytes &&
		       m->disks[i].chunk_bytes == spec->disks[i].chunk_bytes;
	return same ? 0 : err_set(e, -EINVAL, "the medium has other disks than the replica of %s",
				  spec->vm);
}

int import_apply(const struct import *import, struct store *store, struct err *e)
{
	const struct medium *m = import->medium;
	struct store_pass *pass;
	int ret = check_store(m, store_spec(store), e);

	/* The primary has not said so yet, which it does before its next pass. */
	if (!ret && store_initial(store) == STORE_INITIAL_NONE)
		ret = store_await(store, m->pass, e);
	if (!ret)
		ret = store_pass_begin(store, m->pass, STORE_PASS_IMPORT, &pass, e);
	if (ret)
		return ret;
	for (unsigned int i = 0; i < m->disk_count && !ret; i++)
		ret = read_disk(import, i, pass, e);
	if (ret) {
		store_pass_abort(pass);
		return ret;
	}
	return store_pass_commit(pass, m->time_us, false, STORE_CONSISTENCY_NONE, e);
}
