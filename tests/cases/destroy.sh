#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/cases/destroy.sh - destroy works in every state, also while the VMM hangs, and leaves nothing
# needs: fuse root tcg netns
# timeout: 900
# proves: 10 14 16 58 61
# shellcheck disable=SC2016,SC2317,SC2034 # what stands in '…' is for another shell; functions are called by name; sbx.sh reads it
#
# How it works: VMMs are started by a script that stops itself, before there is a QEMU, while the file `hang` is there.
set -u
# shellcheck source=tests/tap.sh
. "$TOP/tests/tap.sh"
# shellcheck source=tests/sbx.sh
. "$TOP/tests/sbx.sh"

mkdir bin
cat >bin/qemu-system-x86_64 <<END
#!/bin/sh
[ ! -e "$PWD/hang" ] || case "\$*" in *"-name sbxfs-"*) kill -STOP \$\$ ;; esac
exec "$(command -v qemu-system-x86_64)" "\$@"
END
chmod +x bin/qemu-system-x86_64
DAEMON_PATH=$PWD/bin:$PATH
daemon a --net netns
ok "a template" import default
leak_mark

vmm_of() { # NAME: the pid of its VMM, shown or not yet
	local record
	record=$(grep -l "\"name\": *\"$1\"" "$S"/sandboxes/*/record) && record=${record%/record} &&
		pgrep -f -- "-name sbxfs-$(cat "$S/instance")-${record##*/} "
}
stands() { # PID
	grep -q '^State:.T' "/proc/$1/status"
}
vmm_stands() { # NAME
	local pid
	pid=$(vmm_of "$1") && stands "$pid"
}
hang() { # NAME
	kill -STOP "$(status "$1" pid)"
}
# It is in that state, with a VMM that hangs if it has one; destroy, and what a command said that was under way.
destroyed() { # STATE [PID-OF-WRITER PATTERN]
	local pid took
	is "$1: it is so" "$(state "$1")" "$1"
	pid=$(vmm_of "$1")
	[ -z "$pid" ] || ok "$1: its VMM hangs" wait_for 60 stands "$pid"
	took=$(date +%s)
	ok "$1: destroy" ctl "$1" destroy
	echo "# $1: in $(($(date +%s) - took)) s"
	fails "$1: it is gone" ls "$M/$1"
	[ -z "$pid" ] || ok "$1: its VMM too" wait_for 20 process_is_gone "$pid"
	[ -z "${2:-}" ] || ok "$1: the command ended" grep -qxE "$3" <(answer "$2")
}

show() { # NAME: why it is not as it should be
	head -n 3 "${writer_file[$W]}"
	grep '^job=\|^last_error=' "$M/$1/status"
	pgrep -af -- '-name sbxfs-' | cut -c1-120
	grep slots_ "$M/.status"
} 2>&1

names="created running frozen paused stopped error starting pausing resuming stopping"
# shellcheck disable=SC2046,SC2086 # names are words
ok "one for each state" mkdir $(printf "$M/%s " $names)
is "small ones" "$(host_errno "set $names memory_mb=80")" ok
is "they run" "$(host_errno "start running frozen paused stopped error pausing resuming stopping timeout=300")" ok
is "pause" "$(host_errno "pause paused resuming timeout=300")" ok
is "stop" "$(errno stopped stop)" ok
is "freeze" "$(errno frozen freeze)" ok
kill -KILL "$(status error pid)"
ok "one crashes" wait_for 60 in_state error error
for name in running frozen pausing stopping; do
	ok "the VMM of $name hangs" hang $name
done

for name in created running frozen paused stopped error; do
	destroyed $name
done
: >hang
spawn starting "start timeout=300"
ok "a start hangs" wait_for 60 vmm_stands starting || show starting | sed "s/^/#   /"
destroyed starting "$W" ECANCELED
spawn resuming "resume timeout=300"
ok "a resume hangs" wait_for 60 vmm_stands resuming || show resuming | sed "s/^/#   /"
destroyed resuming "$W" ECANCELED
rm hang
spawn pausing "pause timeout=300"
wait_for 30 in_state pausing pausing
destroyed pausing "$W" ECANCELED
spawn stopping "stop timeout=300"
wait_for 30 in_state stopping stopping
destroyed stopping "$W" 'ok|ECANCELED' # which is by force then
is "nothing is promised" "$(sed -n 's/^\(memory_promised\|disk_promised\|vcpus_promised\)=//p' "$M/.status" | sort -u)" 0
ok "nothing is left" leak_check 60

# ---- rmdir does the same -------------------------------------------------------------------------------------

: >hang
ok "another" host "create web1 memory_mb=80"
spawn web1 start
ok "its start hangs" wait_for 60 vmm_stands web1 || show web1 | sed "s/^/#   /"
pid=$(vmm_of web1)
ok "rmdir" rmdir "$M/web1"
is "its command ended" "$(answer "$W")" ECANCELED
ok "its VMM is gone" wait_for 60 process_is_gone "$pid"
ok "nothing is left" leak_check 60
is "shutdown" "$(host_errno shutdown)" ok
ok "it ends" daemon_end a
finish
