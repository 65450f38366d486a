#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Run by service.sh, in the guest. /dev/vda is small, /dev/vdb takes more than one
# checkpoint of an initial pass.
#
# shellcheck disable=SC2317 # the tests are called by their names
set -uo pipefail

root=$(cd "$(dirname "$(readlink -f "$0")")/../.." && pwd)
build=${VMREPLICA_BUILD:-$root/build}
[[ -z ${PROGRAMS-} ]] || PATH=$PROGRAMS:$PATH
lib=/var/lib/vmreplica
work=$(mktemp -d)
port=7800
failed=0 number=0 ok=1

say() { echo "# $*"; }
# check WHAT COMMAND...
check() {
	local what=$1
	shift
	"$@" && return
	say "not so: $what"
	ok=0
	return 1
}

# until_true SECONDS COMMAND...
until_true() {
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		[[ $SECONDS -lt $end ]] || return 1
		sleep 0.1
	done
}

# --- the two services ---------------------------------------------------------

p() { vmreplica "$@"; }
r() { vmreplica --bus "$replica_bus" "$@"; }

start_buses() {
	mkdir -p /run/dbus
	install -D -m 644 "$root/userspace/service/org.vmreplica.conf" \
		/usr/share/dbus-1/system.d/org.vmreplica.conf
	dbus-daemon --system --fork --nopidfile --nosyslog
	replica_bus=$(dbus-daemon --session --fork --print-address --nosyslog --nopidfile)
}

start_primary() {
	vmreplicad --state-dir $lib/p --no-listen 2>>"$work/primary.log" &
	primary=$!
	until_true 120 p status >/dev/null 2>&1 || say "the primary did not start: $(tail -n 3 "$work/primary.log")"
}

start_replica() {
	vmreplicad --bus "$replica_bus" --state-dir $lib/r --listen "127.0.0.1:$port" 2>>"$work/replica.log" &
	replica=$!
	until_true 120 r status >/dev/null 2>&1 || say "the replica did not start: $(tail -n 3 "$work/replica.log")"
}

# end PID SIGNAL
end() {
	kill "-$2" "$1"
	wait "$1" 2>/dev/null
}

# --- looking ------------------------------------------------------------------

# field VM JQ-PATH: of the primary's status
field() { p status "$1" --json | jq -r ".relationships[0]$2"; }
is() { [[ $(field "$1" "$2") == "$3" ]]; }
newest() { r points "$1" --json | jq -r ".points[-1]$2"; }
count() { r points "$1" --json | jq '.points | length'; }

# same VM DEVICE: the newest point is what the disk holds
same() {
	sync
	qemu-img compare -q -f raw -F qcow2 "$2" "$(newest "$1" .disks[0].file)"
}

# scribble DEVICE AT-MIB MIB: random data, on the disk when it returns
scribble() {
	dd if=/dev/urandom of="$1" bs=1M seek="$2" count="$3" oflag=direct conv=notrunc status=none
}

# refused PATTERN COMMAND...: exit status 1, one sentence that matches
refused() {
	local pattern=$1 status=0
	shift
	"$@" >"$work/out" 2>"$work/err" || status=$?
	check "'$*' exits with 1, not $status" [ $status = 1 ]
	check "'$*' says one line: $(cat "$work/err")" [ "$(wc -l <"$work/err")" = 1 ]
	check "'$*' says '$pattern': $(cat "$work/err")" grep -q -e "^vmreplica: .*$pattern" "$work/err"
}

# --- tests, in this order -------------------------------------------------------

test_usage() {
	refused 'a command is missing' p
	refused 'no command nonsense' p nonsense
	refused 'VM is missing' p enable
	refused '.-disk is missing' p enable vm1 --to 127.0.0.1
	refused '.-to is missing' p enable vm1 --disk /dev/vda
	refused "no option '--nonsense'" p status --nonsense
	refused 'needs a value' p enable vm1 --disk
	refused 'interval must be' p enable vm1 --disk /dev/vda --to x --interval 0
	refused 'not a port' p enable vm1 --disk /dev/vda --to x:99999
	check "help" grep -q start-replication <(p --help)
	check "help of a command" grep -q Example <(p enable --help)
}

