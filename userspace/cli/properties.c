// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "properties.h"

struct field {
	const char *name;
	const char *type;	/* D-Bus signature */
	size_t offset;
};

#define R(name, type, member) { name, type, offsetof(struct client_relationship, member) }
static const struct field relationship_fields[] = {
	R("ComputerSystem", "s", vm),
	R("InstanceID", "s", uuid),
	R("HealthReason", "s", reason),
	R("RecoveryConnectionPoint", "s", host),
	R("Job", "o", job),
	R("Tracking", "s", tracking),
	R("TrackingReason", "s", tracking_reason),
	R("ReplicationMode", "q", mode),
	R("ReplicationState", "q", state),
	R("ReplicationHealth", "q", health),
	R("RecoveryServerPortNumber", "q", port),
	R("ReplicationInterval", "u", interval_s),
	R("RecoveryPoints", "u", points),
	R("TestReplicaSystems", "u", tests),
	R("FailoverPoint", "t", failover_point),
	R("UsedBytes", "t", used_bytes),
	R("CompressionEnabled", "b", compress),
	R("InitialReplicationComplete", "b", initial_complete),
	R("Connected", "b", connected),
	R("Released", "b", released),
	R("LastReplicationTime", "t", last_point_time_us),
	R("LastPoint", "t", last_point),
	R("LastPass", "t", last_pass),
	R("PendingReplicationSize", "t", pending_bytes),
	R("ReplicationSuccessCount", "t", passes),
	R("ReplicationFailureCount", "t", failures),
	R("ReplicationSize", "t", bytes),
	R("WireSize", "t", wire_bytes),
	R("LastPassSize", "t", last_bytes),
	R("LastPassWireSize", "t", last_wire_bytes),
	R("LastPassMilliseconds", "t", last_milliseconds),
	R("ReceivingPass", "t", receiving_pass),
	R("ReceivingDoneBytes", "t", receiving_done_bytes),
	R("ReceivingTotalBytes", "t", receiving_total_bytes),
	R("ScheduledStartTime", "t", start_time_us),
	R("LastApplyTime", "t", last_apply_time_us),
	R("MaximumRate", "t", rate),
	R("RecoveryHistory", "q", history),
	R("RecoveryHistorySpacing", "u", history_spacing_s),
	R("CurrentMaximumRate", "t", rate_now),
	R("Disks", "a(sstutu)", disks),
	R("HealthIssues", "a(qs)", issues),
	{ 0 }
};

#define J(name, type, member) { name, type, offsetof(struct client_job, member) }
static const struct field job_fields[] = {
	J("ComputerSystem", "s", vm),
	J("ErrorDescription", "s", error),
	J("Phase", "s", phase),
	J("JobType", "q", type),
	J("JobState", "q", state),
	J("PercentComplete", "q", percent),
	J("ErrorCode", "u", error_code),
	J("Cancellable", "b", cancellable),
	J("TimeSubmitted", "t", submitted_us),
	J("ScheduledStartTime", "t", scheduled_us),
	J("StartTime", "t", started_us),
	J("ElapsedTime", "t", elapsed_us),
	J("TotalBytes", "t", total_bytes),
	J("DoneBytes", "t", done_bytes),
	J("ZeroBytes", "t", zero_bytes),
	J("WireBytes", "t", wire_bytes),
	J("DiskBytes", "t", disk_bytes),
	J("Pass", "t", pass),
	J("Passes", "t", passes),
	J("PointTime", "t", point_time_us),
	J("DifferenceSize", "t", difference_bytes),
	J("Differences", "a(stt)", places),
	{ 0 }
};

