#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/cases/faults.sh - at fault points that a sandbox's life passes, the daemon fails, dies, hangs
# needs: root fuse tcg faults
# timeout: 900
# proves: 14 40 44 62 67 68
#
# Each name is tried once with each kind; with FAULTS_ALL=1 every pass of it is.
#
# How it works: one life without a fault gives the list of points that each command passes, in order. Each point
# of each command is then tried with each kind. Several lanes share the list, each with a daemon of its own, because most of
# the time is spent waiting for guests and for time limits. A lane prints lines "+ text" and "- text" for what held and what did not.
#
#   fail  the command answers with an error, and once the fault is gone everything can go on
#   die   the daemon is gone; the next one brings everything to a lasting state
#   hang  ends by the writer's SIGINT, by the command's timeout or by the step's own limit; where the disk itself hangs,
#         others go on meanwhile, and the daemon can be killed
#
# $FAULTS_LANES: how many lanes, if not 3. $FAULTS_ONLY: an extended regular expression on "COMMAND NAME NUMBER KIND" to try a few of them.
# shellcheck disable=SC2010,SC2012 # the names in a listing are our own
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
plain_B=$B
lanes=${FAULTS_LANES:-3}
memory=80 # MiB; the guest does not boot with 64

# ---- parts of a lane -------------------------------------------------------------------------------------

rules() {
	nft -s list table ip "sbxfs-$(cat "$S/instance")" 2>/dev/null
}
held() { # what this daemon holds outside its state directory, while nothing runs
	local inst
	inst=$(cat "$S/instance")
	{
		ip -o link | grep -o "sbx${inst}[^:@]*"
		rules | diff rules.rest -
		find /run/netns "/run/sbxfs-$inst" -mindepth 1 ! -path "*/next" 2>/dev/null | grep "$inst"
		find /sys/fs/cgroup -name "sbxfs-$inst-*" -o -path "*/sbxfs-$inst/*" -type d
		pgrep -af "[s]bxfs-$inst-"
	} 2>/dev/null
}
nothing_held() {
	[ -z "$(held)" ]
}
is_lasting() { # NAME
	case $(state "$1") in created | running | frozen | paused | stopped | error) ;; *) return 1 ;; esac
}
files() { # of the state directory; logs and records of what is over are not counted
	find "$S" -printf '%P\n' | grep -v '\.log$' | LC_ALL=C sort
}

# ---- each command: what it takes, how it is given, what must hold after it ----------------------------------
#
# The sandbox k has data and lives on from one try to the next; f is new for each.

value=0
keep() { # new data in k, which is acknowledged
	value=$((value + 1))
	sh_in k "echo $value >/kept; sync"
}
run_k() {
	[ "$(state k)" = running ] || ctl k start
}
rest_k() {
	[ "$(state k)" = stopped ] || ctl k stop
}
new_f() {
	mkdir "$M/f" && ctl f "set memory_mb=$memory"
}

before() { # COMMAND: bring about what it needs
	case $1 in
	import) mkdir "$M/.templates/t" ;;
	mkdir) ;;
	set | rename | first | rmdir) new_f ;;
	start) run_k && keep && rest_k ;;
	stop | die | die-both) run_k && keep ;;
	destroy) new_f && ctl f start && sh_in f 'echo x >/x; sync' ;;
	esac >step.log 2>&1
}

give() { # COMMAND: in the background; W is its writer
	W=
	case $1 in
	import) spawn .templates/t "import $template" ;;
	set) spawn f "set label.a=new" ;;
	first) spawn f "start$timeout" ;;
	start) spawn k "start$timeout" ;;
	stop) spawn k "stop" ;;
	destroy) spawn f destroy ;;
	mkdir) plainly mkdir "$M/f" ;;
	rmdir) plainly rmdir "$M/f" ;;
	rename) plainly mv -T "$M/f" "$M/g" ;;
	esac
}
plainly() { # COMMAND…: in the background, with the first line of helper-write
	writers=$((writers + 1))
	("$@" >/dev/null 2>&1 && echo ok || echo FAILED) >"writer.$writers" &
	W=$!
	writer_file[W]=writer.$writers
}

# The daemon ends without a word while k runs, alone or with the VM: the next one goes on with it, or undoes it.
die_running() { # COMMAND
	# shellcheck disable=SC2046 # two words, or one
	kill -KILL "$P" $([ "$1" = die ] || status k pid)
	reap
	: >"$SBXFS_FAULT_LOG"
	mkdir -p "$lane/m" 2>/dev/null
	daemon "$lane" --net "$net" >/dev/null
}

