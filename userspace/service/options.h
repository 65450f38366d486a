/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The daemon's command line. */
#ifndef VMR_SERVICE_OPTIONS_H
#define VMR_SERVICE_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

struct options {
	const char *state_dir;
	const char *bus;		/* address; null: the system bus */
	bool session_bus;
	bool listen;
	char address[256];		/* "": all */
	uint16_t port;
	bool verbose;
};

/* Ends the program when the line is wrong or asks for help. */
void options_parse(int argc, char **argv, struct options *options);

#endif
