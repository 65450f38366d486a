// SPDX-License-Identifier: GPL-2.0-or-later
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "log.h"

static enum log_level max_level = LOG_LEVEL_INFO;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static log_sink sink;
static __thread char about_vm[64];
static __thread unsigned int about_job;

void log_set_level(enum log_level level)
{
	max_level = level;
}

void log_set_sink(log_sink new_sink)
{
	sink = new_sink;
}

void log_set_about(const char *vm, unsigned int job)
{
	snprintf(about_vm, sizeof(about_vm), "%s", vm ? vm : "");
	about_job = job;
}

/* Caller holds @lock. Returns false when the line is over the site's budget. */
static bool take_budget(struct log_site *site, unsigned int *held_back)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	*held_back = 0;
	if (!site->written || now.tv_sec - site->window_start >= LOG_WINDOW_S) {
		*held_back = site->held_back;
		site->window_start = now.tv_sec;
		site->written = 0;
		site->held_back = 0;
	}
	if (site->written >= LOG_BURST) {
		site->held_back++;
		return false;
	}
	site->written++;
	return true;
}

static void write_line(enum log_level level, const char *text)
{
	char line[1024 + 8];
	size_t used = 0;

	if (getenv("JOURNAL_STREAM"))
		used += snprintf(line, sizeof(line), "<%d>", level);
	used += snprintf(line + used, sizeof(line) - used, "%s\n", text);
	if (write(STDERR_FILENO, line, used) < 0)
		return;	/* nowhere left to say it */
}

void log_line(struct log_site *site, enum log_level level, const char *fmt, ...)
{
	char text[1024];
	unsigned int held_back;
	size_t used;
	va_list ap;
	bool take;

	if (level > max_level)
		return;
	pthread_mutex_lock(&lock);
	take = take_budget(site, &held_back);
	pthread_mutex_unlock(&lock);
	if (!take)
		return;
	va_start(ap, fmt);
	used = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (used > sizeof(text) - 64)
		used = sizeof(text) - 64;
	if (held_back)
		snprintf(text + used, sizeof(text) - used, " (%u like this were held back)", held_back);
	if (!sink || !sink(level, text, about_vm, about_job))
		write_line(level, text);
}
