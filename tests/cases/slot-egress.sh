#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# needs: root netns
# proves: 14 66
# Egress rules of slots made of network namespaces: what each kind lets pass, and what a change does to what goes on.
#
# Always in a network and a /run of its own, as slot-netns.sh. `world` is beyond the host's uplink and has many addresses, each of
# which answers and counts what arrives.
set -u

# shellcheck source=tests/slots.sh
. "$TOP/tests/slots.sh"

rules() { # SERIAL RULE…: hold it to them, with ; between
	local serial=$1
	shift
	echo "$*" >"rules.$serial"
	say a egress "$serial" "rules.$serial"
}
reaches() { # ADDRESS [PORT], guest 1
	say a guestsend 1 "$@"
}
count_of() { # RULE: packets of guest 1's
	say a counted 1 rules.1 | tr ';' '\n' | sed -n "s,^ *$1 packets=\([0-9]*\) .*,\1,p"
}
arrived() { # ADDRESS: packets that came to the world, which has a rule for it
	ip netns exec world nft list chain ip w in | sed -n "s/.*daddr $1 .*packets \([0-9]*\) .*/\1/p"
}
inside() {
	ip netns exec sbxabcd1 "$@"
}

# ---- the host -----------------------------------------------------------------------------------------

echo '0 0' >/proc/sys/net/ipv4/ping_group_range
start a
say a init abcd >/dev/null
world "198.51.100.1 192.168.77.1" "198.51.100.2 198.51.100.3 198.51.100.4 198.51.100.5 198.51.100.9 192.168.77.2 192.168.77.3"
ip -n world addr add 203.0.113.7/32 dev eth0
ip -n world addr add 169.254.169.254/32 dev eth0
ip -n world route add default via 198.51.100.1
ip route add 169.254.169.254/32 dev uplink
ip route add 203.0.113.7/32 dev uplink
printf '%s\n' 'add table ip w' 'add chain ip w in { type filter hook prerouting priority 0; }' \
	'add rule ip w in ip daddr 198.51.100.9 counter' \
	'add rule ip w in ip daddr 198.51.100.4 counter' >world.nft
ip netns exec world nft -f world.nft
for port in 53 80; do
	ip netns exec world "$helper" < <(echo listen $port; exec sleep 600) >/dev/null &
	at_end "kill $!"
	wait_for 20 "$helper" send 198.51.100.2 $port >/dev/null
done
ok "the host listens" say a listen 53
say a up 0 1 >up1
say a up 1 1000 >up2
ok "guest 1 runs" say a guest 1
ok "guest 1000 runs" say a guest 1000
nft -s list ruleset >fresh
inside nft -s list ruleset >fresh.inside

# ---- each kind of rule --------------------------------------------------------------------------------

ok "by default the world is open" reaches 198.51.100.2 53
ok "the defaults are said" rules 1 ""
inside nft -s list ruleset >now
ok "which changes nothing" diff fresh.inside now
is "what they let pass is counted" "$(count_of 'policy allow')" 1

ok "a policy to deny" rules 1 "policy deny"
fails "denies" reaches 198.51.100.2 53
fails "pings too" reaches 198.51.100.2
is "and counts it" "$(count_of 'policy deny')" 2
ok "the gateway answers" reaches 169.254.0.22
ok "so does the guest, to the host" say a send 10.11.0.1
ok "another guest's rules are its own" say a guestsend 1000 198.51.100.2 53

ok "an address is allowed" rules 1 "policy deny; allow 198.51.100.2"
ok "it is reached" reaches 198.51.100.2 53
ok "by all protocols" reaches 198.51.100.2
fails "its neighbour is not" reaches 198.51.100.3 53
is "each is counted" "$(count_of 'allow 198.51.100.2') $(count_of 'policy deny')" "2 3"
ok "a port is allowed" rules 1 "policy deny; allow 198.51.100.0/24:53"
ok "it is reached" reaches 198.51.100.2 53
fails "another port is not" reaches 198.51.100.2 80
fails "nor is another protocol" reaches 198.51.100.2
is "which the policy counts" "$(count_of 'allow 198.51.100.0/24:53') $(count_of 'policy deny')" "1 5"
is "the port is one of TCP too" "$(inside nft list chain ip sbxfs egress | grep -c 'tcp dport 53 .*accept')" 1
ok "a network is denied" rules 1 "policy allow; deny 198.51.100.0/24"
fails "it is not reached" reaches 198.51.100.2 53
ok "others are" reaches 203.0.113.7 53
ok "all is denied but one" rules 1 "policy allow; deny 0.0.0.0/0; allow 198.51.100.3"
fails "all is denied" reaches 198.51.100.2 53
ok "but one" reaches 198.51.100.3 53

