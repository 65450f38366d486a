// SPDX-License-Identifier: GPL-2.0-only
#include <linux/log2.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "disk.h"
#include "trace.h"

#define MIN_CHUNK_BYTES	4096
#define MAX_CHUNK_BYTES	(1 << 20)
/* The default keeps one bitmap at 32 MiB or less. */
#define DEFAULT_MAX_CHUNKS (32ULL << 20 << 3)

static atomic64_t last_serial = ATOMIC64_INIT(0);

void (*cbt_disk_on_distrust)(struct cbt_disk *disk);

static void tell_distrust(struct work_struct *work)
{
	struct cbt_disk *disk = container_of(work, struct cbt_disk, distrusted);

	pr_warn_ratelimited("%s is untrusted (%#x): its next pass has to hold or compare every block\n",
			    disk->path, atomic_read(&disk->shares[0].untrusted));
	if (cbt_disk_on_distrust)
		cbt_disk_on_distrust(disk);
}

/* Also where there is no consumer: who comes later distrusts the disk anyway. */
void cbt_disk_distrust(struct cbt_disk *disk, unsigned int reasons)
{
	bool news = false;
	unsigned int i;

	for (i = 0; i < CBT_CONSUMERS_MAX; i++) {
		atomic_t *untrusted = &disk->shares[i].untrusted;

		if ((atomic_read(untrusted) & reasons) != reasons &&
		    (atomic_fetch_or(reasons, untrusted) & reasons) != reasons)
			news = true;
	}
	if (!news)
		return;
	trace_blkcbt_distrust(disk->dev, reasons);
	schedule_work(&disk->distrusted);
}

void cbt_disk_trust(struct cbt_share *share)
{
	atomic_andnot(CBT_DISK_CURABLE, &share->untrusted);
}

bool cbt_disk_is(const struct cbt_disk *disk, const struct block_device *bdev)
{
	return bdev->bd_disk == disk->gd && bdev->bd_start_sect == disk->first &&
	       disk->gd->diskseq == disk->diskseq;
}

static u32 default_chunk_bytes(u64 size_bytes)
{
	u32 chunk = MIN_CHUNK_BYTES;

	while (chunk < MAX_CHUNK_BYTES && size_bytes / chunk > DEFAULT_MAX_CHUNKS)
		chunk *= 2;
	return chunk;
}

static int check_device(struct block_device *bdev, const char **why)
{
	if (bdev_is_zoned(bdev)) {
		*why = "zoned devices cannot be tracked; use a device-mapper target that hides the zones";
		return -EOPNOTSUPP;
	}
	if (blk_queue_dax(bdev_get_queue(bdev))) {
		*why = "devices with direct access (DAX) are written past the block layer and cannot be tracked";
		return -EOPNOTSUPP;
	}
	if (!bdev_nr_sectors(bdev)) {
		*why = "the device has no capacity; attach its medium first";
		return -ENXIO;
	}
	return 0;
}

/* Takes from the open device what is kept of it. */
static int pin_device(struct cbt_disk *disk, struct block_device *bdev, const char **why)
{
	struct gendisk *gd = bdev->bd_disk;

	disk->owner = gd->fops->owner;
	if (!try_module_get(disk->owner)) {
		*why = "the device's driver is being unloaded";
		return -ENODEV;
	}
	get_device(disk_to_dev(gd));
	disk->gd = gd;
	disk->diskseq = gd->diskseq;
	disk->dev = bdev->bd_dev;
	disk->partno = bdev_partno(bdev);
	disk->first = bdev->bd_start_sect;
	disk->end = disk->first + bdev_nr_sectors(bdev);
	return 0;
}

static void unpin_device(struct cbt_disk *disk)
{
	if (!disk->gd)
		return;
	put_device(disk_to_dev(disk->gd));
	module_put(disk->owner);
}

static int find_device(struct cbt_disk *disk, const char **why)
{
	struct block_device *bdev;
	void *handle;
	dev_t dev;
	int err;

	err = lookup_bdev(disk->path, &dev);
	if (err) {
		*why = err == -ENOTBLK ? "the path is no block device" : "no such device node";
		return err;
	}
	handle = cbt_compat_bdev_open(dev, &bdev);
	if (IS_ERR(handle)) {
		*why = "the device cannot be opened for reading";
		return PTR_ERR(handle);
	}
	err = check_device(bdev, why);
	if (!err)
		err = pin_device(disk, bdev, why);
	cbt_compat_bdev_close(handle);
	return err;
}

static int make_maps(struct cbt_disk *disk, u32 chunk_bytes, const char **why)
{
	u64 chunks;

	if (!chunk_bytes)
		chunk_bytes = default_chunk_bytes(cbt_disk_size_bytes(disk));
	if (!is_power_of_2(chunk_bytes) || chunk_bytes < MIN_CHUNK_BYTES ||
	    chunk_bytes > MAX_CHUNK_BYTES) {
		*why = "the chunk size must be a power of two from 4096 to 1048576";
		return -EINVAL;
	}
	disk->chunk_shift = ilog2(chunk_bytes) - SECTOR_SHIFT;
	chunks = (disk->end - disk->first + (1 << disk->chunk_shift) - 1) >> disk->chunk_shift;
	if (chunks > CBT_BITMAP_MAX_BITS) {
		*why = "the bitmap would be too large; choose a larger chunk size";
		return -EINVAL;
	}
	if (cbt_bitmap_init(&disk->map[0], chunks) || cbt_bitmap_init(&disk->map[1], chunks)) {
		*why = "not enough memory for the bitmaps; choose a larger chunk size";
		return -ENOMEM;
	}
	return 0;
}

