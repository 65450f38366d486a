#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The primary is booted anew: what was saved before is right afterwards, or is not used. Each VM
# has a disk of its own, and a fate of its own between the two boots. Prints TAP.
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
readonly vms="good bad written foreign open" # on /dev/vda, /dev/vdb and so on
readonly state=/var/lib/vmreplica/primary

readonly letters=abcde

number_of() {
	local vm number=0
	for vm in $vms; do
		[[ $vm != "$1" ]] || echo $number
		number=$((number + 1))
	done
}

device() { echo "/dev/vd${letters:$(number_of "$1"):1}"; }
file_of() { echo "$guests_dir/disk$(number_of "$1")"; }
is_right() { same "$1" "$(number_of "$1")"; }

first_copies() {
	local vm
	for vm in $vms; do
		scribble "$(device "$vm")" 0 4
		check "$vm: enable" p vmreplica enable "$vm" --disk "$(device "$vm")" --to replica --interval 3600
		check "$vm: start-replication" p vmreplica start-replication "$vm" || finish
	done
}

# What the guest is told with the status of the last command: tracking WAY
tracking() { on primary "vmreplicad --$1-tracking >$guests_dir/said 2>&1"; }
said() { grep -e "$1" "$guests_dir/said" || { cat "$guests_dir/said"; return 1; }; }

write_fails() { ! p dd if=/dev/zero of="$1" bs=4k count=1 oflag=direct conv=notrunc status=none; }

saved() {
	local vm
	for vm in $vms; do scribble "$(device "$vm")" 2 1; done
	look good
	sent=$(saw_field .sent_bytes)
	check "the daemon ends" end_daemon primary TERM
	check "a program opens a disk" on primary "sleep 1000 <$(device open) >/dev/null 2>&1 & pid=\$!
		for i in \$(seq 1800); do [ \"\$(readlink /proc/\$pid/fd/0)\" = $(device open) ] && exit 0; sleep 0.1; done; exit 1"
	check "what the tracker holds is saved" tracking save
	check "as it says" said 'good: tracking is saved'
	check "but not of a disk that is open" said 'open: .*process .* has /dev/vd. open'
	check "from then on no one can write" write_fails "$(device good)"
	check "still the same boot: that is over" tracking restore
	check "as it says" said 'good: the host was not rebooted'
	check "one can write again" scribble "$(device good)" 3 1
	check "and save again" tracking save
	check "as it says" said 'good: tracking is saved'
}

# The state goes with the primary's disks; $1 is done to them meanwhile, $2 before the tracking.
rebooted() {
	rm -rf "$guests_dir/state"
	p cp -r "$state" "$guests_dir/state"
	guests_cut primary
	$1
	start_primary
	guests_ready primary || return 1
	end_daemon primary TERM
	on primary "cp -r $guests_dir/state/. $state"
	$2
	tracking restore
	start_daemon primary
}

between() {
	cp -r "$guests_dir/state" "$guests_dir/first"
	printf x | dd of="$guests_dir/state/bad.marks" bs=1 seek=200 conv=notrunc status=none
	dd if=/dev/urandom of="$(file_of foreign)" bs=4k seek=1 count=1 conv=notrunc status=none
}

# What it writes is what is there.
early_writer() {
	p dd if="$(device written)" of="$(device written)" bs=4k count=1 oflag=direct conv=notrunc status=none
}

caught_up() { look "$1" && saw .pending_bytes 0 && saw .job null; }

goes_on() {
	check "the primary is booted anew" rebooted between early_writer
	check "good: it goes on" said 'good: tracking goes on'
	check "good: and catches up by itself" until_true 180 caught_up good
	check "good: it replicates" is good .state replicating
	check "good: what was owed before was sent, and no more" equal $((2 * MIB)) $(($(saw_field .sent_bytes) - sent))
	check "good: the point is the disk" is_right good
	scribble /dev/vda 20 1
	check "good: and so is the next one" p vmreplica replicate good
	check "good: of what was written" equal $((3 * MIB)) $(($(field good .sent_bytes) - sent))
	check "good: the point is the disk" is_right good
}

# has_to_compare VM WHY
has_to_compare() {
	check "$1: it does not go on, and says why" said "$1: tracking does not go on .*$2"
	check "$1: it is critical" until_true 180 is "$1" .state critical
	check "$1: until it is compared" p vmreplica resynchronize "$1"
	check "$1: the point is the disk" is_right "$1"
}

# The file of before, with a state that has used it.
used_before() {
	cp "$guests_dir/first/good.marks" "$guests_dir/state/"
	dd if=/dev/urandom of="$(file_of good)" bs=1M seek=25 count=1 conv=notrunc status=none
}

not_twice() {
	check "a power cut, and the file of before is there again" rebooted used_before true
	check "used once, it is not used again" until_true 180 is good .state critical
	check "nobody says that it goes on" equal "" "$(cat "$guests_dir/said")"
	check "compared" p vmreplica resynchronize good
	check "the point is the disk" is_right good
}

start_hosts 32M 32M 32M 32M 32M
first_copies
saved
goes_on
has_to_compare bad 'checksum'
has_to_compare written 'has been written to since\|was changed before'
has_to_compare foreign 'was changed before'
check "open: it was not saved: critical" until_true 180 is open .state critical
not_twice
stop_hosts
finish
