// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "use.h"

/* QEMU's locks are in these bytes of a file that it has open. */
#define LOCKED_FROM  100
#define LOCKED_BYTES 200

/* A write lease is granted to whom nobody else has the file open. It is given back at once. */
bool use_elsewhere(int fd)
{
	struct flock lock = {
		.l_type = F_WRLCK,
		.l_whence = SEEK_SET,
		.l_start = LOCKED_FROM,
		.l_len = LOCKED_BYTES,
	};

	/*
	 * Who opens the file in between has this process told so by a signal: by one that is
	 * ignored.
	 */
	if (!fcntl(fd, F_SETSIG, SIGURG) && !fcntl(fd, F_SETLEASE, F_WRLCK)) {
		fcntl(fd, F_SETLEASE, F_UNLCK);
		return false;
	}
	if (errno == EAGAIN || errno == EBUSY)
		return true;
	/* No leases on this file system. */
	return !fcntl(fd, F_OFD_GETLK, &lock) && lock.l_type != F_UNLCK;
}
