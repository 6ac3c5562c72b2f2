#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/cases/cancel.sh - commands that are cancelled, overtaken or run out of time; and those that nobody waits for
# needs: fuse tcg
# proves: 2 10 14 16 51 58 62 67
# shellcheck disable=SC2016,SC2012 # what stands in '…' is for another shell; the names in listings are our own
set -u
# shellcheck source=tests/tap.sh
. "$TOP/tests/tap.sh"
# shellcheck source=tests/sbx.sh
. "$TOP/tests/sbx.sh"

booting() { # NAME: its guest's console has spoken
	in_state "$1" starting && grep -aq guest-hangs "$M/$1/console"
}

now_ms() {
	echo $(($(date +%s%N) / 1000000))
}

# A start that goes on until something ends it; its writer is $W.
begin() { # NAME [TEXT [HELPER-OPTION…]]
	local name=$1 text=${2:-start}
	shift "$(($# > 1 ? 2 : 1))"
	mark=$(wc -c <"$M/$name/console")
	spawn "$name" "$text" "$@"
	starter=$W
	ok "$name begins to boot" wait_for 60 booting_since "$name" "$mark"
}

booting_since() { # NAME BYTES
	in_state "$1" starting && tail -c "+$(($2 + 1))" "$M/$1/console" | grep -aq guest-hangs
}

undone() { # NAME
	is "$1 is as it was" "$(state "$1")$(status "$1" pid)$(status "$1" host_ip)" created
	ok "nothing is left of it" leak_check
}

daemon a
guest_of hang '/bin/busybox echo guest-hangs; while :; do /bin/busybox sleep 1000; done'
ok "a template that never answers" import default "$PWD/hang"
ok "a sandbox" host "create web1 memory_mb=96"
leak_mark

# ---- signals of the writer -------------------------------------------------------------------------------

begin web1
kill -INT "$starter"
is "SIGINT: the write ends in EINTR" "$(answer "$starter")" EINTR
undone web1
ok "last_error says so" test -n "$(status web1 last_error)"
is "the reply too" "$(answer_reply "$starter" | sed -n '1s/^\(error: [A-Z]*\):.*/\1/p')" "error: EINTR"

begin web1 start -s 20
kill -WINCH "$starter"
kill -CHLD "$starter"
kill -URG "$starter"
kill -WINCH "$starter"
sleep 1.5
ok "SIGWINCH, SIGCHLD, SIGURG and fifty SIGALRM a second do not end it" booting web1
kill -TERM "$starter"
is "SIGTERM does" "$(answer "$starter")" EINTR
undone web1

begin web1
kill -KILL "$starter"
ok "a killed writer goes at once" wait_for 10 process_is_gone "$starter"
ok "and its start is undone" wait_for 20 in_state web1 created
undone web1

begin web1 $'set label.a=1\nstart\nset label.b=2\n'
kill -HUP "$starter"
is "SIGHUP in the second of three lines" "$(answer "$starter")" EINTR
ok "the reply names the line" grep -q '^error: EINTR: line 2: ' <(answer_reply "$starter")
is "what ran stays, what follows does not run" "$(grep -c ^label.a "$M/web1/config") $(grep -c ^label.b "$M/web1/config")" "1 0"

# ---- other commands --------------------------------------------------------------------------------------

begin web1
before=$(now_ms)
ok "a second writer is not held up" timeout 5 "$helper_write" "$M/web1/ctl" ping
ok "nor echo, cat and ls" timeout 5 sh -c 'echo ping >"$0/ctl" && echo ping >>"$0/ctl" && cat "$0/ctl" && ls -l "$0"' "$M/web1"
ok "all in less than a second" test $(($(now_ms) - before)) -lt 1000
ok "job tells what runs" grep -qE '^[0-9]+ start running since=20' <(status web1 job)
spawn web1 'set label.c=3'
queued=$W
spawn web1 'restart'
interrupted=$W
sleep 0.3
is "others wait for their turn" "$(grep -c ^label.c "$M/web1/config")" 0
kill -INT "$interrupted"
is "an interrupted one leaves the queue" "$(answer "$interrupted")" EINTR
ok "and the start goes on" booting web1
kill -INT "$starter"
is "its end" "$(answer "$starter")" EINTR
is "lets the next one go on" "$(answer "$queued")" ok
is "which was done" "$(grep -c ^label.c "$M/web1/config")" 1

