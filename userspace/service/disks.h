/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which devices can be a relationship's disks. */
#ifndef VMR_SERVICE_DISKS_H
#define VMR_SERVICE_DISKS_H

#include "../primary/state.h"
#include "service.h"

/*
 * Are these disks ones that can be replicated: block devices that are there, not given
 * twice, not of another relationship? Chooses their names on the replica.
 */
int disks_check(struct service *service, struct state *state, struct err *e);

#endif
