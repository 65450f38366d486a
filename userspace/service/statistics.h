/* SPDX-License-Identifier: GPL-2.0-or-later */
/* GetReplicationStatistics and ResetReplicationStatistics; handlers of messages. */
#ifndef VMR_SERVICE_STATISTICS_H
#define VMR_SERVICE_STATISTICS_H

#include "service.h"

int statistics_get(sd_bus_message *m, void *service, sd_bus_error *error);
int statistics_reset(sd_bus_message *m, void *service, sd_bus_error *error);

/* Begins a new period where one is over, and logs what it was. */
void statistics_roll(struct service *service);

#endif
