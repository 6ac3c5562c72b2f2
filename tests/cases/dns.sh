#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/cases/dns.sh - names in real guests: whom they reach by them, as the setting egress says, and whatever becomes of guest and daemon
# needs: fuse root tcg netns
# timeout: 600
# proves: 14 66
# shellcheck disable=SC2016 # what stands in '…' is for another shell
# shellcheck disable=SC2034 # the variables are read in tests/sbx.sh
#
# In a network and an /etc of its own; `world` is a namespace beyond the uplink, with a name server and a web server.
set -u
if [ -z "${DNS_INSIDE:-}" ]; then
	DNS_INSIDE=1 exec "$TOP/tests/isolate" bash "$0"
fi
DAEMON_OPTIONS="${DAEMON_OPTIONS:---accel tcg --storage file} --net netns"
# shellcheck source=tests/tap.sh
. "$TOP/tests/tap.sh"
# shellcheck source=tests/sbx.sh
. "$TOP/tests/sbx.sh"
dns=$B/tests/cases/helper-dns
cp -a /etc etc
mount --bind etc /etc

start() { # NAME: with time enough for a guest whose host is emulated
	ctl "$1" "start timeout=280"
}
fetch() { # NAME HOST: what the web server there says
	sh_in "$1" "timeout 20 wget -q -O - http://$2/"
}
fetches() { # NAME HOST
	[ "$(fetch "$@" 2>&1)" = "hello from the world" ]
}
fetches_not() {
	! fetches "$@"
}
looks_up() { # NAME HOST: its addresses
	sh_in "$1" "nslookup -type=a $2 2>&1 | sed -n '/^Name:/,\$s/^Address.*: *//p'"
}
nothing_there() { # NAME HOST
	sh_in "$1" "nslookup $2 2>&1 | grep -q NXDOMAIN"
}
resolver() { # NAME
	sh_in "$1" 'cat /etc/resolv.conf'
}

# ---- the world, and a guest with rules -------------------------------------------------------------------------

ip netns add world
ip link add uplink type veth peer name eth0 netns world
ip addr add 198.51.100.1/24 dev uplink
ip link set uplink up
for i in 2 7 8 9; do ip -n world addr add 198.51.100.$i/24 dev eth0; done
ip -n world link set eth0 up
ip -n world link set lo up
cat >zone <<-'END'
	web.example 60 198.51.100.7
	other.example 60 198.51.100.8
	short.example 1 198.51.100.9
END
ip netns exec world "$dns" serve 198.51.100.2 53 zone >world.log &
at_end "kill $! 2>/dev/null"
# It reads the request first: an end before that would look like a failure.
printf '#!/bin/sh\nsed -u "/^.$/q" >/dev/null\nprintf "HTTP/1.0 200 OK\\r\\n\\r\\n"\necho hello from the world\n' >web
chmod +x web
ip netns exec world socat TCP-LISTEN:80,fork,reuseaddr EXEC:./web 2>/dev/null &
at_end "kill $! 2>/dev/null"
ok "the world has a name server" wait_for 20 "$dns" ask 198.51.100.2 53 web.example 1
rm -f /etc/resolv.conf
echo nameserver 198.51.100.2 >/etc/resolv.conf

daemon a
ok "a template" import default
ok "smaller guests" ctl .templates/default "set memory_mb=128"
ok "defined" mkdir "$M/web1" "$M/free"
ok "with rules" ctl web1 'set "egress=policy deny; allow-name web.example; allow-name short.example"'
ok "start" start web1
is "its resolver is its gateway" "$(resolver web1)" "nameserver 169.254.0.22"
is "as its gateway says" "$(cat "$M/web1/net/gateway")" 169.254.0.22
fails "an address alone is not reached" fetches web1 198.51.100.7
is "a name is there" "$(looks_up web1 web.example)" 198.51.100.7
ok "and is reached" fetches web1 web.example
ok "by its address too now" fetches web1 198.51.100.7
ok "another is not there" nothing_there web1 other.example
fails "nor is it reached" fetches web1 other.example
fails "by its address neither" fetches web1 198.51.100.8
ok "one for a short time" fetches web1 short.example
ok "is not reached when that is over" wait_for 180 fetches_not web1 198.51.100.9
ok "but by its name" fetches web1 short.example
ok "nobody was asked for what is not allowed" sh -c '! grep other.example world.log'

# ---- without the daemon, and with the next one -----------------------------------------------------------------

kill -KILL "$P"
ok "kill -9 of the daemon" daemon_end a
P=
daemon a
ok "the guest goes on" wait_for 120 in_state web1 running
is "with its resolver" "$(resolver web1)" "nameserver 169.254.0.22"
ok "which answers" fetches web1 web.example
ok "by its rules" nothing_there web1 other.example
fails "which hold" fetches web1 198.51.100.8
ok "another guest without rules" start free
ok "has all names" fetches free other.example

# ---- memory that goes on -----------------------------------------------------------------------------------------

ok "pause" ctl web1 "pause timeout=280"
ok "resume" ctl web1 "resume timeout=280"
is "its resolver" "$(resolver web1)" "nameserver 169.254.0.22"
ok "answers" fetches web1 web.example
ok "by its rules" nothing_there web1 other.example
ok "clone" ctl web1 "clone web2 timeout=280"
is "its resolver" "$(resolver web2)" "nameserver 169.254.0.22"
ok "answers" fetches web2 web.example
ok "by the rules of the first" nothing_there web2 other.example
ok "other rules for it" ctl web2 'set "egress=policy deny; allow-name other.example"'
ok "other names" nothing_there web2 web.example
ok "that are reached" fetches web2 other.example
ok "the first has its own" fetches web1 web.example
ok "destroy" ctl web1 destroy
ok "the clone goes on" fetches web2 other.example
ok "destroy" ctl web2 destroy
ok "destroy" ctl free destroy
is "shutdown" "$(host_errno shutdown)" ok
ok "it ends" daemon_end a
finish
