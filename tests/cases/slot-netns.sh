#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# needs: root netns
# proves: 3 5 14 15 29 66
# Slots made of network namespaces: who reaches whom, and that nothing is left, after kill -9 too.
#
# Always in a network and a /run of its own, so that the machine's stay as they are. The helper is the daemon
# and plays the guests; `world` is a namespace beyond the host's uplink.
set -u

# shellcheck source=tests/slots.sh
. "$TOP/tests/slots.sh"

median() {
	sort -n | awk '{ v[NR] = $1 } END { printf "%.1f ms (longest %.1f)", v[int((NR + 1) / 2)] / 1000, v[NR] / 1000 }'
}
in_world() {
	ip netns exec world "$helper" "$@"
}

# ---- the host -----------------------------------------------------------------------------------------

echo '0 0' >/proc/sys/net/ipv4/ping_group_range
echo 0 >/proc/sys/net/ipv4/ip_forward
for place in all default; do echo 1 >/proc/sys/net/ipv4/conf/$place/rp_filter; done

start a
inventory 2>/dev/null >before
is "without capabilities the probe says no" \
	"$(setpriv --bounding-set -all --inh-caps -all "$helper" probe | cut -d' ' -f1,2)" "err ENOTSUP"
ok "the probe makes all kinds" say a probe
inventory 2>/dev/null >now
ok "and leaves nothing" diff before now
is "16384 slots" "$(say a init abcd)" 16384
is "/run/netns is a shared mount" "$(findmnt -n -o PROPAGATION /run/netns | tail -n 1)" shared
is "forwarding is on" "$(cat /proc/sys/net/ipv4/ip_forward)" 1
ok "and the log says so" grep -q ip_forward a.log

world "198.51.100.1 192.168.77.1" "198.51.100.2 192.168.77.2"
ip -n world addr add 169.254.169.254/32 dev eth0
ip -n world route add default via 198.51.100.1
ip route add 169.254.169.254/32 dev uplink
ip netns exec world "$helper" < <(echo listen 53; exec sleep 600) >/dev/null &
world=$!
at_end "kill $world"
ok "the host listens" say a listen 53
ok "the world is there" wait_for 5 "$helper" send 198.51.100.2 53

inventory >early

# ---- who reaches whom ---------------------------------------------------------------------------------

say a up 0 1 >up1
say a up 1 1000 >up2
is "two slots are up" "$(cut -d' ' -f2- up1 up2 | paste -sd' ')" "10.11.0.1 sbxabcd1 10.11.0.2 sbxabcdrs"
ok "guest 1 runs" say a guest 1
ok "guest 1000 runs" say a guest 1000
ok "the host pings guest 1" say a send 10.11.0.1
ok "the host pings guest 1000" say a send 10.11.0.2
is "a slot that is not up fails at once" "$(say a send 10.11.0.3)" "err No route to host"
is "a guest reaches the world, as the host" "$(say a guestsend 1 198.51.100.2 53)" 198.51.100.1
ok "a guest pings the world" say a guestsend 1000 198.51.100.2
ok "a guest pings its gateway" say a guestsend 1 169.254.0.22
fails "a guest does not reach another" say a guestsend 1 10.11.0.2
fails "nor by its pair" say a guestsend 1 10.11.128.3
ok "the host reaches the metadata address" "$helper" send 169.254.169.254
fails "a guest does not" say a guestsend 1 169.254.169.254
ok "the host reaches the private network" "$helper" send 192.168.77.2 53
fails "a guest does not" say a guestsend 1 192.168.77.2 53
ok "the world reaches the host's listener" in_world send 198.51.100.1 53
for address in 198.51.100.1 192.168.77.1 10.11.128.0 10.11.0.1 127.0.0.1; do
	fails "a guest does not, at $address" say a guestsend 1 $address 53
done
fails "the world does not reach a guest" in_world send 10.11.0.1
is "the guest is a permanent neighbour" "$(ip -n sbxabcd1 neigh show dev tap0 | sed 's/ *$//')" \
	"169.254.0.21 lladdr 02:fc:00:00:00:05 PERMANENT"
is "no link has IPv6" "$(ip -6 addr show dev sbxabcd1)$(ip -n sbxabcd1 -6 addr)" ""
ok "ip netns exec works" ip netns exec sbxabcd1 true
is "an index in use is told" "$(say a up 0 5 | cut -d' ' -f1,2)" "err EADDRINUSE"
is "a serial in use is told" "$(say a up 9 1 | cut -d' ' -f1,2)" "err EADDRINUSE"
ok "which harms neither" say a send 10.11.0.1
is "an index too high is told" "$(say a up 16384 7 | cut -d' ' -f1,2)" "err EIO"

# ---- nothing is left ----------------------------------------------------------------------------------

