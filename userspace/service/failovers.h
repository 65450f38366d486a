/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is written to on top of a replica's points, as an answer on the bus. */
#ifndef VMR_SERVICE_FAILOVERS_H
#define VMR_SERVICE_FAILOVERS_H

#include "service.h"

/*
 * Answers GetFailoverSystems with a LISTING_SIGNATURE: name ("": the failover), when it was made,
 * point, disks to be written to.
 */
int failovers_get(sd_bus_message *m, void *service, sd_bus_error *error);

#endif
