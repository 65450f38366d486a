#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The service and its command line on a real kernel: a primary and a replica, each
# with a D-Bus of its own, in one guest. Prints TAP; time-limit: 2400
#
# Usage: service.sh [TEST...]; KERNEL=6.12 for another kernel, PROGRAMS=build/san for
# the programs of another folder (with sanitizers).
set -euo pipefail

here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
exec "$here/../../tools/guest" --kernel "${KERNEL:-6.1}" --timeout "${TIMEOUT:-2300}" \
	--env "PROGRAMS=${PROGRAMS:+$(readlink -f "$PROGRAMS")}" \
	--disk 64M --disk 400M --disk store:4G -- "$here/service-in-guest.bash" "$@"
