// SPDX-License-Identifier: GPL-2.0-or-later
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "../wire/codec.h"
#include "evidence.h"

#define SYSFS_BYTES	512
#define MAX_DISKSEQ	65536	/* beyond it nobody can tell */
#define BLOCK_BYTES	65536	/* read at once for a fingerprint */
#define HEAD_BLOCKS	32	/* of these, at the beginning */
#define SPOTS		256	/* all over the disk, of SPOT_BYTES each */
#define SPOT_BYTES	4096

/* --- sysfs -------------------------------------------------------------------------- */

static dev_t device_of(int fd)
{
	struct stat st;

	return fstat(fd, &st) < 0 || !S_ISBLK(st.st_mode) ? 0 : st.st_rdev;
}

/* A file below the device's folder, without its newline. False: there is none, or it is empty. */
static bool read_attribute(dev_t device, const char *name, char text[SYSFS_BYTES])
{
	char path[SYSFS_BYTES];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%s", major(device), minor(device), name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, text, SYSFS_BYTES - 1);
	close(fd);
	if (n <= 0)
		return false;
	text[n] = 0;
	text[strcspn(text, "\n")] = 0;
	return text[0] != 0;
}

int evidence_identity(int fd, const char *path, char identity[MARKS_IDENTITY_BYTES], struct err *e)
{
	/* The volume's own name before that of what it may be moved to. */
	static const char *const names[] = { "dm/uuid", "wwid", "device/wwid", "serial", "device/cid" };
	dev_t device = device_of(fd);
	char text[SYSFS_BYTES];
	unsigned int i;

	memset(identity, 0, MARKS_IDENTITY_BYTES);
	if (read_attribute(device, "partition", text))
		return err_set(e, -EOPNOTSUPP, "%s is a partition, which can be written to through its whole disk", path);
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (!read_attribute(device, names[i], text))
			continue;
		if (snprintf(identity, MARKS_IDENTITY_BYTES, "%s %s", names[i], text) < MARKS_IDENTITY_BYTES)
			return 0;
		memset(identity, 0, MARKS_IDENTITY_BYTES);	/* half a name is none */
	}
	return err_set(e, -EOPNOTSUPP, "%s has no name of its own that outlasts a boot", path);
}

/* --- contents ----------------------------------------------------------------------- */

/* Up to the end of the disk. */
static int hash_at(int fd, void *buffer, uint64_t offset, size_t bytes, uint64_t size,
		   uint64_t *hash)
{
	ssize_t n;

	if (bytes > size - offset)
		bytes = size - offset;
	n = pread(fd, buffer, bytes, offset);
	if (n != (ssize_t)bytes)
		return n < 0 ? -errno : -EIO;
	*hash = codec_xxh3(buffer, bytes);
	return 0;
}

int evidence_fingerprint(int fd, const char *path, uint64_t size, uint64_t *fingerprint,
			 struct err *e)
{
	uint64_t hashes[HEAD_BLOCKS + 1 + SPOTS] = { 0 }, tail, spot;
	void *buffer = aligned_alloc(SPOT_BYTES, BLOCK_BYTES);
	unsigned int i, used = 0;
	int rc = buffer ? 0 : -ENOMEM;

	for (i = 0; !rc && i < HEAD_BLOCKS && (uint64_t)i * BLOCK_BYTES < size; i++)
		rc = hash_at(fd, buffer, (uint64_t)i * BLOCK_BYTES, BLOCK_BYTES, size,
			     &hashes[used++]);
	tail = size > BLOCK_BYTES ? (size - BLOCK_BYTES) / SPOT_BYTES * SPOT_BYTES : 0;
	if (!rc)
		rc = hash_at(fd, buffer, tail, BLOCK_BYTES, size, &hashes[used++]);
	for (i = 0; !rc && i < SPOTS && size >= SPOT_BYTES; i++) {
		spot = codec_xxh3(&i, sizeof(i)) % (size / SPOT_BYTES) * SPOT_BYTES;
		rc = hash_at(fd, buffer, spot, SPOT_BYTES, size, &hashes[used++]);
	}
	free(buffer);
	*fingerprint = codec_xxh3(hashes, sizeof(hashes));
	return rc ? err_sys(e, rc, "cannot read %s", path) : 0;
}

/* --- writes ------------------------------------------------------------------------- */

/* As /sys/block/.../stat has it; Documentation/block/stat.rst of the kernel. */
bool evidence_count(int fd, struct evidence_counts *c)
{
	char text[SYSFS_BYTES];

	return read_attribute(device_of(fd), "stat", text) &&
	       sscanf(text,
		      "%*u %*u %" SCNu64 " %*u %" SCNu64 " %*u %" SCNu64
		      " %*u %*u %*u %*u %" SCNu64 " %*u %" SCNu64,
		      &c->read_sectors, &c->writes, &c->written_sectors, &c->discards,
		      &c->discarded_sectors) == 5;
}

