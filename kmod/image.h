/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The image: a read-only block device through which a pass reads the chunks of its map
 * as they stood at the cut. Chunks outside the map read as they are now. It
 * appears with the pass and disappears with it; who still has it open then reads errors.
 */
#ifndef CBT_IMAGE_H
#define CBT_IMAGE_H

struct cbt_disk;
struct cbt_preserve;
struct gendisk;

/* All may sleep. */
int cbt_image_init(void);
void cbt_image_exit(void);

/*
 * A device named after group, disk and, behind the first one, the consumer's slot, over
 * @preserve. -ENOMEM, or why it cannot be added.
 */
struct gendisk *cbt_image_create(struct cbt_disk *disk, unsigned int slot,
				 struct cbt_preserve *preserve);
void cbt_image_destroy(struct gendisk *image);

#endif
