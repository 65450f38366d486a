// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Why no write is missed across a reboot. "Saved" is what is in the file, "owed" what the tracker
 * holds; each write that the replica has not acknowledged is owed (pass.c).
 *
 * 1. When the file is written, all that is owed is in it: it is the map of a cut. No write comes
 *    after that cut in this boot: nobody has the disk open (O_EXCL for those who claim it, a look
 *    at all processes for the others), it is read-only from before the last of these looks on, so
 *    that nobody who opens it later can write, and the tracker has seen no write since. What
 *    was written before is on the platter: the disk was flushed in between.
 * 2. The file counts only together with the token in the state, which is set before the
 *    disk becomes read-only, and taken out, durably, before anything is done that lets writes pass
 *    or is tracked in the next boot. So it is used once, and not after whatever ran without it.
 * 3. In the next boot no write came before the tracker sees them: it is the same device, by name,
 *    size and contents, and has counted no write when the full pass below is sealed. A write
 *    before that cut would have been counted by then; one in flight from before the tracker was
 *    there is noticed by it (tracker.rst). One behind the cut is owed by the tracker itself.
 * 4. That full pass holds every chunk; those that are not in the file are dropped from it, the rest
 *    comes back when it is given up. To die in between leaves more than is needed.
 *
 * Where any of this cannot be shown, nothing is restored, and the disks are compared.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/blkcbt.h>
#include <linux/fs.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "evidence.h"
#include "marks.h"
#include "planned.h"
#include "reboot.h"
#include "record.h"
#include "track.h"

#define SEAL_TIMEOUT_MS	30000
#define TURN_MS		50
#define APPEAR_MS	30000	/* for a disk to appear after the boot */

/* Both ways need all of these. */
struct reboot {
	struct state state;
	struct track track;
	struct marks marks;
	struct cbt *cbt;
	struct cbt_pass_info pass;
	bool begun;		/* @pass is to be given up */
	int fds[STATE_MAX_DISKS];	/* O_DIRECT; -1: not open */
};

static struct reboot *reboot_new(struct state_file *file)
{
	struct reboot *r = calloc(1, sizeof(*r));
	unsigned int i;

	for (i = 0; r && i < STATE_MAX_DISKS; i++)
		r->fds[i] = -1;
	if (r)
		state_file_get(file, &r->state);
	return r;
}

static void reboot_free(struct reboot *r)
{
	unsigned int i;

	for (i = 0; i < STATE_MAX_DISKS; i++) {
		if (r->fds[i] >= 0)
			close(r->fds[i]);
	}
	if (r->begun)
		cbt_pass_give_up(r->cbt, r->track.group, r->pass.id);
	if (r->cbt)
		cbt_close(r->cbt);
	marks_free(&r->marks);
	free(r);
}

static int read_boot(char boot[37])
{
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, boot, 36);

	if (fd >= 0)
		close(fd);
	boot[n == 36 ? 36 : 0] = 0;
	return n == 36 ? 0 : -EIO;
}

static int open_disks(struct reboot *r, struct err *e)
{
	unsigned int i;

	for (i = 0; i < r->state.disk_count; i++) {
		r->fds[i] = open(r->state.disks[i].device, O_RDONLY | O_DIRECT | O_CLOEXEC);
		if (r->fds[i] < 0)
			return err_sys(e, -errno, "cannot open %s", r->state.disks[i].device);
	}
	return 0;
}

/* Cuts, and waits until all writes of before the cut have landed. */
static int cut(struct reboot *r, uint32_t flags, struct err *e)
{
	unsigned int waited;
	int rc = -EAGAIN;

	for (waited = 0; rc == -EAGAIN && waited < SEAL_TIMEOUT_MS; waited += TURN_MS) {
		rc = cbt_pass_begin(r->cbt, r->track.group, flags, &r->pass);
		if (rc == -EAGAIN)
			poll(NULL, 0, TURN_MS);
	}
	r->begun = !rc;
	if (!rc)
		rc = cbt_pass_wait_sealed(r->cbt, r->track.group, r->pass.id, SEAL_TIMEOUT_MS,
					  &r->pass);
	return rc ? err_set(e, rc, "the disks of %s cannot be cut: %.200s", r->state.vm, cbt_error(r->cbt)) : 0;
}

