// SPDX-License-Identifier: GPL-2.0-only
/* blkcbt: tracks the changed blocks of block devices in use. Documentation/design.rst. */
#include <linux/module.h>

#include "debugfs.h"
#include "group.h"
#include "image.h"
#include "netlink.h"
#include "pass.h"
#include "preserve.h"
#include "tap.h"
#include "write.h"

static int __init cbt_init(void)
{
	int err;

	err = cbt_groups_init();
	if (err)
		return err;
	err = cbt_pass_init();
	if (err)
		goto err_groups;
	err = cbt_preserve_init();
	if (err)
		goto err_pass;
	err = cbt_image_init();
	if (err)
		goto err_preserve;
	err = cbt_write_init();
	if (err)
		goto err_image;
	err = cbt_tap_init();
	if (err)
		goto err_write;
	err = cbt_netlink_init();
	if (err)
		goto err_write;
	cbt_debugfs_init();
	return 0;

err_write:
	cbt_write_exit();
err_image:
	cbt_image_exit();
err_preserve:
	cbt_preserve_exit();
err_pass:
	cbt_pass_exit();
err_groups:
	cbt_groups_exit();
	return err;
}

/* Each group holds the module, so none is left; their last writes may be. */
static void __exit cbt_exit(void)
{
	cbt_debugfs_exit();
	cbt_netlink_exit();
	cbt_pass_exit();
	cbt_groups_exit();
	cbt_write_exit();
	cbt_image_exit();
	cbt_preserve_exit();
}

module_init(cbt_init);
module_exit(cbt_exit);

MODULE_DESCRIPTION("Changed block tracking for block devices in use");
MODULE_LICENSE("GPL");
MODULE_ALIAS("net-pf-16-proto-16-family-blkcbt");
