#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/cases/faults-snapshot.sh - at every point that a command on snapshots passes, the daemon fails, dies, hangs
# needs: root fuse tcg faults
# timeout: 900
# proves: 12 14 44 56 62
#
# How it works: a run of each command without a fault tells which points it passes. Then each is tried with each kind, and
# afterwards, in the same daemon or the next one, list, data and files are either as before or as after the command.
# The guest runs in the beginning and at the end only: what a disk holds is read from its file.
# shellcheck disable=SC2034 # the variables are read in tests/sbx.sh
set -u
DAEMON_OPTIONS="--accel tcg --storage file"
# shellcheck source=tests/tap.sh
. "$TOP/tests/tap.sh"
# shellcheck source=tests/sbx.sh
. "$TOP/tests/sbx.sh"
# shellcheck source=tests/faults-lib.sh
. "$TOP/tests/faults-lib.sh"
template=$(template_dir)
faults_here ""

list() {
	sed 1d "$M/k/snapshot" | awk '{ printf "%s:%s ", $1, $5 }'
}
dir_of() {
	echo "$S/sandboxes/$((16#$(status k id | sed 's/.*-//')))"
}
sum_of() { # DIRECTORY: of the disk that a data file in it makes
	local file
	for file in "$1"/disk.*; do
		[ -f "$file" ] || return
		qemu-img convert -U -O raw "$file" sum.raw && sha256sum <sum.raw | cut -c1-12
	done
}
disk() { # what the record names
	sum_of "$(dir_of)/$(sed -n 's/.*"data": *"\([^"]*\)".*/\1/p' "$(dir_of)/record")"
}
files() {
	(cd "$(dir_of)" && find . ! -name console.log ! -path "./data.*" ! -path './snapshots/*/disk.*' | LC_ALL=C sort | tr '\n' ' ')
}
data_count() {
	find "$(dir_of)" -name 'disk.*' | wc -l
}
as_it_is() { # all that may be old or new
	echo "$(state k) $(list)$(disk) $(files)$(data_count)"
}

# The sandbox k has the snapshots none, one and now, and now's disk.
before() { # COMMAND
	local name
	ctl k "snapshot rollback now"
	for name in new got child gone; do
		! grep -q "^$name " "$M/k/snapshot" || ctl k "snapshot delete $name"
	done
	case $1 in
	delete)
		ctl k "snapshot rollback one" && ctl k "snapshot create gone" && ctl k "snapshot create child" &&
			ctl k "snapshot rollback now"
		;;
	rollback) ctl k "snapshot rollback now" ;;
	esac
	rm -f new.snap
}
text_of() { # COMMAND
	case $1 in
	create) echo "snapshot create new" ;;
	rollback) echo "snapshot rollback one" ;;
	nothing) echo "snapshot rollback none" ;;
	delete) echo "snapshot delete gone" ;;
	export) echo "snapshot export one $PWD/new.snap" ;;
	import) echo "snapshot import got $PWD/one.snap" ;;
	esac
}

# The file is whole, or it is not there; one that a death cut short is told from a whole one.
file_is_right() { # KIND
	[ -e new.snap ] || return 0
	case $(errno k "snapshot import got $PWD/new.snap") in
	ok) cmp -s one.snap new.snap ;;
	EBADMSG) [ "$1" = die ] ;;
	*) return 1 ;;
	esac
}

try() { # COMMAND POINT NUMBER KIND
	local text="$1: $2 $3 $4" answer was at settled
	before "$1" >before.log 2>&1
	was=$(as_it_is)
	at=$(($(passes "$2") + $3))
	echo "$2 $4 after=$at" >fault
	spawn k "$(text_of "$1")"
	case $4 in
	die) wait_for 60 process_is_gone "$P" && again ;;
	hang)
		wait_for 20 was_passed "$2" "$at"
		kill -INT "$W"
		;;
	esac
	answer=$(answer "$W")
	: >fault
	[ "$4" = die ] || is_old_or_new "$text" "$answer" "$was" "$1"
	# What could not be removed is removed by the next start.
	[ "$4" != fail ] || { kill -KILL "$P" && again; }
	[ "$4" != hang ] || is "$text: it says so" "$answer" EINTR
	settled=$(as_it_is)
	case $settled in
	"$was" | "${new[$1]}") tap_result 0 "$text: $answer, then old or new" ;;
	*) tap_result 1 "$text: $answer, then neither old nor new"
		printf '#   is:  %s\n#   old: %s\n#   new: %s\n' "$settled" "$was" "${new[$1]}" ;;
	esac
	[ "$1" != export ] || ok "$text: the file" file_is_right "$4"
}

# An error has changed nothing, a success is the new state: what is left over is not looked at.
is_old_or_new() { # TEXT ANSWER WAS COMMAND
	local wanted=$3 is
	[ "$2" != ok ] || wanted=${new[$4]}
	is="$(state k) $(list)$(disk)"
	case $wanted in
	"$is "*) tap_result 0 "$1: as it says" ;;
	*) tap_result 1 "$1: $2, but $is is not $wanted" ;;
	esac
}

# ---- the sandbox -----------------------------------------------------------------------------------------

up
ok "a template" import default "$template"
ok "a sandbox" host "create k memory_mb=96 disk_mb=20"
ok "before there was anything" ctl k "snapshot create none"
ok "start" ctl k start
ok "content" sh_in k 'echo one >/kept; sync'
ok "a snapshot of it" ctl k "snapshot create one disk"
ok "other content" sh_in k 'echo now >/kept; dd if=/dev/urandom of=/more bs=64k count=4; sync'
ok "stop" ctl k stop
ok "a snapshot of that" ctl k "snapshot create now"
ok "as a file" ctl k "snapshot export one $PWD/one.snap"

# ---- each command without a fault ------------------------------------------------------------------------

declare -A new=() points=()
for command in create rollback nothing delete export import; do
	before "$command" >before.log 2>&1
	sort points >points.before
	is "$command" "$(errno k "$(text_of "$command")")" ok
	points[$command]=$(sort points | comm -13 points.before - | uniq -c | awk '{ print $2 ":" $1 }')
	new[$command]=$(as_it_is)
	echo "# $command passes ${points[$command]//$'\n'/ }"
done
for point in snapshot-copy snapshot-name rollback-copy rollback-commit rollback-drop snapshot-delete snapshot-export; do
	ok "$point is passed" grep -q "\<$point:" <<<"${points[*]}"
done

# ---- each with each fault --------------------------------------------------------------------------------

for command in create rollback nothing delete export import; do
	for point in ${points[$command]}; do
		for ((number = 1; number <= ${point#*:}; number++)); do
			for kind in fail die; do
				! worth_it "$command" "${point%:*}" "$number" $kind || try "$command" "${point%:*}" "$number" $kind
			done
		done
		case ${point%:*} in
		snapshot-copy | rollback-copy | snapshot-export) try "$command" "${point%:*}" 1 hang ;;
		esac
	done
done

# ---- and the guest ---------------------------------------------------------------------------------------

ok "rollback" ctl k "snapshot rollback one"
ok "start" ctl k start
is "its content" "$(sh_in k "cat /kept")" one
ok "destroy" ctl k destroy
is "nothing is left" "$(ls "$S/sandboxes")" ""
kill -INT "$P"
ok "the daemon ends" daemon_end a
finish
