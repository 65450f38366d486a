/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The contract's numbers in words; "unknown" for one that is not. */
#ifndef VMR_CLI_NAMES_H
#define VMR_CLI_NAMES_H

const char *names_state(unsigned int state);
const char *names_health(unsigned int health);
const char *names_job_type(unsigned int type);
const char *names_job_state(unsigned int state);

#endif
