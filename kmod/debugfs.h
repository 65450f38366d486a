/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * debugfs: /sys/kernel/debug/blkcbt/state, what the module knows, for people. It takes neither
 * a group's lock nor any other that a pass holds, so that it can be read whatever hangs; what
 * it shows is therefore of no single instant. Its first line is "version=1"; a change of what
 * lines mean changes that, new lines and new words at the end of a line do not.
 */
#ifndef CBT_DEBUGFS_H
#define CBT_DEBUGFS_H

/* May sleep. Without debugfs nothing is there, and nothing is missing. */
void cbt_debugfs_init(void);
void cbt_debugfs_exit(void);

#endif
