// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
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

void extent_list_free(struct extent_list *list)
{
	free(list->at);
	*list = (struct extent_list){ 0 };
}
