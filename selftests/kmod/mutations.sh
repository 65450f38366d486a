#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Breaks the module with its debug switches, one after another: the stress test must find
# it out each time. A test that cannot fail proves nothing. Needs the module built with CBT_DEBUG=y.
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

# finds SECONDS SETUP WORD SWITCH=VALUE...: the stress fails, and complains of WORD: MISSED, or
# LATER, a write of after the cut in an image.
finds() {
	local seconds=$1 setup=$2 word=$3 log status
	shift 3
	if ! set_switches "$@"; then
		result "not ok" "the module has no switches $*"
		return
	fi
	log=$("$stress" "$setup" "$seconds" 2>&1)
	status=$?
	set_switches "${@/%=*/=0}"
	sed 's/^/# /' <<<"$log"
	if [[ $status -eq 1 ]] && grep -q "^# $word" <<<"$log"; then
		result ok "$setup: $* is found out"
	else
		result "not ok" "$setup: $* is found out"
	fi
}

# passes SECONDS SETUP WORD SWITCH=VALUE...: no write is missed; WORD is none or distrust.
passes() {
	local seconds=$1 setup=$2 word=$3 log status
	shift 3
	if ! set_switches "$@"; then
		result "not ok" "the module has no switches $*"
		return
	fi
	# shellcheck disable=SC2086 # no argument for "none"
	log=$("$stress" "$setup" "$seconds" ${word#none} 2>&1)
	status=$?
	set_switches "${@/%=*/=0}"
	sed 's/^/# /' <<<"$log"
	if [[ $status -eq 0 ]]; then
		result ok "$setup: $* loses nothing"
	else
		result "not ok" "$setup: $* loses nothing"
	fi
}

echo "1..11"
passes 3 null none forget_mark=0
finds 15 null MISSED forget_mark=40
finds 15 null MISSED skip_recheck=1 enter_delay_us=1500
finds 15 slow MISSED skip_seal=1
finds 15 null-image LATER skip_hold=1
finds 15 null-image LATER skip_patch=1
# Delays alone harm nothing; without memory a disk is untrusted or a pass fuzzy, and not wrong.
passes 3 null none enter_delay_us=1500
passes 3 mixed-image none mark_delay_us=300 leave_delay_us=300 keep_delay_us=3000
passes 3 slow-image none fail_keep=20
passes 3 null distrust fail_alloc=50
passes 3 null-image distrust fail_alloc=50 fail_keep=7 mark_delay_us=300 keep_delay_us=3000
exit $failed
