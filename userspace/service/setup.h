/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Methods that make, modify, remove and try out relationships; handlers of messages. */
#ifndef VMR_SERVICE_SETUP_H
#define VMR_SERVICE_SETUP_H

#include "service.h"

int setup_reverse(sd_bus_message *m, void *service, sd_bus_error *error);
int setup_create(sd_bus_message *m, void *service, sd_bus_error *error);
int setup_modify(sd_bus_message *m, void *service, sd_bus_error *error);
int setup_remove(sd_bus_message *m, void *service, sd_bus_error *error);
int setup_test_connection(sd_bus_message *m, void *service, sd_bus_error *error);

#endif
