// SPDX-License-Identifier: GPL-2.0-only
#include <linux/blk-mq.h>
#include <linux/major.h>
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

bool cbt_passthrough_may_write(struct request *rq)
{
	if (rq->q->disk && is_scsi_disk(rq->q->disk))
		return scsi_may_write(((struct scsi_cmnd *)blk_mq_rq_to_pdu(rq))->cmnd);
	/* Of others only this is known: what brings data in does not change it. */
	return op_is_write(req_op(rq)) || !blk_rq_bytes(rq);
}
