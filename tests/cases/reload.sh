#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/cases/reload.sh - the configuration is read again: by a command, by a signal, under load, with errors in it
# needs: fuse tcg
# timeout: 400
# proves: 27 80
# shellcheck disable=SC2016 # what stands in '…' is for another shell
set -u
# shellcheck source=tests/tap.sh
. "$TOP/tests/tap.sh"
# shellcheck source=tests/sbx.sh
. "$TOP/tests/sbx.sh"

keeper=$B/tests/cases/helper-keeper
base=$(cat "${DAEMON_CONFIG:-/dev/null}")

config() { # LINE…: behind those that all cases have
	{ echo "$base" | grep -Ev '^(disk_reserve_mb|slots_ready)='; printf '%s\n' "$@"; } >conf.new
	mv conf.new conf
}
changes() { # what the reply says beside ok
	host reload | sed '1{/^ok$/d}'
}
reserve_mb() {
	echo $(($(sed -n 's/^disk_reserve=//p' "$M/.status") >> 20))
}
reserve_is() { # MIB
	[ "$(reserve_mb)" = "$1" ]
}
reloads() { # PATTERN: how many events of reload match it
	events . | grep '"event":"reload"' | grep -c -- "$1"
}
reloads_are() { # PATTERN COUNT
	[ "$(reloads "$1")" = "$2" ]
}
told_lines() {
	sed -n 's/^told //p' keeper.out
}
told_is() { # LINE COUNT
	[ "$(told_lines | grep -cx -- "$1")" -ge "$2" ]
}

# ---- under a service manager ------------------------------------------------------------------------------------

config disk_reserve_mb=11 on_shutdown=stop
mkdir -p a a/m
use a
LOG=$PWD/a/log
# The file is named from where the daemon was started, which leaves that directory.
# shellcheck disable=SC2086 # options are words
WATCHDOG_USEC=200000 "$keeper" keep "$PWD/notify" "$PWD/never" "$B/sbxfs" -f --state-dir "$S" --config conf $DAEMON_OPTIONS "$M" >keeper.out 2>"$LOG" &
daemon_pid[a]=$!
ok "the daemon answers" wait_for 120 daemon_answers a
pid=$(sed -n 's/^pid //p' keeper.out)
ok "the service manager is told" wait_for 20 told_is READY=1 1
ok "and goes on being told that the loop goes round" wait_for 20 told_is WATCHDOG=1 5

# ---- a command ------------------------------------------------------------------------------------------------

is "the reserve" "$(reserve_mb)" 11
is "nothing new: an empty reply" "$(changes)" ""
config disk_reserve_mb=12 on_shutdown=leave address_pool=10.90.0.0/20
is "what has changed" "$(changes)" 'address_pool: "" -> 10.90.0.0/20 (takes effect at the next start of sbxfs)
disk_reserve_mb: 11 -> 12
on_shutdown: stop -> leave'
is "holds at once" "$(reserve_mb)" 12
is "an event" "$(reloads '"changed":\["address_pool","disk_reserve_mb","on_shutdown"\]')" 1
is "and one of nothing" "$(reloads '"changed":\[\]')" 1
is "it takes no argument" "$(host_errno 'reload now')" EINVAL
config disk_reserve_mb=12 'memory_overcommit=1 # percent' slots_ready=3
is "a bad file" "$(host_errno reload)" EINVAL
line=$(grep -n memory_overcommit conf | cut -d: -f1)
has_place() {
	host reload >reply
	grep -q "^error: .*$PWD/conf:$line: memory_overcommit=1 # percent: " reply
}
ok "its place is in the reply" has_place
is "and in the events" "$(reloads "\"error\":.*conf:$line: memory")" 2
is "nothing has changed" "$(reserve_mb)" 12
config disk_reserve_mb=12
is "a key that is gone: its default" "$(changes)" 'address_pool: 10.90.0.0/20 -> "" (takes effect at the next start of sbxfs)
on_shutdown: leave -> stop'
mv conf away
is "no file" "$(host_errno reload)" ENOENT
is "nothing has changed" "$(reserve_mb)" 12
mv away conf