test_enable_refusals() {
	refused 'not a block device' p enable vm1 --disk /etc/passwd --to 127.0.0.1:$port
	refused 'cannot find the disk' p enable vm1 --disk /dev/nothing --to 127.0.0.1:$port
	refused 'cannot be a VM' p enable .. --disk /dev/vda --to 127.0.0.1:$port
	refused 'same disk' p enable vm1 --disk /dev/vda --disk /dev/../dev/vda --to 127.0.0.1:$port
	refused '127.0.0.1' p enable vm1 --disk /dev/vda --to 127.0.0.1:1
	check "nothing is left of it" [ "$(p status --json)" = '{"relationships":[]}' ]
	refused 'does not replicate' p replicate vm1
	refused 'no replica of vm1' r points vm1
}

test_initial() {
	scribble /dev/vda 0 24
	check "enable" p enable vm1 --disk /dev/vda --to 127.0.0.1:$port --interval 3600
	check "it is ready" is vm1 .state ready
	refused 'as a disk of vm1' p enable vm2 --disk /dev/vda --to 127.0.0.1:$port
	refused 'replicated already' p enable vm1 --disk /dev/vdb --to 127.0.0.1:$port
	refused 'not complete' p replicate vm1
	refused 'nothing to suspend' p suspend vm1
	refused 'no type' p start-replication vm1 --type pigeon
	refused 'go together' p start-replication vm1 --type export
	check "start-replication" p start-replication vm1
	check "it replicates" is vm1 .state replicating
	check "it is well" is vm1 .health ok
	check "one point" [ "$(count vm1)" = 1 ]
	check "the point is the disk" same vm1 /dev/vda
	check "both say the same time" is vm1 .last_replication_time "$(newest vm1 .time)"
	refused 'is complete' p start-replication vm1
}

test_delta_costs_what_changed() {
	first=$(r points vm1 --json | jq -r .points[0].disks[0].file)
	before=$(qemu-img convert -O raw "$first" /dev/stdout 2>/dev/null | sha256sum)
	scribble /dev/vda 30 1
	check "what is to be sent is known" until_true 180 is vm1 .pending_bytes 1048576
	check "replicate" p replicate vm1
	check "it sent 1 MiB: $(field vm1 .last_pass_bytes)" is vm1 .last_pass_bytes 1048576
	check "the point is the disk" same vm1 /dev/vda
	check "the first point is as it was" \
		[ "$before" = "$(qemu-img convert -O raw "$first" /dev/stdout 2>/dev/null | sha256sum)" ]
}

# A disk that is written all the time: each pass is a point, or is not called one.
test_busy_disk() {
	local good=0 points status
	(until [[ -e $work/rest ]]; do dd if=/dev/urandom of=/dev/vda bs=4k count=1 seek=$((RANDOM % 16000)) \
		oflag=direct conv=notrunc status=none; done) &
	local writer=$!
	for _ in 1 2 3 4 5; do
		points=$(count vm1) status=0
		p replicate vm1 >"$work/out" 2>"$work/err" || status=$?
		if [[ $status = 0 ]]; then
			check "a pass that succeeds makes one point" [ "$(count vm1)" = $((points + 1)) ]
			good=$((good + 1))
		else
			check "it says why there is no point" grep -q 'newest point is still' "$work/err"
			check "and there is none" [ "$(count vm1)" = "$points" ]
		fi
	done
	# Not by a signal: its last dd would outlive it.
	touch "$work/rest"
	wait $writer
	say "$good of 5 passes on a busy disk made a point"
	check "replicate at rest" p replicate vm1
	check "the point is the disk" same vm1 /dev/vda
	check "it is well" is vm1 .health ok
}

# Writes a number to 64 blocks all over the disk, one after another, then the next number.
# So at each instant the numbers never rise from block to block, and differ by 1 at most.
chain() {
	python3 - /dev/vda <<'END'
import mmap, os, struct, sys, time
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_DIRECT)
buf = mmap.mmap(-1, 4096)
n = 0
while True:
    n += 1
    buf[:8] = struct.pack("<Q", n)
    for block in range(64):
        os.pwrite(fd, buf, block << 20)
    time.sleep(0.15)
END
}

