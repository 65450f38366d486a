#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# One host replicates to itself two disks, one with a database that is in use all the time. What
# is damaged in the replica's files is found, named and repaired; what is written meanwhile is
# no damage. Prints TAP.
#
# time-limit: 2400
#
# shellcheck disable=SC2317 # check() calls functions by their names
set -uo pipefail

here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
if [[ ! ${GUEST-} ]]; then
	exec "$here/../../tools/guest" --kernel "${KERNEL:-6.1}" --service --timeout 2300 \
		--memory 1536M --disk 160M --disk 24M --disk store:2G -- "$here/$(basename "$0")"
fi
# shellcheck source=selftests/e2e/e2e.bash
. "$here/e2e.bash"

bank=$here/../../tools/demo.d/bank
mounted=$e2e_work/mount
store=/var/lib/vmreplica/replica/vm1
writer=''

p() { "$@"; }
r() { "$@"; }

# --- the machine -----------------------------------------------------------------------

start_machine() {
	mkfs.ext4 -q -F /dev/vda && mkdir -p "$mounted" && mount /dev/vda "$mounted" &&
		"$bank" create "$mounted/bank.db" && scribble /dev/vdb 0 24
}

start_writer() {
	"$bank" run "$mounted/bank.db" "$e2e_work/bookings" "$e2e_work/stop" &
	writer=$!
	until_true 180 test -s "$e2e_work/bookings"
}

stop_writer() {
	touch "$e2e_work/stop"
	wait "$writer"
	umount "$mounted"
}

last_booking() { tail -n 1 "$e2e_work/bookings"; }

same() {
	qemu-img compare -T none -f raw -F qcow2 "$2" "$(point vm1 -1 ".disks[$1].file")"
}

# --- damage -----------------------------------------------------------------------------

# damage FILE OFFSET: one byte becomes another
damage() {
	local byte
	byte=$(dd if="$1" bs=1 skip="$2" count=1 status=none | od -An -tu1)
	printf '%b' "\\x$(printf %x $((byte ^ 1)))" |
		dd of="$1" bs=1 seek="$2" conv=notrunc,fsync status=none
}

# where OFFSET: sets file and at, where an overlay of vdb has this byte of the disk: not always the
# newest, as the one that brought it may have been no point
where() {
	local top depth
	top=$(point vm1 -1 '.disks[1].file')
	read -r depth at < <(qemu-img map --output=json "$top" | jq -r ".[] |
		select(.start <= $1 and .start + .length > $1) | \"\(.depth) \(.offset + $1 - .start)\"")
	file=$(qemu-img info --backing-chain --output=json "$top" | jq -r ".[$depth].filename")
	[[ $at && $file == *.qcow2 ]]
}

# with_status STATUS COMMAND...: keeps what it printed
with_status() {
	local want=$1 status=0
	shift
	"$@" >"$e2e_work/said" || status=$?
	cat "$e2e_work/said"
	equal "$want" "$status"
}

said() { grep -qxF -e "$1" "$e2e_work/said"; }

# named OFFSET: and nothing else, in JSON
named() {
	jq -e --argjson at "$1" '.job.differences == [{disk: "vdb", offset: $at, bytes: 4096}] and
		.job.difference_bytes == 4096 and .return_value == 4096 and .job.type_code == 112 and
		.job.state == "completed" and (.job.error | test("sent again"))' "$e2e_work/said"
}

# --- the test ---------------------------------------------------------------------------

begin() {
	check "a machine with a database" start_machine || finish
	check "enable" vmreplica enable vm1 --disk /dev/vda --disk /dev/vdb --to 127.0.0.1 --interval 3600
	refused "verify before the first copy" 'not complete' vmreplica verify vm1
	check "start-replication" vmreplica start-replication vm1 || finish
	check "a database that is in use" start_writer
}

# Again and again, until something was written to the disk meanwhile.
nothing_differs() {
	local before after=0
	for _ in $(seq 100); do
		before=$(last_booking)
		with_status 0 vmreplica verify vm1 || return 1
		after=$(last_booking)
		[[ $after -eq $before ]] || return 0
	done
	echo "nothing was booked"
	return 1
}

# Each time something has been written since the last pass, and while both sides are compared.
no_alarm() {
	local i sent
	for i in 1 2 3; do
		sent=$(field vm1 .sent_bytes)
		scribble /dev/vdb $((i * 4)) 1
		check "under load, $i: nothing differs" nothing_differs
		check "under load, $i: it says so" said "vm1: the replica is the same"
		check "under load, $i: what changed was sent" at_least $((sent + 1048576)) "$(field vm1 .sent_bytes)"
	done
}

damaged_base() {
	check "a byte of base.raw changes" damage $store/vdb/base.raw 17825792
	check "base: it is found" with_status 2 vmreplica verify vm1
	check "base: it is named" said "  vdb: 4096 bytes at 17825792"
	check "base: and nothing else is" equal 1 "$(grep -c ' bytes at ' "$e2e_work/said")"
	check "base: the replica is the same again" with_status 0 vmreplica verify vm1
	check "base: and the point is the disk" same 1 /dev/vdb
	check "base: the replication is well" is vm1 .state replicating
}

damaged_overlay() {
	local file='' at=''
	scribble /dev/vdb 20 1
	check "a pass" vmreplica replicate vm1
	check "a place in an overlay" where 21000000
	check "a byte of it changes" damage "$file" "$at"
	check "overlay: the point is not the disk" different
	check "overlay: it is found" with_status 2 vmreplica verify vm1 --json
	check "overlay: it is named, in JSON" named $((21000000 / 4096 * 4096))
	check "overlay: the point is the disk again" same 1 /dev/vdb
	check "overlay: and the replica is the same" with_status 0 vmreplica verify vm1
}

different() { ! same 1 /dev/vdb; }

# What is written and damaged is sent, whatever it is called.
both() {
	check "a byte of base.raw changes again" damage $store/vdb/base.raw 2097152
	scribble /dev/vdb 2 1
	check "both: nothing is reported, it would be sent anyway" with_status 0 vmreplica verify vm1
	check "both: the point is the disk" same 1 /dev/vdb
}

refusals() {
	check "suspend" vmreplica suspend vm1
	refused "verify while it is suspended" 'is suspended' vmreplica verify vm1
	check "resume" vmreplica resume vm1
	check "it is at rest" until_true 180 at_rest vm1
	refused "verify of nothing" "no VM 'nobody'\|nobody" vmreplica verify nobody
}

at_the_end() {
	stop_writer
	check "at rest: a last pass" vmreplica replicate vm1
	check "at rest: the point is the disk with the database" same 0 /dev/vda
	check "at rest: and the other one" same 1 /dev/vdb
	check "at rest: nothing differs" with_status 0 vmreplica verify vm1
}

begin
no_alarm
damaged_base
damaged_overlay
both
refusals
at_the_end
finish
