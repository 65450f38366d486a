// SPDX-License-Identifier: GPL-2.0-or-later
/* A relationship's state file: round trip, damage, failing to write. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../userspace/primary/record.h"
#include "../../userspace/primary/state.h"
#include "../../userspace/store/store.h"
#include "unit.h"

static char dir[] = "/tmp/test-state-XXXXXX";

static struct state sample(void)
{
	struct state state = {
		.vm = "web1",
		.host = "replica.example.org",
		.port = 7766,
		.interval_s = 300,
		.compress = true,
		.start_wanted = true,
		.replica_opened = true,
		.initial_type = STATE_INITIAL_EXPORT,
		.export_dir = "/mnt/medium",
		.resync_wanted = true,
		.comparing = true,
		.untracked = "the kernel module \"blkcbt\" is not loaded",
		.medium_pass = 3,
		.generation = 9,
		.prepared = true,
		.medium_awaited = true,
		.saved_token = "8f1f2b8e-5f0e-4c55-9d2b-4f8c8e0f3a11",
		.saved_boot = "1c9b0e53-77a5-4f0a-8f9f-0a7d3a9d1c22",
		.last_pass = 12,
		.last_point = 11,
		.last_point_time_us = 1790000000123456,
		.start_time_us = 1790000000000000,
		.rate = 5 << 20,
		.auto_resync = { true, STATE_AUTO_FROM, STATE_AUTO_TO },
		.history = { 24, 3600 },
		.last_sent_time_us = 1790000000223456,
		.period = { 1790000000000000, 5, 2, 1, 3, 1 << 20, 1 << 19, 700, 300 },
		.statistics = { 12, 3, 1 << 30, 1 << 20, 4096, 99, 1500 },
		.disk_count = 2,
		.disks = {
			{ "vda", "/dev/vda", 64 << 20, 4096, 1 << 20 },
			{ "odd", "/dev/disk/by-id/a \"quoted\\ name", 512, 1 << 20, 0 },
		},
	};

	state_new_uuid(state.relationship);
	return state;
}

/* Compares what is meant, not what lies behind the strings' ends. */
static void check_same(const struct state *a, const struct state *b)
{
	char *x = state_encode(a), *y = state_encode(b);

	CHECK_STR(x, y);
	CHECK_EQ(a->disk_count, b->disk_count);
	CHECK_EQ(a->disks[0].checkpoint_bytes, b->disks[0].checkpoint_bytes);
	CHECK_EQ(a->last_point_time_us, b->last_point_time_us);
	CHECK_STR(a->disks[1].device, b->disks[1].device);
	CHECK_EQ(a->suspended, b->suspended);
	CHECK_EQ(a->start_wanted, b->start_wanted);
	CHECK_EQ(a->initial_complete, b->initial_complete);
	CHECK_EQ(a->replica_opened, b->replica_opened);
	CHECK_EQ(a->initial_type, b->initial_type);
	CHECK_STR(a->export_dir, b->export_dir);
	CHECK_EQ(a->resync_wanted, b->resync_wanted);
	CHECK_EQ(a->comparing, b->comparing);
	CHECK_STR(a->untracked, b->untracked);
	CHECK_EQ(a->medium_pass, b->medium_pass);
	CHECK_EQ(a->medium_awaited, b->medium_awaited);
	CHECK_EQ(a->statistics.last_milliseconds, b->statistics.last_milliseconds);
	free(x);
	free(y);
}

TEST(round_trip)
{
	struct state state = sample(), again;
	struct err e = { 0 };
	char *text = state_encode(&state);

	CHECK_EQ(state_decode(text, &again, &e), 0);
	check_same(&state, &again);
	free(text);
}

TEST(file_round_trip)
{
	struct state state = sample(), again;
	struct state_file *file;
	struct err e = { 0 };

	CHECK_EQ(state_file_create(dir, &state, &file, &e), 0);
	state_file_begin(file)->last_pass = 77;
	CHECK_EQ(state_file_end(file, &e), 0);
	state_file_close(file);
	CHECK_EQ(state_file_load(dir, "web1", &file, &e), 0);
	state_file_get(file, &again);
	CHECK_EQ(again.last_pass, 77);
	state.last_pass = 77;
	check_same(&state, &again);
	CHECK_EQ(state_file_remove(file, &e), 0);
	state_file_close(file);
	CHECK_EQ(state_file_load(dir, "web1", &file, &e), -ENOENT);
}

