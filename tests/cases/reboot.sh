#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/cases/reboot.sh - the host loses its power: all is found stopped or paused, and what is to start by itself does
# needs: fuse root tcg netns
# timeout: 900
# proves: 23 32 33 43 52
# shellcheck disable=SC2016,SC2317 # what stands in '…' is for the guest; functions are called by name
#
# How it works: the daemon and all its VMMs are killed at once, /run, namespaces, links and the firewall's table are emptied, and the
# kernel's boot id is another one. What the host had not written is not lost with that: see tests/vm/crash-order.sh.
set -u
# shellcheck source=tests/tap.sh
. "$TOP/tests/tap.sh"
# shellcheck source=tests/sbx.sh
. "$TOP/tests/sbx.sh"

BOOT_ID=/proc/sys/kernel/random/boot_id
umount_boot_id() {
	umount "$BOOT_ID" 2>/dev/null
}
at_end umount_boot_id
reboot() {
	local pids name
	pids=$(pgrep -f -- "-name sbxfs-$inst-")
	# shellcheck disable=SC2086 # pids are words
	kill -KILL "$P" $pids
	ok "the power fails" daemon_end a
	for name in $pids; do wait_for 20 process_is_gone "$name"; done
	umount -l "$M"
	rm -rf "/run/sbxfs-$inst"
	for name in /run/netns/sbx"$inst"*; do [ ! -e "$name" ] || ip netns del "${name##*/}"; done
	for name in /sys/class/net/sbx"$inst"*; do [ ! -e "$name" ] || ip link del "${name##*/}"; done
	nft list tables | grep "sbxfs-$inst" | while read -r _ name; do
		# shellcheck disable=SC2086 # family and name
		nft delete table $name
	done
	umount_boot_id
	cat /proc/sys/kernel/random/uuid >boot_id
	mount --bind boot_id "$BOOT_ID"
	daemon a --net netns
}
counted() { # NAME: what a process in its memory has counted to
	sh_in "$1" 'cat /tmp/n'
}
counts_on() { # NAME NUMBER
	[ "$(counted "$1")" -gt "$2" ]
}

daemon a --net netns
inst=$(cat "$S/instance")
ok "a template" import default
all="plain auto saved savedauto frozen off"
ok "sandboxes" mkdir "$M/plain" "$M/auto" "$M/saved" "$M/savedauto" "$M/frozen" "$M/off" "$M/new"
is "small ones" "$(host_errno "set $all memory_mb=80")" ok
is "two are to start by themselves" "$(host_errno "set auto savedauto autostart=yes")" ok
is "they run" "$(host_errno "start $all timeout=300")" ok
for name in saved savedauto; do
	ok "$name counts" sh_in $name "mount -t tmpfs none /tmp; (setsid sh -c 'i=0; while :; do i=\$((i + 1)); echo \$i >/tmp/n.new; mv /tmp/n.new /tmp/n; usleep 100000; done' >/dev/null 2>&1 </dev/null &)"
	wait_for 60 counts_on $name 3
done
for name in plain auto frozen; do
	ok "$name writes" sh_in $name "echo of-$name >/kept; sync"
done
boot=$(sh_in saved 'cat /proc/sys/kernel/random/boot_id')
is "pause" "$(host_errno "pause saved savedauto")" ok
is "freeze, stop" "$(errno frozen freeze) $(errno off stop)" "ok ok"
ports=$(sed -n 's/^slots_total=//p' "$M/.status")

reboot
ok "what was running starts again if it is to" wait_for 300 in_state auto running
ok "what was paused too" wait_for 300 in_state savedauto running
resting() { ! grep -qx 'starting\|stopping' "$M"/{plain,saved,frozen,off,new}/state; }
ok "nothing else is on its way" wait_for 60 resting
is "all others rest" "$(state plain) $(state saved) $(state frozen) $(state off) $(state new)" "stopped paused stopped stopped created"
is "why" "$(status plain exit_reason) $(status frozen exit_reason)" "daemon-died daemon-died"
is "there are as many slots" "$(sed -n 's/^slots_total=//p' "$M/.status")" "$ports"
is "no more than two have one" "$(sed -n 's/^slots_used=//p' "$M/.status") $(find /run/netns -name "sbx$inst*" | wc -l)" "2 2"
is "the data of one that ran" "$(sh_in auto 'cat /kept')" of-auto
ok "one goes on from its memory" counts_on savedauto 3
ok "the paused one can still" ctl saved "resume timeout=300"
is "in the same boot" "$(sh_in saved 'cat /proc/sys/kernel/random/boot_id')" "$boot"
ok "and counts on" counts_on saved 3
is "the others start" "$(host_errno "start plain frozen timeout=300")" ok
is "with their data" "$(sh_in plain 'cat /kept') $(sh_in frozen 'cat /kept')" "of-plain of-frozen"

# ---- once more, while much is on its way ---------------------------------------------------------------------

is "one is not to start any more" "$(errno savedauto "unset autostart")" ok
spawn off start
spawn saved pause
spawn plain stop
ok "a start is on its way" wait_for 60 in_state off starting
reboot
ok "what is to start starts" wait_for 300 in_state auto running
settled() { ! grep -qx 'starting\|stopping\|pausing\|resuming' "$M"/{plain,saved,savedauto,frozen,off,new}/state; }
ok "all else rests" wait_for 60 settled
is "as it can" "$(state plain) $(state savedauto) $(state frozen) $(state off) $(state new)" "stopped stopped stopped stopped created"
ok "one that was being paused is paused or stopped" grep -qx 'paused\|stopped' "$M/saved/state"
is "its data is there" "$(sh_in auto 'cat /kept')" of-auto
is "destroy" "$(host_errno "destroy $all new")" ok
is "nothing is left" "$(ls "$M")" ""
is "shutdown" "$(host_errno shutdown)" ok
ok "it ends" daemon_end a
finish
