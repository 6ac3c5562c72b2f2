#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/cases/crash.sh - whatever is asked of it, and wherever the daemon dies, fails or hangs: the next one has all that was acknowledged, and nothing else
# needs: root fuse tcg netns faults
# timeout: 2400
# proves: 14 40 44 62 67 68
#
# How it works: each verb without a fault tells which points it passes. Then each point is tried with each kind: the daemon dies there;
# or the verb is answered, if need be after a SIGINT, and then the daemon is killed. The next daemon must come to a lasting state where
#
#   what the machine has is what records say: directories, VMMs, devices, links, namespaces, control groups, of each as many as run
#   k has its data, its snapshot, and it is the same boot unless the verb was one that ends it
#   k runs, or can be started or resumed; every other sandbox and template can be destroyed
#
# Two daemons share the verbs. $CRASH_VERBS: those to try, if not all. $CRASH_KINDS: of "die fail hang". $FAULTS_ALL: each pass of each point, where one is tried
# otherwise. $FAULTS_ONLY: an extended regular expression on "VERB POINT NUMBER KIND". $CRASH_LIMIT: seconds that something may take.
# shellcheck disable=SC2010,SC2012 # the names in a listing are our own
# shellcheck disable=SC2016 # what stands in '…' is for another shell
# shellcheck disable=SC2034 # the variables are read in tests/sbx.sh
set -u
DAEMON_OPTIONS="${DAEMON_OPTIONS:---accel tcg --storage file} --net netns"
# shellcheck source=tests/tap.sh
. "$TOP/tests/tap.sh"
# shellcheck source=tests/sbx.sh
. "$TOP/tests/sbx.sh"
# shellcheck source=tests/faults-lib.sh
. "$TOP/tests/faults-lib.sh"
template=$(template_dir)
plain_B=$B
here=$PWD
memory=${CRASH_MEMORY:-80} # MiB; the guest does not boot with 64
limit=${CRASH_LIMIT:-100}
: "${CRASH_KINDS:=die fail hang}"
# Those of k, and those of others; the pool comes last in each lane, since it has another configuration.
: "${CRASH_VERBS:=exec snapshot full delete pause resume rollback set ports stop start recover/create first clone destroy image commit import unmake pool}"

say() { # +|- TEXT
	echo "$1 $2" >>"$here/$lane.said"
	[ "$1" = + ] || echo "# $2" # seen when the time is over before the end, too
}
quietly() {
	"$@" >step.log 2>&1
}

# ---- what must be so ---------------------------------------------------------------------------------------

serials() { # of sandboxes that have a VM, or are known
	local name
	for name in $(cd "$M" && ls); do
		case $1.$(state "$name") in known.* | up.running | up.frozen) echo $((16#$(status "$name" id | sed 's/.*-//'))) ;; esac
	done
}
ready() { # sandboxes that are nobody's yet
	sed -n 's/^pool_ready=//p' "$M/.status"
}
count() { # WHAT: of this instance
	local inst
	inst=$(cat "$S/instance")
	case $1 in
	dirs) ls "$S/sandboxes" | wc -l ;;
	vmms) pgrep -fc -- "-name sbxfs-$inst-[0-9]" ;;
	links) ip -o link | grep -c ": sbx$inst" ;;
	spaces) find /run/netns -name "sbx$inst*" | wc -l ;;
	runs) find "/run/sbxfs-$inst" -mindepth 1 -maxdepth 1 -type d ! -name next 2>/dev/null | wc -l ;;
	cgroups) find /sys/fs/cgroup -type d -path "*sbxfs-$inst/*" 2>/dev/null | wc -l ;;
	devices) [ ! -e /dev/mapper/control ] || dmsetup ls 2>/dev/null | grep -cE "^sbxfs-$inst-[0-9]+[[:space:]]" ;;
	loops) grep -ls "^$S/sandboxes/" /sys/block/loop*/loop/backing_file 2>/dev/null | wc -l ;;
	esac
}
# What no record names. A file that is to replace another (.new) is there until that is replaced again.
strays() {
	find "$S" \( -name .commit -o -name '*-removed' -o -name 'cow.new' -o -path '*/versions/import' -o -path '*/snapshots/.*' -o -name '.memory.new' \
		-o -path "$S/templates/.*" \) ! -path '*/snapshots/.keep' -printf '%P ' 2>/dev/null
	local path
	for path in "$S"/sandboxes/*/{data,memory}.[0-9]*; do
		case $path in */memory.*) [ -z "${pooled:-}" ] || continue ;; esac # no record names what a template's guests go on from
		[ ! -e "$path" ] || grep -q "\"${path##*/}\"" "${path%/*}/record" || echo "${path#"$S"/} "
	done
}
wrong() { # what is not as records say
	local up known hidden what wanted slots
	up=$(serials up | wc -l) known=$(serials known | wc -l) hidden=$(ready)
	slots=$(sed -n 's/^slots_ready=//p' "$M/.status")
	for what in dirs vmms links spaces runs cgroups devices loops; do
		case $what in
		dirs) wanted=$((known + hidden)) ;;
		links | spaces) wanted=$((up + hidden + slots)) ;;
		cgroups) [ "$has_cgroups" = yes ] && wanted=$((up + hidden)) || wanted=0 ;;
		devices | loops) [ "$is_dm" = yes ] && wanted=$((up + hidden)) || wanted=0 ;;
		*) wanted=$((up + hidden)) ;;
		esac
		[ "$(count $what)" = "$wanted" ] || echo "$what: $(count $what) instead of $wanted;"
	done
	strays
}
nothing_is_wrong() {
	lasting && grep -qx slots_dirty=0 "$M/.status" && [ -z "$(wrong)" ]
}
lasting() {
	local name
	grep -qx destroying=0 "$M/.status" || return
	for name in $(cd "$M" && ls); do
		case $(state "$name") in created | running | frozen | paused | stopped | error) ;; *) return 1 ;; esac
	done
}
boot_id() {
	sh_in k 'cat /proc/sys/kernel/random/boot_id'
}

