/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The disks of an entry that the service lists. */
#ifndef VMR_CLI_DISKS_H
#define VMR_CLI_DISKS_H

#include <stdbool.h>
#include <systemd/sd-bus.h>

#include "json.h"

/*
 * At an "a(ssss)": reads it and, if @wanted, writes a line for each disk, or with @json the array
 * "disks". Negative errno.
 */
int disks_read(sd_bus_message *m, struct json *json, bool wanted);

#endif