# ---- which one decides --------------------------------------------------------------------------------

ok "the longest prefix decides, in whatever order they are" rules 1 \
	"policy deny; allow 198.51.100.0/24; deny 198.51.100.2/31; allow 198.51.100.3; deny 198.51.0.0/16"
fails "/31 before /24" reaches 198.51.100.2 53
ok "/32 before /31" reaches 198.51.100.3 53
ok "/24 before /16" reaches 198.51.100.4 53
ok "of two of one length" rules 1 "policy deny; allow 198.51.100.2; deny 198.51.100.2:80"
ok "it is" reaches 198.51.100.2 53
fails "the one with a port" reaches 198.51.100.2 80
ok "an address without a port is before a network with one" rules 1 \
	"policy deny; allow 198.51.100.2; deny 198.51.100.0/24:53"
ok "it is" reaches 198.51.100.2 53

# ---- what is closed -----------------------------------------------------------------------------------

ok "to allow everything" rules 1 "policy allow; allow 0.0.0.0/0"
for address in 192.168.77.2 169.254.169.254 10.11.0.2 10.11.128.0 10.11.128.3 198.51.100.1 192.168.77.1; do
	fails "opens nothing that is closed: $address" reaches $address 53
done
ok "a part of it is opened" rules 1 "policy allow; allow 192.168.77.0/24"
is "the private network is reached, as the host" "$(say a guestsend 1 192.168.77.2 53)" 192.168.77.1
fails "the host's address in it is not" reaches 192.168.77.1 53
fails "nor the host's others" reaches 198.51.100.1 53
fails "nor the same by another guest" say a guestsend 1000 192.168.77.2 53
ok "all of it, but for one" rules 1 "allow 192.168.0.0/16; deny 192.168.77.2"
fails "that one is not reached" reaches 192.168.77.2 53
ok "another is" reaches 192.168.77.3 53
ok "a part, nested" rules 1 "allow 192.168.77.2; allow 192.168.77.0/31; allow 192.168.76.0/23; allow 192.168.77.2:53"
ok "it is reached" reaches 192.168.77.2 53
is "by one element" "$(nft list set ip sbxfs-abcd open_range | grep -c sbxabcd1)" 1
ok "the larger one goes" rules 1 "allow 192.168.77.2"
ok "what is left is reached" reaches 192.168.77.2 53
fails "and nothing else" reaches 192.168.77.3 53
ok "the larger one comes" rules 1 "allow 192.168.77.2; allow 192.168.0.0/16"
ok "with all of it" reaches 192.168.77.3 53
ok "metadata is opened by a rule within" rules 1 "allow 169.254.169.254"
ok "and reached" reaches 169.254.169.254 53
ok "10.0.0.0/8" rules 1 "allow 10.0.0.0/8"
fails "opens no guest" reaches 10.11.0.2
fails "and not the host in it" reaches 10.11.128.0 53
ok "the host is opened by its address" rules 1 "policy deny; allow 198.51.100.1; allow 192.168.77.1:53"
ok "it is reached" reaches 198.51.100.1
is "and by a port, as the slot's own address" "$(say a guestsend 1 192.168.77.1 53)" 10.11.128.1
fails "which is all that is opened there" reaches 192.168.77.1
fails "nor at another address" reaches 10.11.128.0
ok "a port of the host, and all the world" rules 1 "policy allow; allow 198.51.100.1:53"
ok "it is reached" reaches 198.51.100.1 53
fails "the host's other ports are not" reaches 198.51.100.1
ok "two of them" rules 1 "policy allow; allow 198.51.100.1:53; allow 198.51.100.1:80"
is "are four elements" "$(nft list set ip sbxfs-abcd open_port | grep -o sbxabcd1 | wc -l)" 4
ok "beside a network that it is in" rules 1 "policy deny; allow 198.51.100.0/24; allow 198.51.100.1:53"
ok "it is reached" reaches 198.51.100.1 53
fails "and nothing else of it" reaches 198.51.100.1
ok "all ports of it" rules 1 "policy allow; allow 198.51.100.1"
ok "another is reached" reaches 198.51.100.1
ok "the defaults" rules 1 "policy allow"
fails "end what goes on" reaches 198.51.100.1
ok "another guest is opened by its address" rules 1 "policy deny; allow 10.11.0.2"
ok "it answers" reaches 10.11.0.2
fails "it reaches nobody by that" say a guestsend 1000 10.11.0.1
ok "or by the block of all" rules 1 "allow 10.11.0.0/16"
ok "it answers" reaches 10.11.0.2
fails "the host is not in it" reaches 10.11.128.0
ok "no rules" rules 1 ""
fails "end it" reaches 10.11.0.2
nft -s list ruleset >now
ok "the host's table is as it was" diff fresh now
inside nft -s list ruleset >now
ok "so is the slot's" diff fresh.inside now

