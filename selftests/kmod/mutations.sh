#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Breaks the module with its debug switches, one after another: the stress test must find
# that writes are missed each time. A test that cannot fail proves nothing. Needs the module
# built with CBT_DEBUG=y.
set -uo pipefail

stress=$VMREPLICA_BUILD/selftests/kmod/stress
parameters=/sys/module/blkcbt/parameters
number=0 failed=0

result() {
	number=$((number + 1))
	echo "$1 $number - $2"
	[[ $1 == ok ]] || failed=1
}

set_switches() {
	local switch
	for switch in "$@"; do echo "${switch#*=}" >"$parameters/${switch%=*}" || return 1; done
}

# finds SECONDS SETUP SWITCH=VALUE...: the stress fails because of a write that was missed.
finds() {
	local seconds=$1 setup=$2 log status
	shift 2
	if ! set_switches "$@"; then
		result "not ok" "the module has no switches $*"
		return
	fi
	log=$("$stress" "$setup" "$seconds" 2>&1)
	status=$?
	set_switches "${@/%=*/=0}"
	sed 's/^/# /' <<<"$log"
	if [[ $status -eq 1 ]] && grep -q '^# MISSED' <<<"$log"; then
		result ok "$* is found out"
	else
		result "not ok" "$* is found out"
	fi
}

# passes SECONDS SETUP WORD SWITCH=VALUE...: no write is missed; WORD is none or distrust.
passes() {
	local seconds=$1 setup=$2 word=$3 log status
	shift 3
	set_switches "$@"
	# shellcheck disable=SC2086 # no argument for "none"
	log=$("$stress" "$setup" "$seconds" ${word#none} 2>&1)
	status=$?
	set_switches "${@/%=*/=0}"
	sed 's/^/# /' <<<"$log"
	if [[ $status -eq 0 ]]; then result ok "$* loses nothing"; else result "not ok" "$* loses nothing"; fi
}

echo "1..6"
passes 5 null none forget_mark=0
finds 15 null forget_mark=40
finds 15 null skip_recheck=1 enter_delay_us=1500
finds 15 slow skip_seal=1
# The delay alone harms nothing; without memory a disk is untrusted, and not wrong.
passes 5 null none enter_delay_us=1500
passes 5 null distrust fail_alloc=50
exit $failed
