#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/cases/ports.sh - ports of the host that lead to real guests, a limit on what goes through, and what is counted of it
# needs: fuse root tcg netns
# proves: 66 82
# shellcheck disable=SC2016,SC2317 # what stands in '…' is for another shell; functions are called by name
set -u
if [ -z "${SLOT_INSIDE:-}" ]; then
	SLOT_INSIDE=1 exec "$TOP/tests/isolate" bash "$0"
fi
# shellcheck source=tests/tap.sh
. "$TOP/tests/tap.sh"
# shellcheck source=tests/sbx.sh
. "$TOP/tests/sbx.sh"
mount -t tmpfs tmpfs /run
mkdir -p /run/netns

port() { # NAME TEXT: write it to net/ports; "ok" or the error's name
	"$helper_write" -q "$M/$1/net/ports" "$2"
}
fetch() { # NAMESPACE ADDRESS PORT [PATH]; host: here
	local ns=()
	[ "$1" = host ] || ns=(ip netns exec "$1")
	"${ns[@]}" curl -s -m 20 "http://$2:$3/${4:-}"
}
answers() { # WANTED NAMESPACE ADDRESS PORT
	[ "$(fetch "${@:2}")" = "$1" ]
}
metric() { # NAME METRIC: its value
	sed -n "s/^sbxfs_sandbox_$2{sandbox=\"$1\"} //p" "$M/$1/metrics"
}
above() { # NAME METRIC VALUE
	local now
	now=$(metric "$1" "$2")
	[ -n "$now" ] && [ "$now" -ge "$3" ]
}
# Is it the text format: each sample below the HELP and TYPE of its metric, each metric once, labels quoted?
well_formed() { # FILE
	if command -v promtool >/dev/null; then promtool check metrics <"$1" || return; fi
	awk '
		/^# HELP [a-z_]+ .+\.$/ { if (seen[$3]++) exit 1; help = $3; next }
		/^# TYPE [a-z_]+ (gauge|counter)$/ { if ($3 != help) exit 1; type = $4; next }
		/^[a-z_]+({[a-z]+="[^"]*"(,[a-z]+="[^"]*")*})? [0-9]+$/ {
			name = $1; sub(/{.*/, "", name)
			if (name != help || (name ~ /_total$/) != (type == "counter") || dup[$1]++) exit 1
			samples++; next
		}
		{ exit 1 }
		END { if (!samples) exit 1 }' "$1"
}

ip netns add world
ip link add uplink type veth peer name eth0 netns world
ip addr add 198.51.100.1/24 dev uplink
ip addr add 192.168.77.1/24 dev uplink
ip link set uplink up
ip -n world addr add 198.51.100.2/24 dev eth0
ip -n world addr add 192.168.77.2/24 dev eth0
ip -n world link set eth0 up
ip -n world link set lo up

DAEMON_OPTIONS="--accel tcg --storage file --net netns"
daemon a
ok "a template" import default
mkdir "$M/web" "$M/other"
is "at rest it has no ports" "$(cat "$M/web/net/ports")" ""
is "nor is anything counted" "$(grep -c network "$M/web/metrics")" 0
is "a port at rest" "$(port web 8080:80)" ok
is "is kept" "$(cat "$M/web/net/ports")" 8080:80/tcp
is "another sandbox cannot have it" "$(port other 127.0.0.1:8080:80)" EADDRINUSE
is "nor another of its own beside it" "$(port web 127.0.0.1:8080:80)" EADDRINUSE
is "one that is none is told" "$(port web 8080)" EINVAL
is "and one that is not there" "$(port web 'remove 8081')" ENOENT
is "several at once" "$(port web "$(printf 'add 127.0.0.1:8081:80\n8082:53/udp\n# and\nremove 8082/udp\n')
")" ok
is "are a line each" "$(paste -sd' ' "$M/web/net/ports")" "8080:80/tcp 127.0.0.1:8081:80/tcp"
ok "start" host "start web"
ok "a web server" sh_in web 'mkdir /www; echo page >/www/index.html; head -c 2000000 /dev/zero >/www/zero; sync; httpd -h /www'
ok "the host reaches it by 127.0.0.1" wait_for 60 answers page host 127.0.0.1 8080
is "by its own address" "$(fetch host 198.51.100.1 8080)" page
is "the world does" "$(fetch world 198.51.100.1 8080)" page
is "from a private address too" "$(fetch world 192.168.77.1 8080)" page
is "by the port of one address the host alone" "$(fetch host 127.0.0.1 8081)$(fetch world 198.51.100.1 8081)" page
fails "no program can take the port" socat -u TCP-LISTEN:8080,reuseaddr OPEN:/dev/null
is "a list that was read can be written" "$(cat "$M/web/net/ports" >list; port web "$(cat list)
")" ok
is "and changes nothing" "$(cat "$M/web/net/ports")" "$(cat list)"

