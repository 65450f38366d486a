#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# One host replicates to itself: what the command line prints and refuses, what the
# points are made of, and that they hold what the disk held. Prints TAP.
#
# time-limit: 2400
#
# shellcheck disable=SC2317 # check() calls functions by their names
set -uo pipefail

here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
if [[ ! ${GUEST-} ]]; then
	exec "$here/../../tools/guest" --kernel "${KERNEL:-6.1}" --service --timeout 2300 \
		--memory 1536M --disk 48M --disk 4M --disk store:2G -- "$here/$(basename "$0")"
fi
# shellcheck source=selftests/e2e/e2e.bash
. "$here/e2e.bash"

p() { "$@"; }
r() { "$@"; }

# same VM DEVICE: the newest point is what the disk holds
same() { qemu-img compare -T none -f raw -F qcow2 "$2" "$(point "$1" -1 .disks[0].file)"; }

# --- wrong use -----------------------------------------------------------------------

wrong_use() {
	local v=vmreplica
	refused "no command" 'a command is missing' $v
	refused "unknown command" 'no command replicat:' $v replicat
	refused "unknown option" "no option '--force'" $v status --force
	refused "an option without its value" 'option --to needs a value' $v enable vm1 --to
	refused "one argument too many" 'one argument too many' $v replicate vm1 vm2
	refused "no VM" 'VM is missing' $v replicate
	refused "no disk" '--disk is missing' $v enable vm1 --to 127.0.0.1
	refused "no host" '--to is missing' $v enable vm1 --disk /dev/vda
	refused "an interval of 0" 'interval must be' $v enable vm1 --disk /dev/vda --to 127.0.0.1 --interval 0
	refused "an interval of words" 'interval must be' $v enable vm1 --disk /dev/vda --to 127.0.0.1 --interval 5m
	refused "an interval of two days" 'interval must be' $v enable vm1 --disk /dev/vda --to 127.0.0.1 --interval 172800
	refused "a port that is none" 'not a port' $v enable vm1 --disk /dev/vda --to 127.0.0.1:70000
	refused "a name that leads elsewhere" "cannot be a VM" $v enable ../vm1 --disk /dev/vda --to 127.0.0.1
	refused "a name with a space" "cannot be a VM" $v enable 'vm 1' --disk /dev/vda --to 127.0.0.1
	refused "a name too long" "cannot be a VM" $v enable "$(printf '%0200d' 0)" --disk /dev/vda --to 127.0.0.1
	refused "a disk that is not there" 'cannot find the disk' $v enable vm1 --disk /dev/vdz --to 127.0.0.1
	refused "a disk that is a file" 'not a block device' $v enable vm1 --disk /etc/passwd --to 127.0.0.1
	refused "a disk that is a terminal" 'not a block device' $v enable vm1 --disk /dev/null --to 127.0.0.1
	refused "a disk named twice" 'same disk' $v enable vm1 --disk /dev/vda --disk /dev/vda --to 127.0.0.1
	refused "a host without a name" 'nowhere.invalid' $v enable vm1 --disk /dev/vda --to nowhere.invalid
	refused "a port that is closed" '127.0.0.1' $v enable vm1 --disk /dev/vda --to 127.0.0.1:1
	refused "replicate what is not enabled" 'vm1' $v replicate vm1
	refused "start what is not enabled" 'vm1' $v start-replication vm1
	refused "suspend what is not enabled" 'vm1' $v suspend vm1
	refused "disable what is not enabled" 'vm1' $v disable vm1
	refused "status of what is not there" 'vm1' $v status vm1
	refused "points of what is not there" 'vm1' $v points vm1
	refused "cancel a job that is not there" '99' $v cancel 99
	refused "cancel what is no job" 'x' $v cancel x
	check "after all that nothing is there" equal '{"relationships":[]}' "$($v status --json)"
}

too_early() {
	check "enable" vmreplica enable vm1 --disk /dev/vda --to 127.0.0.1 --interval 3600
	refused "enable twice" 'vm1' vmreplica enable vm1 --disk /dev/vdb --to 127.0.0.1
	refused "a disk of two VMs" 'disk of vm1' vmreplica enable vm2 --disk /dev/vda --to 127.0.0.1
	refused "replicate before the first copy" 'start-replication vm1' vmreplica replicate vm1
	refused "suspend before the first copy" 'vm1' vmreplica suspend vm1
	refused "resume what is not suspended" 'vm1' vmreplica resume vm1
	refused "a type that is none" "no type 'post'" vmreplica start-replication vm1 --type post
	refused "points before the first one" 'vm1' vmreplica points vm1
}

# --- points ---------------------------------------------------------------------------

# The paths of all members and the types of their values.
shape() {
	jq -r '[paths(type != "object" and type != "array") as $p |
		($p | map(if type == "number" then "*" else . end) | join(".")) + ": " + (getpath($p) | type)] |
		unique[]'
}
# shaped NAME: standard input has the shape that programs rely on
shaped() { diff "$here/shapes/$1" <(shape); }
relationships() { vmreplica status vm1 --json | jq "{relationships: [.relationships[] | select(.role == \"$1\")]}"; }

status_shape() { relationships "$1" | shaped "status-$1"; }
points_shape() { points vm1 | shaped points; }
# A job without a point has null for its time.
jobs_shape() { vmreplica jobs --json | jq '{jobs: [.jobs[] | select(.point_time)]}' | shaped jobs; }

