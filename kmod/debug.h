/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Switches that break the tracker on purpose, so that the tests can be seen to
 * fail. Only in a module built with CBT_DEBUG=y; nothing otherwise.
 */
#ifndef CBT_DEBUG_H
#define CBT_DEBUG_H

#include <linux/types.h>

#ifdef CBT_DEBUG

/* Microseconds between looking the epoch up and counting oneself in. */
void cbt_debug_enter_delay(void);
/* True: go on without looking again whether the epoch is still the current one. */
bool cbt_debug_skip_recheck(void);
/* True for each n-th call: the mark is to be forgotten. */
bool cbt_debug_forget_mark(void);
/* True: the seal does not wait for writes in flight. */
bool cbt_debug_skip_seal(void);
/* True: the context of a write is to be taken for impossible to allocate. */
bool cbt_debug_fail_alloc(void);
/* True for each n-th call: what has to be kept cannot be. */
bool cbt_debug_fail_keep(void);
/* True: a write goes on before what it overwrites was kept. */
bool cbt_debug_skip_hold(void);
/* True: what is read through an image is what the disk holds now. */
bool cbt_debug_skip_patch(void);
/* Microseconds between entering an epoch and marking, ... */
void cbt_debug_mark_delay(void);
/* ... between the end of a write and leaving its epoch, ... */
void cbt_debug_leave_delay(void);
/* ... and before what has to be kept is read; this one sleeps. */
void cbt_debug_keep_delay(void);

#else

static inline void cbt_debug_enter_delay(void) { }
static inline bool cbt_debug_skip_recheck(void) { return false; }
static inline bool cbt_debug_forget_mark(void) { return false; }
static inline bool cbt_debug_skip_seal(void) { return false; }
static inline bool cbt_debug_fail_alloc(void) { return false; }
static inline bool cbt_debug_fail_keep(void) { return false; }
static inline bool cbt_debug_skip_hold(void) { return false; }
static inline bool cbt_debug_skip_patch(void) { return false; }
static inline void cbt_debug_mark_delay(void) { }
static inline void cbt_debug_leave_delay(void) { }
static inline void cbt_debug_keep_delay(void) { }

#endif
#endif
