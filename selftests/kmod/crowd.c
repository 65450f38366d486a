// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Eight consumers of one group at a time, each with a replica of its own, while writers go on. What
 * stress.c proves of one pass after another must hold for each of them:
 *
 * MISSED: a replica lacks a write that was complete before a cut of its consumer.
 * LATER: a pass that was whole holds a write that was issued after its cut.
 * DISORDER: a pass that was whole holds a write, but not the one before it of the same writer.
 * TORN: a whole pass holds a block that is part old and part new.
 *
 * At the end each replica is what the disks hold. It takes as long as it takes until each consumer
 * has had its passes, and SECONDS at least. Usage: crowd [SECONDS], 15 without.
 */
#include <errno.h>
#include <fcntl.h>
#include <kselftest.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "rig.h"

#define DISKS		2
#define BLOCK		4096
#define BLOCKS		2048U	/* of each disk */
#define WRITERS		3
#define CROWD		8
#define READ_BYTES	(64U << 10)
#define LEAST		5	/* passes that each consumer must have committed */
#define LIMIT_MS	300000	/* for all of them to have done so */
#define SHOWN		10

struct stamp {
	uint64_t seq;		/* of its writer, from 1; 0: never written */
	uint64_t issued_ns;	/* CLOCK_REALTIME just before */
	uint32_t disk, block;
	uint32_t before_disk, before_block;	/* where its writer's last write went */
};

static const char *paths[DISKS];
static struct rig first;
static atomic_bool stop;
static atomic_ulong completed[DISKS][BLOCKS];
static atomic_uint findings;

