/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * manifest.json of one VM: what the replica consists of. Replaced as a whole by
 * rename, never edited; its text ends in a CRC of all that comes before, so
 * that damage is found rather than believed. Documentation/store-format.rst
 * has the schema.
 */
#ifndef VMR_STORE_MANIFEST_H
#define VMR_STORE_MANIFEST_H

#include "failover.h"

struct manifest_pass {
	uint64_t id;
	uint64_t cut_time_us;
	bool whole;
	enum store_consistency consistency;
};

struct manifest {
	struct store_spec spec;
	bool released;
	enum store_initial initial;
	uint64_t durable[STORE_MAX_DISKS];	/* bytes from the start, initial pass */
	uint64_t base_pass;	/* newest pass that base.raw holds, or will hold, wholly; 0: none */
	uint64_t merging_pass;	/* its overlay lies between base.raw and passes[0]; 0: none */
	unsigned int pass_count;
	struct manifest_pass *passes;	/* overlays, oldest first */
	/*
	 * Grows with the first pass of each connection, and with each step of a failover: a store
	 * that says less than it once said to a primary is an older copy of itself.
	 */
	uint64_t generation;
	struct store_failover failover;
};

/* -ENOENT: there is none; -EUCLEAN: damaged. @m needs manifest_free() after success. */
int manifest_read(int dir_fd, struct manifest *m, struct err *e);

/*
 * Writes, syncs and renames. *@replaced says whether the rename happened: on
 * failure after it, which of the two manifests a power cut leaves is not known.
 */
int manifest_write(int dir_fd, const struct manifest *m, bool *replaced, struct err *e);

/* The pass that is point @id, 0: the newest; null with a sentence: there is none. */
const struct manifest_pass *manifest_point(const struct manifest *m, uint64_t id, struct err *e);

/* The newest pass that is durable, 0: none. */
static inline uint64_t manifest_last_pass(const struct manifest *m)
{
	return m->pass_count ? m->passes[m->pass_count - 1].id : m->base_pass;
}

/* There is, or will be with a medium's import, a base for passes to lie on. */
static inline bool manifest_has_base(const struct manifest *m)
{
	return m->initial == STORE_INITIAL_COMPLETE || m->initial == STORE_INITIAL_AWAITED;
}

/* Deep copies; the pass list of @to has room for one more. */
int manifest_copy(struct manifest *to, const struct manifest *from, struct err *e);
void manifest_free(struct manifest *m);

#endif