static void set_read_only(struct reboot *r, int on)
{
	unsigned int i;

	for (i = 0; i < r->state.disk_count; i++) {
		if (r->fds[i] >= 0)
			ioctl(r->fds[i], BLKROSET, &on);
	}
}

/* --- save ---------------------------------------------------------------------------- */

static int check_device(const struct cbt_disk_info *info, int fd, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) < 0 || !S_ISBLK(st.st_mode) || major(st.st_rdev) != info->major ||
	    minor(st.st_rdev) != info->minor)
		return err_set(e, -ENXIO, "%s is not the device that is tracked", info->path);
	return 0;
}

static int check_unused(struct reboot *r, struct err *e)
{
	unsigned int i;
	int rc = 0;

	for (i = 0; !rc && i < r->state.disk_count; i++)
		rc = evidence_unused(r->fds[i], r->state.disks[i].device, e);
	return rc;
}

static int describe(struct reboot *r, struct err *e)
{
	unsigned int i;
	int rc = 0;

	strcpy(r->marks.relationship, r->state.relationship);
	r->marks.last_pass = r->state.last_pass;
	r->marks.disk_count = r->state.disk_count;
	for (i = 0; !rc && i < r->state.disk_count; i++) {
		const char *path = r->state.disks[i].device;
		struct marks_disk *disk = &r->marks.disks[i];

		disk->size_bytes = r->track.disks[i].size_bytes;
		disk->chunk_bytes = r->track.disks[i].chunk_bytes;
		rc = check_device(&r->track.disks[i], r->fds[i], e);
		if (!rc)
			rc = evidence_identity(r->fds[i], path, disk->identity, e);
	}
	return rc;
}

/* Of step 1: from here on nobody can write. */
static int seal_off(struct reboot *r, struct err *e)
{
	int read_only = 0;
	unsigned int i;

	set_read_only(r, 1);
	for (i = 0; i < r->state.disk_count; i++) {
		if (ioctl(r->fds[i], BLKROGET, &read_only) < 0 || !read_only)
			return err_set(e, -EIO, "%s cannot be made read-only", r->state.disks[i].device);
	}
	return check_unused(r, e);
}

/* The pages that were written, and the device's own cache. */
static int flush(struct reboot *r, struct err *e)
{
	unsigned int i;

	for (i = 0; i < r->state.disk_count; i++) {
		if (fsync(r->fds[i]) < 0)
			return err_sys(e, -errno, "cannot flush %s", r->state.disks[i].device);
	}
	return 0;
}

static int append_extent(uint64_t offset, uint64_t length, void *arg)
{
	return extent_list_append(arg, offset, length);
}

static uint64_t writes(const struct track *track)
{
	uint64_t sum = 0;
	unsigned int i;

	for (i = 0; i < track->disk_count; i++)
		sum += track->disks[i].writes;
	return sum;
}

/* Nothing since @before, of a time when nobody could write any more. */
static int check_quiet(struct reboot *r, uint64_t before, struct err *e)
{
	int rc = track_get(r->cbt, &r->state, &r->track, e);
	unsigned int i;

	if (!rc && track_untrusted(&r->track))
		rc = err_set(e, -ESTALE, "tracking was interrupted (%s)",
			     track_untrusted_reason(track_untrusted(&r->track)));
	for (i = 0; !rc && i < r->state.disk_count; i++) {
		if (r->track.disks[i].dirty_chunks || writes(&r->track) != before)
			rc = err_set(e, -EBUSY, "%s is still being written", r->state.disks[i].device);
	}
	return rc;
}

static int collect(struct reboot *r, struct err *e)
{
	uint64_t before;
	unsigned int i;
	int rc = seal_off(r, e);

	if (!rc)
		rc = flush(r, e);
	if (!rc)
		rc = track_get(r->cbt, &r->state, &r->track, e);
	before = writes(&r->track);
	/* Again: what was written before it was counted. */
	if (!rc)
		rc = flush(r, e);
	if (!rc)
		rc = cut(r, CBT_PASS_F_FUZZY, e);
	for (i = 0; !rc && i < r->state.disk_count; i++) {
		struct marks_disk *disk = &r->marks.disks[i];

		rc = cbt_map_get(r->cbt, r->track.group, r->pass.id, r->track.disks[i].id,
				 append_extent, &disk->extents);
		if (rc)
			err_set(e, rc, "the map of %.160s cannot be read: %.160s", r->track.disks[i].path,
				cbt_error(r->cbt));
		else
			rc = evidence_fingerprint(r->fds[i], r->state.disks[i].device,
						  disk->size_bytes, &disk->fingerprint, e);
	}
	if (!rc && marks_coarsen(&r->marks, MARKS_MAX_EXTENTS))
		rc = err_sys(e, -ENOMEM, "the map of %s cannot be saved", r->state.vm);
	return rc ? rc : check_quiet(r, before, e);
}

