#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What `make install` puts below a DESTDIR works from there: programs run, a program
# builds and links against the library as pkg-config says, DKMS's recipe builds the
# module, and uninstall leaves no file. Prints TAP.
set -uo pipefail

root=$(cd "$(dirname "$(readlink -f "$0")")/../.." && pwd)
build=${VMREPLICA_BUILD:-$root/build}
mkdir -p "$build"
# Not below /tmp, which may be small.
dir=$(mktemp -d "$build/install-test.XXXXXX")
trap 'rm -rf "$dir"' EXIT
dest=$dir/dest
number=0
failed=0

# check WHAT COMMAND...: one test; its output is shown when it fails.
check() {
	local what=$1 log=$dir/log
	shift
	number=$((number + 1))
	if "$@" >"$log" 2>&1; then
		echo "ok $number $what"
	else
		echo "not ok $number $what"
		sed 's/^/# /' "$log" | tail -n 20
		failed=1
	fi
}

run_make() {
	make -C "$root" --no-print-directory DESTDIR="$dest" "$@"
}

list() {
	(cd "$dest" && find . -type f -o -type l | sort)
}

installs_the_same() {
	list >"$dir/first"
	run_make install install-dkms && list | diff "$dir/first" -
}

# says PATTERN COMMAND...: succeeds and prints a line that fits.
says() {
	local pattern=$1 output
	shift
	output=$("$@") || return
	grep -qE "$pattern" <<<"$output" || { echo "$* said: $output" && return 1; }
}

write_program() {
	cat >"$dir/program.c" <<'END'
#include <stdio.h>
#include <blkcbt.h>
#include <linux/blkcbt.h>

int main(void)
{
	struct cbt *cbt;
	int rc = cbt_open(&cbt);

	/* Whether there is a module or not: both are answers of the library. */
	if (!rc)
		cbt_close(cbt);
	printf("library answers %d, untrusted bit %d\n", rc, CBT_UNTRUSTED_FRESH);
	return 0;
}
END
}

pkg_config() {
	PKG_CONFIG_PATH=$(dirname "$(find "$dest" -name blkcbt.pc)") \
		PKG_CONFIG_SYSROOT_DIR=$dest pkg-config "$@" blkcbt
}

builds_against_it() {
	local flags
	write_program
	read -ra flags < <(pkg_config --cflags --libs) && [[ ${#flags[@]} -ge 2 ]] &&
		gcc -Wall -Werror -o "$dir/program" "$dir/program.c" "${flags[@]}"
}

program_runs() {
	LD_LIBRARY_PATH=$(dirname "$(find "$dest" -name libblkcbt.so.0)") \
		says 'library answers -?[0-9]+, untrusted bit 1' "$dir/program"
}

# What dkms(8) does with the configuration, but for installing the result.
dkms_builds() (
	# shellcheck disable=SC2034 # for the recipe
	dkms_tree=$dir/dkms
	conf=$(find "$dest/usr/src" -name dkms.conf)
	kernel_source_dir=$(find /usr/src -maxdepth 1 -name 'linux-headers-*' ! -name '*-common' |
		sort -V | tail -n1)
	[[ $conf && $kernel_source_dir ]] || exit
	# shellcheck disable=SC1090 # made by make install-dkms
	. "$conf"
	to=$dkms_tree/$PACKAGE_NAME/$PACKAGE_VERSION/build
	mkdir -p "$to"
	cp -r "$(dirname "$conf")/." "$to/"
	# The recipe is expanded with the names that dkms sets.
	# shellcheck disable=SC1090
	. "$conf"
	# shellcheck disable=SC2154 # of the configuration
	eval "${MAKE[0]}" && ls "$to/${BUILT_MODULE_LOCATION[0]}/${BUILT_MODULE_NAME[0]}.ko"
)

module_is_there() {
	local ko
	ko=$(find "$dest/lib/modules" -path '*/updates/*' -name 'blkcbt.ko*') && [[ $ko ]] &&
		says '^blkcbt$' modinfo -F name "$ko"
}

unit_starts_it() {
	local unit program
	unit=$(find "$dest" -name vmreplicad.service)
	program=$(sed -n 's/^ExecStart=\([^ ]*\).*/\1/p' "$unit")
	[[ -x $dest$program ]] || { echo "$unit starts $program" && return 1; }
}

completes_commands() {
	# shellcheck disable=SC2016 # for the inner shell
	PATH=$dest/usr/bin:$PATH says '^start-replication$' bash -c '. "$1"
		COMP_WORDS=(vmreplica start) COMP_CWORD=1 && _vmreplica &&
		echo "${COMPREPLY[*]}"' - "$dest/usr/share/bash-completion/completions/vmreplica"
}

page_is_there() {
	man --warnings -l "$dest/usr/share/man/$1" >"$dir/page" && [[ -s $dir/page ]]
}

# Files that name the prefix name the one asked for.
takes_a_prefix() {
	run_make install-programs PREFIX=/opt/test &&
		says '^prefix=/opt/test$' cat "$(find "$dest/opt" -name blkcbt.pc)" &&
		says '^ExecStart=/opt/test/sbin/' cat "$(find "$dest/opt" -name vmreplicad.service)" &&
		run_make uninstall PREFIX=/opt/test && [[ -z $(find "$dest/opt" -type f) ]]
}

leaves_nothing() {
	run_make uninstall || return
	list
	[[ -z $(list) ]]
}

main() {
	check "install into a folder" run_make install install-dkms
	check "again, with the same result" installs_the_same
	check "vmreplica --version" says '^vmreplica [0-9]' "$dest/usr/bin/vmreplica" --version
	check "vmreplica --help" says 'start-replication' "$dest/usr/bin/vmreplica" --help
	check "vmreplicad --version" says '^vmreplicad [0-9]' "$dest/usr/sbin/vmreplicad" --version
	check "the unit starts what is installed" unit_starts_it
	check "a program builds as pkg-config says" builds_against_it
	check "and runs with the library" program_runs
	check "the module is where modprobe looks" module_is_there
	check "DKMS's recipe builds the module" dkms_builds
	check "bash completes a command" completes_commands
	check "the man page of vmreplica" page_is_there man8/vmreplica.8
	check "the man page of vmreplicad" page_is_there man8/vmreplicad.8
	check "the man page of blkcbt" page_is_there man4/blkcbt.4
	check "another prefix, there and gone again" takes_a_prefix
	check "uninstall leaves nothing" leaves_nothing
	check "and can be run again" leaves_nothing
	echo "1..$number"
	exit $failed
}

main
