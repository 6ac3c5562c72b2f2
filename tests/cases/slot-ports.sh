#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# needs: root netns
# proves: 66
# Ports of the host that lead to guests: from where, to whom, for how long, and who else may have them. How fast guests may
# be, and how much has gone through.
#
# In a network and a /run of its own. `g1` and `g2` are guests, namespaces behind a slot's tap; `world` is one beyond the uplink.
# shellcheck disable=SC2317 # functions are called by name
set -u

# shellcheck source=tests/slots.sh
. "$TOP/tests/slots.sh"

in_ns() { # NAMESPACE COMMAND…; host: here
	local ns=$1
	shift
	if [ "$ns" = host ]; then "$@"; else ip netns exec "$ns" "$@"; fi
}
# What the server behind an address says: its own name and where the question came from. Nothing: nobody answered.
ask() { # NAMESPACE ADDRESS PORT
	in_ns "$1" timeout 5 socat -T3 - "TCP:$2:$3,connect-timeout=1" </dev/null 2>/dev/null
}
ask_udp() {
	echo question | in_ns "$1" timeout 5 socat -T1 - "UDP:$2:$3" 2>/dev/null
}
answers() { # WANTED HOW ARGUMENT…
	local wanted=$1
	shift
	[ "$("$@")" = "$wanted" ]
}
serve() { # NAMESPACE NAME
	# shellcheck disable=SC2016 # for the server's shell
	in_ns "$1" socat TCP-LISTEN:80,fork,reuseaddr SYSTEM:'echo '"$2"' $SOCAT_PEERADDR' 2>/dev/null &
	at_end "kill $! 2>/dev/null"
	# shellcheck disable=SC2016
	in_ns "$1" socat UDP-RECVFROM:53,fork SYSTEM:'echo '"$2"' $SOCAT_PEERADDR' 2>/dev/null &
	at_end "kill $! 2>/dev/null"
}
# Everything of the host that forwards could leave.
forwards_left() {
	nft list table ip sbxfs-abcd
	ss -Hlnut | sort
	cat /proc/sys/net/ipv4/conf/sbx*/route_localnet
}
localnet() { # LINK
	cat "/proc/sys/net/ipv4/conf/$1/route_localnet"
}

# ---- host, guests, world ------------------------------------------------------------------------------

for place in all default; do echo 1 >/proc/sys/net/ipv4/conf/$place/rp_filter; done
start a
is "16384 slots" "$(say a init abcd)" 16384
world "198.51.100.1 192.168.77.1" "198.51.100.2 192.168.77.2"
say a up 0 1 >up1
say a up 1 1000 >up2
is "two slots are up" "$(cut -d' ' -f2- up1 up2 | paste -sd' ')" "10.11.0.1 sbxabcd1 10.11.0.2 sbxabcdrs"
ok "guest 1 runs" guest 1 g1
ok "guest 2 runs" guest 1000 g2
serve g1 one
serve g2 two
ok "the host reaches guest 1" wait_for 10 answers "one 10.11.128.0" ask host 10.11.0.1 80
ok "and guest 2" wait_for 10 answers "two 10.11.128.2" ask host 10.11.0.2 80
forwards_left >before

# ---- from where ---------------------------------------------------------------------------------------

is "nobody answers yet" "$(ask world 198.51.100.1 8080)" ""
ok "a port leads to guest 1" say a forward 1 8080:80
is "from the world, which the guest sees" "$(ask world 198.51.100.1 8080)" "one 198.51.100.2"
is "from a private address too" "$(ask world 192.168.77.1 8080)" "one 192.168.77.2"
is "from the host, by its own address" "$(ask host 198.51.100.1 8080)" "one 198.51.100.1"
is "and by 127.0.0.1" "$(ask host 127.0.0.1 8080)" "one 10.11.128.0"
is "for which the link has to be told" "$(localnet sbxabcd1) $(localnet sbxabcdrs)" "1 0"
is "the guest's own port is nobody's" "$(ask world 198.51.100.1 80)" ""
is "the guest does not come back by it" "$(ask g1 198.51.100.1 8080)" ""
is "another guest does not either" "$(ask g2 198.51.100.1 8080)" ""
is "nor by the private address" "$(ask g2 192.168.77.1 8080)" ""
# Somebody who has taken the slot's namespace over sends to what listens on the host for itself alone.
socat -u UDP-RECV:9998,bind=127.0.0.1 OPEN:private,creat,append 2>/dev/null &
listener=$!
wait_for 5 sh -c 'ss -Hlun | grep -q :9998'
ip netns exec sbxabcd1 sh -c 'echo 1 >/proc/sys/net/ipv4/conf/all/route_localnet
	ip route add table 9 127.0.0.1/32 via 10.11.128.0
	ip rule add pref 0 lookup 9; ip rule del lookup local; ip rule add pref 1 lookup local
	for text in 1 2 3; do echo guest | socat - UDP:127.0.0.1:9998,bind=10.11.128.1; done
	ip rule add pref 0 lookup local; ip rule del pref 1; ip rule del lookup 9
	ip route flush table 9; echo 0 >/proc/sys/net/ipv4/conf/all/route_localnet' >/dev/null 2>&1
