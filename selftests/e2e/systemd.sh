#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What `make install` has put there, under a real systemd, D-Bus and polkit: the units, their
# sandbox and their order at the start, the journal, who may do what. One guest is primary and
# replica. Prints TAP.
#
# time-limit: 900
#
# shellcheck disable=SC2317 # check() calls functions by their names
set -uo pipefail

here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
root=$(cd "$here/../.." && pwd)
# shellcheck source=selftests/e2e/e2e.bash
. "$here/e2e.bash"
# shellcheck source=tools/lib/guests.sh
. "$root/tools/lib/guests.sh"

readonly MIB=1048576
readonly user=games other=backup # of every Debian

guest() { on primary "$(printf '%q ' "$here/systemd-in-guest" "$@")"; }
p() { guest in "$@"; }
r() { p "$@"; }
as() { p setpriv --reuid="$1" --regid="$1" --clear-groups "${@:2}"; }

# --- what is installed ----------------------------------------------------------------

# Units of the names that start machines, each of which writes to the disk as a machine would, and
# says whether the tracking's unit had run and the disk let it.
stand_in() {
	local name=$1 number=$2 wanted_by=$3 more=${4-}
	mkdir -p "$units/$wanted_by.wants"
	cat >"$units/$name.service" <<END
[Unit]
$more
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/local/sbin/machine $name start $number
END
	ln -s "../$name.service" "$units/$wanted_by.wants/"
}

stand_ins() {
	local units=$dest/etc/systemd/system
	mkdir -p "$units" "$dest/usr/local/sbin"
	printf '[Unit]\nBefore=multi-user.target\n' >"$units/machines.target"
	stand_in libvirtd 0 multi-user.target
	stand_in libvirt-guests 1 multi-user.target After=libvirtd.service
	stand_in machine-vm1 2 machines.target Before=machines.target
	mkdir -p "$units/multi-user.target.wants"
	ln -s ../machines.target "$units/multi-user.target.wants/"
	cat >"$dest/usr/local/sbin/machine" <<'END'
#!/bin/sh
tracking=$(systemctl is-active vmreplica-tracking.service)
dd if=/dev/urandom of=/dev/vda bs=64k count=1 seek="$3" oflag=direct conv=notrunc 2>/dev/null
echo "$1 $2 tracking=$tracking written=$?" >>/var/log/machines
END
	chmod 755 "$dest/usr/local/sbin/machine"
}

rules() {
	mkdir -p "$dest/etc/polkit-1/rules.d"
	cat >"$dest/etc/polkit-1/rules.d/50-vmreplica.rules" <<END
polkit.addRule(function(action, subject) {
	if (action.id == "org.vmreplica.operate" && subject.user == "$user")
		return polkit.Result.YES;
});
END
	# They are polkit's own to read.
	chmod 755 "$dest/etc/polkit-1/rules.d"
}

install_all() {
	make -C "$root" --no-print-directory install-programs DESTDIR="$dest" || return
	stand_ins
	rules
}

start_guest() {
	guests_start primary --kernel "${KERNEL:-6.1}" --disk "$guests_dir/disk" --disk "$guests_dir/state" --disk 16M
	guests_ready primary || finish
	on primary "rm -f /var/log/machines"
	check "systemd starts" guest boot "$dest" /dev/vdb || finish
	check "and has started all" until_true 300 p systemctl is-system-running --wait
}

# --- the units --------------------------------------------------------------------------

property() { p systemctl show -P "$2" "$1"; }
is_unit() { equal "$3" "$(property "$1" "$2")"; }
silent() {
	local said
	said=$("$@" 2>&1) && [[ ! $said ]] && return
	echo "$said"
	return 1
}

same() { p sync && p qemu-img compare -q -f raw -F qcow2 /dev/vda "$(point vm1 -1 .disks[0].file)"; }

starts() {
	check "the tracking's unit has run, enabled by nobody" is_unit vmreplica-tracking ActiveState active
	check "before all services" is_unit vmreplica-tracking Result success
	check "the service is not started before it is enabled" is_unit vmreplicad ActiveState inactive
	check "systemctl enable --now" p systemctl enable --now vmreplicad
	check "once that returns it can be used" p vmreplica status
	check "systemd finds no fault in the units" \
		silent p systemd-analyze verify vmreplicad.service vmreplica-tracking.service
}

