// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Large disks, many disks, and what they cost: memory as reported, and the time that a map of
 * few extents takes.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"
#include "rig.h"

#define CHUNK	4096
#define TIB	(1ULL << 40)
#define LINE	512

FIXTURE(scale) {
	struct rig rig;
};

FIXTURE_SETUP(scale)
{
	rig_reset();
	rig_open(&self->rig);
}

FIXTURE_TEARDOWN(scale)
{
	rig_close(&self->rig);
}

/* A null_blk of @mib MiB that holds nothing. */
static const char *make(uint64_t mib)
{
	char attributes[64];

	snprintf(attributes, sizeof(attributes), "size=%llu memory_backed=0 discard=1",
		 (unsigned long long)mib);
	return rig_null(attributes);
}

/* --- what all groups share --------------------------------------------------------------- */

#define AT_ONCE		50	/* fewer than the device takes without waiting */
#define CONTEXT_BYTES	64	/* each is somewhat larger */

static uint64_t memory_shared(struct rig *rig)
{
	struct cbt_group_info info;
	char name[32];

	snprintf(name, sizeof(name), "test-%d", getpid());
	if (cbt_group_find(rig->cbt, name, &info))
		rig_die("no group %s: %s", name, cbt_error(rig->cbt));
	return info.shared_bytes;
}

/* The first test: those after it find the contexts of its writes there. */
TEST_F(scale, contexts_that_are_kept_are_reported)
{
	const char *path = rig_null("size=64 irqmode=2 completion_nsec=1000000000");
	uint64_t before = memory_shared(&self->rig), after;
	struct rig_async *writes[AT_ONCE];

	EXPECT_LE(256 * CONTEXT_BYTES, before);
	rig_track(&self->rig, path, CHUNK);
	for (unsigned int i = 0; i < AT_ONCE; i++)
		writes[i] = rig_write_begin(path, i * CHUNK, CHUNK);
	for (unsigned int i = 0; i < AT_ONCE; i++)
		EXPECT_EQ(0, rig_write_end(writes[i]));
	after = memory_shared(&self->rig);
	TH_LOG("shared: %llu bytes, then %llu", (unsigned long long)before,
	       (unsigned long long)after);
	EXPECT_LE(before + AT_ONCE / 2 * CONTEXT_BYTES, after);
	EXPECT_GE(before + AT_ONCE * 2 * CONTEXT_BYTES, after);
}

/* --- borders ------------------------------------------------------------------------------ */

/* Sectors 2^31 and 2^32, and the end. */
TEST_F(scale, sectors_of_a_terabyte_and_more)
{
	const char *path = make(3 * TIB / RIG_MIB);

	rig_track(&self->rig, path, 64 << 10);
	rig_trust(&self->rig);
	EXPECT_EQ(0, rig_write(path, TIB - 512, 1024));
	EXPECT_EQ(0, rig_write(path, 2 * TIB - 512, 1024));
	EXPECT_EQ(0, rig_write(path, 3 * TIB - 512, 512));
	EXPECT_STREQ("16777215-16777216,33554431-33554432,50331647", rig_marked(&self->rig, 0));
}

TEST_F(scale, half_a_pebibyte)
{
	const char *path = make(512 * TIB / RIG_MIB);

	rig_track(&self->rig, path, 0);
	EXPECT_EQ(1 << 20, rig_info(&self->rig, 0).chunk_bytes);
	rig_trust(&self->rig);
	EXPECT_EQ(0, rig_write(path, 0, 512));
	EXPECT_EQ(0, rig_write(path, 256 * TIB - 512, 1024));
	EXPECT_EQ(0, rig_write(path, 512 * TIB - 512, 512));
	EXPECT_STREQ("0,268435455-268435456,536870911", rig_marked(&self->rig, 0));
}

