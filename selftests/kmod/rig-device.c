// SPDX-License-Identifier: GPL-2.0-or-later
/* The devices of the rig, and I/O on them. */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <linux/aio_abi.h>
#include <linux/blkpg.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "rig.h"

#define CONFIG		"/sys/kernel/config/nullb"
#define PARAMETERS	"/sys/module/blkcbt/parameters"
#define BUDGET_KIB	65536	/* the default */
#define PATIENT_MS	60000
#define PATH_BYTES	64
#define NULLS		4
#define LOOPS		4
#define PARTITIONS	8

/* A path that stays until its @slot of @kind is used again. */
static char *path_slot(unsigned int kind, unsigned int slot)
{
	static char paths[4][PARTITIONS][PATH_BYTES];

	return paths[kind][slot];
}

/* --- making and removing ----------------------------------------------------------- */

static int remove_group(const struct cbt_group_info *info, void *arg)
{
	uint32_t *id = arg;

	*id = info->id;
	return 1;
}

static void remove_groups(void)
{
	struct cbt *cbt;
	uint32_t id;

	if (cbt_open(&cbt))
		return;
	while (cbt_group_list(cbt, remove_group, &id) == 1)
		if (cbt_group_del(cbt, id))
			rig_die("cannot remove group %u: %s", id, cbt_error(cbt));
	cbt_close(cbt);
}

static bool any(const char *pattern)
{
	glob_t found;
	bool some = !glob(pattern, 0, NULL, &found);

	globfree(&found);
	return some;
}

static void remove_nulls(void)
{
	char folder[64];

	for (unsigned int slot = 0; slot < NULLS; slot++) {
		snprintf(folder, sizeof(folder), CONFIG "/rig%u", slot);
		rmdir(folder);
	}
}

static void load(const char *module, const char *options)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/module/%s", module);
	if (access(path, F_OK))
		rig_must("modprobe %s %s", module, options);
}

/* A command costs a tenth of a second and more in an emulated guest: only what is needed runs. */
void rig_reset(void)
{
	remove_groups();
	if (any("/sys/block/md*"))
		rig_sh("mdadm --stop /dev/md[0-9]* >/dev/null 2>&1");
	/* Devices that stand on others go first; dm has no order of its own. */
	for (int i = 0; i < 4 && any("/sys/block/dm-*"); i++)
		rig_sh("dmsetup remove_all --force >/dev/null 2>&1");
	if (any("/sys/block/loop*/loop"))
		rig_sh("losetup -D");
	remove_nulls();
	if (any("/sys/module/scsi_debug"))
		rig_sh("rmmod scsi_debug");
	if (any("/sys/block/ram0/ram0p*"))
		rig_sh("rmmod brd");
	if (any("/tmp/rig/*"))
		rig_sh("rm -rf /tmp/rig/*");
	mkdir("/tmp/rig", 0755);
	if (any(PARAMETERS)) {
		rig_set("preserve_kib", BUDGET_KIB);
		rig_set("hold_ms", PATIENT_MS);
	}
}

void rig_set(const char *parameter, unsigned int value)
{
	rig_must("echo %u >" PARAMETERS "/%s", value, parameter);
}

static bool is_there(void *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static const char *appeared(char *path)
{
	rig_wait_for(is_there, path, path);
	return path;
}

static void write_attribute(unsigned int slot, const char *name, const char *value)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), CONFIG "/rig%u/%s", slot, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, value, strlen(value)) < 0)
		rig_die("%s: cannot set to %s: %s", path, value, strerror(errno));
	close(fd);
}

/* Before 6.2 the name follows the index, later that of the folder. */
static const char *null_path(unsigned int slot)
{
	char *path = path_slot(0, slot), attribute[128], index[16] = "";
	int fd;

	snprintf(path, PATH_BYTES, "/dev/rig%u", slot);
	snprintf(attribute, sizeof(attribute), CONFIG "/rig%u/index", slot);
	fd = open(attribute, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, index, sizeof(index) - 1) < 0)
		rig_die("%s: %s", attribute, strerror(errno));
	close(fd);
	if (!is_there(path))
		snprintf(path, PATH_BYTES, "/dev/nullb%d", atoi(index));
	return appeared(path);
}