# VERB TEXT: afterwards all is as before the next try.
whole() {
	local was name
	wait_for "$limit" lasting || { say - "$2: not lasting: $(cd "$M" && grep -H . ./*/state | tr '\n' ' ')"; return; }
	wait_for "$limit" nothing_is_wrong || say - "$2: $(wrong | tr '\n' ' ')"
	was=$(state k)
	k_runs || say - "$2: k was $was and cannot go on: $(head -n 3 step.log | tr '\n' ' ')"
	[ "$1 $(sh_in k 'cat /kept')" != "rollback one" ] || value=one
	[ "$(sh_in k 'cat /kept')" = "$value" ] || say - "$2: k was $was; its data is not there: '$(sh_in k 'cat /kept')' instead of $value"
	case $1 in
	start | stop | rollback) boot=$(boot_id) ;;
	*) [ "$(boot_id)" = "$boot" ] || { say - "$2: k was $was and is another boot"; boot=$(boot_id); } ;;
	esac
	grep -q '^one ' "$M/k/snapshot" || say - "$2: its snapshot is not there"
	for name in $(cd "$M" && ls); do
		[ "$name" = k ] || quietly ctl "$name" destroy || say - "$2: $name cannot be destroyed: $(head -n 1 step.log)"
	done
	for name in $(cd "$M/.templates" && ls); do
		[ "$name" = default ] || quietly rmdir "$M/.templates/$name" || say - "$2: template $name cannot be removed: $(head -n 1 step.log)"
	done
	for name in new full gone; do
		! grep -q "^$name " "$M/k/snapshot" || quietly ctl k "snapshot delete $name" || say - "$2: snapshot $name cannot be deleted: $(head -n 1 step.log)"
	done
	}
k_runs() {
	case $(state k) in
	running) ;;
	paused) quietly ctl k "resume timeout=$limit" ;;
	error) quietly ctl k "resume timeout=$limit" || { quietly ctl k stop; quietly ctl k "start timeout=$limit"; } ;;
	frozen) quietly ctl k thaw ;;
	*) quietly ctl k "start timeout=$limit" ;;
	esac
	[ "$(state k)" = running ]
}
keep() { # new data in k, which is acknowledged
	kept=$((kept + 1))
	value=$kept
	quietly sh_in k "echo $value >/kept; sync"
}

# ---- verbs ---------------------------------------------------------------------------------------------------