/* Chunks 2^31 and 2^32. */
TEST_F(scale, more_chunks_than_32_bits_count)
{
	const char *path = make(16 * TIB / RIG_MIB + 1024);

	rig_track(&self->rig, path, CHUNK);
	rig_trust(&self->rig);
	EXPECT_EQ(0, rig_write(path, 8 * TIB - 512, 1024));
	EXPECT_EQ(0, rig_write(path, 16 * TIB - CHUNK, 2 * CHUNK));
	EXPECT_EQ(0, rig_write(path, 16 * TIB + 8 * CHUNK, 1000 * CHUNK));
	ASSERT_EQ(0, rig_cut(&self->rig, CBT_PASS_F_FUZZY));
	EXPECT_EQ(1004, self->rig.pass.chunks);
	EXPECT_STREQ("2147483647-2147483648,4294967295-4294967296,4294967304-4294968303",
		     rig_map(&self->rig, 0));
	EXPECT_EQ(0, cbt_pass_commit_range(self->rig.cbt, self->rig.group, self->rig.pass.id,
					   self->rig.disks[0], 16 * TIB, 508 * CHUNK));
	rig_give_up(&self->rig);
	EXPECT_STREQ("2147483647-2147483648,4294967295,4294967804-4294968303",
		     rig_marked(&self->rig, 0));
}

/* --- cost ---------------------------------------------------------------------------------- */

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

static int count_extent(uint64_t offset, uint64_t length, void *arg)
{
	unsigned int *count = arg;

	(void)offset;
	(void)length;
	(*count)++;
	return 0;
}

/* The least of many turns: other work comes and goes. */
static uint64_t cost_of_map(struct rig *rig, unsigned int *extents)
{
	uint64_t begin, spent, least = ~0ULL;

	for (unsigned int i = 0; i < 50; i++) {
		*extents = 0;
		begin = now_ns();
		if (cbt_map_get(rig->cbt, rig->group, rig->pass.id, rig->disks[0], count_extent,
				extents))
			rig_die("no map: %s", cbt_error(rig->cbt));
		spent = now_ns() - begin;
		least = spent < least ? spent : least;
	}
	return least;
}

#define EXTENTS		32

/* Of a disk of @bytes, as evenly spread. */
static uint64_t cost_of_few_extents(struct __test_metadata *_metadata, uint64_t bytes)
{
	const char *path = make(bytes / RIG_MIB);
	unsigned int extents;
	struct rig rig;
	uint64_t cost;

	rig_open(&rig);
	rig_track(&rig, path, 0);
	rig_trust(&rig);
	for (uint64_t i = 0; i < EXTENTS; i++)
		EXPECT_EQ(0, rig_write(path, i * (bytes / EXTENTS), CHUNK));
	EXPECT_EQ(0, rig_cut(&rig, CBT_PASS_F_FUZZY));
	cost = cost_of_map(&rig, &extents);
	TH_LOG("the map of %llu MiB: %llu ns", (unsigned long long)(bytes / RIG_MIB),
	       (unsigned long long)cost);
	EXPECT_EQ(EXTENTS, extents);
	rig_close(&rig);
	return cost;
}

/* What is compared is the least of many turns each, on one machine. */
TEST_F(scale, map_of_few_extents_costs_the_same_on_any_disk)
{
	uint64_t small, large;

	rig_close(&self->rig);
	small = cost_of_few_extents(_metadata, 1024 * RIG_MIB);
	large = cost_of_few_extents(_metadata, 16 * TIB);
	EXPECT_GT(4 * small, large);
}

/* --- memory ---------------------------------------------------------------------------------- */

/* A line's number in /proc/meminfo, bytes. */
static uint64_t meminfo(const char *name)
{
	FILE *file = fopen("/proc/meminfo", "re");
	unsigned long long kib = 0;
	char line[LINE];

	while (file && fgets(line, sizeof(line), file))
		if (!strncmp(line, name, strlen(name)) && line[strlen(name)] == ':')
			kib = strtoull(line + strlen(name) + 1, NULL, 10);
	fclose(file);
	return kib << 10;
}

/* Bytes of free pages that the CPUs keep for themselves. */
static uint64_t memory_of_cpus(void)
{
	FILE *file = fopen("/proc/zoneinfo", "re");
	unsigned long long pages;
	char line[LINE];
	uint64_t sum = 0;

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, " count: %llu", &pages) == 1)
			sum += pages * 4096;
	fclose(file);
	return sum;
}