/* Replaces the value of @key by @value in the text of a sample, and decodes that. */
static int decode_with(const char *key, const char *value, struct err *e)
{
	struct state state = sample(), out;
	char *text = state_encode(&state), *at, *end, changed[16384];
	int rc;

	at = strstr(text, key);
	if (!at)
		abort();
	at = strchr(at, ':') + 1;
	end = at + strcspn(at, ",\n");
	snprintf(changed, sizeof(changed), "%.*s%s%s", (int)(at - text), text, value, end);
	rc = state_decode(changed, &out, e);
	free(text);
	return rc;
}

TEST(bounds)
{
	static const char *const bad[][2] = {
		{ "\"version\"", "0" }, { "\"version\"", "3" }, { "\"from_minute\"", "1440" }, { "\"since_us\"", "-1" },
		{ "\"start_time_us\"", "\"now\"" }, { "\"rate_bytes_per_second\"", "-5" }, { "\"history_points\"", "256" }, { "\"vm\"", "\"../x\"" }, { "\"vm\"", "\"\"" }, { "\"vm\"", "7" },
		{ "\"relationship\"", "\"no\"" }, { "\"port\"", "0" }, { "\"port\"", "65536" },
		{ "\"port\"", "-1" }, { "\"interval_seconds\"", "0" }, { "\"interval_seconds\"", "86401" },
		{ "\"initial_type\"", "4" }, { "\"export_directory\"", "null" },
		{ "\"comparing\"", "0" }, { "\"resync_wanted\"", "0" }, { "\"medium_pass\"", "-1" },
		{ "\"compress\"", "1" }, { "\"last_pass\"", "-1" }, { "\"last_pass\"", "1.5" },
		{ "\"last_pass\"", "\"1\"" }, { "\"start_wanted\"", "null" }, { "\"chunk_bytes\"", "512" },
		{ "\"size_bytes\"", "0" }, { "\"name\"", "\"a/b\"" }, { "\"statistics\"", "[] , \"x\" : {" },
		{ "\"host\"", "\"a\\u0000b\"" },
	};

	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct err e = { 0 };
		int rc = decode_with(bad[i][0], bad[i][1], &e);

		CHECK_EQ(rc, -EUCLEAN);
		CHECK(e.text[0]);
		if (rc != -EUCLEAN)
			printf("# %s %s\n", bad[i][0], bad[i][1]);
	}
	CHECK_EQ(decode_with("\"port\"", "65535", NULL), 0);
	CHECK_EQ(decode_with("\"interval_seconds\"", "86400", NULL), 0);
}

/* As the first service wrote it: the keys that a file cannot do without. */
static const char first_file[] =
	"{\n"
	"\"version\": 1,\n"
	"\"vm\": \"web1\",\n"
	"\"relationship\": \"8f1f2b8e-5f0e-4c55-9d2b-4f8c8e0f3a11\",\n"
	"\"host\": \"replica\",\n"
	"\"port\": 7766,\n"
	"\"interval_seconds\": 300,\n"
	"\"compress\": true,\n"
	"\"suspended\": false,\n"
	"\"start_wanted\": true,\n"
	"\"initial_complete\": true,\n"
	"\"replica_opened\": true,\n"
	"\"last_pass\": 12,\n"
	"\"last_point\": 11,\n"
	"\"last_point_time_us\": 1790000000123456,\n"
	"\"disks\": [ {\n"
	"\"name\": \"vda\",\n"
	"\"device\": \"/dev/vda\",\n"
	"\"size_bytes\": 67108864,\n"
	"\"chunk_bytes\": 4096,\n"
	"\"checkpoint_bytes\": 1048576 } ]\n"
	"}\n";

