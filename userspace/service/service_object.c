// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <string.h>

#include "answer.h"
#include "failover_object.h"
#include "failovers.h"
#include "guard.h"
#include "listing.h"
#include "operate.h"
#include "points.h"
#include "service_object.h"
#include "setup.h"
#include "statistics.h"

#define PATH		"/org/vmreplica/ReplicationService"
#define INTERFACE	"org.vmreplica.ReplicationService"

static const struct method {
	const char *name;
	const char *action;
	sd_bus_message_handler_t run;
} methods[] = {
	{ "CreateReplicationRelationship", GUARD_CONFIGURE, setup_create },
	{ "ReverseReplicationRelationship", GUARD_CONFIGURE, setup_reverse },
	{ "ModifyReplicationSettings", GUARD_CONFIGURE, setup_modify },
	{ "RemoveReplicationRelationship", GUARD_CONFIGURE, setup_remove },
	{ "TestReplicationConnection", GUARD_OPERATE, setup_test_connection },
	{ "StartReplication", GUARD_OPERATE, operate_start },
	{ "ImportInitialReplica", GUARD_OPERATE, operate_import },
	{ "Resynchronize", GUARD_OPERATE, operate_resynchronize },
	{ "VerifyReplica", GUARD_OPERATE, operate_verify },
	{ "Replicate", GUARD_OPERATE, operate_replicate },
	{ "RequestReplicationStateChange", GUARD_OPERATE, operate_request_state },
	{ "InitiateFailover", GUARD_OPERATE, failover_initiate },
	{ "RevertFailover", GUARD_OPERATE, failover_revert },
	{ "CommitFailover", GUARD_OPERATE, failover_commit },
	{ "TestReplicaSystem", GUARD_OPERATE, failover_test },
	{ "EndTestReplicaSystem", GUARD_OPERATE, failover_end_test },
	{ "CancelJob", GUARD_OPERATE, operate_cancel_job },
	{ "ResetReplicationStatistics", GUARD_OPERATE, statistics_reset },
};

static int refuse(sd_bus_message *m)
{
	return answer_code(m, SERVICE_ACCESS_DENIED, "only root, and whom polkit grants it, may do this");
}

/* A change: by who may do it. */
static int on_change(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	const char *name = sd_bus_message_get_member(m);
	unsigned int i;

	for (i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
		if (!strcmp(methods[i].name, name))
			return guard_call(userdata, m, methods[i].action, methods[i].run, refuse);
	}
	return -ENOENT;
}

/*
 * Changes answer a return value (SERVICE_* of service.h), the job that was started with
 * 4096 ("/": none) and a sentence ("": none). Microseconds are since 1970 UTC.
 */
#define RESULT SD_BUS_PARAM(ReturnValue) SD_BUS_PARAM(Job) SD_BUS_PARAM(Message)
#define CHANGE(name, in, params) \
	SD_BUS_METHOD_WITH_NAMES(name, in, params, "uos", RESULT, on_change, \
				 SD_BUS_VTABLE_UNPRIVILEGED)

