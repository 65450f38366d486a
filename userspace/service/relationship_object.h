/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Relationships on the bus: /org/vmreplica/Relationship/N, interface org.vmreplica.Relationship. */
#ifndef VMR_SERVICE_RELATIONSHIP_OBJECT_H
#define VMR_SERVICE_RELATIONSHIP_OBJECT_H

#include "relationship.h"

int relationship_object_register(struct service *service);

void relationship_object_added(struct relationship *r);
void relationship_object_changed(struct relationship *r);
void relationship_object_removed(struct relationship *r);

#endif
