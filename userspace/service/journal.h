/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Log lines as entries of the journal, with fields: VMREPLICA_VM and VMREPLICA_JOB. */
#ifndef VMR_SERVICE_JOURNAL_H
#define VMR_SERVICE_JOURNAL_H

/* Sends the log there from now on, if standard error leads to the journal. Before any thread. */
void journal_use(void);

#endif
