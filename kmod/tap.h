/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The tap: sees each bio of the system at its submission and its completion
 * (tracepoints block_bio_queue and block_bio_remap; block_bio_complete for drivers that
 * take bios, block_rq_complete for those that take requests) and the commands that
 * carry no bio through there (block_rq_issue and block_rq_complete).
 *
 * Each write-like bio of a tracked disk enters its group's epoch, is marked, and is
 * wrapped (write.h), so that the epoch knows when it has completed. A write that
 * completes on a tracked disk without having been seen (it was in flight
 * when the disk was added, there was no memory for its context, a driver passed it on
 * past the tracepoint) makes the disk untrusted: nothing is missed in silence.
 *
 * The probes are registered while there is a disk to see.
 */
#ifndef CBT_TAP_H
#define CBT_TAP_H

struct cbt_disk;
struct cbt_group;

/* Finds the tracepoints. -EOPNOTSUPP when the kernel lacks one. */
int cbt_tap_init(void);

/* From its return on every write of the disk is seen. May sleep. */
int cbt_tap_add(struct cbt_disk *disk);
/* From its return on no CPU marks the disk. Its epochs may still hold writes in flight. */
void cbt_tap_remove(struct cbt_disk *disk);

/*
 * Calls @each for the tapped disks of @group in no order; none comes or goes meanwhile.
 * May sleep, and @each, too. Takes no lock that waits for writes or for passes.
 */
void cbt_tap_for_each(const struct cbt_group *group, void (*each)(struct cbt_disk *disk, void *arg),
		      void *arg);

#endif
