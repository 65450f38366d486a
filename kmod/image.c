// SPDX-License-Identifier: GPL-2.0-only
#include <linux/blkdev.h>
#include <linux/module.h>

#include "disk.h"
#include "group.h"
#include "image.h"
#include "preserve.h"

/* One read of the image, behind the clone that reads the device. */
struct image_read {
	struct cbt_preserve *preserve;
	struct bio *bio;		/* whose read it is */
	struct bvec_iter iter;		/* of it, before it began */
	struct bio clone;		/* last: what bios carry lies behind it */
};

static struct bio_set reads;

static void read_done(struct bio *clone)
{
	struct image_read *read = container_of(clone, struct image_read, clone);
	struct cbt_preserve *preserve = read->preserve;
	struct bio *bio = read->bio;

	/* Only now, with the read behind us, does it count what was kept. */
	if (clone->bi_status)
		bio->bi_status = clone->bi_status;
	else
		cbt_preserve_patch(preserve, bio, read->iter, read->iter.bi_sector);
	bio_put(clone);
	bio_endio(bio);
	cbt_preserve_put(preserve);
}

static void image_submit_bio(struct bio *bio)
{
	struct cbt_preserve *preserve = bio->bi_bdev->bd_disk->private_data;
	struct image_read *read;
	struct bio *clone;

	/* Before the seal there is nothing yet to be read, and it must not be cached. */
	if (bio_op(bio) != REQ_OP_READ || !READ_ONCE(preserve->sealed)) {
		bio_io_error(bio);
		return;
	}
	clone = bio_alloc_clone(preserve->origin, bio, GFP_NOIO, &reads);
	read = container_of(clone, struct image_read, clone);
	read->preserve = cbt_preserve_get(preserve);
	read->bio = bio;
	read->iter = bio->bi_iter;
	clone->bi_end_io = read_done;
	submit_bio_noacct(clone);
}

static void image_free(struct gendisk *image)
{
	cbt_preserve_put(image->private_data);
}

static const struct block_device_operations image_fops = {
	.owner = THIS_MODULE,
	.submit_bio = image_submit_bio,
	.free_disk = image_free,
};

int cbt_image_init(void)
{
	return bioset_init(&reads, BIO_POOL_SIZE, offsetof(struct image_read, clone), 0);
}

void cbt_image_exit(void)
{
	bioset_exit(&reads);
}

static void set_name(struct gendisk *image, const struct cbt_disk *disk, unsigned int slot)
{
	int length = snprintf(image->disk_name, DISK_NAME_LEN, "blkcbt-%u-%u", disk->group->id,
			      disk->id);

	if (slot)
		snprintf(image->disk_name + length, DISK_NAME_LEN - length, "-%u", slot);
}

struct gendisk *cbt_image_create(struct cbt_disk *disk, unsigned int slot,
				 struct cbt_preserve *preserve)
{
	struct gendisk *image = cbt_compat_alloc_disk(bdev_logical_block_size(preserve->origin),
						      bdev_nowait(preserve->origin));
	int err;

	if (IS_ERR(image))
		return image;
	image->fops = &image_fops;
	image->flags |= GENHD_FL_NO_PART;
	image->private_data = cbt_preserve_get(preserve);
	set_name(image, disk, slot);
	set_capacity(image, preserve->sectors);
	set_disk_ro(image, true);
	err = add_disk(image);
	if (!err)
		return image;
	put_disk(image);
	cbt_preserve_put(preserve);	/* free_disk is only called for a disk that was added */
	return ERR_PTR(err);
}

void cbt_image_destroy(struct gendisk *image)
{
	del_gendisk(image);
	put_disk(image);
}
