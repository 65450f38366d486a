// SPDX-License-Identifier: GPL-2.0-or-later
#include <inttypes.h>

#include "../common/datetime.h"
#include "../common/format.h"
#include "../common/log.h"
#include "answer.h"
#include "relationship.h"
#include "replicas.h"
#include "statistics.h"

/* --- GetReplicationStatistics ---------------------------------------------------------- */

static int put(sd_bus_message *m, const char *key, uint64_t value)
{
	return sd_bus_message_append(m, "{sv}", key, "t", value);
}

/* Times in microseconds since 1970 UTC, latencies in milliseconds, sizes in bytes of disk. */
static int put_primary(sd_bus_message *m, const struct relationship *r)
{
	const struct state_period *p = &r->state.period;
	const struct {
		const char *key;
		uint64_t value;
	} values[] = {
		{ "StartStatisticTime", p->since_us },
		{ "EndStatisticTime", datetime_now_us() },
		{ "ReplicationSuccessCount", p->passes },
		{ "ReplicationSize", p->passes ? p->bytes / p->passes : 0 },
		{ "MaxReplicationSize", p->max_bytes },
		{ "ReplicationLatency", p->passes ? p->milliseconds / p->passes : 0 },
		{ "MaxReplicationLatency", p->max_milliseconds },
		{ "ReplicationMissCount", p->missed + relationship_missed(r) },
		{ "NetworkFailureCount", p->network_failures },
		{ "ReplicationFailureCount", p->failures },
		{ "PendingReplicationSize", r->view.pending_bytes },
		{ "ApplicationConsistentSnapshotFailureCount", 0 },
		{ "LastTestFailoverTime", 0 },
	};
	unsigned int i;
	int rc = 0;

	for (i = 0; rc >= 0 && i < sizeof(values) / sizeof(values[0]); i++)
		rc = put(m, values[i].key, values[i].value);
	return rc;
}

static int put_replica(sd_bus_message *m, const struct relationship *r)
{
	int rc = put(m, "EndStatisticTime", datetime_now_us());

	if (rc >= 0)
		rc = put(m, "LastReplicationTime", r->view.last_point_time_us);
	if (rc >= 0)
		rc = put(m, "PendingReplicationSize",
			 r->view.receiving_total_bytes - r->view.receiving_done_bytes);
	return rc < 0 ? rc : put(m, "LastTestFailoverTime", 0);
}

static int put_statistics(sd_bus_message *m, const struct relationship *r)
{
	int rc = sd_bus_message_open_container(m, 'a', "a{sv}");

	if (rc >= 0 && r && (r->file || r->mode == RELATIONSHIP_REPLICA)) {
		rc = sd_bus_message_open_container(m, 'a', "{sv}");
		if (rc >= 0)
			rc = r->file ? put_primary(m, r) : put_replica(m, r);
		if (rc >= 0)
			rc = sd_bus_message_append(m, "{sv}", "ReplicationHealth", "q", r->view.health);
		if (rc >= 0)
			rc = sd_bus_message_close_container(m);
	}
	return rc < 0 ? rc : sd_bus_message_close_container(m);
}

static int put_issues(sd_bus_message *m, const struct relationship *r)
{
	unsigned int i;
	int rc = sd_bus_message_open_container(m, 'a', "(qs)");

	for (i = 0; rc >= 0 && r && i < r->view.issue_count; i++)
		rc = sd_bus_message_append(m, "(qs)", (uint16_t)r->view.issues[i].health,
					   r->view.issues[i].text);
	return rc < 0 ? rc : sd_bus_message_close_container(m);
}

int statistics_get(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	enum service_code code = SERVICE_OK;
	sd_bus_message *reply = NULL;
	const char *vm, *text = "";
	struct relationship *r;
	int rc = sd_bus_message_read(m, "s", &vm);

	if (rc < 0)
		return rc;
	r = relationship_find(userdata, vm, RELATIONSHIP_PRIMARY);
	if (!r)
		r = replicas_find(userdata, vm);
	if (!r) {
		code = SERVICE_NOT_FOUND;
		text = "there is neither a relationship nor a replica of this name on this host";
	} else {
		relationship_refresh(r);
		if (r->mode == RELATIONSHIP_PRIMARY && !r->file) {
			code = SERVICE_STATUS_UNKNOWN;
			text = r->damage;
		}
	}
	rc = sd_bus_message_new_method_return(m, &reply);
	if (rc >= 0)
		rc = sd_bus_message_append(reply, "uo", code, "/");
	if (rc >= 0)
		rc = put_statistics(reply, r);
	if (rc >= 0)
		rc = put_issues(reply, r);
	if (rc >= 0)
		rc = sd_bus_message_append(reply, "s", text);
	if (rc >= 0)
		rc = sd_bus_send(NULL, reply, NULL);
	sd_bus_message_unref(reply);
	return rc;
}

/* --- a new period ----------------------------------------------------------------------- */

int statistics_reset(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	struct relationship *r;
	struct err e = { 0 };
	const char *vm;
	int rc = sd_bus_message_read(m, "s", &vm);

	if (rc < 0)
		return rc;
	r = answer_unless_primary(userdata, m, vm, &rc);
	if (!r)
		return rc;
	return relationship_reset_statistics(r, &e) ? answer_err(m, &e) : answer_done(m);
}

static void log_period(const struct relationship *r)
{
	const struct state_period *p = &r->state.period;
	char since[FORMAT_BYTES], size[FORMAT_BYTES], max[FORMAT_BYTES];

	log_set_about(r->state.vm, 0);
	log_info("%s: since %s: %" PRIu64 " passes, %" PRIu64 " failures (%" PRIu64 " of the network), %" PRIu64
		 " cycles missed, %s sent, %s at most, %" PRIu64 " ms at most",
		 r->state.vm, format_time_us(p->since_us, since), p->passes, p->failures,
		 p->network_failures, p->missed, format_bytes(p->bytes, size),
		 format_bytes(p->max_bytes, max), p->max_milliseconds);
	log_set_about(NULL, 0);
}

void statistics_roll(struct service *service)
{
	uint64_t now = datetime_now_us(), period_us = service->config.period_s * UINT64_C(1000000);
	struct relationship *r;
	struct err e = { 0 };

	for (r = service->relationships; r; r = r->next) {
		uint64_t since = r->file ? r->state.period.since_us : 0;

		if (!since || now < since || now - since < period_us)
			continue;
		log_period(r);
		if (relationship_reset_statistics(r, &e))
			log_warn("%s", e.text);
	}
}