bool evidence_idle(int fd)
{
	dev_t device = device_of(fd);
	unsigned int reads, writes;
	char text[SYSFS_BYTES];

	return !read_attribute(device, "partition", text) &&
	       read_attribute(device, "inflight", text) &&
	       sscanf(text, "%u %u", &reads, &writes) == 2 && !writes;
}

static uint64_t diskseq(const char *disk)
{
	unsigned long long number = 0;
	char path[SYSFS_BYTES];
	FILE *file;

	snprintf(path, sizeof(path), "/sys/block/%.200s/diskseq", disk);
	file = fopen(path, "re");
	if (!file)
		return 0;
	if (fscanf(file, "%llu", &number) != 1)
		number = 0;
	fclose(file);
	return number;
}

/*
 * A device that was removed and made again since the boot begins to count anew. The kernel numbers
 * all disks as they are made; so if each smaller number is still there, there was none before
 * this one that is gone.
 */
static bool first_of_its_name(dev_t device)
{
	uint8_t there[MAX_DISKSEQ / 8] = { 0 };
	uint64_t own, number;
	char text[SYSFS_BYTES];
	struct dirent *entry;
	DIR *dir;

	own = read_attribute(device, "diskseq", text) ? strtoull(text, NULL, 10) : 0;
	dir = own && own < MAX_DISKSEQ ? opendir("/sys/block") : NULL;
	if (!dir)
		return false;
	while ((entry = readdir(dir))) {
		number = diskseq(entry->d_name);
		if (number && number < own)
			there[number / 8] |= 1 << number % 8;
	}
	closedir(dir);
	for (number = 1; number < own && (there[number / 8] & 1 << number % 8); number++)
		;
	return number == own;
}

int evidence_unwritten(int fd, const char *path, struct err *e)
{
	struct evidence_counts before, after;
	dev_t device = device_of(fd);
	uint64_t ignored;
	void *buffer;
	int rc;

	if (!first_of_its_name(device))
		return err_set(e, -EUCLEAN, "it cannot be told whether %s was there all the time since the boot, for disks came and went",
			       path);
	buffer = aligned_alloc(SPOT_BYTES, SPOT_BYTES);
	if (!buffer)
		return err_sys(e, -ENOMEM, "cannot read %s", path);
	rc = evidence_count(fd, &before) ? 0 : -EIO;
	if (!rc)
		rc = hash_at(fd, buffer, 0, SPOT_BYTES, SPOT_BYTES, &ignored);
	free(buffer);
	if (rc || !evidence_count(fd, &after) ||
	    after.read_sectors < before.read_sectors + SPOT_BYTES / 512)
		return err_set(e, -EUCLEAN, "the kernel does not count what is read from and written to %s", path);
	if (after.writes || after.written_sectors || after.discards || after.discarded_sectors)
		return err_set(e, -EUCLEAN, "%s has been written to since the host was booted", path);
	return 0;
}

/* --- users -------------------------------------------------------------------------- */

/* Is @other the device, or a partition of it? */
static bool same_disk(dev_t device, dev_t other)
{
	char text[SYSFS_BYTES], whole[32];

	if (other == device)
		return true;
	snprintf(whole, sizeof(whole), "%u:%u", major(device), minor(device));
	return read_attribute(other, "partition", text) &&
	       read_attribute(other, "../dev", text) && !strcmp(text, whole);
}

/* 1: it has the device open; 0: not, or it has ended; negative errno: nobody can say. */
static int has_open(const char *pid, dev_t device)
{
	char path[64];
	struct dirent *entry;
	struct stat st;
	int found = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%.20s/fd", pid);
	dir = opendir(path);
	if (!dir)
		return errno == ENOENT || errno == ESRCH ? 0 : -errno;
	while (!found && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.' || fstatat(dirfd(dir), entry->d_name, &st, 0) < 0)
			continue;
		found = S_ISBLK(st.st_mode) && same_disk(device, st.st_rdev);
	}
	closedir(dir);
	return found;
}

int evidence_unused(int fd, const char *path, struct err *e)
{
	dev_t device = device_of(fd);
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	char self[24];
	int rc = proc ? 0 : err_sys(e, -errno, "cannot look who uses %s", path);

	snprintf(self, sizeof(self), "%d", getpid());
	while (!rc && (entry = readdir(proc))) {
		int open;

		if (entry->d_name[0] < '0' || entry->d_name[0] > '9' ||
		    !strcmp(entry->d_name, self))
			continue;
		open = has_open(entry->d_name, device);
		if (open < 0)
			rc = err_sys(e, open, "cannot look whether process %.20s uses %s", entry->d_name, path);
		else if (open)
			rc = err_set(e, -EBUSY, "process %.20s has %s open", entry->d_name, path);
	}
	if (proc)
		closedir(proc);
	return rc;
}
