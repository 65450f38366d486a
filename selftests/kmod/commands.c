// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Commands that go past the block layer, by every way there is into a driver: each that may
 * change data makes the disk untrusted, and none that monitors send all the time does.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/bsg.h>
#include <linux/fs.h>
#include <linux/nvme_ioctl.h>
#include <scsi/sg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "harness.h"
#include "rig.h"

#define CHUNK		4096
#define TARGET		"/sys/kernel/config/nvmet"
#define NAMESPACE	1

/* --- NVMe, over TCP to a target in the same kernel --------------------------------------- */

FIXTURE(nvme) {
	struct rig rig;
	char data[CHUNK];
};

/* A head over the paths of several controllers takes bios, a disk of one controller requests. */
FIXTURE_VARIANT(nvme) {
	const char *multipath;
};

FIXTURE_VARIANT_ADD(nvme, one_path) { .multipath = "N" };
FIXTURE_VARIANT_ADD(nvme, head_of_paths) { .multipath = "Y" };

static void remove_nvme(void)
{
	rig_sh("for c in /sys/class/nvme/nvme*; do echo 1 >$c/delete_controller; done;"
	       "cd " TARGET " && rm ports/1/subsystems/rig && rmdir ports/1 &&"
	       "echo 0 >subsystems/rig/namespaces/1/enable &&"
	       "rmdir subsystems/rig/namespaces/1 subsystems/rig; cd /;"
	       "modprobe -r nvme_tcp nvmet_tcp");
}

static void make_nvme(const char *multipath, const char *device)
{
	rig_must("modprobe nvme_core multipath=%s && modprobe -a nvme_tcp nvmet_tcp && ip link set lo up",
		 multipath);
	rig_must("cd " TARGET " && mkdir subsystems/rig subsystems/rig/namespaces/1 ports/1 &&"
		 "echo 1 >subsystems/rig/attr_allow_any_host && cd subsystems/rig/namespaces/1 &&"
		 "echo -n %s >device_path && echo 1 >enable", device);
	rig_must("cd " TARGET "/ports/1 && echo ipv4 >addr_adrfam && echo tcp >addr_trtype &&"
		 "echo 127.0.0.1 >addr_traddr && echo 4420 >addr_trsvcid &&"
		 "ln -s " TARGET "/subsystems/rig subsystems/rig");
	rig_must("echo -n transport=tcp,traddr=127.0.0.1,trsvcid=4420,nqn=rig >/dev/nvme-fabrics");
	rig_must("n=0; until [ -b /dev/nvme0n1 ] && [ -c /dev/ng0n1 ]; do"
		 " n=$((n + 1)); [ $n -lt 400 ] || exit 1; sleep 0.05; done");
}

FIXTURE_SETUP(nvme)
{
	rig_reset();
	make_nvme(variant->multipath, rig_null("size=64 memory_backed=1"));
	memset(self->data, 'n', sizeof(self->data));
	rig_open(&self->rig);
	rig_track(&self->rig, "/dev/nvme0n1", CHUNK);
	rig_trust(&self->rig);
}

FIXTURE_TEARDOWN(nvme)
{
	rig_close(&self->rig);
	remove_nvme();
}

/* Whatever becomes of the command; the target refuses some. */
static void nvme_command(const char *path, unsigned long request, struct nvme_passthru_cmd cmd)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	cmd.nsid = NAMESPACE;
	if (fd < 0 || ioctl(fd, request, &cmd) < 0)
		printf("# %s: command %#x: %s\n", path, cmd.opcode, strerror(errno));
	close(fd);
}

TEST_F(nvme, writes_and_images)
{
	struct rig *rig = &self->rig;
	struct cbt_disk_info info;
	char data[CHUNK];

	EXPECT_EQ(0, rig_write("/dev/nvme0n1", 3 * CHUNK, 2 * CHUNK));
	ASSERT_EQ(0, rig_cut(rig, 0));
	EXPECT_STREQ("3-4", rig_map(rig, 0));
	EXPECT_EQ(0, rig_range_ioctl("/dev/nvme0n1", BLKZEROOUT, 0, 8 * CHUNK));
	info = rig_info(rig, 0);
	EXPECT_EQ(0, rig_read(info.image, 3 * CHUNK, CHUNK, data));
	EXPECT_EQ((char)0xa5, data[100]);
	EXPECT_EQ(0, cbt_pass_get(rig->cbt, rig->group, rig->pass.id, &rig->pass));
	EXPECT_FALSE(rig->pass.fuzzy);
	rig_commit(rig);
	EXPECT_STREQ("0-7", rig_marked(rig, 0));
	EXPECT_EQ(0, rig_info(rig, 0).untrusted);
}

