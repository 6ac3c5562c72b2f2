#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/cases/clone.sh - sandboxes that go on from where another is: each its own, all or none, none the worse when the source goes
# needs: fuse root tcg
# timeout: 900
# proves: 56 63 72
# shellcheck disable=SC2016 # what stands in '…' is for another shell
# shellcheck disable=SC2034 # the variables are read in tests/sbx.sh
set -u
: "${DAEMON_OPTIONS:=--accel tcg --storage file}"
: "${MANY:=6}"
# shellcheck source=tests/tap.sh
. "$TOP/tests/tap.sh"
# shellcheck source=tests/sbx.sh
. "$TOP/tests/sbx.sh"

dir_of() { # NAME: below the state directory
	echo "$S/sandboxes/$((16#$(status "$1" id | sed 's/.*-//')))"
}
put() { # NAME TEXT: on the guest's disk and in its memory
	sh_in "$1" "echo $2 >/kept; sync; echo $2 >/tmp/kept; dd if=/dev/urandom of=/tmp/big bs=64k count=20 2>/dev/null; sha256sum /tmp/big >/tmp/big.sum"
}
holds() { # NAME TEXT
	[ "$(sh_in "$1" 'cat /kept /tmp/kept; sha256sum -c /tmp/big.sum 2>&1')" = "$2
$2
/tmp/big: OK" ]
}
begin_counting() { # NAME
	sh_in "$1" 'mkdir -p /tmp; mount -t tmpfs tmpfs /tmp; echo "i=0; while :; do i=\$((i+1)); echo \$i >/tmp/n.new; mv /tmp/n.new /tmp/n; sleep 0.02; done" >/tmp/count; (setsid sh /tmp/count >/dev/null 2>&1 </dev/null &)'
}
counts_past() { # NAME NUMBER
	[ "$(sh_in "$1" 'cat /tmp/n')" -gt "$2" ]
}
counts() { # NAME
	wait_for 20 counts_past "$1" "$(sh_in "$1" 'cat /tmp/n')"
}
each() { # COMMAND…: on each of $names; true when all are
	local name
	for name in $names; do "$@" "$name" || { echo "$name"; return 1; }; done
}
is_running() { # NAME
	in_state "$1" running
}
holds_first() { # NAME
	holds "$1" first
}
differ() { # COMMAND…: what it prints of $names is no two times the same, and never empty
	local name
	for name in $names; do "$@" "$name"; done >values
	if [ "$(grep -c . values)" != "$(echo "$names" | wc -w)" ] || [ "$(sort values | uniq -d)" != "" ]; then
		cat values
		return 1
	fi
}
machine_id() { sh_in "$1" 'cat /etc/machine-id'; }
host_ip() { status "$1" host_ip; }
token() { cat "$M/$1/token"; }
uuids() { sh_in "$1" 'cat /proc/sys/kernel/random/uuid'; }
bytes() { sh_in "$1" 'head -c 16 /dev/urandom | md5sum'; }
is_called_so() { [ "$(sh_in "$1" hostname)" = "$1" ]; }
pss_kib() { # of the VMMs of $names
	local name
	for name in $names; do sed -n 's/^Pss: *\([0-9]*\) kB/\1/p' "/proc/$(status "$name" pid)/smaps_rollup"; done | awk '{ n += $1 } END { print n }'
}
disk_kib() { # that the state directory takes
	du -sk "$S" | cut -f1
}
sandboxes() {
	(cd "$M" && echo *)
}

daemon a
ok "a template" import default
ok "a sandbox" host "create web1 memory_mb=96 disk_mb=64 label.app=x protect=yes user=root"
ok "start" ctl web1 start
ok "a counter" begin_counting web1
ok "content" put web1 first
pid=$(status web1 pid)

# ---- of one that runs ------------------------------------------------------------------------------------

is "a name that is taken" "$(errno web1 "clone c1 web1")" EEXIST
is "what is no name, one twice, none" "$(errno web1 "clone c1 .c2") $(errno web1 "clone c1 c1") $(errno web1 "clone from=x")" "EINVAL EINVAL EINVAL"
is "no such snapshot" "$(errno web1 "clone c1 from=none")" ENOENT
is "nothing was made of that" "$(sandboxes)" web1
before=$(disk_kib)
began=$(date +%s%N)
ok "clone" ctl web1 "clone c1"
names="c1"
echo "# 1 clone in $((($(date +%s%N) - began) / 1000000)) ms, $(pss_kib) KiB of memory, $(($(disk_kib) - before)) KiB on disk; $(grep -o 'it stood still for.*' "$LOG" | tail -n 1)"
is "the source runs on" "$(state web1) $(status web1 pid)" "running $pid"
ok "and counts" counts web1
is "it runs" "$(state c1)" running
ok "with the content" holds c1 first
ok "and counts" counts c1
is "of the same settings" "$(grep -E '^(memory_mb|disk_mb|label.app|user)=' "$M/c1/config" | sort | tr '\n' ' ')" "disk_mb=64 label.app=x memory_mb=96 user=root "
is "but not protected" "$(sed '/^# defaults/,$d' "$M/c1/config" | grep -c protect)" 0
is "without snapshots, of the same version" "$(sed 1d "$M/c1/snapshot") $(status c1 template)" " $(status web1 template)"
is "nothing hidden is left" "$(ls -A "$(dir_of web1)/snapshots")" ""
ok "what it does is its own" put c1 other
ok "the source knows nothing of that" holds web1 first
ok "a snapshot" ctl web1 "snapshot create one"
ok "content of the source" put web1 second

began=$(date +%s%N)
names=$(seq -f 'm%g' "$MANY" | tr '\n' ' ')
before=$(disk_kib)
ok "$MANY from the snapshot, by .ctl" host "clone web1 $names from=one timeout=280"
echo "# $MANY clones in $((($(date +%s%N) - began) / 1000000)) ms, $(pss_kib) KiB of memory, $(($(disk_kib) - before)) KiB on disk"
ok "all run" each is_running
ok "with the snapshot's content" each holds_first
ok "all count" each counts
ok "all have their own address" differ host_ip
ok "token" differ token
ok "machine id" differ machine_id
ok "and name" each is_called_so
ok "their random numbers differ" differ bytes
ok "and what the kernel makes of them" differ uuids
ok "their clocks are right" each clock_is_right
ok "delete of the snapshot" ctl web1 "snapshot delete one"
ok "they have their memory" each holds_first

# ---- what is made from others ----------------------------------------------------------------------------

ok "pause of a clone" ctl m1 pause
ok "clone of a paused one" ctl m1 "clone p1 p2"
is "it stays paused, they run" "$(state m1) $(state p1) $(state p2)" "paused running running"
ok "with the content" holds p1 first
ok "resume" ctl m1 resume
ok "it has it too" holds m1 first
ok "freeze" ctl m2 freeze
ok "clone of a frozen one" ctl m2 "clone f1"
is "it stays frozen" "$(state m2) $(state f1)" "frozen running"
ok "clone of a clone has the content" holds f1 first
ok "stop" ctl c1 stop
ok "clone of a stopped one" ctl c1 "clone s1"
is "is stopped" "$(state c1) $(state s1)" "stopped stopped"
ok "start" ctl s1 start
is "with its disk" "$(sh_in s1 'cat /kept')" other
ok "a sandbox" host "create raw memory_mb=96 label.y=z"
ok "clone of one that was never started" ctl raw "clone raw1"
is "is created" "$(state raw1) $(grep label "$M/raw1/config")" "created label.y=z"
ok "destroy" host "destroy raw raw1 s1 p1 p2 m2"
kill -KILL "$(status c1 pid)" 2>/dev/null
ok "start" ctl c1 start
kill -KILL "$(status c1 pid)"
ok "a crash" wait_for 20 in_state c1 error
is "no clone of that" "$(errno c1 "clone e1")" EINVAL

# ---- who may ---------------------------------------------------------------------------------------------

chmod 711 . a
chown 1000:1000 "$M/c1"
is "only who may make sandboxes" "$(ctl c1 start >/dev/null; setpriv --reuid 1000 --regid 1000 --clear-groups -- "$helper_write" -q "$M/c1/ctl" "clone mine")" EACCES

# ---- the source goes -------------------------------------------------------------------------------------

ok "unprotect" ctl web1 "set protect=no"
ok "destroy the source" ctl web1 destroy
names="m1 f1 $(seq -f 'm%g' 3 "$MANY" | tr '\n' ' ')"
ok "its clones have their memory" each holds_first
ok "and count" each counts
ok "pause of one" ctl m3 pause
ok "and back" ctl m3 resume
ok "with everything" holds m3 first

# ---- another daemon --------------------------------------------------------------------------------------

kill -KILL "$P"
wait "$P" 2>/dev/null
daemon a
ok "they run on" wait_for 60 each is_running
ok "with everything" each holds_first
ok "destroy" host "destroy $names c1"
is "nothing is left" "$(ls "$S/sandboxes")" ""
is "the template is free" "$(rmdir "$M/.templates/default" 2>&1)" ""
kill -INT "$P"
ok "the daemon ends" daemon_end a
finish
