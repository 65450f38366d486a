// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Dependent writes over several disks, and what must be true of each point in time.
 *
 *   stamps write STOP DISK...    until the file STOP is there; prints the last stamp
 *   stamps verify DISK...        prints the last stamp that the disks hold
 *
 * Stamps are numbered from 1, and each is written only after the one before it is on its
 * disk. There are fewer places than stamps: stamp n goes to place n % PLACES, over what
 * was there; neighbouring places are on different disks. So a state of all disks is of one
 * instant if and only if there is an m such that each place holds the newest stamp up to m
 * that belongs there. The last place of each disk is its very last sector.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PLACES_PER_DISK	200
#define MAX_DISKS	8
#define SECTOR		512
#define WORDS		(SECTOR / sizeof(uint64_t))

struct disk {
	const char *path;
	int fd;
	uint64_t sectors;
};

static struct disk disks[MAX_DISKS];
static unsigned int disk_count;
static uint64_t (*sector)[WORDS];	/* aligned for direct I/O */

static void die(const char *what)
{
	fprintf(stderr, "stamps: %s: %s\n", what, strerror(errno));
	exit(2);
}

static void open_disks(int count, char **paths, int flags)
{
	int i;

	if (count < 1 || count > MAX_DISKS) {
		errno = EINVAL;
		die("number of disks");
	}
	for (i = 0; i < count; i++) {
		struct disk *disk = &disks[disk_count++];
		off_t end;

		disk->path = paths[i];
		disk->fd = open(paths[i], flags | O_CLOEXEC);
		end = disk->fd < 0 ? -1 : lseek(disk->fd, 0, SEEK_END);
		if (end < 0)
			die(paths[i]);
		disk->sectors = end / SECTOR;
	}
	if (posix_memalign((void **)&sector, 4096, SECTOR))
		die("memory");
}

static uint64_t places(void)
{
	return (uint64_t)PLACES_PER_DISK * disk_count;
}

static struct disk *disk_of(uint64_t place)
{
	return &disks[place % disk_count];
}

/* Spread from the first to the last sector. */
static off_t offset_of(uint64_t place)
{
	return place / disk_count * (disk_of(place)->sectors - 1) / (PLACES_PER_DISK - 1) * SECTOR;
}

/* Each word differs, so that a torn sector does not go for a whole one. */
static uint64_t word_of(uint64_t stamp, unsigned int i)
{
	return stamp * UINT64_C(0x9e3779b97f4a7c15) + i;
}

/* --- write --------------------------------------------------------------------- */

static void write_stamp(uint64_t stamp)
{
	uint64_t place = stamp % places();
	unsigned int i;

	(*sector)[0] = stamp;
	for (i = 1; i < WORDS; i++)
		(*sector)[i] = word_of(stamp, i);
	if (pwrite(disk_of(place)->fd, sector, SECTOR, offset_of(place)) != SECTOR)
		die(disk_of(place)->path);
}

static int write_stamps(const char *stop)
{
	uint64_t stamp = 0;

	while (access(stop, F_OK))
		write_stamp(++stamp);
	printf("%" PRIu64 "\n", stamp);
	return 0;
}

/* --- verify ---------------------------------------------------------------------- */

/* The stamp at @place; 0: none was written. */
static uint64_t read_stamp(uint64_t place)
{
	const struct disk *disk = disk_of(place);
	uint64_t stamp;
	unsigned int i;

	if (pread(disk->fd, sector, SECTOR, offset_of(place)) != SECTOR)
		die(disk->path);
	stamp = (*sector)[0];
	for (i = 1; i < WORDS; i++) {
		if ((*sector)[i] == (stamp ? word_of(stamp, i) : 0))
			continue;
		fprintf(stderr, "%s: the sector at %jd is torn\n", disk->path, (intmax_t)offset_of(place));
		exit(1);
	}
	return stamp;
}

/* The newest stamp up to @last that belongs to @place; 0: there is none. */
static uint64_t expected(uint64_t place, uint64_t last)
{
	uint64_t back = (last + places() - place) % places();

	return back < last ? last - back : 0;
}

static int verify(void)
{
	uint64_t *stamps = calloc(places(), sizeof(*stamps)), place, last = 0, wrong = 0;

	if (!stamps)
		die("memory");
	for (place = 0; place < places(); place++) {
		stamps[place] = read_stamp(place);
		if (stamps[place] > last)
			last = stamps[place];
	}
	for (place = 0; place < places(); place++) {
		if (stamps[place] == expected(place, last))
			continue;
		if (!wrong++)
			fprintf(stderr, "%s: holds stamp %" PRIu64 " at %jd, but %" PRIu64 " came before stamp %" PRIu64 "\n",
				disk_of(place)->path, stamps[place], (intmax_t)offset_of(place),
				expected(place, last), last);
	}
	free(stamps);
	printf("%" PRIu64 "\n", last);
	if (wrong)
		fprintf(stderr, "%" PRIu64 " of %" PRIu64 " places are of another instant\n", wrong, places());
	return wrong ? 1 : 0;
}

int main(int argc, char **argv)
{
	if (argc > 3 && !strcmp(argv[1], "write")) {
		open_disks(argc - 3, argv + 3, O_WRONLY | O_DIRECT);
		return write_stamps(argv[2]);
	}
	if (argc > 2 && !strcmp(argv[1], "verify")) {
		open_disks(argc - 2, argv + 2, O_RDONLY);
		return verify();
	}
	fprintf(stderr, "usage: stamps write STOP DISK... | verify DISK...\n");
	return 2;
}
