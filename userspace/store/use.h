/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whether a program other than us has a file of the store open. */
#ifndef VMR_STORE_USE_H
#define VMR_STORE_USE_H

#include <stdbool.h>

/* @fd: opened for writing, the only descriptor that this process has of the file. */
bool use_elsewhere(int fd);

#endif
