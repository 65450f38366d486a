/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Why the passes of a VM cannot be taken just now, from the first that was refused to the next
 * that is durable. Its connection ends with each that is refused, so it is kept apart from that.
 * Of TROUBLE_MAX VMs at a time. From any thread.
 */
#ifndef VMR_REPLICA_TROUBLE_H
#define VMR_REPLICA_TROUBLE_H

#include <pthread.h>

#include "../common/err.h"
#include "../store/store.h"

#define TROUBLE_MAX 256

struct troubles {
	pthread_mutex_t lock;
	struct trouble {
		char vm[STORE_NAME_BYTES];	/* "": free */
		char text[ERR_TEXT_BYTES];
	} at[TROUBLE_MAX];
};

void troubles_init(struct troubles *all);
void troubles_exit(struct troubles *all);

/* @text null: there is none any more. */
void troubles_set(struct troubles *all, const char *vm, const char *text);
/* "": there is none. */
void troubles_get(struct troubles *all, const char *vm, char text[ERR_TEXT_BYTES]);

#endif