struct cbt_disk *cbt_disk_create(const char *path, u32 chunk_bytes, const char **why)
{
	struct cbt_disk *disk = kzalloc(sizeof(*disk), GFP_KERNEL);
	int err = -ENOMEM;
	unsigned int i;

	*why = "not enough memory";
	if (!disk)
		return ERR_PTR(-ENOMEM);
	disk->serial = atomic64_inc_return(&last_serial);
	INIT_WORK(&disk->distrusted, tell_distrust);
	INIT_HLIST_NODE(&disk->tap_entry);
	strscpy(disk->path, path, sizeof(disk->path));
	/* Not told of: everyone knows that a new disk has yet to be passed in full. */
	for (i = 0; i < CBT_CONSUMERS_MAX; i++)
		atomic_set(&disk->shares[i].untrusted, CBT_UNTRUSTED_FRESH);
	disk->stats = alloc_percpu(struct cbt_disk_stats);
	if (disk->stats)
		err = find_device(disk, why);
	if (!err)
		err = make_maps(disk, chunk_bytes, why);
	if (!err)
		return disk;
	cbt_disk_destroy(disk);
	return ERR_PTR(err);
}

int cbt_disk_make_share(struct cbt_disk *disk, unsigned int slot)
{
	struct cbt_share *share = &disk->shares[slot];
	u64 chunks = disk->map[0].nr_bits;

	if (!cbt_bitmap_init(&share->map, chunks) && !cbt_bitmap_init(&share->released, chunks))
		return 0;
	cbt_disk_free_share(disk, slot);
	return -ENOMEM;
}

void cbt_disk_free_share(struct cbt_disk *disk, unsigned int slot)
{
	struct cbt_share *share = &disk->shares[slot];

	cbt_bitmap_exit(&share->owed);
	cbt_bitmap_exit(&share->map);
	cbt_bitmap_exit(&share->released);
}

void cbt_disk_destroy(struct cbt_disk *disk)
{
	unsigned int i;

	cancel_work_sync(&disk->distrusted);
	cbt_bitmap_exit(&disk->map[0]);
	cbt_bitmap_exit(&disk->map[1]);
	for (i = 0; i < CBT_CONSUMERS_MAX; i++)
		cbt_disk_free_share(disk, i);
	unpin_device(disk);
	free_percpu(disk->stats);
	kfree(disk);
}

u64 cbt_disk_memory(const struct cbt_disk *disk)
{
	u64 bitmaps = 2;	/* of one size */
	unsigned int i;

	for (i = 0; i < CBT_CONSUMERS_MAX; i++) {
		const struct cbt_share *share = &disk->shares[i];

		bitmaps += !!share->owed.bits + !!share->map.bits + !!share->released.bits;
	}
	return sizeof(*disk) + bitmaps * cbt_bitmap_memory(&disk->map[0]) +
	       num_possible_cpus() * sizeof(struct cbt_disk_stats);
}

u64 cbt_disk_size_bytes(const struct cbt_disk *disk)
{
	return (disk->end - disk->first) << SECTOR_SHIFT;
}

/* The device or partition as it is now: its first sector and size; false when it is gone. */
static bool look(const struct cbt_disk *disk, sector_t *first, sector_t *sectors)
{
	struct block_device *bdev;
	bool there = false;

	rcu_read_lock();
	bdev = xa_load(&disk->gd->part_tbl, disk->partno);
	if (bdev && !test_bit(GD_DEAD, &disk->gd->state)) {
		*first = bdev->bd_start_sect;
		*sectors = bdev_nr_sectors(bdev);
		there = *sectors && disk->gd->diskseq == disk->diskseq;
	}
	rcu_read_unlock();
	return there;
}

int cbt_disk_check(struct cbt_disk *disk)
{
	sector_t first, sectors;

	if (!look(disk, &first, &sectors) || first != disk->first) {
		cbt_disk_distrust(disk, CBT_UNTRUSTED_REMOVED);
		return -ENODEV;
	}
	if (sectors != disk->end - disk->first)
		cbt_disk_distrust(disk, CBT_UNTRUSTED_RESIZED);
	return 0;
}

void cbt_disk_sum_stats(const struct cbt_disk *disk, struct cbt_disk_stats *sum)
{
	int cpu;

	memset(sum, 0, sizeof(*sum));
	for_each_possible_cpu(cpu) {
		sum->writes += READ_ONCE(per_cpu_ptr(disk->stats, cpu)->writes);
		sum->bytes += READ_ONCE(per_cpu_ptr(disk->stats, cpu)->bytes);
	}
}
