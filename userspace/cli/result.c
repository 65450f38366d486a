// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli.h"
#include "jobs.h"
#include "result.h"

int result_end(bool json, int rc, const struct err *e, const struct client_job *job)
{
	struct json out = { stdout, true };
	uint32_t code;

	if (json) {
		json_open(&out, NULL, '{');
		if (client_last_code(&code))
			json_number(&out, "return_value", code);
		else
			json_text(&out, "return_value", NULL);
		json_text(&out, "message", rc ? e->text : "");
		jobs_json(&out, "job", job && job->path[0] ? job : NULL);
		json_close(&out, '}');
		putchar('\n');
	}
	return rc ? cli_fail(e) : 0;
}
