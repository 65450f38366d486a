/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the tracker held of one relationship when the host went down, as a file beside the state:
 * DIR/VM.marks. Numbers are little-endian.
 *
 *	8	"VMRMARKS"
 *	4	version, 1
 *	4	number of disks
 *	16	UUID of the relationship
 *	16	token, the one that the state names
 *	8	newest pass that was acknowledged
 *	for each disk, in the order of the state's:
 *		8	size in bytes
 *		4	chunk in bytes
 *		4	0
 *		128	identity of the device, a text with its NUL, then zeros
 *		8	fingerprint of the contents
 *		8	number of extents
 *		16	each: offset and length in bytes, ascending
 *	8	XXH3 (codec.h) of all before
 */
#ifndef VMR_PRIMARY_MARKS_H
#define VMR_PRIMARY_MARKS_H

#include "../common/err.h"
#include "../common/extent.h"
#include "state.h"

#define MARKS_IDENTITY_BYTES	128
/* of all disks; where there are more, neighbours are taken together with what is between */
#define MARKS_MAX_EXTENTS	(1 << 20)

struct marks_disk {
	uint64_t size_bytes;
	uint32_t chunk_bytes;
	char identity[MARKS_IDENTITY_BYTES];	/* evidence.h */
	uint64_t fingerprint;			/* evidence.h */
	struct extent_list extents;		/* what was marked, or more */
};

struct marks {
	char relationship[37];		/* UUID text, as the token is */
	char token[37];
	uint64_t last_pass;
	unsigned int disk_count;	/* 1 to STATE_MAX_DISKS */
	struct marks_disk disks[STATE_MAX_DISKS];
};

void marks_free(struct marks *marks);

/* Takes neighbours together until there are at most @most extents in all. -ENOMEM. */
int marks_coarsen(struct marks *marks, size_t most);

/* In memory, for the caller to free; null: no memory. */
uint8_t *marks_encode(const struct marks *marks, size_t *bytes);
/* -EUCLEAN with a sentence when anything is not as it was written. To be freed either way. */
int marks_decode(const uint8_t *data, size_t bytes, struct marks *marks, struct err *e);

/* On stable storage when it returns. */
int marks_write(const char *dir, const char *vm, const struct marks *marks, struct err *e);
/* -ENOENT: there is no file. To be freed either way. */
int marks_read(const char *dir, const char *vm, struct marks *marks, struct err *e);
/* No file is no failure. */
void marks_remove(const char *dir, const char *vm);

#endif
