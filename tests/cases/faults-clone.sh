#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/cases/faults-clone.sh - at the points of snapshots with memory, of going back to them and of clones, the daemon fails, dies, hangs
# needs: root fuse tcg faults
# timeout: 900
# proves: 44 56 63 72
#
# How it works: as faults-snapshot.sh. The sandbox k is paused, so that what it has can be read from its files: memory is that of
# a snapshot when it is the same file, and the disk has to be of the same.
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
dir_of() { # NAME
	echo "$S/sandboxes/$((16#$(status "$1" id | sed 's/.*-//')))"
}
member() { # NAME KEY: of its record, at its first place
	sed -n "s/.*\"$2\": *\"\([^\"]*\)\".*/\1/p" "$(dir_of "$1")/record" | head -n 1
}
list() {
	sed 1d "$M/k/snapshot" | awk '{ printf "%s ", $1 }'
}
sum_of() { # DIRECTORY: of the disk that a data file in it makes
	qemu-img convert -U -O raw "$1/disk.qcow2" sum.raw && sha256sum <sum.raw | cut -c1-12
}
pair() { # DIRECTORY-OF-DATA DIRECTORY-OF-MEMORY
	echo "$(sum_of "$1") $(stat -c %i "$2/memory" 2>/dev/null)"
}
memory_dir() { # of k
	sed -n '/"memory"/,/}/s/.*"dir": *"\([^"]*\)".*/\1/p' "$(dir_of k)/record"
}
now() { # what k has: a name of a snapshot, or what it is
	local at name
	at=$(pair "$(dir_of k)/$(member k data)" "$(dir_of k)/$(memory_dir)")
	for name in one two; do
		[ "$at" != "$(pair "$(dir_of k)/snapshots/$name" "$(dir_of k)/snapshots/$name/memory")" ] || at=$name
	done
	echo "$(state k) $at"
}
strays() { # what no record names
	(cd "$(dir_of k)" && find . -maxdepth 2 \( -name 'data.*' -o -name 'memory.*' -o -path './snapshots/.*' \) ! -name "$(member k data)" ! -name "$(memory_dir)" | LC_ALL=C sort | tr '\n' ' ')
}
clones() {
	(cd "$M" && echo c*)
}

up
ok "a template" import default "$template"
ok "a sandbox" host "create k memory_mb=96 disk_mb=20"
ok "start" ctl k start
ok "content" sh_in k 'echo one >/kept; echo one >/run/kept; sync'
ok "a snapshot" ctl k "snapshot create one"
ok "other content" sh_in k 'echo two >/kept; echo two >/run/kept; sync'
ok "pause" ctl k pause
ok "a snapshot of that" ctl k "snapshot create two"
ok "back to it" ctl k "snapshot rollback two"
is "it has that" "$(now)" "paused two"

inject() { # POINT KIND TEXT: write TEXT to k; the answer is in $answer
	local at
	at=$(passes "$1")
	echo "$1 $2 after=$((at + 1))" >fault
	spawn k "$3"
	case $2 in
	die) wait_for 60 process_is_gone "$P" && again ;;
	hang)
		wait_for 60 eval "[ \"\$(grep -cx '$1' points)\" -gt $at ]"
		kill -INT "$W"
		;;
	esac
	answer=$(answer "$W")
	: >fault
}

for kind in fail hang die; do
	inject snapshot-memory "$kind" "snapshot create new"
	is "create: snapshot-memory $kind: $answer, nothing is left" "$(list)$(strays)$(now)" "one two paused two"
done
for point in rollback-copy rollback-memory rollback-commit; do
	for kind in fail hang die; do
		[ "$point $kind" != "rollback-commit hang" ] || continue
		inject "$point" "$kind" "snapshot rollback one"
		is "rollback: $point $kind: $answer, as it was" "$(now) $(strays)" "paused two "
	done
done
inject rollback-drop die "snapshot rollback one"
is "rollback: rollback-drop die: gone back" "$(now) $(strays)" "paused one "

# One that runs, and the record says already that it is paused: it must not go on.
ok "resume" ctl k resume
ok "content" sh_in k 'echo three >/kept; sync'
inject rollback-commit fail "snapshot rollback two"
is "rollback of a running one that fails before: it runs on" "$(state k) $(sh_in k 'cat /kept')" "running three"
inject rollback-down die "snapshot rollback two"
ok "rollback of a running one, a death after the record: it is paused" wait_for 60 in_state k paused
is "gone back" "$(now)" "paused two"
ok "resume" ctl k resume
is "with all of it" "$(sh_in k 'cat /kept /run/kept' | tr '\n' ' ')" "two two "
inject rollback-up fail "snapshot rollback one"
is "one that does not go on is paused" "$(state k) $answer" "paused EIO"
ok "back" ctl k "snapshot rollback two"

for point in clone-define clone-copy clone-memory clone-commit clone-up; do
	for kind in fail hang die; do
		case "$point $kind" in 'clone-define hang' | 'clone-commit hang') continue ;; esac
		inject "$point" "$kind" "clone c1 c2 from=one"
		wait_for 60 eval '[ "$(ls "$S/sandboxes" | wc -w)" = 1 ]'
		is "clone: $point $kind: $answer, none is there" "$(clones) $(ls "$S/sandboxes" | wc -w) $(strays)$(now)" "c* 1 paused two"
	done
done
ok "clone" ctl k "clone c1 c2 from=one"
is "both have it" "$(sh_in c1 'cat /run/kept') $(sh_in c2 'cat /run/kept')" "one one"
ok "destroy" host "destroy c1 c2 k"
is "nothing is left" "$(ls "$S/sandboxes")" ""
kill -INT "$P"
ok "the daemon ends" daemon_end a
finish
