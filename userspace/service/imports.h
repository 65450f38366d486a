/* SPDX-License-Identifier: GPL-2.0-or-later */
/* First copies that are taken in from a medium on this host, which they are until they end. */
#ifndef VMR_SERVICE_IMPORTS_H
#define VMR_SERVICE_IMPORTS_H

#include "service.h"

/* One that has not ended. */
bool imports_any_of(const struct service *service, const char *vm);

/*
 * Begins an import of the medium at @location, an absolute path of at most WORK_MAX_LOCATION
 * bytes, and notes it durably before. *@job: null if there is none for want of memory.
 */
int imports_start(struct service *service, const char *vm, const char *location, struct job **job,
		  struct err *e);

/* Begins those anew that had not ended when the service did. Where it fails, it is logged. */
void imports_go_on(struct service *service);

#endif
