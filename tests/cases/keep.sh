#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/cases/keep.sh - a service manager keeps the mount over a daemon's end, kill -9 included
# needs: fuse tcg
# timeout: 400
# proves: 22 36 37 38 40
# shellcheck disable=SC2016 # what stands in '…' is for another shell
#
# The kernel can be asked since Linux 6.9 to say again what a daemon had not answered. On an older one nothing is kept, and the mount is made
# anew: there the same case looks for that.
set -u
# shellcheck source=tests/tap.sh
. "$TOP/tests/tap.sh"
# shellcheck source=tests/sbx.sh
. "$TOP/tests/sbx.sh"

keeper=$B/tests/cases/helper-keeper
release=$(uname -r)
resends=no
[ "$(printf '6.9\n%s\n' "${release%%-*}" | sort -V | head -n 1)" != 6.9 ] || resends=yes

runs() {
	grep -c '^pid ' keeper.out
}
pid_now() {
	sed -n 's/^pid //p' keeper.out | tail -n 1
}
runs_again() { # COUNT
	[ "$(runs)" = "$1" ] && timeout 60 cat "$M/.version" >/dev/null
}
crash() { # SIGNAL: to the daemon
	local before
	before=$(runs)
	kill -"$1" "$(pid_now)"
	wait_for 60 runs_again $((before + 1))
}

mkdir -p a a/m
use a
LOG=$PWD/a/log
touch again
{ cat "${DAEMON_CONFIG:-/dev/null}"; echo on_shutdown=leave; } >leave.conf
# shellcheck disable=SC2086 # options are words
"$keeper" keep "$PWD/notify" "$PWD/again" "$B/sbxfs" -f --state-dir "$S" --config "$PWD/leave.conf" $DAEMON_OPTIONS "$M" >keeper.out 2>"$LOG" &
daemon_pid[a]=$!
ok "the daemon answers" wait_for 60 daemon_answers a
ok "a template" import default
ok "a guest" host "create web1 memory_mb=96 start"
ok "another sandbox" mkdir "$M/web2"
pid=$(status web1 pid)
if [ $resends = yes ]; then
	is "both are kept" "$(sed -n 's/^kept //p' keeper.out | sort | tr '\n' ' ')" "sbxfs-fuse sbxfs-init "
else
	fails "nothing is kept" grep '^kept' keeper.out
fi

# ---- killed, with somebody at everything ----------------------------------------------------------------------

exec 5<"$M/web1/token"
cat "$M/.events" >stream 2>stream.err &
stream=$!
ok "a reader of events waits" wait_for 10 grep -q web2 stream
spawn web1 "exec sleep 600"
command=$W
ok "a command runs" wait_for 20 sh_in web1 'pidof sleep >/dev/null'
ok "killed: the next one answers" crash KILL
ok "the guest is taken up" wait_for 60 in_state web1 running
is "its process is the same" "$(status web1 pid)" "$pid"
if [ $resends = yes ]; then
	is "the command's writer is told" "$(answer "$command")" EINTR
	ok "an open file reads on" test -n "$(cat <&5)"
	ok "mkdir" mkdir "$M/web3"
	ok "the reader of events reads on" wait_for 10 grep -q web3 stream
	fails "without an error" test -s stream.err
	kill "$stream"
else
	is "the command's writer is told" "$(answer "$command")" ECONNABORTED
	wait "$stream"
fi
exec 5<&-

# ---- again and again, under load ------------------------------------------------------------------------------

touch loading
lists() {
	while [ -e loading ]; do
		(cd "$M" && echo *) || echo "cannot list"
	done >lists 2>&1
}
reads() {
	while [ -e loading ]; do
		cat "$M/web2/state" || echo "cannot read"
	done >reads 2>&1
}
lists &
load1=$!
reads &
load2=$!
good=0
for _ in $(seq 20); do
	crash KILL || break
	good=$((good + 1))
done
rm loading
is "20 ends" "$good" 20
ok "nobody hangs" wait_for 30 process_is_gone $load1
ok "nor here" wait_for 30 process_is_gone $load2
if [ $resends = yes ]; then
	echo "# $(wc -l <lists) lists, $(wc -l <reads) reads"
	fails "lists did not fail" grep -v 'web1 web2' lists
	fails "nor reads" grep -v '^created$' reads
fi
ok "asked to end, it leaves all as it is" crash TERM
ok "the guest is taken up" wait_for 60 in_state web1 running
is "its process is the same" "$(status web1 pid)" "$pid"
rm again
is "shutdown" "$(host_errno 'shutdown stop')" ok
ok "the daemon ends" daemon_end a
fails "the mount is gone" grep -q " $PWD/a/m " /proc/mounts
finish
