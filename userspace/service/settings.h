/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ReplicationSettingData: the a{sv} that describes a new relationship. */
#ifndef VMR_SERVICE_SETTINGS_H
#define VMR_SERVICE_SETTINGS_H

#include "../primary/state.h"
#include "service.h"

/* Reads the dictionary at the message's position into @state; -EINVAL with a sentence. */
int settings_read(sd_bus_message *m, struct state *state, struct err *e);

/*
 * Are these disks ones that can be replicated: block devices that are there, not given
 * twice, not of another relationship? Chooses their names on the replica.
 */
int settings_check_disks(struct service *service, struct state *state, struct err *e);

#endif
