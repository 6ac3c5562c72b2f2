#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/vm/room-dm.sh - guests that write faster than their copy-on-write store grows, or than the host has room
# needs: root dm kvm fuse
# timeout: 1500
# proves: 14 72 73
# shellcheck disable=SC2016 # what stands in '…' is for another shell
# shellcheck disable=SC2034 # the variables are read in tests/sbx.sh
set -u
DAEMON_CONFIG= # the reserve is what this is about
DAEMON_OPTIONS="--accel auto"
# shellcheck source=tests/tap.sh
. "$TOP/tests/tap.sh"
# shellcheck source=tests/sbx.sh
. "$TOP/tests/sbx.sh"

MIB=$((1 << 20))

host_key() { # KEY: of the daemon's own status
	sed -n "s/^$1=//p" "$M/.status"
}
free_mib() {
	df --output=avail -B$MIB "$S" | tail -n 1 | tr -d ' '
}
fill() { # MIB: leave that much beyond the reserve
	fallocate -l $((($(free_mib) - $(host_key disk_reserve) / MIB - $1) * MIB)) filler
}
pieces() { # MIB: a guest's command that prints so much, with no two pieces alike
	echo "i=0; while [ \$i -lt $1 ]; do i=\$((i + 8)); echo piece \$i; cat /dev/shm/seed; done"
}
# In the guest, beside everything: MIB to FILE and to the disk, and how that ended. No file is removed: what has been
# written once takes no more room when it is written again.
write_in() { # NAME FILE MIB
	sh_in "$1" "(setsid sh -c '($(pieces "$3")) | dd of=$2 bs=64k conv=fsync 2>/dev/null; echo \$? >/dev/shm/rc' >/dev/null 2>&1 </dev/null &)"
}
written() { # NAME
	sh_in "$1" 'cat /dev/shm/rc && rm /dev/shm/rc'
}
ended_well() { # NAME FILE MIB
	ok "it has written all" wait_for 300 sh_in "$1" 'test -s /dev/shm/rc'
	is "without an error" "$(written "$1")" 0
	is "the file is right" "$(sh_in "$1" "echo 3 >/proc/sys/vm/drop_caches; md5sum <$2")" \
		"$(sh_in "$1" "($(pieces "$3")) | md5sum")"
	is "the guest has seen no error" "$(sh_in "$1" "dmesg | grep -iE 'i/o error|ext4-fs error|remount' || true")" ""
}
events_since() { # EVENT: the lines of it since the mark
	events . | awk -F '[:,]' -v mark="$mark" '$2 > mark' | grep "\"event\":\"$1\""
}
mark_events() {
	mark=$(events . | tail -n 1 | awk -F '[:,]' '{ print $2 }')
}
overflown() {
	dmsetup status | grep '^sbxfs-.* Overflow'
}
disk_full() { # NAME
	[ "$(state "$1") $(status "$1" exit_reason)" = "frozen disk-full" ]
}
never_left_running() {
	[ -z "$(events_since state)" ]
}
ms_since() { # NANOSECONDS
	echo $((($(date +%s%N) - $1) / 1000000))
}

daemon a
is "KVM and device-mapper" "$(host_key accel) $(host_key storage)" "kvm dm"
ok "import" import default
ok "web1" host "create web1 memory_mb=160 disk_mb=1200"
ok "start" ctl web1 "start timeout=280"
ok "something to write" sh_in web1 'mkdir -p /dev/shm && mount -t tmpfs tmpfs /dev/shm; dd if=/dev/urandom of=/dev/shm/seed bs=1M count=8 2>/dev/null'

# ---- room ahead --------------------------------------------------------------------------------------------

mark_events
used=$(status web1 cow_used_bytes)
began=$(date +%s%N)
ok "240 MiB" write_in web1 /big 240
ended_well web1 /big 240
echo "# 240 MiB written and read in $(ms_since "$began") ms"
ok "its state never left running" never_left_running
ok "they are counted" test "$(status web1 cow_used_bytes)" -gt $((used + 230 * MIB))
echo "# stopped and let go on: $(events_since disk-grown | wc -l) times"

# ---- an overflow: the daemon sleeps through it -------------------------------------------------------------

mark_events
ok "more" write_in web1 /more 120
kill -STOP "$P"
ok "the store overflows" wait_for 120 overflown
began=$(date +%s%N)
kill -CONT "$P"
ok "it is mended" wait_for 20 events_since disk-grown
fails "the store is well" overflown
at=$(events_since disk-grown | tail -n 1 | sed 's/.*"time":"\([^"]*\)".*/\1/')
echo "# it went on $(($(date -d "$at" +%s%3N) - began / 1000000)) ms after the daemon awoke"
ended_well web1 /more 120
ok "its state never left running" never_left_running

# ---- the host is full --------------------------------------------------------------------------------------

fill 10
ok "more than the host has room for" write_in web1 /full 120
ok "it is frozen" wait_for 120 disk_full web1
fails "the store is not lost" sh -c "dmsetup status | grep -E 'Invalid|Overflow'"
ok "last_error says what to do" grep -q '^last_error=.*free' "$M/web1/status"
is "thaw without room" "$(errno web1 thaw)" ENOSPC
rm filler
ok "thaw with room" ctl web1 thaw
is "it runs" "$(state web1) $(status web1 exit_reason)" "running "
ended_well web1 /full 120

# ---- an overflow of a full host ----------------------------------------------------------------------------

ok "once more" write_in web1 /over 120
kill -STOP "$P"
ok "the store overflows" wait_for 120 overflown
fallocate -l $((($(free_mib) - 20) * MIB)) filler
kill -CONT "$P"
ok "it is frozen" wait_for 30 disk_full web1
is "thaw without room" "$(errno web1 thaw)" ENOSPC
ok "the store waits" overflown
rm filler
ok "thaw with room" ctl web1 thaw
fails "the store is well" overflown
ended_well web1 /over 120

# ---- an overflow without a daemon --------------------------------------------------------------------------

ok "and again" write_in web1 /gone 120
pid=$(status web1 pid)
kill -KILL "$P"
ok "the daemon is dead" daemon_end a
ok "the store overflows" wait_for 120 overflown
daemon a
ok "the next daemon mends it" ctl web1 "wait running timeout=60"
is "it is the same process" "$(status web1 pid)" "$pid"
fails "the store is well" overflown
ended_well web1 /gone 120
ok "destroy" ctl web1 destroy
kill -INT "$P"
ok "the daemon ends" daemon_end a
finish