echo host | socat - UDP:127.0.0.1:9998
wait_for 5 grep -q host private
is "what a slot sends to 127.0.0.1 does not arrive" "$(cat private)" host
kill $listener
wait $listener 2>/dev/null
is "the answers of the guest do" "$(ask host 127.0.0.1 8080)" "one 10.11.128.0"

# ---- lists ---------------------------------------------------------------------------------------------

ok "a list in its place" say a forward 1 8081:80 127.0.0.1:8082:80 5353:53/udp
is "the port of before is free" "$(ask world 198.51.100.1 8080)" ""
is "the new one leads" "$(ask world 198.51.100.1 8081)" "one 198.51.100.2"
is "one of an address" "$(ask host 127.0.0.1 8082)" "one 10.11.128.0"
is "is of no other" "$(ask world 198.51.100.1 8082)$(ask host 198.51.100.1 8082)" ""
is "datagrams" "$(ask_udp world 198.51.100.1 5353)" "one 198.51.100.2"
is "of the host too" "$(ask_udp host 127.0.0.1 5353)" "one 10.11.128.0"
ok "guest 2 has others" say a forward 1000 8080:80 198.51.100.1:8083:80
is "to each its own" "$(ask world 198.51.100.1 8080) $(ask world 198.51.100.1 8081) $(ask world 198.51.100.1 8083)" \
	"two 198.51.100.2 one 198.51.100.2 two 198.51.100.2"
is "a port of another sandbox is refused" "$(say a forward 1 8080:80)" "err EADDRINUSE port 8080 of the host is in use by another sandbox"
is "of one address as well" "$(say a forward 1 127.0.0.1:8080:80 | cut -d' ' -f1,2)" "err EADDRINUSE"
is "the same port of the other protocol is not" "$(say a forward 1000 8080:80 198.51.100.1:8083:80 8080:53/udp)" ""
is "what was there is there" "$(ask world 198.51.100.1 8081) $(ask_udp world 198.51.100.1 5353)" "one 198.51.100.2 one 198.51.100.2"
ok "a port moves to another of the guest's" say a forward 1 8081:81 5353:53/udp
is "where nobody answers" "$(ask world 198.51.100.1 8081)" ""
ok "and back, for one address" say a forward 1 192.168.77.1:8081:80 5353:53/udp
is "it is the address's" "$(ask world 192.168.77.1 8081)$(ask world 198.51.100.1 8081)" "one 192.168.77.2"
is "no loopback, no exception for the link" "$(say a forward 1 192.168.77.1:8081:80; localnet sbxabcd1)" 0
is "an address that is not here is told" "$(say a forward 1 203.0.113.9:1:1 | cut -d' ' -f1,2)" "err EADDRNOTAVAIL"
ok "a whole list" say a forward 1 8081:80 5353:53/udp

# ---- ports are held ------------------------------------------------------------------------------------

fails "no program of the host can listen there" socat -u TCP-LISTEN:8081,reuseaddr OPEN:/dev/null
fails "nor with UDP" timeout 5 socat -u UDP-LISTEN:5353 OPEN:/dev/null
socat TCP-LISTEN:8090,reuseaddr,fork SYSTEM:'echo host' 2>/dev/null &
program=$!
ok "a program has a port" wait_for 10 answers host ask host 127.0.0.1 8090
is "which is refused by its name" "$(say a forward 1 8081:80 8090:80 8091:80)" "err EADDRINUSE port 8090 of the host is in use by another program"
is "it goes on" "$(ask host 127.0.0.1 8090)" host
is "and nothing has changed" "$(ask world 198.51.100.1 8091)$(ask world 198.51.100.1 8081) $(ask_udp world 198.51.100.1 5353)" \
	"one 198.51.100.2 one 198.51.100.2"
