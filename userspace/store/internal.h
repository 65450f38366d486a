/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An open store, as the files of this folder share it. */
#ifndef VMR_STORE_INTERNAL_H
#define VMR_STORE_INTERNAL_H

#include <sys/types.h>

#include "history.h"

#define STORE_FILE_BYTES	32	/* room for a file's name in a disk's directory */
#define STORE_BASE_NAME		"base.raw"

struct store {
	int root_fd;
	int dir_fd;			/* ROOT/VM, locked with flock(2) */
	int disk_fds[STORE_MAX_DISKS];	/* ROOT/VM/DISK */
	char *root;			/* as given, for sentences */
	char name[STORE_NAME_BYTES];	/* of the directory below root */
	struct manifest manifest;	/* what the last durable manifest says */
	bool broken;			/* which manifest is durable is not known: reopen */
	struct store_pass *pass;	/* the open one, or null */
	struct history history;
	struct thin *thin;		/* a merge of two overlays that was left early, or null */
	unsigned int merge_disk;	/* where the merge of manifest.merging_pass goes on */
	uint64_t merge_position;
};

/* "000000000012.qcow2", "000000000012.part" */
void store_overlay_name(uint64_t pass, char name[STORE_FILE_BYTES]);
void store_part_name(uint64_t pass, char name[STORE_FILE_BYTES]);

/* Fills *@next with a copy of the manifest, to be changed. An error when the store is not idle. */
int store_begin_change(const struct store *store, struct manifest *next, struct err *e);

/*
 * Makes *@next the durable manifest and the one of @store, which takes it over;
 * on failure *@next is freed. *@replaced: see manifest_write(); if it is set on
 * failure, the store is broken from then on.
 */
int store_commit_manifest(struct store *store, struct manifest *next, bool *replaced,
			  struct err *e);

/* The directory of ROOT/VM, for reading. -ENOENT with a sentence: no such replica. */
int store_open_dir(const char *root, const char *vm, struct err *e);

/* Removes the files of passes that the manifest does not name. */
int store_clean(const struct store *store, struct err *e);

/* -EBUSY with a sentence: a program has the overlay of that pass open. */
int store_check_pass_unused(const struct store *store, uint64_t pass, struct err *e);

/* -EIO with a sentence when the store is broken, -EBUSY when a pass is open. */
int store_check_idle(const struct store *store, struct err *e);

#endif
