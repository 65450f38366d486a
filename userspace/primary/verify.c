// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Why there is no false alarm. While no pass is under way, a chunk may differ from the replica's
 * newest state for two reasons: it was written since it was last sent and acknowledged, or the
 * replica has it wrong. A write is marked before it can reach the disk, and no mark is dropped
 * without a pass. So what a read has seen of such a write is in the map of the next cut. What
 * differs and is not in that map is damage.
 *
 * That next pass sends it with the rest. Its chunks are in no map, so nothing keeps them as they
 * were at the cut, and a pass that repairs something is not whole; the one behind it is.
 *
 * What was damaged and has been written since is repaired and not told from what is merely new.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../common/log.h"
#include "verify.h"

struct verify *verify_new(void)
{
	return calloc(1, sizeof(struct verify));
}

static void forget_slice(struct verify *verify)
{
	for (unsigned int i = 0; i < STATE_MAX_DISKS; i++)
		extent_list_free(&verify->differ[i]);
}

void verify_free(struct verify *verify)
{
	if (verify)
		forget_slice(verify);
	free(verify);
}

/* --- before the cut ----------------------------------------------------------------- */

/* The whole of it, as it is now: there is no image without a pass. */
static int open_disk(const struct cbt_disk_info *info, struct ship_disk *disk, struct err *e)
{
	disk->size_bytes = info->size_bytes;
	disk->chunk_bytes = info->chunk_bytes;
	if (extent_list_append(&disk->extents, 0, info->size_bytes))
		return err_sys(e, -ENOMEM, "cannot compare");
	return track_open_disk(info, &disk->fd, e);
}

static uint64_t all_bytes(const struct track *track)
{
	uint64_t bytes = 0;

	for (unsigned int i = 0; i < track->disk_count; i++)
		bytes += track->disks[i].size_bytes;
	return bytes;
}

int verify_slice(struct verify *verify, const struct verify_spec *spec, struct err *e)
{
	struct ship_disk *disks = calloc(STATE_MAX_DISKS, sizeof(*disks));
	const struct compare_spec compare = {
		.sock = spec->sock,
		.disk_count = spec->track->disk_count,
		.disks = disks,
		.cancel_fd = spec->cancel_fd,
		.ask_always = true,
		.slice_bytes = VERIFY_SLICE_BYTES,
		.progress = spec->progress,
	};
	unsigned int i, opened;
	int rc = disks ? 0 : err_sys(e, -ENOMEM, "cannot compare");

	atomic_store(&spec->progress->total_bytes, all_bytes(spec->track));
	forget_slice(verify);
	for (opened = 0; !rc && opened < spec->track->disk_count; opened++) {
		disks[opened].fd = -1;
		rc = open_disk(&spec->track->disks[opened], &disks[opened], e);
	}
	if (!rc)
		rc = compare_slice(&compare, &verify->at, verify->differ, e);
	if (!rc)
		verify->ended = compare_ended(&compare, &verify->at);
	for (i = 0; i < opened; i++) {
		extent_list_free(&disks[i].extents);
		if (disks[i].fd >= 0)
			close(disks[i].fd);
	}
	free(disks);
	return rc;
}

/* --- behind it ------------------------------------------------------------------------ */

static void note(struct verify *verify, const char *disk, const struct extent *place)
{
	if (verify->place_count < VERIFY_MAX_PLACES) {
		struct verify_place *noted = &verify->places[verify->place_count];

		strcpy(noted->disk, disk);
		noted->offset = place->offset;
		noted->length = place->length;
	}
	verify->place_count++;
	verify->bytes += place->length;
	log_err("the replica's disk %s differs at %" PRIu64 ", %" PRIu64
		" bytes: this is sent again", disk, place->offset, place->length);
}

int verify_judge(struct verify *verify, const struct state_disk *disk, unsigned int number,
		 const struct extent_list *map, struct extent_list *out, struct err *e)
{
	struct extent_list damage = { 0 };
	int rc = extent_list_subtract(&verify->differ[number], map, &damage);

	if (!rc)
		rc = extent_list_unite(map, &damage, out);
	for (size_t i = 0; !rc && i < damage.count; i++)
		note(verify, disk->name, &damage.at[i]);
	extent_list_free(&damage);
	return rc ? err_sys(e, rc, "cannot note what differs") : 0;
}