# ---- what is counted -----------------------------------------------------------------------------------

ok "something is sent" wait_for 60 above web network_transmit_bytes_total 1
before=$(metric web network_transmit_bytes_total)
is "two million bytes" "$(fetch world 198.51.100.1 8080 zero | wc -c)" 2000000
ok "are counted" wait_for 60 above web network_transmit_bytes_total $((before + 2000000))
ok "and what asked for them" above web network_receive_bytes_total 1000
cat "$M/web/metrics" >metrics.web
cat "$M/.metrics" >metrics.all
ok "the sandbox's metrics are well formed" well_formed metrics.web
ok "the daemon's are" well_formed metrics.all
is "they have the sandboxes by state" "$(grep '^sbxfs_sandboxes' metrics.all | grep -v ' 0$' | paste -sd' ')" \
	'sbxfs_sandboxes{state="created"} 1 sbxfs_sandboxes{state="running"} 1'
is "each one's state" "$(grep '^sbxfs_sandbox_state' metrics.all | sort | paste -sd' ')" \
	'sbxfs_sandbox_state{sandbox="other",state="created"} 1 sbxfs_sandbox_state{sandbox="web",state="running"} 1'
is "and no sample of what was not measured" "$(grep -c '"other"' metrics.all)" 1

# ---- a limit ------------------------------------------------------------------------------------------------

took() { # COMMAND…: milliseconds
	local start=${EPOCHREALTIME/./}
	"$@" >/dev/null
	echo $(((${EPOCHREALTIME/./} - start) / 1000))
}
ok "a limit while it runs" ctl web "set net_bps=1000000"
fast=$(took fetch world 198.51.100.1 8080 zero)
ok "a quarter of it" ctl web "set net_bps=250000"
slow=$(took fetch world 198.51.100.1 8080 zero)
echo "# $fast ms, $slow ms"
ok "takes longer" test "$slow" -gt $((fast * 3 / 2))
is "too little is refused" "$(errno web 'set net_bps=1')" EINVAL
ok "no limit" ctl web "unset net_bps"

# ---- pause, resume, the daemon's end -----------------------------------------------------------------------

counted=$(metric web network_transmit_bytes_total)
ok "pause" ctl web pause
is "nobody answers" "$(fetch world 198.51.100.1 8080)" ""
ok "what was counted is not lost" above web network_transmit_bytes_total "$counted"
socat TCP-LISTEN:8080,reuseaddr,fork SYSTEM:'echo host' 2>/dev/null &
program=$!
ok "a program takes the port" wait_for 20 sh -c 'ss -Hltn | grep -q :8080'
is "so it cannot go on" "$(errno web resume)" EADDRINUSE
is "and stays paused" "$(state web)" paused
kill $program
wait $program 2>/dev/null
ok "resume" ctl web resume
ok "it is reached in its new slot" wait_for 60 answers page world 198.51.100.1 8080
counted=$(metric web network_transmit_bytes_total)
kill -9 "$P"
wait "$P" 2>/dev/null
is "without the daemon it is as well" "$(fetch world 198.51.100.1 8080)" page
fusermount3 -uz a/m
daemon a
ok "it goes on" wait_for 60 in_state web running
is "and is reached" "$(fetch world 198.51.100.1 8080)" page
fails "the port is held again by the daemon" socat -u TCP-LISTEN:8080,reuseaddr OPEN:/dev/null
ok "counting went on" wait_for 60 above web network_transmit_bytes_total "$counted"
is "a clone" "$(errno web 'clone copy')" ok
is "has no ports" "$(cat "$M/copy/net/ports")" ""
is "a port is taken away" "$(port web 'remove 8080')" ok
is "and leads nowhere" "$(fetch world 198.51.100.1 8080)" ""
is "another sandbox has it then" "$(port copy 8080:80)" ok
ok "and answers" wait_for 60 answers page world 198.51.100.1 8080
is "reset" "$(port web reset)" ok
is "leaves none" "$(cat "$M/web/net/ports")" ""
ok "stop" host "stop web copy"
ok "the port is free for programs" sh -c 'timeout 2 socat -u TCP-LISTEN:8080 OPEN:/dev/null; [ $? = 124 ]'
ok "destroy" host "destroy web copy other"
is "shutdown" "$(host_errno shutdown)" ok
ok "the daemon ends" daemon_end a
is "no table is left" "$(nft list tables | grep -c sbxfs)" 0
finish
