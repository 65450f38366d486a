// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Writers stamp blocks while passes are cut, read out and copied to a shadow, like on a replica.
 *
 * Each block says who wrote it last and as that writer's which write. What a writer knew to be
 * complete before a cut must be in the shadow once that pass is committed: a block
 * that shows an older write there was missed. With images the shadow must also be
 * a point in time: nothing that was issued after the cut, and nothing without
 * what its writer had completed before it, on whichever disk.
 *
 * Usage: stress [NAME SECONDS [distrust]]; without arguments all set-ups run, 12 s each.
 * A disk that becomes untrusted is a failure, or, with the last word, what is expected.
 */
#include <errno.h>
#include <fcntl.h>
#include <kselftest.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "rig.h"

#define DISKS		2
#define BLOCK		4096
#define BLOCKS		4096U		/* that are written to, on each disk */
#define RUN		16U		/* blocks of one owner side by side; the longest write */
#define READ_BYTES	(256U << 10)
#define MAX_WRITERS	16
#define MAGIC		0x5354414d50454421ULL
#define SHOWN		10		/* complaints of each kind in full */
#define PATIENCE_MS	60000		/* for a slow machine to come to anything */

struct stamp {
	uint64_t magic;
	uint32_t disk, block;
	uint32_t writer, seq;			/* seq counts that writer's writes from 1 */
	uint32_t before_disk, before_block;	/* where its write before this one went */
	uint64_t issued_ns;			/* CLOCK_REALTIME just before */
};

struct setup {
	const char *name;
	const char *(*make)(unsigned int disk);
	unsigned int writers;
	bool image;
};

static const struct setup *setup;
static const char *paths[DISKS];
static struct rig rig;
static atomic_bool stop;
static atomic_uint completed[DISKS][BLOCKS];	/* sequence numbers */
static unsigned int floor_seq[DISKS][BLOCKS];
static char (*shadow)[BLOCKS][BLOCK], (*stage)[BLOCKS][BLOCK];
static bool staged[DISKS][BLOCKS];
static unsigned int random_state, missed, later, torn, passes[5];
enum { COMMITTED, GIVEN_UP, CLOSED, FUZZY, DISTRUSTED };
static bool may_distrust;

static unsigned int dice(unsigned int sides)
{
	return rand_r(&random_state) % sides;
}

/* --- writers ------------------------------------------------------------------ */

struct writer {
	pthread_t thread;
	unsigned int number, random;
	struct stamp stamp;
	int fds[DISKS];
	char *data;
};

static void write_once(struct writer *writer)
{
	unsigned int runs = BLOCKS / RUN / setup->writers;
	unsigned int run = (rand_r(&writer->random) % runs) * setup->writers + writer->number;
	unsigned int disk = rand_r(&writer->random) % DISKS;
	unsigned int from = rand_r(&writer->random) % RUN;
	unsigned int count =
		rand_r(&writer->random) % 3 ? 1 : 1 + rand_r(&writer->random) % (RUN - from);
	unsigned int first = run * RUN + from;
	struct timespec now;

	writer->stamp.seq++;
	writer->stamp.disk = disk;
	clock_gettime(CLOCK_REALTIME, &now);
	writer->stamp.issued_ns = now.tv_sec * 1000000000ULL + now.tv_nsec;
	for (unsigned int i = 0; i < count; i++) {
		writer->stamp.block = first + i;
		memcpy(writer->data + i * BLOCK, &writer->stamp, sizeof(writer->stamp));
		memcpy(writer->data + (i + 1) * BLOCK - sizeof(writer->stamp), &writer->stamp,
		       sizeof(writer->stamp));
	}
	if (pwrite(writer->fds[disk], writer->data, count * BLOCK, (off_t)first * BLOCK) !=
	    (ssize_t)(count * BLOCK))
		rig_die("a write failed");
	for (unsigned int i = 0; i < count; i++)
		atomic_store(&completed[disk][first + i], writer->stamp.seq);
	writer->stamp.before_disk = disk;
	writer->stamp.before_block = first;
}

static void *write_on(void *arg)
{
	struct writer *writer = arg;

	if (setpriority(PRIO_PROCESS, gettid(), 5))
		rig_die("no priority");
	while (!atomic_load(&stop))
		write_once(writer);
	return NULL;
}

static void start_writer(struct writer *writer, unsigned int number)
{
	*writer = (struct writer){ .number = number, .random = 1000 + number };
	writer->stamp.magic = MAGIC;
	writer->stamp.writer = number;
	for (unsigned int i = 0; i < DISKS; i++)
		writer->fds[i] = open(paths[i], O_WRONLY | O_DIRECT | O_CLOEXEC);
	if (posix_memalign((void **)&writer->data, BLOCK, RUN * BLOCK) ||
	    pthread_create(&writer->thread, NULL, write_on, writer))
		rig_die("cannot start a writer");
}

