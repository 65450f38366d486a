# shellcheck shell=bash disable=SC2154 # root and build are tools/kernel's
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Sourced by tools/kernel: what the module is compiled with for arm64. The headers of Debian 12's
# kernel come from the host's own mirrors by an apt with a folder of its own, so that the
# host's never hears of another architecture; its kbuild programs are the host's.

# apt_arm64 PROGRAM DIR ARG...
apt_arm64() {
	local program=$1 dir=$2
	shift 2
	"$program" -q -o Dir::Etc::SourceList="$dir/sources" -o Dir::Etc::SourceParts=- \
		-o Dir::State::Lists="$dir/lists" -o Dir::State::status=/dev/null \
		-o Dir::Cache="$dir/cache" -o APT::Sandbox::User=root \
		-o APT::Architecture=arm64 -o APT::Architectures=arm64 "$@"
}

arm64_download() {
	local dir=$1 headers
	mkdir -p "$dir/lists/partial" "$dir/cache/archives/partial"
	debian_sources bookworm >"$dir/sources"
	quietly apt_arm64 apt-get "$dir" update
	headers=$(apt_arm64 apt-cache "$dir" depends linux-headers-arm64 |
		sed -n 's/.*Depends: \(linux-headers-[0-9].*\)/\1/p')
	[[ $headers ]] || die "the mirror has no linux-headers-arm64"
	(cd "$dir" && quietly apt_arm64 apt-get "$dir" download "$headers" "${headers%-arm64}-common")
	echo "${headers#linux-headers-}" >"$dir/release"
}

# The headers know each other by absolute paths, which are below DIR here.
arm64_headers() {
	local dir=$1 final=$2 release deb kbuild
	quietly "$root/tools/install-deps" arm64
	arm64_download "$dir"
	release=$(cat "$dir/release")
	for deb in "$dir"/*.deb; do dpkg-deb -x "$deb" "$dir"; done
	rm -rf "$dir"/*.deb "$dir/lists" "$dir/cache" "$dir/sources"
	kbuild=$(find /usr/lib -maxdepth 1 -name 'linux-kbuild-6.1*' | sort -V | tail -n1)
	mkdir -p "$dir/usr/lib"
	ln -sfn "$kbuild" "$dir/usr/lib/$(basename "$kbuild")"
	sed -i "s@/usr/src/@$final/usr/src/@" "$dir/usr/src/linux-headers-$release/Makefile"
	echo "$final/usr/src/linux-headers-$release" >"$dir/headers"
}

# These variables make Debian's headers take the cross compiler.
arm64_make() {
	local headers=$1 src=$2
	shift 2
	make -C "$headers" M="$src" DEB_BUILD_ARCH="$(dpkg --print-architecture)" \
		DEB_HOST_ARCH=arm64 DEB_HOST_GNU_TYPE=aarch64-linux-gnu W=1 "$@" modules
}
