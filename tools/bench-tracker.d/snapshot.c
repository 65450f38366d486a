// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Makes and drops snapshots of a mapped device as volume managers do, with the device standing
 * still while its table is exchanged. For tools/bench-tracker.
 *
 * Usage: snapshot NAME DISK STORE SECTORS COUNT
 *
 * NAME is mapped one to one to DISK. COUNT times a snapshot that keeps contents in STORE is made
 * and dropped. By ioctl, since a program that is started while the device stands still would
 * be measured, too.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#define REQUEST_BYTES	1024

static int control;

union request {
	struct dm_ioctl head;
	char bytes[REQUEST_BYTES];
};

static void run(unsigned long code, const char *name, uint32_t flags, union request *request)
{
	request->head.version[0] = DM_VERSION_MAJOR;
	request->head.data_size = sizeof(*request);
	request->head.data_start = sizeof(request->head);
	request->head.flags = flags;
	snprintf(request->head.name, sizeof(request->head.name), "%s", name);
	if (!ioctl(control, code, request))
		return;
	fprintf(stderr, "snapshot: request %#lx for %s: %s\n", code, name, strerror(errno));
	exit(1);
}

static void command(unsigned long code, const char *name, uint32_t flags)
{
	union request request = { 0 };

	run(code, name, flags, &request);
}

static void load(const char *name, uint64_t sectors, const char *type, const char *parameters)
{
	union request request = { 0 };
	struct dm_target_spec *target = (void *)(request.bytes + sizeof(request.head));

	target->length = sectors;
	snprintf(target->target_type, sizeof(target->target_type), "%s", type);
	strcpy((char *)(target + 1), parameters);
	request.head.target_count = 1;
	run(DM_TABLE_LOAD, name, 0, &request);
}

int main(int argc, char **argv)
{
	char cow[64], linear[128], snapshot[256];
	uint64_t sectors;
	unsigned long count;

	if (argc != 6) {
		fputs("snapshot: see the head of its source for how to call it\n", stderr);
		return 1;
	}
	control = open("/dev/mapper/control", O_RDWR | O_CLOEXEC);
	snprintf(cow, sizeof(cow), "%s-cow", argv[1]);
	snprintf(linear, sizeof(linear), "%s 0", argv[2]);
	snprintf(snapshot, sizeof(snapshot), "%s %s N 8", argv[2], argv[3]);
	sectors = strtoull(argv[4], NULL, 0);
	mlockall(MCL_CURRENT | MCL_FUTURE);
	for (count = strtoul(argv[5], NULL, 0); count; count--) {
		command(DM_DEV_SUSPEND, argv[1], DM_SUSPEND_FLAG);
		command(DM_DEV_CREATE, cow, 0);
		load(cow, sectors, "snapshot", snapshot);
		command(DM_DEV_SUSPEND, cow, 0);
		load(argv[1], sectors, "snapshot-origin", argv[2]);
		command(DM_DEV_SUSPEND, argv[1], 0);

		command(DM_DEV_SUSPEND, argv[1], DM_SUSPEND_FLAG);
		command(DM_DEV_REMOVE, cow, 0);
		load(argv[1], sectors, "linear", linear);
		command(DM_DEV_SUSPEND, argv[1], 0);
	}
	return 0;
}
