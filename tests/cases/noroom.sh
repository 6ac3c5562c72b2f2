#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/cases/noroom.sh - a host whose disk fills up under real guests: nothing is lost, and all goes on when there is room
# needs: fuse root tcg
# timeout: 900
# proves: 7 14 72 73
# shellcheck disable=SC2016,SC2012 # what stands in '…' is for another shell; the names in listings are our own
set -u
DAEMON_CONFIG= # the reserve is what this is about
# shellcheck source=tests/tap.sh
. "$TOP/tests/tap.sh"
# shellcheck source=tests/sbx.sh
. "$TOP/tests/sbx.sh"

MIB=$((1 << 20))

host_key() { # KEY: of the daemon's own status
	sed -n "s/^$1=//p" "$M/.status"
}
free_mib() {
	df --output=avail -B$MIB a/state | tail -n 1 | tr -d ' '
}
fill() { # MIB: leave that much
	make_room
	fallocate -l $((($(free_mib) - $1) * MIB)) a/state/filler
}
to_the_brim() { # also when the ballast is given up; what ext4 held back until it is written comes free again
	local i
	for i in 1 2 3 4; do
		cat /dev/zero >>a/state/filler 2>/dev/null
		dd if=/dev/zero of=a/state/filler bs=4k oflag=direct,append conv=notrunc 2>/dev/null
		sync -f a/state/filler
		[ $i != 1 ] || [ -z "${P:-}" ] || wait_for 10 test ! -e a/state/ballast
	done
	crumbs
}
crumbs() { # block by block, of 1 KiB; also what a command that failed has given back
	local i
	mkdir -p a/state/crumbs
	sync -f a/state/crumbs
	for i in $(seq 1000); do
		dd if=/dev/zero of="a/state/crumbs/$(date +%N)" bs=1k count=1 conv=fsync 2>/dev/null || break
	done
}
make_room() { rm -rf a/state/filler a/state/crumbs; }
disk_full() { # NAME
	[ "$(state "$1") $(status "$1" exit_reason)" = "frozen disk-full" ]
}
event() { # EVENT: the lines of it, of all sandboxes
	events . | grep "\"event\":\"$1\""
}
# In the guest, beside everything: MIB of noise to FILE, its sum on the way, and how that ended.
write_in() { # NAME FILE MIB
	sh_in "$1" "(setsid sh -c 'dd if=/dev/urandom bs=1M count=$3 2>/tmp/dd.err | tee $2 | md5sum >$2.sum; echo \$? >$2.rc' >/dev/null 2>&1 </dev/null &)"
}
written() { # NAME FILE
	sh_in "$1" "cat $2.rc"
}
right() { # NAME FILE: what lies on the disk, read anew
	[ "$(sh_in "$1" "sync; echo 3 >/proc/sys/vm/drop_caches; md5sum <$2; cat $2.sum" | sort -u | wc -l)" = 1 ]
}
no_error_seen() { # NAME
	[ -z "$(sh_in "$1" "dmesg | grep -iE 'i/o error|ext4-fs error|remount|blk_update' || true")" ]
}
same_process() { # PID
	[ "$(status web1 pid)" = "$1" ] && ! process_is_gone "$1"
}
is_idle() { # PID: no time used for a second
	local a b
	a=$(awk '{ print $14 + $15 }' "/proc/$1/stat")
	sleep 1
	b=$(awk '{ print $14 + $15 }' "/proc/$1/stat")
	[ -n "$b" ] && [ $((b - a)) -lt 5 ]
}
kill_daemon() {
	kill -KILL "$P"
	ok "kill -9 of the daemon" daemon_end a
	P=
}

mkdir -p a/state a/m
truncate -s 400M a/image
mkfs.ext4 -q -m 0 a/image
mount -o loop a/image a/state
at_end umount -l "$PWD/a/state"
printf '# of this test\ndisk_overcommit = 100\n' >conf

# ---- the configuration, and what is promised ---------------------------------------------------------------

echo 'disk_overcomit=100' >wrong
is "an unknown setting" "$("$B/sbxfs" --config "$PWD/wrong" --state-dir "$PWD/none" a/m 2>&1)" \
	"sbxfs: $PWD/wrong:1: there is no setting disk_overcomit; sbxfs(8) lists them"
fails "--check reads it too" "$B/sbxfs" --config "$PWD/wrong" --check
fails "a file that is named has to be there" "$B/sbxfs" --config "$PWD/none" --check
DAEMON_OPTIONS="$DAEMON_OPTIONS --config $PWD/conf"
daemon a
total=$(host_key disk_total)
is "the reserve is an eighth of a small disk" "$(host_key disk_reserve)" $((total / 8))
is "nothing is promised" "$(host_key disk_promised)" 0
is "the ballast is a quarter of the reserve" "$(($(stat -c %s "$S/ballast") / MIB))" $((total / 8 / 4 / MIB))
ok "a template" import default
ok "web1" host "create web1 memory_mb=96 disk_mb=220 start"
is "it is promised" "$(host_key disk_promised)" $((220 * MIB))
ok "web2, for more than is left" host "create web2 memory_mb=96 disk_mb=220"
is "is refused" "$(errno web2 start)" ENOSPC
ok "the reply says what to do" grep -q 'raise disk_overcommit' "$M/web2/ctl"
is "it is as it was" "$(state web2) $(status web2 template) $(host_key disk_promised)" "created default $((220 * MIB))"
ok "with a smaller disk" ctl web2 "set disk_mb=40"
ok "it starts" ctl web2 start
is "both are promised" "$(host_key disk_promised)" $((260 * MIB))

