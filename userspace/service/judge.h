/* SPDX-License-Identifier: GPL-2.0-or-later */
/* State and health of a relationship, and why, from all that is known of it. */
#ifndef VMR_SERVICE_JUDGE_H
#define VMR_SERVICE_JUDGE_H

#include "relationship.h"

/* Fills in state, health and reason of r->view. */
void judge(struct relationship *r);

#endif
