/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The kernel's own test harness, with the patience that an emulated guest needs. */
#ifndef VMR_SELFTESTS_HARNESS_H
#define VMR_SELFTESTS_HARNESS_H

#include <kselftest_harness.h>

#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT 120	/* seconds */

#endif
