/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How a command that changes something ends, for people and for programs. */
#ifndef VMR_CLI_RESULT_H
#define VMR_CLI_RESULT_H

#include <stdbool.h>

#include "client.h"

/*
 * Returns the program's exit status. On failure (@rc) after the sentence of @e on standard error;
 * with @json after an object with return_value (null: the service was not asked), message, and
 * the job or null.
 */
int result_end(bool json, int rc, const struct err *e, const struct client_job *job);

#endif