newest_is() {
	points vm1 | jq -e --arg time "$(field vm1 .last_replication_time)" '.points[-1] |
		.consistency == "crash" and .time == $time and (.time | test("^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{6}Z$")) and
		.disks[0].source == "/dev/vda" and .disks[0].format == "qcow2" and (.disks[0].file | startswith("/"))'
}

first_points() {
	scribble /dev/vda 0 16
	check "start-replication" vmreplica start-replication vm1 || finish
	check "it replicates" is vm1 .state replicating
	check "it is well" is vm1 .health ok
	check "the point is the disk" same vm1 /dev/vda
	refused "start again" 'vm1' vmreplica start-replication vm1
	check "status --json of a primary" status_shape primary
	check "status --json of a replica" until_true 180 status_shape replica
	check "jobs --json" jobs_shape
	check "points --json" points_shape
	check "what a point says" newest_is
	check "points for people" grep -q "crash-consistent" <(vmreplica points vm1)
}

# pass WHAT BYTES: what has just been changed is sent, no more, and makes a point
pass() {
	local what=$1 bytes=$2 before
	before=$(count vm1)
	check "$what: replicate" vmreplica replicate vm1
	check "$what: that was sent" is vm1 .last_pass_bytes "$bytes"
	check "$what: one point more" equal $((before + 1)) "$(count vm1)"
	check "$what: the point is the disk" same vm1 /dev/vda
}

passes() {
	pass "nothing" 0
	scribble /dev/vda 20 1
	pass "a MiB" 1048576
	p dd if=/dev/urandom of=/dev/vda bs=512 seek=98303 count=1 oflag=direct status=none
	pass "the last sector" 4096
	p blkdiscard --zeroout --offset 1048576 --length 2097152 /dev/vda
	pass "zeros" 2097152
	p blkdiscard --offset 4194304 --length 1048576 /dev/vda
	pass "a discard" 1048576
	p dd if=/dev/urandom of=/dev/vda bs=1M seek=2 count=1 status=none conv=fsync
	pass "buffered writes" 1048576
}

writes() { p awk '{ print $5 }' /sys/block/vda/stat; }
written_since() { at_least $(($1 + 100)) "$(writes)"; }

# A disk that is written all the time; then the writer stops.
under_load() {
	local writer i written
	written=$(writes)
	fio --name=load --filename=/dev/vda --direct=1 --rw=randwrite --bs=4k --iodepth=4 --ioengine=libaio \
		--time_based --runtime=300 --rate_iops=400 >/dev/null 2>&1 &
	writer=$!
	check "under load: it is written" until_true 180 written_since "$written"
	for i in 1 2 3; do check "under load: pass $i makes a point" vmreplica replicate vm1; done
	kill $writer
	wait $writer
	check "at rest: replicate" vmreplica replicate vm1
	check "at rest: the point is the disk" same vm1 /dev/vda
}

clean_files() {
	local file
	points vm1 | jq -r '.points[].disks[].file' | while read -r file; do
		qemu-img check -q "$file" || return 1
	done
}

# Each overlay names the one before it, and its format; the last is the raw base.
chain() {
	qemu-img info --backing-chain --output=json "$(point vm1 -1 .disks[0].file)" >"$e2e_work/chain" || return 1
	jq -e '[.[].filename | split("/")[-1]] as $names | (map(.["backing-filename"] // "none") == $names[1:] + ["none"]) and
		(map(.["backing-filename-format"] // "none") == [.[1:][].format] + ["none"]) and $names[-1] == "base.raw" and
		([.[:-1][].format] | all(. == "qcow2"))' "$e2e_work/chain"
}

files() {
	check "qemu-img check finds every point clean" clean_files
	check "the backing chain" chain
}

# --- many points -------------------------------------------------------------------------

all_as_they_were() {
	local id file
	points vm2 | jq -r '.points[] | "\(.id) \(.disks[0].file)"' >"$e2e_work/points"
	while read -r id file; do
		qemu-img compare -q -f raw -F qcow2 "$e2e_work/disk.$id" "$file" && continue
		echo "point $id has changed: $file"
		return 1
	done <"$e2e_work/points"
}

# Old points are merged away while new ones come; what is listed stays as it was.
many() {
	local i bad=0
	check "another VM" vmreplica enable vm2 --disk /dev/vdb --to 127.0.0.1 --interval 3600 --no-compress
	check "another VM: start" vmreplica start-replication vm2
	for i in $(seq 30); do
		dd if=/dev/urandom of=/dev/vdb bs=4k count=8 seek=$((RANDOM % 1000)) oflag=direct status=none
		vmreplica replicate vm2 >"$e2e_work/check" 2>&1 || bad=1
		dd if=/dev/vdb of="$e2e_work/disk.$(point vm2 -1 .id)" bs=1M iflag=direct status=none
	done
	result $bad "30 passes in a row"
	check "the newest point and 24 more are kept" until_true 180 kept
	check "each is what the disk was then" all_as_they_were
	check "no file of the others is left" until_true 180 no_other_file
}

no_other_file() { equal 26 "$(find /var/lib/vmreplica/replica/vm2/vdb -type f | wc -l)"; }

kept() { equal 25 "$(count vm2)"; }

wrong_use
too_early
first_points
passes
under_load
files
many
finish
