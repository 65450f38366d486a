# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What the end-to-end tests share. A test sources this and prints TAP, a line for
# each check(); most of what is here speaks to the primary by p and to the replica
# by r, which the test defines: in a guest that is both, they just run a command.

e2e_number=0 e2e_failed=0
e2e_work=$(mktemp -d)

# --- TAP --------------------------------------------------------------------------

say() { sed 's/^/# /' <<<"$*"; }

# result STATUS WHAT, with what the check printed; returns the status
result() {
	e2e_number=$((e2e_number + 1))
	if [[ $1 -eq 0 ]]; then
		echo "ok $e2e_number - $2"
		return 0
	fi
	tail -n 20 "$e2e_work/check" | sed 's/^/# /'
	echo "not ok $e2e_number - $2"
	e2e_failed=$((e2e_failed + 1))
	return "$1"
}

# check WHAT COMMAND...: the command must succeed. Where nothing that follows makes sense
# without it: check … || finish
check() {
	local what=$1 status=0
	shift
	"$@" >"$e2e_work/check" 2>&1 </dev/null || status=$?
	[[ $status -eq 0 ]] || echo "(status $status: $*)" >>"$e2e_work/check"
	result "$status" "$what"
}

# refused WHAT PATTERN COMMAND...: exit status 1, nothing but one line on standard
# error, and that matches
refused() {
	local what=$1 pattern=$2 status=0 bad=0
	shift 2
	"$@" >"$e2e_work/out" 2>"$e2e_work/err" </dev/null || status=$?
	[[ $status -eq 1 && ! -s $e2e_work/out && $(wc -l <"$e2e_work/err") -eq 1 ]] || bad=1
	grep -q -e "^vmreplica: .*$pattern" "$e2e_work/err" || bad=1
	{
		echo "status $status of $*; expected: $pattern"
		cat "$e2e_work/out" "$e2e_work/err"
	} >"$e2e_work/check"
	result $bad "refused: $what"
}

# fails_saying PATTERN COMMAND...
fails_saying() {
	local pattern=$1
	shift
	if "$@" >"$e2e_work/said" 2>&1; then
		echo "it did not fail"
		return 1
	fi
	cat "$e2e_work/said"
	grep -q -e "$pattern" "$e2e_work/said"
}

# equal EXPECTED ACTUAL
equal() {
	[[ $1 == "$2" ]] && return
	echo "expected $1, got $2"
	return 1
}

# at_most LIMIT NUMBER
at_most() {
	[[ $2 -le $1 ]] && return
	echo "expected at most $1, got $2"
	return 1
}

at_least() {
	[[ $2 -ge $1 ]] && return
	echo "expected at least $1, got $2"
	return 1
}

# until_true SECONDS COMMAND...
until_true() {
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		if [[ $SECONDS -ge $end ]]; then
			echo "still not so: $*"
			return 1
		fi
		sleep 0.1
	done
}

finish() {
	echo "1..$e2e_number"
	rm -rf "$e2e_work"
	exit $((e2e_failed > 0))
}

# --- looking ------------------------------------------------------------------------

# field VM PATH: of the primary's relationship
field() {
	p vmreplica status "$1" --json |
		jq -r "[.relationships[] | select(.role == \"primary\")][0]$2"
}

replica_field() {
	r vmreplica status "$1" --json |
		jq -r "[.relationships[] | select(.role == \"replica\")][0]$2"
}

# is VM PATH VALUE
is() { equal "$3" "$(field "$1" "$2")"; }

# look VM, then saw PATH VALUE: several of one answer
look() { p vmreplica status "$1" --json >"$e2e_work/look"; }
saw_field() { jq -r "[.relationships[] | select(.role == \"primary\")][0]$1" "$e2e_work/look"; }
saw() { equal "$2" "$(saw_field "$1")"; }

at_rest() { is "$1" .job null >/dev/null; }

points() { r vmreplica points "$1" --json; }
count() { points "$1" | jq '.points | length'; }

# point VM N PATH: of the Nth point, from 0, or from the newest, -1
point() { points "$1" | jq -r ".points[$2]$3"; }

# job VM PATH: of its newest job
job() { p vmreplica jobs --json | jq -r "[.jobs[] | select(.vm == \"$1\")][-1]$2"; }

# half_way VM: its newest job has sent something, and is not over
half_way() {
	local sent total
	read -r sent total < <(job "$1" '| "\(.done_bytes) \(.total_bytes)"')
	[[ $sent -gt 1048576 && $sent -lt $total ]]
}

# --- doing -------------------------------------------------------------------------

# scribble DEVICE MIB-AT MIB: random data, on the disk when it returns
scribble() {
	p dd if=/dev/urandom of="$1" bs=1M seek="$2" count="$3" oflag=direct conv=notrunc status=none
}