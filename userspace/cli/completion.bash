# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Bash completion for vmreplica. Commands and options are those that its --help prints.

_vmreplica_vms() {
	vmreplica status --json 2>/dev/null | grep -oE '"vm": ?"[^"]*"' | cut -d'"' -f4 | sort -u
}

_vmreplica() {
	local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} words
	COMPREPLY=()
	case $previous in
	--disk)
		mapfile -t COMPREPLY < <(compgen -f -- "${word:-/dev/}")
		return
		;;
	--type)
		words="network seeded export"
		;;
	*)
		if [[ $COMP_CWORD -eq 1 ]]; then
			words="--bus --help --version $(vmreplica --help | sed -n 's/^  \([a-z-]*\)  .*/\1/p')"
		elif [[ $word == -* ]]; then
			words=$(vmreplica "${COMP_WORDS[1]}" --help 2>/dev/null | grep -oE '^ +--[a-z-]+')
		else
			words=$(_vmreplica_vms)
		fi
		;;
	esac
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}

complete -F _vmreplica vmreplica
