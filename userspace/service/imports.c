// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A file for each import, named after the VM, holds the location of its medium. It is there from
 * before the import begins until it has ended, for better or worse, but not because the service
 * does. An import that begins anew verifies the medium again; what it had put into
 * the store was never shown, and is put there once more.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../common/log.h"
#include "../common/replace.h"
#include "../store/store.h"
#include "imports.h"
#include "job.h"
#include "replicas.h"
#include "schedule.h"
#include "work.h"

#define FOLDER	".import"	/* in the folder of the stores: no VM has such a name */
#define TEMP	".new"

bool imports_any_of(const struct service *service, const char *vm)
{
	const struct job *job = service->jobs;

	while (job && (job->view.type != JOB_IMPORT || job_ended(job) || strcmp(job->vm, vm)))
		job = job->next;
	return job != NULL;
}

/* --- notes ------------------------------------------------------------------------------- */

/* The folder, or a negative errno. */
static int open_folder(const struct service *service)
{
	int parent = open(service->replica_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd, ret;

	if (parent < 0)
		return -errno;
	fd = openat(parent, FOLDER, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	ret = fd < 0 ? -errno : fd;
	if (ret == -ENOENT) {
		if (!mkdirat(parent, FOLDER, 0700) && !fsync(parent))
			fd = openat(parent, FOLDER,
				    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		ret = fd < 0 ? -errno : fd;
	}
	close(parent);
	return ret;
}

static int note(const struct service *service, const char *vm, const char *location, struct err *e)
{
	int folder = open_folder(service), rc = folder;

	if (folder >= 0) {
		rc = replace_file(folder, vm, TEMP, location, strlen(location), NULL);
		close(folder);
	}
	return rc < 0 ? err_sys(e, rc, "the import of %s cannot be noted in %s/" FOLDER, vm,
				service->replica_dir) :
			0;
}

static void forget(const struct service *service, const char *vm)
{
	int folder = open_folder(service);

	if (folder < 0 || unlinkat(folder, vm, 0) || fsync(folder))
		log_warn("%s: the note of its import stays, and it begins anew with the service: %s",
			 vm, strerror(errno));
	if (folder >= 0)
		close(folder);
}

/* False: there is nothing of use. */
static bool read_note(int folder, const char *vm, char location[WORK_MAX_LOCATION + 1])
{
	int fd = openat(folder, vm, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	ssize_t got = fd < 0 ? -1 : read(fd, location, WORK_MAX_LOCATION + 1);

	if (fd >= 0)
		close(fd);
	if (got < 1 || got > WORK_MAX_LOCATION || location[0] != '/')
		return false;
	location[got] = 0;
	return true;
}

/* --- jobs --------------------------------------------------------------------------------- */

/* Points and state come with the look at the replicas that its end asks for. */
static void on_imported(struct job *job)
{
	if (job->rc && job->cancel == JOB_CANCEL_SHUTDOWN)
		return;
	if (job->rc && job->cancel == JOB_GO_ON)
		log_err("%s: %s", job->vm, job->err.text);
	forget(job->service, job->vm);
	replicas_changed(job->service);
	schedule_wake(job->service);
}

static struct job *begin(struct service *service, const char *vm, const char *location)
{
	struct work_import *work = calloc(1, sizeof(*work));
	struct job_spec spec = {
		.type = JOB_IMPORT,
		.vm = vm,
		.run = work_import,
		.done = on_imported,
		.arg = work,
		.free_arg = free,
	};
	struct job *job;

	if (!work)
		return NULL;
	work->replica = service->replica;
	snprintf(work->location, sizeof(work->location), "%s", location);
	job = job_new(service, &spec);
	if (job)
		job_begin(job);
	return job;
}

int imports_start(struct service *service, const char *vm, const char *location, struct job **job,
		  struct err *e)
{
	int rc = note(service, vm, location, e);

	if (rc)
		return rc;
	*job = begin(service, vm, location);
	if (!*job)
		forget(service, vm);
	return 0;
}

void imports_go_on(struct service *service)
{
	int folder = service->replica ? open_folder(service) : -ENOENT;
	char location[WORK_MAX_LOCATION + 1];
	DIR *dir = folder < 0 ? NULL : fdopendir(folder);
	struct dirent *entry;

	if (!dir && folder >= 0)
		close(folder);
	while (dir && (entry = readdir(dir))) {
		if (!store_name_valid(entry->d_name))
			continue;
		if (!read_note(folder, entry->d_name, location) ||
		    !begin(service, entry->d_name, location))
			log_warn("%s: its import was interrupted and cannot go on: begin it anew",
				 entry->d_name);
	}
	if (dir)
		closedir(dir);
}