static void end_writer(struct writer *writer)
{
	pthread_join(writer->thread, NULL);
	for (unsigned int i = 0; i < DISKS; i++)
		close(writer->fds[i]);
	free(writer->data);
}

/* --- the shadow ----------------------------------------------------------------- */

static unsigned int owner(unsigned int block)
{
	return block / RUN % setup->writers;
}

static bool valid(const struct stamp *stamp, unsigned int disk, unsigned int block)
{
	return !stamp->magic || (stamp->magic == MAGIC && stamp->disk == disk &&
				 stamp->block == block && stamp->writer == owner(block));
}

/*
 * The stamp of a block of the shadow; sequence 0 for one never written. A pass that is no
 * point in time may have read a block while it was written, in part old and in part new,
 * and the next pass has it again: then the older of its two ends counts.
 */
static struct stamp stamp_of(unsigned int disk, unsigned int block, bool whole)
{
	struct stamp stamp, end;

	memcpy(&stamp, shadow[disk][block], sizeof(stamp));
	memcpy(&end, shadow[disk][block] + BLOCK - sizeof(end), sizeof(end));
	if (!valid(&stamp, disk, block) || !valid(&end, disk, block) ||
	    (whole && memcmp(&stamp, &end, sizeof(end)))) {
		if (torn++ < SHOWN)
			printf("# TORN disk %u block %u: the shadow holds no whole write\n", disk, block);
		stamp.seq = 0;
	}
	return end.seq < stamp.seq ? end : stamp;
}

/*
 * Is a block's last write behind the one before it of the same writer, as that was behind its
 * own?
 */
static void check_order(const struct stamp *stamp)
{
	struct stamp before;

	if (stamp->seq < 2)
		return;
	before = stamp_of(stamp->before_disk, stamp->before_block, true);
	if (before.seq < stamp->seq - 1 && later++ < SHOWN)
		printf("# DISORDER disk %u block %u has write %u of writer %u, but disk %u block %u has %u only\n",
		       stamp->disk, stamp->block, stamp->seq, stamp->writer, stamp->before_disk,
		       stamp->before_block, before.seq);
}

static void check_shadow(bool exact)
{
	struct stamp stamp;

	for (unsigned int d = 0; d < DISKS; d++) {
		for (unsigned int b = 0; b < BLOCKS; b++) {
			stamp = stamp_of(d, b, exact);
			if (stamp.seq < floor_seq[d][b] && missed++ < SHOWN)
				printf("# MISSED disk %u block %u in pass %u: the shadow has write %u of writer %u, %u was complete before the cut\n",
				       d, b, rig.pass.id, stamp.seq, owner(b), floor_seq[d][b]);
			if (!exact)
				continue;
			if (stamp.issued_ns > rig.pass.cut_time_ns && later++ < SHOWN)
				printf("# LATER disk %u block %u in pass %u: the shadow has write %u of writer %u, which was issued after the cut\n",
				       d, b, rig.pass.id, stamp.seq, owner(b));
			check_order(&stamp);
		}
	}
}

struct copy {
	unsigned int disk;
	int fd;
};

/* Reads an extent of the map, as far as it is written to at all, to the stage. */
static int copy_extent(uint64_t offset, uint64_t length, void *arg)
{
	struct copy *copy = arg;
	uint64_t end = offset + length, step;

	if (end > (uint64_t)BLOCKS * BLOCK)
		end = (uint64_t)BLOCKS * BLOCK;
	for (; offset < end; offset += step) {
		step = end - offset < READ_BYTES ? end - offset : READ_BYTES;
		if (pread(copy->fd, stage[copy->disk][offset / BLOCK], step, offset) !=
		    (ssize_t)step)
			rig_die("reading disk %u at %llu failed", copy->disk, (unsigned long long)offset);
		memset(&staged[copy->disk][offset / BLOCK], 1, step / BLOCK);
	}
	return 0;
}

