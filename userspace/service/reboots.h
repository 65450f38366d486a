/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the tracker holds, over a reboot, for all relationships that this host is the primary of. */
#ifndef VMR_SERVICE_REBOOTS_H
#define VMR_SERVICE_REBOOTS_H

#include <stdbool.h>

#include "../primary/state.h"

/* Restores one, if it was saved, and logs how that went. @dir: of the state files. */
void reboots_restore(struct state_file *file, const char *dir, const char *vm);

/*
 * Saves or restores all, with no service running on @state_dir. What cannot be is logged and will
 * be compared; a failure is that they cannot even be listed.
 */
int reboots_run(const char *state_dir, bool save);

#endif