# ---- changes ------------------------------------------------------------------------------------------

rules 1 "policy deny; allow 198.51.100.2; allow 198.51.100.3" >/dev/null
reaches 198.51.100.2 53 >/dev/null
reaches 198.51.100.3 53 >/dev/null
ok "a rule is taken away" rules 1 "policy deny; allow 198.51.100.3"
fails "what went on ends" reaches 198.51.100.2 53
ok "other things go on" reaches 198.51.100.3 53
is "and are counted on" "$(count_of 'allow 198.51.100.3')" 2
ok "it comes back" rules 1 "policy deny; allow 198.51.100.3; allow 198.51.100.2"
ok "and goes on" reaches 198.51.100.2 53
is "its count is a new one" "$(count_of 'allow 198.51.100.2')" 1
before=$(arrived 198.51.100.9)
ok "traffic" say a flood 1 198.51.100.2 198.51.100.9
for i in $(seq 40); do
	rules 1 "policy deny; allow 198.51.100.2; allow 203.0.113.$i; deny 198.51.100.8/29" >/dev/null || break
	rules 1 "policy allow; deny 0.0.0.0/0; allow 198.51.100.2:53; deny 198.51.100.9" >/dev/null || break
done
is "goes on under 80 changes" "$i" 40
read -r sent lost < <(say a floodend)
ok "$sent were sent" [ "${sent:-0}" -gt 0 ]
is "without a moment without rules" "$(arrived 198.51.100.9)" "$before"
is "and none of the allowed was lost" "$lost" 0

{
	echo "policy deny"
	for i in $(seq 255); do echo "allow 203.0.$((i % 100)).0/24:$i"; done
	echo "allow 198.51.100.2"
} >rules.1
ok "256 rules" say a egress 1 rules.1
echo "# in $tap_output us"
ok "hold" reaches 198.51.100.2 53
fails "and deny" reaches 198.51.100.3 53
is "and are counted" "$(count_of 'allow 198.51.100.2')" 1
ok "all of them go" rules 1 "policy deny"
is "with all that they had" "$(inside nft list counters table ip sbxfs | grep -c counter)" 1

# ---- names --------------------------------------------------------------------------------------------

ok "a name" rules 1 "policy deny; allow-name a.example; allow-name *.b.example"
fails "means nothing yet" reaches 198.51.100.2 53
ok "the resolver gives addresses" say a let 1 a.example 3600 198.51.100.2 198.51.100.3
ok "one is reached" reaches 198.51.100.2 53
ok "the other too" reaches 198.51.100.3 53
is "both are counted" "$(count_of 'allow-name a.example')" 2
ok "below a name" say a let 1 x.y.b.example 3600 198.51.100.4
ok "it is reached" reaches 198.51.100.4 53
ok "a name that no rule has" say a let 1 b.example 3600 198.51.100.5
fails "opens nothing" reaches 198.51.100.5 53
ok "a name for what is closed" say a let 1 a.example 3600 192.168.77.2 169.254.169.254 10.11.0.2
fails "opens nothing" reaches 192.168.77.2 53
is "and is not there" "$(inside nft list ruleset | grep -c '192\.168\.77\.2\|169\.254\.169\.254 timeout')" 0
ok "a slot without rules" say a let 1000 a.example 3600 198.51.100.5
ok "the rules change, the names stay" rules 1 \
	"policy deny; allow-name *.b.example; deny 198.51.100.9; allow-name a.example"
