#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The service's interface on D-Bus, value by value, as a client that is not ours sees it: each
# method, return value, state, kind of job and setting. Prints TAP; time-limit: 2400
#
# Usage: contract.sh [TEST...]; KERNEL=6.12 for another kernel, PROGRAMS=build/san for
# the programs of another folder (with sanitizers).
set -euo pipefail

here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
exec "$here/../../tools/guest" --kernel "${KERNEL:-6.1}" --timeout "${TIMEOUT:-2300}" \
	--env "PROGRAMS=${PROGRAMS:+$(readlink -f "$PROGRAMS")}" \
	--disk 32M --disk 16M --disk 16M --disk store:1G -- /usr/bin/python3 "$here/contract.py" "$@"
