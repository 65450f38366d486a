#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Three disks of a VM, a whole one, a logical volume and a partition of odd size, are
# written all the time, each write only after the one before it: each point must be of
# one instant on all three (stamps.c says how that shows). Its fourth disk is left out of
# the relationship, as one does with what is swapped to, and costs nothing. Prints TAP.
#
# time-limit: 900
#
# shellcheck disable=SC2317 # check() calls functions by their names
set -uo pipefail

here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
root=$(cd "$here/../.." && pwd)
build=${VMREPLICA_BUILD:-$root/build}
stamps=$build/selftests/e2e/stamps
if [[ ! ${GUEST-} ]]; then
	mkdir -p "$(dirname "$stamps")"
	gcc -O2 -Wall -Wextra -Werror -o "$stamps" "$here/stamps.c" || exit 1
	exec "$root/tools/guest" --kernel "${KERNEL:-6.1}" --service --timeout 800 \
		--memory 1536M --disk 8M --disk 16M --disk 16M --disk 32M --disk store:2G -- "$here/$(basename "$0")"
fi
# shellcheck source=selftests/e2e/e2e.bash
. "$here/e2e.bash"

readonly PASSES=6
devices=(/dev/vda /dev/mapper/volume /dev/vdc1)
readonly excluded=/dev/vdd

p() { "$@"; }
r() { "$@"; }

# Neither size is a multiple of a chunk.
make_disks() {
	dmsetup create volume --noudevsync --table '0 16389 linear /dev/vdb 2048' && dmsetup mknodes &&
		addpart /dev/vdc 1 2048 16387 && until_true 60 test -b /dev/vdc1 &&
		equal '8388608 8391168 8390144' "$(for d in "${devices[@]}"; do blockdev --getsize64 "$d"; done | paste -sd ' ')"
}

# judge N: the point's disks hold stamps of one instant; prints the last one
judge() {
	local disks=() file
	for file in $(point vm1 "$1" '.disks[].file'); do
		disks+=("$e2e_work/disk${#disks[@]}")
		qemu-img convert -O raw "$file" "${disks[-1]}" || return 1
	done
	equal 3 ${#disks[@]} && "$stamps" verify "${disks[@]}"
}

# The newest point is of one instant, and of a later one than the point before.
judge_newest() {
	local before=$last
	judge -1 >"$e2e_work/last" || return 1
	last=$(<"$e2e_work/last")
	at_least $((before + 1)) "$last"
}

all_points() {
	local i points
	points=$(count vm1)
	for ((i = 0; i < points; i++)); do judge "$i" || return 1; done
	equal $((PASSES + 2)) "$points"
}

same() {
	local i
	for i in 0 1 2; do
		qemu-img compare -T none -f raw -F qcow2 "${devices[i]}" "$(point vm1 -1 ".disks[$i].file")" || return 1
	done
}

fill_excluded() { dd if=/dev/urandom of=$excluded bs=1M oflag=direct status=none 2>/dev/null; [[ $? -eq 1 ]]; }

# What a pass over disks at rest ships after all of the disk that is left out was written.
excluded_ships() {
	fill_excluded && vmreplica replicate vm1 >/dev/null && job vm1 .total_bytes
}

under_load() {
	local i
	"$stamps" write "$e2e_work/stop" "${devices[@]}" >"$e2e_work/written" &
	writer=$!
	last=0
	check "start-replication while it is written" vmreplica start-replication vm1
	check "the first point is of one instant" judge_newest
	for ((i = 1; i <= PASSES; i++)); do
		check "pass $i makes a point" vmreplica replicate vm1
		check "pass $i: all disks are of one later instant" judge_newest
	done
}

at_rest_again() {
	touch "$e2e_work/stop"
	wait "$writer"
	say "$(<"$e2e_work/written") stamps were written"
	check "at rest: replicate" vmreplica replicate vm1
	check "at rest: the point is the disks, bit for bit" same
	check "at rest: it holds all stamps" equal "$(<"$e2e_work/written")" "$(judge -1)"
	check "all points are still of one instant" all_points
	check "the fourth disk, all written, costs nothing" equal 0 "$(excluded_ships)"
	check "and is no disk of the relationship" equal 3 "$(field vm1 '.disks | length')"
}

check "three disks" make_disks || finish
check "enable" vmreplica enable vm1 --disk "${devices[0]}" --disk "${devices[1]}" --disk "${devices[2]}" \
	--to 127.0.0.1 --interval 3600 || finish
under_load
at_rest_again
finish
