/* SPDX-License-Identifier: GPL-2.0-or-later */
/* /org/vmreplica/ReplicationService, interface org.vmreplica.ReplicationService. */
#ifndef VMR_SERVICE_SERVICE_OBJECT_H
#define VMR_SERVICE_SERVICE_OBJECT_H

#include "service.h"

int service_object_register(struct service *service);

#endif
