#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The replica host's disk is full, and then it is not: one host that replicates to itself, with a
# small file system for the replica. Also: a disk that is trimmed costs next to nothing, and points
# are thinned as the settings say. Prints TAP.
#
# time-limit: 2400
#
# shellcheck disable=SC2317 # check() calls functions by their names
set -uo pipefail

here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
if [[ ! ${GUEST-} ]]; then
	exec "$here/../../tools/guest" --kernel "${KERNEL:-6.1}" --service --timeout 2300 \
		--memory 1536M --disk 64M --disk store:128M -- "$here/$(basename "$0")"
fi
# shellcheck source=selftests/e2e/e2e.bash
. "$here/e2e.bash"

p() { "$@"; }
r() { "$@"; }

store=/var/lib/vmreplica
full='the replica host.s disk is full: make room in'

same() { qemu-img compare -T none -f raw -F qcow2 /dev/vda "$(point vm1 -1 .disks[0].file)"; }
saved_is() { qemu-img compare -f raw -F qcow2 "$e2e_work/before" "$(point vm1 -1 .disks[0].file)"; }
primary_says() { field vm1 .health_reason | grep -q "$1"; }
replica_says() { replica_field vm1 .health_reason | grep -q "$1"; }
replica_is() { equal "$2" "$(replica_field vm1 "$1")"; }

# It is tried again and again, so there may be some just now.
no_parts() { equal 0 "$(find "$store/replica" -name '*.part' | wc -l)"; }

begin() {
	check "enable, with a history" vmreplica enable vm1 --disk /dev/vda --to 127.0.0.1 --interval 3600 \
		--no-compress --history 2@30m
	check "the history is shown" is vm1 '| "\(.history_points) \(.history_spacing)"' '2 1800'
	scribble /dev/vda 0 40
	check "start-replication" vmreplica start-replication vm1 || finish
	check "what it takes is told" until_true 180 eval 'at_least 41943040 "$(replica_field vm1 .used_bytes)"'
	cp --sparse=always /dev/vda "$e2e_work/before"
}

becomes_full() {
	# Something else fills the file system up to less than the pass needs, and more than is reserved.
	local left
	left=$(($(stat -f -c '%a * %S' $store) / 1048576))
	fallocate -l $((left - 12))M $store/ballast
	scribble /dev/vda 0 24
	refused "replicate: there is no room" "$full" vmreplica replicate vm1
	check "the primary is critical, and says why and what to do" until_true 180 primary_says "$full"
	check "so is its state" is vm1 .health critical
	check "the replica says the same" until_true 180 replica_says "$full"
	check "and is critical" replica_is .health critical
	check "the point is what it was" saved_is
	check "nothing is left of the pass" until_true 180 no_parts
}

has_room() {
	rm $store/ballast
	check "with room it goes on by itself" until_true 300 is vm1 .health ok
	check "the point is the disk" same
	check "the replica is well" until_true 180 replica_is .health ok
}

# All is refused before a byte is sent when next to nothing is left.
all_but_full() {
	local left
	left=$(($(stat -f -c '%a * %S' $store) / 1048576))
	fallocate -l $((left - 2))M $store/ballast
	scribble /dev/vda 0 1
	refused "replicate: less than the reserve is left" "MiB are left" vmreplica replicate vm1
	rm $store/ballast
	check "with room it goes on by itself again" until_true 300 is vm1 .health ok
	check "the point is the disk again" same
}

trimmed() {
	local file
	blkdiscard -f /dev/vda
	check "after a trim: replicate" vmreplica replicate vm1
	check "after a trim: next to nothing is on the wire" at_most 65536 "$(field vm1 .last_pass_wire_bytes)"
	file=$(point vm1 -1 '.disks[0].file')
	check "after a trim: the point takes next to nothing" at_most 65536 $(($(stat -c '%b * %B' "$file")))
	check "after a trim: the point is the disk" same
	check "after a trim: it is clean" qemu-img check -q "$file"
}

thinned() { at_most 11 "$(count vm1)"; }

history() {
	local bad=0
	for _ in $(seq 14); do
		dd if=/dev/urandom of=/dev/vda bs=4k count=8 seek=$((RANDOM % 1000)) oflag=direct status=none
		vmreplica replicate vm1 >"$e2e_work/check" 2>&1 || bad=1
	done
	result $bad "14 passes in a row"
	check "what is between points that stay is merged" until_true 180 thinned
	check "the newest point is the disk" same
	check "modify the history" vmreplica modify vm1 --history 0
	check "a pass with that" vmreplica replicate vm1
	check "the newest point is left" until_true 180 eval 'equal 1 "$(count vm1)"'
	check "and is the disk" same
}

begin
becomes_full
has_room
all_but_full
trimmed
history
finish
