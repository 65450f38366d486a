#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What anyone who reaches the replica's port may do to it: garbage, half frames, scans,
# many connections, another host's claim on a VM's name. Prints TAP.
#
# time-limit: 2400
#
# shellcheck disable=SC2317 # check() calls functions by their names
set -uo pipefail

here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
if [[ ! ${GUEST-} ]]; then
	exec "$here/../../tools/guest" --kernel "${KERNEL:-6.1}" --service --timeout 2300 \
		--memory 1536M --disk 48M --disk 16M --disk store:2G -- "$here/$(basename "$0")"
fi
# shellcheck source=selftests/e2e/e2e.bash
. "$here/e2e.bash"

readonly CONNECTIONS=100	# more than the replica takes
readonly ROUNDS=60

p() { "$@"; }
r() { "$@"; }

same() { qemu-img compare -T none -f raw -F qcow2 /dev/vda "$(point vm1 -1 .disks[0].file)"; }

# --- attacks ------------------------------------------------------------------------------

# frame NAME: its bytes, as the wire format's tests have them
frame() {
	local escaped
	escaped=$(sed 's/[0-9a-f][0-9a-f]/\\x&/g; s/ //g' "$here/../unit/frames/$1.hex" | tr -d '\n')
	printf '%b' "$escaped"
}

# send FILE: and hang up. The other side may well hang up first.
send() { (cat "$1" >/dev/tcp/127.0.0.1/7766) 2>/dev/null; }

make_messages() {
	local dir=$e2e_work/messages name
	mkdir "$dir"
	: >"$dir/nothing"
	head -c 5 /dev/urandom >"$dir/five-bytes"
	head -c 100000 /dev/urandom >"$dir/noise"
	head -c 300000 /dev/zero >"$dir/zeros"
	printf 'GET / HTTP/1.1\r\nHost: replica\r\n\r\n' >"$dir/http"
	frame hello >"$dir/hello"
	head -c 70 "$dir/hello" >"$dir/half-hello"
	cat "$dir/hello" "$dir/noise" >"$dir/hello-noise"
	for name in open data pass-begin pass-end checkpoint release error; do
		(frame hello && frame "$name") >"$dir/hello-$name"
		frame "$name" >"$dir/$name-first"
	done
	# Half of an OPEN, and one with a bit turned over.
	head -c 500 "$dir/hello-open" >"$dir/half-open"
	(head -c 300 "$dir/hello-open" && printf '\x01' && tail -c +302 "$dir/hello-open") >"$dir/damaged-open"
}

# What the replica has yet to be done with; its port is 7766.
connections() { awk '$2 ~ /:1E56$/ && $4 != "0A" && $4 != "06"' /proc/net/tcp /proc/net/tcp6 | wc -l; }
few_connections() { at_most 20 "$(connections)" >/dev/null; }

# All messages, over and over, several at a time: never so many that there is no room for others.
attack() {
	local round file
	for ((round = 0; round < ROUNDS; round++)); do
		until_true 180 few_connections || break
		[[ ! -e $e2e_work/enough ]] || break
		for file in "$e2e_work"/messages/*; do send "$file" & done
		wait
	done
	echo "$round" >"$e2e_work/rounds"
}

# --- tests ----------------------------------------------------------------------------------

alive() { equal "$pid" "$(cat /run/vmreplicad.state.pid)" && test -d "/proc/$pid" && vmreplica status >/dev/null; }

memory_mib() { awk '/VmRSS/ { print int($2 / 1024) }' "/proc/$pid/status"; }
threads() { awk '/Threads/ { print $2 }' "/proc/$pid/status"; }
log_lines() { wc -l </var/log/vmreplicad.log; }

under_attack() {
	local i attacker writer lines messages
	messages=$(find "$e2e_work/messages" -type f | wc -l) lines=$(log_lines)
	fio --name=load --filename=/dev/vda --direct=1 --rw=randwrite --bs=4k --iodepth=2 --ioengine=libaio \
		--time_based --runtime=300 --rate_iops=200 >/dev/null 2>&1 &
	writer=$!
	attack &
	attacker=$!
	for i in 1 2 3 4 5; do check "under attack: pass $i makes a point" vmreplica replicate vm1; done
	touch "$e2e_work/enough"
	wait $attacker
	kill $writer
	wait $writer
	say "$(<"$e2e_work/rounds") rounds of $messages messages"
	check "there were attacks" at_least 1 "$(<"$e2e_work/rounds")"
	check "the daemon is alive" alive
	check "its memory is bounded" at_most 256 "$(memory_mib)"
	check "its log is bounded" at_most $((messages * $(<"$e2e_work/rounds") * 2 + 20)) $(($(log_lines) - lines))
	check "nobody else's VM came into being" equal vm1 "$(ls /var/lib/vmreplica/replica)"
	check "at rest: replicate" vmreplica replicate vm1
	check "at rest: the point is the disk" same
	check "it is well" is vm1 .health ok
}

# Those who say nothing, or half of something, and stay.
held_connections() {
	local i fds=() fd half=VMR1
	for ((i = 0; i < CONNECTIONS; i++)); do
		exec {fd}<>/dev/tcp/127.0.0.1/7766 && fds+=("$fd")
		((i % 2)) || printf '%s' "$half" >&"$fd"
	done 2>/dev/null
	check "$CONNECTIONS connections are held: the daemon is alive" alive
	check "its threads are bounded" at_most 100 "$(threads)"
	scribble /dev/vda 2 1
	check "they give way: replicate" vmreplica replicate vm1
	check "they give way: the point is the disk" same
	for fd in "${fds[@]}"; do exec {fd}<&-; done
	scribble /dev/vda 3 1
	check "they are gone: replicate" until_true 120 vmreplica replicate vm1
	check "they are gone: the point is the disk" same
}

# Another host has a VM of that name as well.
stranger() {
	local bus lib=$e2e_work/stranger before daemon
	s() { vmreplica --bus "$bus" "$@"; }
	bus=$(dbus-daemon --session --fork --print-address --nosyslog --nopidfile)
	vmreplicad --bus "$bus" --state-dir "$lib" --no-listen >"$e2e_work/stranger.log" 2>&1 &
	daemon=$!
	until_true 120 s status >/dev/null 2>&1
	before=$(points vm1)
	check "a stranger enables a VM of that name" s enable vm1 --disk /dev/vdb --to 127.0.0.1 --interval 3600
	refused "its replication" 'another relationship.*another name' s start-replication vm1
	check "the points are untouched" equal "$before" "$(points vm1)"
	scribble /dev/vda 4 1
	check "the VM's own primary goes on" vmreplica replicate vm1
	check "its point is the disk" same
	kill "$daemon"
	wait "$daemon"
}

make_messages
check "enable" vmreplica enable vm1 --disk /dev/vda --to 127.0.0.1 --interval 3600
check "start-replication" vmreplica start-replication vm1 || finish
pid=$(cat /run/vmreplicad.state.pid)
under_attack
held_connections
stranger
check "the daemon has not been restarted" alive
finish
