#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/cases/promises.sh - memory, vCPUs, disk and slots are promised before a start: 64 starts at once, and room for a few
# needs: fuse root tcg netns
# timeout: 600
# proves: 7 14 48 70
# shellcheck disable=SC2016,SC2317 # what stands in '…' is for the guest; functions are called by name
set -u
# shellcheck source=tests/tap.sh
. "$TOP/tests/tap.sh"
# shellcheck source=tests/sbx.sh
. "$TOP/tests/sbx.sh"

STARTS=64
MIB=$((1 << 20))

host_key() { # KEY: of the daemon's own status
	sed -n "s/^$1=//p" "$M/.status"
}
promised() { # what is counted: memory and disk in MiB, vCPUs, slots
	echo "$(($(host_key memory_promised) / MIB)) $(($(host_key disk_promised) / MIB)) $(host_key vcpus_promised) $(host_key slots_used)"
}
promised_is() {
	[ "$(promised)" = "$1" ]
}
how_many() { # STATE
	grep -cx "$1" <(cat "$M"/s*/state)
}
# All starts have an answer but COUNT, which go on.
all_but() { # COUNT
	local pid left=0
	for pid in "${starters[@]}"; do
		process_is_gone "$pid" || left=$((left + 1))
	done
	[ "$left" = "$1" ]
}
# COUNT are on their way, for which is counted what WANTED says, and all others had ERRNO; then none is.
storm() { # NAME COUNT ERRNO WANTED
	local name pid refused=0
	starters=()
	for name in "${sandboxes[@]}"; do
		spawn "$name" start
		starters+=("$W")
	done
	ok "$1: all but $2 are answered" wait_for 120 all_but "$2"
	for pid in "${starters[@]}"; do
		! process_is_gone "$pid" || [ "$(answer "$pid")" != "$3" ] || refused=$((refused + 1))
	done
	is "$1: with $3" $refused $((STARTS - $2))
	ok "$1: so much is counted while they start" wait_for 60 promised_is "$4" || {
		echo "# counted: $(promised)"
		grep -h -A1 "^E" writer.* | sort | uniq -c | cut -c1-300 | sed 's/^/# /'
	}
	is "$1: so many start" "$(how_many starting) $(how_many created)" "$2 $((STARTS - $2))"
	is "$1: cancel" "$(host_errno "cancel ${sandboxes[*]}")" ok
	ok "$1: all are answered" wait_for 60 all_but 0
	ok "$1: nothing is counted then" wait_for 60 promised_is "0 0 0 0" || promised
	is "$1: all are as they were" "$(how_many created)" $STARTS
	ok "$1: nothing is left" leak_check 60
}

mkdir -p a/state
mount -t tmpfs -o size=320m tmpfs a/state
at_end umount -l "$PWD/a/state"

# As much memory as there is, at first; a range of four slots.
settings() { # LINE…
	cat "$TOP/tests/sbxfs.conf" >conf
	printf '%s\n' "$@" >>conf
}
settings disk_overcommit=100 address_pool=10.77.0.0/28
DAEMON_CONFIG=$PWD/conf
daemon a --net netns
guest_of hang '/bin/busybox echo guest-hangs; while :; do /bin/busybox sleep 1000; done'
ok "a template that never answers" import default "$PWD/hang"
sandboxes=()
for ((i = 1; i <= STARTS; i++)); do sandboxes+=("s$i"); done
ok "$STARTS sandboxes" mkdir "${sandboxes[@]/#/$M/}"
is "small ones with two vCPUs" "$(host_errno "set ${sandboxes[*]} memory_mb=96 vcpus=2 disk_mb=20")" ok
slots=$(host_key slots_total)
is "four slots" "$slots" 4
leak_mark

# ---- slots, disk -----------------------------------------------------------------------------------------

storm slots 4 ENOSPC "384 80 8 4"
total=$(($(host_key disk_total) / MIB))
disk=$((total / 3 - 2))
is "disks of which three fit" "$(host_errno "set ${sandboxes[*]} disk_mb=$disk")" ok
leak_mark
storm disk 3 ENOSPC "288 $((3 * disk)) 6 3"

# ---- memory ----------------------------------------------------------------------------------------------

is "small disks again" "$(host_errno "set ${sandboxes[*]} disk_mb=20")" ok
is "the daemon ends" "$(host_errno shutdown)" ok
ok "it ends" daemon_end a
rest=$((($(awk '/^MemTotal/ { print $2 }' /proc/meminfo) - $(awk '/^MemTotal/ { print $2 }' /proc/meminfo) / 16) / 1024))
pct=$((250 * 100 / rest + 1))
settings "memory_overcommit=$pct"
daemon a --net netns
room=$(((($(host_key memory_total) - $(host_key memory_reserve)) / MIB) * pct / 100))
memory=$((room / 3))
echo "# $room MiB may be promised: three times $memory"
is "memory of which three fit" "$(host_errno "set ${sandboxes[*]} memory_mb=$memory")" ok
leak_mark
storm memory 3 ENOMEM "$((3 * memory)) 60 6 3"

# ---- a daemon that dies ------------------------------------------------------------------------------------

ok "a template that boots" ctl .templates/default "import $(template_dir)"
ok "two run" host "start s1 s2"
both="$((2 * memory)) 40 4 2"
is "they are counted" "$(promised)" "$both"
hung=$(status s1 pid)
kill -STOP "$hung"
kill -KILL "$P"
ok "the daemon dies while a VMM hangs" daemon_end a
daemon a --net netns
is "both are counted while it is looked at" "$(promised)" "$both"
is "one fits" "$(host_errno "async start s3")" ok
is "and no other" "$(errno s4 start)" ENOMEM
ok "the hung one is given up" ctl s1 "wait stopped,error timeout=120"
ok "and not counted but for its disk" wait_for 60 promised_is "$((2 * memory)) 60 4 2"
ok "the third runs" ctl s3 "wait running timeout=120"
is "the second too" "$(state s2)" running
ok "stop" host "stop s2 s3"
is "what is stopped keeps its disk alone" "$(promised)" "0 60 0 0"
ok "pause and resume are counted as well" ctl s2 start
ok "pause" ctl s2 pause
is "paused" "$(promised)" "0 60 0 0"
ok "resume" ctl s2 resume
is "resumed" "$(promised)" "$memory 60 2 1"
ok "destroy" host "destroy ${sandboxes[*]}"
ok "nothing is counted" wait_for 60 promised_is "0 0 0 0"
is "shutdown" "$(host_errno shutdown)" ok
ok "it ends" daemon_end a
finish
