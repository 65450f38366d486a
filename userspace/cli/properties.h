/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reads an a{sv} of properties into our structures. */
#ifndef VMR_CLI_PROPERTIES_H
#define VMR_CLI_PROPERTIES_H

#include "client.h"

int properties_of_relationship(sd_bus_message *m, struct client_relationship *r);
int properties_of_job(sd_bus_message *m, struct client_job *job);

#endif
