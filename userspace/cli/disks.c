// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdio.h>

#include "disks.h"

static void write_disk(struct json *json, const char *name, const char *source, const char *file,
		       const char *format)
{
	if (!json) {
		printf("      %-12s %s\n", name, file);
		return;
	}
	json_open(json, NULL, '{');
	json_text(json, "name", name);
	json_text(json, "source", source);
	json_text(json, "file", file);
	json_text(json, "format", format);
	json_close(json, '}');
}

int disks_read(sd_bus_message *m, struct json *json, bool wanted)
{
	const char *name, *source, *file, *format;
	int rc = sd_bus_message_enter_container(m, 'a', "(ssss)");

	if (wanted && json)
		json_open(json, "disks", '[');
	while (rc >= 0 && (rc = sd_bus_message_read(m, "(ssss)", &name, &source, &file, &format)) > 0) {
		if (wanted)
			write_disk(json, name, source, file, format);
	}
	if (wanted && json)
		json_close(json, ']');
	return rc < 0 ? rc : sd_bus_message_exit_container(m);
}