ok "with their addresses" reaches 198.51.100.2 53
ok "of both" reaches 198.51.100.4 53
is "and counts" "$(count_of 'allow-name a.example')" 3
ok "an address that is denied" rules 1 "policy deny; allow-name a.example; deny 198.51.100.2"
fails "is so under a name" reaches 198.51.100.2 53
ok "the other goes on" reaches 198.51.100.3 53
fails "a name that is gone is gone at once" reaches 198.51.100.4 53
# Long enough for the next line on a busy machine, and short enough to be waited for.
ok "a short time" say a let 1 a.example 10 198.51.100.4
ok "is enough" reaches 198.51.100.4 53
ok "a longer one again" say a let 1 a.example 3600 198.51.100.5
ok "the address goes when its time is over" wait_for 60 sh -c \
	'! ip netns exec sbxabcd1 nft list ruleset | grep -q "198.51.100.4 timeout"'
ok "what went on by it goes on" reaches 198.51.100.4 53
fails "what is new does not" reaches 198.51.100.4
ok "the one with a longer time is there" reaches 198.51.100.5 53
ok "a shorter time" say a let 1 a.example 2 198.51.100.5
is "takes nothing away" "$(inside nft list ruleset | grep -c '198.51.100.5 timeout 1h')" 1
ok "the name goes" rules 1 "policy deny"
fails "and what went on by it ends" reaches 198.51.100.4 53

# ---- how much of it -----------------------------------------------------------------------------------

addresses() { # of the name
	inside nft list ruleset | grep -o '203\.0\.[0-9.]* timeout' | wc -l
}
ok "a name for many" rules 1 "policy deny; allow-name a.example; allow-name c.example"
ok "at once" say a lets 1 a.example 3600 203.0.112.0 200
is "all of them" "$(addresses)" 200
is "but not any number" "$(say a lets 1 a.example 3600 203.0.113.0 257 | cut -d' ' -f1,2)" "err EBUSY"
is "of which none is there" "$(addresses)" 200
for i in $(seq 20); do
	say a lets 1 a.example 3600 203.0.112.0 200 >/dev/null || break
done
is "known ones are told as often as it asks" "$i" 20
is "a set has room for as many as a slot may have" \
	"$(inside nft list sets table ip sbxfs | grep -c 'size 6144$')" 2
ok "what is counted is read while slots are changed" say a countheld 1 rules.1
is "with all rules" "$(say a countheld 1 rules.1 | tr ';' '\n' | grep -c packets=)" 3
ok "they go" rules 1 "policy deny"

# ---- who does not keep to it --------------------------------------------------------------------------

rules 1 "policy allow; deny 198.51.100.9" >/dev/null
before=$(arrived 198.51.100.4)
fails "a process in the namespace sends to who is denied" inside "$helper" send 198.51.100.9 53
fails "and to who is not" inside "$helper" send 198.51.100.4 53
is "it is held to the rules" "$(count_of 'deny 198.51.100.9') $(($(arrived 198.51.100.4) - before))" "1 1"
before=$(arrived 198.51.100.4)
for address in 169.254.0.20 169.254.0.22 10.11.128.1 10.11.0.2 10.11.128.3 198.51.100.3 8.8.8.8 127.0.0.1 0.0.0.0; do
	say a spoof 1 $address 198.51.100.4 53
done
ok "after packets with other sources" reaches 198.51.100.3 53
is "none has arrived" "$(arrived 198.51.100.4)" "$before"
for address in 169.254.0.21 169.254.0.22 10.11.128.0 10.11.128.1; do say a lie 1 $address; done
ok "after lies about who is where the gateway answers" reaches 169.254.0.22
is "the guest is where it was" "$(ip -n sbxabcd1 neigh show dev tap0 | sed 's/ *$//')" \
	"169.254.0.21 lladdr 02:fc:00:00:00:05 PERMANENT"
ok "the host reaches it" say a send 10.11.0.1
ok "and it the world" reaches 198.51.100.3 53

# ---- others who change tables, and daemons that end ---------------------------------------------------

ok "what is closed is opened to one" rules 1 \
	"policy deny; allow 192.168.77.0/24; allow-name a.example; allow 198.51.100.1"
