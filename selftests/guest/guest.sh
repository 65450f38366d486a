#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Does tools/guest report each thing as what it is? A runner that cannot fail
# makes every other test worthless. Prints TAP; needs root, as the guest does.
#
# shellcheck disable=SC2317 # the tests are called by their names
#
# Usage: guest.sh [NUMBER-OF-TEST...]; KERNEL=6.12 for another kernel.
set -uo pipefail

root=$(cd "$(dirname "$(readlink -f "$0")")/../.." && pwd)
build=${VMREPLICA_BUILD:-$root/build}
guest=$root/tools/guest
kernel=${KERNEL:-6.1}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$root" || exit 1

failed=0 number=0 only=" $* "

# run OPTION... -- COMMAND...: leaves $status, $work/out and $work/err.
run() {
	status=0
	"$guest" --no-module --kernel "$kernel" "$@" >"$work/out" 2>"$work/err" || status=$?
}

# expect WHAT COMMAND...: one condition of the test that is running.
expect() {
	local what=$1
	shift
	"$@" && return
	echo "# not so: $what (status $status)"
	sed 's/^/# err: /' "$work/err" | tail -n 20
	ok=0
}

is() { [[ $1 == "$2" ]]; }
said() { grep -q -e "$1" "$work/err"; }

t() {
	local name=$1
	number=$((number + 1))
	[[ $only == "  " || $only == *" $number "* ]] || return 0
	ok=1
	$name
	if [[ $ok == 1 ]]; then
		echo "ok $number - ${name//_/ }"
	else
		echo "not ok $number - ${name//_/ }"
		failed=1
	fi
}

