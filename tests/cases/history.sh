#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/cases/history.sh - random commands by many writers, and whether there is an order in which the answers are right
# needs: fuse root tcg
# timeout: 1500
# proves: 2 10 14 16 51 58 62 67
#
# HISTORY_SECONDS: how long each load lasts; HISTORY_SEED: instead of a random one for the second.
set -u
# shellcheck source=tests/tap.sh
. "$TOP/tests/tap.sh"
# shellcheck source=tests/sbx.sh
. "$TOP/tests/sbx.sh"

check=$B/tests/cases/helper-history
load=$B/tests/cases/helper-history-load
seconds=${HISTORY_SECONDS:-40}

# ---- the checker can fail ------------------------------------------------------------------------------------

# A history in short: VERB BEGIN END RESULT [ARG] [wait|nowait] [signalled], or whole lines.
history_of() { # LINE…
	local line words
	echo "sandbox h created none none"
	for line; do
		case $line in
		event\ * | final\ * | died)
			echo "$line"
			continue
			;;
		esac
		read -ra words <<<"$line"
		echo "op h ${words[1]} ${words[2]} ${words[0]} ${words[4]:--} ${words[5]:-wait} ${words[3]} ${words[6]:--}"
	done
}
allowed() { # NAME LINE…
	local name=$1
	shift
	history_of "$@" >small
	ok "allowed: $name" "$check" small
}
refused() { # NAME PATTERN LINE…
	local name=$1 pattern=$2
	shift 2
	history_of "$@" >small
	"$check" small >small.said
	is "refused: $name" "$? $(grep -cE "$pattern" small.said)" "1 1"
}

allowed "one after the other" "start 0 9 ok" "freeze 10 19 ok" "start 20 29 EBUSY" "thaw 30 39 ok" "stop 40 49 ok"
refused "a start of a frozen one" "no order after 2 of 3" "start 0 9 ok" "freeze 10 19 ok" "start 20 29 ok"
allowed "two at once, in an order that fits" "start 0 9 ok" "freeze 10 29 ok" "pause 11 29 ok" "state 30 31 paused"
refused "two at once, in none" "no order" "start 0 9 ok" "freeze 10 29 ok" "pause 11 29 ok" "state 30 31 frozen"
refused "an answer of a state that has been left" "no order" "start 0 9 ok" "stop 10 19 ok" "freeze 20 29 ok"
refused "an effect that is not there afterwards" "no order" "start 0 9 ok" "state 10 11 created"
refused "a state that a failed command has not left alone" "no order" "start 0 9 ETIMEDOUT" "state 10 11 stopped"
refused "a passing state with nothing under way" "no order" "start 0 9 ok" "state 10 11 stopping"
allowed "a passing state while it is" "start 0 9 ok" "stop 10 19 ok" "state 11 12 stopping"
refused "cancelled by nobody" "no order" "start 0 9 ECANCELED"
allowed "cancelled" "start 0 9 ECANCELED" "cancel 5 6 ok" "state 10 11 created"
refused "interrupted by nobody" "no order" "start 0 9 EINTR"
allowed "interrupted" "start 0 9 EINTR - wait signalled"
refused "the turn of nobody" "no order" "start 0 9 EBUSY - nowait"
allowed "the turn of another" "start 0 9 ok" "stop 5 6 EBUSY - nowait"
allowed "accepted, and done later" "start 0 1 ok - nowait" "state 2 3 created" "state 4 5 running"
refused "accepted, and overtaken by a later one" "no order" "start 0 1 ok - nowait" "freeze 2 9 ok" "state 10 11 stopped"
refused "an error of nothing" "no order" "start 0 9 EIO"
allowed "the virtual machine has died" "start 0 9 ok" "crash 10 19 ok" "state 20 21 error" "start 22 30 ok"
refused "it lives again by itself" "no order" "start 0 9 ok" "crash 10 19 ok" "state 20 21 error" "state 22 23 running"
refused "gone, and there still" "no order" "destroy 0 9 ok" "start 10 19 ok"
refused "not there, and never destroyed" "no order" "start 0 9 ENOENT"
refused "two snapshots of a name" "no order" "create-disk 0 9 ok a" "create-disk 10 19 ok a"
allowed "back to a snapshot with memory" "start 0 9 ok" "create-full 10 19 ok a" "stop 20 29 ok" "rollback 30 39 ok a" "state 40 41 paused"
refused "back to a disk under a guest" "no order" "create-disk 0 1 ok a" "start 2 9 ok" "rollback 10 19 ok a"
refused "two starts, and one of them of another's state" "no order" "start 0 9 ok" "exec 10 11 EHOSTDOWN"
refused "awaited what was not" "no order" "start 0 9 ok" "wait 10 19 ok stopped,paused"
refused "a break in the chain" "goes from paused to resuming, and was created" "event 1 h resuming paused"
refused "a step that nothing allows" "which nothing allows" "event 1 h running created"
refused "a number left out" "event 3 follows 1" "event 1 h starting created" "event 3 h running starting"
refused "another state than that of the last event" "its last event says running" "event 1 h starting created" "event 2 h running starting" "final h stopped"
refused "at rest in a passing state" "rests in starting" "event 1 h starting created" "final h starting"
refused "something else" "not understood" "start 9 0 ok"
allowed "the daemon has died, and a start with it" "start 0 9 died" "died" "state 10 11 stopped"
refused "the daemon has died, and a guest with it" "no order" "start 0 9 ok" "died" "state 10 11 stopped"

# ---- the daemon ----------------------------------------------------------------------------------------------

round() { # NAME SEED
	echo "# seed $2"
	timeout 600 "$load" -s "$2" -t "$seconds" -w 6 -n 3 "$M" "$1"
	is "$1: the load comes to its end" $? 0
	ok "$1: there is an order in which every answer is right" "$check" "$1" || sed 's/^/# /' "$1" >&2
	"$check" "$1" | sed 's/^/# /'
	is "$1: all sandboxes are gone" "$(ls "$M")" ""
}

prepare() {
	ok "a template" import default
	ok "small guests" ctl .templates/default "set memory_mb=80 disk_mb=48"
	leak_mark
}

finish_daemon() { # NAME
	ok "nothing leaks" leak_check 60
	is "shutdown" "$(host_errno shutdown)" ok
	ok "it ends" daemon_end "$1" 120
}

# One that is frozen can be kept as often as one likes.
frozen_again() {
	ok "a sandbox" host "create w start"
	ok "freeze" ctl w freeze
	ok "a snapshot of it" ctl w "snapshot create a full"
	ok "another" ctl w "snapshot create b full"
	is "it is frozen still" "$(state w) $(errno w "exec true")" "frozen EBUSY"
	ok "pause" ctl w pause
	ok "resume" ctl w resume
	ok "it answers" ctl w "exec true"
	ok "destroy" ctl w destroy
}

daemon a
prepare
frozen_again
round first 20261122
finish_daemon a
daemon b --net user
prepare
round second "${HISTORY_SEED:-$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')}"
finish_daemon b
finish
