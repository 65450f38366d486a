// SPDX-License-Identifier: GPL-2.0-only
/* The values behind debug.h, as writable module parameters. */
#include <linux/atomic.h>
#include <linux/delay.h>
#include <linux/moduleparam.h>

#include "debug.h"

static unsigned int enter_delay_us;
module_param(enter_delay_us, uint, 0600);
MODULE_PARM_DESC(enter_delay_us, "debug: wait so long between reading the epoch and entering it");

static bool skip_recheck;
module_param(skip_recheck, bool, 0600);
MODULE_PARM_DESC(skip_recheck, "debug: enter an epoch without looking whether it is still current");

static unsigned int forget_mark;
module_param(forget_mark, uint, 0600);
MODULE_PARM_DESC(forget_mark, "debug: forget each n-th mark; 0: none");

static bool skip_seal;
module_param(skip_seal, bool, 0600);
MODULE_PARM_DESC(skip_seal, "debug: call an epoch sealed without waiting for writes in flight");

static unsigned int fail_alloc;
module_param(fail_alloc, uint, 0600);
MODULE_PARM_DESC(fail_alloc, "debug: fail each n-th allocation of a write's context; 0: none");

static unsigned int fail_keep;
module_param(fail_keep, uint, 0600);
MODULE_PARM_DESC(fail_keep, "debug: fail each n-th time that something has to be kept; 0: none");

static bool skip_hold;
module_param(skip_hold, bool, 0600);
MODULE_PARM_DESC(skip_hold, "debug: keep nothing of what is overwritten during a pass");

static bool skip_patch;
module_param(skip_patch, bool, 0600);
MODULE_PARM_DESC(skip_patch, "debug: images show the disk as it is");

static unsigned int mark_delay_us;
module_param(mark_delay_us, uint, 0600);
MODULE_PARM_DESC(mark_delay_us, "debug: wait so long between entering the epoch and marking");

static unsigned int leave_delay_us;
module_param(leave_delay_us, uint, 0600);
MODULE_PARM_DESC(leave_delay_us, "debug: wait so long between a write's end and its leaving the epoch");

static unsigned int keep_delay_us;
module_param(keep_delay_us, uint, 0600);
MODULE_PARM_DESC(keep_delay_us, "debug: wait so long before what has to be kept is read");

static atomic_t keeps = ATOMIC_INIT(0);
static atomic_t marks = ATOMIC_INIT(0);
static atomic_t allocs = ATOMIC_INIT(0);

static bool each(unsigned int n, atomic_t *count)
{
	return n && (unsigned int)atomic_inc_return(count) % n == 0;
}

static void delay(unsigned int us)
{
	if (us)
		udelay(us);
}

void cbt_debug_enter_delay(void)
{
	delay(READ_ONCE(enter_delay_us));
}

void cbt_debug_mark_delay(void)
{
	delay(READ_ONCE(mark_delay_us));
}

void cbt_debug_leave_delay(void)
{
	delay(READ_ONCE(leave_delay_us));
}

void cbt_debug_keep_delay(void)
{
	unsigned int us = READ_ONCE(keep_delay_us);

	if (us)
		fsleep(us);
}

bool cbt_debug_skip_recheck(void)
{
	return READ_ONCE(skip_recheck);
}

bool cbt_debug_forget_mark(void)
{
	return each(READ_ONCE(forget_mark), &marks);
}

bool cbt_debug_skip_seal(void)
{
	return READ_ONCE(skip_seal);
}

bool cbt_debug_fail_alloc(void)
{
	return each(READ_ONCE(fail_alloc), &allocs);
}

bool cbt_debug_fail_keep(void)
{
	return each(READ_ONCE(fail_keep), &keeps);
}

bool cbt_debug_skip_hold(void)
{
	return READ_ONCE(skip_hold);
}

bool cbt_debug_skip_patch(void)
{
	return READ_ONCE(skip_patch);
}