# What must hold afterwards, without any fault: and everything back to where the next try can begin.
after_k() {
	local rested=yes
	wait_for 60 is_lasting k || { say - "$1: k is $(state k)"; return; }
	[ "$(state k)" != error ] || ctl k stop >step.log || { say - "$1: k cannot be stopped: $(tail -n 1 step.log)"; rested=; }
	[ -z "$rested" ] || k_alone "$1"
	[ "$(state k)" = running ] || ctl k start >step.log || { say - "$1: k cannot be started: $(head -n 1 step.log)"; return; }
	[ "$(sh_in k 'cat /kept')" = "$value" ] || say - "$1: its data is not there"
}
after_f() { # COMMAND-TEXT NAME…: which may be there or not; they go
	local text=$1 name
	shift
	for name; do
		[ -e "$M/$name" ] || continue
		wait_for 60 is_lasting "$name" || [ ! -e "$M/$name" ] || say - "$text: $name is $(state "$name")"
		[ ! -e "$M/$name" ] || ctl "$name" destroy >step.log || say - "$text: $name cannot be destroyed: $(head -n 1 step.log)"
	done
	wait_for 20 gone_are_gone || say - "$text: there is still $(ls "$M" | tr '\n' ' ')"
	k_alone "$text"
}
k_alone() { # TEXT: what is held is held by k, which runs
	wait_for 60 k_is_alone || say - "$1: k is $(state k), and there is still: $(held | cut -c1-80 | tr '\n' ' ')"
}
k_is_alone() {
	[ "$(state k)" = running ] || { is_lasting k && nothing_held; }
}
gone_are_gone() {
	local name
	for name in "$M"/f~*; do
		[ ! -e "$name" ] || rmdir "$name" 2>/dev/null
	done
	[ "$(ls "$M")" = k ] && grep -qx destroying=0 "$M/.status"
}
starts_too() { # TEXT: f, in the state it is in
	wait_for 60 is_lasting f
	ctl f start >step.log || say - "$1: f cannot be started: $(head -n 1 step.log)"
	[ "$(sh_in f 'echo $((6 * 7))')" = 42 ] || say - "$1: f does not answer"
}

after() { # COMMAND NAME KIND TEXT
	local text=$4
	case $1 in
	import)
		rmdir "$M/.templates/t" 2>/dev/null
		[ ! -e "$M/.templates/t" ] || say - "$text: the template cannot be removed"
		;;
	start | stop | die | die-both) after_k "$text" ;;
	first)
		case $2 in vm-* | agent-*) starts_too "$text" ;; esac
		after_f "$text" f
		;;
	set)
		case $(sed -n 's/^label.a=//p' "$M/f/config") in
		'' | new) ;;
		*) say - "$text: neither the old nor the new value" ;;
		esac
		after_f "$text" f
		;;
	rename)
		[ "$(ls "$M" | grep -c '^[fg]$')" = 1 ] || say - "$text: not one of the two names"
		after_f "$text" f g
		;;
	*) after_f "$text" f ;;
	esac
}

# ---- one try -------------------------------------------------------------------------------------------------

say() { # +|- TEXT
	echo "$1 $2" >>"$here/$lane.said"
}

answered() {
	process_is_gone "$W"
}

# Does it have to be an error? Where only the record of something done is written, a warning is enough.
judge_fail() { # COMMAND NAME TEXT
	local got=none
	wait_for 100 answered && got=$(answer "$W")
	case $got in
	none) say - "$3: no answer" ;;
	ok) case "$1 $2" in
		*' record-save' | *' file-'* | *' tree-'* | *' store-unlink' | rmdir\ *) ;;
		*) say - "$3: answered with ok" ;;
		esac ;;
	esac
}
judge_die() { # TEXT
	wait_for 100 process_is_gone "$P" || say - "$1: the daemon is alive"
	wait_for 10 answered || say - "$1: the writer was not let go"
	[ "$(answer "$W")" != ok ] || case $1 in rmdir*) ;; *) say - "$1: answered with ok" ;; esac
	again
}