TEST(file_of_an_older_service)
{
	struct state_file *file;
	struct state out = { .prepared = true };
	struct err e = { 0 };
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/web1.json", dir);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	CHECK_EQ(write(fd, first_file, sizeof(first_file) - 1), sizeof(first_file) - 1);
	close(fd);
	CHECK_EQ(state_file_load(dir, "web1", &file, &e), 0);
	CHECK_STR(e.text, "");
	state_file_get(file, &out);
	CHECK_EQ(out.last_pass, 12);
	CHECK_EQ(out.disks[0].checkpoint_bytes, 1 << 20);
	CHECK_EQ(out.history.points, STORE_HISTORY_POINTS);
	CHECK_EQ(out.history.spacing_s, 0);
	CHECK(!out.auto_resync.enabled);
	CHECK_EQ(out.auto_resync.from, STATE_AUTO_FROM);
	CHECK_EQ(out.auto_resync.to, STATE_AUTO_TO);
	CHECK_STR(out.saved_token, "");
	CHECK_STR(out.export_dir, "");
	CHECK(!out.prepared && !out.comparing && !out.resync_wanted && !out.medium_awaited);
	CHECK(!out.rate && !out.start_time_us && !out.generation && !out.medium_pass);
	CHECK(!out.period.since_us && !out.statistics.passes);
	/* The first change makes it one of this service. */
	state_file_begin(file)->last_pass = 13;
	CHECK_EQ(state_file_end(file, &e), 0);
	state_file_close(file);
	CHECK_EQ(state_file_load(dir, "web1", &file, &e), 0);
	state_file_get(file, &out);
	CHECK_EQ(out.last_pass, 13);
	CHECK_EQ(out.history.points, STORE_HISTORY_POINTS);
	CHECK_EQ(state_file_remove(file, &e), 0);
	state_file_close(file);
}

/* Each line of first_file names a key of it; without the key the file is refused by that name. */
TEST(what_it_cannot_do_without)
{
	const char *line, *end;
	unsigned int keys = 0;

	for (line = strchr(first_file, '\n') + 1; *line == '"'; line = end + 1) {
		char key[64], wanted[80], text[sizeof(first_file)], *at;
		struct err e = { 0 };
		struct state out;

		end = strchr(line, '\n');
		snprintf(key, sizeof(key), "%.*s", (int)(strcspn(line + 1, "\"") + 2), line);
		snprintf(wanted, sizeof(wanted), "%s is missing", key);
		strcpy(text, first_file);
		at = strstr(text, key);
		at[1] = '?';
		CHECK_EQ(state_decode(text, &out, &e), -EUCLEAN);
		CHECK_STR(e.text, wanted);
		keys++;
	}
	CHECK_EQ(keys, 20);
}

TEST(every_truncation_is_refused)
{
	struct state state = sample(), out;
	char *text = state_encode(&state);
	size_t length = strlen(text);

	for (size_t i = 0; i < length; i++) {
		char *cut = strndup(text, i);

		CHECK_EQ(state_decode(cut, &out, NULL), -EUCLEAN);
		free(cut);
	}
	free(text);
}

TEST(what_follows_is_refused)
{
	static const char *const tails[] = { "x", "}", "{}", "\"\"" };
	struct state state = sample(), out;
	char *text = state_encode(&state), *longer;

	for (unsigned int i = 0; i < sizeof(tails) / sizeof(tails[0]); i++) {
		if (asprintf(&longer, "%s%s", text, tails[i]) < 0)
			abort();
		CHECK_EQ(state_decode(longer, &out, NULL), -EUCLEAN);
		free(longer);
	}
	free(text);
}

/* A flipped bit may make another name or number; it must never crash or leave bounds. */
TEST(every_flipped_bit_is_survived)
{
	struct state state = sample(), out;
	char *text = state_encode(&state);
	size_t length = strlen(text), refused = 0;

	for (size_t i = 0; i < length * 8; i++) {
		text[i / 8] ^= 1 << i % 8;
		if (state_decode(text, &out, NULL)) {
			refused++;
		} else {
			CHECK(out.disk_count == 2 && out.port && out.interval_s &&
			      out.interval_s <= 86400);
			CHECK(memchr(out.host, 0, sizeof(out.host)) &&
			      memchr(out.vm, 0, sizeof(out.vm)));
		}
		text[i / 8] ^= 1 << i % 8;
	}
	CHECK(refused > length * 4);
	free(text);
}

static void write_file(const char *name, const char *text)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		abort();
	close(fd);
}

static long file_bytes(const char *name)
{
	char path[128];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return stat(path, &st) ? -1 : st.st_size;
}

TEST(damaged_file_is_left_alone)
{
	struct state state = sample();
	struct state_file *file;
	struct err e = { 0 };

	write_file("web1.json", "{ \"version\": 1");
	CHECK_EQ(state_file_load(dir, "web1", &file, &e), -EUCLEAN);
	CHECK(strstr(e.text, "web1.json is damaged"));
	CHECK_EQ(state_file_create(dir, &state, &file, &e), -EEXIST);
	CHECK_EQ(file_bytes("web1.json"), 14);
	write_file("web1.json", "");
}

TEST(file_of_another_vm_is_refused)
{
	struct state state = sample();
	struct state_file *file;
	struct err e = { 0 };
	char *text = state_encode(&state);

	write_file("web2.json", text);
	CHECK_EQ(state_file_load(dir, "web2", &file, &e), -EUCLEAN);
	free(text);
}

