// SPDX-License-Identifier: GPL-2.0-or-later
#include "names.h"

const char *names_state(unsigned int state)
{
	switch (state) {
	case 0: return "disabled";
	case 1: return "ready";
	case 2: return "initial-replication";
	case 3: return "replicating";
	case 4: return "prepared";
	case 5: return "recovered";
	case 6: return "committed";
	case 7: return "suspended";
	case 8: return "critical";
	case 9: return "waiting-to-resynchronize";
	case 10: return "resynchronizing";
	case 11: return "resynchronization-suspended";
	case 12: return "failing-over";
	default: return "unknown";
	}
}

const char *names_health(unsigned int health)
{
	switch (health) {
	case 1: return "ok";
	case 2: return "warning";
	case 3: return "critical";
	default: return "unknown";
	}
}

const char *names_job_type(unsigned int type)
{
	switch (type) {
	case 91: return "enable";
	case 93: return "disable";
	case 94: return "start-replication";
	case 95: return "import";
	case 97: return "failover";
	case 98: return "revert";
	case 99: return "commit";
	case 100: return "prepare-failover";
	case 102: return "test-failover";
	case 103: return "end-test-failover";
	case 104: return "reverse";
	case 105: return "replicate";
	case 107: return "resynchronize";
	case 112: return "verify";
	case 115: return "test-connection";
	case 118: return "export";
	default: return "unknown";
	}
}

const char *names_job_state(unsigned int state)
{
	switch (state) {
	case 2: return "new";
	case 3: return "starting";
	case 4: return "running";
	case 7: return "completed";
	case 8: return "terminated";
	case 10: return "exception";
	default: return "unknown";
	}
}