TEST_F(nvme, harmless_commands)
{
	struct nvme_passthru_cmd identify = {
		.opcode = 0x06, .addr = (uintptr_t)self->data, .data_len = CHUNK, .cdw10 = 1,
	};
	struct nvme_passthru_cmd read_block = {
		.opcode = 0x02, .addr = (uintptr_t)self->data, .data_len = 512,
	};
	struct nvme_passthru_cmd get_features = { .opcode = 0x0a, .cdw10 = 7 };
	struct nvme_passthru_cmd flush = { .opcode = 0 };

	nvme_command("/dev/nvme0", NVME_IOCTL_ADMIN_CMD, identify);
	nvme_command("/dev/nvme0n1", NVME_IOCTL_ADMIN_CMD, get_features);
	nvme_command("/dev/nvme0n1", NVME_IOCTL_IO_CMD, read_block);
	nvme_command("/dev/ng0n1", NVME_IOCTL_IO_CMD, flush);
	EXPECT_EQ(0, rig_info(&self->rig, 0).untrusted);
}

TEST_F(nvme, write_command)
{
	struct nvme_passthru_cmd write_block = {
		.opcode = 0x01, .addr = (uintptr_t)self->data, .data_len = 512,
	};
	struct nvme_passthru_cmd deallocate = { .opcode = 0x09 };

	nvme_command("/dev/ng0n1", NVME_IOCTL_IO_CMD, write_block);
	EXPECT_EQ(CBT_UNTRUSTED_PASSTHROUGH, rig_info(&self->rig, 0).untrusted);
	EXPECT_STREQ("untrusted", rig_marked(&self->rig, 0));
	rig_trust(&self->rig);
	nvme_command("/dev/nvme0n1", NVME_IOCTL_IO_CMD, deallocate);
	EXPECT_EQ(CBT_UNTRUSTED_PASSTHROUGH, rig_info(&self->rig, 0).untrusted);
}

/* They name a controller, and no disk. */
TEST_F(nvme, format_and_sanitize)
{
	struct nvme_passthru_cmd format = { .opcode = 0x80 }, sanitize = { .opcode = 0x84 };

	nvme_command("/dev/nvme0", NVME_IOCTL_ADMIN_CMD, format);
	EXPECT_EQ(CBT_UNTRUSTED_PASSTHROUGH, rig_info(&self->rig, 0).untrusted);
	rig_trust(&self->rig);
	nvme_command("/dev/ng0n1", NVME_IOCTL_ADMIN_CMD, sanitize);
	EXPECT_EQ(CBT_UNTRUSTED_PASSTHROUGH, rig_info(&self->rig, 0).untrusted);
}

/* --- SCSI --------------------------------------------------------------------------------- */

static const uint8_t write10[] = { 0x2a, 0, 0, 0, 0, 8, 0, 0, 1, 0 };
static const uint8_t test_unit_ready[6];

static int sg_io(const char *path, const uint8_t *cdb, uint8_t cdb_bytes, void *data,
		 uint32_t length)
{
	uint8_t sense[32];
	struct sg_io_hdr hdr = {
		.interface_id = 'S', .dxfer_direction = length ? SG_DXFER_TO_DEV : SG_DXFER_NONE,
		.cmd_len = cdb_bytes, .cmdp = (uint8_t *)cdb, .dxfer_len = length, .dxferp = data,
		.timeout = 100000, .sbp = sense, .mx_sb_len = sizeof(sense),
	};
	int fd = open(path, O_RDWR | O_CLOEXEC), err;

	err = fd < 0 || ioctl(fd, SG_IO, &hdr) ? -errno : hdr.status;
	close(fd);
	return err;
}