const char *rig_null(const char *attributes)
{
	char words[512], folder[64], *word, *rest = words, *value;
	unsigned int slot = 0;

	load("null_blk", "nr_devices=0");
	do {
		snprintf(folder, sizeof(folder), CONFIG "/rig%u", slot);
	} while (mkdir(folder, 0755) && ++slot < NULLS);
	if (slot == NULLS)
		rig_die("no more null_blk devices: %s", strerror(errno));
	snprintf(words, sizeof(words), "%s", attributes);
	while ((word = strsep(&rest, " "))) {
		value = strchr(word, '=');
		*value = '\0';
		write_attribute(slot, word, value + 1);
	}
	write_attribute(slot, "power", "1");
	return null_path(slot);
}

void rig_null_remove(const char *path)
{
	unsigned int slot;

	for (slot = 0; slot < NULLS; slot++)
		if (path == path_slot(0, slot))
			rig_must("rmdir " CONFIG "/rig%u", slot);
}

const char *rig_loop(uint64_t bytes)
{
	unsigned int slot = 0;
	char file[PATH_BYTES];
	int fd, control, number;

	load("loop", "");
	do {
		snprintf(file, sizeof(file), "/tmp/rig/loop%u", slot);
		fd = open(file, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	} while (fd < 0 && ++slot < LOOPS);
	control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	number = ioctl(control, LOOP_CTL_GET_FREE);
	if (fd < 0 || ftruncate(fd, bytes) || number < 0)
		rig_die("no more loop devices: %s", strerror(errno));
	close(fd);
	close(control);
	snprintf(path_slot(1, slot), PATH_BYTES, "/dev/loop%d", number);
	rig_loop_bind(appeared(path_slot(1, slot)), file);
	return path_slot(1, slot);
}

void rig_loop_bind(const char *path, const char *file)
{
	struct loop_config config = { .fd = open(file, O_RDWR | O_CLOEXEC) };
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (config.fd == (uint32_t)-1 || fd < 0 || ioctl(fd, LOOP_CONFIGURE, &config))
		rig_die("cannot bind %s to %s: %s", path, file, strerror(errno));
	close(config.fd);
	close(fd);
}

const char *rig_brd(unsigned int index)
{
	char *path = path_slot(2, index);

	load("brd", "rd_nr=2 rd_size=65536 max_part=8");
	snprintf(path, PATH_BYTES, "/dev/ram%u", index);
	return appeared(path);
}

const char *rig_scsi(void)
{
	return rig_scsi_with("lbpu=1 lbpws=1 lbpws10=1");
}

const char *rig_scsi_with(const char *options)
{
	static char path[PATH_BYTES];
	FILE *out;

	load("sd_mod", "");
	rig_must("modprobe scsi_debug dev_size_mb=64 delay=0 %s", options);
	rig_must("until ls -d /sys/bus/pseudo/drivers/scsi_debug/adapter*/host*/target*/*/block/*; "
		 "do sleep 0.05; done >/tmp/rig/scsi 2>/dev/null");
	out = popen("basename $(cat /tmp/rig/scsi)", "r");
	strcpy(path, "/dev/");
	if (!out || fscanf(out, "%32s", path + 5) != 1 || pclose(out))
		rig_die("there is no SCSI disk");
	return appeared(path);
}

const char *rig_dm(const char *name, const char *fmt, ...)
{
	char table[512], command[640];
	static unsigned int slot;
	char *node = path_slot(3, slot++ % PARTITIONS);
	unsigned int minor;
	va_list ap;
	FILE *out;

	va_start(ap, fmt);
	vsnprintf(table, sizeof(table), fmt, ap);
	va_end(ap);
	load("dm_mod", "");
	snprintf(command, sizeof(command), "dmsetup create %s --noudevsync --table '%s' && "
		 "dmsetup info -c --noheadings -o minor %s", name, table, name);
	out = popen(command, "r");
	if (!out || fscanf(out, "%u", &minor) != 1 || pclose(out))
		rig_die("no minor of %s", name);
	snprintf(node, PATH_BYTES, "/dev/dm-%u", minor);
	return appeared(node);
}

const char *rig_partition(const char *disk, unsigned int number, uint64_t offset, uint64_t length)
{
	struct blkpg_partition part = { .start = offset, .length = length, .pno = number };
	struct blkpg_ioctl_arg arg = { .op = BLKPG_ADD_PARTITION,
				       .datalen = sizeof(part),
				       .data = &part };
	static char paths[PARTITIONS][PATH_BYTES];
	char *path = paths[number % PARTITIONS];
	int fd = open(disk, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || ioctl(fd, BLKPG, &arg))
		rig_die("%s: cannot add partition %u: %s", disk, number, strerror(errno));
	close(fd);
	snprintf(path, PATH_BYTES, "%s%s%u", disk,
		 strchr("0123456789", disk[strlen(disk) - 1]) ? "p" : "", number);
	return appeared(path);
}

/* --- I/O --------------------------------------------------------------------- */

uint64_t rig_size(const char *path)
{
	uint64_t bytes = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || ioctl(fd, BLKGETSIZE64, &bytes))
		rig_die("%s: no size: %s", path, strerror(errno));
	close(fd);
	return bytes;
}

