/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Finds out which of the chunks that a pass holds differ from what the replica has, with both
 * sides hashing at the same time. Works through lists of extents in order, a slice at a
 * time: what differs in a slice is sent and acknowledged before the next one is compared,
 * so that an interruption costs a slice at most.
 */
#ifndef VMR_PRIMARY_COMPARE_H
#define VMR_PRIMARY_COMPARE_H

#include "ship.h"

/* A slice ends when so much was compared, or so much differs. */
#define COMPARE_SLICE_BYTES	(16ull << 30)
#define COMPARE_DIFFER_BYTES	(1ull << 30)
/* Shorter extents are sent as they are: to ask would take as long. */
#define COMPARE_MIN_BYTES	(8ull << 20)

struct compare_spec {
	int sock;			/* the session open, no pass under way */
	unsigned int disk_count;
	const struct ship_disk *disks;	/* with what is to be compared */
	int cancel_fd;			/* eventfd: readable ends it with -ECANCELED; -1: none */
	bool ask_always;		/* also for what is shorter than COMPARE_MIN_BYTES */
	bool disk_by_disk;		/* a slice ends with its disk, too */
	uint64_t slice_bytes;		/* multiple of 1 MiB; 0: COMPARE_SLICE_BYTES */
	unsigned int threads;		/* 0: by the number of processors */
	/* total_bytes is the caller's; done_bytes and wire_bytes (both ways) grow */
	struct ship_progress *progress;
	/* Called whenever something was compared. May be null. */
	void (*tick)(void *arg);
	void *arg;
};

/* Where the next slice begins; all zero at the start. */
struct compare_cursor {
	unsigned int disk;
	size_t extent;			/* of its list */
	uint64_t within;		/* bytes of that extent that are done */
};

/* Nothing is left to be compared. */
bool compare_ended(const struct compare_spec *spec, const struct compare_cursor *at);

/*
 * Compares the next slice and moves *@at behind it. Appends to differ[disk], for each disk, what
 * differs or was not compared, whole chunks. On failure *@at and the lists are of no use.
 */
int compare_slice(const struct compare_spec *spec, struct compare_cursor *at,
		  struct extent_list *differ, struct err *e);

#endif
