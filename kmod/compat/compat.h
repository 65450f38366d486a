/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * All that differs between the supported kernels. Included before every
 * source file; the rest of the module is written for the newest kernel.
 */
#ifndef CBT_COMPAT_H
#define CBT_COMPAT_H

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/version.h>
#include <linux/blkdev.h>
#include <net/genetlink.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 1, 0)
#error "blkcbt needs Linux 6.1 or newer"
#endif

/* 6.7: dumps learn of their attributes and of the socket through genl_info_dump(). */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 7, 0)
static inline struct nlattr **cbt_compat_dump_attrs(struct netlink_callback *cb)
{
	return genl_dumpit_info(cb)->attrs;
}
#else
static inline struct nlattr **cbt_compat_dump_attrs(struct netlink_callback *cb)
{
	return genl_info_dump(cb)->attrs;
}
#endif

/* 6.9: a block device is opened as a file. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 9, 0)
static inline void *cbt_compat_bdev_open(dev_t dev, struct block_device **bdev)
{
	*bdev = blkdev_get_by_dev(dev, FMODE_READ, NULL);
	return IS_ERR(*bdev) ? ERR_CAST(*bdev) : *bdev;
}

static inline void cbt_compat_bdev_close(void *handle)
{
	blkdev_put(handle, FMODE_READ);
}
#else
static inline void *cbt_compat_bdev_open(dev_t dev, struct block_device **bdev)
{
	struct file *file = bdev_file_open_by_dev(dev, BLK_OPEN_READ, NULL, NULL);

	if (!IS_ERR(file))
		*bdev = file_bdev(file);
	return file;
}

static inline void cbt_compat_bdev_close(void *handle)
{
	bdev_fput(handle);
}
#endif

/* 6.9: a bio-based disk takes its limits at allocation. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 9, 0)
#define cbt_compat_alloc_disk(block_bytes, nowait)					\
({											\
	struct gendisk *disk_ = blk_alloc_disk(NUMA_NO_NODE);				\
											\
	if (disk_) {									\
		blk_queue_logical_block_size(disk_->queue, (block_bytes));		\
		if (nowait)								\
			blk_queue_flag_set(QUEUE_FLAG_NOWAIT, disk_->queue);		\
	}										\
	disk_ ?: ERR_PTR(-ENOMEM);							\
})
#else
#define cbt_compat_alloc_disk(block_bytes, nowait)					\
({											\
	struct queue_limits lim_ = {							\
		.logical_block_size = (block_bytes),					\
		.features = (nowait) ? BLK_FEAT_NOWAIT : 0,				\
	};										\
											\
	blk_alloc_disk(&lim_, NUMA_NO_NODE);						\
})
#endif

/*
 * 6.11: a bio-based disk is known by a flag of its block device, which add_disk() sets; the
 * disk that held bios go to is never added.
 */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 11, 0)
static inline void cbt_compat_take_bios(struct gendisk *disk)
{
}
#else
static inline void cbt_compat_take_bios(struct gendisk *disk)
{
	bdev_set_flag(disk->part0, BD_HAS_SUBMIT_BIO);
}
#endif

/*
 * Probes count on preemption being off. Kernels up to 6.12 turn it off around each
 * tracepoint; newer ones protect tracepoints by SRCU only.
 */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 13, 0)
static inline void cbt_compat_probe_enter(void) { }
static inline void cbt_compat_probe_exit(void) { }
#else
static inline void cbt_compat_probe_enter(void)
{
	preempt_disable_notrace();
}

static inline void cbt_compat_probe_exit(void)
{
	preempt_enable_notrace();
}
#endif

/* 6.10: the partition number is read through bdev_partno(). */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 10, 0)
static inline u8 bdev_partno(const struct block_device *bdev)
{
	return bdev->bd_partno;
}
#endif

#endif