static const sd_bus_vtable vtable[] = {
	SD_BUS_VTABLE_START(0),
	/*
	 * Settings: those of settings.c; IncludedDisks and RecoveryConnectionPoint must be there.
	 * The job ends when the replica has answered and the disks are tracked.
	 */
	CHANGE("CreateReplicationRelationship", "sa{sv}",
	       SD_BUS_PARAM(ComputerSystem) SD_BUS_PARAM(ReplicationSettingData)),
	/*
	 * Where the VM was failed over to, for good: it is replicated back from the disks that it
	 * runs from now, named in the order of GetFailoverSystems, to its old primary, which must
	 * have given that role up. The job ends as that of CreateReplicationRelationship; a seeded
	 * initial replication begins with its end.
	 */
	CHANGE("ReverseReplicationRelationship", "sa{sv}",
	       SD_BUS_PARAM(ComputerSystem) SD_BUS_PARAM(ReplicationSettingData)),
	/* What is not named stays. IncludedDisks cannot be changed. */
	CHANGE("ModifyReplicationSettings", "sa{sv}",
	       SD_BUS_PARAM(ComputerSystem) SD_BUS_PARAM(ReplicationSettingData)),
	/* DeletePoints: also what this host keeps as the VM's replica. */
	CHANGE("RemoveReplicationRelationship", "sb",
	       SD_BUS_PARAM(ComputerSystem) SD_BUS_PARAM(DeletePoints)),
	/*
	 * The job ends when a replica has answered; port 0 is 7766. The last three are for
	 * Hyper-V's callers and have no effect.
	 */
	CHANGE("TestReplicationConnection", "sqqsb",
	       SD_BUS_PARAM(RecoveryConnectionPoint) SD_BUS_PARAM(RecoveryServerPortNumber)
		       SD_BUS_PARAM(AuthenticationType) SD_BUS_PARAM(CertificateThumbPrint)
			       SD_BUS_PARAM(BypassProxyServer)),
	/*
	 * Type 1 network, 2 export, 3 seeded. The job ends when the first point is on the replica.
	 * StartTime as datetime_parse() reads it, up to 7 days ahead, "": at once; called again
	 * while the job waits for its time, it moves it. Ignored for type 2.
	 */
	CHANGE("StartReplication", "sqss",
	       SD_BUS_PARAM(ComputerSystem) SD_BUS_PARAM(InitialReplicationType)
		       SD_BUS_PARAM(InitialReplicationExportLocation) SD_BUS_PARAM(StartTime)),
	/* On the replica: what StartReplication of type 2 has exported. */
	CHANGE("ImportInitialReplica", "ss",
	       SD_BUS_PARAM(ComputerSystem) SD_BUS_PARAM(InitialReplicationImportLocation)),
	/* Compares both sides and sends what differs. */
	CHANGE("Resynchronize", "ss", SD_BUS_PARAM(ComputerSystem) SD_BUS_PARAM(StartTime)),
	/*
	 * Compares all of the disks, in use, with what the replica has, and sends again what that
	 * has otherwise than it was sent. The job's property Differences names it.
	 */
	CHANGE("VerifyReplica", "s", SD_BUS_PARAM(ComputerSystem)),
	/* One more point at once. */
	CHANGE("Replicate", "s", SD_BUS_PARAM(ComputerSystem)),
	/*
	 * 7 suspends, 3 and 2 resume, 1 gives an initial replication up, 9 a resynchronization.
	 * 4 starts a job that prepares a planned failover; 3 takes it back.
	 */
	CHANGE("RequestReplicationStateChange", "sq",
	       SD_BUS_PARAM(ComputerSystem) SD_BUS_PARAM(RequestedState)),
	/*
	 * On the replica. Point: its id, "": the newest. The job ends when the VM's disks are
	 * there, as GetFailoverSystems says; from then on its primary is refused.
	 */
	CHANGE("InitiateFailover", "ss", SD_BUS_PARAM(ComputerSystem) SD_BUS_PARAM(RecoveryPoint)),
	/* Throws away what was written to those disks, which must be closed. */
	CHANGE("RevertFailover", "s", SD_BUS_PARAM(ComputerSystem)),
	/* For good: newer points go. */
	CHANGE("CommitFailover", "s", SD_BUS_PARAM(ComputerSystem)),
	/* Disks of their own on a point, under a name, while passes go on. */
	CHANGE("TestReplicaSystem", "sss",
	       SD_BUS_PARAM(ComputerSystem) SD_BUS_PARAM(RecoveryPoint)
		       SD_BUS_PARAM(ResultingSystem)),
	CHANGE("EndTestReplicaSystem", "ss",
	       SD_BUS_PARAM(ComputerSystem) SD_BUS_PARAM(ResultingSystem)),
	CHANGE("CancelJob", "o", SD_BUS_PARAM(Job)),
	CHANGE("ResetReplicationStatistics", "s", SD_BUS_PARAM(ComputerSystem)),
	/* Statistics: one dictionary with Hyper-V's keys. HealthIssues: health and sentence. */
	SD_BUS_METHOD_WITH_NAMES("GetReplicationStatistics", "s", SD_BUS_PARAM(ComputerSystem),
				 "uoaa{sv}a(qs)s",
				 SD_BUS_PARAM(ReturnValue) SD_BUS_PARAM(Job)
					 SD_BUS_PARAM(Statistics) SD_BUS_PARAM(HealthIssues)
						 SD_BUS_PARAM(Message),
				 statistics_get, SD_BUS_VTABLE_UNPRIVILEGED),
	/*
	 * Id, cut in microseconds, consistency, disks (name, source, file, format); oldest first.
	 */
	SD_BUS_METHOD_WITH_NAMES("GetRecoveryPoints", "s", SD_BUS_PARAM(ComputerSystem),
				 LISTING_SIGNATURE,
				 SD_BUS_PARAM(ReturnValue) SD_BUS_PARAM(Points)
					 SD_BUS_PARAM(Message),
				 points_get, SD_BUS_VTABLE_UNPRIVILEGED),
	/*
	 * On the replica. Name of the test ("": the failover), when it was made in microseconds, id of
	 * its point, disks to be written to (name, source, file, format).
	 */
	SD_BUS_METHOD_WITH_NAMES("GetFailoverSystems", "s", SD_BUS_PARAM(ComputerSystem),
				 LISTING_SIGNATURE,
				 SD_BUS_PARAM(ReturnValue) SD_BUS_PARAM(Systems)
					 SD_BUS_PARAM(Message),
				 failovers_get, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_VTABLE_END
};

int service_object_register(struct service *service)
{
	return sd_bus_add_object_vtable(service->bus, NULL, PATH, INTERFACE, vtable, service);
}
