/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is written to on top of a replica's points, as an answer on the bus. */
#ifndef VMR_SERVICE_FAILOVERS_H
#define VMR_SERVICE_FAILOVERS_H

#include "service.h"

/* Name ("": the failover), when it was made (microseconds since 1970 UTC), point, disks (as of a point). */
#define FAILOVERS_SIGNATURE "ua(stsa(ssss))s"

/* Answers GetFailoverSystems, at once or when a task has read the store. */
int failovers_get(sd_bus_message *m, void *service, sd_bus_error *error);

#endif
