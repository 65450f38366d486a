/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The Makefile takes the version for packages from here. */
#ifndef VMR_COMMON_VERSION_H
#define VMR_COMMON_VERSION_H

#define VMREPLICA_VERSION "1.0"

#endif