ok "a port that was not given is free" sh -c 'timeout 1 socat -u TCP-LISTEN:8091 OPEN:/dev/null; [ $? = 124 ]'
kill $program
wait $program 2>/dev/null

# ---- what goes on when a list changes ------------------------------------------------------------------

in_ns g1 socat TCP-LISTEN:82,fork,reuseaddr EXEC:cat 2>/dev/null &
at_end "kill $! 2>/dev/null"
ok "a port for long connections" say a forward 1 8081:80 8084:82 5353:53/udp
hold() { # NAME: a connection through 8084 that says "hello" once a line is read
	# shellcheck disable=SC2016
	in_ns world bash -c 'exec 5<>/dev/tcp/198.51.100.1/8084; echo hello >&5; read -r x <&5; echo "$x"; read -r _ <go."$1"; echo more >&5; read -t 3 -r x <&5 && echo "$x"' - "$1" >"$1.got" 2>/dev/null &
	held=$!
	ok "a connection: $1" wait_for 10 grep -q hello "$1.got"
}
mkfifo go.kept go.cut
hold kept
kept=$held
ok "another port more" say a forward 1 8081:80 8084:82 8085:80 5353:53/udp
echo go >go.kept
wait $kept
is "it goes on" "$(paste -sd' ' kept.got)" "hello more"
hold cut
cut=$held
ok "its port is taken away" say a forward 1 8081:80 5353:53/udp
echo go >go.cut
wait $cut
is "and it ends" "$(paste -sd' ' cut.got)" hello
# A flow of datagrams that never rests keeps what the host has decided about it, unless it is told that nobody is there.
nft -f - <<-EOF
	add table ip vain
	add chain ip vain come { type filter hook input priority 10; }
	add chain ip vain go { type filter hook output priority 10; }
	add rule ip vain come udp dport 5354 counter
	add rule ip vain go icmp type destination-unreachable drop
EOF
in_ns world bash -c 'while :; do echo x; sleep 0.05; done | socat -T30 - UDP:198.51.100.1:5354,sourceport=4444' >flow 2>/dev/null &
flow=$!
ok "datagrams come in vain" wait_for 10 sh -c 'nft list chain ip vain come | grep -q "packets [0-9][0-9]"'
ok "until their port leads to a guest" say a forward 1 8081:80 5353:53/udp 5354:53/udp
ok "which has them then" wait_for 10 grep -q "one 198.51.100.2" flow
ok "another guest's from now on" say a forward 1 8081:80 5353:53/udp
ok "at once" say a forward 1000 8080:80 5354:53/udp
ok "has those that follow" wait_for 10 grep -q "two 198.51.100.2" flow
kill $flow

# ---- how fast, and how much ----------------------------------------------------------------------------

BYTES=1500000
in_ns g1 socat TCP-LISTEN:90,fork,reuseaddr SYSTEM:"head -c $BYTES /dev/zero" 2>/dev/null &
at_end "kill $! 2>/dev/null"
in_ns world socat -u TCP-LISTEN:90,fork,reuseaddr OPEN:/dev/null 2>/dev/null &
at_end "kill $! 2>/dev/null"
from_guest() { in_ns host socat -u TCP:10.11.0.1:90 - | wc -c; }
to_guest() { in_ns g1 sh -c "head -c $BYTES /dev/zero | socat -u - TCP:198.51.100.2:90" && echo "$BYTES"; }
received() { say a counters 1 | cut -d' ' -f1; }
sent() { say a counters 1 | cut -d' ' -f2; }
grown() { # FROM TO: by the bytes of a transfer and what goes with them, no more
	echo "# $(($2 - $1)) bytes"
	[ $(($2 - $1)) -ge "$BYTES" ] && [ $(($2 - $1)) -le $((BYTES + BYTES / 4)) ]
}
before=$(sent)
is "the guest sends" "$(from_guest)" $BYTES
ok "which is counted" grown "$before" "$(sent)"
before=$(received)
in_ns g1 socat -u TCP-LISTEN:91,reuseaddr OPEN:/dev/null 2>/dev/null &
sink=$!
ok "the guest listens" wait_for 10 sh -c 'ip netns exec g1 ss -Hltn | grep -q :91'
ok "it receives" sh -c "head -c $BYTES /dev/zero | socat -u - TCP:10.11.0.1:91"
wait $sink
ok "which is counted as well" grown "$before" "$(received)"
is "nothing of it for another" "$([ "$(say a counters 1000 | cut -d' ' -f2)" -lt $BYTES ] && echo less)" less
took() { # COMMAND…: milliseconds
	local start=${EPOCHREALTIME/./}
	"$@" >/dev/null
	echo $(((${EPOCHREALTIME/./} - start) / 1000))
}
# A quarter of the rate takes four times as long, however fast this machine is.
for way in from_guest to_guest; do
	ok "a limit" say a limit 1 1200000
	fast=$(took $way)
	ok "a quarter of it" say a limit 1 300000
	slow=$(took $way)
	echo "# $way: $fast ms, $slow ms"
	ok "takes longer, $way" test "$slow" -gt $((fast * 2))
