// SPDX-License-Identifier: GPL-2.0-or-later
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../common/replace.h"
#include "../store/store.h"
#include "state.h"

#define MAX_FILE_BYTES (1 << 20)	/* 64 disks need about 40 KiB */

struct state_file {
	int dir;			/* of the file */
	char name[80];			/* VM.json */
	char temporary[88];		/* .VM.json.new */
	pthread_mutex_t change;		/* held from begin to end of a change; before @lock */
	struct state draft;		/* between begin and end */
	pthread_mutex_t lock;		/* of @state, held briefly: no wait for a disk */
	struct state state;		/* what the file holds; changes under both locks */
};

static struct state_file *file_new(const char *dir, const char *vm, struct err *e)
{
	struct state_file *file = calloc(1, sizeof(*file));

	if (!file) {
		err_sys(e, -ENOMEM, "cannot keep the state of %s", vm);
		return NULL;
	}
	file->dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (file->dir < 0) {
		err_sys(e, -errno, "cannot open the directory %s", dir);
		free(file);
		return NULL;
	}
	snprintf(file->name, sizeof(file->name), "%s.json", vm);
	snprintf(file->temporary, sizeof(file->temporary), ".%s.json.new", vm);
	pthread_mutex_init(&file->change, NULL);
	pthread_mutex_init(&file->lock, NULL);
	return file;
}

void state_file_close(struct state_file *file)
{
	if (!file)
		return;
	pthread_mutex_destroy(&file->lock);
	pthread_mutex_destroy(&file->change);
	close(file->dir);
	free(file);
}

static int replace(struct state_file *file, const struct state *state, struct err *e)
{
	char *text = state_encode(state);
	int rc;

	if (!text)
		return err_sys(e, -ENOMEM, "cannot save the state of %s", state->vm);
	rc = replace_file(file->dir, file->name, file->temporary, text, strlen(text), NULL);
	free(text);
	return rc ? err_sys(e, rc, "cannot save the state of %s in %s", state->vm, file->name) : 0;
}

int state_file_create(const char *dir, const struct state *state, struct state_file **out,
		      struct err *e)
{
	struct state_file *file = file_new(dir, state->vm, e);
	struct stat st;
	int rc = 0;

	if (!file)
		return e ? e->code : -EIO;
	if (!fstatat(file->dir, file->name, &st, AT_SYMLINK_NOFOLLOW))
		rc = err_set(e, -EEXIST, "%s/%s exists already: move it away if it is of no use any more",
			     dir, file->name);
	if (!rc)
		rc = replace(file, state, e);
	if (rc) {
		state_file_close(file);
		return rc;
	}
	file->state = *state;
	*out = file;
	return 0;
}

static int read_all(struct state_file *file, char *text, struct err *e)
{
	int fd = openat(file->dir, file->name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	size_t used = 0;
	ssize_t n = 1;
	int rc = 0;

	if (fd < 0)
		return err_sys(e, -errno, "cannot open %s", file->name);
	while (n > 0 && used < MAX_FILE_BYTES) {
		n = read(fd, text + used, MAX_FILE_BYTES - used);
		if (n > 0)
			used += n;
		else if (n < 0 && errno != EINTR)
			rc = err_sys(e, -errno, "cannot read %s", file->name);
		else if (n < 0)
			n = 1;
	}
	close(fd);
	if (!rc && (used == MAX_FILE_BYTES || memchr(text, 0, used)))
		rc = err_set(e, -EUCLEAN, "%s is not a state file", file->name);
	text[used] = 0;
	return rc;
}

int state_file_load(const char *dir, const char *vm, struct state_file **out, struct err *e)
{
	struct state_file *file = file_new(dir, vm, e);
	struct err why = { 0 };
	char *text;
	int rc;

	if (!file)
		return e ? e->code : -EIO;
	text = calloc(1, MAX_FILE_BYTES + 1);
	rc = text ? read_all(file, text, e) : err_sys(e, -ENOMEM, "cannot read %s", file->name);
	if (!rc) {
		rc = state_decode(text, &file->state, &why);
		if (!rc && strcmp(file->state.vm, vm))
			rc = err_set(&why, -EUCLEAN, "it is of the VM %s", file->state.vm);
		if (rc)
			err_set(e, rc, "%s is damaged and was left alone: %.200s", file->name, why.text);
	}
	free(text);
	if (rc) {
		state_file_close(file);
		return rc;
	}
	*out = file;
	return 0;
}

void state_file_get(struct state_file *file, struct state *state)
{
	pthread_mutex_lock(&file->lock);
	*state = file->state;
	pthread_mutex_unlock(&file->lock);
}

struct state *state_file_begin(struct state_file *file)
{
	pthread_mutex_lock(&file->change);
	file->draft = file->state;
	return &file->draft;
}

int state_file_end(struct state_file *file, struct err *e)
{
	int rc = replace(file, &file->draft, e);

	if (!rc) {
		pthread_mutex_lock(&file->lock);
		file->state = file->draft;
		pthread_mutex_unlock(&file->lock);
	}
	pthread_mutex_unlock(&file->change);
	return rc;
}

int state_file_remove(struct state_file *file, struct err *e)
{
	int rc = 0;

	pthread_mutex_lock(&file->change);
	if (unlinkat(file->dir, file->name, 0) < 0 && errno != ENOENT)
		rc = -errno;
	else if (fsync(file->dir) < 0)
		rc = -errno;
	pthread_mutex_unlock(&file->change);
	return rc ? err_sys(e, rc, "cannot remove %s", file->name) : 0;
}

int state_file_list(const char *dir, void (*each)(const char *vm, void *arg), void *arg,
		    struct err *e)
{
	DIR *d = opendir(dir);
	struct dirent *entry;

	if (!d)
		return err_sys(e, -errno, "cannot list the directory %s", dir);
	while ((entry = readdir(d))) {
		size_t length = strlen(entry->d_name);
		char vm[64];

		if (length < 6 || length - 5 >= sizeof(vm) || strcmp(entry->d_name + length - 5, ".json"))
			continue;
		snprintf(vm, sizeof(vm), "%.*s", (int)(length - 5), entry->d_name);
		if (store_name_valid(vm))
			each(vm, arg);
	}
	closedir(d);
	return 0;
}
