/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VMR_CLI_DRY_RUN_H
#define VMR_CLI_DRY_RUN_H

#include <stdbool.h>

#include "../common/err.h"

/* Prints how much a pass of @vm would send if it were cut now. */
int dry_run(const char *vm, bool json, struct err *e);

#endif