# A step's way up ends by signal or time; its way down by its own limit; the disk's writes never.
judge_hang() { # COMMAND NAME NUMBER TEXT
	local wanted=EINTR
	wait_for 100 was_passed "$2" "$3" || say - "$4: was not reached"
	case "$1 $2" in mkdir\ * | rmdir\ * | rename\ *) ;; *)
		timeout 5 cat "$M/k/status" "$M/.status" "$M/.ps" >/dev/null || say - "$4: status does not answer"
		timeout 5 ls "$M" >/dev/null || say - "$4: ls does not answer" ;;
	esac
	case "$1 $2" in
	*' journal-write' | *' record-save' | *' file-'* | *' tree-'* | *' store-'* | *' template-name'* | mkdir\ *)
		kill -KILL "$P"
		judge_die "$4"
		return
		;;
	*-down) wanted= ;;
	*) if [ -n "$timeout" ]; then wanted=ETIMEDOUT; else kill -INT "$W"; fi ;;
	esac
	wait_for 100 answered || { say - "$4: no answer"; kill -KILL "$P"; judge_die "$4"; return; }
	case "$wanted $(answer "$W")" in
	" ok") [ "$1" = rmdir ] || say - "$4: answered with ok" ;;
	" "*) ;;
	"$wanted $wanted") ;;
	*) say - "$4: $(answer "$W") instead of $wanted" ;;
	esac
}

is_death() { # COMMAND: the next daemon is what meets the fault
	case $1 in die*) ;; *) return 1 ;; esac
}

try() { # COMMAND NAME NUMBER KIND
	local text="$1, $2 ($3), $4" at
	timeout=
	[ "$4" != hang ] || [ $(($3 % 2)) = 1 ] || timeout=" timeout=1"
	before "$1" || { say - "$text: cannot be prepared: $(head -n 1 step.log)"; return; }
	at=$(($(passes "$2") + $3))
	! is_death "$1" || at=$3
	echo "$2 $4 after=$at" >"$SBXFS_FAULT_FILE"
	say + "$text"
	if is_death "$1"; then
		die_running "$1" # recovery meets the fault, and may die of it before the mount answers
		[ "$4" != fail ] || wait_for 60 is_lasting k
		[ "$4" != hang ] || wait_for 60 was_passed "$2" "$3" || say - "$text: was not reached"
		[ "$4" != hang ] || timeout 5 cat "$M/k/status" >/dev/null || say - "$text: status does not answer"
		case "$2 $4" in
		*die | journal-write*hang | record-save*hang | file-*hang | tree-*hang | store-*hang)
			[ "$4" != hang ] || kill -KILL "$P"
			again
			;;
		*hang) wait_for 60 is_lasting k ;;
		esac
	else
		give "$1"
		case $4 in
		fail) judge_fail "$1" "$2" "$text" ;;
		die) judge_die "$text" ;;
		hang) judge_hang "$1" "$2" "$at" "$text" ;;
		esac
	fi
	clear
	after "$1" "$2" "$4" "$text"
}

# ---- a lane ------------------------------------------------------------------------------------------------

# What fails leaves no descriptor open in the daemon. Asked with k at rest.
descriptors() {
	ls "/proc/$P/fd" | wc -l
}
descriptors_same() {
	[ "$(descriptors)" = "$fds" ]
}
lane_begin() { # NAME NET
	lane=$1 net=$2
	mkdir -p "lane-$lane"
	cd "lane-$lane" || exit 1
	faults_here "$lane."
	lane_options="--net $net"
	up
	{
		import default "$template" && mkdir "$M/k" && ctl k "set memory_mb=$memory" && ctl k start && keep && rest_k
	} >step.log || say - "the lane $lane cannot begin: $(head -n 1 step.log)"
	slots_settled || say - "the slot of k does not go"
	rules >rules.rest
}
lane_end() {
	clear
	ctl k destroy >step.log || say - "k cannot be destroyed: $(head -n 1 step.log)"
	wait_for 10 nothing_held || say - "at the end there is still: $(held)"
	kill -INT "$P"
	daemon_end "$lane" || say - "the daemon does not end"
	wait_for 10 instance_is_gone || say - "after the daemon there is still something of sbxfs-$(cat "$S/instance")"
}
instance_is_gone() { # directories of sockets and control groups, table
	local inst
	inst=$(cat "$S/instance")
	[ ! -e "/run/sbxfs-$inst" ] && [ -z "$(rules)" ] && [ -z "$(find /sys/fs/cgroup -name "sbxfs-$inst" 2>/dev/null)" ]
}