# The last of the numbers is there: what the disk held before is none as small, or none at all.
chain_runs() {
	local number
	number=$(dd if=/dev/vda iflag=direct bs=1M skip=63 count=1 status=none | od -An -tu8 -N8)
	[[ $number -gt 0 && $number -lt 1000000 ]]
}

# Half of the disk, around the numbers: so that a pass takes longer than the chain does.
fill() {
	python3 - /dev/vda <<'END'
import os, sys
fd = os.open(sys.argv[1], os.O_WRONLY)
for block in range(64):
    os.pwrite(fd, os.urandom(1 << 19), (block << 20) + (1 << 18))
os.fsync(fd)
END
}

# chained FILE: prints the numbers' range, fails if they are of no one instant
chained() {
	qemu-img convert -O raw "$1" "$work/point.raw" || return 1
	python3 - "$work/point.raw" <<'END'
import struct, sys
with open(sys.argv[1], "rb") as f:
    v = [struct.unpack("<Q", (f.seek(b << 20), f.read(8))[1])[0] for b in range(64)]
if any(a < b for a, b in zip(v, v[1:])) or v[0] - v[-1] > 1:
    sys.exit("the numbers are %s" % v)
END
}

test_points_are_of_one_instant() {
	local status good=0 last
	chain &
	local writer=$!
	check "the chain has begun" until_true 180 chain_runs
	for _ in 1 2 3 4 5 6; do
		status=0
		fill
		p replicate vm1 || status=$?
		last=$(newest vm1 .disks[0].file)
		[[ $status != 0 ]] || good=$((good + 1))
		check "the point $last is of one instant" chained "$last"
	done
	# The function runs in a shell of its own, python below it, and ends with that.
	kill -TERM $(pgrep -P $writer)
	wait $writer 2>/dev/null
	say "$good of 6 passes made a point"
	check "some did" [ $good -gt 0 ]
	check "replicate at rest" p replicate vm1
	check "the point is the disk" same vm1 /dev/vda
}

test_killed_primary() {
	local passes
	end "$primary" KILL
	scribble /dev/vda 40 2
	start_primary
	until_true 180 is vm1 .job null
	check "no full pass: $(field vm1 .last_pass_bytes)" [ "$(field vm1 .last_pass_bytes)" -le 2097152 ]
	passes=$(field vm1 .last_pass)
	scribble /dev/vda 41 2
	check "replicate" p replicate vm1
	check "it sent 2 MiB" is vm1 .last_pass_bytes 2097152
	check "one pass" is vm1 .last_pass $((passes + 1))
	check "the point is the disk" same vm1 /dev/vda
}

test_suspend() {
	check "suspend" p suspend vm1
	check "it says so" is vm1 .state_code 7
	refused 'is suspended' p replicate vm1
	refused 'suspended already' p suspend vm1
	scribble /dev/vda 50 1
	check "tracking goes on" until_true 180 is vm1 .pending_bytes 1048576
	check "resume" p resume vm1
	refused 'is not suspended' p resume vm1
	check "it sends by itself" until_true 180 is vm1 .pending_bytes 0
	until_true 180 is vm1 .job null
	check "the point is the disk" same vm1 /dev/vda
}

test_replica_down() {
	end "$replica" TERM
	scribble /dev/vda 51 1
	refused '127.0.0.1' p replicate vm1
	check "it is critical" is vm1 .health critical
	check "with the reason" grep -q '127.0.0.1' <(field vm1 .health_reason)
	start_replica
	check "it goes on by itself" until_true 120 is vm1 .health ok
	check "the point is the disk" same vm1 /dev/vda
	check "1 MiB was sent" is vm1 .last_pass_bytes 1048576
}

test_replica_lost() {
	local points
	points=$(count vm1)
	end "$replica" TERM
	mv $lib/r/replica/vm1 $lib/r/aside
	start_replica
	refused 'lost what it had acknowledged: run `vmreplica resynchronize vm1`' p replicate vm1
	check "it is critical" is vm1 .state_code 8
	end "$replica" TERM
	rm -rf $lib/r/replica/vm1
	mv $lib/r/aside $lib/r/replica/vm1
	start_replica
	check "it comes back with the replica" until_true 180 is vm1 .health ok
	check "with its points" [ "$(count vm1)" -ge "$points" ]
	end "$replica" TERM
	rm -rf $lib/r/replica/vm1
	start_replica
	refused 'lost what it had' p replicate vm1
	check "start-replication" p start-replication vm1
	check "the point is the disk" same vm1 /dev/vda
	check "it is well" is vm1 .health ok
}