ok "and a name let through" say a let 1 a.example 3600 198.51.100.2
nft -s list ruleset >opened
table_is_back() { nft -s list ruleset >now && diff opened now >/dev/null; }
nft flush ruleset
ok "somebody flushes all tables: ours is there again" wait_for 10 table_is_back
ok "what was open is" reaches 192.168.77.2 53
nft delete table ip sbxfs-abcd
ok "somebody deletes ours: likewise" wait_for 10 table_is_back
nft flush ruleset
ok "as they go, a slot comes" say a up 7 7
ok "and goes" say a down 7
nft -s list ruleset >now
ok "the table is there again with all that was in it" diff opened now
ok "what was open is" reaches 192.168.77.2 53
ok "so is the host" reaches 198.51.100.1
ok "and the name" reaches 198.51.100.2 53
nft flush ruleset
ok "the same by a change of rules" rules 1 "policy deny; allow 192.168.77.0/24; allow-name a.example"
ok "what was open is" reaches 192.168.77.2 53
fails "what is not is not" reaches 198.51.100.1
ok "the other slot has its way" say a guestsend 1000 198.51.100.2 53

inside nft -s list ruleset >held
killed a
start a
say a init abcd >/dev/null
inside nft -s list ruleset >now
ok "a daemon that is killed leaves the rules" diff held now
ok "slot 1 is alive" say a alive 0 1
ok "slot 1000 is alive" say a alive 1 1000
is "a name is not let through before the rules are known" \
	"$(say a let 1 a.example 60 198.51.100.3 | cut -d' ' -f1,2)" "err EAGAIN"
ok "its rules are said again" rules 1 "policy deny; allow 192.168.77.0/24; allow-name a.example"
inside nft -s list ruleset >now
ok "which changes nothing" diff held now
ok "the guest goes on" say a guest 1
ok "the name has its addresses" reaches 198.51.100.2 53
ok "what was open is" reaches 192.168.77.2 53
ok "other rules" rules 1 "policy allow"
inside nft -s list ruleset >now
ok "take all of it away" diff fresh.inside now
ok "slot 1000 too" rules 1000 ""
nft -s list ruleset >now
ok "in the host's table as well" diff fresh now
rules 1 "policy deny; allow 192.168.77.0/24; allow-name a.example; allow 198.51.100.1" >/dev/null
say a let 1 a.example 3600 198.51.100.2
reaches 198.51.100.2 53 >/dev/null
ok "a slot is made as good as new" say a recycle 1
inside nft -s list ruleset >now
ok "without the rules of the guest before" diff fresh.inside now
nft -s list ruleset >now
ok "and what they opened" diff fresh now
ok "another guest runs" say a guest 1
is "and finds no counts" "$(inside nft list counters table ip sbxfs | grep -c 'packets 0 bytes 0')" 1
ok "it has the world" reaches 198.51.100.3 53
fails "and nothing that is closed" reaches 192.168.77.2 53
# The host's table does not take what is opened, and the slot's not what was before.
rules 1 "policy deny" >/dev/null
printf '%s\n' 'flush table ip sbxfs-abcd' 'delete set ip sbxfs-abcd open_range' \
	'add set ip sbxfs-abcd open_range { type inet_service; }' >broken
ok "somebody breaks the host's table" nft -f broken
printf '%s\n' 'add counter ip sbxfs ac0a84d02_32_0' 'add chain ip sbxfs others' \
	'add rule ip sbxfs others counter name "ac0a84d02_32_0"' >others
ok "and uses a counter in the slot's" inside nft -f others
fails "rules are refused" rules 1 "policy deny; allow 192.168.77.2"
ok "all is mended" inside nft 'delete chain ip sbxfs others'
nft delete table ip sbxfs-abcd
ok "in the host's too" wait_for 10 sh -c 'nft list set ip sbxfs-abcd open_range | grep -q ipv4_addr'
ok "the same rules once more" rules 1 "policy deny; allow 192.168.77.2"
ok "hold" reaches 192.168.77.2 53
rules 1 "" >/dev/null
nft -s list ruleset >now
ok "and go" diff fresh now
fds=$(say a fds)
for i in 11 12 13; do
	say a up $i $i >/dev/null
	rules $i "policy deny; allow-name a.b; allow 10.1.0.0/16" >/dev/null
	say a let $i a.b 60 1.2.3.4
	say a down $i >/dev/null
done
is "slots with rules leave nothing: no descriptor" "$(say a fds)" "$fds"
nft -s list ruleset >now
ok "and no element" diff fresh now
say a down 1 >/dev/null
say a down 1000 >/dev/null
is "all goes" "$(say a end && nft list ruleset)" ""
closed a
finish
