/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VMR_CLI_JOBS_H
#define VMR_CLI_JOBS_H

#include "client.h"
#include "json.h"

/* A job as an object; @job null: null. */
void jobs_json(struct json *json, const char *key, const struct client_job *job);

#endif
