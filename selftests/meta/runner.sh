#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Does selftests/run report each way to fail as a failure? Makes tests that fail in every way and
# runs them through it, one of them in a guest whose kernel warns. Prints TAP; time-limit: 1800
#
# shellcheck disable=SC2317 # the tests are called by their names
set -uo pipefail

root=$(cd "$(dirname "$(readlink -f "$0")")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
number=0 failed=0

# given NAME: a test program, from standard input.
given() {
	cat >"$work/$1"
	chmod +x "$work/$1"
}

# run OPTION... TEST...: leaves $status and $out, with the runner's last line in $last.
run() {
	status=0
	"$root/selftests/run" --logs "$work/logs" "$@" >"$work/out" 2>&1 || status=$?
	last=$(tail -n 1 "$work/out")
}

t() {
	local name=$1
	number=$((number + 1))
	if "$name"; then
		echo "ok $number - ${name//_/ }"
	else
		echo "not ok $number - ${name//_/ }"
		sed 's/^/# /' "$work/out"
		failed=1
	fi
}

# fails WHY [OPTION...]: the one test in $work/test is reported as a failure, for that reason.
fails() {
	local why=$1
	shift
	run "$@" "$work/test"
	[[ $status -eq 1 && $last =~ ^[0-9]+\ passed,\ 1\ failed && $(<"$work/out") == *"$why"* &&
	$(<"$work/out") == *"FAILED   file/test"* ]]
}

what_passes() {
	given test <<<$'#!/bin/sh\necho "TAP version 13"; echo 1..2; echo "ok 1 - a"; echo "# words"; echo "ok 2 - b"'
	run "$work/test"
	[[ $status -eq 0 && $last == "2 passed, 0 failed" ]]
}

a_point_that_failed() {
	given test <<<$'#!/bin/sh\necho 1..2; echo "ok 1 - a"; echo "not ok 2 - b"; exit 1'
	fails "not ok 2 - b"
}

a_point_that_failed_though_the_status_is_0() {
	given test <<<$'#!/bin/sh\necho 1..1; echo "not ok 1 - a"'
	fails "exit status is 0 though"
}

a_status_of_1_though_all_is_ok() {
	given test <<<$'#!/bin/sh\necho 1..1; echo "ok 1 - a"; exit 1'
	fails "its exit status is 1"
}

no_output() {
	given test <<<$'#!/bin/sh\nexit 0'
	fails "it printed no result"
}

output_that_is_no_tap() {
	given test <<<$'#!/bin/sh\necho all is well; echo "# ok 1 - in a comment"; echo "  ok 1 - indented"'
	fails "it printed no result"
}

a_plan_cut_short() {
	given test <<<$'#!/bin/sh\necho 1..3; echo "ok 1 - a"; echo "ok 2 - b"'
	fails "it planned 3 results and printed 2"
}

more_than_the_plan() {
	given test <<<$'#!/bin/sh\necho 1..1; echo "ok 1 - a"; echo "ok 2 - b"'
	fails "it planned 1 results and printed 2"
}

no_plan() {
	given test <<<$'#!/bin/sh\necho "ok 1 - a"'
	fails "it printed 0 plans"
}

a_plan_of_nothing() {
	given test <<<$'#!/bin/sh\necho 1..0'
	fails "it planned nothing"
}

results_out_of_order() {
	given test <<<$'#!/bin/sh\necho 1..2; echo "ok 1 - a"; echo "ok 3 - b"'
	fails "not numbered in order"
}

a_bail_out() {
	given test <<<$'#!/bin/sh\necho 1..1; echo "ok 1 - a"; echo "Bail out! no more"'
	fails "it bailed out"
}

a_signal() {
	given test <<<$'#!/bin/bash\necho 1..1; echo "ok 1 - a"; kill -SEGV $$'
	fails "ended by signal 11"
}

a_time_out() {
	given test <<<$'#!/bin/sh\n# time-limit: 1\necho 1..1; echo "ok 1 - a"; sleep 1000'
	fails "had not ended after 1 s"
}

a_time_out_of_what_ignores_signals() {
	given test <<<$'#!/bin/bash\ntrap "" TERM\necho 1..1; echo "ok 1 - a"; while :; do sleep 1; done'
	fails "had not ended after 1 s" --time-limit 1
}

a_test_that_cannot_run() {
	given test <<<$'#!/no/such/interpreter\necho 1..1; echo "ok 1 - a"'
	fails "its exit status is 12"
}

a_skip() {
	given test <<<$'#!/bin/sh\necho 1..2; echo "ok 1 - a"; echo "ok 2 - b # SKIP not today"'
	fails "skipped, which nothing allows" && [[ $last == "1 passed, 1 failed, 1 skipped" ]]
}

# Only a newer kernel may lack something.
a_skip_for_lack() {
	given test <<<$'#!/bin/sh\necho 1..2; echo "ok 1 - a"; echo "ok 2 - b # SKIP this kernel has no b"'
	fails "skipped, which nothing allows"
}

a_skip_as_a_whole() {
	given test <<<$'#!/bin/sh\nexit 4'
	fails "skipped, which nothing allows"
}

an_allowed_skip_is_none() {
	given test <<<$'#!/bin/sh\necho 1..2; echo "ok 1 - a"; echo "ok 2 - b # SKIP not today"'
	run --allow-skip file/test "$work/test"
	[[ $status -eq 0 && $last == "1 passed, 0 failed, 1 skipped" ]]
}

nothing_but_skips() {
	given test <<<$'#!/bin/sh\necho "1..0 # SKIP not here"'
	run --allow-skip file/test "$work/test"
	[[ $status -eq 1 && $last == "0 passed, 0 failed, 1 skipped" ]]
}

a_test_that_is_not_there() {
	run "$work/no-such-test"
	[[ $status -eq 1 && $last == "0 passed, 1 failed" ]] || return 1
	run kmod/no-such-test
	[[ $status -eq 1 && $last == "0 passed, 1 failed" ]]
}

one_failure_among_many() {
	local i names=()
	for i in 1 2 3 4 5 6; do
		given "test-$i" <<<$'#!/bin/sh\necho 1..1; echo "ok 1 - a"'
		names+=("$work/test-$i")
	done
	given test-4 <<<$'#!/bin/sh\necho 1..1; echo "not ok 1 - this one"; exit 1'
	run --jobs 3 "${names[@]}"
	[[ $status -eq 1 && $last == "5 passed, 1 failed" && $(<"$work/out") == *"not ok 1 - this one"* ]]
}

# The command in the guest succeeds and prints TAP; only its kernel is not content.
a_kernel_that_warns() {
	cp -r "$root/selftests/guest/warn" "$work/warn"
	"$root/tools/kernel" --build-folder 6.1 "$work/warn" >"$work/out" 2>&1 || return 1
	given test <<END
#!/bin/sh
# The guest has a /tmp of its own.
exec "$root/tools/guest" --no-module --share "$work" -- sh -c \
	'insmod $work/warn/guest_warn.ko 2>/dev/null; echo 1..1; echo "ok 1 - a"'
END
	fails "its exit status is 125" && [[ $(<"$work/out") == *"the kernel reported a problem"* ]]
}

tests=(what_passes a_point_that_failed a_point_that_failed_though_the_status_is_0
	a_status_of_1_though_all_is_ok no_output output_that_is_no_tap a_plan_cut_short
	more_than_the_plan no_plan a_plan_of_nothing results_out_of_order a_bail_out a_signal a_time_out
	a_time_out_of_what_ignores_signals a_test_that_cannot_run a_skip a_skip_for_lack a_skip_as_a_whole
	an_allowed_skip_is_none nothing_but_skips a_test_that_is_not_there one_failure_among_many
	a_kernel_that_warns)
echo "1..${#tests[@]}"
for name in "${tests[@]}"; do t "$name"; done
exit $failed
