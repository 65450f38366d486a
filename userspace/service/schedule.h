/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What happens by itself: passes when they are due, progress signals, listings, expiry. */
#ifndef VMR_SERVICE_SCHEDULE_H
#define VMR_SERVICE_SCHEDULE_H

#include "service.h"

int schedule_start(struct service *service);

/* Something became due: look now. */
void schedule_wake(struct service *service);

#endif
