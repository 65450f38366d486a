/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the administrator sets for the whole service, in one file: lines "key = value", empty
 * lines, and lines that begin with #. vmreplica.conf beside this file describes the keys.
 */
#ifndef VMR_SERVICE_CONFIG_H
#define VMR_SERVICE_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "../common/err.h"
#include "../primary/rate.h"

#define CONFIG_FILE	"/etc/vmreplica/vmreplica.conf"

struct config {
	char state_dir[256];
	bool listen;
	char address[256];		/* to listen on; "": all */
	uint16_t port;
	unsigned int max_transfers;	/* 1 to 1024 passes at the same time */
	unsigned int max_relationships;	/* 1 to 4096 that this host is the primary of */
	struct rate_limits rates;
	unsigned int period_s;		/* 3600 to 604800: of one set of statistics */
};

void config_defaults(struct config *config);

/*
 * Reads @path over what @config holds; it may be missing if @optional. On failure the sentence
 * begins with "PATH:LINE: ".
 */
int config_read(const char *path, bool optional, struct config *config, struct err *e);

/* "7766", "10.0.0.1:7766", "[::1]:7766", "no" */
int config_parse_listen(const char *text, struct config *config);

#endif
