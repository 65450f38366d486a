#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The types of the initial replication, and a resynchronization, on one host that replicates
# to itself: that they send no more than what differs, and end in points that are what the
# disk holds. Prints TAP.
#
# time-limit: 2400
#
# shellcheck disable=SC2317 # check() calls functions by their names
set -uo pipefail

here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
if [[ ! ${GUEST-} ]]; then
	exec "$here/../../tools/guest" --kernel "${KERNEL:-6.1}" --service --timeout 2300 \
		--memory 1536M --disk 48M --disk 24M --disk store:2G -- "$here/$(basename "$0")"
fi
# shellcheck source=selftests/e2e/e2e.bash
. "$here/e2e.bash"
# shellcheck source=tools/lib/ended.sh
. "$here/../../tools/lib/ended.sh"

p() { "$@"; }
r() { "$@"; }

store=/var/lib/vmreplica/replica

# same VM DEVICE: the newest point is what the disk holds
same() { qemu-img compare -T none -f raw -F qcow2 "$2" "$(point "$1" -1 .disks[0].file)"; }

# sent_at_most VM BYTES: over the link, by all passes so far
sent_at_most() { at_most "$2" "$(field "$1" .wire_bytes)"; }

# --- seeded ----------------------------------------------------------------------------

# The replica has a copy that is older by two MiB: these are sent, and little more.
seeded() {
	scribble /dev/vda 0 48
	mkdir -p $store/.seed/vm1
	dd if=/dev/vda of=$store/.seed/vm1/vda.raw bs=1M status=none
	scribble /dev/vda 5 1
	scribble /dev/vda 30 1
	check "seeded: enable" vmreplica enable vm1 --disk /dev/vda --to 127.0.0.1 --interval 3600 --no-compress
	check "seeded: start-replication" vmreplica start-replication vm1 --type seeded || finish
	check "seeded: the point is the disk" same vm1 /dev/vda
	check "seeded: what differs was sent, and little more" sent_at_most vm1 2300000
	check "seeded: the seed was taken" test ! -e $store/.seed/vm1/vda.raw
	scribble /dev/vda 12 1
	check "seeded: a delta follows" vmreplica replicate vm1
	check "seeded: of what changed" is vm1 .last_pass_bytes 1048576
	check "seeded: and its point is the disk" same vm1 /dev/vda
}

# --- resynchronize ----------------------------------------------------------------------

# Something writes past the tracker while the module is away.
resynchronized() {
	local before sent
	check "resync: a second point" vmreplica replicate vm1
	before=$(count vm1)
	end_and_forget
	scribble /dev/vda 40 2
	start_again
	check "resync: it is critical" until_true 180 is vm1 .state critical
	refused "resync: no pass by itself" 'tracking was interrupted' vmreplica replicate vm1
	sent=$(field vm1 .wire_bytes)
	check "resync: resynchronize" vmreplica resynchronize vm1
	check "resync: the point is the disk" same vm1 /dev/vda
	check "resync: what differs was sent, and little more" sent_at_most vm1 $((sent + 2300000))
	check "resync: the points that there were stay" at_least $((before + 1)) "$(count vm1)"
	check "resync: it replicates" is vm1 .state replicating
	sent=$(field vm1 .wire_bytes)
	check "resync: again, though nothing is wrong" vmreplica resynchronize vm1
	check "resync: which sends next to nothing" sent_at_most vm1 $((sent + 100000))
	check "resync: and the point is the disk" same vm1 /dev/vda
}

end_and_forget() {
	local pid
	pid=$(cat /run/vmreplicad.state.pid)
	kill -TERM "$pid"
	until ended "$pid"; do sleep 0.1; done
	# Tracking pins the module.
	python3 - "$here/../../build/libblkcbt.so.0" <<'END'
import ctypes, sys
lib, cbt = ctypes.CDLL(sys.argv[1]), ctypes.c_void_p()
if lib.cbt_open(ctypes.byref(cbt)):
    sys.exit("no module")
for group in range(1, 100):
    lib.cbt_group_del(cbt, group)
END
	check "resync: the module can be unloaded" until_true 180 rmmod blkcbt
}

start_again() {
	modprobe blkcbt
	setsid vmreplicad >>/var/log/vmreplicad.log 2>&1 &
	echo $! >/run/vmreplicad.state.pid
	check "the daemon is there again" until_true 180 vmreplica status
}

# --- export ------------------------------------------------------------------------------

exported() {
	local medium=/var/lib/vmreplica/medium
	mkdir -p $medium
	scribble /dev/vdb 0 24
	check "export: enable" vmreplica enable vm2 --disk /dev/vdb --to 127.0.0.1 --interval 3600
	refused "export: to nowhere" 'cannot find the directory' vmreplica start-replication vm2 --type export --export-to /nowhere
	check "export: start-replication" vmreplica start-replication vm2 --type export --export-to $medium || return
	check "export: the medium is complete" jq -e .complete $medium/vm2/export.json
	scribble /dev/vdb 3 1
	check "export: a pass ahead of it" vmreplica replicate vm2
	check "export: of what changed" is vm2 .last_pass_bytes 1048576
	check "export: no point is shown yet" equal 0 "$(vmreplica points vm2 --json | jq '.points | length')"
	cp $medium/vm2/vdb.frames "$e2e_work/frames"
	printf x | dd of=$medium/vm2/vdb.frames bs=1 seek=1000000 conv=notrunc status=none
	refused "export: a damaged medium" 'damaged' vmreplica import vm2 --from $medium
	cp "$e2e_work/frames" $medium/vm2/vdb.frames
	check "export: import" vmreplica import vm2 --from $medium
	check "export: the points are there" at_least 1 "$(count vm2)"
	check "export: the point is the disk" same vm2 /dev/vdb
	scribble /dev/vdb 9 1
	check "export: passes go on" vmreplica replicate vm2
	check "export: of what changed" is vm2 .last_pass_bytes 1048576
	check "export: and the point is the disk" same vm2 /dev/vdb
}

seeded
exported
resynchronized
finish
