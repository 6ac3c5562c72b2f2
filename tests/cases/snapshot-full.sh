#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/cases/snapshot-full.sh - snapshots with memory: kept while the guest runs, gone back to from every state, taken elsewhere
# needs: fuse root tcg
# timeout: 900
# proves: 49 56 62 72
#
# tests/vm/snapshot-full-dm.sh runs the core of it with the other store and under KVM.
# shellcheck disable=SC2016 # what stands in '…' is for another shell
# shellcheck disable=SC2034 # the variables are read in tests/sbx.sh
set -u
: "${DAEMON_OPTIONS:=--accel tcg --storage file}"
# shellcheck source=tests/tap.sh
. "$TOP/tests/tap.sh"
# shellcheck source=tests/sbx.sh
. "$TOP/tests/sbx.sh"

snapshot() { # NAME TEXT: written to the file of that name; its reply, false when it failed
	write_and_read "$M/$1/snapshot" "$2"
}
snapshot_errno() { # NAME TEXT
	"$helper_write" -q "$M/$1/snapshot" "$2"
}
list() { # NAME: each as name:kind:parent
	sed 1d "$M/$1/snapshot" | awk '{ printf "%s%s:%s:%s", n++ ? " " : "", $1, $2, $5 } END { print "" }'
}
dir_of() { # NAME: below the state directory
	echo "$S/sandboxes/$((16#$(status "$1" id | sed 's/.*-//')))"
}
put() { # NAME TEXT: on the guest's disk, half of it acknowledged to be there, and in its memory
	sh_in "$1" "echo $2 >/kept && dd if=/dev/urandom of=/big bs=64k count=20 2>/dev/null && sha256sum /big >/big.sum && sync && echo $2 >/late && echo $2 >/tmp/kept && dd if=/dev/urandom of=/tmp/big bs=64k count=20 2>/dev/null && sha256sum /tmp/big >/tmp/big.sum"
}
holds() { # NAME TEXT: that and nothing else, in memory and on disk
	[ "$(sh_in "$1" 'cat /kept /late /tmp/kept; echo 3 >/proc/sys/vm/drop_caches; sha256sum -c /big.sum 2>&1; sha256sum -c /tmp/big.sum 2>&1; dmesg | grep -ciE "ext4.*(error|recover)"; true')" = "$2
$2
$2
/big: OK
/tmp/big: OK
0" ]
}
# The guest counts in memory, and never begins again.
begin_counting() { # NAME
	sh_in "$1" 'mkdir -p /tmp; mount -t tmpfs tmpfs /tmp; echo "i=0; while :; do i=\$((i+1)); echo \$i >/tmp/n.new; mv /tmp/n.new /tmp/n; sleep 0.02; done" >/tmp/count; (setsid sh /tmp/count >/dev/null 2>&1 </dev/null &)'
}
count_of() { # NAME
	sh_in "$1" 'cat /tmp/n'
}
counts_past() { # NAME NUMBER
	[ "$(count_of "$1")" -gt "$2" ]
}
counts() { # NAME
	wait_for 20 counts_past "$1" "$(count_of "$1")"
}
late_by() { # NAME: whole seconds
	echo $(($(date +%s) - $(sh_in "$1" 'date +%s')))
}

daemon a
ok "a template" import default
ok "a sandbox" host "create web1 memory_mb=96 disk_mb=64"
ok "start" ctl web1 "start timeout=280"
ok "a counter" begin_counting web1
ok "content" put web1 first

# ---- of one that runs, is frozen, is paused --------------------------------------------------------------

pid=$(status web1 pid)
token=$(cat "$M/web1/token")
began=$(date +%s%N)
ok "create; full is the default" snapshot web1 "create one"
echo "# created in $((($(date +%s%N) - began) / 1000000)) ms; $(grep -o 'it stood still for.*' "$LOG" | tail -n 1); $(du -k "$(dir_of web1)/snapshots/one/memory" | cut -f1) KiB of memory"
is "it runs on" "$(state web1) $(status web1 pid)" "running $pid"
ok "the guest counts on" counts web1
ok "its clock is right" clock_is_right web1
ok "a line of the list" grep -qxE 'one full 20[0-9-]+T[0-9:.]+Z [1-9][0-9]+ -' "$M/web1/snapshot"
at_one=$(count_of web1)
ok "it has more bytes than its memory's files" [ "$(awk '$1 == "one" { print $4 }' "$M/web1/snapshot")" -gt "$(($(du -k "$(dir_of web1)/snapshots/one/memory" | cut -f1) * 1024))" ]
ok "which are sparse" [ "$(du -k "$(dir_of web1)/snapshots/one/memory" | cut -f1)" -lt $((96 * 1024)) ]
is "a name that is taken" "$(snapshot_errno web1 "create one")" EEXIST
is "another kind" "$(snapshot_errno web1 "create two half")" EINVAL
ok "other content" put web1 second
ok "freeze" ctl web1 freeze
ok "create of a frozen one" snapshot web1 "create two full"
is "it stays frozen" "$(state web1) $(status web1 pid)" "frozen $pid"
ok "thaw" ctl web1 thaw
ok "it counts on" counts web1
ok "content again" put web1 third
ok "pause" ctl web1 pause
ok "create of a paused one" snapshot web1 "create three"
is "it stays paused" "$(state web1)" paused
ok "the memory is shared" [ "$(find "$(dir_of web1)/snapshots/three/memory" -type f -links 2 | wc -l)" -gt 0 ]
ok "a disk of a paused one" snapshot web1 "create flat disk"
is "each follows the one before" "$(list web1)" "one:full:- two:full:one three:full:two flat:disk:three"
ok "resume" ctl web1 resume
ok "with its content" holds web1 third
ok "and it counts on" counts web1
ok "delete of what it was shared with" snapshot web1 "delete three"
is "its child has its parent" "$(list web1)" "one:full:- two:full:one flat:disk:two"
ok "it counts on" counts web1
ok "content again" put web1 fourth

# ---- rollback --------------------------------------------------------------------------------------------

is "a disk is not for a running one" "$(snapshot_errno web1 "rollback flat")" EINVAL
is "nor what is not there" "$(snapshot_errno web1 "rollback none")" ENOENT
before=$(count_of web1)
pid=$(status web1 pid)
began=$(date +%s%N)
ok "rollback of a running one" snapshot web1 "rollback one"
echo "# gone back in $((($(date +%s%N) - began) / 1000000)) ms"
is "it runs" "$(state web1):$(status web1 exit_reason):$(status web1 last_error)" "running::"
fails "in another VM" [ "$(status web1 pid)" = "$pid" ]
is "of the same token" "$(cat "$M/web1/token")" "$token"
ok "with the old content" holds web1 first
ok "it counts" counts web1
ok "from where it was" [ "$(count_of web1)" -lt "$before" ]
ok "its clock is right" clock_is_right web1
is "it follows that now" "$(snapshot_errno web1 "create branch") $(list web1)" "ok one:full:- two:full:one flat:disk:two branch:full:one"
ok "one data directory, no memory" [ "$(cd "$(dir_of web1)" && echo data.* memory.*)" = "data.1 memory.*" ]
ok "freeze" ctl web1 freeze
ok "rollback of a frozen one" snapshot web1 "rollback two"
is "makes it paused" "$(state web1)" paused
ok "resume" ctl web1 resume
ok "with that content" holds web1 second
ok "pause" ctl web1 pause
ok "rollback of a paused one" snapshot web1 "rollback one"
is "stays paused" "$(state web1)" paused
is "to a disk it does not go" "$(snapshot_errno web1 "rollback flat")" EINVAL
ok "start is resume" ctl web1 start
ok "with that content" holds web1 first
ok "stop" ctl web1 stop
ok "rollback of a stopped one" snapshot web1 "rollback branch"
is "makes it paused" "$(state web1)" paused
ok "resume" ctl web1 resume
ok "with that content" holds web1 first
ok "it counts" counts web1
kill -KILL "$(status web1 pid)"
ok "a crash" wait_for 20 in_state web1 error
ok "rollback from error" snapshot web1 "rollback two"
is "makes it paused" "$(state web1):$(status web1 exit_reason):$(status web1 last_error)" "paused::"
ok "kill gives that memory up" ctl web1 kill
is "no memory is left of it" "$(cd "$(dir_of web1)" && echo memory.*)" "memory.*"
ok "rollback of a stopped one to a disk" snapshot web1 "rollback flat"
is "stays stopped" "$(state web1)" stopped
ok "a larger disk" ctl web1 "set disk_mb=80"
ok "rollback" snapshot web1 "rollback two"
ok "resume" ctl web1 resume
is "has the disk that its guest knows" "$(sh_in web1 'cat /sys/block/vda/size')" $((64 * 2048))
ok "with that content" holds web1 second
ok "back to that size" ctl web1 "unset disk_mb"
ok "and that" ctl web1 "set disk_mb=64"

# What does not fit is refused, and nothing has changed.
pid=$(status web1 pid)
manifest=$(dir_of web1)/snapshots/one/memory/manifest
cp "$manifest" manifest.kept
sed -i 's/"version": *"[^"]*"/"version": "1.0 of another kind"/' "$manifest"
snapshot web1 "rollback one" >reply
is "memory of another VMM" "$(cut -d: -f1-2 reply | head -n 1)" "error: ENOTSUP"
is "it runs on" "$(state web1) $(status web1 pid)" "running $pid"
ok "and counts" counts web1
cat manifest.kept >"$manifest"

# ---- after another start of the daemon -------------------------------------------------------------------

before=$(cat "$M/web1/snapshot")
ok "pause" ctl web1 pause
ok "back to one" snapshot web1 "rollback one"
is "shutdown" "$(host_errno shutdown)" ok
ok "it ends" daemon_end a
daemon a
is "the list is the same" "$(cat "$M/web1/snapshot")" "$before"
is "it is paused" "$(state web1)" paused
ok "resume" ctl web1 resume
ok "with its content" holds web1 first
ok "it counts" counts web1
ok "delete of where it came from" snapshot web1 "delete one"
ok "rollback to what followed it" snapshot web1 "rollback two"
ok "has its content" holds web1 second

# ---- no room ---------------------------------------------------------------------------------------------

if [ "${SNAPSHOT_SMALL:-yes}" = yes ]; then
	mkdir -p small/state
	mount -t tmpfs -o size=192m tmpfs small/state
	at_end umount -l "$PWD/small/state"
	daemon small
	ok "a template fits" import default
	ok "a sandbox" host "create web1 memory_mb=96 disk_mb=64"
	ok "start" ctl web1 start
	ok "a counter" begin_counting web1
	pid=$(status web1 pid)
	head -c "$(($(df --output=avail -B1 small/state | tail -n 1) - (60 << 20)))" /dev/zero >small/state/filler
	is "no room for its memory" "$(snapshot_errno web1 "create one")" ENOSPC
	is "it runs on" "$(state web1) $(status web1 pid)" "running $pid"
	ok "and counts" counts web1
	is "nothing is left of that" "$(list web1)$(ls -A "$(dir_of web1)/snapshots")" ""
	rm small/state/filler
	is "shutdown" "$(host_errno shutdown)" ok
	ok "it ends" daemon_end small
	use a
fi

# ---- the end ---------------------------------------------------------------------------------------------

ok "destroy with all its snapshots" ctl web1 destroy
is "nothing of it is left" "$(ls "$S/sandboxes")" ""
is "the template is free" "$(rmdir "$M/.templates/default" 2>&1)" ""
finish