/* Memory must never be ahead of the file. */
TEST(failed_save_changes_nothing)
{
	struct state state = sample(), after;
	struct state_file *file;
	struct err e = { 0 };
	char path[128];

	strcpy(state.vm, "web3");
	CHECK_EQ(state_file_create(dir, &state, &file, &e), 0);
	/* A directory where the new file would go. */
	snprintf(path, sizeof(path), "%s/.web3.json.new", dir);
	mkdir(path, 0700);
	state_file_begin(file)->last_pass = 99;
	CHECK_EQ(state_file_end(file, &e), -EISDIR);
	rmdir(path);
	state_file_get(file, &after);
	CHECK_EQ(after.last_pass, 12);
	state_file_close(file);
	CHECK_EQ(state_file_load(dir, "web3", &file, &e), 0);
	state_file_get(file, &after);
	CHECK_EQ(after.last_pass, 12);
	state_file_close(file);
}

/*
 * A replica that lost a checkpoint must be found out again, if the full pass that makes up for it
 * was not begun after all: only what is recorded tells it, since the map does not.
 */
TEST(checkpoints_outlive_the_attempt_at_a_full_pass)
{
	struct state state = sample(), after;
	struct state_file *file;
	struct err e = { 0 };

	strcpy(state.vm, "web4");
	state.initial_complete = true;
	CHECK_EQ(state_file_create(dir, &state, &file, &e), 0);
	CHECK_EQ(record_incomplete(file, &e), 0);
	state_file_get(file, &after);
	CHECK(!after.initial_complete);
	CHECK_EQ(after.disks[0].checkpoint_bytes, 1 << 20);
	CHECK_EQ(after.last_pass, 12);
	CHECK_EQ(record_full(file, 4, &e), 0);
	state_file_get(file, &after);
	CHECK_EQ(after.disks[0].checkpoint_bytes, 0);
	CHECK_EQ(after.last_pass, 12);
	CHECK_EQ(state_file_remove(file, &e), 0);
	state_file_close(file);
}

TEST(untracked_until_it_is_tracked)
{
	struct state state = sample(), after;
	struct state_file *file;
	struct err e = { 0 };

	strcpy(state.vm, "web5");
	state.untracked[0] = 0;
	CHECK_EQ(state_file_create(dir, &state, &file, &e), 0);
	CHECK_EQ(record_untracked(file, "no module", &e), 0);
	state_file_get(file, &after);
	CHECK_STR(after.untracked, "no module");
	CHECK(!after.comparing);
	CHECK_EQ(after.disks[0].checkpoint_bytes, 0);
	/* Passes that compare do not change it, nor does what the user does. */
	CHECK_EQ(record_full(file, 4, &e), 0);
	CHECK_EQ(record_durable(file, &(struct record_pass){ .pass = 13, .point = true }, &e), 0);
	state_file_get(file, &after);
	CHECK_STR(after.untracked, "no module");
	CHECK_EQ(record_tracked(file, &e), 0);
	state_file_get(file, &after);
	CHECK_STR(after.untracked, "");
	CHECK_EQ(state_file_remove(file, &e), 0);
	state_file_close(file);
}

static void count(const char *vm, void *arg)
{
	(*(int *)arg)++;
}

TEST(list_takes_state_files_only)
{
	int found = 0;

	write_file(".web9.json.new", "");
	write_file("notes.txt", "");
	write_file("a b.json", "");
	CHECK_EQ(state_file_list(dir, count, &found, NULL), 0);
	CHECK_EQ(found, 3);	/* web1, web2, web3 of the tests before */
}

TEST(set_up)
{
	if (!mkdtemp(dir))
		abort();
}

TEST(tear_down)
{
	char command[64];

	snprintf(command, sizeof(command), "rm -rf %s", dir);
	CHECK_EQ(system(command), 0);
}

UNIT_MAIN(T(set_up), T(round_trip), T(file_round_trip), T(bounds),
	  T(file_of_an_older_service), T(what_it_cannot_do_without), T(every_truncation_is_refused),
	  T(what_follows_is_refused), T(every_flipped_bit_is_survived),
	  T(damaged_file_is_left_alone), T(file_of_another_vm_is_refused),
	  T(failed_save_changes_nothing), T(checkpoints_outlive_the_attempt_at_a_full_pass),
	  T(untracked_until_it_is_tracked),
	  T(list_takes_state_files_only), T(tear_down))