before() { # VERB: k runs
	case $1 in
	delete) ctl k "snapshot create gone disk" ;;
	resume) keep && ctl k pause ;;
	start) keep && ctl k stop ;;
	exec | snapshot | full | pause | stop | clone | image | commit | recover | rollback) keep ;;
	first) host "create f memory_mb=$memory" ;;
	pool) fill_pool && host "create f memory_mb=$memory" ;;
	destroy) host "create f memory_mb=$memory" && ctl f "start timeout=$limit" && sh_in f 'echo x >/x; sync' ;;
	unmake) import t "$template" ;;
	import) mkdir "$M/.templates/t" ;;
	esac >step.log 2>&1
}
give() { # VERB: in the background; W is its writer
	case $1 in
	exec) spawn k "exec cat /kept" ;;
	snapshot) spawn k "snapshot create new disk" ;;
	full) spawn k "snapshot create full" ;;
	delete) spawn k "snapshot delete gone" ;;
	rollback) spawn k "snapshot rollback one" ;;
	set) spawn k "set net_bps=$((1000000 + RANDOM)) 'egress=policy allow; deny 198.51.100.$((RANDOM % 250))'" ;;
	ports) spawn_to "$M/k/net/ports" "add 127.0.0.1:$((20000 + RANDOM % 9000)):80" ;;
	pause | resume | stop | start) spawn k "$1" ;;
	create) spawn . "create f memory_mb=$memory" ;;
	first | pool) spawn f "start timeout=$limit" ;;
	clone) spawn k "clone f g" ;;
	destroy) spawn f destroy ;;
	image) spawn k "snapshot commit t image" ;;
	commit) spawn k "snapshot commit t full" ;;
	import) spawn .templates/t "import $template" ;;
	unmake) plainly rmdir "$M/.templates/t" ;;
	recover) kill -KILL "$P"; reap ;;
	esac
}
spawn_to() { # FILE TEXT
	writers=$((writers + 1))
	"$helper_write" "$1" "$2" >"writer.$writers" 2>&1 &
	W=$!
	writer_file[W]=writer.$writers
}
plainly() { # COMMAND…: with the first line of helper-write
	writers=$((writers + 1))
	("$@" >/dev/null 2>&1 && echo ok || echo FAILED) >"writer.$writers" &
	W=$!
	writer_file[W]=writer.$writers
}
pool_is_full() {
	[ "$(ready)" = 1 ]
}
fill_pool() { # a start has it filled, of what it has started
	pool_is_full || { host "create g memory_mb=$memory" && ctl g "start timeout=$limit" && ctl g destroy && wait_for "$limit" pool_is_full; }
}
over() { # VERB: and what it has set going is over as well
	wait_for "$limit" process_is_gone "$W"
	[ "$(answer "$W")" = ok ] || say - "$1 without a fault: $(answer "$W")"
	[ "$1" != pool ] || wait_for "$limit" pool_is_full
	wait_for "$limit" nothing_is_wrong || say - "$1 without a fault: $(wrong | tr '\n' ' ')"
}
plain() { # VERB
	give "$1"
	if [ "$1" = recover ]; then
		: >passed.before # the points are the next daemon's
		up
		wait_for "$limit" nothing_is_wrong
	else
		over "$1"
	fi
}

# ---- one try ---------------------------------------------------------------------------------------------------

inject() { # VERB POINT NUMBER KIND
	local text="$1, $2 ($3), $4" at=$3
	before "$1" || { say - "$text: cannot be prepared: $(head -n 1 step.log)"; k_runs; return; }
	say + "$text"
	[ "$1" = recover ] || at=$(($(passes "$2") + $3))
	if [ "$1" = recover ]; then
		kill -KILL "$P"
		reap
		: >"$SBXFS_FAULT_LOG"
		fault "$2" "$4" "$at"
		mkdir -p "$lane/m" 2>/dev/null
		daemon "$lane" >/dev/null
	else
		fault "$2" "$4" "$at"
		give "$1"
	fi
	met "$@" "$at"
	clear
	kill -KILL "$P" 2>/dev/null
	again
	whole "$1" "$text"
}
met() { # VERB POINT NUMBER KIND PASS: the fault, and what came of it
	case $4 in
	die) wait_for "$limit" process_is_gone "$P" || say - "$1, $2 ($3), $4: the daemon is alive" ;;
	hang)
		wait_for "$limit" was_passed "$2" "$5" || say - "$1, $2 ($3), $4: was not reached"
		[ "$1" != recover ] || return 0
		[ "$1" = unmake ] || timeout 10 cat "$M/k/status" "$M/.status" >/dev/null || say - "$1, $2 ($3), $4: status does not answer"
		kill -INT "$W"
		wait_for 2 process_is_gone "$W" # what hangs for ever ends with the daemon
		;;
	fail)
		if [ "$1" = recover ]; then
			wait_for "$limit" lasting
		else
			wait_for "$limit" process_is_gone "$W" || say - "$1, $2 ($3), $4: no answer"
		fi
		process_is_gone "$P" && say - "$1, $2 ($3), $4: the daemon has ended by itself"
		;;
	esac
}

# ---- a lane ------------------------------------------------------------------------------------------------------

