/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A small file that is replaced as a whole, never edited. */
#ifndef VMR_COMMON_REPLACE_H
#define VMR_COMMON_REPLACE_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Makes @data what the file @name below @dir_fd holds: written to @temp, synced, renamed, and the
 * directory synced. Whatever dies meanwhile, the file is the old one or the new one, and after 0 it
 * is the new one. Or a negative errno: then @temp is gone, and *@replaced (null: not wanted) says
 * whether the rename had happened, so that which of the two a power cut leaves is not known.
 */
int replace_file(int dir_fd, const char *name, const char *temp, const void *data, size_t bytes,
		 bool *replaced);

#endif
