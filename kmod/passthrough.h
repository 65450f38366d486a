/* SPDX-License-Identifier: GPL-2.0-only */
/* Commands that user space hands to a driver past the block layer (SG_IO, NVMe). */
#ifndef CBT_PASSTHROUGH_H
#define CBT_PASSTHROUGH_H

#include <linux/types.h>

struct gendisk;
struct request;

/* May the command change data? When in doubt, yes. Any context. @rq is a passthrough request. */
bool cbt_passthrough_may_write(struct request *rq);

/* May such a command change @gd: its own disk, one that hands commands down, one it shares? */
bool cbt_passthrough_reaches(const struct request *rq, const struct gendisk *gd);

#endif
