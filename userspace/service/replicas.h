/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The replicas that this host keeps, listed from their directories once a second. What is asked
 * about one, or done to one, does not wait for that: see replicas_find() and replicas_changed().
 */
#ifndef VMR_SERVICE_REPLICAS_H
#define VMR_SERVICE_REPLICAS_H

#include "service.h"

/* Begins a listing when one is due; its end brings the relationships up to date. */
void replicas_look(struct service *service);

/*
 * The replica's relationship, or null. A replica that the last listing has not seen is looked up
 * in its directory, so that a primary that has just made it can be followed by whoever asks here.
 */
struct relationship *replicas_find(struct service *service, const char *vm);

/* A job changed or removed a replica: a listing that began before its end is not taken. */
void replicas_changed(struct service *service);

#endif
