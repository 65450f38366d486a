/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the tracker holds of a relationship goes over a reboot in a file (marks.h). Both are called
 * while no pass runs, and may take as long as a disk takes to be flushed or to appear.
 */
#ifndef VMR_PRIMARY_REBOOT_H
#define VMR_PRIMARY_REBOOT_H

#include "state.h"

/*
 * Before the host goes down, when the VM has ended: saves it below @dir. The disks are read-only
 * from then on, until reboot_restore() or the reboot. After a failure they are as before, with
 * the reason in @e, and the next boot has to compare them.
 */
int reboot_save(struct state_file *file, const char *dir, struct err *e);

/*
 * Before anything can write to the disks: takes back what was saved, once. 0: the disks are tracked
 * and trusted, and what was owed is owed. -EALREADY: it is still the boot in which it was saved;
 * the disks can be written to again. -ENOENT: nothing was saved. After any other failure the
 * disks are not trusted, with the reason in @e.
 */
int reboot_restore(struct state_file *file, const char *dir, struct err *e);

#endif
