// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "relationship_object.h"

#define PREFIX		"/org/vmreplica/Relationship"
#define INTERFACE	"org.vmreplica.Relationship"

#define CONSTANT(name, type, member) \
	SD_BUS_PROPERTY(name, type, NULL, offsetof(struct relationship_view, member), \
			SD_BUS_VTABLE_PROPERTY_CONST)
#define CHANGING(name, type, member) \
	SD_BUS_PROPERTY(name, type, NULL, offsetof(struct relationship_view, member), \
			SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE)
/* Changes with each write of the VM: to be asked for, not signalled. */
#define MOVING(name, type, member) \
	SD_BUS_PROPERTY(name, type, NULL, offsetof(struct relationship_view, member), 0)

/*
 * Name, device, bytes, bytes of a chunk, dirty bytes (as PendingReplicationSize), CBT_UNTRUSTED_*
 * bits; a replica says none.
 */
static int get_disks(sd_bus *bus, const char *path, const char *interface, const char *property,
		     sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
	const struct relationship_view *view = userdata;
	const struct relationship *r = view->relationship;
	unsigned int i, count = r->mode == RELATIONSHIP_PRIMARY ? r->state.disk_count : 0;
	bool compares = relationship_untracked(r);
	int rc = sd_bus_message_open_container(reply, 'a', "(sstutu)");

	for (i = 0; rc >= 0 && i < count; i++) {
		const struct state_disk *disk = &r->state.disks[i];
		const struct cbt_disk_info *info =
			i < r->track.disk_count && !compares ? &r->track.disks[i] : NULL;

		rc = sd_bus_message_append(reply, "(sstutu)", disk->name, disk->device,
					   info ? info->size_bytes : disk->size_bytes,
					   disk->chunk_bytes,
					   info ? info->dirty_chunks * info->chunk_bytes :
					   compares ? RELATIONSHIP_UNKNOWN_BYTES :
						      UINT64_C(0),
					   info ? info->untrusted : 0);
	}
	return rc < 0 ? rc : sd_bus_message_close_container(reply);
}

/* 2 warning or 3 critical (1: a note), and the sentence; the gravest first. */
static int get_issues(sd_bus *bus, const char *path, const char *interface, const char *property,
		      sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
	const struct relationship_view *view = userdata;
	unsigned int i;
	int rc = sd_bus_message_open_container(reply, 'a', "(qs)");

	for (i = 0; rc >= 0 && i < view->issue_count; i++)
		rc = sd_bus_message_append(reply, "(qs)", (uint16_t)view->issues[i].health,
					   view->issues[i].text);
	return rc < 0 ? rc : sd_bus_message_close_container(reply);
}

static int get_included_disks(sd_bus *bus, const char *path, const char *interface,
			      const char *property, sd_bus_message *reply, void *userdata,
			      sd_bus_error *error)
{
	const struct relationship_view *view = userdata;
	const struct state *state = &view->relationship->state;
	unsigned int i;
	int rc = sd_bus_message_open_container(reply, 'a', "s");

	for (i = 0; rc >= 0 && i < state->disk_count; i++)
		rc = sd_bus_message_append(reply, "s", state->disks[i].device);
	return rc < 0 ? rc : sd_bus_message_close_container(reply);
}

/* "18:30" */
static int get_minute(sd_bus *bus, const char *path, const char *interface, const char *property,
		      sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
	const struct relationship_view *view = userdata;
	const struct state_auto *window = &view->relationship->state.auto_resync;
	unsigned int minute = strstr(property, "Start") ? window->from : window->to;
	char text[16];

	snprintf(text, sizeof(text), "%02u:%02u", minute / 60, minute % 60);
	return sd_bus_message_append(reply, "s", text);
}

static int get_zero(sd_bus *bus, const char *path, const char *interface, const char *property,
		    sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
	return sd_bus_message_append(reply, "q", 0);
}

static int get_true(sd_bus *bus, const char *path, const char *interface, const char *property,
		    sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
	return sd_bus_message_append(reply, "b", 1);
}