static int bsg_io(const char *path, const uint8_t *cdb, uint8_t cdb_bytes, void *data,
		  uint32_t length)
{
	struct sg_io_v4 hdr = {
		.guard = 'Q', .protocol = BSG_PROTOCOL_SCSI,
		.subprotocol = BSG_SUB_PROTOCOL_SCSI_CMD, .request_len = cdb_bytes,
		.request = (uintptr_t)cdb, .dout_xfer_len = length, .dout_xferp = (uintptr_t)data,
		.timeout = 100000,
	};
	int fd = open(path, O_RDWR | O_CLOEXEC), err;

	err = fd < 0 || ioctl(fd, SG_IO, &hdr) ? -errno : (int)hdr.device_status;
	close(fd);
	return err;
}

FIXTURE(scsi) {
	struct rig rig;
	const char *disk;
	char data[512];
};

FIXTURE_SETUP(scsi)
{
	rig_reset();
	self->disk = rig_scsi();
	memset(self->data, 's', sizeof(self->data));
	rig_open(&self->rig);
}

FIXTURE_TEARDOWN(scsi)
{
	rig_close(&self->rig);
}

TEST_F(scsi, through_the_generic_driver)
{
	rig_must("modprobe sg && ln -sf /dev/$(ls /sys/block/%s/device/scsi_generic) /tmp/rig/sg",
		 self->disk + 5);
	rig_track(&self->rig, self->disk, CHUNK);
	rig_trust(&self->rig);
	EXPECT_EQ(0, sg_io("/tmp/rig/sg", test_unit_ready, 6, NULL, 0));
	EXPECT_EQ(0, rig_info(&self->rig, 0).untrusted);
	EXPECT_EQ(0, sg_io("/tmp/rig/sg", write10, 10, self->data, 512));
	EXPECT_EQ(CBT_UNTRUSTED_PASSTHROUGH, rig_info(&self->rig, 0).untrusted);
}

TEST_F(scsi, through_the_block_layers_generic_driver)
{
	rig_must("ln -sf /dev/bsg/$(ls /sys/block/%s/device/bsg) /tmp/rig/bsg", self->disk + 5);
	rig_track(&self->rig, self->disk, CHUNK);
	rig_trust(&self->rig);
	EXPECT_EQ(0, bsg_io("/tmp/rig/bsg", test_unit_ready, 6, NULL, 0));
	EXPECT_EQ(0, rig_info(&self->rig, 0).untrusted);
	EXPECT_EQ(0, bsg_io("/tmp/rig/bsg", write10, 10, self->data, 512));
	EXPECT_EQ(CBT_UNTRUSTED_PASSTHROUGH, rig_info(&self->rig, 0).untrusted);
}

/* Mapped devices pass commands on to the disk below, which is where they are seen. */
static void check_mapped(struct __test_metadata *_metadata, struct rig *rig, const char *path,
			 void *data)
{
	char text[32];

	rig_track(rig, path, CHUNK);
	rig_trust(rig);
	EXPECT_EQ(0, rig_write(path, 5 * CHUNK, CHUNK));
	strcpy(text, rig_marked(rig, 0));
	EXPECT_STREQ("5", text);
	EXPECT_EQ(0, sg_io(path, test_unit_ready, 6, NULL, 0));
	EXPECT_EQ(0, rig_info(rig, 0).untrusted);
	EXPECT_EQ(0, sg_io(path, write10, 10, data, 512));
	EXPECT_EQ(CBT_UNTRUSTED_PASSTHROUGH, rig_info(rig, 0).untrusted);
}

TEST_F(scsi, through_a_linear_map)
{
	check_mapped(_metadata, &self->rig,
		     rig_dm("commands", "0 131072 linear %s 0", self->disk), self->data);
}

/* It takes requests itself, unlike other mapped devices. */
TEST_F(scsi, through_several_paths)
{
	check_mapped(_metadata, &self->rig,
		     rig_dm("paths", "0 131072 multipath 0 0 1 1 service-time 0 1 1 %s 1", self->disk),
		     self->data);
}

TEST_HARNESS_MAIN
