#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# One host replicates to itself a disk with a database that is in use: points are tried out
# while passes go on, the machine is failed over, back, and for good. Prints TAP.
#
# time-limit: 2400
#
# shellcheck disable=SC2317 # check() calls functions by their names
set -uo pipefail

here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
if [[ ! ${GUEST-} ]]; then
	exec "$here/../../tools/guest" --kernel "${KERNEL:-6.1}" --service --timeout 2300 \
		--memory 1536M --disk 192M --disk store:3G -- "$here/$(basename "$0")"
fi
# shellcheck source=selftests/e2e/e2e.bash
. "$here/e2e.bash"

bank=$here/../../tools/demo.d/bank
mounted=$e2e_work/mount tried=$e2e_work/tried
writer=''

p() { "$@"; }
r() { "$@"; }

# --- the machine -----------------------------------------------------------------------

start_machine() {
	mkfs.ext4 -q -F /dev/vda && mkdir -p "$mounted" "$tried" && mount /dev/vda "$mounted" &&
		"$bank" create "$mounted/bank.db"
}

start_writer() {
	rm -f "$e2e_work/stop"
	"$bank" run "$mounted/bank.db" "$e2e_work/bookings" "$e2e_work/stop" &
	writer=$!
}

stop_writer() {
	touch "$e2e_work/stop"
	wait $writer
}

last_booking() { tail -n 1 "$e2e_work/bookings"; }

# --- what stands on a point ------------------------------------------------------------

# attached FILE COMMAND...: with the disk of FILE at /dev/nbd0, to be written to
attached() {
	local file=$1 status=0
	shift
	qemu-nbd --connect=/dev/nbd0 -f qcow2 "$file" || return 1
	until_true 120 has_size || return 1
	"$@" || status=$?
	qemu-nbd --disconnect /dev/nbd0 >/dev/null
	until_true 120 has_no_holder "$file" || return 1
	return "$status"
}

has_size() { [[ $(blockdev --getsize64 /dev/nbd0) -gt 0 ]]; }
has_no_holder() { ! pgrep -f "qemu-nbd.*$1" >/dev/null; }

# mounts and checks what was cut off under load, writes to it; prints the last booking
look_inside() {
	local status=0
	mount /dev/nbd0 "$tried" || return 1
	"$bank" verify "$tried/bank.db" >"$e2e_work/verified" || status=1
	dd if=/dev/urandom of="$tried/news" bs=1M count=4 status=none || status=1
	umount "$tried"
	e2fsck -fn /dev/nbd0 >"$e2e_work/fsck" 2>&1 || status=1
	return "$status"
}

# opens FILE AT-LEAST: the database in it is whole and has that booking
opens() {
	attached "$1" look_inside || return 1
	at_least "$2" "$(<"$e2e_work/verified")"
}

# systems PATH: of those that there are
systems() { vmreplica failover vm1 --list --json | jq -r ".systems$1"; }
file_of() { systems "[] | select(.name == $1).disks[0].file"; }

# as_before FILE COPY: a point shows what it showed
as_before() { qemu-img check -q "$1" && qemu-img compare -q -f qcow2 -F raw "$1" "$2"; }

keep_copy() { qemu-img convert -O raw "$1" "$2"; }

is_replica() { equal "$2" "$(replica_field vm1 "$1")"; }

# --- the test ---------------------------------------------------------------------------

begin() {
	modprobe nbd || exit 1
	check "a machine with a database" start_machine || finish
	check "enable" vmreplica enable vm1 --disk /dev/vda --to 127.0.0.1 --interval 3600
	check "start-replication" vmreplica start-replication vm1 || finish
	start_writer
	until_true 180 test -s "$e2e_work/bookings"
}

