// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../common/format.h"
#include "cli.h"
#include "client.h"
#include "jobs.h"
#include "json.h"
#include "names.h"
#include "wait.h"

#define WATCH_TURNS 10		/* of wait_a_moment() between two screens */

enum { HEALTH_OK = 1 };

/* --- for programs ------------------------------------------------------------------ */

static void disk_json(struct json *json, const struct client_disk *disk)
{
	json_open(json, NULL, '{');
	json_text(json, "name", disk->name);
	json_text(json, "device", disk->device);
	json_number(json, "size_bytes", disk->size_bytes);
	json_number(json, "chunk_bytes", disk->chunk_bytes);
	json_bytes(json, "dirty_bytes", disk->dirty_bytes);
	json_flag(json, "untrusted", disk->untrusted);
	json_close(json, '}');
}

static void primary_json(struct json *json, const struct client_relationship *r)
{
	char replica[sizeof(r->host) + 8];

	snprintf(replica, sizeof(replica), strchr(r->host, ':') ? "[%s]:%u" : "%s:%u", r->host, r->port);
	json_text(json, "replica", replica);
	json_number(json, "interval", r->interval_s);
	json_flag(json, "compress", r->compress);
	json_number(json, "rate", r->rate);
	json_number(json, "history_points", r->history);
	json_number(json, "history_spacing", r->history_spacing_s);
	json_time(json, "scheduled_start_time", r->start_time_us);
	json_time(json, "last_apply_time", r->last_apply_time_us);
	json_text(json, "tracking", r->tracking);
	json_text(json, "tracking_reason", r->tracking_reason[0] ? r->tracking_reason : NULL);
	json_bytes(json, "pending_bytes", r->pending_bytes);
	json_number(json, "passes", r->passes);
	json_number(json, "failures", r->failures);
	json_number(json, "sent_bytes", r->bytes);
	json_number(json, "wire_bytes", r->wire_bytes);
	json_number(json, "last_pass_bytes", r->last_bytes);
	json_number(json, "last_pass_wire_bytes", r->last_wire_bytes);
	json_seconds(json, "last_pass_seconds", r->last_milliseconds * 1000);
}

static void replica_json(struct json *json, const struct client_relationship *r)
{
	json_text(json, "replica", NULL);
	json_text(json, "interval", NULL);
	json_text(json, "pending_bytes", NULL);
	json_number(json, "points", r->points);
	json_number(json, "tests", r->tests);
	json_number(json, "used_bytes", r->used_bytes);
	json_number(json, "failover_point", r->failover_point);
	json_flag(json, "connected", r->connected);
	json_flag(json, "released", r->released);
	json_number(json, "receiving_pass", r->receiving_pass);
	json_number(json, "receiving_done_bytes", r->receiving_done_bytes);
	json_number(json, "receiving_total_bytes", r->receiving_total_bytes);
}

static void issues_json(struct json *json, const struct client_relationship *r)
{
	unsigned int i;

	json_open(json, "health_issues", '[');
	for (i = 0; i < r->issue_count; i++) {
		json_open(json, NULL, '{');
		json_text(json, "health", names_health(r->issues[i].health));
		json_text(json, "text", r->issues[i].text);
		json_close(json, '}');
	}
	json_close(json, ']');
}

static void relationship_json(struct json *json, const struct client_snapshot *s,
			      const struct client_relationship *r)
{
	unsigned int i;

	json_open(json, NULL, '{');
	json_text(json, "vm", r->vm);
	json_text(json, "role", r->mode == CLIENT_PRIMARY ? "primary" : "replica");
	json_text(json, "relationship", r->uuid);
	json_text(json, "state", names_state(r->state));
	json_number(json, "state_code", r->state);
	json_text(json, "health", names_health(r->health));
	json_text(json, "health_reason", r->reason);
	issues_json(json, r);
	json_flag(json, "initial_complete", r->initial_complete);
	json_number(json, "last_pass", r->last_pass);
	json_time(json, "last_replication_time", r->last_point_time_us);
	if (r->mode == CLIENT_PRIMARY)
		primary_json(json, r);
	else
		replica_json(json, r);
	json_open(json, "disks", '[');
	for (i = 0; i < r->disk_count; i++)
		disk_json(json, &r->disks[i]);
	json_close(json, ']');
	jobs_json(json, "job", client_find_job(s, r->job));
	json_close(json, '}');
}

/* --- one relationship, for people ---------------------------------------------------- */

/* "12 s ago" */
static const char *point_age(const struct client_relationship *r, char out[FORMAT_BYTES + 8])
{
	char age[FORMAT_BYTES];
	struct timespec now;

	if (!r->last_point_time_us)
		return strcpy(out, "none");
	clock_gettime(CLOCK_REALTIME, &now);
	format_seconds(now.tv_sec + now.tv_nsec / 1e9 - r->last_point_time_us / 1e6, age);
	sprintf(out, "%s ago", age);
	return out;
}