one_lane() { # NAME NET, the list on stdin
	trap - EXIT
	lane_begin "$1" "$2"
	local command point number kind seconds=$SECONDS fds last=fail
	files >files.before
	fds=$(descriptors)
	while read -r command point number kind; do
		if [ "$kind" != "$last" ] && [ "$last" = fail ]; then
			rest_k >step.log
			wait_for 15 descriptors_same || say - "the daemon has $(descriptors) descriptors open instead of $fds"
		fi
		last=$kind
		try "$command" "$point" "$number" "$kind" </dev/null
		kill -0 "$P" 2>/dev/null || { say - "$command $point $number $kind: the daemon has ended by itself"; again; }
	done
	rest_k >step.log
	# What the volume and the journal of k are called is there both times.
	wait_for 5 files_same || say - "files were left: $(diff files.before files.after | tr '\n' ' ')"
	lane_end
	echo "# lane $1: $((SECONDS - seconds)) s" >>"$here/$lane.said"
}
files_same() {
	files >files.after
	cmp -s files.before files.after
}

# ---- the list of points ----------------------------------------------------------------------------------------

# One life; what each command passes is what the log has grown by.
list_points() {
	local command
	lane_begin list user
	for command in import mkdir set rename first start stop destroy rmdir die die-both; do
		timeout=
		before "$command" || say - "$command cannot be prepared: $(head -n 1 step.log)"
		: >"$SBXFS_FAULT_LOG"
		if is_death "$command"; then
			die_running "$command"
			wait_for 60 is_lasting k
		else
			give "$command"
			[ "$(answer "$W")" = ok ] || say - "without a fault: $command: $(answer "$W")"
		fi
		wait_for 20 grep -qx destroying=0 "$M/.status"
		awk -v command=$command '{ print command, $0, ++n[$0] }' "$SBXFS_FAULT_LOG" >>"$here/points"
		after "$command" - - "without a fault: $command" </dev/null
		[ "$command" != import ] || rmdir "$M/.templates/t" 2>/dev/null
	done
	lane_end
}

here=$PWD
machine() { # control groups and devices are the whole machine's, and other daemons may run there: see instance_is_gone()
	"$TOP/tests/inventory" | grep -vE '^(cgroup|dm|loop) '
}
machine >inventory.before
(trap - EXIT; list_points)
ok "a life without a fault" test ! -s list.said -a -s points
sed 's/^- /# /' list.said 2>/dev/null
echo "# $(wc -l <points) points passed, of $(cut -d' ' -f2 points | sort -u | wc -l) names: $(cut -d' ' -f2 points | sort -u | tr '\n' ' ')"
for name in journal-write record-save template-import \
	record-up data-up disk-up network-up vm-up agent-up agent-down vm-down network-down disk-down data-down record-down; do
	ok "$name is among them" grep -q " $name " points
done

# The first of each name, or all. Commands that matter most come first. What everything passes is tried by crash.sh.
choose() {
	local command
	for command in start stop destroy first import mkdir set rename rmdir die die-both; do
		grep "^$command " points
	done | awk -v all="${FAULTS_ALL:-}" 'all || (!seen[$2]++ && $2 !~ /^(file|tree)-/)'
}

# Where a write of the daemon's own hangs nothing can be done but to kill it, which is what "die" is: one of each is enough.
once() {
	awk '$4 != "hang" || $2 !~ /^(journal-write|record-save|file-.*|tree-.*)$/ || !seen[$2]++'
}

# Those that end the daemon come last in each lane, so that one daemon sees all the others.
for kind in fail hang die; do
	choose | sed "s/\$/ $kind/"
done | once | grep -E "${FAULTS_ONLY:-.}" >tries
pids=
i=0
while [ $i -lt "$lanes" ]; do
	awk -v lanes="$lanes" -v i=$i 'NR % lanes == i' tries >tries.$i
	(one_lane $i "$([ $i = 0 ] && echo user || echo netns)" <tries.$i) &
	pids="$pids $!"
	i=$((i + 1))
done
# shellcheck disable=SC2086 # words
wait $pids

echo "# points x kinds: $(wc -l <tries) of $((3 * $(wc -l <points))), in $lanes lanes"
cat [0-9]*.said | grep '^#'
while read -r command point number kind; do
	text="$command, $point ($number), $kind"
	ok "$text" sh -c 'grep -qxF "+ $0" [0-9]*.said && ! grep -hF -- "- $0" [0-9]*.said' "$text"
done <tries
is "and nothing else" "$(grep -h '^- ' [0-9]*.said | grep -vE '^- [a-z-]+, [a-z-]+ \([0-9]+\), (fail|die|hang): ')" ""
as_before() {
	machine >inventory.after
	cmp -s inventory.before inventory.after
}
ok "the machine is as before" wait_for 10 as_before
diff inventory.before inventory.after | sed 's/^/# /'
B=$plain_B
finish
