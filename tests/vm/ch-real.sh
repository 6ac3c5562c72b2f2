#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/vm/ch-real.sh - sandboxes in the real cloud-hypervisor, beside one in QEMU
# needs: root dm kvm fuse ch
# timeout: 1700
# proves: 52 56 69 70 78 81
# shellcheck disable=SC2034 # the variable is read in tests/sbx.sh
# shellcheck disable=SC2016,SC2317 # what stands in '…' is for another shell; functions are called by name
set -u
DAEMON_OPTIONS="--accel kvm --vmm cloud-hypervisor --storage dm"
# shellcheck source=tests/tap.sh
. "$TOP/tests/tap.sh"
# shellcheck source=tests/sbx.sh
. "$TOP/tests/sbx.sh"

host_key() { # KEY: of the daemon's own status
	sed -n "s/^$1=//p" "$M/.status"
}
long() { # NAME VERB: with time enough for a guest whose host is emulated
	ctl "$1" "$2 timeout=280"
}
vmm_of() { # NAME: the program that its process runs
	basename "$(readlink "/proc/$(status "$1" pid)/exe")"
}
dir_of() { # NAME
	echo "$S/sandboxes/$((16#$(status "$1" id | sed 's/.*-//')))"
}
# Asked behind the daemon's back to write elsewhere than where it may. Only a frozen guest's memory is written.
keeps_out() { # NAME
	local socket reply body
	socket=$(echo "/run/sbxfs-$(cat "$S/instance")"/*/ch.sock)
	mkdir -p outside
	body="{\"destination_url\":\"file://$PWD/outside\"}"
	ctl "$1" freeze || return
	reply=$(curl -sS --max-time 200 --unix-socket "$socket" -X PUT -H 'Content-Type: application/json' -d "$body" http://localhost/api/v1/vm.snapshot 2>&1)
	ctl "$1" thaw || return
	echo "$reply"
	find outside -type f
	[ -z "$(find outside -type f)" ] && echo "$reply" | grep -q 'Permission denied'
}
confined() { # NAME: by Landlock, where the kernel has what the VMM asks of it
	if [ "$(printf '6.2\n%s\n' "$(uname -r)" | sort -V | head -n 1)" = 6.2 ]; then
		ok "Landlock keeps it out of other directories" keeps_out "$1"
	else
		fails "Linux $(uname -r) has too little of Landlock: it is not asked for" grep -q landlock "/proc/$(status "$1" pid)/cmdline"
	fi
}
error_by() { # NAME REASON
	[ "$(state "$1") $(status "$1" exit_reason)" = "error $2" ]
}

daemon a
is "cloud-hypervisor is what it takes" "$(host_key vmm) $(host_key accel)" "cloud-hypervisor kvm"
ok "its status has both" sh -c 'grep -q "^vmm_why=cloud-hypervisor .*; qemu " "$1"' sh "$M/.status"
host_key vmm_why | sed 's/^/# /'
ok "a template" import default

mkdir "$M/c" "$M/q"
ok "one sandbox wants QEMU" ctl q "set vmm=qemu"
began=$(date +%s%N)
ok "start" long c start
echo "# start ms: $((($(date +%s%N) - began) / 1000000))"
is "its VMM" "$(vmm_of c) $(status c vmm) $(status c accel)" "cloud-hypervisor cloud-hypervisor kvm"
ok "its version is told" sh -c 'grep -q "^vmm_version=5[0-9]" "$1"' sh "$M/c/status"
is "a command in it" "$(sh_in c 'echo hello')" hello
ok "the console is logged" test -s "$(dir_of c)/console.log"
confined c
ok "a mark in memory and on the disk" sh_in c 'mkdir -p /run/t && echo remembered >/run/t/m && echo kept >/kept && sync'

# ---- stand and go on ---------------------------------------------------------------------------------

ok "freeze" ctl c freeze
is "it is frozen" "$(state c)" frozen
ok "thaw" ctl c thaw
is "it goes on" "$(sh_in c 'cat /run/t/m')" remembered
began=$(date +%s%N)
ok "pause" long c pause
echo "# pause ms: $((($(date +%s%N) - began) / 1000000))"
is "nothing runs" "$(state c) $(status c pid)" "paused "
echo "# memory: $(du -sk "$(dir_of c)"/memory.* | tr '\n' ' ')KiB"
began=$(date +%s%N)
ok "resume" long c resume
echo "# resume ms: $((($(date +%s%N) - began) / 1000000))"
is "memory and disk are as they were" "$(sh_in c 'cat /run/t/m /kept' | tr '\n' ' ')" "remembered kept "
is "its VMM" "$(vmm_of c)" cloud-hypervisor
confined c
ok "pause again" long c pause
ok "another VMM by its setting" ctl c "set vmm=qemu"
ok "saved memory goes on in its own all the same" long c resume
is "its VMM" "$(vmm_of c)" cloud-hypervisor
is "memory is as it was" "$(sh_in c 'cat /run/t/m')" remembered
ok "the setting as it was" ctl c "set vmm=auto"

# ---- a daemon that comes back ------------------------------------------------------------------------

before=$(status c pid)
kill -KILL "$P"
daemon_end a
fusermount3 -uz "$M"
daemon a
is "it goes on running" "$(state c) $(status c pid)" "running $before"
is "it answers" "$(sh_in c 'cat /run/t/m')" remembered

# ---- beside QEMU, and the ends -----------------------------------------------------------------------

ok "start in QEMU" long q start
is "both run" "$(vmm_of c) $(vmm_of q)" "cloud-hypervisor qemu-system-x86_64"
ok "stop that" ctl q kill
sh_in c 'echo c >/proc/sysrq-trigger' >/dev/null 2>&1
ok "a panic is told" wait_for 60 error_by c panic
ok "start again" long c start
is "the disk is as it was" "$(sh_in c 'cat /kept')" kept
kill -KILL "$(status c pid)"
ok "a killed VMM is told" wait_for 60 error_by c crashed
dir=$(dir_of c)
ok "destroy" ctl c destroy
ok "no process is left" sh -c '! pgrep -x cloud-hypervisor' sh
ok "no directory is left" test ! -e "$dir"

finish
