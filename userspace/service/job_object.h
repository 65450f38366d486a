/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Jobs on the bus: /org/vmreplica/Job/N, interface org.vmreplica.Job. */
#ifndef VMR_SERVICE_JOB_OBJECT_H
#define VMR_SERVICE_JOB_OBJECT_H

#include "job.h"

int job_object_register(struct service *service);

void job_object_added(struct job *job);
void job_object_changed(struct job *job);
void job_object_removed(struct job *job);

#endif
