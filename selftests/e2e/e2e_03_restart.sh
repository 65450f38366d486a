#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Daemons that end, by a signal or in the middle of a pass, and a primary that
# is booted anew: what is sent afterwards, and that nothing is lost. Prints TAP.
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

readonly MIB=1048576

# What was there went out, and nothing is under way.
caught_up() { look "$1" && saw .pending_bytes 0 && saw .job null; }

# restart VM: the daemon starts and makes a pass by itself
restart() {
	start_daemon primary
	until_true 180 caught_up "$1"
}

# sent_at_most VM BYTES: since $sent and $wire; frames take some room as well
sent_at_most() {
	local most=$2
	look "$1"
	at_most "$most" $(($(saw_field .sent_bytes) - sent)) && at_most $((most + most / 8 + 65536)) $(($(saw_field .wire_bytes) - wire))
}

remember_sent() {
	look "$1"
	sent=$(saw_field .sent_bytes) wire=$(saw_field .wire_bytes)
}

first_copy() {
	check "enable" p vmreplica enable vm1 --disk /dev/vda --to replica --interval 3600
	scribble /dev/vda 0 24
	check "start-replication" p vmreplica start-replication vm1 || finish
	check "the point is the disk" same vm1 0
}

ended() {
	remember_sent vm1
	scribble /dev/vda 2 1
	check "the primary's daemon ends on SIGTERM" end_daemon primary TERM
	scribble /dev/vda 30 1
	check "it starts again, and catches up by itself" restart vm1
	check "the relationship is as it was" saw .state replicating
	check "no more than what changed was sent" sent_at_most vm1 $((2 * MIB))
	check "the point is the disk" same vm1 0
}

# A writer goes on through all of it.
killed() {
	slow 2mbit
	remember_sent vm1
	scribble /dev/vda 0 30
	on primary "fio --name=load --filename=/dev/vda --direct=1 --rw=randwrite --bs=4k --offset=40M --size=8M \
		--time_based --runtime=300 --rate_iops=200 >/dev/null 2>&1 & echo \$! >/run/fio.pid"
	check "killed: a pass begins" p vmreplica replicate vm1 --no-wait
	check "killed: it sends" until_true 180 half_way vm1
	end_daemon primary KILL
	slow 1gbit
	# shellcheck disable=SC2016 # for the guest's shell
	on primary 'kill $(cat /run/fio.pid); while [ -e /proc/$(cat /run/fio.pid) ]; do sleep 0.1; done'
	check "killed: the daemon starts again, and catches up by itself" restart vm1
	check "killed: no more than what changed was sent" sent_at_most vm1 $((38 * MIB))
	check "killed: the point is the disk" same vm1 0
}

replica_ended() {
	end_daemon replica TERM
	scribble /dev/vda 1 1
	start_daemon replica
	remember_sent vm1
	check "the replica's daemon was restarted: replicate" p vmreplica replicate vm1
	check "the replica's daemon was restarted: the change was sent" sent_at_most vm1 $MIB
	check "the replica's daemon was restarted: the point is the disk" same vm1 0
}

checkpoint() { p jq '.disks[0].checkpoint_bytes' /var/lib/vmreplica/primary/vm2.json; }
checkpointed() { at_least 1 "$(checkpoint)"; }
complete() { is vm2 .initial_complete true && at_rest vm2; }

# The disk begins with 300 MiB of zeros, which are no work; then come 60 MiB that are.
initial() {
	local at
	check "initial: enable" p vmreplica enable vm2 --disk /dev/vdb --to replica --interval 3600
	scribble /dev/vdb 300 60
	slow 4mbit
	check "initial: start" p vmreplica start-replication vm2 --no-wait
	check "initial: a checkpoint" until_true 180 checkpointed
	at=$(checkpoint)
	check "initial: the daemon ends on SIGTERM" end_daemon primary TERM
	slow 1gbit
	scribble /dev/vdb 5 1
	start_daemon primary
	check "initial: it goes on by itself" until_true 180 complete
	check "initial: from where it was" at_most $((384 * MIB - at + MIB)) "$(p vmreplica jobs --json |
		jq '[.jobs[] | select(.vm == "vm2" and .type_code == 94)][-1].total_bytes')"
	check "initial: the point is the disk" same vm2 1
}

critical() { is vm1 .state critical; }

# The kernel's maps are gone with it.
rebooted() {
	local before old
	check "rebooted: a pass before" p vmreplica replicate vm1
	before=$(count vm1) old=$(point vm1 0 .disks[0].file)
	r qemu-img convert -O raw "$old" "$guests_dir/old"
	check "rebooted: the primary is there again" reboot_primary
	check "rebooted: the relationship is critical" until_true 180 critical
	remember_sent vm1
	check "rebooted: and says why, and what to do" grep \
		'^tracking was interrupted (.*): run `vmreplica resynchronize vm1`, which compares both sides' \
		<(saw_field .health_reason)
	scribble /dev/vda 10 1
	refused "rebooted: replicate" 'tracking was interrupted' p vmreplica replicate vm1
	sleep 6
	check "rebooted: nothing is copied by itself" sent_at_most vm1 0
	check "rebooted: start-replication" p vmreplica start-replication vm1
	check "rebooted: it is well" is vm1 .health ok
	check "rebooted: the point is the disk" same vm1 0
	check "rebooted: one point more" equal $((before + 1)) "$(count vm1)"
	check "rebooted: the oldest is as it was" r qemu-img compare -f raw -F qcow2 "$guests_dir/old" "$old"
}

start_hosts 64M 384M
first_copy
ended
killed
replica_ended
initial
rebooted
stop_hosts
finish
