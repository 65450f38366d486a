/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Methods of the replica's side: failover, its way back and its end, and tests. */
#ifndef VMR_SERVICE_FAILOVER_OBJECT_H
#define VMR_SERVICE_FAILOVER_OBJECT_H

#include "service.h"

int failover_initiate(sd_bus_message *m, void *service, sd_bus_error *error);
int failover_revert(sd_bus_message *m, void *service, sd_bus_error *error);
int failover_commit(sd_bus_message *m, void *service, sd_bus_error *error);
int failover_test(sd_bus_message *m, void *service, sd_bus_error *error);
int failover_end_test(sd_bus_message *m, void *service, sd_bus_error *error);

#endif
