// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdio.h>
#include <stdlib.h>
#include <sys/uio.h>
#define SD_JOURNAL_SUPPRESS_LOCATION	/* that of this file would be of no use */
#include <systemd/sd-journal.h>

#include "../common/log.h"
#include "journal.h"

#define FIELD_BYTES 1100	/* a line of the log, and the field's name */

static bool send_entry(enum log_level level, const char *text, const char *vm, unsigned int job)
{
	char message[FIELD_BYTES], priority[16], name[96], number[32];
	struct iovec fields[4];
	int count = 0;

	fields[count++] = (struct iovec){ message, snprintf(message, sizeof(message), "MESSAGE=%s", text) };
	fields[count++] = (struct iovec){ priority, snprintf(priority, sizeof(priority), "PRIORITY=%d", level) };
	if (vm[0])
		fields[count++] = (struct iovec){ name, snprintf(name, sizeof(name), "VMREPLICA_VM=%s", vm) };
	if (job)
		fields[count++] = (struct iovec){ number, snprintf(number, sizeof(number), "VMREPLICA_JOB=%u", job) };
	return sd_journal_sendv(fields, count) >= 0;
}

void journal_use(void)
{
	if (getenv("JOURNAL_STREAM"))
		log_set_sink(send_entry);
}
