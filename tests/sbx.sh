# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/sbx.sh - daemons, templates and commands for the cases with real guests; read after tests/tap.sh
#
#   daemon NAME [OPTION…]   start one in the foreground: state in ./NAME/state, mount ./NAME/m, log ./NAME/log;
#                           sets M to the mount, S to the state directory, P to its pid; a test of its own
#   use NAME                M, S and P are that one's
#   daemon_end NAME         wait for its process, which was told to end; false if it does not
#   template_dir            print the folder of a busybox template, made once for each build of the agent; or $TEMPLATE
#   guest_of DIR SCRIPT     the same in ./DIR with a guest that only runs SCRIPT, without an agent
#   import NAME [DIR]       make the template NAME from DIR (template_dir)
#   ctl NAME TEXT           write TEXT to NAME/ctl and print the reply, both through one descriptor; false when
#                           the write failed. NAME may be .templates/T; for the daemon's own: host TEXT
#   errno NAME TEXT         print "ok" or the name of the write's error; of the daemon's own: host_errno TEXT
#   sh_in NAME COMMAND      what COMMAND prints in the guest; false unless it exits with 0
#   clock_is_right NAME     the guest's clock is the host's, to two seconds, however long it takes to ask
#   spawn NAME TEXT         such a write in the background; its pid in $W, TEXT and OPTIONs are of helper-write
#   answer PID              wait for it and print "ok" or the error's name; answer_reply PID: what it read then
#   state NAME, status NAME KEY
#   events NAME             all events so far, without waiting for more; of the daemon's own: events .
#   told NAME PATTERN       true once an event matches it; false after 20 seconds
#   slots_settled           true once the network slots that were given back are gone; false after 60 seconds
#   leak_mark, leak_check   what the machine and the daemon hold, and whether it is so again
# shellcheck disable=SC2034,SC2154 # variables for the cases, and of tests/tap.sh

helper_write=$B/tests/cases/helper-write
declare -A daemon_pid=()
declare -a writer_file=()
writers=0
# Variables that a case may set: options for every daemon; DAEMON_PATH: where it looks for programs.
: "${DAEMON_OPTIONS:=--accel tcg --storage file}"
# Its settings: a small reserve, for machines with little room. Empty: the program's own defaults.
DAEMON_CONFIG=${DAEMON_CONFIG-$TOP/tests/sbxfs.conf}

use() { # NAME
	M=$PWD/$1/m S=$PWD/$1/state P=${daemon_pid[$1]:-} LOG=$PWD/$1/log
}

daemon() { # NAME [OPTION…]
	local name=$1
	shift
	mkdir -p "$name" "$name/m" 2>/dev/null # a dead mount stands in the way of -p
	# shellcheck disable=SC2086 # options are words
	PATH=${DAEMON_PATH:-$PATH} "$B/sbxfs" -f --state-dir "$PWD/$name/state" ${DAEMON_CONFIG:+--config "$DAEMON_CONFIG"} $DAEMON_OPTIONS "$@" "$PWD/$name/m" >>"$name/log" 2>&1 &
	daemon_pid[$name]=$!
	use "$name"
	wait_for 120 daemon_answers_or_is_gone "$name" # its probes take long on a busy test host
	daemon_answers "$name"
	tap_result $? "the daemon $name answers"
}

daemon_answers_or_is_gone() { # NAME
	daemon_answers "$1" || process_is_gone "${daemon_pid[$1]}"
}

daemon_answers() { # NAME
	grep -q '^sbxfs ' "$1/m/.version" && grep -q " $PWD/$1/m fuse.sbxfs " /proc/mounts
}

process_is_gone() { # PID: perhaps a zombie still
	case $(ps -o stat= -p "$1") in '' | Z*) ;; *) return 1 ;; esac
}

daemon_end() { # NAME
	wait_for "${2:-40}" process_is_gone "${daemon_pid[$1]}" || return 1
	wait "${daemon_pid[$1]}" 2>/dev/null
	unset "daemon_pid[$1]"
}

# At the end of a case: nothing of ours stays, however it went.
daemons_down() {
	local name pid log
	[ "$BASHPID" = $$ ] || return
	for log in */state/sandboxes/*/console.log; do # before they are gone
		[ "$tap_failed" = 0 ] || [ ! -s "$log" ] || tail -n 12 "$log" | tr -d '\r\0' | sed "s|^|# $log: |"
	done
	for name in "${!daemon_pid[@]}"; do
		pid=${daemon_pid[$name]}
		kill -INT "$pid" 2>/dev/null
		daemon_end "$name" 40 || kill -KILL "$pid"
	done
	for name in */log; do
		name=${name%/log}
		! grep -q " $PWD/$name/m fuse.sbxfs " /proc/mounts || fusermount3 -uz "$name/m"
		[ "$tap_failed" = 0 ] || tail -n 60 "$name/log" | sed "s/^/# $name: /"
	done
}
at_end daemons_down