static void print_point(const struct client_relationship *r)
{
	char at[FORMAT_BYTES], age[FORMAT_BYTES + 8];

	if (r->last_point_time_us)
		printf("  newest point  %s, %s\n", format_time_us(r->last_point_time_us, at),
		       point_age(r, age));
	else
		printf("  newest point  none\n");
}

static void print_primary(const struct client_relationship *r)
{
	char size[FORMAT_BYTES], dirty[FORMAT_BYTES], wire[FORMAT_BYTES], time[FORMAT_BYTES];
	unsigned int i;

	printf("  to            %s port %u, every %u s", r->host, r->port, r->interval_s);
	if (r->rate)
		printf(", at most %s/s", format_bytes(r->rate, size));
	printf("\n");
	print_point(r);
	printf("  history       %u points below it, ", r->history);
	if (r->history_spacing_s)
		printf("one of each %s\n", format_seconds(r->history_spacing_s, time));
	else
		printf("one of each pass\n");
	if (r->passes)
		printf("  last pass     %" PRIu64 ": %s, %s on the wire, %s\n", r->last_pass,
		       format_bytes(r->last_bytes, size), format_bytes(r->last_wire_bytes, wire),
		       format_seconds(r->last_milliseconds / 1e3, time));
	if (client_compares(r))
		printf("  to be sent    not known before it is compared\n");
	else
		printf("  to be sent    %s\n", format_bytes(r->pending_bytes, dirty));
	for (i = 0; i < r->disk_count; i++)
		printf("  disk          %s, %s%s\n", r->disks[i].device,
		       format_bytes(r->disks[i].size_bytes, size),
		       r->disks[i].untrusted && r->initial_complete ? ", must be sent as a whole" : "");
}

static void print_replica(const struct client_relationship *r)
{
	char done[FORMAT_BYTES], total[FORMAT_BYTES];

	printf("  primary       %s\n", r->released ? "ended the replication" :
	       r->connected ? "connected" : "not connected just now");
	print_point(r);
	printf("  points        %u, in %s: see `vmreplica points %s`\n", r->points,
	       format_bytes(r->used_bytes, done), r->vm);
	if (r->tests)
		printf("  tests         %u: see `vmreplica test-failover %s --list`\n", r->tests, r->vm);
	if (r->receiving_pass)
		printf("  receiving     pass %" PRIu64 ", %s of %s\n", r->receiving_pass,
		       format_bytes(r->receiving_done_bytes, done),
		       format_bytes(r->receiving_total_bytes, total));
}

static void print_relationship(const struct client_snapshot *s, const struct client_relationship *r)
{
	const struct client_job *job = client_find_job(s, r->job);
	bool tell_health = r->health != HEALTH_OK &&
			   strcmp(names_state(r->state), names_health(r->health));
	unsigned int i;

	printf("%s  (%s)  %s%s%s\n", r->vm, r->mode == CLIENT_PRIMARY ? "primary" : "replica",
	       names_state(r->state), tell_health ? ", " : r->health == HEALTH_OK ? ", " : "",
	       tell_health || r->health == HEALTH_OK ? names_health(r->health) : "");
	for (i = 0; i < r->issue_count; i++)
		printf("  %-13s %s\n", r->issues[i].health == HEALTH_OK ? "note" : "why", r->issues[i].text);
	if (r->mode == CLIENT_PRIMARY)
		print_primary(r);
	else
		print_replica(r);
	if (job && !client_job_ended(job))
		printf("  job           %u, %s, %u %%: %s\n", client_number(job->path),
		       names_job_type(job->type), job->percent, job->phase);
}

/* --- all of them, for people ------------------------------------------------------------ */

static void print_row(const struct client_relationship *r)
{
	char age[FORMAT_BYTES + 8], pending[FORMAT_BYTES], peer[sizeof(r->host) + 32];
	bool primary = r->mode == CLIENT_PRIMARY;

	if (primary)
		snprintf(peer, sizeof(peer), "to %s every %u s", r->host, r->interval_s);
	else
		snprintf(peer, sizeof(peer), "%u points%s", r->points,
			 r->connected ? ", primary connected" : "");
	printf("%-16s %-8s %-20s %-9s %-15s %-10s %s\n", r->vm, primary ? "primary" : "replica",
	       names_state(r->state), names_health(r->health), point_age(r, age),
	       !primary ? "-" : client_compares(r) ? "?" : format_bytes(r->pending_bytes, pending), peer);
}