static int save_held(struct reboot *r, struct state_file *file, const char *dir, struct err *e)
{
	struct err why = { 0 };
	char boot[37];
	int rc = describe(r, e);

	if (!rc)
		rc = check_unused(r, e);
	if (!rc && read_boot(boot))
		rc = err_set(e, -EIO, "this boot has no number");
	if (rc)
		return rc;
	state_new_uuid(r->marks.token);
	rc = record_saved(file, r->marks.token, boot, e);
	if (rc)
		return rc;
	rc = collect(r, e);
	if (!rc)
		rc = marks_write(dir, r->state.vm, &r->marks, e);
	if (!rc)
		return 0;
	/* The token first: with the disk to be written to again the file must not count. */
	marks_remove(dir, r->state.vm);
	if (!record_saved(file, "", "", &why))
		set_read_only(r, 0);
	return rc;
}

int reboot_save(struct state_file *file, const char *dir, struct err *e)
{
	struct reboot *r = reboot_new(file);
	struct planned *planned = calloc(1, sizeof(*planned));
	int rc = r && planned ? track_open(&r->cbt, e) : err_sys(e, -ENOMEM, "cannot save the tracking");

	if (!rc)
		rc = track_get(r->cbt, &r->state, &r->track, e);
	if (!rc && r->state.untracked[0])
		rc = err_set(e, -ESTALE, "it has not begun yet: %s", r->state.untracked);
	if (!rc && track_untrusted(&r->track))
		rc = err_set(e, -ESTALE, "tracking was interrupted (%s)",
			     track_untrusted_reason(track_untrusted(&r->track)));
	if (!rc)
		rc = planned_hold(planned, &r->state, e);
	if (!rc) {
		rc = open_disks(r, e);
		if (!rc)
			rc = save_held(r, file, dir, e);
		planned_let_go(planned);
	}
	free(planned);
	if (r)
		reboot_free(r);
	return rc;
}

/* --- restore ------------------------------------------------------------------------- */

static int check_marks(const struct reboot *r, struct err *e)
{
	const struct marks *marks = &r->marks;
	unsigned int i;

	if (strcmp(marks->relationship, r->state.relationship) ||
	    strcmp(marks->token, r->state.saved_token) || marks->last_pass != r->state.last_pass ||
	    marks->disk_count != r->state.disk_count)
		return err_set(e, -EUCLEAN, "what was saved is of another time");
	for (i = 0; i < marks->disk_count; i++) {
		if (marks->disks[i].size_bytes != r->state.disks[i].size_bytes ||
		    marks->disks[i].chunk_bytes != r->state.disks[i].chunk_bytes)
			return err_set(e, -EUCLEAN, "what was saved is of disks of other sizes");
	}
	return 0;
}

static int wait_for_disks(struct reboot *r, struct err *e)
{
	unsigned int waited, i;

	for (i = waited = 0; i < r->state.disk_count && waited < APPEAR_MS; waited += TURN_MS) {
		if (access(r->state.disks[i].device, F_OK))
			poll(NULL, 0, TURN_MS);
		else
			i++;
	}
	return open_disks(r, e);
}