static uint64_t memory_free(void)
{
	return meminfo("MemFree") + meminfo("Cached") + meminfo("Buffers") +
	       meminfo("SReclaimable") + memory_of_cpus();
}

/* Bytes of the pages behind the bitmaps. */
static uint64_t memory_of_bitmaps(void)
{
	FILE *file = fopen("/proc/vmallocinfo", "re");
	char line[LINE], *pages;
	uint64_t sum = 0;

	while (file && fgets(line, sizeof(line), file)) {
		pages = strstr(line, " pages=");
		if (strstr(line, "[blkcbt]") && strstr(line, "cbt_bitmap_init") && pages)
			sum += strtoull(pages + 7, NULL, 10) * 4096;
	}
	fclose(file);
	return sum;
}

static int add_memory(const struct cbt_group_info *info, void *arg)
{
	uint64_t *sum = arg;

	*sum += info->memory_bytes;
	return 0;
}

static uint64_t memory_reported(struct rig *rig)
{
	uint64_t sum = 0;

	if (cbt_group_list(rig->cbt, add_memory, &sum))
		rig_die("listing groups: %s", cbt_error(rig->cbt));
	return sum;
}

/*
 * What is reported is what the bitmaps take, with little on top, and what the kernel has less.
 * What other tasks do makes the last of these uncertain.
 */
static void check_memory(struct __test_metadata *_metadata, struct rig *rig, uint64_t free_before)
{
	uint64_t reported = memory_reported(rig), bitmaps = memory_of_bitmaps();
	int64_t taken = free_before - memory_free();

	TH_LOG("reported %llu bytes, bitmaps %llu, less free memory %lld", (unsigned long long)reported,
	       (unsigned long long)bitmaps, (long long)taken);
	EXPECT_LE(bitmaps, reported);
	EXPECT_GE(bitmaps + bitmaps / 10 + (1 << 20), reported);
	EXPECT_GE((int64_t)(reported + reported / 10 + 8 * RIG_MIB), taken);
	EXPECT_LE((int64_t)(reported - reported / 10 - 8 * RIG_MIB), taken);
}

TEST_F(scale, sixty_four_disks_in_a_group)
{
	const char *disk = make(2 << 20), *path;
	uint64_t before = memory_free();
	struct cbt_disk_info info;

	for (unsigned int i = 1; i <= 64; i++) {
		path = rig_partition(disk, i, (i * 16ULL) << 30, 16ULL << 30);
		ASSERT_EQ(0, cbt_disk_add(self->rig.cbt, self->rig.group, path, CHUNK, &info));
	}
	check_memory(_metadata, &self->rig, before);
}

TEST_F(scale, disks_in_as_many_groups_as_there_can_be)
{
	const char *path = make(1 << 10);
	struct cbt_disk_info info;
	uint64_t before;
	uint32_t group;
	char name[32];

	before = memory_free();
	for (unsigned int i = 0; i < 255; i++) {
		snprintf(name, sizeof(name), "scale-%u", i);
		ASSERT_EQ(0, cbt_group_new(self->rig.cbt, name, &group));
		ASSERT_EQ(0, cbt_disk_add(self->rig.cbt, group, path, CHUNK, &info));
	}
	/* One write, seen by all of them. */
	EXPECT_EQ(0, rig_write(path, 100 * CHUNK, CHUNK));
	check_memory(_metadata, &self->rig, before);
	rig_reset();
}