ok "slot 1 goes" say a down 1
ok "slot 1000 goes" say a down 1000
same "and so does all of them, and what was begun in vain" early
inventory >empty
fds=$(say a fds)
for i in $(seq 20); do say a up "$i" $((i * 100)); done | cut -d' ' -f1 >up.us
for i in $(seq 20); do say a down $((i * 100)); done >down.us
is "20 slots went up and down" "$(grep -c '^[0-9]*$' up.us) $(grep -c '^[0-9]*$' down.us)" "20 20"
echo "# up: median $(median <up.us); down: median $(median <down.us)"
same "and left nothing" empty
is "not even a descriptor" "$(say a fds)" "$fds"

ok "a slot is up" say a up 3 30
ip netns exec sbxabcdu sleep 600 &
holder=$!
ok "somebody is in its namespace" wait_for 5 sh -c "[ \"\$(readlink /proc/$holder/ns/net)\" != \"\$(readlink /proc/self/ns/net)\" ]"
ok "it goes nevertheless" say a down 30
same "and leaves no name" empty
kill $holder

ok "a slot is up" say a up 4 40
nft flush ruleset
ok "it goes though somebody has flushed all tables" say a down 40
same "and the table is there again" empty

# ---- kill -9, and others' things ----------------------------------------------------------------------

ip link add sbxabcdfoo type veth peer name sbxabcd2
ip link set sbxabcd2 alias sbxfs/abcd/3
ip link add sbxabce1 type veth peer name sbxabcd-1
ip link set sbxabce1 alias sbxfs/abce/1
ip netns add sbxabcdbar
ip netns add sbxabcdBAR
nft add table ip sbxfs-abce
nft add table ip sbxfs
inventory >foreign
for i in $(seq 20); do say a up "$i" $((i * 100)) >/dev/null; done
is "20 slots are up" "$(grep -c 'sbxfs/abcd/.*00' < <(ip link))" 20
start c
ok "a daemon that takes over knows the block" say c init abcd
is "and the slot, whose tap is in use" "$(say c alive 5 500)" "10.11.0.6 tap=no"
killed c
killed a
start a
is "the next daemon finds its addresses" "$(say a init abcd)" 16384
is "slot 5 is alive, and has its tap" "$(say a alive 5 500)" "10.11.0.6 tap=yes"
fails "slot 21 is not" say a alive 21 2100
fails "nor is slot 6 with another's serial" say a alive 6 2100
is "all but two are swept" "$(say a sweep 500 600)" 18
is "two are left" "$(grep -c 'sbxfs/abcd/.*00' < <(ip link))" 2
ok "guest 500 goes on" say a guest 500
ok "and answers" say a send 10.11.0.6
is "and reaches the world" "$(say a guestsend 500 198.51.100.2 53)" 198.51.100.1
ok "an end with slots up" say a end
ok "leaves them their table" nft list table ip sbxfs-abcd
ok "and init finds it" say a init abcd
ok "slot 600 goes, known by its numbers" say a forgotten 6 600
ok "once more is no error" say a forgotten 6 600
ok "slot 500 goes" say a down 500
same "what is others' is as it was" foreign
is "nothing is left to sweep" "$(say a sweep)" 0
ok "a record with a name that is others' goes" say a forgotten 7 3
same "and leaves it alone" foreign

# ---- two instances, and the end -----------------------------------------------------------------------

start b
ok "another instance" say b init zz77
is "has another block" "$(say b up 0 1 | cut -d' ' -f2-)" "10.12.0.1 sbxzz771"
ok "its guest runs" say b guest 1
ok "a guest of the first" say a up 0 7
ok "runs as well" say a guest 7
ok "both answer" say a send 10.12.0.1
ok "both answer" say b send 10.11.0.1
fails "they do not reach each other" say a guestsend 7 10.12.0.1
is "both reach the world" "$(say a guestsend 7 198.51.100.2 53) $(say b guestsend 1 198.51.100.2 53)" \
	"198.51.100.1 198.51.100.1"
is "a sweep takes the own" "$(say a sweep)" 1
ok "and only the own" say b send 10.12.0.1
ok "the second's slot goes" say b down 1
say b end
ok "and its table" sh -c '! nft list table ip sbxfs-zz77'
same "all is as before it" foreign
say a end
inventory >end
is "the end leaves no table" "$(nft list tables | sort | paste -sd' ')" "table ip sbxfs table ip sbxfs-abce"
is "and no claim" "$(ip route show type unreachable)" ""
ok "8 threads make and remove 80 slots" "$B/tests/vm/helper-slot-storm" yyyy
echo "# each: $tap_output ms"
same "and leave nothing" end
closed b # has inherited the other's pipe
closed a
finish
