# shellcheck shell=bash disable=SC2154 # root and build are tools/kernel's
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Sourced by tools/kernel: Debian 13's kernels. The kbuild tools of their
# header packages need Debian 13's libc and compiler, so they live in a folder
# of their own, entered by chroot. It has its own apt: the host's stays as is.

trixie=$build/trixie
authorities=/etc/ssl/certs/ca-certificates.crt
# W=1 runs scripts/kernel-doc, in perl or python.
readonly TRIXIE_PACKAGES=gcc,libc6-dev,make,kmod,perl,python3

# The mirrors are those that the host itself uses, for Debian 12. Their code names are known once
# an index has been fetched.
host_mirrors() {
	# shellcheck disable=SC2016 # apt's variables
	apt-get indextargets --format '$(CODENAME) $(REPO_URI)' 'Created-By: Packages' |
		sort -u
}

# host_mirror CODENAME: its address. Cloud images name a file with a list of mirrors instead.
host_mirror() {
	local uri
	uri=$(host_mirrors | awk -v name="$1" '$1 == name { print $2; exit }')
	[[ $uri != mirror+file:* ]] || uri=$(grep -m1 -o '^[^# \t]*://[^ \t]*' "${uri#mirror+file:}")
	echo "$uri"
}

# debian_sources RELEASE SUITE...: lines for a sources.list, security updates included.
debian_sources() {
	local main security suite
	[[ $(host_mirror bookworm) ]] || quietly apt-get update -q
	main=$(host_mirror bookworm) security=$(host_mirror bookworm-security)
	[[ $main ]] || die "cannot tell a Debian mirror from apt's sources"
	for suite in "$@"; do echo "deb $main $suite main"; done
	[[ ! $security ]] || echo "deb $security $1-security main"
}

# What the host's apt needs to reach its mirrors (proxies and the like), so that one with a folder
# of its own reaches them too; and patience with them.
host_apt_options() {
	apt-config dump | grep -E '^Acquire::(http|https|ftp|Retries)[: ]' || true
	echo 'Acquire::Retries "5";'
	echo 'APT::Install-Recommends "false";'
}

# Both kernels may be fetched at once, and share the folder.
ensure_trixie() {
	exec 8>"$build/.lock-trixie" && flock 8
	[[ $(cat "$trixie/.ready" 2>/dev/null) != "$TRIXIE_PACKAGES" ]] || return 0
	[[ $(id -u) -eq 0 ]] || die "making $trixie needs root"
	command -v mmdebstrap >/dev/null || quietly "$root/tools/install-deps" kernels
	rm -rf --one-file-system "$trixie"
	debian_sources trixie trixie-updates trixie-backports >"$build/.trixie-sources"
	host_apt_options >"$build/.trixie-apt"
	quietly mmdebstrap --variant=apt --mode=root --include="$TRIXIE_PACKAGES" \
		--aptopt="$build/.trixie-apt" trixie "$trixie" - <"$build/.trixie-sources"
	rm "$build/.trixie-sources" "$build/.trixie-apt"
	# Mirrors may be reached by https, and by way of an authority of the site's own.
	[[ ! -e $authorities ]] || install -D -m 644 "$authorities" "$trixie$authorities"
	echo "$TRIXIE_PACKAGES" >"$trixie/.ready"
}

# Proxies may be in the environment as well as in apt's configuration.
in_trixie() {
	env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
		http_proxy="${http_proxy-}" https_proxy="${https_proxy-}" no_proxy="${no_proxy-}" \
		chroot "$trixie" "$@"
}

# What the module is checked with, where it is.
trixie_sparse() {
	[[ -e $trixie/usr/bin/sparse ]] || quietly in_trixie apt-get install -y -q sparse
}

# trixie_kernel VERSION DIR: the newest VERSION that the mirrors have.
trixie_kernel() {
	local version=$1 dir=$2 image release
	ensure_trixie
	quietly in_trixie apt-get update -q
	image=$(newest_in_trixie "$version") ||
		die "Debian's mirror has no kernel $version for trixie, but $(images_in_trixie | xargs)"
	release=${image#linux-image-}
	quietly fetch_in_trixie "$release" "$dir"
	quietly in_trixie apt-get install -y -q "linux-headers-$release"
	unpack "$dir" "$release" "/usr/src/linux-headers-$release"
}

# The images that versions of the meta-package depend on.
images_in_trixie() {
	in_trixie apt-cache show linux-image-amd64 |
		sed -n 's/^Depends:.*\(linux-image-[0-9][^ ,]*\).*/\1/p'
}

newest_in_trixie() {
	images_in_trixie | grep "^linux-image-${1//./\\.}[.+]" | sort -V | tail -n1 | grep .
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
