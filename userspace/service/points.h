/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A replica's points, as an answer on the bus. */
#ifndef VMR_SERVICE_POINTS_H
#define VMR_SERVICE_POINTS_H

#include "service.h"

/* Answers GetRecoveryPoints with a LISTING_SIGNATURE: id, cut, consistency, disks. */
int points_get(sd_bus_message *m, void *service, sd_bus_error *error);

#endif
