# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/faults-lib.sh - a daemon with fault points, for the cases that make it fail, die and hang; read after tests/sbx.sh
#
#   faults_here PREFIX      the daemon with points from now on, its fault file and its list of points in ./PREFIX…
#   up                      start it; its count of the points begins anew. $lane: its name (a), $lane_options: of its own,
#                           $settled: a command that is waited for before up returns
#   reap, again             after a death; and the next daemon
#   passes POINT            how often this daemon has passed it; was_passed POINT NUMBER
#   fault POINT KIND PASS   from that pass on; clear: none any more
#   passed_by COMMAND…      sets $passed to the points that it passes, a line "POINT:TIMES" for each
#   worth_it KEY POINT NUMBER KIND
#                           is it to be tried? Each point once with each kind for each KEY; those of base/ (file-…, tree-…), which
#                           all pass, once in all. With FAULTS_ALL=1 everything is
# shellcheck disable=SC2034,SC2154 # variables for the cases, and of tests/sbx.sh

faults_here() { # PREFIX
	B=$FAULTS_B
	export SBXFS_FAULT_FILE=$PWD/${1}fault SBXFS_FAULT_LOG=$PWD/${1}points
	: >"$SBXFS_FAULT_FILE"
	: >"$SBXFS_FAULT_LOG"
}
up() {
	local count=$tap_count
	: >"$SBXFS_FAULT_LOG"
	: >"$SBXFS_FAULT_FILE"
	# shellcheck disable=SC2086 # options are words
	daemon "${lane:=a}" ${lane_options:-} >/dev/null
	tap_count=$count
	[ -z "${settled:-}" ] || wait_for 60 "$settled"
}
reap() {
	wait_for 20 process_is_gone "$P"
	wait "$P" 2>/dev/null
	unset "daemon_pid[$lane]"
}
again() {
	reap
	up
}
passes() { # POINT
	grep -cx "$1" "$SBXFS_FAULT_LOG"
}
was_passed() { # POINT NUMBER
	[ "$(passes "$1")" -ge "$2" ]
}
fault() { # POINT KIND PASS
	echo "$1 $2 after=$3" >"$SBXFS_FAULT_FILE"
}
clear() {
	: >"$SBXFS_FAULT_FILE"
}
passed_by() { # COMMAND…
	sort "$SBXFS_FAULT_LOG" >passed.before
	"$@"
	passed=$(sort "$SBXFS_FAULT_LOG" | comm -13 passed.before - | uniq -c | awk '{ print $2 ":" $1 }')
}

faults_seen=$PWD/seen # where processes that share the work see what another has taken
worth_it() { # KEY POINT NUMBER KIND
	local key="$1 $2 $4"
	case $2 in file-* | tree-*) key="$2 $4" ;; esac
	[ -z "${FAULTS_ALL:-}" ] || return 0
	mkdir -p "$faults_seen" && mkdir "$faults_seen/$key" 2>/dev/null
}
