/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The daemon's command line. */
#ifndef VMR_SERVICE_OPTIONS_H
#define VMR_SERVICE_OPTIONS_H

#include <stdbool.h>

#include "config.h"

struct options {
	const char *config_file;	/* null: CONFIG_FILE, which may be missing */
	const char *bus;		/* address; null: the system bus */
	bool session_bus;
	bool verbose;
	bool check_config;		/* that is all */
	bool save_tracking;		/* for a reboot; that is all */
	bool restore_tracking;		/* after it; that is all */
};

/*
 * Parses the line, and the file of settings, over which the line goes. Ends the program when the
 * line is wrong or asks for help.
 */
int options_parse(int argc, char **argv, struct options *options, struct config *config,
		  struct err *e);

#endif