static void found(const char *what, unsigned int who, const struct stamp *stamp)
{
	if (atomic_fetch_add(&findings, 1) < SHOWN)
		printf("# %s: consumer %u, disk %u block %u, write %llu\n", what, who, stamp->disk,
		       stamp->block, (unsigned long long)stamp->seq);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

/* --- writers: block b is writer b % WRITERS's ------------------------------------------- */

static void *write_on(void *arg)
{
	unsigned int number = (uintptr_t)arg, random = 77 + number, d, b;
	struct stamp stamp = { 0 };
	int fds[DISKS];
	char *data;

	for (d = 0; d < DISKS; d++)
		fds[d] = open(paths[d], O_WRONLY | O_DIRECT | O_CLOEXEC);
	if (posix_memalign((void **)&data, BLOCK, BLOCK) ||
	    setpriority(PRIO_PROCESS, gettid(), 5))
		rig_die("cannot set up a writer");
	memset(data, 0, BLOCK);
	while (!atomic_load(&stop)) {
		d = rand_r(&random) % DISKS;
		b = rand_r(&random) % (BLOCKS / WRITERS) * WRITERS + number;
		stamp.before_disk = stamp.disk;
		stamp.before_block = stamp.block;
		stamp.disk = d;
		stamp.block = b;
		stamp.seq++;
		stamp.issued_ns = now_ns();
		memcpy(data, &stamp, sizeof(stamp));
		memcpy(data + BLOCK - sizeof(stamp), &stamp, sizeof(stamp));
		if (pwrite(fds[d], data, BLOCK, (off_t)b * BLOCK) != BLOCK)
			rig_die("a write failed");
		atomic_store(&completed[d][b], stamp.seq);
	}
	for (d = 0; d < DISKS; d++)
		close(fds[d]);
	free(data);
	return NULL;
}

/* --- one consumer --------------------------------------------------------------------- */

struct consumer {
	struct rig rig;
	unsigned int number, random;
	struct stamp replica[DISKS][BLOCKS], stage[DISKS][BLOCKS];
	bool staged[DISKS][BLOCKS], torn[DISKS][BLOCKS];
	uint64_t floor[DISKS][BLOCKS];
	bool image;
	atomic_uint committed, whole;
	unsigned int given_up, closed, waited;
	char *data;
};

static struct consumer consumers[CROWD];

struct copy {
	struct consumer *consumer;
	unsigned int disk;
	int fd;
};

/* Of a block read while it was written the older end counts: it is in the map again. */
static void take_block(struct copy *copy, unsigned int block, const char *data)
{
	struct consumer *c = copy->consumer;
	struct stamp head, tail;

	memcpy(&head, data, sizeof(head));
	memcpy(&tail, data + BLOCK - sizeof(tail), sizeof(tail));
	c->torn[copy->disk][block] = memcmp(&head, &tail, sizeof(head)) != 0;
	c->stage[copy->disk][block] = tail.seq < head.seq ? tail : head;
	c->staged[copy->disk][block] = true;
}

static int copy_extent(uint64_t offset, uint64_t length, void *arg)
{
	struct copy *copy = arg;
	uint64_t end = offset + length, step;
	char *data = copy->consumer->data;

	if (end > (uint64_t)BLOCKS * BLOCK)
		end = (uint64_t)BLOCKS * BLOCK;
	for (; offset < end; offset += step) {
		step = end - offset < READ_BYTES ? end - offset : READ_BYTES;
		if (pread(copy->fd, data, step, offset) != (ssize_t)step)
			rig_die("reading for consumer %u failed", copy->consumer->number);
		for (uint64_t at = 0; at < step; at += BLOCK)
			take_block(copy, (offset + at) / BLOCK, data + at);
	}
	return 0;
}

static void copy_disk(struct consumer *c, unsigned int disk)
{
	struct cbt_disk_info info = rig_info(&c->rig, disk);
	struct copy copy = { .consumer = c, .disk = disk };

	if (c->image && !info.image[0])
		rig_die("the pass has no image of %s", paths[disk]);
	copy.fd = open(c->image ? info.image : paths[disk], O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (copy.fd < 0)
		rig_die("cannot open what consumer %u reads", c->number);
	if (cbt_map_get(c->rig.cbt, c->rig.group, c->rig.pass.id, c->rig.disks[disk], copy_extent,
			&copy))
		rig_die("reading a map: %s", cbt_error(c->rig.cbt));
	close(copy.fd);
}

/* Is a write's forerunner of the same writer there, too? */
static void check_order(struct consumer *c, const struct stamp *stamp)
{
	if (stamp->seq > 1 &&
	    c->replica[stamp->before_disk][stamp->before_block].seq < stamp->seq - 1)
		found("DISORDER", c->number, stamp);
}

static void apply(struct consumer *c, bool whole)
{
	unsigned int d, b;

	for (d = 0; d < DISKS; d++) {
		for (b = 0; b < BLOCKS; b++) {
			if (!c->staged[d][b])
				continue;
			c->replica[d][b] = c->stage[d][b];
			if (whole && c->torn[d][b])
				found("TORN", c->number, &c->replica[d][b]);
		}
	}
	for (d = 0; d < DISKS; d++) {
		for (b = 0; b < BLOCKS; b++) {
			struct stamp *stamp = &c->replica[d][b];

			if (stamp->seq < c->floor[d][b]) {
				struct stamp lacks = { .disk = d, .block = b };

				lacks.seq = c->floor[d][b];
				found("MISSED", c->number, &lacks);
			}
			if (!whole)
				continue;
			if (stamp->issued_ns > c->rig.pass.cut_time_ns)
				found("LATER", c->number, stamp);
			check_order(c, stamp);
		}
	}
}

static void begin(struct consumer *c)
{
	struct cbt_pass_spec spec = {
		.consumer = c->rig.consumer,
		.flags = (c->image ? 0 : CBT_PASS_F_FUZZY) |
			 (rand_r(&c->random) % 8 ? 0 : CBT_PASS_F_FULL),
		.timeout_ms = 60000,
	};
	uint64_t end = rig_now_ms() + 60000;
	int err;

	for (unsigned int d = 0; d < DISKS; d++)
		for (unsigned int b = 0; b < BLOCKS; b++)
			c->floor[d][b] = atomic_load(&completed[d][b]);
	for (;;) {
		err = cbt_pass_begin_as(c->rig.cbt, c->rig.group, &spec, &c->rig.pass);
		if (err != -EAGAIN)
			break;
		c->waited++;
		if (rig_now_ms() > end)
			rig_die("consumer %u never has its turn", c->number);
		rig_sleep_ms(1);
	}
	if (!err)
		err = cbt_pass_wait_sealed(c->rig.cbt, c->rig.group, c->rig.pass.id, 60000,
					   &c->rig.pass);
	if (err)
		rig_die("consumer %u: %s", c->number, cbt_error(c->rig.cbt));
}

static void commit(struct consumer *c)
{
	if (cbt_pass_get(c->rig.cbt, c->rig.group, c->rig.pass.id, &c->rig.pass))
		rig_die("asking for a pass: %s", cbt_error(c->rig.cbt));
	rig_commit(&c->rig);
	c->committed++;
	c->whole += c->image && !c->rig.pass.fuzzy;
	apply(c, c->image && !c->rig.pass.fuzzy);
}

static void one_pass(struct consumer *c, bool last)
{
	unsigned int way = last ? 9 : rand_r(&c->random) % 10;

	memset(c->staged, 0, sizeof(c->staged));
	c->image = last || rand_r(&c->random) % 3;
	begin(c);
	for (unsigned int d = 0; d < DISKS && way; d++)
		copy_disk(c, d);
	if (way == 1) {
		cbt_close(c->rig.cbt);
		if (cbt_open(&c->rig.cbt))
			rig_die("opening a socket anew failed");
		c->closed++;
	} else if (way == 0 || way == 2) {
		rig_give_up(&c->rig);
		c->given_up++;
	} else {
		commit(c);
	}
}

static void *consume(void *arg)
{
	struct consumer *c = arg;

	if (setpriority(PRIO_PROCESS, gettid(), -10))
		rig_die("no priority");
	while (!atomic_load(&stop) && atomic_load(&findings) < SHOWN)
		one_pass(c, false);
	return NULL;
}

static bool has_enough(struct consumer *c)
{
	return atomic_load(&c->committed) > LEAST && atomic_load(&c->whole);
}

static bool all_have_enough(void)
{
	for (unsigned int i = 0; i < CROWD; i++)
		if (!has_enough(&consumers[i]))
			return false;
	return true;
}

static void wait_for_passes(unsigned int seconds)
{
	uint64_t begin = rig_now_ms(), now = begin;

	while (now < begin + LIMIT_MS && atomic_load(&findings) < SHOWN &&
	       (now < begin + seconds * 1000 || !all_have_enough())) {
		rig_sleep_ms(100);
		now = rig_now_ms();
	}
}

/* With the writers at rest, one more pass makes the replica the disks. */
static bool compare(struct consumer *c)
{
	bool same = true;
	char *data = c->data;

	one_pass(c, true);
	for (unsigned int d = 0; d < DISKS; d++) {
		for (unsigned int b = 0; b < BLOCKS; b += READ_BYTES / BLOCK) {
			if (rig_read(paths[d], (uint64_t)b * BLOCK, READ_BYTES, data))
				rig_die("reading %s failed", paths[d]);
			for (unsigned int i = 0; i < READ_BYTES / BLOCK; i++)
				same &= !memcmp(&c->replica[d][b + i], data + i * BLOCK,
						sizeof(struct stamp));
		}
	}
	printf("# consumer %u: %u committed (%u whole), %u given up, %u by closed sockets, waited %u times\n",
	       c->number, c->committed, c->whole, c->given_up, c->closed, c->waited);
	return same && has_enough(c);
}

static void prepare(void)
{
	char name[16];

	rig_reset();
	rig_open(&first);
	for (unsigned int d = 0; d < DISKS; d++) {
		paths[d] = d ? rig_brd(0) : rig_null("size=16 memory_backed=1");
		if (rig_range_ioctl(paths[d], BLKZEROOUT, 0, (uint64_t)BLOCKS * BLOCK))
			rig_die("cannot zero %s", paths[d]);
		rig_track(&first, paths[d], d ? 8192 : 4096);
	}
	for (unsigned int i = 0; i < CROWD; i++) {
		struct consumer *c = &consumers[i];

		c->number = i;
		c->random = 5 + i;
		snprintf(name, sizeof(name), "crowd-%u", i);
		if (posix_memalign((void **)&c->data, BLOCK, READ_BYTES))
			rig_die("no memory");
		if (i) {
			rig_join(&c->rig, &first, name);
		} else {
			c->rig = first;
			if (cbt_open(&c->rig.cbt))
				rig_die("no handle");
		}
		rig_trust(&c->rig);
	}
}

int main(int argc, char **argv)
{
	pthread_t writers[WRITERS], threads[CROWD];
	unsigned int i;

	setvbuf(stdout, NULL, _IOLBF, 0);
	ksft_print_header();
	ksft_set_plan(CROWD + 1);
	prepare();
	for (i = 0; i < WRITERS; i++)
		if (pthread_create(&writers[i], NULL, write_on, (void *)(uintptr_t)i))
			rig_die("no thread");
	for (i = 0; i < CROWD; i++)
		if (pthread_create(&threads[i], NULL, consume, &consumers[i]))
			rig_die("no thread");
	wait_for_passes(argc > 1 ? atoi(argv[1]) : 15);
	atomic_store(&stop, true);
	for (i = 0; i < WRITERS; i++)
		pthread_join(writers[i], NULL);
	for (i = 0; i < CROWD; i++)
		pthread_join(threads[i], NULL);
	for (i = 0; i < CROWD; i++) {
		ksft_test_result(compare(&consumers[i]), "the replica of consumer %u\n", i);
		rig_leave(&consumers[i].rig);
		free(consumers[i].data);
	}
	ksft_test_result(!atomic_load(&findings), "no pass lacks or has what it should not\n");
	rig_close(&first);
	rig_reset();
	ksft_finished();
}
