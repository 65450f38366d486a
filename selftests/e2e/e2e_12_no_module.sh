#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Without the module, or with a disk that it cannot track, each pass compares: what differs is
# sent, nothing is missed, and what is shown is what it is. With the module back passes are of what
# changed. One host that replicates to itself. Prints TAP.
#
# time-limit: 1500
#
# shellcheck disable=SC2317 # check() calls functions by their names
set -uo pipefail

here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
if [[ ! ${GUEST-} ]]; then
	exec "$here/../../tools/guest" --kernel "${KERNEL:-6.1}" --service --timeout 1400 \
		--memory 1536M --disk 48M --disk 24M --disk store:2G -- "$here/$(basename "$0")"
fi
# shellcheck source=selftests/e2e/e2e.bash
. "$here/e2e.bash"

loader=$(cat /proc/sys/kernel/modprobe)
writer=''

p() { "$@"; }
r() { "$@"; }

# same VM NUMBER DEVICE: the newest point is what the disk holds
same() { qemu-img compare -T none -f raw -F qcow2 "$3" "$(point "$1" -1 ".disks[$2].file")"; }

consistency() { equal "$2" "$(point "$1" -1 .consistency)"; }
said() { grep -q -e "$1" "$e2e_work/said"; }

# keeps COMMAND...: what it printed, for said
keeps() { "$@" >"$e2e_work/said"; }

# both COMMAND...: what goes to either output, on one
both() { "$@" 2>&1; }

# sent VM LIMIT: since $wire, and notes anew
sent() {
	local now
	now=$(field "$1" .wire_bytes)
	at_most "$2" $((now - wire)) && wire=$now
}

# --- the module and the daemon ------------------------------------------------------------

stop_daemon() {
	local pid
	pid=$(cat /run/vmreplicad.state.pid)
	kill -TERM "$pid"
	while [[ -e /proc/$pid/exe ]]; do sleep 0.1; done
}

start_daemon() {
	setsid vmreplicad >>/var/log/vmreplicad.log 2>&1 &
	echo $! >/run/vmreplicad.state.pid
	until_true 60 vmreplica status
}

# Tracking pins it, and whoever asks for it would load it again.
unload() {
	python3 - "$here/../../build/libblkcbt.so.0" <<'END'
import ctypes, sys
lib, cbt = ctypes.CDLL(sys.argv[1]), ctypes.c_void_p()
if lib.cbt_open(ctypes.byref(cbt)):
    sys.exit("no module")
for group in range(1, 100):
    lib.cbt_group_del(cbt, group)
END
	echo /bin/false >/proc/sys/kernel/modprobe
	rmmod blkcbt
}

load() {
	echo "$loader" >/proc/sys/kernel/modprobe
	modprobe blkcbt
}

# passed VM NUMBER: a pass behind that one is through, and nothing is under way
passed() {
	look "$1"
	[[ $(saw_field .last_pass) -gt $2 && $(saw_field .job) == null && $(saw_field .initial_complete) == true ]]
}

# --- without it -----------------------------------------------------------------------------

begin() {
	stop_daemon
	check "the module can be unloaded" unload || finish
	check "the daemon starts without it" start_daemon || finish
	scribble /dev/vda 0 48
	check "enable" keeps vmreplica enable vm1 --disk /dev/vda --to 127.0.0.1 --interval 3600 --no-compress
	check "enable says that it compares" said 'vda, .*, is compared in each pass'
	check "and why, and what to do" said 'run `modprobe blkcbt`'
	check "and what it costs" said 'each pass reads all of its disks, 48.0 MiB on each side'
	check "start-replication" vmreplica start-replication vm1 || finish
	check "the point is the disk" same vm1 0 /dev/vda
	check "it is of one instant, as nothing wrote" consistency vm1 crash
	wire=$(field vm1 .wire_bytes)
}

shown() {
	look vm1
	check "status: that it compares" saw .tracking compare
	check "status: why" equal 1 "$(saw_field .tracking_reason | grep -c 'modprobe blkcbt')"
	check "status: a warning, no more" saw .health warning
	check "status: it replicates" saw .state replicating
	check "status: what is to be sent is not known" saw .pending_bytes null
	check "status: nor of a disk" saw .disks[0].dirty_bytes null
	check "status: for people" grep -q 'not known before it is compared' <(vmreplica status vm1)
	check "a dry run" keeps vmreplica replicate vm1 --dry-run
	check "a dry run says what it can" said 'compare all of the disks, 48.0 MiB on each side'
	refused "verify" 'each pass compares all of it' vmreplica verify vm1
	refused "a planned failover" 'not tracked, so that it cannot be proven' vmreplica failover vm1 --planned
}

passes() {
	check "a pass of nothing" vmreplica replicate vm1
	check "next to nothing is sent" sent vm1 100000
	scribble /dev/vda 5 1
	scribble /dev/vda 30 1
	check "a pass" vmreplica replicate vm1
	check "what differs is sent, and little more" sent vm1 2300000
	check "the point is the disk again" same vm1 0 /dev/vda
	check "suspend" vmreplica suspend vm1
	scribble /dev/vda 8 1
	check "resume" vmreplica resume vm1
	check "it goes on" until_true 120 is vm1 .job null
	check "a pass behind it" vmreplica replicate vm1
	check "what differs was sent, and little more" sent vm1 1400000
	check "the point is the disk" same vm1 0 /dev/vda
}

# Half of what is written comes behind the read of its place.
write_all_the_time() {
	while [[ ! -e $e2e_work/stop ]]; do
		dd if=/dev/urandom of=/dev/vda bs=64k seek=$((RANDOM % 768)) count=1 oflag=direct conv=notrunc status=none
	done
}

