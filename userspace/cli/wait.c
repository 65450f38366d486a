// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../common/format.h"
#include "estimate.h"
#include "wait.h"

#define POLL_MS		200
#define BAR_CELLS	24
#define LINE_MIN_S	2.0	/* between lines where there is no terminal */
#define LINE_MAX_S	60.0	/* a line also when nothing moves */

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
	interrupted = 1;
}

int wait_a_moment(const char *what, struct err *e)
{
	struct sigaction action = { .sa_handler = on_interrupt };
	struct timespec pause = { .tv_nsec = POLL_MS * 1000000L };

	sigaction(SIGINT, &action, NULL);
	nanosleep(&pause, NULL);
	if (interrupted)
		return err_set(e, -EINTR, "no longer waiting; %s: see `vmreplica jobs`", what);
	return 0;
}

static double now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

/* --- progress ------------------------------------------------------------------ */

struct progress {
	bool terminal;
	struct estimate estimate;
	double line_s;			/* when the last line was written */
	unsigned int line_percent;	/* what it said */
	bool drawn;			/* a bar stands on the last line */
};

static void describe(const struct progress *p, const struct client_job *job, char *out, size_t room)
{
	double left = estimate_left(&p->estimate, job->done_bytes, job->total_bytes);
	char done[FORMAT_BYTES], total[FORMAT_BYTES], rate[FORMAT_BYTES], time[FORMAT_BYTES];
	int used;

	if (!job->total_bytes) {
		snprintf(out, room, "%s", job->phase);
		return;
	}
	used = snprintf(out, room, "%3u %%  %s of %s", job->percent, format_bytes(job->done_bytes, done),
			format_bytes(job->total_bytes, total));
	if (job->done_bytes >= job->total_bytes)
		snprintf(out + used, room - used, ", %s", job->phase);
	else if (p->estimate.rate >= 0 && left >= 0)
		snprintf(out + used, room - used, ", %s/s, %s left", format_bytes(p->estimate.rate, rate),
			 format_seconds(left, time));
}

static void draw_bar(struct progress *p, const struct client_job *job)
{
	unsigned int cells = job->percent * BAR_CELLS / 100;
	char text[512], bar[BAR_CELLS + 1];

	memset(bar, '.', BAR_CELLS);
	memset(bar, '#', cells);
	bar[BAR_CELLS] = 0;
	describe(p, job, text, sizeof(text));
	printf("\r\033[K[%s] %s", bar, text);
	fflush(stdout);
	p->drawn = true;
}

static void write_line(struct progress *p, const struct client_job *job, double now)
{
	bool step = job->percent / 10 != p->line_percent / 10;
	char text[512];

	if (now - p->line_s < LINE_MIN_S || (!step && now - p->line_s < LINE_MAX_S))
		return;
	describe(p, job, text, sizeof(text));
	printf("%s\n", text);
	fflush(stdout);
	p->line_s = now;
	p->line_percent = job->percent;
}

static void show(struct progress *p, const struct client_job *job)
{
	double now = now_s();

	estimate_sample(&p->estimate, now, job->done_bytes);
	if (p->terminal)
		draw_bar(p, job);
	else
		write_line(p, job, now);
}

/* --- waiting ---------------------------------------------------------------------- */

static int result(const struct client_job *job, struct err *e)
{
	if (job->state == CLIENT_JOB_COMPLETED)
		return 0;
	return err_set(e, -EREMOTEIO, "%s", job->error[0] ? job->error : "the job did not complete");
}

int wait_for_job(const char *path, bool progress, struct client_job *job, struct err *e)
{
	struct progress p = { .terminal = isatty(STDOUT_FILENO), .line_s = now_s() };
	char what[64];
	int rc;

	snprintf(what, sizeof(what), "job %u goes on", client_number(path));
	for (;;) {
		rc = client_job(path, job, e);
		if (rc || client_job_ended(job))
			break;
		if (progress)
			show(&p, job);
		rc = wait_a_moment(what, e);
		if (rc)
			break;
	}
	if (p.drawn)
		printf("\r\033[K");
	return rc ? rc : result(job, e);
}