# Ends all tracking behind the service's back, as a reboot does.
forget_groups() {
	python3 - "$build/libblkcbt.so.0" <<'END'
import ctypes, sys
lib, cbt = ctypes.CDLL(sys.argv[1]), ctypes.c_void_p()
if lib.cbt_open(ctypes.byref(cbt)):
    sys.exit("no module")
for group in range(1, 100):
    lib.cbt_group_del(cbt, group)
END
}

test_module_reloaded() {
	local points sent
	check "replicate" p replicate vm1
	points=$(count vm1) sent=$(field vm1 .sent_bytes)
	end "$primary" TERM
	forget_groups
	check "the module can be unloaded" until_true 180 rmmod blkcbt
	scribble /dev/vda 10 1
	modprobe blkcbt
	start_primary
	check "it is critical" until_true 180 is vm1 .state_code 8
	check "and says what to do" grep -q 'tracking was interrupted (.*): run `vmreplica resynchronize vm1`' \
		<(field vm1 .health_reason)
	sleep 7
	check "nothing is sent by itself" is vm1 .sent_bytes "$sent"
	refused 'tracking was interrupted' p replicate vm1
	check "start-replication" p start-replication vm1
	check "all was sent" [ "$(field vm1 .sent_bytes)" -ge $((sent + 64 * 1048576)) ]
	check "one point more" [ "$(count vm1)" = $((points + 1)) ]
	check "the point is the disk" same vm1 /dev/vda
}

checkpoint() { jq '.disks[0].checkpoint_bytes' $lib/p/primary/vm2.json; }
checkpointed() { [[ $(checkpoint) -gt 0 ]]; }

# The replica is held after a checkpoint, and the primary dies in the middle of the pass: at a rate
# that leaves seconds to look, however fast the machine is.
test_initial_goes_on() {
	scribble /dev/vdb 0 400
	check "enable" p enable vm2 --disk /dev/vdb --to 127.0.0.1:$port --interval 3600 --rate 16M
	check "start" p start-replication vm2 --no-wait
	check "a checkpoint" until_true 120 checkpointed
	kill -STOP "$replica"
	refused 'works on vm2 already' p start-replication vm2
	at=$(checkpoint)
	check "the pass is not over: $at" [ "$(field vm2 .initial_complete)" = false ]
	end "$primary" KILL
	scribble /dev/vdb 5 1
	kill -CONT "$replica"
	start_primary
	check "it goes on by itself" until_true 180 is vm2 .job.type start-replication
	check "from here on as fast as it can" p modify vm2 --rate none
	check "and completes" until_true 180 is vm2 .state replicating
	total=$(p jobs --json | jq '[.jobs[] | select(.vm == "vm2" and .type_code == 94)][-1].total_bytes')
	say "checkpoint at $at, sent after it: $total"
	check "it did not begin anew" [ "$total" -le $((400 * 1048576 - at + 8 * 1048576)) ]
	until_true 180 is vm2 .job null
	check "the point is the disk" same vm2 /dev/vdb
}

job_of() { p jobs --json | jq -r "[.jobs[] | select(.vm == \"$1\")][-1]$2"; }

runs() { [[ $(job_of "$1" .state_code) = 4 ]]; }

# The only way to see a pass half way for sure is a replica that stands still.
test_cancel_and_stop() {
	local waiting
	kill -STOP "$replica"
	scribble /dev/vdb 100 60
	check "start" p replicate vm2 --no-wait
	check "cancel" p cancel "$(job_of vm2 .id)"
	check "it is terminated" [ "$(job_of vm2 .state_code)" = 8 ]
	refused 'has ended already' p cancel "$(job_of vm2 .id)"
	refused 'no job' p cancel 9999
	check "what changed is still to be sent" [ "$(field vm2 .pending_bytes)" -ge $((60 * 1048576)) ]
	check "a cancelled pass is no failure" is vm2 .health ok
	check "start" p replicate vm2 --no-wait
	check "it runs" until_true 180 runs vm2
	check "SIGTERM ends it without waiting for the replica, and in good order" end "$primary" TERM
	start_primary
	check "a pass by itself" until_true 180 runs vm2
	p resynchronize vm2 >"$work/out" 2>&1 &
	waiting=$!
	kill -CONT "$replica"
	check "a resynchronization takes its turn behind it" wait $waiting
	check "the delta goes out by itself" until_true 180 is vm2 .pending_bytes 0
	until_true 180 is vm2 .job null
	check "the point is the disk" same vm2 /dev/vdb
}