template_dir() {
	local key cache
	if [ -n "${TEMPLATE:-}" ]; then
		echo "$TEMPLATE"
		return
	fi
	key=$(cat "$B/sbxfs-agent" "$TOP"/tools/sbx-mktemplate "$TOP"/tools/*.sh 2>/dev/null | sha256sum | cut -c1-16)
	cache=${SBXFS_CACHE:-$B}/template
	mkdir -p "$cache" || return 1
	(
		flock 9
		[ -d "$cache/$key" ] ||
			"$TOP/tools/sbx-mktemplate" --busybox --size 16 --agent "$B/sbxfs-agent" "$cache/$key" >&2
	) 9>"$cache/lock" || return 1
	echo "$cache/$key"
}

# A template whose guest does nothing but run SCRIPT with busybox as its first process: made in ./DIR.
guest_of() { # DIR SCRIPT
	mkdir -p "$1" "$1.root/bin" "$1.root/dev" "$1.root/proc"
	cp "$(command -v busybox)" "$1.root/bin/busybox"
	printf '#!/bin/busybox sh\n%s\n' "$2" >"$1.root/init"
	chmod +x "$1.root/init"
	ln -f "$(template_dir)"/{kernel,rootfs.ext4,template.conf} "$1/" 2>/dev/null ||
		cp "$(template_dir)"/{kernel,rootfs.ext4,template.conf} "$1/"
	(cd "$1.root" && find . | cpio --quiet -o -H newc -R 0:0) >"$1/initrd"
}

import() { # NAME [DIR]
	mkdir "$M/.templates/$1" && ctl ".templates/$1" "import ${2:-$(template_dir)}"
}

write_and_read() { # FILE TEXT
	local file=reply.$BASHPID status
	"$helper_write" "$1" "$2" >"$file"
	status=$?
	tail -n +2 "$file"
	rm "$file"
	return $status
}

ctl() { # NAME TEXT
	write_and_read "$M/$1/ctl" "$2"
}

host() { # TEXT
	write_and_read "$M/.ctl" "$1"
}

errno() { # NAME TEXT
	"$helper_write" -q "$M/$1/ctl" "$2"
}

host_errno() { # TEXT
	"$helper_write" -q "$M/.ctl" "$1"
}

sh_in() { # NAME COMMAND
	local file=exec.$BASHPID status
	ctl "$1" "exec $2" >"$file"
	sed '1,2d' "$file"
	[ "$(sed -n 2p "$file")" = exit=0 ]
	status=$?
	rm "$file"
	return $status
}

clock_is_right() { # NAME
	local before guest
	before=$(date +%s)
	guest=$(sh_in "$1" 'date +%s') || return
	[ "$guest" -ge $((before - 2)) ] && [ "$guest" -le $(($(date +%s) + 2)) ]
}

spawn() { # NAME TEXT [HELPER-OPTION…]
	local file=$M/$1/ctl text=$2
	[ "$1" != . ] || file=$M/.ctl
	shift 2
	writers=$((writers + 1))
	"$helper_write" "$@" "$file" "$text" >"writer.$writers" 2>&1 &
	W=$!
	writer_file[W]=writer.$writers
}

answer() { # PID
	wait_for 60 process_is_gone "$1" || echo "no answer"
	head -n 1 "${writer_file[$1]}"
}

answer_reply() { # PID
	tail -n +2 "${writer_file[$1]}"
}

state() { # NAME
	cat "$M/$1/state"
}

status() { # NAME KEY
	sed -n "s/^$2=//p" "$M/$1/status"
}

events() { # NAME
	local file=$M/$1/events
	[ "$1" != . ] || file=$M/.events
	dd if="$file" iflag=nonblock bs=64k 2>/dev/null
	return 0
}

told() { # NAME PATTERN
	wait_for 20 told_now "$@"
}

told_now() { # NAME PATTERN
	events "$1" | grep -q "$2"
}

in_state() { # NAME STATE
	[ "$(state "$1")" = "$2" ]
}

# The machine's own part of the inventory changes under us: only what a file store and its guests could leave counts.
leak_list() {
	"$TOP/tests/inventory" | awk -v own="$(cat "$S/instance")" -v here="$PWD" '
		/^(loop|dm|semaphore|cgroup) / || (/^(mount|netns) / && !index($0, own) && !index($0, here)) { next } { print }'
	find /sys/fs/cgroup -name "sbxfs-$(cat "$S/instance")*" 2>/dev/null | sed 's/^/cgroup /'
	# Threads that count and watch have one open for a moment: the least of a few looks.
	for _ in 1 2 3 4 5; do find "/proc/$P/fd" -type l 2>/dev/null | wc -l; done | sort -n | sed 's/^/descriptors /;q'
	find "$S" -printf '%P\n' | grep -v '\.log$' | sed 's/^/state /' | LC_ALL=C sort
}

# What was given back of the network is gone: that happens behind the command.
slots_settled() {
	wait_for 60 grep -qx slots_dirty=0 "$M/.status"
}

leak_mark() {
	slots_settled
	leak_list >leak.before
}

leak_same() {
	leak_list >leak.after
	cmp -s leak.before leak.after
}

leak_check() {
	wait_for "${1:-20}" leak_same || { diff leak.before leak.after; return 1; }
}
