/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where the clusters of an overlay are, while it is being written: a sparse
 * table of qcow2 L2 entries, indexed by guest cluster. Memory follows what
 * was touched: 4 KiB per 512 clusters in which one was set, 8 KiB per 512 Ki
 * clusters, and next to nothing for long ranges of zeros.
 */
#ifndef VMR_STORE_CLUSTERMAP_H
#define VMR_STORE_CLUSTERMAP_H

#include <stdint.h>

#define CLUSTERMAP_LEAF		512u	/* entries of a leaf */
#define CLUSTERMAP_COPIED	(1ULL << 63)	/* refcount is exactly one: writable in place */
#define CLUSTERMAP_ZERO		1ULL	/* reads as zeros, whatever is at the offset */
#define CLUSTERMAP_OFFSET	0x00fffffffffffe00ULL

struct clustermap_mid;

struct clustermap {
	uint64_t clusters;
	unsigned int mid_count;
	struct clustermap_mid **mids;
};

int clustermap_init(struct clustermap *map, uint64_t clusters);
void clustermap_exit(struct clustermap *map);

/* The entry of cluster @index; 0: untouched. */
uint64_t clustermap_get(const struct clustermap *map, uint64_t index);
/* 0 or -ENOMEM, then nothing changed. */
int clustermap_set(struct clustermap *map, uint64_t index, uint64_t entry);
/* Makes @count clusters read as zeros; those with an offset keep it. 0 or -ENOMEM. */
int clustermap_zero(struct clustermap *map, uint64_t index, uint64_t count);

/*
 * The first clusters at or behind *@index that are untouched: moves *@index there and returns how
 * many there are in a row, up to @end; 0: none before @end.
 */
uint64_t clustermap_untouched(const struct clustermap *map, uint64_t *index, uint64_t end);

enum clustermap_kind { CLUSTERMAP_NONE, CLUSTERMAP_ALL_ZERO, CLUSTERMAP_MIXED };
/* What leaf @leaf (clusters @leaf * 512 and on) holds; *@entries is set when it is MIXED. */
enum clustermap_kind clustermap_leaf(const struct clustermap *map, uint64_t leaf,
				     const uint64_t **entries);

#endif
