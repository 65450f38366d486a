#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Two hosts on a link: passes that come by themselves, suspend and resume, cancel,
# and a link or a replica that goes away in the middle of a pass. Prints TAP.
#
# time-limit: 2400
#
# shellcheck disable=SC2317 # check() calls functions by their names
set -uo pipefail

here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
root=$(cd "$here/../.." && pwd)
# shellcheck source=selftests/e2e/e2e.bash
. "$here/e2e.bash"
# shellcheck source=selftests/e2e/hosts.bash
. "$here/hosts.bash"

nothing_pending() { is "$1" .pending_bytes 0 && at_rest "$1"; }
well() { is "$1" .health ok; }

# A pass has ended that began after now: the one that runs may have begun before.
passes_since() { at_least $(($2 + 2)) "$(field "$1" .last_pass)"; }

by_themselves() {
	local last
	check "enable with an interval of 2 s" p vmreplica enable vm1 --disk /dev/vda --to replica --interval 2
	scribble /dev/vda 0 30
	check "start-replication" p vmreplica start-replication vm1 || finish
	check "the point is the disk" same vm1 0
	last=$(field vm1 .last_pass)
	scribble /dev/vda 10 2
	check "passes come by themselves" until_true 180 passes_since vm1 "$last"
	check "the newest point is the disk" same vm1 0
	look vm1
	# On a busy machine cycles of 2 s are missed, and health says so.
	check "it replicates" saw .state replicating
	check "both say the same" equal "$(saw_field .relationship) true" "$(replica_field vm1 '| "\(.relationship) \(.connected)"')"
}

replica_is_left() { equal false "$(replica_field "$1" .connected)"; }

suspended() {
	local last wire taken
	check "suspend" p vmreplica suspend vm1
	# A pass that was given up when all of it had been sent becomes a point yet.
	check "the replica's end of it ends" until_true 180 replica_is_left vm1
	check "and so does the primary's" until_true 180 at_rest vm1
	taken=$(replica_field vm1 .last_pass)
	look vm1
	check "it says so" saw .state suspended
	last=$(saw_field .last_pass) wire=$(saw_field .wire_bytes)
	scribble /dev/vda 20 3
	sleep 5
	look vm1
	check "suspended: what changes is tracked" saw .pending_bytes 3145728
	check "suspended: there is no pass" saw .last_pass "$last"
	check "suspended: nothing is sent" saw .wire_bytes "$wire"
	check "suspended: the replica got none" equal "$taken" "$(replica_field vm1 .last_pass)"
	refused "replicate while suspended" 'vm1 is suspended' p vmreplica replicate vm1
	check "resume" p vmreplica resume vm1
	check "resumed: it goes out" until_true 180 nothing_pending vm1
	check "resumed: the point is the disk" same vm1 0
	# From here on, its passes would only be in the way.
	check "disable" p vmreplica disable vm1
}

cancelled() {
	local id
	check "a VM with passes on demand" p vmreplica enable vm2 --disk /dev/vdb --to replica --interval 3600
	check "its first copy" p vmreplica start-replication vm2
	slow 2mbit
	scribble /dev/vdb 0 40
	check "replicate --no-wait" grep -q "^job .* was started" <(p vmreplica replicate vm2 --no-wait)
	check "it sends" until_true 180 half_way vm2
	id=$(job vm2 .id)
	check "jobs tells of it" grep -q "^$id .*replicate .*vm2 .*running" <(p vmreplica jobs)
	check "cancel" p vmreplica cancel "$id"
	check "it is terminated" equal terminated "$(job vm2 .state)"
	refused "cancel it again" 'ended already' p vmreplica cancel "$id"
	look vm2
	check "nothing was dropped" at_least 41943040 "$(saw_field .pending_bytes)"
	check "that is no failure" saw .health ok
	check "the replica has no point of it" equal 1 "$(count vm2)"
}

# Fails while the pass is under way; then goes on by itself.
cut_off() {
	check "$1: a pass" p vmreplica replicate vm2 --no-wait
	check "$1: it sends" until_true 180 half_way vm2
	id=$(job vm2 .id)
}

failed() { equal exception "$(job_at "$1" .state)"; }
# job_at NUMBER PATH
job_at() { p vmreplica jobs --json | jq -r --arg id "$1" ".jobs[] | select(.id == \$id)$2"; }

# reported WHAT REASON: what failed is tried again, and may then fail for another one
reported() {
	check "$1: the pass fails" until_true 300 failed "$id"
	check "$1: and says why" grep "$2" <(job_at "$id" .error)
	check "$1: the relationship is critical" is vm2 .health critical
	look vm2
	check "$1: and says why" grep 'replica' <(saw_field .health_reason)
	check "$1: nothing was dropped" at_least 41943040 "$(saw_field .pending_bytes)"
}

back_again() {
	slow 1gbit
	check "$1: it goes on by itself" until_true 180 well vm2
	until_true 180 at_rest vm2
	check "$1: the point is the disk" same vm2 1
}

killed_replica() {
	local id
	cut_off "the replica's daemon is killed"
	end_daemon replica KILL
	reported "the replica's daemon is killed" 'the replica.* closed the connection'
	check "the replica's daemon starts" start_daemon replica
	check "the points of before are there" equal 1 "$(count vm2)"
	back_again "the replica is back"
}

lost_link() {
	local id
	slow 2mbit
	scribble /dev/vdb 5 40
	cut_off "the link is lost"
	link replica down
	reported "the link is lost" 'the replica.* for 30 s'
	link replica up
	back_again "the link is back"
}

start_hosts 64M 64M
by_themselves
suspended
cancelled
killed_replica
lost_link
stop_hosts
finish
