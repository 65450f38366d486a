// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Puts the tracker into a state, for tools/bench-tracker.
 *
 * Usage: tracker track DEVICE		tracked and trusted, in a group named "bench"
 *        tracker untrack		the group is gone
 *        tracker pass COMMAND		runs COMMAND for the shell while a pass with images is
 *					open, of what was written since the last; then commits it
 *        tracker cuts COUNT		so many passes with images, one after another
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/blkcbt.h>
#include <userspace/libblkcbt/blkcbt.h>

#define GROUP		"bench"
#define SEAL_MS		20000

static struct cbt *cbt;

static void must(int err, const char *what)
{
	if (!err)
		return;
	fprintf(stderr, "tracker: %s: %s\n", what, cbt ? cbt_error(cbt) : strerror(-err));
	exit(1);
}

static uint32_t group(void)
{
	struct cbt_group_info info;

	must(cbt_group_find(cbt, GROUP, &info), "finding the group");
	return info.id;
}

static void begin(uint32_t flags, struct cbt_pass_info *pass)
{
	must(cbt_pass_begin(cbt, group(), flags, pass), "beginning a pass");
	must(cbt_pass_wait_sealed(cbt, group(), pass->id, SEAL_MS, pass), "waiting for the seal");
}

static void commit(const struct cbt_pass_info *pass)
{
	must(cbt_pass_commit(cbt, group(), pass->id), "committing the pass");
}

static void track(const char *path)
{
	struct cbt_disk_info disk;
	struct cbt_pass_info pass;
	uint32_t id;

	must(cbt_group_new(cbt, GROUP, &id), "making a group");
	must(cbt_disk_add(cbt, id, path, 0, &disk), path);
	begin(CBT_PASS_F_FULL | CBT_PASS_F_FUZZY, &pass);
	commit(&pass);
}

static int during_pass(const char *command)
{
	struct cbt_pass_info pass;
	int status;

	begin(0, &pass);
	status = system(command);
	must(cbt_pass_get(cbt, group(), pass.id, &pass), "looking at the pass");
	if (pass.fuzzy)
		fputs("tracker: the pass is fuzzy: not all was kept\n", stderr);
	commit(&pass);
	return status != 0 || pass.fuzzy;
}

static void cuts(unsigned long count)
{
	struct cbt_pass_info pass;

	while (count--) {
		begin(0, &pass);
		commit(&pass);
	}
}

static int usage(void)
{
	fputs("tracker: see the head of its source for how to call it\n", stderr);
	return 1;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	must(cbt_open(&cbt), "the module");
	if (argc == 3 && !strcmp(what, "track"))
		track(argv[2]);
	else if (argc == 2 && !strcmp(what, "untrack"))
		must(cbt_group_del(cbt, group()), "removing the group");
	else if (argc == 3 && !strcmp(what, "pass"))
		return during_pass(argv[2]);
	else if (argc == 3 && !strcmp(what, "cuts"))
		cuts(strtoul(argv[2], NULL, 0));
	else
		return usage();
	cbt_close(cbt);
	return 0;
}
