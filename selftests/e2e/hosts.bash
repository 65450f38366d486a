# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# For end-to-end tests of two hosts: a primary, of which /dev/vda and so on are files
# of this host, and a replica. To be sourced after e2e.bash; $root is the project's folder.

# shellcheck source=tools/lib/guests.sh
. "$root/tools/lib/guests.sh"

# p WORD...: run a command on the primary
p() { on primary "$(printf '%q ' "$@")"; }
r() { on replica "$(printf '%q ' "$@")"; }

# start_hosts SIZE...: a disk of the primary for each
start_hosts() {
	local size number=0
	guests_init
	trap 'guests_kill; rm -rf "$e2e_work"' EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
	disks=()
	for size in "$@"; do
		truncate -s "$size" "$guests_dir/disk$number"
		disks+=(--disk "$guests_dir/disk$number")
		number=$((number + 1))
	done
	start_primary
	guests_start replica --kernel "${KERNEL:-6.1}" --service --disk store:4G --timeout 2300
	guests_ready primary replica || exit 1
}

start_primary() { guests_start primary --kernel "${KERNEL:-6.1}" --service --timeout 2300 "${disks[@]}"; }

# A power cut of the primary, and what follows. Its disks and the daemon's state stay.
reboot_primary() {
	p cp -r /var/lib/vmreplica/primary "$guests_dir/state"
	guests_cut primary
	start_primary
	guests_ready primary || return 1
	end_daemon primary TERM
	on primary "cp -r $guests_dir/state/. /var/lib/vmreplica/primary"
	start_daemon primary
}

# The guests' kernels are judged as well.
stop_hosts() {
	check "both guests end well, their kernels have nothing to report" guests_stop
	trap - EXIT
}

# same VM NUMBER: the newest point is what the primary's disk NUMBER holds
same() {
	p sync
	rm -f "$guests_dir/point"
	r qemu-img convert -O raw "$(point "$1" -1 .disks[0].file)" "$guests_dir/point" &&
		cmp "$guests_dir/point" "$guests_dir/disk$2"
}

# --- daemons ----------------------------------------------------------------------------

# end_daemon NAME SIGNAL: and wait until it has ended
end_daemon() {
	on "$1" ". $root/tools/lib/ended.sh; pid=\$(cat /run/vmreplicad.state.pid); kill -$2 \$pid; until ended \$pid; do sleep 0.1; done"
}

# signal_daemon NAME SIGNAL
signal_daemon() {
	# shellcheck disable=SC2016 # for the guest's shell
	on "$1" 'kill -'"$2"' $(cat /run/vmreplicad.state.pid)'
}

start_daemon() {
	# shellcheck disable=SC2016 # for the guest's shell
	on "$1" 'setsid vmreplicad >>/var/log/vmreplicad.log 2>&1 & echo $! >/run/vmreplicad.state.pid
		for i in $(seq 1800); do vmreplica status >/dev/null 2>&1 && exit 0; sleep 0.1; done; exit 1'
}

# --- the network ------------------------------------------------------------------------

# link NAME up|down: the wire to the other one
link() { on "$1" "ip link set \$(ip -o addr show | awk '/peer 10.77.0.[12]\// { print \$2 }') $2"; }

# slow RATE, as tc(8) takes it: what the primary sends
slow() {
	on primary "tc qdisc replace dev \$(ip -o addr show | awk '/peer 10.77.0.2\// { print \$2 }') root tbf rate $1 burst 256kb latency 300ms"
}
