# shellcheck shell=bash disable=SC2154 # root and build are tools/kernel's
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Sourced by tools/kernel: Debian 13's kernels. The kbuild tools of their
# header packages need Debian 13's libc and compiler, so they live in a folder
# of their own, entered by chroot. It has its own apt: the host's stays as is.

trixie=$build/trixie
# W=1 runs scripts/kernel-doc, in perl or python.
readonly TRIXIE_PACKAGES=gcc,libc6-dev,make,kmod,perl,python3

# The mirrors are those that the host itself uses, for Debian 12.
host_mirrors() {
	# shellcheck disable=SC2016 # apt's variables
	apt-get indextargets --format '$(CODENAME) $(REPO_URI)' 'Created-By: Packages' |
		sort -u
}

trixie_sources() {
	local main security
	main=$(host_mirrors | awk '$1 == "bookworm" { print $2; exit }')
	security=$(host_mirrors | awk '$1 == "bookworm-security" { print $2; exit }')
	[[ $main ]] || die "cannot tell a Debian mirror from apt's sources"
	echo "deb $main trixie main"
	echo "deb $main trixie-updates main"
	echo "deb $main trixie-backports main"
	[[ ! $security ]] || echo "deb $security trixie-security main"
}

# Both kernels may be fetched at once, and share the folder.
ensure_trixie() {
	exec 8>"$build/.lock-trixie" && flock 8
	[[ $(cat "$trixie/.ready" 2>/dev/null) != "$TRIXIE_PACKAGES" ]] || return 0
	[[ $(id -u) -eq 0 ]] || die "making $trixie needs root"
	command -v mmdebstrap >/dev/null || quietly "$root/tools/install-deps" kernels
	rm -rf --one-file-system "$trixie"
	trixie_sources >"$build/.trixie-sources"
	quietly mmdebstrap --variant=apt --mode=root --include="$TRIXIE_PACKAGES" \
		--aptopt='APT::Install-Recommends "false"' trixie "$trixie" - \
		<"$build/.trixie-sources"
	rm "$build/.trixie-sources"
	echo "$TRIXIE_PACKAGES" >"$trixie/.ready"
}

in_trixie() {
	env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 \
		DEBIAN_FRONTEND=noninteractive chroot "$trixie" "$@"
}

# trixie_kernel VERSION DIR: the newest VERSION that the mirrors have.
trixie_kernel() {
	local version=$1 dir=$2 image release
	ensure_trixie
	quietly in_trixie apt-get update -q
	image=$(newest_in_trixie "$version") || die "the mirror has no kernel $version for trixie"
	release=${image#linux-image-}
	quietly fetch_in_trixie "$release" "$dir"
	quietly in_trixie apt-get install -y -q "linux-headers-$release"
	unpack "$dir" "$release" "/usr/src/linux-headers-$release"
}

# The image that a version of the meta-package depends on, if it is VERSION's.
newest_in_trixie() {
	in_trixie apt-cache show linux-image-amd64 |
		sed -n 's/^Depends:.*\(linux-image-[0-9][^ ,]*\).*/\1/p' |
		grep "^linux-image-${1//./\\.}[.+]" | sort -V | tail -n1 | grep .
}

# Newer kernels are split into several packages, of which image is empty.
fetch_in_trixie() {
	# shellcheck disable=SC2016 # expanded by the inner shell
	in_trixie sh -c 'cd /var/cache && rm -f ./linux-*.deb
		for part in image binary modules base; do
			apt-cache show "linux-$part-$1" >/dev/null 2>&1 || continue
			apt-get download -q "linux-$part-$1" || exit
		done' - "$1" && mv "$trixie"/var/cache/linux-*.deb "$2/"
}

# The folder to build in is bound at its own path, so that the compiler's
# messages and the debug information name files that exist.
trixie_make() (
	headers=$1 src=$2
	shift 2
	ensure_trixie
	mkdir -p "$trixie$src" "$trixie/proc"
	unshare --mount sh -c 'mount --bind "$1" "$2$1" && mount -t proc proc "$2/proc" && shift &&
		exec chroot "$@"' - "$src" "$trixie" make -C "$headers" M="$src" W=1 "$@" modules
)
