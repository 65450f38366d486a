// SPDX-License-Identifier: GPL-2.0-only
#include <linux/blk-mq.h>
#include <linux/major.h>
#include <linux/nvme.h>
#include <scsi/scsi_cmnd.h>
#include <scsi/scsi_proto.h>

#include "passthrough.h"

static bool is_scsi_disk(const struct gendisk *gd)
{
	switch (gd->major) {
	case SCSI_DISK0_MAJOR:
	case SCSI_DISK1_MAJOR ... SCSI_DISK7_MAJOR:
	case SCSI_DISK8_MAJOR ... SCSI_DISK15_MAJOR:
		return true;
	default:
		return false;
	}
}

/* ATA commands within SCSI's ATA PASS-THROUGH (SAT): what smartctl and hdparm ask. */
static bool ata_may_write(u8 command)
{
	switch (command) {
	case 0x2f:	/* READ LOG EXT */
	case 0x47:	/* READ LOG DMA EXT */
	case 0xb0:	/* SMART */
	case 0xe5:	/* CHECK POWER MODE */
	case 0xec:	/* IDENTIFY DEVICE */
		return false;
	default:
		return true;
	}
}

/* Commands that monitors, path checkers and cluster managers send all the time. */
static bool scsi_may_write(const u8 *cdb)
{
	switch (cdb[0]) {
	case TEST_UNIT_READY:
	case REQUEST_SENSE:
	case INQUIRY:
	case MODE_SENSE:
	case MODE_SENSE_10:
	case READ_6:
	case READ_10:
	case READ_12:
	case READ_16:
	case READ_CAPACITY:
	case SERVICE_ACTION_IN_16:
	case REPORT_LUNS:
	case LOG_SENSE:
	case PERSISTENT_RESERVE_IN:
	case PERSISTENT_RESERVE_OUT:
	case 0x16:	/* RESERVE (6), renamed in newer headers */
	case 0x17:	/* RELEASE (6) */
	case SYNCHRONIZE_CACHE:
	case START_STOP:
	case ALLOW_MEDIUM_REMOVAL:
	case RECEIVE_DIAGNOSTIC:
	case MAINTENANCE_IN:
		return false;
	case ATA_12:
		return ata_may_write(cdb[9]);
	case ATA_16:
		return ata_may_write(cdb[14]);
	default:
		return true;
	}
}

/*
 * An NVMe controller's admin queue belongs to no disk, and nothing exported says whose it is;
 * its driver's name does. Slow, which commands of this kind may be.
 */
static bool is_nvme(const struct request_queue *q)
{
	char name[64];

	snprintf(name, sizeof(name), "%ps", q->mq_ops->queue_rq);
	return strstr(name, "nvme");
}

/* What every NVMe driver keeps first with a request is a pointer to its command. */
static const struct nvme_command *nvme_command(struct request *rq)
{
	return *(struct nvme_command **)blk_mq_rq_to_pdu(rq);
}

/* Commands of the admin queue that the driver itself and monitors send all the time. */
static bool nvme_admin_may_write(u8 opcode)
{
	switch (opcode) {
	case nvme_admin_delete_sq:
	case nvme_admin_create_sq:
	case nvme_admin_get_log_page:
	case nvme_admin_delete_cq:
	case nvme_admin_create_cq:
	case nvme_admin_identify:
	case nvme_admin_abort_cmd:
	case nvme_admin_set_features:
	case nvme_admin_get_features:
	case nvme_admin_async_event:
	case nvme_admin_dev_self_test:
	case nvme_admin_keep_alive:
	case nvme_admin_directive_recv:
	case nvme_admin_nvme_mi_recv:
	case nvme_admin_dbbuf:
	case nvme_admin_security_recv:
	case nvme_admin_get_lba_status:
	case nvme_fabrics_command:
		return false;
	default:
		return true;
	}
}

static bool nvme_io_may_write(u8 opcode)
{
	switch (opcode) {
	case nvme_cmd_flush:
	case nvme_cmd_read:
	case nvme_cmd_compare:
	case nvme_cmd_verify:
	case nvme_cmd_resv_register:
	case nvme_cmd_resv_report:
	case nvme_cmd_resv_acquire:
	case nvme_cmd_resv_release:
	case nvme_cmd_zone_mgmt_recv:
	case nvme_fabrics_command:
		return false;
	default:
		return true;
	}
}

static bool is_nvme_disk(const struct gendisk *gd)
{
	return !strncmp(gd->disk_name, "nvme", 4);
}

/* Mapped devices, NVMe's heads of several paths: ioctl() sends commands on to another disk. */
static bool hands_down(const struct gendisk *gd)
{
	return gd->fops->ioctl && (!queue_is_mq(gd->queue) || !strncmp(gd->disk_name, "dm-", 3));
}

bool cbt_passthrough_reaches(const struct request *rq, const struct gendisk *gd)
{
	if (rq->q->disk)
		return gd == rq->q->disk || hands_down(gd);
	/* Namespaces may be shared by controllers: a command to one may change any of them. */
	return is_nvme_disk(gd) || hands_down(gd);
}

bool cbt_passthrough_may_write(struct request *rq)
{
	struct gendisk *gd = rq->q->disk;

	if (gd && is_scsi_disk(gd))
		return scsi_may_write(((struct scsi_cmnd *)blk_mq_rq_to_pdu(rq))->cmnd);
	if (is_nvme(rq->q))
		return gd ? nvme_io_may_write(nvme_command(rq)->common.opcode) :
			    nvme_admin_may_write(nvme_command(rq)->common.opcode);
	/* Of others only this is known: what brings data in does not change it. */
	return gd && (op_is_write(req_op(rq)) || !blk_rq_bytes(rq));
}
