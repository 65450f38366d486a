/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The answer to GetRecoveryPoints. */
#ifndef VMR_SERVICE_POINTS_H
#define VMR_SERVICE_POINTS_H

#include "service.h"

/* Reads the manifest in a task and answers @m later; returns as a method handler does. */
int points_answer(struct service *service, sd_bus_message *m, const char *vm);

#endif
