/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Removes a store's directory. */
#ifndef VMR_STORE_TREE_H
#define VMR_STORE_TREE_H

/*
 * Removes @name below @dir_fd with what is in it, three levels deep (no store is
 * deeper), never following a symbolic link. 0, also when there is none, or negative errno.
 */
int tree_remove(int dir_fd, const char *name);

#endif