lane_begin() {
	mkdir "lane-$lane"
	cd "lane-$lane" || exit 1
	faults_here ""
	up
	kept=0
	{
		import default "$template" && host "create k memory_mb=$memory disk_mb=${CRASH_DISK:-24}" && ctl k "start timeout=$limit" &&
			sh_in k 'echo one >/kept; sync' && ctl k "snapshot create one full"
	} >step.log || say - "the lane $lane cannot begin: $(head -n 1 step.log)"
	keep
	boot=$(boot_id)
	is_dm=no has_cgroups=no
	grep -q '^storage=dm' "$M/.status" && is_dm=yes
	[ "$(count cgroups)" = 0 ] || has_cgroups=yes
	wait_for "$limit" nothing_is_wrong || say - "the lane $lane begins with: $(wrong | tr '\n' ' ')"
}
lane_end() {
	quietly ctl k destroy || say - "k cannot be destroyed: $(head -n 1 step.log)"
	wait_for "$limit" nothing_is_wrong || say - "in the end: $(wrong | tr '\n' ' ')"
	kill -INT "$P"
	daemon_end "$lane" || say - "the daemon does not end"
}
with_pool() { # this lane's daemon has one ready from now on
	pooled=yes
	quietly ctl k stop
	kill -INT "$P"
	daemon_end "$lane"
	sed 's/^warm=.*/warm=auto/' "$TOP/tests/sbxfs.conf" >pool.conf
	echo pool=1 >>pool.conf
	DAEMON_CONFIG=$PWD/pool.conf
	up
	quietly ctl k start
	boot=$(boot_id)
	quietly ctl .templates/default "set memory_mb=$memory"
	quietly fill_pool || say - "there is nothing in the pool"
}
one_lane() { # VERB…
	local verb point number kind passed began=$SECONDS
	trap - EXIT
	lane_begin
	for verb; do
		[ "$verb" != pool ] || with_pool
		before "$verb" || say - "$verb: cannot be prepared: $(head -n 1 step.log)"
		passed_by plain "$verb"
		[ "$verb" != rollback ] || [ "$(sh_in k 'cat /kept')" = one ] || say - "$verb without a fault has not gone back"
		printf '%s\n' "$passed" | sed "s/^/$verb /" >>"$here/points"
		whole "$verb" "$verb without a fault"
		for point in $passed; do
			for ((number = 1; number <= ${point#*:}; number++)); do
				for kind in $CRASH_KINDS; do
					grep -qE "${FAULTS_ONLY:-.}" <<<"$verb ${point%:*} $number $kind" || continue
					worth_it all "${point%:*}" "$number" "$kind" || continue
					inject "$verb" "${point%:*}" "$number" "$kind" </dev/null
				done
			done
		done
		echo "# $lane: $verb: until $((SECONDS - began)) s, $(grep -c '^+' "$here/$lane.said") tried"
	done
	lane_end
}

machine() {
	"$TOP/tests/inventory" | grep -vE '^(cgroup|dm|loop|mount \/run\/netns)[ /]'
}
machine >inventory.before
pids=
IFS=/ read -ra shares <<<"$CRASH_VERBS"
for i in "${!shares[@]}"; do
	# shellcheck disable=SC2086 # words
	(lane=lane$i && one_lane ${shares[i]}) &
	pids="$pids $!"
done
# shellcheck disable=SC2086 # words
wait $pids
awk '{ split($2, p, ":"); n[$1] += p[2]; names[$1]++; all += p[2]; if (!($1 in seen)) order[++k] = $1; seen[$1] = 1; if (!(p[1] in known)) { known[p[1]] = 1; kinds++ } }
	END { for (i = 1; i <= k; i++) printf "# %-10s %3d points, %4d passes\n", order[i], names[order[i]], n[order[i]]
		printf "# all: %d names, %d passes, with each of three kinds %d\n", kinds, all, 3 * all }' points
grep -h '^+ ' ./*.said | cut -c3- >tried
ok "something was tried" test -s tried
echo "# tried: $(wc -l <tried)"
while read -r text; do
	ok "$text" sh -c '! grep -hF -- "- $0: " ./*.said' "$text"
done <tried
is "and nothing else" "$(grep -h '^- ' ./*.said | grep -vE '^- [a-z]+, [a-z-]+ \([0-9]+\), (fail|die|hang): ')" ""
as_before() {
	machine >inventory.after
	cmp -s inventory.before inventory.after
}
ok "the machine is as before" wait_for 20 as_before
diff inventory.before inventory.after | sed 's/^/# /'
B=$plain_B
finish
