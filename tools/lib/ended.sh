# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later

# ended PID: it has closed all that it had open, with all its threads, even if nobody has
# waited for it yet
ended() {
	[ -e "/proc/$1" ] || return 0
	grep -q '^State:.Z' "/proc/$1/status" 2>/dev/null || return 1
	set -- "/proc/$1/task"/*
	[ $# -eq 1 ]
}
