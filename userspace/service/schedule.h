/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What happens by itself: passes when they are due, progress signals, listings, expiry. */
#ifndef VMR_SERVICE_SCHEDULE_H
#define VMR_SERVICE_SCHEDULE_H

#include "service.h"

/*
 * The first look is part of it: whoever asks the service afterwards finds the jobs of passes that
 * are due at its start.
 */
int schedule_start(struct service *service);

/* Something became due: look now. */
void schedule_wake(struct service *service);

#endif
