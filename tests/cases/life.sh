#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/cases/life.sh - the life of a sandbox with a real guest: every verb in every state, every way to end
# needs: fuse tcg
# timeout: 400
# proves: 10 11 20 22 51 52 54 55 61 65 67 68 75 77 81
# shellcheck disable=SC2016,SC2012 # what stands in '…' is for another shell; the names in listings are our own
set -u
# shellcheck source=tests/tap.sh
. "$TOP/tests/tap.sh"
# shellcheck source=tests/sbx.sh
. "$TOP/tests/sbx.sh"

# Every verb that the state STATE forbids, with its errno; and those that have nothing to do there.
forbidden() { # NAME STATE VERB=ERRNO…
	local name=$1 state=$2 pair verb
	shift 2
	is "$name is $state" "$(state "$name")" "$state"
	for pair; do
		verb=${pair%=*}
		is "$state: $verb is ${pair##*=}" "$(errno "$name" "$verb")" "${pair##*=}"
		case $pair in
		*=ok) ;;
		*) is "$state: the reply to $verb names the state" \
			"$(ctl "$name" "$verb" | grep -c "^error: ${pair##*=}: .*it is $state")" 1 ;;
		esac
	done
	is "$name is still $state" "$(state "$name")" "$state"
}

ended_as() { # NAME STATE REASON
	in_state "$1" "$2" && [ "$(status "$1" exit_reason)" = "$3" ]
}

qemu_of() { # NAME: its process, which is there
	local pid
	pid=$(status "$1" pid)
	[ -n "$pid" ] && kill -0 "$pid" && echo "$pid"
}

resting() { # NAME STATE: what holds in each state without a guest
	forbidden "$1" "$2" stop=ok kill=ok freeze=EINVAL thaw=EINVAL "exec true=EHOSTDOWN" sync=EHOSTDOWN ping=ok \
		"set label.a=b=ok" "unset label.a=ok" "wait $2=ok" cancel=ok
	is "$2: wait for another state" "$(errno "$1" "wait running timeout=0")" ETIMEDOUT
}

daemon a
ok "a template" import default
leak_mark
ok "mkdir" mkdir "$M/web1"
ok "less memory" ctl web1 "set memory_mb=96"

# ---- created, running, stopped ---------------------------------------------------------------------------

resting web1 created
ok "start" ctl web1 start
is "running" "$(state web1)" running
ok "with a process" qemu_of web1
is "nothing to do: start, thaw" "$(errno web1 start) $(errno web1 thaw)" "ok ok"
is "the agent answers" "$(sh_in web1 'echo $((6 * 7))')" 42
is "the guest has its name" "$(sh_in web1 hostname)" web1
is "status: health and pin" "$(status web1 health) $(status web1 template | sed 's/@[0-9a-f]\{12\}$/@DIGEST/')" "ok default@DIGEST"
ok "the token is a secret of 256 bits" grep -qxE '[0-9a-f]{64}' "$M/web1/token"
token=$(cat "$M/web1/token")
ok "sync" ctl web1 sync
ok "data is written" sh_in web1 'echo precious >/kept'
pid=$(qemu_of web1)
ok "stop" ctl web1 stop
is "stopped, and why" "$(state web1) $(status web1 exit_reason)" "stopped stopped"
fails "its process is gone" kill -0 "$pid"
is "no process is shown" "$(status web1 pid)$(status web1 host_ip)" ""
resting web1 stopped
ok "restart starts" ctl web1 restart
is "the data is there" "$(sh_in web1 'cat /kept')" precious
is "the token is the same" "$(cat "$M/web1/token")" "$token"
pid=$(qemu_of web1)
ok "restart of a running one" ctl web1 restart
ok "is another process" test "$pid" != "$(qemu_of web1)"
is "the data is there still" "$(sh_in web1 'cat /kept')" precious

# ---- frozen ----------------------------------------------------------------------------------------------

ok "freeze" ctl web1 freeze
forbidden web1 frozen freeze=ok start=EBUSY "exec true=EBUSY" sync=EBUSY ping=ok "wait frozen=ok"
ok "thaw" ctl web1 thaw
is "it goes on" "$(state web1) $(sh_in web1 'echo here')" "running here"
ok "freeze again" ctl web1 freeze
ok "stop thaws it for a clean end" ctl web1 stop
is "stopped" "$(state web1)" stopped
ok "the guest was asked" grep -q . <(grep -ac 'Power down' "$M/web1/console")

# ---- exec ------------------------------------------------------------------------------------------------

