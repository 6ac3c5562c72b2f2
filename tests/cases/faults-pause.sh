#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/cases/faults-pause.sh - at every point that pause and resume pass, the daemon fails, dies, hangs: no guest is lost
# needs: fuse root tcg faults
# timeout: 1800
# proves: 14 44 52 62 69 70
#
# How it works: a pause and a resume without a fault tell which points they pass. Then each is tried with each kind. Afterwards,
# in the same daemon or the next one, the guest runs, or it is paused or in error and a resume goes on with it: the
# same boot, its memory and disk whole, its processes counting on from where they were.
# shellcheck disable=SC2016 # what stands in '…' is for another shell
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
settled=is_lasting
is_lasting() {
	case $(state k) in running | frozen | paused | error | stopped) ;; *) return 1 ;; esac
}
memories() {
	find "$S/sandboxes" -maxdepth 2 -name 'memory.*' | wc -l
}
number() {
	sh_in k 'cat /tmp/n'
}
counted_past() { # NUMBER
	[ "$(number)" -gt "$1" ]
}
boot_id() {
	sh_in k 'cat /proc/sys/kernel/random/boot_id'
}

# It runs, or goes on, and is what it was.
is_kept() { # NUMBER: that it had counted to
	local was n
	was=$(state k)
	case $was in
	running) ;;
	paused | error) ctl k resume || return ;;
	*) echo "it is $was"; return 1 ;;
	esac
	[ "$(state k) $(boot_id)" = "running $boot" ] || { echo "it was $was and is $(state k), boot $(boot_id)"; return 1; }
	[ "$(sh_in k 'sha256sum -c /tmp/noise.sum /disk.sum')" = "/tmp/noise: OK
/disk.noise: OK" ] || { echo "its content is not whole"; return 1; }
	wait_for 20 counted_past "$1" || { echo "it does not count"; return 1; }
	[ "$(number)" -lt $(($1 + 100000)) ]
}

before() { # COMMAND
	is_lasting && case $(state k) in
	paused | error) [ "$1" = resume ] || ctl k resume ;;
	esac
	number_was=$([ "$(state k)" != running ] || number)
	: "${number_was:=$number_last}"
	number_last=$number_was
	[ "$1" != resume ] || ctl k pause
}

try() { # COMMAND POINT NUMBER KIND
	local text="$1: $2 $3 $4" answer at
	before "$1" >before.log 2>&1
	at=$(($(passes "$2") + $3))
	echo "$2 $4 after=$at" >fault
	spawn k "$1"
	case $4 in
	die) wait_for 60 process_is_gone "$P" && again ;;
	hang)
		wait_for 20 was_passed "$2" "$at"
		kill -INT "$W"
		;;
	esac
	answer=$(answer "$W")
	: >fault
	[ "$4" != hang ] || is "$text: it says so" "$answer" EINTR
	ok "$text: $answer, then $(state k)" is_kept "$number_was" || give_up=$((give_up + 1))
	[ "$(memories)" -le 1 ] || tap_result 1 "$text: $(memories) directories of memory"
	[ $give_up -lt 3 ] || { echo "# three are enough"; finish; }
}
give_up=0
number_last=0

# ---- the sandbox -----------------------------------------------------------------------------------------

up
ok "a template" import default "$template"
ok "a sandbox" host "create k memory_mb=96 disk_mb=20 warm=no"
ok "start" ctl k start
ok "content" sh_in k 'mkdir -p /tmp; mount -t tmpfs tmpfs /tmp; dd if=/dev/urandom of=/tmp/noise bs=64k count=16 2>/dev/null; sha256sum /tmp/noise >/tmp/noise.sum; dd if=/dev/urandom of=/disk.noise bs=64k count=16 2>/dev/null; sha256sum /disk.noise >/disk.sum; sync'
ok "a counter that writes to the disk too" sh_in k 'echo "i=0; while :; do i=\$((i+1)); echo \$i >/tmp/n.new; mv /tmp/n.new /tmp/n; [ \$((i%20)) != 0 ] || { echo \$i >/n; sync; }; sleep 0.02; done" >/tmp/count; (setsid sh /tmp/count >/dev/null 2>&1 </dev/null &)'
boot=$(boot_id)

# ---- each command without a fault ------------------------------------------------------------------------

declare -A points=()
for command in pause resume; do
	before "$command" >before.log 2>&1
	sort points >points.before
	is "$command" "$(errno k "$command")" ok
	points[$command]=$(sort points | comm -13 points.before - | uniq -c | awk '{ print $2 ":" $1 }')
	echo "# $command passes ${points[$command]//$'\n'/ }"
done
for point in pause-drain pause-prepare pause-shrink pause-freeze pause-save pause-commit vm-down resume-admit vm-up resume-thaw resume-agent resume-drop; do
	ok "$point is passed" grep -q "\<$point:" <<<"${points[*]}"
done
ok "it is the same guest" is_kept 0

# ---- each with each fault --------------------------------------------------------------------------------

for command in pause resume; do
	for point in ${points[$command]}; do
		for ((number = 1; number <= ${point#*:}; number++)); do
			for kind in fail die; do
				! worth_it "$command" "${point%:*}" "$number" $kind || try "$command" "${point%:*}" "$number" $kind
			done
		done
		case ${point%:*} in
		pause-drain | pause-prepare | pause-shrink | pause-freeze | pause-save | resume-admit | *-up | resume-thaw | resume-agent)
			try "$command" "${point%:*}" 1 hang
			;;
		esac
	done
done

# A resume that fails after its guest has written, and whose memory cannot be saved anew: the two do not fit any more.
before resume >before.log 2>&1
written() { # since it went on
	[ "$(stat -c %Y.%s "$disk")" != "$stamp" ]
}
disk=$(echo "$S"/sandboxes/*/disk.*)
stamp=$(stat -c %Y.%s "$disk")
sleep 1
: >points
printf 'resume-agent hang\nresume-save fail\n' >fault
spawn k resume
ok "a guest that goes on, and is not answered to" wait_for 30 was_passed resume-agent 1
ok "writes" wait_for 30 written
kill -INT "$W"
is "resume, and no second saving" "$(answer "$W")" EINTR
: >fault
is "the memory does not fit: error, and all is kept" "$(state k) $(memories)" "error 1"
is "it is refused" "$(errno k resume)" EINVAL
ok "with the reason" grep -q 'written to since its memory was saved' "$M/k/ctl"
kill -KILL "$P"
again
is "also by another daemon" "$(state k) $(memories) $(errno k resume)" "error 1 EINVAL"
ok "start boots" ctl k start
is "its files" "$(sh_in k 'sha256sum -c /disk.sum')" "/disk.noise: OK"
is "its memory is gone" "$(memories)" 0

ok "destroy" ctl k destroy
is "nothing is left" "$(ls "$S/sandboxes")" ""
kill -INT "$P"
ok "the daemon ends" daemon_end a
finish
