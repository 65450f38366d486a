/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Answers to the methods that change something: (u ReturnValue, o Job, s Message). Each returns
 * what a method's handler has to return.
 */
#ifndef VMR_SERVICE_ANSWER_H
#define VMR_SERVICE_ANSWER_H

#include "job.h"
#include "service.h"

int answer_code(sd_bus_message *m, enum service_code code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
int answer_done(sd_bus_message *m);
int answer_err(sd_bus_message *m, const struct err *e);
/* 4096 and the job; null: there is no room for one. */
int answer_job(sd_bus_message *m, const struct job *job);

struct relationship;

/* The primary's relationship; or null, and the answer has been given (*rc). */
struct relationship *answer_unless_primary(struct service *service, sd_bus_message *m,
					   const char *vm, int *rc);

#endif
