/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vmreplica-bench: passes from files, without the module. The same code as the daemon's
 * reads, sends, receives and stores; what a pass holds is told by a file. Not installed;
 * tools/bench drives it.
 */
#ifndef VMR_BENCH_BENCH_H
#define VMR_BENCH_BENCH_H

#include <stdbool.h>
#include <stdint.h>

#include "../common/err.h"

/* Subcommands: exit statuses; @argv[0] is the subcommand's name. */
int bench_send(int argc, char **argv);
int bench_receive(int argc, char **argv);
int bench_limit(int argc, char **argv);

/* Prints "vmreplica-bench: <sentence>" and returns 1. */
int bench_fail(const struct err *e);

/* Seconds of a clock that only goes forward. */
double bench_now(void);

/* The most memory that this process has had resident, in bytes; 0: not known. */
uint64_t bench_peak_rss(void);

/* "64k", "4M", "1G", "123" as bytes; false: it is none of these. */
bool bench_parse_size(const char *text, uint64_t *bytes);

#endif
