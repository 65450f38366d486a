#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Two hosts, a machine with a database: it is failed over from alpha to beta, replicated back
# to alpha, failed over to there, and replicated to beta again. What was on the way as a pass
# is there each time, only what differs is sent, and there are never two primaries. Prints TAP.
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

# The guests' names; where the machine is, and where it is replicated to.
alpha=primary beta=replica
from=$alpha to=$beta
readonly seeds=/var/lib/vmreplica/replica/.seed/vm1
# A full copy is 128 MiB, most of it not to be compressed.
readonly LITTLE=$((40 << 20))

p() { on "$from" "$(printf '%q ' "$@")"; }
r() { on "$to" "$(printf '%q ' "$@")"; }

start_both() {
	guests_init
	trap 'guests_kill; rm -rf "$e2e_work"' EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
	truncate -s 128M "$guests_dir/disk0"
	disks=(--disk "$guests_dir/disk0" --disk store:3G --timeout 2300)
	start_primary
	guests_start replica --kernel "${KERNEL:-6.1}" --service --disk store:3G --timeout 2300
	guests_ready primary replica
}

# --- the machine, where it is ------------------------------------------------------------

bank() { p "$root/tools/demo.d/bank" "$@"; }

make_machine() {
	p mkfs.ext4 -q -F /dev/vda && p mount /dev/vda /mnt && bank create /mnt/bank.db &&
		p dd if=/dev/urandom of=/mnt/files bs=1M count=40 status=none && p sync
}

start_booking() {
	p rm -f /root/bookings /root/stop /root/ended
	on "$from" "($root/tools/demo.d/bank run /mnt/bank.db /root/bookings /root/stop >/root/errors 2>&1; touch /root/ended) &"
	until_true 120 p test -s /root/bookings
}

stop_booking() {
	p touch /root/stop
	until_true 120 p test -e /root/ended
	p umount /mnt
}

booked() { p tail -n 1 /root/bookings; }

# attach HOST: the disk that the machine was failed over to there is its /dev/nbd0
attach() {
	on "$1" "modprobe nbd && qemu-nbd --connect=/dev/nbd0 -f qcow2 \$(vmreplica failover vm1 --list --json |
		jq -r '.systems[] | select(.kind == \"failover\").disks[0].file') || exit 1
		for i in \$(seq 1800); do [ \$(blockdev --getsize64 /dev/nbd0) -gt 0 ] && exit 0; sleep 0.1; done; exit 1"
}

# opens AT-LEAST: the machine starts where it is now, and its database has that booking
opens() {
	p mount /dev/nbd0 /mnt && at_least "$1" "$(bank verify /mnt/bank.db)"
}

# same_disks DEVICE: of the host that the machine was on, and what it was failed over to
same_disks() {
	rm -f "$guests_dir/front" "$guests_dir/back"
	p dd if="$1" of="$guests_dir/front" bs=1M status=none &&
		on "$to" "qemu-img convert -f qcow2 -O raw \$(vmreplica failover vm1 --list --json |
			jq -r '.systems[0].disks[0].file') $guests_dir/back" &&
		cmp "$guests_dir/front" "$guests_dir/back"
}

moves() { read -r from to <<<"$to $from"; }

# --- what a host that was the primary has to do -------------------------------------------

# leave_seed DEVICE: what it has of the disk
leave_seed() { p mkdir -p "$seeds" && p dd if="$1" of="$seeds/vda.raw" bs=1M status=none; }

# role_here ROLE: of the host that the machine is on
role_here() {
	p vmreplica status vm1 --json |
		jq -r ".relationships[] | select(.role == \"$1\") | \"\(.role) \(.state_code) \(.health)\""
}

replicates() { is vm1 .state replicating; }
sent_little() { at_most "$LITTLE" "$(field vm1 .wire_bytes)"; }

# --- the test -----------------------------------------------------------------------------

begin() {
	check "two hosts" start_both || finish
	check "a machine with a database" make_machine || finish
	check "enable" p vmreplica enable vm1 --disk /dev/vda --to $beta --interval 3600
	check "start-replication" p vmreplica start-replication vm1 || finish
	check "the database is in use" start_booking
}

there() {
	local acknowledged
	refused "reverse before a failover" 'is not failed over' \
		r vmreplica reverse vm1 --disk /dev/vda --to $alpha
	refused "reverse where there is no replica" 'no replica' \
		p vmreplica reverse other --disk /dev/vda --to $alpha
	acknowledged=$(booked)
	check "there: a pass under load" p vmreplica replicate vm1
	check "there: the machine ends on alpha" stop_booking
	check "there: failover" r vmreplica failover vm1
	refused "reverse before the failover is final" 'commit' \
		r vmreplica reverse vm1 --disk /dev/vda --to $alpha
	check "there: commit" r vmreplica commit vm1
	check "there: its disk is a device" attach $beta
	refused "reverse without a disk" 'disk is missing' r vmreplica reverse vm1 --to $alpha
	check "alpha refuses to be the replica while it is a primary" \
		fails_saying 'is itself the primary of vm1' r vmreplica reverse vm1 --disk /dev/nbd0 --to $alpha
	check "alpha leaves what it has as a seed" leave_seed /dev/vda
	check "alpha gives its role up" p vmreplica disable vm1
	moves
	check "there: the machine starts, with all that was acknowledged" opens "$acknowledged"
	check "there: beta replicates back by itself" until_true 300 replicates
	check "there: it sent what differs, not all" sent_little
	check "there: beta has both roles, and is well" equal 'replica 6 ok' "$(role_here replica)"
	refused "reverse twice" 'already' p vmreplica reverse vm1 --disk /dev/nbd0 --to $alpha
}

back() {
	local acknowledged last
	check "back: the database is in use on beta" start_booking
	acknowledged=$(booked)
	check "back: a pass under load" p vmreplica replicate vm1
	check "back: the replica has it as a point" at_least 2 "$(count vm1)"
	check "back: the machine ends on beta" stop_booking
	last=$(booked)
	check "back: there was something booked meanwhile" at_least "$acknowledged" "$last"
	check "back: planned failover, the last pass" p vmreplica failover vm1 --planned
	check "back: failover to alpha" r vmreplica failover vm1
	check "back: nothing is lost, bit for bit" same_disks /dev/nbd0
	check "back: commit" r vmreplica commit vm1
	check "back: its disk is a device on alpha" attach $alpha
	check "beta leaves what it has as a seed" leave_seed /dev/nbd0
	check "beta closes the disk" p qemu-nbd --disconnect /dev/nbd0
	check "beta gives its role up" p vmreplica disable vm1
	refused "what beta was failed over to is not deleted by a command" 'by hand' \
		p vmreplica disable vm1 --delete-points
	check "but by hand" p rm -r /var/lib/vmreplica/replica/vm1
	moves
	check "back: the machine starts, with all that was booked" opens "$last"
}

again() {
	check "again: the database is in use on alpha" start_booking
	check "again: reverse, under load" p vmreplica reverse vm1 --disk /dev/nbd0 --to $beta
	check "again: it replicates" is vm1 .state replicating
	check "again: it sent what differs, not all" sent_little
	check "again: a pass" p vmreplica replicate vm1
	check "again: the machine ends" stop_booking
	check "again: the last pass" p vmreplica failover vm1 --planned
	check "again: failover to beta" r vmreplica failover vm1
	check "again: nothing is lost, bit for bit" same_disks /dev/nbd0
	check "alpha closes the disk" p qemu-nbd --disconnect /dev/nbd0
}

begin
there
back
again
stop_hosts
finish
