// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdio.h>

#include "../common/log.h"
#include "../primary/reboot.h"
#include "reboots.h"

struct walk {
	const char *dir;
	bool save;
};

void reboots_restore(struct state_file *file, const char *dir, const char *vm)
{
	struct err e = { 0 };
	int rc = reboot_restore(file, dir, &e);

	if (!rc)
		log_notice("%s: tracking goes on where it was before the reboot", vm);
	else if (rc == -EALREADY)
		log_notice("%s: the host was not rebooted; tracking went on", vm);
	else if (rc != -ENOENT)
		log_warn("%s: tracking does not go on where it was before the reboot: %s", vm, e.text);
}

static void save_one(struct state_file *file, const char *dir, const char *vm)
{
	struct err e = { 0 };

	if (reboot_save(file, dir, &e))
		log_warn("%s: tracking will not go on after a reboot: %s", vm, e.text);
	else
		log_notice("%s: tracking is saved for the reboot, and the disks are read-only until then", vm);
}

static void each(const char *vm, void *arg)
{
	const struct walk *walk = arg;
	struct state_file *file;
	struct err e = { 0 };

	if (state_file_load(walk->dir, vm, &file, &e)) {
		log_err("%s: %s", vm, e.text);
		return;
	}
	if (walk->save)
		save_one(file, walk->dir, vm);
	else
		reboots_restore(file, walk->dir, vm);
	state_file_close(file);
}

int reboots_run(const char *state_dir, bool save)
{
	struct walk walk = { .save = save };
	struct err e = { 0 };
	char dir[300];
	int rc;

	snprintf(dir, sizeof(dir), "%.256s/primary", state_dir);
	walk.dir = dir;
	rc = state_file_list(dir, each, &walk, &e);
	if (rc && rc != -ENOENT)
		log_err("%s", e.text);
	return rc == -ENOENT ? 0 : rc;
}
