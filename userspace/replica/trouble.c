// SPDX-License-Identifier: GPL-2.0-or-later
#include <string.h>

#include "trouble.h"

void troubles_init(struct troubles *all)
{
	memset(all->at, 0, sizeof(all->at));
	pthread_mutex_init(&all->lock, NULL);
}

void troubles_exit(struct troubles *all)
{
	pthread_mutex_destroy(&all->lock);
}

/* That of @vm, "" for a free one; null: none. Caller holds the lock. */
static struct trouble *__find(struct troubles *all, const char *vm)
{
	for (unsigned int i = 0; i < TROUBLE_MAX; i++)
		if (!strcmp(all->at[i].vm, vm))
			return &all->at[i];
	return NULL;
}

void troubles_set(struct troubles *all, const char *vm, const char *text)
{
	struct trouble *trouble;

	pthread_mutex_lock(&all->lock);
	trouble = __find(all, vm);
	if (!trouble && text)
		trouble = __find(all, "");
	if (trouble) {
		strcpy(trouble->vm, text ? vm : "");
		strcpy(trouble->text, text ? text : "");
	}
	pthread_mutex_unlock(&all->lock);
}

void troubles_get(struct troubles *all, const char *vm, char text[ERR_TEXT_BYTES])
{
	const struct trouble *trouble;

	pthread_mutex_lock(&all->lock);
	trouble = __find(all, vm);
	strcpy(text, trouble ? trouble->text : "");
	pthread_mutex_unlock(&all->lock);
}