# ---- 80 and 95 percent -------------------------------------------------------------------------------------

# What runs there is gone after that, but it is needed no more.
sh_in web2 'exec dd if=/dev/urandom of=/dev/vda bs=1M count=40 conv=fsync' >/dev/null
told() { [ "$(event disk | grep -c "\"level\":$1,\"used\":[0-9]*,\"total\":$((40 * MIB))")" = 1 ]; }
ok "95 percent is told" wait_for 10 told 95
ok "80 percent before, each once" told 80
is "it runs" "$(state web2)" running

# ---- the host has no more room than the guest wants --------------------------------------------------------

fill 72
ok "web1 writes 24 MiB" write_in web1 /big 24
began=$(date +%s%N)
ok "it is frozen" wait_for 120 disk_full web1
echo "# after $((($(date +%s%N) - began) / 1000000)) ms, $(free_mib) MiB free"
ok "web2 too, before it could write on" wait_for 10 disk_full web2
ok "an event says so" event disk-full
ok "last_error says how much to free" grep -q 'last_error=.* MiB free' "$M/web1/status"
is "exec" "$(errno web1 'exec true')" EBUSY
is "thaw without room" "$(errno web1 thaw)" ENOSPC
ok "it stays frozen" disk_full web1
pid=$(status web1 pid)
kill_daemon
daemon a
ok "it is frozen still" disk_full web1
ok "it is the same process" same_process "$pid"
is "promises are counted again" "$(host_key disk_promised)" $((260 * MIB))
is "thaw without room" "$(errno web1 thaw)" ENOSPC
make_room
ok "thaw with room" ctl web1 thaw
is "it runs" "$(state web1) $(status web1 exit_reason)$(status web1 last_error)" "running "
ok "what it wrote has ended" wait_for 120 written web1 /big
is "without an error" "$(written web1 /big)" 0
ok "and is right" right web1 /big
ok "the guest has seen nothing" no_error_seen web1

# ---- commands on a full disk -------------------------------------------------------------------------------

ok "web3" mkdir "$M/web3"
ok "stop of web2, which is frozen still" ctl web2 stop
to_the_brim
ok "nothing is free" test "$(free_mib)" -le 1
ok "an event says that it comes to that" event disk-low
ok "web1 is frozen" wait_for 20 disk_full web1
before=$(ls -A "$S/sandboxes" "$S/templates")
is "mkdir" "$(LC_ALL=C mkdir "$M/web4" 2>&1 | sed 's/.*: //')" "No space left on device"
crumbs
is "set" "$(errno web3 "set label.x=1")" ENOSPC
fails "changes nothing" grep -q '^label.x' "$M/web3/config"
is "start" "$(errno web3 start)" ENOSPC
is "of one with data" "$(errno web2 start)" ENOSPC
is "import" "$(errno .templates/default "import $(template_dir)")" ENOSPC
is "a template" "$(LC_ALL=C mkdir "$M/.templates/other" 2>&1 | sed 's/.*: //')" "No space left on device"
is "all is as it was" "$(state web3) $(state web2) $(ls -A "$S/sandboxes" "$S/templates")" "created stopped $before"
began=$(date +%s)
ok "stop of a guest that cannot shut down" ctl web1 stop
ok "does not wait for it" test $(($(date +%s) - began)) -lt 8
is "stopped" "$(state web1) $(status web1 exit_reason)" "stopped stopped"
make_room
ok "the ballast is there again" wait_for 10 test -e "$S/ballast"
ok "mkdir" mkdir "$M/web4"
ok "set" ctl web3 "set label.x=1"
ok "import" ctl .templates/default "import $(template_dir)"
ok "start" ctl web1 start
ok "what was synced is there" right web1 /big

# ---- the disk fills up while there is no daemon ------------------------------------------------------------

fill_under() { # the disk of a guest that writes, with no daemon
	pid=$(status web1 pid)
	fill 80
	ok "it writes on" write_in web1 /more 24
	kill_daemon
	to_the_brim
	ok "QEMU has stopped the guest" wait_for 60 is_idle "$pid"
}
all_written() {
	ok "it has written all" wait_for 120 written web1 /more
	ok "and rightly" right web1 /more
	ok "the guest has seen nothing" no_error_seen web1
}

fill_under
daemon a
ok "the next one knows" wait_for 30 disk_full web1
make_room
ok "thaw" ctl web1 thaw
all_written
ok "once more" sh_in web1 'rm /more*; sync'
fill_under
make_room
daemon a
ok "with room it goes on by itself" wait_for 60 in_state web1 running
is "as the same process" "$(status web1 pid)" "$pid"
all_written

# ---- what is destroyed is not promised any more ------------------------------------------------------------

ok "destroy" ctl web1 destroy
is "only web2 is promised" "$(host_key disk_promised)" $((40 * MIB))
ok "destroy" ctl web2 destroy
is "nothing is" "$(host_key disk_promised)" 0
kill -INT "$P"
ok "the daemon ends" daemon_end a
fails "the ballast goes with it" test -e "$S/ballast"
finish