/* What a pass keeps of what is overwritten. */
TEST_F(scale, memory_kept)
{
	const char *path = rig_null("size=64 memory_backed=1");
	uint64_t before, reported;
	int64_t taken;

	rig_track(&self->rig, path, CHUNK);
	rig_trust(&self->rig);
	EXPECT_EQ(0, rig_write(path, 0, 48 * RIG_MIB));
	ASSERT_EQ(0, rig_cut(&self->rig, 0));
	reported = memory_reported(&self->rig);
	before = memory_free();
	EXPECT_EQ(0, rig_write(path, 0, 48 * RIG_MIB));
	reported = memory_reported(&self->rig) - reported;
	taken = before - memory_free();
	TH_LOG("reported %llu bytes more, less free memory %lld", (unsigned long long)reported,
	       (long long)taken);
	EXPECT_LE(48 * RIG_MIB, reported);
	EXPECT_LE((int64_t)(reported - reported / 10), taken);
	EXPECT_GE((int64_t)(reported + reported / 10 + 2 * RIG_MIB), taken);
	rig_commit(&self->rig);
}

/* --- readers ---------------------------------------------------------------------------- */

static void write_every_second_chunk(const char *path)
{
	static char data[CHUNK] __attribute__((aligned(CHUNK)));
	uint64_t size = rig_size(path);
	int fd = open(path, O_WRONLY | O_DIRECT | O_CLOEXEC);

	for (uint64_t at = 0; at < size; at += 2 * CHUNK)
		if (pwrite(fd, data, CHUNK, at) != CHUNK)
			rig_die("cannot write %s", path);
	close(fd);
}

static int remove_group_meanwhile(uint64_t offset, uint64_t length, void *arg)
{
	struct rig *rig = arg;
	struct cbt *other;

	(void)length;
	if (offset)
		return 0;
	if (cbt_open(&other) || cbt_group_del(other, rig->group))
		rig_die("cannot remove the group");
	cbt_close(other);
	return 0;
}

/* The first part of the map was right; a rest that is not to be had makes it no short map. */
TEST_F(scale, map_that_goes_away_while_it_is_read)
{
	const char *path = make(32);

	rig_track(&self->rig, path, CHUNK);
	rig_trust(&self->rig);
	write_every_second_chunk(path);
	ASSERT_EQ(0, rig_cut(&self->rig, CBT_PASS_F_FUZZY));
	EXPECT_EQ(-ENOENT, cbt_map_get(self->rig.cbt, self->rig.group, self->rig.pass.id,
				       self->rig.disks[0], remove_group_meanwhile, &self->rig));
}

/* The smallest receive buffer that the kernel gives, on all netlink sockets of this process. */
static void shrink_buffers(void)
{
	socklen_t length = sizeof(int);
	int protocol, bytes = 1;

	for (int fd = 3; fd < 64; fd++)
		if (!getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &protocol, &length) &&
		    protocol == AF_NETLINK)
			setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
}

struct group_list {
	uint32_t last;
	unsigned int count, disordered;
};

static int list_group(const struct cbt_group_info *info, void *arg)
{
	struct group_list *list = arg;

	list->disordered += info->id <= list->last;
	list->last = info->id;
	list->count++;
	return 0;
}

/* All of it or an error, never less. */
TEST_F(scale, small_receive_buffers)
{
	struct group_list groups = { 0 };
	unsigned int extents = 0;
	const char *path = make(32);
	uint32_t group;
	char name[32];
	int err;

	rig_track(&self->rig, path, CHUNK);
	rig_trust(&self->rig);
	write_every_second_chunk(path);
	for (unsigned int i = 0; i < 200; i++) {
		snprintf(name, sizeof(name), "a-group-with-a-long-name-%u", i);
		ASSERT_EQ(0, cbt_group_new(self->rig.cbt, name, &group));
	}
	ASSERT_EQ(0, rig_cut(&self->rig, CBT_PASS_F_FUZZY));
	shrink_buffers();
	err = cbt_map_get(self->rig.cbt, self->rig.group, self->rig.pass.id, self->rig.disks[0],
			  count_extent, &extents);
	TH_LOG("map: %d, %u extents", err, extents);
	EXPECT_TRUE(err || extents == 4096);
	err = cbt_group_list(self->rig.cbt, list_group, &groups);
	TH_LOG("list: %d, %u groups, %u out of order", err, groups.count, groups.disordered);
	EXPECT_EQ(0, groups.disordered);
	EXPECT_TRUE(err || groups.count == 201);
	rig_reset();
}

TEST_HARNESS_MAIN
