// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "clustermap.h"

#define MID_LEAVES   1024u
#define MID_CLUSTERS ((uint64_t)MID_LEAVES * CLUSTERMAP_LEAF)

struct clustermap_mid {
	uint64_t *leaves[MID_LEAVES];
};

/* These stand for a leaf and for a mid of nothing but zeros; never written to. */
static uint64_t zero_leaf[1];
static struct clustermap_mid zero_mid;

int clustermap_init(struct clustermap *map, uint64_t clusters)
{
	map->clusters = clusters;
	map->mid_count = (clusters + MID_CLUSTERS - 1) / MID_CLUSTERS;
	map->mids = calloc(map->mid_count, sizeof(*map->mids));
	return map->mids ? 0 : -ENOMEM;
}

static void free_leaf(uint64_t *leaf)
{
	if (leaf != zero_leaf)
		free(leaf);
}

void clustermap_exit(struct clustermap *map)
{
	for (unsigned int i = 0; map->mids && i < map->mid_count; i++) {
		if (!map->mids[i] || map->mids[i] == &zero_mid)
			continue;
		for (unsigned int j = 0; j < MID_LEAVES; j++)
			free_leaf(map->mids[i]->leaves[j]);
		free(map->mids[i]);
	}
	free(map->mids);
	*map = (struct clustermap){ 0 };
}

/* The slot of a leaf, splitting a mid of zeros; null: no memory. */
static uint64_t **leaf_slot(struct clustermap *map, uint64_t index)
{
	struct clustermap_mid **slot = &map->mids[index / MID_CLUSTERS];
	struct clustermap_mid *mid;

	if (!*slot || *slot == &zero_mid) {
		mid = calloc(1, sizeof(*mid));
		if (!mid)
			return NULL;
		for (unsigned int i = 0; *slot && i < MID_LEAVES; i++)
			mid->leaves[i] = zero_leaf;
		*slot = mid;
	}
	return &(*slot)->leaves[index / CLUSTERMAP_LEAF % MID_LEAVES];
}

uint64_t clustermap_get(const struct clustermap *map, uint64_t index)
{
	const uint64_t *entries;

	switch (clustermap_leaf(map, index / CLUSTERMAP_LEAF, &entries)) {
	case CLUSTERMAP_MIXED:
		return entries[index % CLUSTERMAP_LEAF];
	case CLUSTERMAP_ALL_ZERO:
		return CLUSTERMAP_ZERO;
	default:
		return 0;
	}
}

int clustermap_set(struct clustermap *map, uint64_t index, uint64_t entry)
{
	uint64_t **slot = leaf_slot(map, index);
	uint64_t *leaf;

	if (!slot)
		return -ENOMEM;
	if (!*slot || *slot == zero_leaf) {
		leaf = calloc(CLUSTERMAP_LEAF, sizeof(*leaf));
		if (!leaf)
			return -ENOMEM;
		for (unsigned int i = 0; *slot && i < CLUSTERMAP_LEAF; i++)
			leaf[i] = CLUSTERMAP_ZERO;
		*slot = leaf;
	}
	(*slot)[index % CLUSTERMAP_LEAF] = entry;
	return 0;
}

/* Gives a leaf's memory back when it says no more than that all is zeros. */
static void collapse(uint64_t **slot)
{
	if (!*slot || *slot == zero_leaf)
		return;
	for (unsigned int i = 0; i < CLUSTERMAP_LEAF; i++)
		if ((*slot)[i] != CLUSTERMAP_ZERO)
			return;
	free(*slot);
	*slot = zero_leaf;
}

static int zero_whole_leaf(struct clustermap *map, uint64_t index)
{
	uint64_t **slot = leaf_slot(map, index);

	if (!slot)
		return -ENOMEM;
	if (!*slot)
		*slot = zero_leaf;
	for (unsigned int i = 0; *slot != zero_leaf && i < CLUSTERMAP_LEAF; i++)
		(*slot)[i] |= CLUSTERMAP_ZERO;
	collapse(slot);
	return 0;
}

/* Zeros often come in pieces and in order: the last piece of a leaf collapses it. */
static int zero_one(struct clustermap *map, uint64_t index)
{
	int ret = clustermap_set(map, index, clustermap_get(map, index) | CLUSTERMAP_ZERO);

	if (!ret && index % CLUSTERMAP_LEAF == CLUSTERMAP_LEAF - 1)
		collapse(leaf_slot(map, index));
	return ret;
}

int clustermap_zero(struct clustermap *map, uint64_t index, uint64_t count)
{
	uint64_t end = index + count, step;
	struct clustermap_mid **mid;
	int ret = 0;

	/* What lies beyond the last cluster may read as zeros too: whole leaves are cheap. */
	if (end == map->clusters)
		end = map->mid_count * MID_CLUSTERS;
	for (; index < end && !ret; index += step) {
		mid = &map->mids[index / MID_CLUSTERS];
		if (*mid == &zero_mid ||
		    (!*mid && index % MID_CLUSTERS == 0 && end - index >= MID_CLUSTERS)) {
			*mid = &zero_mid;
			step = MID_CLUSTERS - index % MID_CLUSTERS;
		} else if (index % CLUSTERMAP_LEAF == 0 && end - index >= CLUSTERMAP_LEAF) {
			step = CLUSTERMAP_LEAF;
			ret = zero_whole_leaf(map, index);
		} else {
			step = 1;
			ret = zero_one(map, index);
		}
	}
	return ret;
}

enum clustermap_kind clustermap_leaf(const struct clustermap *map, uint64_t leaf,
				     const uint64_t **entries)
{
	const struct clustermap_mid *mid = map->mids[leaf / MID_LEAVES];

	if (mid == &zero_mid)
		return CLUSTERMAP_ALL_ZERO;
	if (!mid || !mid->leaves[leaf % MID_LEAVES])
		return CLUSTERMAP_NONE;
	*entries = mid->leaves[leaf % MID_LEAVES];
	return *entries == zero_leaf ? CLUSTERMAP_ALL_ZERO : CLUSTERMAP_MIXED;
}

/* Whether cluster @index is untouched, and how many from it on, in its leaf, are like it. */
static bool untouched(const struct clustermap *map, uint64_t index, uint64_t *alike)
{
	uint64_t at = index % CLUSTERMAP_LEAF;
	const uint64_t *entries;
	enum clustermap_kind kind = clustermap_leaf(map, index / CLUSTERMAP_LEAF, &entries);

	if (kind != CLUSTERMAP_MIXED) {
		*alike = CLUSTERMAP_LEAF - at;
		return kind == CLUSTERMAP_NONE;
	}
	for (*alike = 1; at + *alike < CLUSTERMAP_LEAF; ++*alike)
		if (!entries[at + *alike] != !entries[at])
			break;
	return !entries[at];
}

uint64_t clustermap_untouched(const struct clustermap *map, uint64_t *index, uint64_t end)
{
	uint64_t alike, count = 0;

	while (*index + count < end) {
		if (untouched(map, *index + count, &alike))
			count += alike;
		else if (count)
			break;
		else
			*index += alike;
	}
	if (!count)
		return 0;
	return *index + count < end ? count : end - *index;
}
