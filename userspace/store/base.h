/* SPDX-License-Identifier: GPL-2.0-or-later */
/* base.raw of one disk: exactly as large as the disk, sparse. */
#ifndef VMR_STORE_BASE_H
#define VMR_STORE_BASE_H

#include "store.h"

/* Creates it with nothing but a hole. The caller syncs the directory. */
int base_create(int dir_fd, uint64_t size_bytes, struct err *e);

/* A descriptor for writing; *@direct_fd (null: not wanted): the same with O_DIRECT, or -1. */
int base_open(int dir_fd, int *direct_fd, struct err *e);

/* Whether it is known to be one hole. */
bool base_empty(int fd);

/* Makes a range read as zeros, as a hole where the file system can. */
int base_zero(int fd, uint64_t offset, uint64_t length, struct err *e);

/* Copies to @fd, be it this or an overlay, from @from, sharing blocks where the file system can. */
int base_copy(int fd, uint64_t offset, int from, uint64_t from_offset, uint64_t length,
	      struct err *e);

#endif
