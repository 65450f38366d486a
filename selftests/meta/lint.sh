#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Each check of tools/lint finds what it is for: a copy of part of the tree gets one fault of
# each kind, and every check must name it. Prints TAP; time-limit: 1800
set -uo pipefail

root=$(cd "$(dirname "$(readlink -f "$0")")/../.." && pwd)
build=${VMREPLICA_BUILD:-$root/build}
mkdir -p "$build"
dir=$(mktemp -d "$build/lint-test.XXXXXX")
trap 'rm -rf "$dir"' EXIT
tree=$dir/tree

# Enough for each check to work on.
copy() {
	mkdir -p "$tree"
	cd "$root" && tar -c --exclude='*.o' Kbuild Makefile README.md LICENSES Documentation include \
		kmod tools userspace/common userspace/libblkcbt userspace/wire | tar -x -C "$tree"
	cd "$tree" || exit
}

append() {
	cat >>"$1"
}

# must SED-EXPRESSION FILE: an edit that changed nothing would prove nothing.
must() {
	sed -i.before "$1" "$2"
	if cmp -s "$2" "$2.before"; then
		echo "Bail out! $1 does not fit $2"
		exit 1
	fi
	rm "$2.before"
}

break_module() {
	append kmod/bitmap.c <<'END'

u32 cbt_bitmap_sparse(void);
u32 cbt_bitmap_sparse(void)
{
	__le32 word = 1;

	return (__force u32)word;
}

static void cbt_bitmap_unused(void)
{
}
END
	append kmod/epoch.h <<'END'

/**
 * cbt_epoch_undescribed() - a comment that leaves out a parameter
 */
void cbt_epoch_undescribed(int parameter);
END
}

break_programs() {
	append userspace/common/err.c <<'END'

int err_spaces( void )
{
#ifdef ERR_SPACES
	return 1;
#endif
	return 0;
}
END
	append userspace/common/extent.c <<'END'

void extent_beyond(void)
{
	char room[4];

	room[4] = 0;
}
END
	append userspace/common/log.c <<'END'
#include <lz4.h>
#include "../wire/wire.h"
END
	append userspace/wire/wire.c <<'END'

int nameless(void)
{
	return 1111111111 + 2222222222 + 3333333333 + 4444444444 + 5555555555 + 6666666666 + 7777777777;
}
END
	must 's/cbt_open;/cbt_open;\n\tcbt_nonesuch;/' userspace/libblkcbt/blkcbt.map
	must '1d' userspace/common/err.h
	must '1s/GPL-2.0-only/GPL-2.0-or-later/' kmod/main.c
	must 's/#include "group.h"/&\n#include "pass.h"/' kmod/group.c
}

break_texts() {
	must 's/CBT_PASS_F_SEALED = 2/CBT_PASS_F_SEALED = 3/' include/uapi/linux/blkcbt.h
	must '0,/doc: Number of disks./s//doc: ""/' Documentation/netlink/specs/blkcbt.yaml
	must 's/^OPTIONS$/--nonesuch\n    None.\n\nOPTIONS/' Documentation/man/vmreplicad.8.rst
	must 's/^suspend VM$/suspended VM/; s/^----------$/------------/' Documentation/man/vmreplica.8.rst
	printf '\nToo long\n=====\n' >>Documentation/design.rst
	echo 'It is recie''ved [here](Documentation/nonesuch.rst).' >>README.md
	printf '# TO''DO\n# see %s/README.md\n' "$root" >>Makefile
	printf '\nrm $1\n' >>tools/kernel
}

number=0
failed=0

# found CHECK TEXT: CHECK has failed, and its part of the output has TEXT.
found() {
	local part
	number=$((number + 1))
	part=$(sed -n "/^not ok  $1 /,/^\(ok\|not ok\|lint:\) /p" "$dir/output")
	if grep -qF -- "$2" <<<"$part"; then
		echo "ok $number $1: $2"
	else
		echo "not ok $number $1: $2"
		sed 's/^/# /' <<<"$part" | head -n 20
		failed=1
	fi
}

check_all() {
	found module 'incorrect type in initializer'
	found module 'cbt_bitmap_unused'
	found newest 'cbt_bitmap_unused'
	found checkpatch 'userspace/common/err.c'
	found cppcheck "Array 'room[4]' accessed at index 4"
	found documents 'Title underline too short'
	found documents 'there is no Documentation/nonesuch.rst'
	found shellcheck 'tools/kernel'
	found columns 'userspace/wire/wire.c'
	found help 'vmreplicad: --nonesuch is in the man page'
	found help 'vmreplica suspend: only --help'
	found layers 'userspace/common/err.c'
	found layers '<lz4.h> is for wire only'
	found layers 'common is not above wire'
	found layers 'group is not above pass.h'
	found names 'nameless() is external'
	found spec 'CBT_PASS_F_SEALED is 3'
	found spec 'group.disks has no doc'
	found spdx 'userspace/common/err.h:1: no SPDX line'
	found spdx 'kmod/main.c:1: says GPL-2.0-or-later'
	found words 'TO''DO'
	found words "$root/README.md"
	found abi 'listed in blkcbt.map, not exported: cbt_nonesuch'
	found codespell 'recie''ved'
}

main() {
	local status=0
	copy
	break_module
	break_programs
	break_texts
	"$root/tools/lint" --tree "$tree" >"$dir/output" 2>&1 || status=$?
	check_all
	number=$((number + 1))
	if [[ $status -eq 1 ]] && tail -n1 "$dir/output" | grep -q '^lint: 0 passed, 15 failed$'; then
		echo "ok $number every check has failed, and so has the whole"
	else
		echo "not ok $number every check has failed, and so has the whole"
		tail -n1 "$dir/output" | sed "s/^/# status $status: /"
		failed=1
	fi
	# Once more, with all there is from before: a finding stays one until it is mended.
	"$root/tools/lint" --tree "$tree" module >"$dir/output" 2>&1
	found module 'cbt_bitmap_unused'
	# kernel-doc is looked at when the compiler is content.
	must '/cbt_bitmap_sparse(void);/,$d' kmod/bitmap.c
	"$root/tools/lint" --tree "$tree" module >"$dir/output" 2>&1
	found module "Function parameter or member 'parameter' not described"
	echo "1..$number"
	exit $failed
}

main
