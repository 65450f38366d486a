/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The replicas that this host keeps, listed from their directories once a second. */
#ifndef VMR_SERVICE_REPLICAS_H
#define VMR_SERVICE_REPLICAS_H

#include "service.h"

/* Begins a listing when one is due; its end brings the relationships up to date. */
void replicas_look(struct service *service);

#endif
