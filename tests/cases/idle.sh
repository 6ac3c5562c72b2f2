#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/cases/idle.sh - a guest that only touches its memory writes nothing to the host's disk
# needs: fuse tcg
# proves:
# shellcheck disable=SC2016,SC2012 # what stands in '…' is for another shell; the names in listings are our own
set -u
# shellcheck source=tests/tap.sh
. "$TOP/tests/tap.sh"
# shellcheck source=tests/sbx.sh
. "$TOP/tests/sbx.sh"

QUIET_SEC=10

allocated() { # bytes of all that lies under the state directory
	find "$S" -type f -printf '%b\n' | awk '{ n += $1 } END { print n * 512 }'
}

written() { # PID: bytes it has caused to be written
	awk '/^write_bytes/ { print $2 }' "/proc/$1/io"
}

changed() { # names, times and sizes: nothing else may touch a file either
	find "$S" -type f -printf '%P %s %T@\n' | LC_ALL=C sort
}

daemon a
ok "a template" import default
ok "a sandbox" host "create web1 memory_mb=128 start"
pid=$(status web1 pid)
# 8 MiB in a file of the guest's memory, written again and again.
dirty='exec >/dev/null 2>&1 </dev/null; cd /m; while :; do dd if=/dev/urandom of=x bs=1M count=8 conv=notrunc; echo >>rounds; done'
ok "a guest that dirties memory" sh_in web1 "mkdir -p /m && mount -t tmpfs tmpfs /m && echo '$dirty' >/m/dirty && (setsid sh /m/dirty &)"
ok "at work" wait_for 30 sh_in web1 'test -s /m/rounds'
rounds=$(sh_in web1 'wc -l </m/rounds')
ok "sync" ctl web1 sync
sleep 2 # what the agent and the start have left is on its way
bytes=$(allocated)
io=$(written "$pid")
own=$(written "$P")
changed >before
sleep $QUIET_SEC
changed >after
is "no byte more under the state directory" "$(allocated)" "$bytes"
is "QEMU has written nothing" "$(written "$pid")" "$io"
is "nor has the daemon" "$(written "$P")" "$own"
ok "no file was touched" diff before after
ok "the guest did work meanwhile" test "$(sh_in web1 'wc -l </m/rounds')" -gt "${rounds:-0}"
ok "kill" ctl web1 kill
finish
