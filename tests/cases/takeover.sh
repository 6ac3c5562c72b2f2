#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/cases/takeover.sh - a live mount passes from daemon to daemon under load, and nobody who uses it notices
# needs: fuse tcg
# timeout: 400
# proves: 22 31 36 37 38 39 40
# shellcheck disable=SC2016 # what stands in '…' is for another shell
set -u
# shellcheck source=tests/tap.sh
. "$TOP/tests/tap.sh"
# shellcheck source=tests/sbx.sh
. "$TOP/tests/sbx.sh"

TAKEOVERS=${TAKEOVERS:-200}
helper_poll=$B/tests/cases/helper-poll

# Another daemon takes the mount; P is its process then.
take_over() {
	local old=$P
	# shellcheck disable=SC2086 # options are words
	"$B/sbxfs" -f --takeover --state-dir "$S" ${DAEMON_CONFIG:+--config "$DAEMON_CONFIG"} $DAEMON_OPTIONS "$M" >>"$LOG" 2>&1 &
	P=$!
	daemon_pid[a]=$P
	wait_for 60 process_is_gone "$old" || return 1
	wait "$old" || return 1
	timeout 60 cat "$M/.version" >/dev/null
}
says() { # FILE: it has as many lines as its loop went round, all alike
	[ "$(sort -u "$1" | wc -l)" = 1 ]
}

daemon a
ok "a template" import default
ok "a guest" host "create web1 memory_mb=96 start"
ok "another sandbox" mkdir "$M/web2"
token=$(cat "$M/web1/token")
pid=$(status web1 pid)

# ---- one, looked at closely ---------------------------------------------------------------------------------

exec 5<"$M/web1/token" 6<>"$M/web2/ctl" 7<"$M/web1/console"
echo "set label.a=1" >&6
is "a reply before" "$(cat <&6)" ok
dd bs=64 count=1 <&7 >/dev/null 2>&1
cat "$M/.events" >stream 2>stream.err &
stream=$!
ok "a reader of events waits" wait_for 10 grep -q web2 stream
"$helper_poll" poll "$M/web2/state" pri 60000 >polled 2>&1 &
poller=$!
spawn web1 "exec sleep 1; echo slept"
short=$W
spawn web1 "exec sleep 600"
long=$W
spawn web2 "wait stopped"
waiter=$W
before=$(grep -c . stream)
take_over # not below ok, whose subshell it would outlive
tap_result $? "another daemon takes the mount"
is "a short command has ended" "$(answer "$short")" ok
is "a long one was cut short" "$(answer "$long")" EINTR
is "as was one that waited" "$(answer "$waiter")" EINTR
is "an open file reads on" "$(cat <&5)" "$token"
echo "set label.a=2" >&6
is "an open ctl takes commands" "$(cat <&6)" ok
is "which hold" "$(grep label.a "$M/web2/config")" label.a=2
ok "the console goes on" test "$(wc -c <&7)" -gt 0
exec 5<&- 6>&- 7<&-
ok "the guest is taken up" wait_for 30 in_state web1 running
is "its process is the same" "$(status web1 pid)" "$pid"
is "and it answers" "$(sh_in web1 'echo here')" here
ok "mkdir" mkdir "$M/web3"
ok "the reader of events reads on" wait_for 10 grep -q web3 stream
ok "it has more than before" test "$(grep -c . stream)" -gt "$before"
ok "numbers of events only rise" sh -c "sed 's/^{\"seq\":\([0-9]*\).*/\1/' stream | sort -nc"
ok "who polled was woken" wait_for 30 process_is_gone "$poller"

# ---- nobody there, somebody else's ----------------------------------------------------------------------------

fails "no mount to take" "$B/sbxfs" -f --takeover --state-dir "$S" "$PWD"
mkdir other
fails "another state directory" "$B/sbxfs" -f --takeover --state-dir "$PWD/other" "$M"
# What this host cannot do, or would lose the guest by, is found out before the old daemon has let go.
exec 5<"$M/.events"
refused() { # OPTION…: with the daemon's own, of which the last of a kind counts
	# shellcheck disable=SC2086 # options are words
	fails "takeover with $*" "$B/sbxfs" -f --takeover --state-dir "$S" $DAEMON_OPTIONS "$@" "$M"
}
refused -o bogus
refused --vmm cloud-hypervisor --cloud-hypervisor /nonexistent
refused --storage dm
other_net=user
[ "$(sed -n 's/^network=//p' "$M/web1/status")" = netns ] || other_net=netns
refused --net $other_net
kill -0 "$P" || echo "# the daemon has ended"
is "the daemon goes on" "$(state web2)" created
ok "with the files that were open" timeout 10 head -c 20 <&5
exec 5<&-
is "and its guest" "$(sh_in web1 'echo here') $(status web1 pid)" "here $pid"
# One that asks and ends before it has taken anything.
run_dir=/run
[ $EUID = 0 ] || run_dir=${XDG_RUNTIME_DIR:-/tmp}
ok "one that asks and goes" "$B/tests/cases/helper-keeper" connect "$run_dir/sbxfs-$(cat "$S/instance")/next"
ok "is no loss" ctl web2 "set label.a=3"
is "the mount is where it was" "$(grep label.a "$M/web2/config")" label.a=3

# ---- many, under load -----------------------------------------------------------------------------------------

touch loading
loads=()
reads() {
	while [ -e loading ]; do
		cat "$M/web1/token" || echo "cannot read"
	done >reads 2>&1
}
lists() {
	while [ -e loading ]; do
		(cd "$M" && echo *) || echo "cannot list"
	done >lists 2>&1
}
commands() {
	local n=0
	while [ -e loading ]; do
		n=$((n + 1))
		ctl web2 "set label.n=$n" || echo "$n failed"
		[ "$(sed -n 's/^label.n=//p' "$M/web2/config")" = "$n" ] || echo "$n is lost"
	done >commands 2>&1
}
execs() {
	while [ -e loading ]; do
		ctl web1 'exec echo in the guest' | tail -n 1
	done >execs 2>&1
}
dirs() {
	while [ -e loading ]; do
		mkdir "$M/web9" && rmdir "$M/web9" && echo made
	done >dirs 2>&1
}
for load in reads lists commands execs dirs; do
	$load &
	loads+=($!)
done
good=0
for _ in $(seq "$TAKEOVERS"); do
	take_over || break
	good=$((good + 1))
done
is "takeovers" "$good" "$TAKEOVERS"
rm loading
for load in "${loads[@]}"; do
	wait_for 60 process_is_gone "$load" || echo "# $load does not end"
done
ok "reading never failed" says reads
echo "# $(wc -l <reads) reads, $(wc -l <lists) lists, $(wc -l <commands) commands, $(wc -l <execs) in the guest, $(wc -l <dirs) directories"
fails "nor did lists" grep -v '^web1 web2 web3\( web9\)\?$' lists
fails "nor commands" grep -v '^ok$' commands
ok "nor what ran in the guest" test -s execs
fails "any of it" grep -v '^in the guest$' execs
fails "nor mkdir and rmdir" grep -v '^made$' dirs
ok "the guest is taken up" wait_for 30 in_state web1 running
is "the guest is the same" "$(status web1 pid)" "$pid"
fails "the reader of events was not disturbed" test -s stream.err
kill "$stream"
is "shutdown" "$(host_errno "shutdown stop")" ok
ok "the daemon ends" daemon_end a
fails "the mount is gone" grep -q " $PWD/a/m " /proc/mounts
finish
