// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base.h"
#include "internal.h"

#define BUFFER_BYTES (256u << 10)

int base_create(int dir_fd, uint64_t size_bytes, struct err *e)
{
	int fd = openat(dir_fd, STORE_BASE_NAME, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
			0600);
	int ret = 0;

	if (fd < 0)
		return err_sys(e, -errno, "cannot create %s", STORE_BASE_NAME);
	if (ftruncate(fd, size_bytes) || fsync(fd))
		ret = err_sys(e, -errno, "cannot give %s the size of its disk", STORE_BASE_NAME);
	close(fd);
	return ret;
}

int base_open(int dir_fd, int *direct_fd, struct err *e)
{
	int fd = openat(dir_fd, STORE_BASE_NAME, O_RDWR | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return err_sys(e, -errno, "cannot open %s", STORE_BASE_NAME);
	if (direct_fd)
		*direct_fd =
			openat(dir_fd, STORE_BASE_NAME, O_RDWR | O_DIRECT | O_NOFOLLOW | O_CLOEXEC);
	return fd;
}

bool base_empty(int fd)
{
	return lseek(fd, 0, SEEK_DATA) < 0 && errno == ENXIO;
}

static int write_all(int fd, const char *buf, uint64_t length, uint64_t offset)
{
	ssize_t got;

	for (uint64_t done = 0; done < length; done += got) {
		got = pwrite(fd, buf + done, length - done, offset + done);
		if (got < 0 && errno != EINTR)
			return -errno;
		if (got < 0)
			got = 0;
	}
	return 0;
}

int base_zero(int fd, uint64_t offset, uint64_t length, struct err *e)
{
	char *zeros;
	int ret = 0;

	if (!fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length))
		return 0;
	if (errno != EOPNOTSUPP && errno != ENOSYS)
		return err_sys(e, -errno, "cannot punch a hole into %s", STORE_BASE_NAME);
	zeros = calloc(1, BUFFER_BYTES);
	if (!zeros)
		return err_sys(e, -ENOMEM, "cannot write zeros to %s", STORE_BASE_NAME);
	for (uint64_t done = 0; done < length && !ret; done += BUFFER_BYTES)
		ret = write_all(fd, zeros,
				length - done < BUFFER_BYTES ? length - done : BUFFER_BYTES,
				offset + done);
	free(zeros);
	return ret ? err_sys(e, ret, "cannot write zeros to %s", STORE_BASE_NAME) : 0;
}

/* Where copy_file_range(2) cannot: through memory. */
static int copy_by_hand(int fd, uint64_t offset, int from, uint64_t from_offset, uint64_t length)
{
	char *buf = malloc(BUFFER_BYTES);
	int ret = buf ? 0 : -ENOMEM;
	ssize_t got;

	for (uint64_t done = 0; done < length && !ret; done += got) {
		got = pread(from, buf, length - done < BUFFER_BYTES ? length - done : BUFFER_BYTES,
			    from_offset + done);
		if (got < 0 && errno == EINTR)
			got = 0;
		else if (got <= 0)
			ret = got ? -errno : -EUCLEAN;
		else
			ret = write_all(fd, buf, got, offset + done);
	}
	free(buf);
	return ret;
}

int base_copy(int fd, uint64_t offset, int from, uint64_t from_offset, uint64_t length,
	      struct err *e)
{
	loff_t in = from_offset, out = offset;
	ssize_t got = 1;
	int ret = 0;

	while (length && got > 0) {
		got = copy_file_range(from, &in, fd, &out, length, 0);
		if (got > 0)
			length -= got;
		else if (got < 0 && errno == EINTR)
			got = 1;
	}
	if (length)
		ret = got < 0 && errno == ENOSPC ? -ENOSPC :
						   copy_by_hand(fd, out, from, in, length);
	return ret ? err_sys(e, ret, "cannot copy what is merged") : 0;
}