static int check_disks(struct reboot *r, struct err *e)
{
	char identity[MARKS_IDENTITY_BYTES];
	uint64_t fingerprint = 0;
	unsigned int i;
	int rc = 0;

	for (i = 0; !rc && i < r->state.disk_count; i++) {
		const char *path = r->state.disks[i].device;
		const struct marks_disk *disk = &r->marks.disks[i];
		off_t end = lseek(r->fds[i], 0, SEEK_END);

		rc = evidence_identity(r->fds[i], path, identity, e);
		if (!rc && (strcmp(identity, disk->identity) || (uint64_t)end != disk->size_bytes))
			rc = err_set(e, -ENXIO, "%s is another device than before the boot", path);
		if (!rc)
			rc = evidence_fingerprint(r->fds[i], path, disk->size_bytes, &fingerprint,
						  e);
		if (!rc && fingerprint != disk->fingerprint)
			rc = err_set(e, -EUCLEAN, "%s was changed before the host was booted", path);
	}
	return rc;
}

static int check_unwritten(struct reboot *r, struct err *e)
{
	unsigned int i;
	int rc = 0;

	for (i = 0; !rc && i < r->state.disk_count; i++)
		rc = evidence_unwritten(r->fds[i], r->state.disks[i].device, e);
	return rc;
}

static int drop(struct reboot *r, unsigned int disk, uint64_t from, uint64_t to, struct err *e)
{
	int rc = from == to ? 0 :
			      cbt_pass_commit_range(r->cbt, r->track.group, r->pass.id,
						    r->track.disks[disk].id, from, to - from);

	return rc ? err_set(e, rc, "what was saved of %.160s cannot be given to the tracker: %.160s",
			    r->track.disks[disk].path, cbt_error(r->cbt)) :
		    0;
}

/* Step 4, of one disk. */
static int keep_saved(struct reboot *r, unsigned int disk, struct err *e)
{
	const struct extent_list *saved = &r->marks.disks[disk].extents;
	uint64_t behind = 0;
	size_t i;
	int rc = 0;

	for (i = 0; !rc && i < saved->count; i++) {
		rc = drop(r, disk, behind, saved->at[i].offset, e);
		behind = saved->at[i].offset + saved->at[i].length;
	}
	return rc ? rc : drop(r, disk, behind, r->marks.disks[disk].size_bytes, e);
}

static int track_again(struct reboot *r, struct err *e)
{
	unsigned int i;
	int rc = track_ensure(r->cbt, &r->state, false, &r->track, e);

	if (!rc)
		rc = cut(r, CBT_PASS_F_FULL | CBT_PASS_F_FUZZY, e);
	if (!rc)
		rc = check_unwritten(r, e);
	for (i = 0; !rc && i < r->state.disk_count; i++)
		rc = keep_saved(r, i, e);
	/* All or nothing, and untrusted, rather than all as a delta. */
	if (rc) {
		r->begun = false;
		track_remove(r->cbt, r->state.relationship, NULL);
	}
	return rc;
}

static int restore(struct reboot *r, const char *dir, struct err *e)
{
	struct err none = { 0 };
	int rc = marks_read(dir, r->state.vm, &r->marks, e);

	if (rc == -ENOENT)
		rc = err_set(e, -EUCLEAN, "what was to be saved was not");
	if (!rc)
		rc = check_marks(r, e);
	if (!rc)
		rc = wait_for_disks(r, e);
	if (!rc)
		rc = check_disks(r, e);
	if (!rc)
		rc = track_open(&r->cbt, e);
	if (!rc && track_get(r->cbt, &r->state, &r->track, &none) != -ENOENT)
		rc = err_set(e, -EEXIST, "%s is tracked already", r->state.vm);
	return rc ? rc : track_again(r, e);
}

/* Still the same boot: nothing has been missed, and nothing is held back any more. */
static int stay(struct reboot *r, const char *dir)
{
	struct err none = { 0 };

	marks_remove(dir, r->state.vm);
	open_disks(r, &none);
	set_read_only(r, 0);
	return -EALREADY;
}

int reboot_restore(struct state_file *file, const char *dir, struct err *e)
{
	struct reboot *r = reboot_new(file);
	char boot[37];
	int rc;

	if (!r)
		return err_sys(e, -ENOMEM, "cannot restore the tracking");
	if (!r->state.saved_token[0]) {
		reboot_free(r);
		return -ENOENT;
	}
	rc = record_saved(file, "", "", e);	/* step 2: once */
	if (!rc && !read_boot(boot) && !strcmp(boot, r->state.saved_boot))
		rc = stay(r, dir);
	else if (!rc)
		rc = restore(r, dir, e);
	marks_remove(dir, r->state.vm);
	reboot_free(r);
	return rc;
}