ok "start after that" ctl web1 start
is "exit status" "$(ctl web1 'exec exit 3' | tr '\n' ' ')" "ok exit=3 "
is "the write is fine whatever it is" "$(errno web1 'exec exit 255')" ok
is "signal" "$(ctl web1 'exec kill -9 $$' | tr '\n' ' ')" "ok signal=SIGKILL "
is "not found" "$(ctl web1 'exec nosuchprogram' | sed -n 2p)" exit=127
is "stderr comes along" "$(sh_in web1 'echo out; echo err >&2' | sort | tr '\n' ' ')" "err out "
is "quotes are the guest's business" "$(sh_in web1 "printf '%s|' \"a  b\" 'c d' e\\ f \$((1+1))")" "a  b|c d|e f|2|"
is "unbalanced ones too" "$(ctl web1 "exec echo 'a" | sed -n '1,2p' | tr '\n' ' ')" "ok exit=2 "
is "output without a newline" "$(ctl web1 'exec printf x' | tail -c 1)" x
ctl web1 'exec head -c 2000000 /dev/zero | tr "\0" x' >big
is "more than 1 MiB of output" "$(sed -n 2,3p big | tr '\n' ' ')" "exit=0 truncated=951424 "
is "is cut there" "$(sed 1,3d big | wc -c) $(sed 1,3d big | tr -d x | wc -c)" "1048576 0"
is "a command of 60 KiB" "$(sh_in web1 "echo $(printf %061440d 0) | wc -c")" 61441
is "after a line of another verb" "$(ctl web1 $'ping\nexec echo two\n' | tail -n 1)" two

pids=
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
	spawn web1 "exec sleep 0.5; echo $i; exit $i"
	pids="$pids $W"
done
good=0
i=0
for pid in $pids; do
	i=$((i + 1))
	[ "$(answer "$pid")" = ok ] && [ "$(answer_reply "$pid" | tr '\n' ' ')" = "ok exit=$i $i " ] && good=$((good + 1))
done
is "20 at once, each with its own output and status" $good 20

spawn web1 'exec echo begun >/dev/console; sleep 100'
exec_writer=$W
spawn web1 'wait created'
ok "an exec has begun" wait_for 10 grep -aq begun "$M/web1/console"
ok "kill" ctl web1 kill
is "ends it with EHOSTDOWN" "$(answer "$exec_writer")" EHOSTDOWN
is "stopped, and why" "$(state web1) $(status web1 exit_reason)" "stopped killed"
ok "a wait goes on" kill -0 "$W"
kill -INT "$W"
is "until it is interrupted" "$(answer "$W")" EINTR

# ---- ends of its own -------------------------------------------------------------------------------------

ok "start after kill" ctl web1 start
is "what was synced is there" "$(sh_in web1 'cat /kept; echo newer >/kept; sync')" precious
spawn web1 'exec poweroff -f'
ok "a guest that powers itself off is stopped" wait_for 20 ended_as web1 stopped shutdown
is "what talked to it was ended" "$(answer "$W")" EHOSTDOWN
ok "start after that" ctl web1 start
kill -KILL "$(qemu_of web1)"
ok "a killed QEMU is an error" wait_for 20 ended_as web1 error crashed
ok "an event tells" told web1 '"event":"exit".*"reason":"crashed"'
ok "last_error tells" test -n "$(status web1 last_error)"
forbidden web1 error freeze=EINVAL thaw=EINVAL "exec true=EHOSTDOWN" sync=EHOSTDOWN ping=ok "wait error=ok"
ok "start works again" ctl web1 start
is "no data is lost" "$(sh_in web1 'cat /kept')" newer
is "no error is left" "$(status web1 last_error)$(status web1 exit_reason)" ""
spawn web1 'exec echo c >/proc/sysrq-trigger'
ok "a panic is an error" wait_for 20 ended_as web1 error panic
answer "$W" >/dev/null
ok "stop makes it stopped" ctl web1 stop
is "stopped" "$(state web1)" stopped

# ---- a start that fails ----------------------------------------------------------------------------------

guest_of broken 'for i in 1 2 3 4 5 6 7 8 9 10; do for j in 0 1 2; do /bin/busybox echo line-$i; done; done; /bin/busybox echo the-guest-gives-up; /bin/busybox poweroff -f'
ok "a template that cannot boot" import broken "$PWD/broken"
ok "a sandbox of it" host "create bad template=broken memory_mb=96"
ctl bad start >reply
is "its start fails" "$?" 1
ok "with EIO and a sentence" grep -q '^error: EIO: ...' reply
ok "and the console's last lines" grep -q '^the-guest-gives-up' reply
is "20 of them" "$(sed '1,/^console:/d' reply | wc -l)" 20
is "created it was, created it is" "$(state bad)" created
ok "last_error has the sentence" test -n "$(status bad last_error)"
is "the template is free: nothing is pinned" "$(status bad template)" broken
ok "rmdir" rmdir "$M/bad"
ok "of the template too" wait_for 10 rmdir "$M/.templates/broken"

# ---- the end ---------------------------------------------------------------------------------------------

ok "start once more" ctl web1 start
pid=$(qemu_of web1)
ok "rmdir of a running one" rmdir "$M/web1"
fails "the name is gone at once" test -e "$M/web1"
ok "and free" mkdir "$M/web1"
is "it is another one" "$(state web1)" created
ok "the old one goes behind it" wait_for 20 process_is_gone "$pid"
ok "set" ctl web1 "set memory_mb=96"
ok "start" ctl web1 start
fails "without the old one's data" sh_in web1 'cat /kept'
ok "destroy waits for its end" ctl web1 destroy
fails "the name is gone" test -e "$M/web1"
ok "nothing is left" leak_check
finish