static int read_disks(sd_bus_message *m, struct client_relationship *r)
{
	struct client_disk disk, *grown;
	const char *name, *device;
	int rc = sd_bus_message_enter_container(m, 'a', "(sstutu)");

	while (rc >= 0 && (rc = sd_bus_message_read(m, "(sstutu)", &name, &device, &disk.size_bytes,
						     &disk.chunk_bytes, &disk.dirty_bytes,
						     &disk.untrusted)) > 0) {
		grown = reallocarray(r->disks, r->disk_count + 1, sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		r->disks = grown;
		snprintf(disk.name, sizeof(disk.name), "%s", name);
		snprintf(disk.device, sizeof(disk.device), "%s", device);
		r->disks[r->disk_count++] = disk;
	}
	return rc < 0 ? rc : sd_bus_message_exit_container(m);
}

static int read_issues(sd_bus_message *m, struct client_relationship *r)
{
	struct client_issue *grown;
	const char *text;
	uint16_t health;
	int rc = sd_bus_message_enter_container(m, 'a', "(qs)");

	while (rc >= 0 && (rc = sd_bus_message_read(m, "(qs)", &health, &text)) > 0) {
		grown = reallocarray(r->issues, r->issue_count + 1, sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		r->issues = grown;
		grown += r->issue_count++;
		grown->health = health;
		snprintf(grown->text, sizeof(grown->text), "%s", text);
	}
	return rc < 0 ? rc : sd_bus_message_exit_container(m);
}

static int read_places(sd_bus_message *m, struct client_job *job)
{
	uint64_t offset, length;
	const char *disk;
	int rc = sd_bus_message_enter_container(m, 'a', "(stt)");

	while (rc >= 0 && (rc = sd_bus_message_read(m, "(stt)", &disk, &offset, &length)) > 0) {
		struct client_place *place = &job->places[job->place_count];

		if (job->place_count == CLIENT_MAX_PLACES)
			continue;
		snprintf(place->disk, sizeof(place->disk), "%s", disk);
		place->offset = offset;
		place->length = length;
		job->place_count++;
	}
	return rc < 0 ? rc : sd_bus_message_exit_container(m);
}

static int read_array(sd_bus_message *m, const struct field *field, void *out)
{
	if (!strcmp(field->name, "Differences"))
		return read_places(m, out);
	return strcmp(field->name, "Disks") ? read_issues(m, out) : read_disks(m, out);
}

/* @out is the whole structure that @field is of. */
static int read_value(sd_bus_message *m, const struct field *field, void *out)
{
	void *at = (char *)out + field->offset;
	const char *text;
	int flag, rc;

	switch (field->type[0]) {
	case 'a':
		return read_array(m, field, out);
	case 's':
	case 'o':
		rc = sd_bus_message_read_basic(m, field->type[0], &text);
		if (rc >= 0)
			snprintf(at, CLIENT_TEXT_BYTES, "%s", text);
		return rc;
	case 'b':
		rc = sd_bus_message_read_basic(m, 'b', &flag);
		if (rc >= 0)
			*(bool *)at = flag;
		return rc;
	default:
		return sd_bus_message_read_basic(m, field->type[0], at);
	}
}

/* At the "sv" of one property; what we do not know is skipped. */
static int read_property(sd_bus_message *m, const struct field *field, void *out)
{
	const char *name, *type;
	int rc = sd_bus_message_read(m, "s", &name);

	if (rc < 0)
		return rc;
	while (field->name && strcmp(field->name, name))
		field++;
	rc = sd_bus_message_peek_type(m, NULL, &type);
	if (rc < 0)
		return rc;
	if (!field->name || strcmp(field->type, type))
		return sd_bus_message_skip(m, "v");
	rc = sd_bus_message_enter_container(m, 'v', field->type);
	if (rc >= 0)
		rc = read_value(m, field, out);
	return rc < 0 ? rc : sd_bus_message_exit_container(m);
}

static int read_all(sd_bus_message *m, const struct field *fields, void *out)
{
	int rc = sd_bus_message_enter_container(m, 'a', "{sv}");

	while (rc >= 0 && (rc = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
		rc = read_property(m, fields, out);
		if (rc >= 0)
			rc = sd_bus_message_exit_container(m);
	}
	return rc < 0 ? rc : sd_bus_message_exit_container(m);
}

int properties_of_relationship(sd_bus_message *m, struct client_relationship *r)
{
	return read_all(m, relationship_fields, r);
}

int properties_of_job(sd_bus_message *m, struct client_job *job)
{
	return read_all(m, job_fields, job);
}
