// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdarg.h>
#include <stdio.h>

#include "../common/datetime.h"
#include "../common/format.h"
#include "judge.h"
#include "relationship.h"

/* As Hyper-V judges. */
#define MISSED_PERCENT	20
#define MISSED_CYCLES	5		/* of fewer cycles no share is taken */
/* since the last pass; with longer intervals half of one more */
#define SILENCE_US	3600000000ull
#define LATENCY_MS	300000

static void add(struct relationship *r, enum relationship_health health, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* The gravest comes first, else in the order in which they were found. */
static void add(struct relationship *r, enum relationship_health health, const char *fmt, ...)
{
	struct relationship_view *view = &r->view;
	unsigned int at = view->issue_count;
	va_list ap;

	if (at == RELATIONSHIP_MAX_ISSUES)
		return;
	for (; at && view->issues[at - 1].health < health; at--)
		view->issues[at] = view->issues[at - 1];
	view->issues[at].health = health;
	va_start(ap, fmt);
	vsnprintf(view->issues[at].text, sizeof(view->issues[at].text), fmt, ap);
	va_end(ap);
	view->issue_count++;
	if (health > view->health)
		view->health = health;
}

static void judge_initial(struct relationship *r)
{
	const char *vm = r->state.vm;
	char when[FORMAT_BYTES];

	r->view.state = RELATIONSHIP_INITIAL;
	if (!r->state.start_wanted) {
		r->view.state = RELATIONSHIP_READY;
		add(r, RELATIONSHIP_WARNING, "nothing is replicated yet: run `vmreplica start-replication %s`", vm);
	} else if (r->job && r->job->view.state == JOB_NEW) {
		r->view.state = RELATIONSHIP_READY;
		add(r, RELATIONSHIP_WARNING,
		    "the initial replication begins at %s: to have it at another time, run `vmreplica start-replication %s --at TIME`",
		    format_time_us(r->job->view.scheduled_us, when), vm);
	} else if (r->failure[0]) {
		r->view.state = RELATIONSHIP_CRITICAL;
		add(r, RELATIONSHIP_CRITICALLY_ILL,
		    "%s (the initial replication goes on by itself from where it stopped)", r->failure);
	} else if (r->state.last_point) {
		add(r, RELATIONSHIP_WARNING,
		    "the whole disk is being sent again; the points that there are stay");
	} else {
		add(r, RELATIONSHIP_WARNING, "the initial replication is under way; there is no point yet");
	}
}

/*
 * The tracker may know of a reason before the next pass stumbles over it. Where each pass compares
 * all of the disks nothing can interrupt it.
 */
static void judge_tracking(struct relationship *r)
{
	bool compares = relationship_untracked(r);
	uint32_t untrusted = compares ? 0 : track_untrusted(&r->track);

	if (r->failure[0])
		add(r, RELATIONSHIP_CRITICALLY_ILL, "%s", r->failure);
	else if (r->track_error[0] && !compares)
		add(r, RELATIONSHIP_CRITICALLY_ILL, "%s", r->track_error);
	else if (untrusted)
		add(r, RELATIONSHIP_CRITICALLY_ILL,
		    "tracking was interrupted (%s): run `vmreplica resynchronize %s`, which compares both sides, sends what differs and keeps the points that there are",
		    track_untrusted_reason(untrusted), r->state.vm);
	if (r->view.health == RELATIONSHIP_CRITICALLY_ILL)
		r->view.state = RELATIONSHIP_CRITICAL;
	if (untrusted && r->state.auto_resync.enabled)
		add(r, RELATIONSHIP_WARNING, "a resynchronization begins by itself between %02u:%02u and %02u:%02u",
		    r->state.auto_resync.from / 60, r->state.auto_resync.from % 60,
		    r->state.auto_resync.to / 60, r->state.auto_resync.to % 60);
}

static void judge_resync(struct relationship *r)
{
	char when[FORMAT_BYTES];

	if (r->job->view.state == JOB_NEW) {
		r->view.state = RELATIONSHIP_WAITING_FOR_RESYNC;
		add(r, RELATIONSHIP_CRITICALLY_ILL,
		    "nothing is replicated until the resynchronization, at %s: to begin now, run `vmreplica resynchronize %s`",
		    format_time_us(r->job->view.scheduled_us, when), r->state.vm);
		return;
	}
	r->view.state = RELATIONSHIP_RESYNCHRONIZING;
	add(r, RELATIONSHIP_WARNING,
	    "both sides are being compared, and what differs is sent; the points that there are stay");
}

static void judge_cycles(struct relationship *r)
{
	const struct state_period *period = &r->state.period;
	uint64_t missed = period->missed + relationship_missed(r);
	uint64_t cycles = period->passes + missed;
	char since[FORMAT_BYTES];

	if (cycles >= MISSED_CYCLES && missed * 100 > cycles * MISSED_PERCENT)
		add(r, RELATIONSHIP_WARNING,
		    "%llu of %llu cycles since %s went by without a pass of their own: passes take longer than the interval of %u s, or fail (`vmreplica modify %s --interval` sets another, `vmreplica statistics %s --reset` begins anew)",
		    (unsigned long long)missed, (unsigned long long)cycles,
		    format_time_us(period->since_us, since), r->state.interval_s, r->state.vm,
		    r->state.vm);
	if (period->passes && period->milliseconds / period->passes > LATENCY_MS)
		add(r, RELATIONSHIP_WARNING, "passes take %llu s on average, more than 5 minutes: look at the link and the replica's disks",
		    (unsigned long long)(period->milliseconds / period->passes / 1000));
}

static void judge_silence(struct relationship *r)
{
	uint64_t now = datetime_now_us(), sent = r->state.last_sent_time_us;
	uint64_t allowed = r->state.interval_s * UINT64_C(1500000);
	char time[FORMAT_BYTES];

	if (allowed < SILENCE_US)
		allowed = SILENCE_US;
	if (sent && now > sent && now - sent > allowed)
		add(r, RELATIONSHIP_WARNING, "nothing was sent for %s", format_seconds((now - sent) / 1e6, time));
}

static void judge_prepared(struct relationship *r)
{
	const char *vm = r->state.vm;

	if (relationship_untracked(r))
		add(r, RELATIONSHIP_CRITICALLY_ILL,
		    "a failover was planned, but it is not known whether the disks were written since, for they are not tracked; `vmreplica resume %s` lets replication go on",
		    vm);
	else if (r->view.pending_bytes)
		add(r, RELATIONSHIP_CRITICALLY_ILL,
		    "a failover was planned, but the disks were written since: it would lose that; `vmreplica resume %s` lets replication go on",
		    vm);
	else
		add(r, RELATIONSHIP_WARNING,
		    "ready for a planned failover, without loss: run `vmreplica failover %s` on the replica %s, or `vmreplica resume %s` here to go on as before",
		    vm, r->state.host, vm);
}

/* What it costs, and what points are worth, while there is no tracking. */
static void judge_untracked(struct relationship *r)
{
	const char *reason = relationship_untracked(r);

	if (reason)
		add(r, RELATIONSHIP_WARNING,
		    "not tracked, so each pass reads and compares all of the disks, and a point is of one instant only if nothing wrote meanwhile: %s",
		    reason);
}

static void judge_suspended(struct relationship *r)
{
	r->view.state = r->state.comparing ? RELATIONSHIP_RESYNC_SUSPENDED : RELATIONSHIP_SUSPENDED;
	add(r, RELATIONSHIP_WARNING, "suspended%s: run `vmreplica resume %s`",
	    relationship_untracked(r) ? "" : "; changes are tracked meanwhile", r->state.vm);
}

static void judge_primary(struct relationship *r)
{
	const struct state *state = &r->state;

	if (!r->file) {
		r->view.state = RELATIONSHIP_UNKNOWN;
		add(r, RELATIONSHIP_CRITICALLY_ILL, "%s", r->damage);
	} else if (state->suspended) {
		judge_suspended(r);
	} else if (state->prepared) {
		r->view.state = RELATIONSHIP_PREPARED;
		judge_prepared(r);
	} else if (!state->initial_complete) {
		judge_initial(r);
	} else {
		r->view.state = RELATIONSHIP_REPLICATING;
		if (r->job && r->job->view.type == JOB_RESYNC)
			judge_resync(r);
		else
			judge_tracking(r);
		if (state->medium_pass)
			add(r, RELATIONSHIP_WARNING,
			    "the first copy is on a medium, in %s: bring it to %s and run `vmreplica import %s --from DIR` there; passes are kept until then, and not shown",
			    state->export_dir, state->host, state->vm);
		if (r->warning[0])
			add(r, RELATIONSHIP_WARNING, "%s", r->warning);
		else if (!state->last_point)
			add(r, RELATIONSHIP_WARNING, "there is no point yet");
		judge_cycles(r);
		judge_silence(r);
	}
}

/* The VM is here now, or about to be. */
static bool judge_failover(struct relationship *r)
{
	const struct store_failover *failover = &r->status.failover;
	const char *vm = r->status.vm;

	if (r->job && r->job->view.type == JOB_FAILOVER) {
		r->view.state = RELATIONSHIP_FAILING_OVER;
		add(r, RELATIONSHIP_WARNING, "%s is being failed over to this host", vm);
	} else if (failover->state == STORE_FAILOVER_RECOVERED) {
		r->view.state = RELATIONSHIP_RECOVERED;
		add(r, RELATIONSHIP_WARNING,
		    "failed over to point %llu: passes are refused until `vmreplica revert %s`, which throws away what was written since, or for good with `vmreplica commit %s`",
		    (unsigned long long)failover->pass, vm, vm);
	} else if (failover->state == STORE_FAILOVER_COMMITTED) {
		r->view.state = RELATIONSHIP_COMMITTED;
		if (r->view.reversed)
			add(r, RELATIONSHIP_OK,
			    "failed over to point %llu for good, and replicated from here",
			    (unsigned long long)failover->pass);
		else
			add(r, RELATIONSHIP_WARNING,
			    "failed over to point %llu for good, and replicated nowhere: `vmreplica failover %s --list` says where its disks are, `vmreplica reverse %s` replicates them back",
			    (unsigned long long)failover->pass, vm, vm);
	} else {
		return false;
	}
	return true;
}

static void judge_replica(struct relationship *r)
{
	r->view.state = RELATIONSHIP_REPLICATING;
	if (judge_failover(r))
		return;
	if (r->status.released) {
		r->view.state = RELATIONSHIP_DISABLED;
		add(r, RELATIONSHIP_OK,
		    "its primary ended the replication; the points are kept until `vmreplica disable %s --delete-points`",
		    r->status.vm);
	} else if (r->status.trouble[0]) {
		r->view.state = RELATIONSHIP_CRITICAL;
		add(r, RELATIONSHIP_CRITICALLY_ILL, "%s", r->status.trouble);
	} else if (r->status.awaits_import) {
		r->view.state = RELATIONSHIP_INITIAL;
		add(r, RELATIONSHIP_WARNING,
		    "the first copy comes on a medium: run `vmreplica import %s --from DIR` when it is here",
		    r->status.vm);
	} else if (!r->status.points) {
		r->view.state = RELATIONSHIP_INITIAL;
		add(r, RELATIONSHIP_WARNING, "there is no point yet");
	}
}

void judge(struct relationship *r)
{
	r->view.health = RELATIONSHIP_OK;
	r->view.issue_count = 0;
	if (r->mode == RELATIONSHIP_REPLICA) {
		judge_replica(r);
		return;
	}
	judge_primary(r);
	judge_untracked(r);
}
