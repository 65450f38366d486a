/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Log lines on standard error, with the syslog priority prefix "<N>" when
 * standard error is the journal (sd-daemon(3)), plain otherwise. Safe from any
 * thread; a line is written with one write(2). At most LOG_BURST lines per
 * LOG_WINDOW_S seconds and call site, then one line says how many were held back.
 */
#ifndef VMR_COMMON_LOG_H
#define VMR_COMMON_LOG_H

#include <stdbool.h>

#define LOG_BURST	20
#define LOG_WINDOW_S	10

enum log_level {
	LOG_LEVEL_ERR = 3,
	LOG_LEVEL_WARN = 4,
	LOG_LEVEL_NOTICE = 5,
	LOG_LEVEL_INFO = 6,
	LOG_LEVEL_DEBUG = 7
};

struct log_site {		/* one call site's budget; zeroed static storage */
	long window_start;
	unsigned int written;
	unsigned int held_back;
};

void log_set_level(enum log_level level);	/* default LOG_LEVEL_INFO */

/*
 * What the lines of this thread are about from now on, for a log with fields: a VM (null: none
 * in particular) and a job's number (0: none). At most 63 bytes of the name are kept.
 */
void log_set_about(const char *vm, unsigned int job);

/*
 * Takes each line instead of standard error, unless it returns false. To be set before there are
 * threads; called from any of them. @vm "" and @job 0: nothing in particular.
 */
typedef bool (*log_sink)(enum log_level level, const char *text, const char *vm, unsigned int job);
void log_set_sink(log_sink sink);

void log_line(struct log_site *site, enum log_level level, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#define log_at(level, ...) do { \
	static struct log_site log_site_; \
	log_line(&log_site_, level, __VA_ARGS__); \
} while (0)
#define log_err(...)	log_at(LOG_LEVEL_ERR, __VA_ARGS__)
#define log_warn(...)	log_at(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_notice(...)	log_at(LOG_LEVEL_NOTICE, __VA_ARGS__)
#define log_info(...)	log_at(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)	log_at(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