replicates() {
	scribble /dev/vda 1 8
	check "enable" p vmreplica enable vm1 --disk /dev/vda --to 127.0.0.1 --interval 3600
	check "start-replication" p vmreplica start-replication vm1 || finish
	check "the point is the disk" same
	scribble /dev/vda 20 1
	check "a pass" p vmreplica replicate vm1
	check "the point is the disk" same
	p mkdir -p /srv/medium
	check "another machine" p vmreplica enable vm2 --disk /dev/vdc --to 127.0.0.1 --interval 3600
	check "is not exported to a place of the system" fails_saying 'Read-only file system' \
		p vmreplica start-replication vm2 --type export --export-to /usr/share
	# What failed is tried again by itself, and may be in the way just then.
	check "but to any other" until_true 180 \
		p vmreplica start-replication vm2 --type export --export-to /srv/medium
}

# entries MATCH...: of the journal, as JSON
entries() { p journalctl -q -o json "$@"; }

logs() {
	local number
	entries VMREPLICA_VM=vm2 >"$e2e_work/entries"
	check "the journal has what was logged of a machine" equal vmreplicad.service \
		"$(jq -r ._SYSTEMD_UNIT "$e2e_work/entries" | sort -u)"
	number=$(jq -r .VMREPLICA_JOB "$e2e_work/entries" | head -n 1)
	check "and of which job" equal vm2 \
		"$(p vmreplica jobs --json | jq -r --arg n "/$number" '.jobs[] | select(.path | endswith($n)).vm')"
	check "and nothing of another" equal "" "$(entries VMREPLICA_VM=vm9)"
	check "that machine is replicated no more" p vmreplica disable vm2
}

restarted() { [[ $(property vmreplicad NRestarts) -ge 1 ]] && p vmreplica status vm1; }

outlives() {
	local sent
	sent=$(field vm1 .sent_bytes)
	check "kill -9" p systemctl kill --signal KILL vmreplicad
	check "systemd starts it again" until_true 300 restarted
	scribble /dev/vda 21 1
	check "a pass" p vmreplica replicate vm1
	check "of what was written" equal $MIB $(($(field vm1 .sent_bytes) - sent))
	check "systemctl stop" p systemctl stop vmreplicad
	check "it has ended by itself" is_unit vmreplicad Result success
	check "with status 0" is_unit vmreplicad ExecMainStatus 0
	check "systemctl start" p systemctl start vmreplicad
	check "it knows all" is vm1 .state replicating
	check "the tracking's unit can be restarted" p systemctl restart vmreplica-tracking
	check "which holds nobody back" scribble /dev/vda 22 1
}

# machines start: each of them did, with the tracking there, and could write
machines() {
	on primary "cat /var/log/machines"
	equal 3 "$(on primary "grep -c '$1 tracking=active written=0' /var/log/machines")"
}

# --- who may what -------------------------------------------------------------------------

# code USER METHOD ARGUMENT...: what the service returns to a client that is not ours
code() {
	as "$1" busctl --json=short call org.vmreplica /org/vmreplica/ReplicationService \
		org.vmreplica.ReplicationService "${@:2}" | jq '.data[0]'
}

denied() { equal 32769 "$(code "$@")"; }
allowed() { equal 0 "$(code "$@")"; }
# may USER ACTION, as polkit says of a process of the user's
may() { as "$1" sh -c "exec pkcheck --action-id org.vmreplica.$2 --process \$\$"; }
may_not() { ! may "$@"; }

guards() {
	local suspend=(RequestReplicationStateChange sq vm1 7) resume=(RequestReplicationStateChange sq vm1 3)
	local modify=(ModifyReplicationSettings 'sa{sv}' vm1 1 ReplicationInterval u 1800)
	check "polkit knows the actions: operate is granted to one" may $user operate
	check "but not configure" may_not $user configure
	check "and none to another" may_not $other operate
	check "who has it may suspend" allowed $user "${suspend[@]}"
	check "as the state says" is vm1 .state suspended
	check "another may not resume" denied $other "${resume[@]}"
	check "nor change settings" denied $other "${modify[@]}"
	check "nor may who may operate" denied $user "${modify[@]}"
	check "all of which changed nothing" is vm1 .interval 3600
	check "but everyone may look" as $other vmreplica status vm1
	check "our command line is refused in words" \
		fails_saying 'only root, and whom polkit grants' as $other vmreplica resume vm1
	check "who has it may resume" as $user vmreplica resume vm1
	check "as the state says" is vm1 .state replicating
	check "root may all" allowed root "${modify[@]}"
}

guests_init
trap 'guests_kill; rm -rf "$e2e_work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
dest=$guests_dir/dest
truncate -s 64M "$guests_dir/disk"
truncate -s 512M "$guests_dir/state"
check "a file system for the state" mkfs.ext4 -q "$guests_dir/state"
check "make install" install_all || finish
start_guest
check "what starts machines started after the tracking's unit" machines start
starts
replicates
logs
outlives
guards
check "the guest ends well, its kernel has nothing to report" guests_stop
trap - EXIT
finish