/* What is not as it should be, why, and what to do: the gravest first. */
static void print_issues(const struct client_snapshot *s)
{
	unsigned int health, i, k;

	for (health = 3; health >= 1; health--) {
		for (i = 0; i < s->relationship_count; i++) {
			const struct client_relationship *r = &s->relationships[i];

			for (k = 0; k < r->issue_count; k++) {
				if (r->issues[k].health == health)
					printf("%s %s: %s\n", health == 3 ? "!!" : health == 2 ? " !" : "  ",
					       r->vm, r->issues[k].text);
			}
		}
	}
}

static void print_running(const struct client_snapshot *s)
{
	char done[FORMAT_BYTES], total[FORMAT_BYTES];
	unsigned int i;

	for (i = 0; i < s->job_count; i++) {
		const struct client_job *job = &s->jobs[i];

		if (client_job_ended(job))
			continue;
		printf(" > job %u, %s %s: ", client_number(job->path), names_job_type(job->type), job->vm);
		if (job->total_bytes)
			printf("%u %%, %s of %s, ", job->percent, format_bytes(job->done_bytes, done),
			       format_bytes(job->total_bytes, total));
		printf("%s\n", job->phase);
	}
}

static void print_overview(const struct client_snapshot *s)
{
	unsigned int i, well = 0;

	if (!s->relationship_count) {
		printf("nothing is replicated from or to this host\n");
		return;
	}
	printf("%-16s %-8s %-20s %-9s %-15s %-10s %s\n", "VM", "ROLE", "STATE", "HEALTH", "NEWEST POINT",
	       "TO SEND", "");
	for (i = 0; i < s->relationship_count; i++) {
		print_row(&s->relationships[i]);
		well += s->relationships[i].health == HEALTH_OK;
	}
	printf("\n");
	if (well == s->relationship_count)
		printf("all is well\n");
	else
		printf("%u of %u are well\n", well, s->relationship_count);
	print_issues(s);
	print_running(s);
}

/* --- both --------------------------------------------------------------------------------- */

static bool wanted(const struct client_relationship *r, const char *vm)
{
	return !vm || !strcmp(r->vm, vm);
}

static void print_all_json(const struct client_snapshot *s, const char *vm)
{
	struct json json = { stdout, true };
	unsigned int i;

	json_open(&json, NULL, '{');
	json_open(&json, "relationships", '[');
	for (i = 0; i < s->relationship_count; i++) {
		if (wanted(&s->relationships[i], vm))
			relationship_json(&json, s, &s->relationships[i]);
	}
	json_close(&json, ']');
	json_close(&json, '}');
	putchar('\n');
}

static int print(const struct client_snapshot *s, const struct cli_args *args, struct err *e)
{
	unsigned int i, count = 0;

	for (i = 0; i < s->relationship_count; i++)
		count += wanted(&s->relationships[i], args->vm);
	if (args->vm && !count)
		return err_set(e, -ENOENT, "there is neither a relationship nor a replica '%.64s' on this host",
			       args->vm);
	if (args->json)
		print_all_json(s, args->vm);
	else if (!args->vm)
		print_overview(s);
	for (i = 0; args->vm && !args->json && i < s->relationship_count; i++) {
		if (wanted(&s->relationships[i], args->vm))
			print_relationship(s, &s->relationships[i]);
	}
	fflush(stdout);
	return 0;
}

static int print_once(const struct cli_args *args, struct err *e)
{
	struct client_snapshot snapshot;
	int rc = client_snapshot(&snapshot, e);

	if (rc)
		return rc;
	/* A file or a program gets one after another. */
	if (args->watch && !args->json)
		printf(isatty(STDOUT_FILENO) ? "\033[H\033[2J" : "\n");
	rc = print(&snapshot, args, e);
	client_snapshot_free(&snapshot);
	return rc;
}

static int status(const struct cli_args *args, struct err *e)
{
	int turn, rc;

	for (;;) {
		rc = print_once(args, e);
		if (rc || !args->watch)
			return rc;
		for (turn = 0; turn < WATCH_TURNS; turn++) {
			if (wait_a_moment("", NULL))
				return 0;	/* the way to end it */
		}
	}
}

int cli_status(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "json", CLI_KEY_JSON, NULL, 0, "For programs", 0 },
		{ "watch", CLI_KEY_WATCH, NULL, 0, "Show it anew every 2 seconds until interrupted", 0 },
		{ 0 }
	};
	static const struct argp argp = {
		options, cli_parse_arg, "[VM]",
		"Show what is replicated from and to this host, what is not as it should be, why, and what to do; of one VM, more.\v"
		"Examples:\n"
		"  vmreplica status\n"
		"  vmreplica status web1 --json | jq '.relationships[0].health'\n",
		NULL, NULL, NULL
	};
	struct cli_args args = { 0 };
	struct err e = { 0 };
	int rc = cli_parse_args(&argp, argc, argv, false, &args, &e);

	if (!rc)
		rc = status(&args, &e);
	return rc ? cli_fail(&e) : 0;
}