tests() {
	local point old before
	point=$(point vm1 -1 .id) old=$(point vm1 -1 .disks[0].file)
	check "a copy of a point, to compare it with" keep_copy "$old" "$e2e_work/copy"
	check "a test on the newest point" vmreplica test-failover vm1
	before=$(last_booking)
	check "a pass while it is there" vmreplica replicate vm1
	check "a second test, on that point" vmreplica test-failover vm1 --name second --json
	refused "a name twice" 'already' vmreplica test-failover vm1 --name second
	refused "a point that is not there" 'no point 999' vmreplica test-failover vm1 --point 999 --name third
	check "both are listed" equal "second test" "$(systems '[].name' | sort | xargs)"
	check "each says its point" equal "$point" "$(systems '[] | select(.name == "test").point')"
	check "status counts them" is_replica .tests 2
	check "the second one's database is whole, and has what was booked before its pass" \
		opens "$(file_of '"second"')" "$before"
	check "the first one's is" opens "$(file_of '"test"')" 1
	check "the point that was written on has not changed" as_before "$old" "$e2e_work/copy"
	check "a pass meanwhile" vmreplica replicate vm1
	refused "a test that is not there" 'no test third' vmreplica test-failover vm1 --end third
	check "the first test ends" vmreplica test-failover vm1 --end test
	check "the second test ends" vmreplica test-failover vm1 --end second
	check "nothing of them is left" equal "" "$(ls -A /var/lib/vmreplica/replica/vm1/.tests)"
	check "the point has still not changed" as_before "$old" "$e2e_work/copy"
	rm -f "$e2e_work/copy"
}

failover() {
	local before
	before=$(last_booking)
	check "one more pass under load" vmreplica replicate vm1
	refused "revert before a failover" 'not failed over' vmreplica revert vm1
	refused "commit before a failover" 'not failed over' vmreplica commit vm1
	check "failover under load" vmreplica failover vm1
	check "the replica says that it is recovered" is_replica .state_code 5
	refused "failover twice" 'already' vmreplica failover vm1
	check "the primary is refused, with the reason" fails_saying 'was failed over to the replica' \
		vmreplica replicate vm1
	check "the primary's relationship is critical" is vm1 .state critical
	check "and it says why" grep -q 'failed over' <(field vm1 .health_reason)
	check "the machine runs from there: its database has all that was acknowledged before" \
		opens "$(file_of null)" "$before"
	check "what was written there is there" opens "$(file_of null)" "$before"
	check "the file is sound" qemu-img check -q "$(file_of null)"
}

back() {
	check "revert" vmreplica revert vm1
	check "it replicates again" vmreplica replicate vm1
	check "and sends what changed, not all" at_most $((64 << 20)) "$(field vm1 .last_pass_bytes)"
	check "the primary is well again" is vm1 .state replicating
	stop_writer
	umount "$mounted"
	check "at rest: a last pass" vmreplica replicate vm1
	check "at rest: the point is the disk" \
		qemu-img compare -T none -f raw -F qcow2 /dev/vda "$(point vm1 -1 .disks[0].file)"
}

# The machine is stopped: nothing is lost, and the way back is open.
planned() {
	local before
	before=$(last_booking)
	mount /dev/vda "$mounted"
	check "planned: refused while the disk is mounted" fails_saying 'still in use' \
		vmreplica failover vm1 --planned
	check "planned: replication is as well as before" is vm1 .state replicating
	umount "$mounted"
	check "planned: with the machine stopped" vmreplica failover vm1 --planned
	check "planned: it says so" is vm1 .state_code 4
	refused "planned: no pass any more" 'planned' vmreplica replicate vm1
	check "planned: the replica fails over" vmreplica failover vm1
	check "planned: nothing is lost" \
		qemu-img compare -T none -f raw -F qcow2 /dev/vda "$(file_of null)"
	check "planned: its database has the last booking" opens "$(file_of null)" "$before"
	check "planned: revert" vmreplica revert vm1
	check "planned: resume" vmreplica resume vm1
	check "planned: it replicates again" until_true 180 replicates
}

replicates() { at_rest vm1 && vmreplica replicate vm1; }

for_good() {
	local old
	old=$(point vm1 -2 .id)
	check "failover to an older point" vmreplica failover vm1 --point "$old"
	check "it says which" is_replica .failover_point "$old"
	check "its database is whole" opens "$(file_of null)" 1
	check "commit" vmreplica commit vm1
	check "the replica says that it is committed" is_replica .state_code 6
	check "newer points are gone" equal "$old" "$(point vm1 -1 .id)"
	refused "revert after it" 'final' vmreplica revert vm1
	check "the old primary is refused for good" fails_saying 'for good' vmreplica replicate vm1
	check "the machine's disk is as it was left" opens "$(file_of null)" 1
	check "and sound" qemu-img check -q "$(file_of null)"
}

begin
tests
failover
back
planned
for_good
finish
