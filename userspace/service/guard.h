/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who may call what. Looking is for everyone. Changing is for root, and for whom polkit grants the
 * action; without polkit on the bus, for root only.
 */
#ifndef VMR_SERVICE_GUARD_H
#define VMR_SERVICE_GUARD_H

#include "service.h"

/* As org.vmreplica.policy declares them. */
#define GUARD_OPERATE	"org.vmreplica.operate"		/* what a relationship is there for */
#define GUARD_CONFIGURE	"org.vmreplica.configure"	/* make, modify, remove relationships */

/*
 * Calls @method(m, service, null) if the sender may do @action, at once or when polkit has
 * answered; else gives the refusal by @refuse. Returns as a method's handler does.
 */
int guard_call(struct service *service, sd_bus_message *m, const char *action,
	       sd_bus_message_handler_t method, int (*refuse)(sd_bus_message *m));

#endif
