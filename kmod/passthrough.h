/* SPDX-License-Identifier: GPL-2.0-only */
/* Commands that user space hands to a driver past the block layer (SG_IO, NVMe). */
#ifndef CBT_PASSTHROUGH_H
#define CBT_PASSTHROUGH_H

#include <linux/types.h>

struct request;

/* May the command change data? When in doubt, yes. Any context. @rq is a passthrough request. */
bool cbt_passthrough_may_write(struct request *rq);

#endif
