/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Looks whether the replica has what it acknowledged, while the disks are in use, and has the
 * passes of the meantime send what it has not. verify.c says why what is written meanwhile is no
 * alarm.
 */
#ifndef VMR_PRIMARY_VERIFY_H
#define VMR_PRIMARY_VERIFY_H

#include "compare.h"
#include "state.h"
#include "track.h"

#define VERIFY_MAX_PLACES	256
/* Compared at a time, with a pass behind it: so points go on being made meanwhile. */
#define VERIFY_SLICE_BYTES	(4ull << 30)

/* What the replica had otherwise than it was sent. */
struct verify_place {
	char disk[64];			/* its name */
	uint64_t offset, length;	/* bytes, whole chunks */
};

/* One look at all of the disks, over several passes; all zero at the start. */
struct verify {
	struct compare_cursor at;
	bool ended;			/* all has been compared */
	uint64_t place_count;		/* of all that differs */
	uint64_t bytes;			/* the same */
	/* the first of them */
	struct verify_place places[VERIFY_MAX_PLACES];
	struct extent_list differ[STATE_MAX_DISKS];	/* of the slice, by the hashes alone */
};

/* null: no memory */
struct verify *verify_new(void);
void verify_free(struct verify *verify);

struct verify_spec {
	int sock;			/* the session open, no pass under way */
	const struct track *track;
	int cancel_fd;			/* as of struct compare_spec */
	struct ship_progress *progress;	/* total_bytes is set to all of the disks' */
};

/* Before a cut: compares the next slice. */
int verify_slice(struct verify *verify, const struct verify_spec *spec, struct err *e);

/*
 * After it, for each disk: notes what of the slice differs and is not in @map, the map of the cut.
 * Appends both together to *@out, for the pass to send.
 */
int verify_judge(struct verify *verify, const struct state_disk *disk, unsigned int number,
		 const struct extent_list *map, struct extent_list *out, struct err *e);

#endif
