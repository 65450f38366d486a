// SPDX-License-Identifier: GPL-2.0-only
#include <linux/blkdev.h>
#include <linux/kprobes.h>

#include "rw_page.h"

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0)

static void (*tell)(struct gendisk *gd);

struct call {
	struct gendisk *gd;
};

static int entered(struct kretprobe_instance *ri, struct pt_regs *regs)
{
	struct block_device *bdev = (struct block_device *)regs_get_kernel_argument(regs, 0);
	struct call *call = (struct call *)ri->data;

	call->gd = bdev->bd_disk;
	if (call->gd->fops->rw_page)
		tell(call->gd);
	return 0;
}

static int returned(struct kretprobe_instance *ri, struct pt_regs *regs)
{
	struct call *call = (struct call *)ri->data;

	if (call->gd->fops->rw_page)
		tell(call->gd);
	return 0;
}

static struct kretprobe probe = {
	.kp.symbol_name = "bdev_write_page",
	.entry_handler = entered,
	.handler = returned,
	.data_size = sizeof(struct call),
	.maxactive = 256,
};

int cbt_compat_rw_page_watch(void (*told)(struct gendisk *gd))
{
	tell = told;
	/* What an earlier registration left behind would be refused. */
	probe.kp.addr = NULL;
	probe.kp.flags = 0;
	return register_kretprobe(&probe);
}

void cbt_compat_rw_page_unwatch(void)
{
	unregister_kretprobe(&probe);
}

bool cbt_compat_rw_page_used(const struct gendisk *gd)
{
	return gd->fops->rw_page;
}

#else

int cbt_compat_rw_page_watch(void (*told)(struct gendisk *gd))
{
	return 0;
}

void cbt_compat_rw_page_unwatch(void)
{
}

bool cbt_compat_rw_page_used(const struct gendisk *gd)
{
	return false;
}

#endif
