/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Linux before 6.3 has a path around bios: swap, and the file systems that
 * write by page (ext2), hand a page straight to drivers of memory disks (brd,
 * zram). Nobody can track such a write or hold it, but it can be said aloud.
 */
#ifndef CBT_COMPAT_RW_PAGE_H
#define CBT_COMPAT_RW_PAGE_H

struct gendisk;

/* @told hears of each such write of any device, before and after it, with preemption off. */
int cbt_compat_rw_page_watch(void (*told)(struct gendisk *gd));
void cbt_compat_rw_page_unwatch(void);
/* Does the device have that path? */
bool cbt_compat_rw_page_used(const struct gendisk *gd);

#endif
