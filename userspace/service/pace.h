/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Applies the limits of rate to the passes that run. */
#ifndef VMR_SERVICE_PACE_H
#define VMR_SERVICE_PACE_H

#include "service.h"

/*
 * To be called when passes begin or end, and now and then, as limits change with the time
 * of day.
 */
void pace_apply(struct service *service);

#endif
