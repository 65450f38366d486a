// SPDX-License-Identifier: GPL-2.0-or-later
#include "../common/format.h"
#include "cli.h"
#include "jobs.h"
#include "names.h"

void jobs_json(struct json *json, const char *key, const struct client_job *job)
{
	char id[16];

	if (!job) {
		json_text(json, key, NULL);
		return;
	}
	snprintf(id, sizeof(id), "%u", client_number(job->path));
	json_open(json, key, '{');
	json_text(json, "id", id);
	json_text(json, "path", job->path);
	json_text(json, "type", names_job_type(job->type));
	json_number(json, "type_code", job->type);
	json_text(json, "vm", job->vm);
	json_text(json, "state", names_job_state(job->state));
	json_number(json, "state_code", job->state);
	json_number(json, "percent", job->percent);
	json_number(json, "total_bytes", job->total_bytes);
	json_number(json, "done_bytes", job->done_bytes);
	json_number(json, "zero_bytes", job->zero_bytes);
	json_number(json, "wire_bytes", job->wire_bytes);
	json_time(json, "time_submitted", job->submitted_us);
	json_time(json, "scheduled_start_time", job->scheduled_us);
	json_time(json, "start_time", job->started_us);
	json_flag(json, "cancellable", job->cancellable);
	json_seconds(json, "elapsed_seconds", job->elapsed_us);
	json_number(json, "error_code", job->error_code);
	json_text(json, "error", job->error);
	json_text(json, "phase", job->phase);
	json_number(json, "pass", job->pass);
	json_number(json, "passes", job->passes);
	json_time(json, "point_time", job->point_time_us);
	json_number(json, "difference_bytes", job->difference_bytes);
	json_open(json, "differences", '[');
	for (unsigned int i = 0; i < job->place_count; i++) {
		json_open(json, NULL, '{');
		json_text(json, "disk", job->places[i].disk);
		json_number(json, "offset", job->places[i].offset);
		json_number(json, "bytes", job->places[i].length);
		json_close(json, '}');
	}
	json_close(json, ']');
	json_close(json, '}');
}

static void print_json(const struct client_snapshot *s)
{
	struct json json = { stdout, true };
	unsigned int i;

	json_open(&json, NULL, '{');
	json_open(&json, "jobs", '[');
	for (i = 0; i < s->job_count; i++)
		jobs_json(&json, NULL, &s->jobs[i]);
	json_close(&json, ']');
	json_close(&json, '}');
	putchar('\n');
}

static void print_table(const struct client_snapshot *s)
{
	char done[FORMAT_BYTES], total[FORMAT_BYTES], time[FORMAT_BYTES];
	unsigned int i;

	if (!s->job_count) {
		printf("there are no jobs\n");
		return;
	}
	printf("%-5s %-17s %-16s %-10s %4s  %-21s %s\n", "JOB", "WHAT", "VM", "STATE", "%", "SENT", "TIME");
	for (i = 0; i < s->job_count; i++) {
		const struct client_job *job = &s->jobs[i];
		char sent[2 * FORMAT_BYTES];

		snprintf(sent, sizeof(sent), "%s of %s", format_bytes(job->done_bytes, done),
			 format_bytes(job->total_bytes, total));
		printf("%-5u %-17s %-16s %-10s %4u  %-21s %s\n", client_number(job->path),
		       names_job_type(job->type), job->vm, names_job_state(job->state),
		       job->percent, job->total_bytes ? sent : "",
		       format_seconds(job->elapsed_us / 1e6, time));
		if (job->error[0])
			printf("      %s\n", job->error);
		else if (!client_job_ended(job))
			printf("      %s\n", job->phase);
	}
}

int cli_jobs(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "json", CLI_KEY_JSON, NULL, 0, "For programs", 0 },
		{ 0 }
	};
	static const struct argp argp = {
		options, cli_parse_arg, "",
		"List jobs that run, and those that ended within the last 5 minutes.\v"
		"Example:\n"
		"  vmreplica jobs\n",
		NULL, NULL, NULL
	};
	struct client_snapshot snapshot;
	struct cli_args args = { 0 };
	struct err e = { 0 };
	int rc = cli_parse_args(&argp, argc, argv, false, &args, &e);

	if (!rc)
		rc = client_snapshot(&snapshot, &e);
	if (rc)
		return cli_fail(&e);
	if (args.json)
		print_json(&snapshot);
	else
		print_table(&snapshot);
	client_snapshot_free(&snapshot);
	return 0;
}
