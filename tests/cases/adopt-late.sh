#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/cases/adopt-late.sh - a running sandbox whose agent is slow to answer goes on running with the next daemon
# needs: fuse root tcg netns
# proves: 63
# shellcheck disable=SC2016,SC2317 # what stands in '…' is for the guest; functions are called by name
set -u
# shellcheck source=tests/tap.sh
. "$TOP/tests/tap.sh"
# shellcheck source=tests/sbx.sh
. "$TOP/tests/sbx.sh"

silent() { # NAME: its guest has said that its answers do not come back
	grep -q 'no way back' "$M/$1/console"
}

daemon a
ok "a template" import default
ok "a sandbox" host "create web1 memory_mb=96"
ok "start" ctl web1 "start timeout=200"
pid=$(status web1 pid)
down='exec >/dev/null 2>&1 </dev/null; sleep 1; ip route del default; echo no way back >/dev/console; sleep 4; ip route add default via '$(cat "$M/web1/net/gateway")
ok "its agent is not to be reached for a while" sh_in web1 "echo '$down' >/down; (setsid sh /down >/dev/null 2>&1 </dev/null &)"
ok "it is not" wait_for 60 silent web1
kill -KILL "$P"
ok "the daemon dies" daemon_end a
daemon a
wait_for 60 in_state web1 running
is "it goes on running" "$(state web1) $(status web1 pid)" "running $pid"
is "and answers" "$(sh_in web1 'echo here')" here
ok "for longer than a daemon asks" sh_in web1 "rm /down && echo '${down/sleep 4/sleep 25}' >/down && : >/dev/console && (setsid sh /down >/dev/null 2>&1 </dev/null &)"
twice() {
	[ "$(grep -c 'no way back' "$M/web1/console")" -ge 2 ]
}
ok "it is not to be reached" wait_for 60 twice
kill -KILL "$P"
ok "the daemon dies" daemon_end a
daemon a
ok "it goes on running all the same" wait_for 60 in_state web1 running
is "in its VM" "$(status web1 pid)" "$pid"
ok "it was not heard" grep -q 'it goes on all the same' "$LOG"
is "and answers when it can" "$(sh_in web1 'echo here')" here
ok "kill" ctl web1 kill
finish
