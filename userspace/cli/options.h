/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The options that describe a relationship: of enable and of modify. */
#ifndef VMR_CLI_OPTIONS_H
#define VMR_CLI_OPTIONS_H

#include <argp.h>
#include <stdbool.h>
#include <stdint.h>

#include "client.h"

#define OPTIONS_MAX_DISKS 64

struct options {
	const char *vm;
	bool json;
	unsigned int disk_count;
	char *disks[OPTIONS_MAX_DISKS];	/* freed by options_free() */
	char host[256];		/* "": not given */
	uint16_t port;		/* 0: the service's default */
	uint32_t interval_s;	/* 0: not given */
	bool compress, no_compress;
	bool rate_given;
	uint64_t rate;		/* bytes a second, 0: none */
	bool auto_given, auto_resync;
	bool history_given;
	uint16_t history;	/* points */
	uint32_t spacing_s;	/* between them, 0: of each pass */
	char auto_from[8], auto_to[8];	/* "HH:MM"; "": not given */
};

enum {
	OPTIONS_KEY_DISK = 0x200,
	OPTIONS_KEY_TO,
	OPTIONS_KEY_INTERVAL,
	OPTIONS_KEY_COMPRESS,
	OPTIONS_KEY_NO_COMPRESS,
	OPTIONS_KEY_RATE,
	OPTIONS_KEY_AUTO_RESYNC,
	OPTIONS_KEY_HISTORY,
};

/* argp parser for a struct options. */
error_t options_parse(int key, char *arg, struct argp_state *state);
void options_free(struct options *options);

/* "host", "host:port", "::1", "[::1]", "[::1]:port" */
error_t options_parse_to(const char *arg, char host[256], uint16_t *port);

/* Calls @method(s vm, a{sv} of what was given). @job: as of client_send(). */
int options_send(const struct options *options, const char *method, char job[CLIENT_PATH_BYTES],
		 struct err *e);

#endif
