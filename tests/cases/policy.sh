#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/cases/policy.sh - what the daemon does by itself: restarts, limits of idleness and age, health, autostart; and how it ends
# needs: fuse tcg
# timeout: 600
# proves: 21 22 23 32 33 43 52 53 60 62
# shellcheck disable=SC2016 # what stands in '…' is for another shell
set -u
# shellcheck source=tests/tap.sh
. "$TOP/tests/tap.sh"
# shellcheck source=tests/sbx.sh
. "$TOP/tests/sbx.sh"

count_is() { # NAME COUNT
	[ "$(state "$1")" = running ] && [ "$(status "$1" restart_count)" = "$2" ]
}
crash() { # NAME
	kill -9 "$(status "$1" pid)"
}
health_is() { # NAME HEALTH
	[ "$(status "$1" health)" = "$2" ]
}
is_gone() { # NAME
	[ ! -e "$M/$1" ]
}
record_of() { # NAME
	grep -l "\"name\": *\"$1\"" "$S"/sandboxes/*/record
}
plans() { # NAME: does its record plan a restart?
	grep -q '"restart_due": *true' "$(record_of "$1")"
}
refused() { # KEY=VALUE
	[ "$(errno web1 "set $1")" = EINVAL ]
}

daemon a
ok "a template" import default

# ---- settings -------------------------------------------------------------------------------------------

ok "a sandbox" host "create web1 memory_mb=96"
for bad in timeout_sec=-1 timeout_sec=1h on_timeout=sleep max_age_sec=x restart=often restart_max=-1 restart_delay_ms=1s \
	restart_delay_max_ms=x autostart=perhaps auto_resume=2 health_interval_sec=x health_retries=0; do
	ok "refused: $bad" refused "$bad"
done
ok "settings" ctl web1 "set restart=on-failure restart_max=2 restart_delay_ms=50 restart_delay_max_ms=600000"
ok "are shown" grep -qx restart=on-failure "$M/web1/config"

# ---- restarts -------------------------------------------------------------------------------------------

ok "start" ctl web1 start
is "not restarted yet" "$(status web1 restart_count)" 0
crash web1
ok "a crash: it runs again" wait_for 60 count_is web1 1
ok "with an event" told web1 '"event":"restart"'
crash web1
ok "and again" wait_for 60 count_is web1 2
crash web1
ok "not more often than restart_max" ctl web1 "wait error timeout=30"
is "and why is said" "$(status web1 exit_reason)" crashed
fails "no restart is planned" plans web1
ok "start begins to count anew" ctl web1 start
crash web1
ok "so it is restarted" wait_for 60 count_is web1 3
ctl web1 "exec poweroff -f" >/dev/null
ok "a guest that shuts down stays down" ctl web1 "wait stopped timeout=60"
fails "on-failure plans nothing then" plans web1
ok "always" ctl web1 "set restart=always"
ok "start" ctl web1 start
ctl web1 "exec poweroff -f" >/dev/null
ok "does" wait_for 60 count_is web1 4

ok "a long delay" ctl web1 "set restart_delay_ms=600000"
ok "from the beginning" ctl web1 restart
crash web1
ok "it waits for its restart" ctl web1 "wait error timeout=30"
ok "which is planned" wait_for 10 plans web1
ok "stop decides otherwise" ctl web1 stop
ok "so the plan is given up" wait_for 10 eval '! plans web1'
ok "start" ctl web1 start
crash web1
ok "it waits for its restart" wait_for 10 plans web1
kill -9 "$P"
daemon_end a
fusermount3 -uz a/m
daemon a
ok "a plan outlives the daemon" wait_for 90 in_state web1 running
ok "its count too" test "$(status web1 restart_count)" -ge 5
ok "no more restarts" ctl web1 "unset restart restart_delay_ms restart_max"

# ---- idle -----------------------------------------------------------------------------------------------

ok "two seconds" ctl web1 "set timeout_sec=2 on_timeout=stop"
is "shown" "$(status web1 timeout_sec)" 2
is "a command that runs is use" "$(sh_in web1 'sleep 5; echo awake')" awake
ok "then it is stopped" ctl web1 "wait stopped timeout=60"
ok "with an event" told web1 '"event":"timeout","action":"stop"'
is "no guest to talk to" "$(errno web1 'exec true')" EHOSTDOWN
ok "wake it up" ctl web1 "set auto_resume=yes on_timeout=pause"
is "a command starts it" "$(sh_in web1 'echo up')" up
ok "then it is paused" ctl web1 "wait paused timeout=60"
is "a command resumes it" "$(sh_in web1 'echo up again')" "up again"
ok "no limit" ctl web1 "unset timeout_sec auto_resume"
is "shown" "$(status web1 timeout_sec)" 0

# ---- age ------------------------------------------------------------------------------------------------

ok "a protected one" host "create old protect=yes max_age_sec=1"
ok "one that is not" host "create young max_age_sec=1"
ok "is destroyed" wait_for 20 is_gone young
ok "the protected one is not" test -d "$M/old"
ok "until it is not any more" ctl old "set protect=no"
ok "and then it is" wait_for 20 is_gone old

# ---- health ---------------------------------------------------------------------------------------------

ok "health" ctl web1 "set health_interval_sec=1 health_retries=2 'health_cmd=test ! -e /sick'"
is "well" "$(status web1 health)" ok
ok "sick" sh_in web1 'touch /sick'
ok "is unhealthy" wait_for 30 health_is web1 unhealthy
ok "with an event" told web1 '"event":"health","health":"unhealthy"'
ok "cured" sh_in web1 'rm /sick'
ok "is well" wait_for 30 health_is web1 ok
pid=$(status web1 pid)
kill -STOP "$pid"
ok "one that does not answer is unhealthy" wait_for 60 health_is web1 unhealthy
kill -CONT "$pid"
ok "and well when it does" wait_for 60 health_is web1 ok

# ---- the end of the daemon --------------------------------------------------------------------------------

ok "pause-all" host pause-all
is "all are paused" "$(state web1)" paused
ok "resume" ctl web1 resume
pid=$(status web1 pid)
is "leave" "$(host_errno 'shutdown leave')" ok
ok "the daemon ends" daemon_end a
ok "its guest does not" kill -0 "$pid"
daemon a
ok "the next one has it" wait_for 60 in_state web1 running
is "as it was" "$(status web1 pid)" "$pid"
is "and it answers" "$(sh_in web1 'echo here')" here
is "pause" "$(host_errno 'shutdown pause')" ok
ok "the daemon ends" daemon_end a
daemon a
is "what it paused is paused" "$(state web1)" paused
ok "autostart" ctl web1 "set autostart=yes"
is "another word" "$(host_errno 'shutdown whatever')" EINVAL
is "stop" "$(host_errno 'shutdown stop')" ok
ok "the daemon ends" daemon_end a
{ cat "${DAEMON_CONFIG:-/dev/null}"; echo on_shutdown=leave; } >leave.conf
DAEMON_CONFIG=$PWD/leave.conf
daemon a
ok "autostart resumes it" wait_for 90 in_state web1 running
pid=$(status web1 pid)
kill -TERM "$P"
ok "on_shutdown: the daemon ends" daemon_end a
ok "its guest does not" kill -0 "$pid"
daemon a
ok "the next one has it" wait_for 60 in_state web1 running
is "stop-all" "$(host_errno stop-all)" ok
is "all are stopped" "$(state web1)" stopped
is "shutdown" "$(host_errno 'shutdown stop')" ok
ok "the daemon ends" daemon_end a

finish
