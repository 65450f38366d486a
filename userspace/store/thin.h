/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A history with gaps: a pass that is not to stay is merged into the one above it. The result is
 * a new overlay under the name of the upper one, so nothing that exists is changed, and
 * who has the old one open keeps it.
 */
#ifndef VMR_STORE_THIN_H
#define VMR_STORE_THIN_H

#include "internal.h"
#include "share.h"

/* As store_maintain(), for passes between kept points. */
int thin(struct store *store, const struct share *share, struct err *e);

/*
 * When a store is opened: who died while the upper overlays were replaced has left some that skip a
 * pass which the manifest still names. They are put on top of that again, before anything
 * below it goes, and show what they showed.
 */
int thin_repair(const struct store *store, struct err *e);

/* Drops what a merge that was left early has written. */
void thin_abandon(struct store *store);

#endif
