#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# needs: root netns
# proves: 70
# A slot whose connections have to end: they are waited for, new ones are refused, those that stay are cut so that both ends know.
#
# In a network and a /run of its own. `g` is the guest, a namespace behind the slot's tap; `world` is one beyond the uplink.
set -u

if [ -z "${SLOT_INSIDE:-}" ]; then
	SLOT_INSIDE=1 exec "$TOP/tests/isolate" bash "$0"
fi
. "$TOP/tests/tap.sh"
mount -t tmpfs tmpfs /run

mkfifo in out
"$B/tests/vm/helper-slot" <in >out 2>log &
exec 3>in 4<out
rm in out
tell() {
	echo "$*" >&3
}
answer() { # what came of it; fails when that is "err"
	local text
	read -t 60 -r text <&4 || text="err the helper is gone"
	echo "${text#ok }"
	[ "${text%% *}" = ok ]
}
say() {
	tell "$@"
	answer
}
inside() { # NAMESPACE COMMAND…
	local ns=$1
	shift
	ip netns exec "$ns" "$@"
}
# hold NAME NAMESPACE ADDRESS PORT: a connection that is open until its process is killed or it is cut; its pid in $held
hold() {
	# shellcheck disable=SC2016 # for the other shell
	ip netns exec "$2" bash -c 'exec 5<>"/dev/tcp/$1/$2"; echo hello >&5; read -r x <&5; echo "got $x"; while read -r x <&5; do echo "got $x"; done; echo ended; exec sleep 60' bash "$3" "$4" >"$1.out" 2>&1 &
	held=$!
	wait_for 10 grep -q 'got hello' "$1.out"
}
let_go() { # PID
	kill -9 "$1"
	wait "$1" 2>/dev/null
}
reach() { # NAMESPACE ADDRESS PORT: is it answered?
	inside "$1" timeout 2 bash -c 'exec 5<>"/dev/tcp/$1/$2" && echo hello >&5 && read -r x <&5 && [ "$x" = hello ]' bash "$2" "$3" 2>reach.err
}
refused() { # NAMESPACE ADDRESS PORT: at once, rather than not answered
	! reach "$@" && grep -qi refused reach.err
}
established() { # NAMESPACE: how many there are, but for the agent's
	inside "$1" ss -Htn state established | grep -vc ':49983'
}
none() { # NAMESPACE…
	for ns; do [ "$(established "$ns")" = 0 ] || return; done
}
within() { # MICROSECONDS FROM TO (milliseconds)
	echo "# took $(($1 / 1000)) ms"
	[ "$1" -ge $(($2 * 1000)) ] && [ "$1" -le $(($3 * 1000)) ]
}
still() { # is no answer there yet?
	! read -t 0 <&4
}

# ---- host, guest, world -------------------------------------------------------------------------------

touch /run/netns-is-ours
is "16384 slots" "$(say init abcd)" 16384
ip netns add world
ip netns add g
mkdir -p /run/netns && touch /run/netns/host && mount --bind /proc/self/ns/net /run/netns/host
ip link set lo up
ip link add uplink type veth peer name eth0 netns world
ip addr add 198.51.100.1/24 dev uplink
ip link set uplink up
ip -n world addr add 198.51.100.2/24 dev eth0
ip -n world link set eth0 up
ip -n world link set lo up
ok "a slot is up" say up 0 1
ok "with a guest" say guestns 1 /run/netns/g
ip -n g link set eth0 address 02:fc:00:00:00:05
ip -n g addr add 169.254.0.21/30 dev eth0
ip -n g link set eth0 up
ip -n g route add default via 169.254.0.22
for at in world:80 g:7000 g:49983; do
	inside "${at%:*}" socat "TCP-LISTEN:${at#*:},fork,reuseaddr" EXEC:cat 2>/dev/null &
	at_end "kill $!"
done
guest=10.11.0.1
ok "the guest reaches the world" wait_for 5 reach g 198.51.100.2 80
ok "the host reaches the guest" wait_for 5 reach host $guest 7000
ok "and the agent" wait_for 5 reach host $guest 49983
ok "they end" wait_for 5 none g world host
inside sbxabcd1 nft -s list ruleset >rules

# ---- nothing to wait for ------------------------------------------------------------------------------

for _ in $(seq 30); do # a busy machine makes the longest of them long, not the shortest
	us=$(say drain 1 5000) || break
	echo "$us" >>drain.times
	say undrain 1 >undrain.out || break
	[ "$us" -ge 10000 ] || break
done
shortest=$(sort -n drain.times | head -n 1)
echo "# $(tr '\n' ' ' <drain.times)us"
ok "no connection takes no time" test "${shortest:-99999}" -lt 10000
inside sbxabcd1 nft -s list ruleset >now
ok "and leaves nothing" diff rules now
ok "drain" say drain 1 5000
ok "the guest is refused" refused g 198.51.100.2 80
ok "the host is refused" refused host $guest 7000
ok "but by the agent" reach host $guest 49983
ok "drain once more" say drain 1 5000
ok "undrain" say undrain 1
ok "undrain once more" say undrain 1
ok "the guest is let through" reach g 198.51.100.2 80
ok "the host is let in" reach host $guest 7000
ok "they end" wait_for 5 none g world host

# ---- one that ends by itself --------------------------------------------------------------------------

for way in "g 198.51.100.2 80" "host $guest 7000"; do
	# shellcheck disable=SC2086 # words
	hold held $way
	tell drain 1 30000
	# shellcheck disable=SC2086
	ok "while one is open ($way) the next is refused" wait_for 5 refused $way
	ok "and it is waited for" still
	is "it is untouched" "$(cat held.out)" "got hello"
	let_go "$held"
	us=$(answer)
	ok "until it ends" within "$us" 1 10000
	ok "undrain" say undrain 1
done

# ---- those that do not --------------------------------------------------------------------------------

hold out g 198.51.100.2 80
out=$held
hold in host $guest 7000
in=$held
hold agent host $guest 49983
agent=$held
ok "connections of both kinds" test "$(established g) $(established world) $(established host)" = "2 1 1"
us=$(say drain 1 500)
ok "are cut when the time is over" within "$us" 500 2000
ok "all ends know" wait_for 2 none g world host
ok "the guest's program" wait_for 2 grep -q ended out.out
ok "the host's program" wait_for 2 grep -q ended in.out
ok "new ones are refused" refused host $guest 7000
fails "the agent's is not cut" grep -q ended agent.out
ok "nor refused" reach host $guest 49983
let_go "$out"
let_go "$in"
let_go "$agent"
us=$(say drain 1 20000)
ok "nothing is left to wait for" within "$us" 0 1000
ok "undrain" say undrain 1
ok "the guest is let through" reach g 198.51.100.2 80
ok "the host is let in" reach host $guest 7000

# Who does not listen any more cannot be told: that takes no longer.
hold out g 198.51.100.2 80
ip -n world link set eth0 down
us=$(say drain 1 0)
ok "an end that is out of reach is not waited for" within "$us" 0 1500
ok "the other is told" wait_for 2 none g
ip -n world link set eth0 up
let_go "$held"

# ---- who ends in between ------------------------------------------------------------------------------

ok "the slot is found again" say alive 0 1
ok "the guest is let through" wait_for 5 reach g 198.51.100.2 80
inside sbxabcd1 nft -s list ruleset >now
ok "nothing is left of it" diff rules now
ok "the slot goes" say down 1
exec 3>&-
finish