static const sd_bus_vtable vtable[] = {
	SD_BUS_VTABLE_START(0),
	CONSTANT("ComputerSystem", "s", vm),
	/* UUID of the relationship */
	CONSTANT("InstanceID", "s", uuid),
	/* 1 primary, 2 replica */
	CONSTANT("ReplicationMode", "q", mode),
	/*
	 * 0 disabled, 1 ready, 2 waiting to complete the initial replication, 3 replicating, 7
	 * suspended, 8 critical, 17 unknown
	 */
	CHANGING("ReplicationState", "q", state),
	/* 1 ok, 2 warning, 3 critical; with the sentence why, which says what to do */
	CHANGING("ReplicationHealth", "q", health),
	CHANGING("HealthReason", "s", reason),
	/* all of them; the first is the reason */
	SD_BUS_PROPERTY("HealthIssues", "a(qs)", get_issues, 0, 0),
	/* settings of a primary */
	CHANGING("ReplicationInterval", "u", interval_s),
	CHANGING("RecoveryConnectionPoint", "s", host),
	CHANGING("RecoveryServerPortNumber", "q", port),
	CHANGING("CompressionEnabled", "b", compress),
	/* bytes a second, 0: no limit; what holds just now is for the pass under way */
	CHANGING("MaximumRate", "t", rate),
	MOVING("CurrentMaximumRate", "t", rate_now),
	SD_BUS_PROPERTY("IncludedDisks", "as", get_included_disks, 0, SD_BUS_VTABLE_PROPERTY_CONST),
	CHANGING("AutoResynchronizeEnabled", "b", auto_resync),
	/* times of the local day */
	SD_BUS_PROPERTY("AutoResynchronizeIntervalStart", "s", get_minute, 0,
			SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("AutoResynchronizeIntervalEnd", "s", get_minute, 0,
			SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("EnableWriteOrderPreservationAcrossDisks", "b", get_true, 0,
			SD_BUS_VTABLE_PROPERTY_CONST),
	/* points below the newest, and the seconds between them, 0: each pass */
	CHANGING("RecoveryHistory", "q", history),
	CHANGING("RecoveryHistorySpacing", "u", history_spacing_s),
	/* no application-consistent points */
	SD_BUS_PROPERTY("ApplicationConsistentSnapshotInterval", "q", get_zero, 0,
			SD_BUS_VTABLE_PROPERTY_CONST),
	/* when the initial replication begins, microseconds since 1970 UTC; 0: no time is set */
	CHANGING("ScheduledStartTime", "t", start_time_us),
	/*
	 * cut of the newest point, microseconds since 1970 UTC, 0: none; its pass; the newest
	 * durable pass
	 */
	CHANGING("LastReplicationTime", "t", last_point_time_us),
	/* of it: 0 none, 1 regular */
	CHANGING("LastReplicationType", "q", last_type),
	SD_BUS_PROPERTY("FailedOverReplicationType", "q", get_zero, 0, SD_BUS_VTABLE_PROPERTY_CONST),
	/* when the replica last said that a pass is durable */
	CHANGING("LastApplyTime", "t", last_sent_time_us),
	CHANGING("LastPoint", "t", last_point),
	CHANGING("LastPass", "t", last_pass),
	CHANGING("InitialReplicationComplete", "b", initial_complete),
	/*
	 * "blkcbt": the module of that name tells what changed. "compare": it is not loaded, or
	 * cannot track a disk, as the reason says and what to do; each pass compares all of the
	 * disks, and its point has the consistency "none" unless it is proven that nothing wrote
	 * meanwhile. "": of a replica.
	 */
	CHANGING("Tracking", "s", tracking),
	CHANGING("TrackingReason", "s", tracking_reason),
	/*
	 * bytes written and not yet cut: lost if we failed over now; 2^64 - 1: not known, as
	 * nothing is tracked
	 */
	MOVING("PendingReplicationSize", "t", pending_bytes),
	SD_BUS_PROPERTY("Disks", "a(sstutu)", get_disks, 0, 0),
	/* the job that works on it, "/": none */
	CHANGING("Job", "o", job),
	/*
	 * since the relationship was made: durable passes, failed ones, bytes of disk and on the
	 * wire
	 */
	CHANGING("ReplicationSuccessCount", "t", passes),
	CHANGING("ReplicationFailureCount", "t", failures),
	CHANGING("ReplicationSize", "t", bytes),
	CHANGING("WireSize", "t", wire_bytes),
	/* the newest durable pass: bytes of disk, on the wire, milliseconds */
	CHANGING("LastPassSize", "t", last_bytes),
	CHANGING("LastPassWireSize", "t", last_wire_bytes),
	CHANGING("LastPassMilliseconds", "t", last_milliseconds),
	/*
	 * replica only: number of points; primary connected; removed by its primary; pass being
	 * received
	 */
	CHANGING("RecoveryPoints", "u", points),
	/* tests that stand on points; the point that it is failed over to, 0: it is not */
	CHANGING("TestReplicaSystems", "u", tests),
	CHANGING("FailoverPoint", "t", failover_point),
	/* of its file system, by the points of a replica */
	MOVING("UsedBytes", "t", used_bytes),
	CHANGING("Connected", "b", connected),
	CHANGING("Released", "b", released),
	CHANGING("ReceivingPass", "t", receiving_pass),
	MOVING("ReceivingDoneBytes", "t", receiving_done_bytes),
	MOVING("ReceivingTotalBytes", "t", receiving_total_bytes),
	SD_BUS_VTABLE_END
};

static int find(sd_bus *bus, const char *path, const char *interface, void *userdata, void **found,
		sd_bus_error *error)
{
	struct relationship *r = relationship_at(userdata, path);

	if (!r)
		return 0;
	relationship_refresh(r);
	*found = &r->view;
	return 1;
}

static int enumerate(sd_bus *bus, const char *prefix, void *userdata, char ***nodes,
		     sd_bus_error *error)
{
	struct service *service = userdata;
	struct relationship *r;
	size_t count = 0;
	char **paths;

	for (r = service->relationships; r; r = r->next)
		count++;
	paths = calloc(count + 1, sizeof(*paths));
	if (!paths)
		return -ENOMEM;
	count = 0;
	for (r = service->relationships; r; r = r->next) {
		paths[count] = strdup(r->path);
		count += paths[count] != NULL;
	}
	*nodes = paths;		/* freed by the caller, with the strings */
	return 0;
}

int relationship_object_register(struct service *service)
{
	int rc = sd_bus_add_fallback_vtable(service->bus, NULL, PREFIX, INTERFACE, vtable, find,
					    service);

	return rc < 0 ? rc :
			sd_bus_add_node_enumerator(service->bus, NULL, PREFIX, enumerate, service);
}

void relationship_object_added(struct relationship *r)
{
	sd_bus_emit_object_added(r->service->bus, r->path);
}

void relationship_object_changed(struct relationship *r)
{
	sd_bus_emit_properties_changed(r->service->bus, r->path, INTERFACE, "ReplicationState",
				       "ReplicationHealth", "HealthReason", "ReplicationInterval",
				       "RecoveryConnectionPoint", "RecoveryServerPortNumber",
				       "CompressionEnabled", "MaximumRate", "AutoResynchronizeEnabled",
				       "AutoResynchronizeIntervalStart", "AutoResynchronizeIntervalEnd",
				       "ScheduledStartTime", "LastReplicationType", "LastApplyTime",
				       "LastReplicationTime",
				       "LastPoint", "LastPass", "InitialReplicationComplete", "Job",
				       "ReplicationSuccessCount", "ReplicationFailureCount",
				       "ReplicationSize", "WireSize", "LastPassSize", "LastPassWireSize",
				       "LastPassMilliseconds", "RecoveryPoints", "TestReplicaSystems", "FailoverPoint", "Connected", "Released",
				       "ReceivingPass", "Tracking", "TrackingReason", NULL);
}

void relationship_object_removed(struct relationship *r)
{
	sd_bus_emit_object_removed(r->service->bus, r->path);
}
