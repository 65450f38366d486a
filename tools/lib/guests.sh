# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Several guests on a link, driven from the host: start them, run commands in
# them while they run, stop them. To be sourced; $root is the project's folder.
#
#   guests_init                 before all else; sets $guests_dir
#   guests_start NAME OPTION... start a guest; the options are tools/guest's
#   guests_ready NAME...        wait until they can be used
#   on NAME SCRIPT              run SCRIPT with bash in a guest: its output comes
#                               as it is written, its status is on's
#   guests_cut NAME             end one as a power cut does; it can be started again
#   guests_stop                 end them; fails if one did not end well
#   guests_kill                 for a trap: leave nothing behind
#
# Guests see $guests_dir under the same path; the host and all guests may use
# it to hand files over.

declare -A guests_pids=()

guests_init() {
	# Directly below /tmp: see --share of tools/guest.
	guests_dir=$(mktemp -d /tmp/vmreplica-guests.XXXXXX)
	guests_link=link-${guests_dir##*.}
}

guests_start() {
	local name=$1
	shift
	rm -rf "${guests_dir:?}/$name"
	mkdir "$guests_dir/$name"
	# shellcheck disable=SC2154 # set by who sources this
	"$root/tools/guest" --link "$guests_link" --name "$name" --share "$guests_dir" "$@" -- \
		"$root/tools/lib/guest-shell" "$guests_dir/$name" >"$guests_dir/$name/log" 2>&1 </dev/null &
	guests_pids[$name]=$!
}

guests_alive() { kill -0 "${guests_pids[$1]}" 2>/dev/null; }

guests_ready() {
	local name
	for name in "$@"; do
		until [[ -e $guests_dir/$name/ready ]]; do
			if ! guests_alive "$name"; then
				echo "the guest $name did not start:" >&2
				tail -n 20 "$guests_dir/$name/log" >&2
				return 1
			fi
			sleep 0.1
		done
	done
}

# A request is a file that the guest finds; the answer grows while it is read.
on() {
	local name=$1 dir=$guests_dir/$1 id fd status
	id=$(mktemp -u XXXXXXXX)
	: >"$dir/$id.out"
	exec {fd}<"$dir/$id.out"
	printf '%s\n' "$2" >"$dir/$id.new"
	mv "$dir/$id.new" "$dir/$id.run"
	until [[ -e $dir/$id.status ]]; do
		cat <&"$fd"
		if ! guests_alive "$name"; then
			echo "the guest $name has ended: $(tail -n 3 "$dir/log")" >&2
			exec {fd}<&-
			return 123
		fi
		sleep 0.05
	done
	cat <&"$fd"
	exec {fd}<&-
	[[ ! -s $dir/$id.err ]] || cat "$dir/$id.err" >&2
	status=$(<"$dir/$id.status")
	rm -f "$dir/$id".*
	return "$status"
}

guests_cut() {
	kill "${guests_pids[$1]}"
	wait "${guests_pids[$1]}" 2>/dev/null || true
	unset "guests_pids[$1]"
}

guests_stop() {
	local name failed=0
	for name in "${!guests_pids[@]}"; do : >"$guests_dir/$name/stop"; done
	for name in "${!guests_pids[@]}"; do
		if ! wait "${guests_pids[$name]}"; then
			echo "the guest $name did not end well:" >&2
			tail -n 100 "$guests_dir/$name/log" >&2
			failed=1
		fi
		unset "guests_pids[$name]"
	done
	rm -rf "$guests_dir"
	return $failed
}

guests_kill() {
	local name
	for name in "${!guests_pids[@]}"; do
		kill "${guests_pids[$name]}" 2>/dev/null || true
		wait "${guests_pids[$name]}" 2>/dev/null || true
	done
	rm -rf "$guests_dir"
}
