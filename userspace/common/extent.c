// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "extent.h"

int extent_list_append(struct extent_list *list, uint64_t offset, uint64_t length)
{
	struct extent *last = list->count ? &list->at[list->count - 1] : NULL;
	struct extent *grown;
	size_t room;

	if (!length || offset + length < offset)
		return -EINVAL;
	if (last && offset < last->offset + last->length)
		return -EINVAL;
	if (last && offset == last->offset + last->length) {
		last->length += length;
		list->bytes += length;
		return 0;
	}
	if (list->count == list->room) {
		room = list->room ? 2 * list->room : 64;
		grown = reallocarray(list->at, room, sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		list->at = grown;
		list->room = room;
	}
	list->at[list->count++] = (struct extent){ offset, length };
	list->bytes += length;
	return 0;
}

int extent_list_unite(const struct extent_list *a, const struct extent_list *b,
		      struct extent_list *out)
{
	size_t i = 0, j = 0;
	uint64_t end = 0;	/* of what *@out holds */
	int ret = 0;

	while (!ret && (i < a->count || j < b->count)) {
		bool first = j == b->count ||
			     (i < a->count && a->at[i].offset <= b->at[j].offset);
		const struct extent *next = first ? &a->at[i++] : &b->at[j++];
		uint64_t from = next->offset > end ? next->offset : end;
		uint64_t to = next->offset + next->length;

		if (to <= from)
			continue;
		ret = extent_list_append(out, from, to - from);
		end = to;
	}
	return ret;
}

int extent_list_subtract(const struct extent_list *a, const struct extent_list *b,
			 struct extent_list *out)
{
	size_t j = 0;
	int ret = 0;

	for (size_t i = 0; i < a->count && !ret; i++) {
		uint64_t from = a->at[i].offset, end = from + a->at[i].length;

		while (!ret && from < end) {
			while (j < b->count && b->at[j].offset + b->at[j].length <= from)
				j++;
			if (j == b->count || b->at[j].offset >= end) {
				ret = extent_list_append(out, from, end - from);
				break;
			}
			if (b->at[j].offset > from)
				ret = extent_list_append(out, from, b->at[j].offset - from);
			from = b->at[j].offset + b->at[j].length;
		}
	}
	return ret;
}

void extent_list_free(struct extent_list *list)
{
	free(list->at);
	*list = (struct extent_list){ 0 };
}
