// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Provokes, on loading, what a kernel complains of: Debian's kernels have no
 * LKDTM to do so.
 */
#include <linux/module.h>
#include <linux/sched.h>

static char *what = "warn";
module_param(what, charp, 0);
MODULE_PARM_DESC(what, "warn, bug, oops or print");

static int __init guest_warn_init(void)
{
	if (!strcmp(what, "warn"))
		WARN(1, "provoked by a test\n");
	else if (!strcmp(what, "bug"))
		BUG();
	else if (!strcmp(what, "oops"))
		WRITE_ONCE(*(volatile int *)NULL, 1);
	else
		pr_info("no harm: WARNING: and BUG: stand inside a line\n");
	return -EAGAIN; /* not to stay loaded */
}
module_init(guest_warn_init);

MODULE_DESCRIPTION("Provoke kernel reports for the tests of tools/guest");
MODULE_LICENSE("GPL");