in_use() {
	write_all_the_time &
	writer=$!
	check "a pass while the disk is written" vmreplica replicate vm1
	check "its point claims nothing" consistency vm1 none
	touch "$e2e_work/stop"
	wait "$writer"
	# It has nothing to write, but could.
	sleep 1000 >/dev/vda &
	writer=$!
	check "a pass while a program has the disk open" vmreplica replicate vm1
	check "claims nothing either" consistency vm1 none
	check "though it is the disk" same vm1 0 /dev/vda
	check "points for people say so" grep -q 'not tracked: maybe written to' <(vmreplica points vm1)
	check "failover to it" keeps both vmreplica failover vm1
	check "says what it is worth" said 'not tracked and may have been written to while it was read'
	check "revert" vmreplica revert vm1
	kill "$writer"
	wait "$writer"
	check "a pass at rest" vmreplica replicate vm1
	check "is of one instant" consistency vm1 crash
	check "and the point is the disk" same vm1 0 /dev/vda
	wire=$(field vm1 .wire_bytes)
}

restarted() {
	local last
	stop_daemon
	scribble /dev/vda 12 1
	last=$(jq .last_pass /var/lib/vmreplica/primary/vm1.json)
	check "restart: the daemon is there again" start_daemon
	check "restart: a pass by itself" until_true 120 passed vm1 "$last"
	check "restart: what differs was sent, and little more" sent vm1 1400000
	check "restart: the point is the disk" same vm1 0 /dev/vda
}

# Passes have nothing to compare with before the medium is there.
exported() {
	local medium=/var/lib/vmreplica/medium
	mkdir -p $medium
	scribble /dev/vdb 0 24
	check "export: enable" vmreplica enable vm2 --disk /dev/vdb --to 127.0.0.1 --interval 3600
	check "export: start-replication" vmreplica start-replication vm2 --type export --export-to $medium
	check "export: it is at rest" until_true 120 is vm2 .job null
	refused "export: a pass ahead of it" 'run `vmreplica import vm2' vmreplica replicate vm2
	scribble /dev/vdb 3 1
	check "export: import" vmreplica import vm2 --from $medium
	check "export: a pass" vmreplica replicate vm2
	check "export: the point is the disk" same vm2 0 /dev/vdb
	check "export: it is well but for the tracking" is vm2 .health warning
	check "export: disable" vmreplica disable vm2
	check "export: and its points" vmreplica disable vm2 --delete-points
}

# --- there and back ----------------------------------------------------------------------------

# What was written before it was tracked is found by the one comparison.
tracked_again() {
	scribble /dev/vda 20 1
	check "back: the module is loaded" load
	scribble /dev/vda 21 1
	check "back: a pass" vmreplica replicate vm1
	check "back: it is tracked" is vm1 .tracking blkcbt
	check "back: what differs was sent, and little more" sent vm1 2400000
	check "back: the point is the disk" same vm1 0 /dev/vda
	check "back: of one instant" consistency vm1 crash
	check "back: all is well" is vm1 .health ok
	scribble /dev/vda 40 1
	check "back: a pass of what changed" vmreplica replicate vm1
	check "back: and of nothing else" is vm1 .last_pass_bytes 1048576
	check "back: the point is the disk once more" same vm1 0 /dev/vda
	wire=$(field vm1 .wire_bytes)
}

gone_again() {
	local last
	stop_daemon
	check "gone: the module can be unloaded" unload
	scribble /dev/vda 2 1
	last=$(jq .last_pass /var/lib/vmreplica/primary/vm1.json)
	check "gone: the daemon starts" start_daemon
	check "gone: a pass by itself" until_true 120 passed vm1 "$last"
	check "gone: it compares" is vm1 .tracking compare
	check "gone: what differs was sent, and little more" sent vm1 1400000
	check "gone: the point is the disk" same vm1 0 /dev/vda
	check "gone: it is said in the log" grep -q 'vm1: changes are not tracked' /var/log/vmreplicad.log
}

# --- a disk that cannot be tracked ---------------------------------------------------------------

make_zoned() {
	local dir=/sys/kernel/config/nullb/nullb0
	modprobe null_blk nr_devices=0 && modprobe -q configfs
	mountpoint -q /sys/kernel/config || mount -t configfs none /sys/kernel/config
	mkdir "$dir" && echo 32 >"$dir/size" && echo 1 >"$dir/memory_backed" && echo 1 >"$dir/zoned" &&
		echo 4 >"$dir/zone_size" && echo 6 >"$dir/zone_nr_conv" && echo 1 >"$dir/power"
	[[ -b /dev/nullb0 ]]
}

zoned() {
	check "zoned: the module is loaded" load
	check "zoned: a zoned disk" make_zoned || return
	scribble /dev/nullb0 0 8
	check "zoned: enable" keeps vmreplica enable vm3 --disk /dev/vdb --disk /dev/nullb0 --to 127.0.0.1 --interval 3600
	check "zoned: it says which disk, and why" said '/dev/nullb0: zoned devices cannot be tracked'
	check "zoned: start-replication" vmreplica start-replication vm3
	scribble /dev/nullb0 3 1
	scribble /dev/vdb 3 1
	check "zoned: a pass" vmreplica replicate vm3
	check "zoned: the point is the one disk" same vm3 0 /dev/vdb
	check "zoned: and the other one" same vm3 1 /dev/nullb0
	check "zoned: it compares" is vm3 .tracking compare
	check "zoned: the other machine is tracked again" vmreplica replicate vm1
	check "zoned: as it was" is vm1 .tracking blkcbt
	check "zoned: disable" vmreplica disable vm3
}

begin
shown
passes
in_use
restarted
exported
tracked_again
gone_again
zoned
finish
