// SPDX-License-Identifier: GPL-2.0-or-later
#include "../common/datetime.h"
#include "pace.h"
#include "relationship.h"

/* More passes than that share what these leave: the limit of transfers. */
#define MAX_SHARES 1024

void pace_apply(struct service *service)
{
	static uint64_t own[MAX_SHARES], shares[MAX_SHARES];	/* loop's thread only */
	uint64_t host = rate_at(&service->config.rates, datetime_minute(datetime_now_us()));
	struct relationship *r;
	unsigned int count = 0;
	struct job *job;

	for (job = service->jobs; job && count < MAX_SHARES; job = job->next) {
		if (job_is_transfer(job) && job->begun_us && !job_ended(job))
			own[count++] = job->relationship->state.rate;
	}
	rate_divide(host, count, own, shares);
	for (count = 0, job = service->jobs; job && count < MAX_SHARES; job = job->next) {
		if (!job_is_transfer(job) || !job->begun_us || job_ended(job))
			continue;
		r = job->relationship;
		peer_set_rate(&r->peer, shares[count]);
		r->view.rate_now = shares[count++];
	}
}
