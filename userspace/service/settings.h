/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ReplicationSettingData: the a{sv} that describes a relationship. settings.c lists the keys, which
 * are those of Hyper-V's, and what each may be.
 */
#ifndef VMR_SERVICE_SETTINGS_H
#define VMR_SERVICE_SETTINGS_H

#include "../primary/state.h"
#include "service.h"

void settings_defaults(struct state *state);

/*
 * Reads the dictionary at the message's position over what @state holds. -EINVAL, -EPROTOTYPE (a
 * value of another type) or -EOPNOTSUPP with a sentence. @fresh: the relationship is to be made,
 * so it must be complete; else it exists, and its disks stay.
 */
int settings_read(sd_bus_message *m, bool fresh, struct state *state, struct err *e);

#endif