passes_output_and_arguments() {
	# shellcheck disable=SC1003,SC2016
	local args=('' 'a b' $'new\nline' "it's" '"' '$HOME' '*' '\' '-- --x' ü)
	# shellcheck disable=SC2016
	run -- bash -c 'printf "%s\0" "$@"; pwd >&2; [[ ! -t 0 && $(id -u) == 0 ]]' - "${args[@]}"
	expect "status 0" is "$status" 0
	printf '%s\0' "${args[@]}" >"$work/want"
	expect "each argument as it was" cmp "$work/want" "$work/out"
	expect "the current directory" said "^$root\$"
}

passes_binary_output_whole() {
	run -- sh -c 'head -c 20000000 /dev/zero | tr "\0" "\377"; seq 1 100000 >&2'
	expect "status 0" is "$status" 0
	expect "all of the output" is "$(tr -d '\377' <"$work/out" | wc -c),$(wc -c <"$work/out")" 0,20000000
	expect "all of the errors" is "$(sha256sum <"$work/err")" "$(seq 1 100000 | sha256sum)"
}

passes_the_status() {
	run -- sh -c 'exit 77'
	expect "status 77" is "$status" 77
	expect "not a word" is "$(cat "$work/err")" ''
}

passes_a_signal_as_status() {
	# shellcheck disable=SC2016
	run -- bash -c 'kill -SEGV $$'
	expect "status 139" is "$status" 139
}

tells_an_unknown_command() {
	run -- no-such-command
	expect "status 127" is "$status" 127
}

does_not_wait_for_what_the_command_leaves() {
	run --timeout 300 -- sh -c 'sleep 1000 & echo done'
	expect "status 0" is "$status" 0
	expect "the output" is "$(cat "$work/out")" "done"
}

passes_output_as_it_comes() {
	local first last
	"$guest" --no-module --kernel "$kernel" -- sh -c 'echo a; sleep 3; echo b' |
		while read -r _; do date +%s%N; done >"$work/times"
	{ read -r first && read -r last; } <"$work/times"
	status=0
	expect "the lines come apart" is $((last - first > 2000000000)) 1
}

reports_a_timeout() {
	run --timeout 90 -- sh -c 'echo begun; sleep 1000'
	expect "status 124" is "$status" 124
	expect "a word about it" said '^guest: timeout'
	expect "the output until then" is "$(cat "$work/out")" begun
}

# Too little time for any kernel; that it is started anew is seen by the words.
ends_what_does_not_come_up() {
	local GUEST_BOOT_SECONDS=1
	export GUEST_BOOT_SECONDS
	run -- echo begun
	expect "status 123" is "$status" 123
	expect "a word for each of three tries" is "$(grep -c '^guest: the kernel did not come up in 1 s' "$work/err")" 3
	expect "no output" is "$(cat "$work/out")" ''
}

# expect_threads THREADS VERSION KERNEL: of a QEMU of that version, which only notes what it is
# asked for.
expect_threads() {
	echo "$2" >"$work/version"
	run --kernel "$3" -- true
	expect "$1 thread with QEMU $2 and Linux $3" grep -q "thread=$1 " "$work/asked"
}

emulates_newer_kernels_as_its_qemu_can() {
	local PATH=$work/bin:$PATH
	export PATH
	# Where nothing is emulated there is nothing to choose.
	grep -q tcg "$build"/guest/accel-* || return 0
	mkdir "$work/bin"
	cat >"$work/bin/qemu-system-x86_64" <<-END
		#!/bin/sh
		[ "\$1" != --version ] || exec sed 's/.*/QEMU emulator version & (Debian)/' $work/version
		echo "\$* " >$work/asked
	END
	chmod +x "$work/bin/qemu-system-x86_64"
	expect_threads single 7.2.22 7.3
	expect_threads multi 7.2.22 6.1
	expect_threads multi 8.1.0 7.3
	expect_threads multi 10.0.2 7.3
}

reports_a_reset_as_no_result() {
	run -- sh -c 'echo b >/proc/sysrq-trigger; sleep 100'
	expect "status 123" is "$status" 123
	expect "a word about it" said '^guest: the guest ended without a result'
}

reports_a_panic() {
	run -- sh -c 'echo c >/proc/sysrq-trigger; sleep 100'
	expect "status 125" is "$status" 125
	expect "the panic itself" said 'Kernel panic - not syncing: sysrq triggered crash'
}

# Built in a copy: the source tree stays clean.
build_warn() {
	cp -r "$root/selftests/guest/warn" "$work/"
	warn=$work/warn/guest_warn.ko
	"$root/tools/kernel" --build-folder "$kernel" "$work/warn" >"$work/make" 2>&1 ||
		{ sed 's/^/# /' "$work/make" && return 1; }
}

reports_a_warning_though_the_command_succeeds() {
	run --share "$work" -- sh -c "insmod $warn what=warn; true"
	expect "status 125" is "$status" 125
	expect "the warning's text" said 'provoked by a test'
	expect "where it was" said 'guest_warn_init'
}

reports_an_oops() {
	run --share "$work" -- sh -c "insmod $warn what=oops; exit 3"
	expect "status 125" is "$status" 125
	expect "the oops" said 'BUG: kernel NULL pointer dereference'
}

takes_only_the_kernels_own_lines_for_reports() {
	run --share "$work" -- sh -c "insmod $warn what=print; echo 'WARNING: no' >/dev/kmsg; dmesg | grep -c WARNING:"
	expect "status 0" is "$status" 0
	expect "both lines in the log" is "$(cat "$work/out")" 2
}

shares_a_folder() {
	mkdir -p "$work/a b"
	echo from-host >"$work/a b/in"
	# shellcheck disable=SC2016
	run --share "$work/a b" -- sh -c 'cat "$1/in" && echo from-guest >"$1/out"' - "$work/a b"
	expect "status 0" is "$status" 0
	expect "the host's file" is "$(cat "$work/out")" from-host
	expect "the guest's file" is "$(cat "$work/a b/out")" from-guest
}

leaves_the_host_alone() {
	run -- sh -c 'rm -rf /etc/hostname /usr/share/doc/bash; echo x >/etc/vmreplica-test; ls /etc/vmreplica-test'
	expect "a change seen inside" is "$(cat "$work/out")" /etc/vmreplica-test
	expect "no change outside" test ! -e /etc/vmreplica-test -a -e /usr/share/doc/bash
}

keeps_what_a_disk_holds() {
	truncate -s 64M "$work/a disk,1.raw"
	run --disk 1G --disk "$work/a disk,1.raw" --disk store:256M -- sh -c \
		'cat /sys/block/vda/size; echo kept | dd of=/dev/vdb bs=512 seek=7 conv=sync 2>&1 &&
		mountpoint -q /var/lib/vmreplica && echo mounted'
	expect "status 0" is "$status" 0
	expect "the size" is "$(head -n1 "$work/out")" 2097152
	expect "the store" is "$(tail -n1 "$work/out")" mounted
	run --disk "$work/a disk,1.raw" -- dd if=/dev/vda bs=512 skip=7 count=1
	expect "what was written" is "$(head -n1 "$work/out")" kept
}

# One is on another link, with the address of one that does not exist on this.
links_guests() {
	local link=test-$$ others=() i with=("$guest" --no-module --kernel "$kernel" --timeout 600)
	"${with[@]}" --link "$link" --name replica -- timeout 500 socat -u TCP-LISTEN:7000,reuseaddr STDOUT >"$work/got" &
	others+=($!)
	"${with[@]}" --link "$link-2" --name third -- timeout 30 socat -u TCP-LISTEN:7000,reuseaddr STDOUT >"$work/other" &
	others+=($!)
	status=0
	"${with[@]}" --link "$link" --name primary -- bash -c '
		seq 1 1000000 >/tmp/data
		until socat -u /tmp/data TCP:replica:7000 2>/dev/null; do sleep 0.2; done
		! timeout 5 socat -u /tmp/data TCP:third:7000 2>/dev/null' >"$work/out" 2>"$work/err" || status=$?
	expect "status 0" is "$status" 0
	for i in "${others[@]}"; do wait "$i"; done
	expect "all that was sent" is "$(sha256sum <"$work/got")" "$(seq 1 1000000 | sha256sum)"
	expect "nothing on the other link" is "$(cat "$work/other")" ''
}

# eventually COMMAND...: it succeeds, within three minutes
eventually() {
	local end=$((SECONDS + 180))
	until "$@" >/dev/null; do
		[[ $SECONDS -lt $end ]] || return 1
		sleep 0.1
	done
}

ends_when_it_is_told_to() {
	local pid
	TMPDIR=$work "$guest" --no-module --kernel "$kernel" -- sleep 1000 &
	pid=$!
	expect "QEMU runs" eventually pgrep -f "$work/vmreplica-guest"
	kill -TERM "$pid"
	status=0
	wait "$pid" || status=$?
	expect "status 143" is "$status" 143
	expect "no files left" is "$(find "$work" -maxdepth 1 -name 'vmreplica-guest.*')" ''
	expect "no QEMU left" is "$(pgrep -f "$work/vmreplica-guest")" ''
}

refuses_what_it_does_not_know() {
	run --no-such-option -- true
	expect "status 122" is "$status" 122
	run --disk /no/such/file -- true
	expect "status 122" is "$status" 122
	run
	expect "status 122" is "$status" 122
}

# with_service FLAGS COMMAND...: a stand-in is the daemon, in a build folder
# that has all else from the project's own.
with_service() {
	mkdir -p "$work/build"
	ln -sfn "$build/kernels" "$work/build/kernels"
	ln -sfn "$build/trixie" "$work/build/trixie"
	# shellcheck disable=SC2086 # flags, or none
	gcc $1 -Wall -o "$work/build/vmreplicad" "$root/selftests/guest/service.c" -lsystemd || return
	shift
	status=0
	VMREPLICA_BUILD=$work/build "$guest" --kernel "$kernel" --service -- "$@" \
		>"$work/out" 2>"$work/err" || status=$?
}

starts_the_service() {
	with_service '' sh -c 'grep ^blkcbt /proc/modules && busctl --list | grep org.vmreplica; cat /var/log/vmreplicad.log'
	expect "status 0" is "$status" 0
	expect "module, name and log" is "$(sed 's/[ .].*//' "$work/out" | tr '\n' ' ')" "blkcbt org stand-in "
}

tells_that_the_service_crashed() {
	with_service '' pkill -SEGV vmreplicad
	expect "status 1" is "$status" 1
	expect "the signal" said 'vmreplicad crashed (signal 11)'
}

tells_that_the_service_does_not_start() {
	with_service -DCRASH echo not-reached
	expect "status 1" is "$status" 1
	expect "its log" said 'stand-in started'
	expect "no command run" is "$(cat "$work/out")" ''
}

if ! build_warn; then
	echo "Bail out! the test's module does not build"
	exit 1
fi
tests=(passes_output_and_arguments passes_binary_output_whole passes_the_status
	passes_a_signal_as_status tells_an_unknown_command
	does_not_wait_for_what_the_command_leaves passes_output_as_it_comes
	reports_a_timeout ends_what_does_not_come_up
	emulates_newer_kernels_as_its_qemu_can reports_a_reset_as_no_result reports_a_panic
	reports_a_warning_though_the_command_succeeds reports_an_oops
	takes_only_the_kernels_own_lines_for_reports shares_a_folder
	leaves_the_host_alone keeps_what_a_disk_holds
	ends_when_it_is_told_to refuses_what_it_does_not_know links_guests
	starts_the_service tells_that_the_service_crashed
	tells_that_the_service_does_not_start)
echo "1..${#tests[@]}"
for name in "${tests[@]}"; do t "$name"; done
exit $failed
