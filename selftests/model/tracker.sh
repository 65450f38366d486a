#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# time-limit: 1500
#
# The models of the tracker's protocol (README, tracker.pml, consumers.pml): spin goes through all
# states of the right one, in a few sizes, and finds fault with each that has a mistake built in.
set -uo pipefail

here=$(dirname "$(readlink -f "$0")")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1

# Sizes that a core goes through in less than a minute together, each within 1 GB.
sizes=(
	"-DSHORTAGE -DFULL"
	"-DSHORTAGE -DCHUNKS=1 -DWRITES=2"
	"-DCHUNKS=1 -DWRITERS=3 -DPASSES=1"
	"-DSHORTAGE -DCHUNKS=1 -DBUFFERS"
	"-DPASSES=1 -DBUFFERS"
)
# Of two consumers.
consumers_sizes=(
	"-DONE_IMAGE"
	""
)

# What spin prints of each mistake is one of these.
found='assertion violated|invalid end state'

mistakes() {
	cat <<'END'
M_NO_RECHECK
M_NO_BARRIER_ENTER -DBUFFERS -DCHUNKS=1
M_NO_BARRIER_CUT -DBUFFERS -DCHUNKS=1
M_NO_BARRIER_MARK -DBUFFERS -DCHUNKS=1
M_LATE_ON_OTHER_CPU
M_LEAVE_BEFORE_END
M_CUT_PER_DISK
M_NO_SEAL
M_MERGE_BEFORE_SEAL
M_CLEAR_BEFORE_DURABLE
M_FILL_AFTER_CUT -DFULL
M_PRESERVE_AFTER_CUT
M_LATE_DOES_NOT_LOOK
M_KEEP_BEFORE_SEAL
M_GO_BEFORE_KEPT
M_LOOK_BEFORE_READ
M_RELEASE_BEFORE_READ
M_RELEASED_STAYS
M_OFF_BEFORE_TORN -DSHORTAGE -DCHUNKS=1
M_END_LEAVES_PARKED
M_NO_GATE
M_NO_GRACE_PERIOD
END
}

consumers_mistakes() {
	cat <<'END'
M_CUTTER_ONLY -DONE_IMAGE
M_CUT_WHILE_SEALING -DONE_IMAGE
M_MOVE_BEFORE_SEAL -DONE_IMAGE
M_CLEAR_BEFORE_MOVED -DONE_IMAGE
M_MAP_BEFORE_EPOCH -DONE_IMAGE
M_OVERWRITTEN_IN_EPOCHS_ONLY -DONE_IMAGE
M_ONE_HOLD
M_SLOT_STAYS -DONE_IMAGE
M_GIVEN_UP_IS_FORGOTTEN -DONE_IMAGE
M_COMMIT_DROPS_OWED -DONE_IMAGE
END
}

# explore MODEL COMPILER-OPTION MODEL-OPTION...: leaves in ./out what the search prints.
explore() {
	local model=$1 optimize=$2
	shift 2
	spin -a "$@" "$here/$model.pml" >out 2>&1 &&
		gcc "$optimize" -w -DSAFETY -DCOLLAPSE -DMEMLIM=1000 -o pan pan.c >>out 2>&1 &&
		./pan -m100000 -n >out 2>&1
}

# Through all states, and nothing was wrong.
complete() {
	grep -q 'errors: 0' out && ! grep -qE 'not completed|too small|bound|error: ' out
}

summary() {
	grep -E '^pan:1:|errors:|states, stored|total actual memory|elapsed|rror:' out | sed 's/^[[:space:]]*/# /'
}

result() {
	number=$((number + 1))
	echo "$1 $number - $2"
	[[ $1 == ok ]] || failed=1
	summary
}

# is_right MODEL OPTION...
is_right() {
	local model=$1 word='not ok'
	shift
	if explore "$model" -O2 "$@" && complete; then word=ok; fi
	result "$word" "the protocol is right: $model $*"
	[[ ! -e $model.pml.trail ]] || spin -t -p "$@" "$here/$model.pml" | tail -n 80 | sed 's/^/# /'
	rm -f ./*.trail
}

# is_found_out MODEL OPTION...
is_found_out() {
	local model=$1 word='not ok'
	shift
	explore "$model" -O1 "$@"
	if grep -qE "pan:1: ($found)" out && grep -q 'errors: 1' out; then word=ok; fi
	result "$word" "is found out: $*"
	rm -f ./*.trail
}

number=0 failed=0
command -v spin >/dev/null || { echo "Bail out! there is no spin (tools/install-deps test)" && exit 1; }
mapfile -t wrong < <(mistakes)
mapfile -t consumers_wrong < <(consumers_mistakes)
echo "1..$((${#sizes[@]} + ${#wrong[@]} + ${#consumers_sizes[@]} + ${#consumers_wrong[@]}))"
for size in "${sizes[@]}"; do
	read -ra options <<<"$size"
	is_right tracker "${options[@]}"
done
for mistake in "${wrong[@]}"; do
	read -ra options <<<"-D$mistake"
	is_found_out tracker "${options[@]}"
done
for size in "${consumers_sizes[@]}"; do
	read -ra options <<<"$size"
	is_right consumers "${options[@]}"
done
for mistake in "${consumers_wrong[@]}"; do
	read -ra options <<<"-D$mistake"
	is_found_out consumers "${options[@]}"
done
exit $failed
