/* SPDX-License-Identifier: GPL-2.0-only */
/* The generic netlink family "blkcbt": Documentation/netlink/specs/blkcbt.yaml. */
#ifndef CBT_NETLINK_H
#define CBT_NETLINK_H

/* Both may sleep. Everything below is ready before init and still there at exit. */
int cbt_netlink_init(void);
void cbt_netlink_exit(void);

#endif
