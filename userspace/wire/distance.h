/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A connection over a long distance: what the kernel's defaults leave of its bandwidth. */
#ifndef VMR_WIRE_DISTANCE_H
#define VMR_WIRE_DISTANCE_H

/*
 * Where the round trip on @sock, connected, takes long: holds more data under way than the defaults
 * allow, and lets the sending rate follow what the link delivers (BBR), not the
 * first lost packet. As far as the kernel and the process's rights allow; never fails.
 */
void distance_tune(int sock);

#endif
