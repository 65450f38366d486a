// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "rig.h"

#define WAIT_MS		100000
#define COMMAND_BYTES	2048

void rig_die(const char *fmt, ...)
{
	va_list ap;

	fputs("# rig: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	_exit(1);
}

int rig_sh(const char *fmt, ...)
{
	char command[COMMAND_BYTES];
	va_list ap;
	int status;

	va_start(ap, fmt);
	vsnprintf(command, sizeof(command), fmt, ap);
	va_end(ap);
	status = system(command);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

void rig_must(const char *fmt, ...)
{
	char command[COMMAND_BYTES];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(command, sizeof(command), fmt, ap);
	va_end(ap);
	if (system(command))
		rig_die("this failed: %s", command);
}

void rig_sleep_ms(unsigned int ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000L };

	nanosleep(&ts, NULL);
}

uint64_t rig_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000ULL + ts.tv_nsec / 1000000;
}

void rig_wait_for(bool (*done)(void *arg), void *arg, const char *what)
{
	uint64_t end = rig_now_ms() + WAIT_MS;

	while (!done(arg)) {
		if (rig_now_ms() > end)
			rig_die("waited in vain until %s", what);
		rig_sleep_ms(2);
	}
}

/* --- tracking ------------------------------------------------------------------ */

static void must(struct rig *rig, int err, const char *what)
{
	if (err)
		rig_die("%s: %s (%s)", what, cbt_error(rig->cbt), strerror(-err));
}

void rig_open(struct rig *rig)
{
	char name[32];
	int err;

	memset(rig, 0, sizeof(*rig));
	err = cbt_open(&rig->cbt);
	if (err)
		rig_die("the module is not there: %s", strerror(-err));
	snprintf(name, sizeof(name), "test-%d", getpid());
	must(rig, cbt_group_new(rig->cbt, name, &rig->group), "making a group");
}

void rig_close(struct rig *rig)
{
	if (!rig->cbt)
		return;
	cbt_group_del(rig->cbt, rig->group);
	cbt_close(rig->cbt);
	rig->cbt = NULL;
}

unsigned int rig_track(struct rig *rig, const char *path, uint32_t chunk_bytes)
{
	struct cbt_disk_info info;

	must(rig, cbt_disk_add(rig->cbt, rig->group, path, chunk_bytes, &info), path);
	rig->disks[rig->count] = info.id;
	return rig->count++;
}

void rig_join(struct rig *rig, const struct rig *of, const char *name)
{
	int err;

	*rig = *of;
	err = cbt_open(&rig->cbt);
	if (err)
		rig_die("no second handle: %s", strerror(-err));
	must(rig, cbt_consumer_new(rig->cbt, rig->group, name, &rig->consumer), "making a consumer");
}

void rig_leave(struct rig *rig)
{
	cbt_close(rig->cbt);
	rig->cbt = NULL;
}

int rig_cut(struct rig *rig, uint32_t flags)
{
	const struct cbt_pass_spec spec = { .consumer = rig->consumer, .flags = flags };
	int err = cbt_pass_begin_as(rig->cbt, rig->group, &spec, &rig->pass);

	return err ? err :
		     cbt_pass_wait_sealed(rig->cbt, rig->group, rig->pass.id, WAIT_MS, &rig->pass);
}

void rig_commit(struct rig *rig)
{
	must(rig, cbt_pass_commit(rig->cbt, rig->group, rig->pass.id), "committing a pass");
}

void rig_give_up(struct rig *rig)
{
	must(rig, cbt_pass_give_up(rig->cbt, rig->group, rig->pass.id), "giving a pass up");
}

void rig_trust(struct rig *rig)
{
	must(rig, rig_cut(rig, CBT_PASS_F_FULL | CBT_PASS_F_FUZZY), "a full pass");
	rig_commit(rig);
}

struct text {
	char *at;
	size_t room;
	uint32_t chunk;
};

static int print_extent(uint64_t offset, uint64_t length, void *arg)
{
	struct text *text = arg;
	unsigned long long first = offset / text->chunk, last = (offset + length - 1) / text->chunk;
	char one[64];

	snprintf(one, sizeof(one), first == last ? "%llu," : "%llu-%llu,", first, last);
	if (strlen(one) + 4 > text->room) {
		strcpy(text->at, "…,");
		return 0;
	}
	strcpy(text->at, one);
	text->at += strlen(one);
	text->room -= strlen(one);
	return 0;
}

struct wanted {
	uint32_t id;
	struct cbt_disk_info *info;
};

static int take_info(const struct cbt_disk_info *info, void *arg)
{
	struct wanted *wanted = arg;

	if (info->id == wanted->id)
		*wanted->info = *info;
	return 0;
}

struct cbt_disk_info rig_info(struct rig *rig, unsigned int disk)
{
	struct cbt_disk_info info = { 0 };
	struct wanted wanted = { rig->disks[disk], &info };

	must(rig,
	     cbt_disk_list_of(rig->cbt, rig->group, rig->consumer ?: CBT_CONSUMER_FIRST, take_info,
			      &wanted),
	     "listing disks");
	if (!info.id)
		rig_die("disk %u is not listed", disk);
	return info;
}

const char *rig_map(struct rig *rig, unsigned int disk)
{
	struct text text = { rig->text, sizeof(rig->text), rig_info(rig, disk).chunk_bytes };

	rig->text[0] = '\0';
	must(rig,
	     cbt_map_get(rig->cbt, rig->group, rig->pass.id, rig->disks[disk], print_extent, &text),
	     "reading a map");
	if (rig->text[0])
		rig->text[strlen(rig->text) - 1] = '\0';
	return rig->text;
}

const char *rig_marked(struct rig *rig, unsigned int disk)
{
	int err = rig_cut(rig, CBT_PASS_F_FUZZY);

	if (err == -ESTALE)
		return strcpy(rig->text, "untrusted");
	must(rig, err, "beginning a pass");
	rig_map(rig, disk);
	rig_commit(rig);
	return rig->text;
}

uint32_t rig_wait_untrusted(struct rig *rig, unsigned int disk, uint32_t reasons)
{
	uint64_t end = rig_now_ms() + WAIT_MS;
	uint32_t found;

	for (;;) {
		found = rig_info(rig, disk).untrusted;
		if (found & reasons || rig_now_ms() > end)
			return found;
		rig_sleep_ms(2);
	}
}
