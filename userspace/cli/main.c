// SPDX-License-Identifier: GPL-2.0-or-later
/* vmreplica: finds the subcommand. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../common/version.h"
#include "cli.h"
#include "client.h"

static const struct command {
	const char *name;
	int (*main)(int argc, char **argv);
	const char *summary;
} commands[] = {
	{ "enable", cli_enable, "track a VM's disks, to be replicated to a host" },
	{ "start-replication", cli_start, "send the whole of the disks, then follow the changes" },
	{ "replicate", cli_replicate, "make a point at once" },
	{ "status", cli_status, "what is replicated, and whether it is well" },
	{ "statistics", cli_statistics, "how passes went" },
	{ "jobs", cli_jobs, "what runs, and what ended lately" },
	{ "points", cli_points, "a replica's points in time" },
	{ "modify", cli_modify, "change settings of a relationship" },
	{ "resynchronize", cli_resynchronize, "compare both sides and send what differs" },
	{ "verify", cli_verify, "compare both sides while they are in use, and repair" },
	{ "import", cli_import, "take in a first copy that was exported" },
	{ "test-failover", cli_test_failover, "on the replica: try a point out, replication goes on" },
	{ "failover", cli_failover, "on the replica: the machine is to run there" },
	{ "revert", cli_revert, "throw a failover away, and replicate on" },
	{ "commit", cli_commit, "make a failover final" },
	{ "reverse", cli_reverse, "replicate a machine that was failed over back" },
	{ "suspend", cli_suspend, "send nothing until resumed" },
	{ "resume", cli_resume, "go on" },
	{ "cancel", cli_cancel, "cancel a job" },
	{ "test-connection", cli_test_connection, "does a replica answer there?" },
	{ "disable", cli_disable, "end a VM's replication" },
};

static void help(void)
{
	unsigned int i;

	printf("Usage: vmreplica [--bus ADDRESS] COMMAND [ARGUMENT...]\n"
	       "Replicate the disks of virtual machines to another host.\n\n");
	for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		printf("  %-18s %s\n", commands[i].name, commands[i].summary);
	printf("\n`vmreplica COMMAND --help` says more. It speaks to vmreplicad over the system's D-Bus, or\n"
	       "the one at ADDRESS.\n\n"
	       "To begin:\n"
	       "  vmreplica enable web1 --disk /dev/vg0/web1 --to backup.example.org\n"
	       "  vmreplica start-replication web1\n"
	       "  vmreplica status\n");
}

static int usage(const char *what, const char *which)
{
	struct err e;

	err_set(&e, -EINVAL, "%s%.60s: see `vmreplica --help`", what, which);
	return cli_fail(&e);
}

static bool asks_for_help(int argc, char **argv)
{
	int i;

	for (i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
			return true;
	}
	return false;
}

static int run(const struct command *command, const char *bus, int argc, char **argv)
{
	struct err e = { 0 };

	/* Help needs no service. */
	if (!asks_for_help(argc, argv) && client_open(bus, &e))
		return cli_fail(&e);
	return command->main(argc, argv);
}

int main(int argc, char **argv)
{
	const char *bus = NULL;
	unsigned int i;
	int first = 1;

	if (argc > 2 && !strcmp(argv[1], "--bus")) {
		bus = argv[2];
		first = 3;
	}
	if (argc == first)
		return usage("a command is missing", "");
	if (!strcmp(argv[first], "--help") || !strcmp(argv[first], "-h") || !strcmp(argv[first], "help")) {
		help();
		return 0;
	}
	if (!strcmp(argv[first], "--version")) {
		printf("vmreplica " VMREPLICA_VERSION "\n");
		return 0;
	}
	for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (!strcmp(commands[i].name, argv[first]))
			return run(&commands[i], bus, argc - first, argv + first);
	}
	return usage("there is no command ", argv[first]);
}