test_others_may_only_look() {
	check "status" runuser -u nobody -- vmreplica status >/dev/null
	check "jobs" runuser -u nobody -- vmreplica jobs >/dev/null
	refused 'only root' runuser -u nobody -- vmreplica replicate vm1
	refused 'only root' runuser -u nobody -- vmreplica disable vm1
	refused 'no replica of vm1' runuser -u nobody -- vmreplica points vm1
}

test_damaged_state() {
	local sum
	end "$primary" TERM
	cp $lib/p/primary/vm2.json "$work/vm2.json"
	truncate -s 100 $lib/p/primary/vm2.json
	sum=$(sha256sum <$lib/p/primary/vm2.json)
	start_primary
	check "the other one is there" until_true 180 is vm1 .health ok
	check "the log says it" grep -q 'vm2.json is damaged and was left alone' "$work/primary.log"
	refused 'damaged and was left alone' p enable vm2 --disk /dev/vdb --to 127.0.0.1:$port
	check "the file is as it was" [ "$sum" = "$(sha256sum <$lib/p/primary/vm2.json)" ]
	end "$primary" TERM
	cp "$work/vm2.json" $lib/p/primary/vm2.json
	start_primary
	check "repaired, it goes on" until_true 180 is vm2 .health ok
}

released() { [[ $(r status "$1" --json | jq .relationships[0].released) = true ]]; }

test_disable() {
	local points
	until_true 180 is vm1 .job null
	points=$(count vm1)
	refused 'are on the replica' p disable vm1 --delete-points
	check "disable" p disable vm1
	check "its tracking has ended" [ "$(p status --json | jq '.relationships | length')" = 1 ]
	refused 'neither a relationship nor a replica' p disable vm1
	check "the points stay" [ "$(count vm1)" = "$points" ]
	refused 'points: run `vmreplica disable vm1 --delete-points`' r disable vm1
	check "the replica knows" until_true 180 released vm1
	check "the name can be used again" p enable vm1 --disk /dev/vda --to 127.0.0.1:$port
	check "and replicated" p start-replication vm1
	check "the point is the disk" same vm1 /dev/vda
	end "$replica" TERM
	check "disable without the replica" p disable vm1 >"$work/out"
	check "says that it could not tell it: $(cat "$work/out")" grep -q 'note: .*could not be told' "$work/out"
	start_replica
	check "delete the points" r disable vm1 --delete-points
	refused 'no replica of vm1' r points vm1
}

# --- run -------------------------------------------------------------------------

run() {
	local began=$SECONDS
	number=$((number + 1)) ok=1
	"test_$1" >"$work/test.out" 2>&1
	grep '^# ' "$work/test.out"
	echo "# $((SECONDS - began)) s"
	if [[ $ok = 1 ]]; then
		echo "ok $number - $1"
	else
		sed 's/^/# out: /' "$work/test.out" | grep -v '^# out: #' | tail -n 20
		tail -n 5 "$work/primary.log" | sed 's/^/# primary: /'
		tail -n 5 "$work/replica.log" | sed 's/^/# replica: /'
		echo "not ok $number - $1"
		failed=$((failed + 1))
	fi
}

tests=("$@")
if [[ ${#tests[@]} = 0 ]]; then
	mapfile -t tests < <(sed -n 's/^test_\([a-z_]*\)() {$/\1/p' "$0")
fi
modprobe blkcbt || exit 1
start_buses
start_primary
start_replica
echo "TAP version 13"
echo "1..${#tests[@]}"
for t in "${tests[@]}"; do run "$t"; done
end "$primary" TERM
end "$replica" TERM
if grep -E 'ERROR: [A-Za-z]*Sanitizer|runtime error:' "$work"/*.log; then
	failed=$((failed + 1))
fi
[[ $failed = 0 ]]
