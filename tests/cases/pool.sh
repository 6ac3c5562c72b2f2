#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/cases/pool.sh - starts that take over a sandbox which was ready before anybody asked
# needs: root fuse tcg netns
# timeout: 600
# proves: 10 63 78
# shellcheck disable=SC2012,SC2016,SC2317 # the names in listings are our own; what stands in '…' is for the guest; functions are called by name
set -u
DAEMON_OPTIONS="${DAEMON_OPTIONS:---accel tcg --storage file} --net netns"
: "${LIMIT:=120}" # seconds until what the daemon does by itself is done
# shellcheck source=tests/tap.sh
. "$TOP/tests/tap.sh"
# shellcheck source=tests/sbx.sh
. "$TOP/tests/sbx.sh"
sed 's/^warm=.*/warm=auto/' "$TOP/tests/sbxfs.conf" >pool.conf
echo pool=2 >>pool.conf
DAEMON_CONFIG=$PWD/pool.conf

begin() { # NAME: with time enough for a guest whose host is emulated
	ctl "$1" "start timeout=280"
}

pool_is() { # COUNT
	[ "$(sed -n 's/^pool_ready=//p' "$M/.status")" = "$1" ]
}

facts() { # NAME: what must be its own
	echo "$(status "$1" host_ip) $(cat "$M/$1/token") $(sh_in "$1" 'cat /etc/machine-id; head -c 16 /dev/urandom | od -An -tx8')"
}

vmms() { # how many VMMs of this daemon there are
	pgrep -fc -- "-name sbxfs-$(sed -n 's/^instance=//p' "$M/.status")-"
}

ready() { # the VMMs among these that are nobody's yet
	pgrep -f -- "-name sbxfs-$(cat "$S/instance")-" | grep -vxF "$(cat "$M"/*/status | sed -n 's/^pid=//p' | grep .)"
}

are_gone() { # PID…
	local pid
	for pid in "$@"; do process_is_gone "$pid" || return; done
}

same_time() { # NAME: to a few seconds, for a slow machine
	local before guest
	before=$(date +%s)
	guest=$(sh_in "$1" 'date +%s')
	[ "$guest" -ge "$before" ] && [ "$guest" -le "$(($(date +%s) + 1))" ]
}

held() { # what the kernel, and the state directory, have of this daemon but itself
	"$TOP/tests/inventory" | grep -F "$(cat "$S/instance")" | grep -vE "^(nft|link|cgroup) .*$(cat "$S/instance")( .*)?\$|^process .* sbxfs "
	ls "$S/sandboxes"
}

holds_nothing() {
	[ -z "$(held)" ]
}

daemon a
ok "a template" import default
ok "smaller guests" ctl .templates/default "set memory_mb=128"
ok "defined" mkdir "$M/first" "$M/second" "$M/third" "$M/fourth"
ok "the first boots" begin first
ok "then two become ready" wait_for "$LIMIT" pool_is 2
is "which nobody sees" "$(ls "$M" | tr '\n' ' ')" "first fourth second third "
is "and which run no guest" "$(vmms)" 3
began=$(date +%s%N)
ok "a start takes one over" begin second
echo "# took $((($(date +%s%N) - began) / 1000000)) ms"
is "it runs" "$(state second)" running
is "with its own name" "$(sh_in second hostname)" second
ok "the right time" same_time second
ok "another is made ready behind it" wait_for "$LIMIT" pool_is 2
ok "another start" begin third
fails "what is theirs is not the same" [ "$(facts second)" = "$(facts third)" ]
is "nor any part of it" "$(printf '%s\n%s\n' "$(facts second)" "$(facts third)" | tr ' ' '\n' | grep -v '^$' | sort | uniq -d | head -n 1)" ""
ok "it writes" sh_in second 'echo kept >/root/file && sync'
ok "and on its console" sh_in second 'echo hello >/dev/console'
ok "which is its own" wait_for 10 grep -q hello "$M/second/console"
ok "stop" ctl second stop
ok "start from its disk" begin second
is "what it wrote is there" "$(sh_in second 'cat /root/file')" kept
ok "pause of one that was taken over" ctl third "pause timeout=280"
ok "resume" ctl third "resume timeout=280"
is "it answers" "$(sh_in third 'echo $((6 * 7))')" 42

# ---- the number changes ------------------------------------------------------------------------------------

sed -i 's/^pool=.*/pool=1/; s/^slots_ready=.*/slots_ready=2/' pool.conf
is "fewer are wanted" "$(host reload | grep -c ' -> ')" 2
ok "one goes, before the writer is answered" pool_is 1
ok "network slots are made" wait_for "$LIMIT" grep -qx slots_ready=2 "$M/.status"
sed -i 's/^warm=.*/warm=no/; s/^slots_ready=.*/slots_ready=0/' pool.conf
ok "none is" host reload
ok "the last goes" pool_is 0
ok "and so do network slots" wait_for "$LIMIT" grep -qx slots_ready=0 "$M/.status"
sed -i 's/^warm=.*/warm=auto/; s/^pool=.*/pool=2/' pool.conf
kill -HUP "$P"
ok "two are made again before anybody starts" wait_for "$LIMIT" pool_is 2
is "those that run have not been touched" "$(state second) $(state third)" "running running"
ok "snapshot of it" sh -c "echo create s disk >$M/third/snapshot"

# ---- the daemon dies ---------------------------------------------------------------------------------------

ok "ready again" wait_for "$LIMIT" pool_is 2
ok "a fourth takes one" begin fourth
token=$(cat "$M/fourth/token")
ok "another is made ready behind it" wait_for "$LIMIT" pool_is 2
mapfile -t before < <(ready)
is "two are nobody's" "${#before[@]}" 2
kill -9 "$P"
wait "$P" 2>/dev/null
daemon a
ok "it goes on running with the next daemon" wait_for "$LIMIT" in_state fourth running
is "with its token" "$(cat "$M/fourth/token")" "$token"
is "and answers" "$(sh_in fourth 'echo $((6 * 7))')" 42
ok "what was ready is gone with the daemon that made it" wait_for "$LIMIT" are_gone "${before[@]}"
ok "kill" ctl fourth kill
ok "it boots from its own disk" begin fourth

# ---- giving way, and the end ---------------------------------------------------------------------------------

for name in first second third fourth; do
	ok "destroy $name" ctl "$name" destroy
done
mkdir "$M/last"
ok "a start after all that" begin last
ok "ready once more" wait_for "$LIMIT" pool_is 2
mapfile -t before < <(ready)
is "two of them die" "${#before[@]}" 2
kill -9 "${before[@]}"
mkdir "$M/after"
ok "a start when what was ready has died" begin after
is "runs" "$(sh_in after 'echo $((6 * 7))')" 42
ok "destroy" ctl after destroy
ok "destroy" ctl last destroy
ok "a template that has ready ones can go" rmdir "$M/.templates/default"
is "none is left" "$(sed -n 's/^pool_ready=//p' "$M/.status")" 0
ok "nothing is left" wait_for "$LIMIT" holds_nothing || held
finish