# ---- a signal -------------------------------------------------------------------------------------------------

config disk_reserve_mb=13
kill -HUP "$pid"
ok "SIGHUP" wait_for 20 reserve_is 13
ok "an event" wait_for 20 reloads_are '"changed":\["disk_reserve_mb"\]' 1
ok "the service manager is told of the end" wait_for 20 told_is READY=1 2
is "and was of the beginning" "$(told_lines | sed 's/^MONOTONIC_USEC=[0-9][0-9]*$/MONOTONIC/; /^WATCHDOG=1$/d' | tr '\n' ' ')" "READY=1 RELOADING=1 MONOTONIC STATUS= READY=1 "
echo nonsense >>conf
kill -HUP "$pid"
ok "a bad file: an event" wait_for 20 reloads_are '"error":.*a line is KEY=VALUE' 1
ok "the log" wait_for 20 grep -q 'stays as it was: .*conf:' "$LOG"
ok "the service manager is told" wait_for 20 told_is 'STATUS=The configuration stays as it was: .*' 1
ok "that it is over" wait_for 20 told_is READY=1 3
is "nothing has changed" "$(reserve_mb)" 13

# ---- with a guest ---------------------------------------------------------------------------------------------

ok "a template" import default
ok "a sandbox" host "create web1 memory_mb=96"
total_mb=$(($(sed -n 's/^memory_total=//p' "$M/.status") >> 20))
config disk_reserve_mb=13 memory_overcommit=1
is "less memory may be promised" "$(changes)" 'memory_overcommit: 100 -> 1'
ok "more than that" host "set web1 memory_mb=$((total_mb / 50 + 64))"
is "is not to be had" "$(errno web1 start)" ENOMEM
ok "less again" host "set web1 memory_mb=96"
fs_mb=$(($(sed -n 's/^disk_total=//p' "$M/.status") >> 20))
config disk_reserve_mb=13 disk_overcommit=1
ok "nor may disks" host reload
ok "more than that" host "create big memory_mb=96 disk_mb=$((fs_mb / 50 + 64))"
is "is not to be had" "$(errno big start)" ENOSPC
config disk_reserve_mb=$((fs_mb + 1))
ok "all of the disk stays free" host reload
is "nothing can be started" "$(errno web1 start)" ENOSPC
config disk_reserve_mb=13
is "back" "$(host reload | grep -c ' -> 13$')" 1
ok "it starts" host "start web1"
guest=$(status web1 pid)

# ---- under load -----------------------------------------------------------------------------------------------

touch loading
reads() {
	while [ -e loading ]; do
		cat "$M/.status" >/dev/null && cat "$M/web1/state" >>states || echo "cannot read" >>states
	done
}
signals() {
	while [ -e loading ]; do
		kill -HUP "$pid" || return
		cat "$M/.version" >/dev/null
	done
}
reads &
load1=$!
signals &
load2=$!
good=0
for i in $(seq 40); do
	config disk_reserve_mb=$((20 + i)) slots_ready=$((i % 2))
	host reload >/dev/null && reserve_is $((20 + i)) && good=$((good + 1))
done
rm loading
wait $load1 $load2
is "40 times beside signals: each holds when its writer is answered" "$good" 40
is "readers saw nothing of it" "$(sort -u states)" running
is "the guest is the same" "$(status web1 pid)" "$guest"

# ---- what a signal to end does is what holds then -----------------------------------------------------------------

config on_shutdown=leave
ok "on_shutdown" host reload
kill -TERM "$pid"
ok "the daemon ends" daemon_end a
ok "and leaves the guest running" kill -0 "$guest"
DAEMON_CONFIG=$PWD/conf
daemon a
ok "the next one takes it up" wait_for 60 in_state web1 running
is "its process is the same" "$(status web1 pid)" "$guest"
config on_shutdown=stop
kill -HUP "$P"
ok "SIGHUP to one that no service manager started" wait_for 20 reloads_are '"changed":\["on_shutdown"\]' 1
kill -TERM "$P"
ok "the daemon ends" daemon_end a 60
fails "and the guest with it" kill -0 "$guest"
finish
