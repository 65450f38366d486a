/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a primary remembers of one relationship: settings, what was acknowledged,
 * what the user asked for. One file DIR/VM.json, replaced by rename, never edited.
 */
#ifndef VMR_PRIMARY_STATE_H
#define VMR_PRIMARY_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "../common/err.h"

#define STATE_MAX_DISKS		64
#define STATE_MAX_INTERVAL_S	86400
#define STATE_REASON_BYTES	256

/* How the first copy gets to the replica; the values are those of InitialReplicationType. */
enum state_initial {
	STATE_INITIAL_NONE = 0,		/* not asked for yet */
	STATE_INITIAL_NETWORK = 1,
	STATE_INITIAL_EXPORT = 2,	/* on a medium, export.h */
	STATE_INITIAL_SEEDED = 3,	/* the replica has something: compared, compare.h */
};

struct state_disk {
	char name[64];			/* on the replica */
	char device[256];		/* path on this host */
	uint64_t size_bytes;
	uint32_t chunk_bytes;
	/* of an unfinished initial pass: all before it is durable on the replica */
	uint64_t checkpoint_bytes;
};

/* Counts since the relationship was made; last_* describe the newest durable pass. */
struct state_statistics {
	uint64_t passes;		/* durable on the replica */
	uint64_t failures;		/* passes that were not */
	uint64_t bytes;			/* of disk that the durable passes held */
	uint64_t wire_bytes;
	uint64_t last_bytes;
	uint64_t last_wire_bytes;
	uint64_t last_milliseconds;
};

/*
 * The same of a span of time that the user, or the service after half a day, begins anew: what
 * health is judged by.
 */
struct state_period {
	uint64_t since_us;		/* since 1970 UTC; 0: it has not begun */
	uint64_t passes, failures;
	uint64_t network_failures;	/* of the failures: the replica could not be reached */
	uint64_t missed;		/* cycles that came and went without a pass of their own */
	uint64_t bytes, max_bytes;	/* of disk: in all, and the largest pass */
	uint64_t milliseconds, max_milliseconds;
};

/* When a resynchronization may begin by itself. */
struct state_auto {
	bool enabled;
	unsigned int from, to;		/* minutes of the local day; across midnight if from > to */
};

#define STATE_AUTO_FROM		(18 * 60 + 30)
#define STATE_AUTO_TO		(6 * 60)

/* Which points the replica keeps below the newest one, as store_set_history(). */
struct state_history {
	uint32_t points, spacing_s;
};

struct state {
	char vm[64];
	char relationship[37];		/* UUID; also the name of the group in the kernel */
	char host[256];
	uint16_t port;
	uint32_t interval_s;		/* 1 to STATE_MAX_INTERVAL_S */
	bool compress;
	bool suspended;
	bool start_wanted;		/* StartReplication was asked for and has not ended */
	uint64_t start_time_us;		/* and is to begin then, since 1970 UTC; 0: at once */
	uint64_t rate;			/* limit in bytes a second, 0: none; see rate.h */
	struct state_auto auto_resync;
	struct state_history history;
	bool initial_complete;		/* the replica holds all of a full pass; deltas follow */
	bool replica_opened;		/* the replica may know of this relationship */
	enum state_initial initial_type;	/* as StartReplication was asked last */
	char export_dir[256];		/* with STATE_INITIAL_EXPORT: absolute; else "" */
	/*
	 * Resynchronize was asked for: the next pass goes through all of the disks and sends
	 * what differs. Cleared when that pass has begun.
	 */
	bool resync_wanted;
	/*
	 * Why the disks cannot be tracked, so that each pass compares all of them; "": they are
	 * tracked. What was written since the last pass is in no map, and the first pass that is
	 * tracked again compares all of them as well. Cleared when that has begun.
	 */
	char untracked[STATE_REASON_BYTES];
	/*
	 * What the map holds may be on the replica already, for the most part: it is compared
	 * before it is sent. Set by a pass that compares, cleared when all of it is durable.
	 */
	bool comparing;
	/* newest pass that was exported and not seen imported on the replica; 0: none */
	uint64_t medium_pass;
	bool medium_awaited;		/* and the replica has been told of it */
	/* largest generation that the replica has said; plan.h; 0: none */
	uint64_t generation;
	/*
	 * All was sent of disks that were in no use any more, so that the replica may fail over
	 * without loss: no pass begins until the user takes that back.
	 */
	bool prepared;
	/*
	 * What the tracker held was saved, or was about to be, in the boot of that id: marks.h.
	 * UUIDs; "": it was not.
	 */
	char saved_token[37], saved_boot[37];
	uint64_t last_pass;		/* newest acknowledged pass, 0: none */
	uint64_t last_point;		/* newest acknowledged pass that is a point, 0: none */
	uint64_t last_point_time_us;	/* its cut, microseconds since 1970 UTC */
	uint64_t last_sent_time_us;	/* when the newest pass was acknowledged, 0: none was */
	struct state_statistics statistics;
	struct state_period period;
	unsigned int disk_count;	/* 1 to STATE_MAX_DISKS */
	struct state_disk disks[STATE_MAX_DISKS];
};

/* A new random UUID as text. */
void state_new_uuid(char uuid[37]);
int state_parse_uuid(const char *uuid, uint8_t bytes[16]);

/* The JSON text, for the caller to free; null: no memory. */
char *state_encode(const struct state *state);
/*
 * -EUCLEAN with a sentence when anything is of the wrong kind or out of bounds, or missing that
 * the first service to write such files knew. What is newer takes the default of who never asked
 * for it: state.c names them.
 */
int state_decode(const char *text, struct state *state, struct err *e);

/*
 * The state in memory together with its file; the two never differ. May be
 * used by several threads at once.
 */
struct state_file;

/* -EEXIST: there is a file for this VM already (which may be damaged: it is left alone). */
int state_file_create(const char *dir, const struct state *state, struct state_file **file,
		      struct err *e);
int state_file_load(const char *dir, const char *vm, struct state_file **file, struct err *e);
void state_file_close(struct state_file *file);

/* A consistent copy. */
void state_file_get(struct state_file *file, struct state *state);

/*
 * A change: change what state_file_begin() returns, then state_file_end() makes it
 * durable and only then visible. On failure the old state stands. Other changes wait
 * in between: no blocking work there. state_file_get() never does.
 */
struct state *state_file_begin(struct state_file *file);
int state_file_end(struct state_file *file, struct err *e);

/* Removes the file; the state in memory stays until state_file_close(). */
int state_file_remove(struct state_file *file, struct err *e);

/* Calls @each with the VM name of each state file in @dir. */
int state_file_list(const char *dir, void (*each)(const char *vm, void *arg), void *arg,
		    struct err *e);

#endif
