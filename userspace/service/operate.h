/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Methods of a relationship that exists, from its initial replication on; handlers of messages. */
#ifndef VMR_SERVICE_OPERATE_H
#define VMR_SERVICE_OPERATE_H

#include "service.h"

int operate_start(sd_bus_message *m, void *service, sd_bus_error *error);
int operate_import(sd_bus_message *m, void *service, sd_bus_error *error);
int operate_resynchronize(sd_bus_message *m, void *service, sd_bus_error *error);
int operate_verify(sd_bus_message *m, void *service, sd_bus_error *error);
int operate_replicate(sd_bus_message *m, void *service, sd_bus_error *error);
int operate_request_state(sd_bus_message *m, void *service, sd_bus_error *error);
int operate_cancel_job(sd_bus_message *m, void *service, sd_bus_error *error);

#endif