for verb in cancel kill; do
	begin web1
	spawn web1 'set label.d=4'
	queued=$W
	spawn web1 restart
	restart=$W
	sleep 0.3
	ok "$verb overtakes" ctl web1 "$verb"
	is "the start ends in ECANCELED, and what waited" "$(answer "$starter") $(answer "$queued") $(answer "$restart")" \
		"ECANCELED ECANCELED ECANCELED"
	undone web1
	is "none of it ran" "$(grep -c ^label.d "$M/web1/config")" 0
done
begin web1
spawn web1 stop
stopper=$W
sleep 0.5
ok "stop does not overtake: it waits" kill -0 "$stopper"
kill -INT "$starter"
is "the start is interrupted" "$(answer "$starter")" EINTR
is "then stop has nothing to do" "$(answer "$stopper")" ok
undone web1

# ---- time and O_NONBLOCK ---------------------------------------------------------------------------------

before=$(now_ms)
is "timeout=1" "$(errno web1 "start timeout=1")" ETIMEDOUT
took=$(($(now_ms) - before))
ok "after a second and the time to undo it ($took ms)" test $took -ge 1000 -a $took -lt 6000
undone web1
ok "a bad timeout is no timeout" test "$(errno web1 "start timeout=x")" = EINVAL

before=$(now_ms)
is "async start" "$(errno web1 "async start")" ok
ok "returns at once" test $(($(now_ms) - before)) -lt 500
ok "and boots" wait_for 60 booting web1
is "async: EBUSY while the turn is not free" "$(errno web1 "async start")" EBUSY
is "O_NONBLOCK: EBUSY" "$("$helper_write" -qn "$M/web1/ctl" start)" EBUSY
is "O_NONBLOCK ping has no turn to wait for" "$("$helper_write" -qn "$M/web1/ctl" ping)" ok
job=$(status web1 job)
ok "job shows it" grep -qE '^[0-9]+ start running since=20' <<<"$job"
ok "cancel" ctl web1 cancel
undone web1
is "job tells the outcome" "$(status web1 job | sed 's/ since=.*//')" "${job%% *} start failed"
ok "last_error tells it" grep -q cancel <(status web1 last_error)
ok "and an event" told web1 "\"event\":\"job\".*\"id\":${job%% *},.*\"result\":\"ECANCELED\""
is "O_NONBLOCK start with a timeout" "$("$helper_write" -qn "$M/web1/ctl" "start timeout=1")" ok
ok "its outcome" wait_for 20 grep -qE '^job=[0-9]+ start failed ' "$M/web1/status"
job=$(status web1 job)
ok "is an event as well" told web1 "\"id\":${job%% *},.*\"result\":\"ETIMEDOUT\""
is "a state that does not allow it is told at once" "$(errno web1 "async freeze")" EINVAL
is "so is bad syntax" "$(errno web1 "async nonsense")" EINVAL
undone web1

# ---- the end ---------------------------------------------------------------------------------------------

begin web1
spawn web1 "wait running"
waiter=$W
ok "destroy overtakes" ctl web1 destroy
is "the start ends in ECANCELED, and a wait" "$(answer "$starter") $(answer "$waiter")" "ECANCELED ECANCELED"
fails "it is gone" test -e "$M/web1"
ok "another" host "create web1 memory_mb=96"
begin web1
ok "rmdir overtakes too" rmdir "$M/web1"
is "the start ends in ECANCELED" "$(answer "$starter")" ECANCELED

ok "a template that boots" ctl .templates/default "import $(template_dir)"
ok "a sandbox of it" host "create web1 memory_mb=96"
leak_mark
spawn web1 start
ok "its boot" wait_for 30 in_state web1 starting
sleep 0.5
kill -INT "$W"
is "is interrupted" "$(answer "$W")" EINTR
undone web1
ok "and goes well the next time" ctl web1 start
is "to its end" "$(sh_in web1 'echo here')" here
is "shutdown" "$(host_errno shutdown)" ok
ok "the daemon ends" daemon_end a
finish