static void *pattern(size_t length)
{
	void *data;

	if (posix_memalign(&data, 4096, length))
		rig_die("no memory");
	memset(data, 0xa5, length);
	return data;
}

int rig_write(const char *path, uint64_t offset, size_t length)
{
	int fd = open(path, O_WRONLY | O_DIRECT | O_CLOEXEC);
	void *data = pattern(length);
	int err = 0;

	if (fd < 0 || pwrite(fd, data, length, offset) != (ssize_t)length)
		err = errno ? -errno : -EIO;
	if (fd >= 0)
		close(fd);
	free(data);
	return err;
}

int rig_read(const char *path, uint64_t offset, size_t length, void *data)
{
	int fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	void *buffer = pattern(length);
	int err = 0;

	if (fd < 0 || pread(fd, buffer, length, offset) != (ssize_t)length)
		err = errno ? -errno : -EIO;
	memcpy(data, buffer, length);
	if (fd >= 0)
		close(fd);
	free(buffer);
	return err;
}

int rig_range_ioctl(const char *path, unsigned long request, uint64_t offset, uint64_t length)
{
	uint64_t range[2] = { offset, length };
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int err = 0;

	if (fd < 0 || ioctl(fd, request, range))
		err = -errno;
	if (fd >= 0)
		close(fd);
	return err;
}

struct rig_async {
	aio_context_t context;
	struct iocb iocb;
	void *data;
	int fd;
	bool done;
	int64_t result;
};

struct rig_async *rig_write_begin(const char *path, uint64_t offset, size_t length)
{
	struct rig_async *async = calloc(1, sizeof(*async));
	struct iocb *list[1];

	if (!async)
		rig_die("no memory");
	async->fd = open(path, O_WRONLY | O_DIRECT | O_CLOEXEC);
	async->data = pattern(length);
	async->iocb = (struct iocb){
		.aio_lio_opcode = IOCB_CMD_PWRITE,
		.aio_fildes = async->fd,
		.aio_buf = (uintptr_t)async->data,
		.aio_nbytes = length,
		.aio_offset = offset,
	};
	list[0] = &async->iocb;
	if (async->fd < 0 || syscall(SYS_io_setup, 1, &async->context) ||
	    syscall(SYS_io_submit, async->context, 1, list) != 1)
		rig_die("%s: cannot begin a write: %s", path, strerror(errno));
	return async;
}

static bool reap(struct rig_async *async, int wait)
{
	struct timespec now = { 0, 0 };
	struct io_event event;

	if (!async->done &&
	    syscall(SYS_io_getevents, async->context, wait, 1, &event, wait ? NULL : &now) == 1) {
		async->done = true;
		async->result = event.res;
	}
	return async->done;
}

bool rig_write_done(struct rig_async *async)
{
	return reap(async, 0);
}

int rig_write_end(struct rig_async *async)
{
	int err;

	reap(async, 1);
	err = async->result == (int64_t)async->iocb.aio_nbytes ? 0 : (int)async->result ?: -EIO;
	syscall(SYS_io_destroy, async->context);
	close(async->fd);
	free(async->data);
	free(async);
	return err;
}