done
ok "no limit" say a limit 1 0
ok "no limit once more" say a limit 1 0
is "leaves the links as they were" "$(ip netns exec sbxabcd1 tc qdisc | grep -c tbf)" 0
echo "# a question for the counters takes $(say a counters 1 2000 | cut -d' ' -f3) ns"

# ---- somebody flushes all tables -----------------------------------------------------------------------

nft flush ruleset
answers_again() { [ -n "$(ask world 198.51.100.1 8081)" ]; }
ok "the table is there again at once" wait_for 10 answers_again
nft flush ruleset
ok "a change comes as it goes" say a forward 1000 8080:80 8086:80
is "for the other slot too" "$(nft list map ip sbxfs-abcd forward | grep -o 'tcp . [0-9]*' | sort | paste -sd,)" \
	"tcp . 8080,tcp . 8081,tcp . 8086"

# ---- kill -9 -------------------------------------------------------------------------------------------

killed a
start a
ok "the next daemon" say a init abcd
ok "takes up slot 1" say a alive 0 1
ok "and slot 2" say a alive 1 1000
fails "whose ports it holds" socat -u TCP-LISTEN:8081,reuseaddr OPEN:/dev/null
fails "of both" socat -u TCP-LISTEN:8086,reuseaddr OPEN:/dev/null
ok "what went through has been kept" test "$(sent)" -ge $BYTES
ok "guest 1 goes on" guest 1 g1
ok "guest 2 goes on" guest 1000 g2
serve g1 one
serve g2 two
ok "and is reached" wait_for 10 answers "one 198.51.100.2" ask world 198.51.100.1 8081
ok "both are" wait_for 10 answers "two 198.51.100.2" ask world 198.51.100.1 8086
is "the same list changes nothing" "$(say a forward 1 8081:80 5353:53/udp; ask world 198.51.100.1 8081)" "one 198.51.100.2"
ok "another list" say a forward 1 8087:80
is "takes its place" "$(ask world 198.51.100.1 8081)$(ask world 198.51.100.1 8087)" "one 198.51.100.2"
killed a
socat TCP-LISTEN:8087,reuseaddr,fork SYSTEM:'echo host' 2>/dev/null &
program=$!
wait_for 10 sh -c 'ss -Hltn | grep -q :8087'
start a
ok "the next daemon" say a init abcd
ok "takes up slot 1 though a program has its port" say a alive 0 1
ok "which is told" grep -q "port 8087 of the host is in use" a.log
kill $program
wait $program 2>/dev/null

# ---- nothing is left -----------------------------------------------------------------------------------

ok "and slot 2" say a alive 1 1000
ok "no forwards any more" say a forward 1
ok "for both" say a forward 1000
forwards_left >after
ok "everything is as before" diff before after
fds=$(say a fds)
ok "some for slot 1" say a forward 1 8081:80 127.0.0.1:8082:80
ok "none" say a forward 1
is "not a descriptor is left" "$(say a fds)" "$fds"
ok "some once more" say a forward 1 8081:80 127.0.0.1:8082:80
ok "some for slot 2" say a forward 1000 8083:80
ok "slot 1 goes" say a down 1
is "with its ports" "$(nft list table ip sbxfs-abcd | grep -o 'tcp . [0-9]*')" "tcp . 8083"
killed a
start a
ok "the next daemon" say a init abcd
is "sweeps the other slot" "$(say a sweep)" 1
is "with its port" "$(nft list table ip sbxfs-abcd | grep -c 'tcp . [0-9]')" 0
say a end
is "the end leaves no table" "$(nft list tables | grep abcd)" ""
killed a
finish