static void copy_disk(unsigned int disk)
{
	struct cbt_disk_info info = rig_info(&rig, disk);
	struct copy copy = { .disk = disk };
	int err;

	if (setup->image && !info.image[0])
		rig_die("the pass has no image of %s", paths[disk]);
	copy.fd = open(setup->image ? info.image : paths[disk], O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (copy.fd < 0)
		rig_die("cannot open %s", setup->image ? info.image : paths[disk]);
	err = cbt_map_get(rig.cbt, rig.group, rig.pass.id, rig.disks[disk], copy_extent, &copy);
	if (err && err != -EIO)
		rig_die("reading a map: %s", cbt_error(rig.cbt));
	/* The count and the list are asked for one after the other: the map was marked between. */
	if (err && missed++ < SHOWN)
		printf("# MISSED disk %u in pass %u: its map is not final though it is sealed: %s\n", disk,
		       rig.pass.id, cbt_error(rig.cbt));
	close(copy.fd);
}

/* What is staged of the blocks from @first on becomes the replica's. */
static void apply(unsigned int disk, unsigned int first, unsigned int end)
{
	for (unsigned int b = first; b < end; b++)
		if (staged[disk][b])
			memcpy(shadow[disk][b], stage[disk][b], BLOCK);
}

/* --- passes --------------------------------------------------------------------- */

static void take_floor(void)
{
	for (unsigned int d = 0; d < DISKS; d++)
		for (unsigned int b = 0; b < BLOCKS; b++)
			floor_seq[d][b] = atomic_load(&completed[d][b]);
}

/* A full pass now and then, and whenever a disk is untrusted. */
static void begin(void)
{
	uint32_t flags = (setup->image ? 0 : CBT_PASS_F_FUZZY) | (dice(6) ? 0 : CBT_PASS_F_FULL);
	int err;

	take_floor();
	do {
		err = cbt_pass_begin(rig.cbt, rig.group, flags, &rig.pass);
		if (err == -ESTALE) {
			flags |= CBT_PASS_F_FULL;
			passes[DISTRUSTED]++;
		} else if (err == -EAGAIN) {
			rig_sleep_ms(1);
		}
	} while (err == -EAGAIN || err == -ESTALE);
	if (err)
		rig_die("beginning a pass: %s", cbt_error(rig.cbt));
}

static void seal(void)
{
	if (cbt_pass_wait_sealed(rig.cbt, rig.group, rig.pass.id, 100000, &rig.pass))
		rig_die("waiting for the seal: %s", cbt_error(rig.cbt));
}

static void commit(void)
{
	if (cbt_pass_get(rig.cbt, rig.group, rig.pass.id, &rig.pass))
		rig_die("asking for a pass: %s", cbt_error(rig.cbt));
	rig_commit(&rig);
	for (unsigned int d = 0; d < DISKS; d++)
		apply(d, 0, BLOCKS);
	passes[COMMITTED]++;
	if (rig.pass.fuzzy)
		passes[FUZZY]++;
	check_shadow(setup->image && !rig.pass.fuzzy);
}

/* Part of a pass is durable by itself; that part need not come again. */
static void commit_part(void)
{
	unsigned int disk = dice(DISKS), first = dice(BLOCKS - 512), count = 1 + dice(512);

	/* In whole chunks, of 16 KiB and less. */
	first &= ~3U;
	count = (count + 3) & ~3U;
	if (cbt_pass_commit_range(rig.cbt, rig.group, rig.pass.id, rig.disks[disk],
				  (uint64_t)first * BLOCK, (uint64_t)count * BLOCK))
		rig_die("committing a part: %s", cbt_error(rig.cbt));
	apply(disk, first, first + count);
}

static void give_up(void)
{
	rig_give_up(&rig);
	passes[GIVEN_UP]++;
}

static void close_socket(void)
{
	cbt_close(rig.cbt);
	if (cbt_open(&rig.cbt))
		rig_die("opening a socket anew failed");
	passes[CLOSED]++;
}

static void one_pass(void)
{
	unsigned int way = dice(20);

	memset(staged, 0, sizeof(staged));
	begin();
	if (way == 0)
		return give_up();
	if (way == 1)
		return close_socket();
	seal();
	for (unsigned int d = 0; d < DISKS; d++)
		copy_disk(d);
	if (way < 6)
		commit_part();
	if (way == 2)
		give_up();
	else if (way == 3)
		close_socket();
	else
		commit();
}

/* --- set-ups ---------------------------------------------------------------------- */

static const char *make_null(unsigned int disk)
{
	return rig_null(disk ? "size=16 memory_backed=1 max_sectors=32" : "size=16 memory_backed=1");
}

static const char *make_mixed(unsigned int disk)
{
	return disk ? rig_brd(0) : "/dev/vda";
}

/* Writes land, and complete, 20 ms late; reads do not wait. */
static const char *make_slow(unsigned int disk)
{
	const char *below = rig_brd(disk);

	return rig_dm(disk ? "slow1" : "slow0", "0 32768 delay %s 0 0 %s 0 20", below, below);
}

static const struct setup setups[] = {
	{ "null", make_null, 4, false },
	{ "mixed", make_mixed, 4, false },
	{ "slow", make_slow, 16, false },
	{ "null-image", make_null, 4, true },
	{ "mixed-image", make_mixed, 4, true },
	{ "slow-image", make_slow, 16, true },
};

static void prepare(void)
{
	rig_reset();
	rig_open(&rig);
	for (unsigned int d = 0; d < DISKS; d++) {
		paths[d] = setup->make(d);
		if (rig_range_ioctl(paths[d], BLKZEROOUT, 0, (uint64_t)BLOCKS * BLOCK))
			rig_die("cannot zero %s", paths[d]);
		rig_track(&rig, paths[d], d ? 16384 : 4096);
	}
	memset(shadow, 0, (size_t)DISKS * BLOCKS * BLOCK);
	memset(completed, 0, sizeof(completed));
	rig_trust(&rig);
	random_state = 1;
	missed = later = torn = 0;
	memset(passes, 0, sizeof(passes));
}

/* With the writers at rest, one more pass makes the shadow the disk. */
static bool compare(void)
{
	memset(staged, 0, sizeof(staged));
	take_floor();
	if (rig_cut(&rig, setup->image ? 0 : CBT_PASS_F_FUZZY) == -ESTALE)
		rig_cut(&rig, CBT_PASS_F_FULL);
	for (unsigned int d = 0; d < DISKS; d++)
		copy_disk(d);
	commit();
	for (unsigned int d = 0; d < DISKS; d++) {
		for (unsigned int b = 0; b < BLOCKS; b += READ_BYTES / BLOCK)
			if (rig_read(paths[d], (uint64_t)b * BLOCK, READ_BYTES, stage[d][b]))
				rig_die("reading %s failed", paths[d]);
		if (memcmp(shadow[d], stage[d], sizeof(shadow[d]))) {
			printf("# DIFFERENT disk %u: the shadow is not what the disk holds\n", d);
			return false;
		}
	}
	return true;
}

/* A run that hardly cut, or never lost trust where it should, has shown nothing. */
static bool enough(void)
{
	return passes[COMMITTED] >= 5 && !passes[DISTRUSTED] == !may_distrust;
}

static bool run(unsigned int seconds)
{
	struct writer writers[MAX_WRITERS];
	uint64_t end;
	bool same;

	prepare();
	atomic_store(&stop, false);
	/* Cuts are what is rare: the writers must not crowd out the thread that makes them. */
	if (setpriority(PRIO_PROCESS, gettid(), -15))
		rig_die("no priority");
	for (unsigned int i = 0; i < setup->writers; i++)
		start_writer(&writers[i], i);
	/* What is broken shows soon; going on would only repeat it. */
	for (end = rig_now_ms() + seconds * 1000;
	     (rig_now_ms() < end || (!enough() && rig_now_ms() < end + PATIENCE_MS)) &&
	     missed + later + torn < SHOWN;)
		one_pass();
	atomic_store(&stop, true);
	for (unsigned int i = 0; i < setup->writers; i++)
		end_writer(&writers[i]);
	same = compare();
	printf("# %s: passes: %u committed (%u fuzzy), %u given up, %u by closed sockets, %u full for lack of trust; %llu writes; found: %u missed, %u later, %u torn\n",
	       setup->name, passes[COMMITTED], passes[FUZZY], passes[GIVEN_UP], passes[CLOSED],
	       passes[DISTRUSTED],
	       (unsigned long long)rig_info(&rig, 0).writes + rig_info(&rig, 1).writes, missed,
	       later, torn);
	rig_close(&rig);
	rig_reset();
	return same && !missed && !later && !torn && enough();
}

int main(int argc, char **argv)
{
	const size_t size = (size_t)DISKS * BLOCKS * BLOCK;
	unsigned int count = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(setups); i++)
		count += argc < 3 || !strcmp(argv[1], setups[i].name);
	may_distrust = argc > 3;
	setvbuf(stdout, NULL, _IOLBF, 0);
	shadow = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	stage = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (shadow == MAP_FAILED || stage == MAP_FAILED)
		rig_die("no memory");
	ksft_print_header();
	ksft_set_plan(count);
	for (unsigned int i = 0; i < ARRAY_SIZE(setups); i++) {
		if (argc >= 3 && strcmp(argv[1], setups[i].name))
			continue;
		setup = &setups[i];
		ksft_test_result(run(argc >= 3 ? atoi(argv[2]) : 12), "%s\n", setup->name);
	}
	ksft_finished();
}
