#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# needs: root netns
# proves: 14 66
# The resolver in a slot's namespace: who may ask it, whom it asks, what the guest learns, and what is left of it.
#
# In a network, a /run and an /etc of its own. `g1` and `g2` are guests, namespaces behind a slot's tap; `world` is one beyond the uplink, with a name server.
set -u

# shellcheck source=tests/slots.sh
. "$TOP/tests/slots.sh"
dns=$B/tests/cases/helper-dns
cp -a /etc etc
mount --bind etc /etc

in_ns() { # NAMESPACE COMMAND…
	ip netns exec "$@"
}
resolves() { # NAMESPACE NAME TYPE [tcp] [from ADDRESS]: what its resolver says
	local ns=$1
	shift
	in_ns "$ns" "$dns" ask 169.254.0.22 53 "$@"
}
says() { # WANTED NAMESPACE NAME…
	local wanted=$1
	shift
	[ "$(resolves "$@")" = "$wanted" ]
}
servers() { # ADDRESS…: the host's
	printf 'nameserver %s\n' "$@" >resolv.new
	rm -f /etc/resolv.conf
	mv resolv.new /etc/resolv.conf
}
rules() { # SERIAL RULE…
	local serial=$1
	shift
	echo "$*" >rules
	say a egress "$serial" rules
}
reaches() { # NAMESPACE ADDRESS: the name server is behind all of the world's
	[ "$(in_ns "$1" timeout 3 "$dns" ask "$2" 53 one.example 1 tcp)" = "NOERROR 198.51.100.7 198.51.100.8" ]
}
reaches_not() {
	! reaches "$@"
}
asked() { # PATTERN: was the world's server asked so?
	grep -qE "$1" world.log
}

# ---- host, guests, world ------------------------------------------------------------------------------

for place in all default; do echo 1 >/proc/sys/net/ipv4/conf/$place/rp_filter; done
start a
is "16384 slots" "$(say a init abcd)" 16384
world 198.51.100.1 "198.51.100.2 198.51.100.7 198.51.100.8 198.51.100.9 198.51.100.10"
cat >zone <<-'END'
	one.example 60 198.51.100.7 198.51.100.8
	alias.example 60 =one.example
	private.example 60 10.0.0.1
	silent.example 60 -
	local.example 60 198.51.100.9
	short.example 1 198.51.100.10
	mixed.example 60 10.0.0.1 198.51.100.9 169.254.169.254
END
echo "big.example 60 $(seq -f '198.51.100.%g' 1 100 | paste -sd' ')" >>zone
sed 's/198.51.100.9/203.0.113.9/' zone >zone.local
in_ns world "$dns" serve 0.0.0.0 53 zone >world.log &
at_end "kill $! 2>/dev/null"
ok "the world has a name server" wait_for 10 "$dns" ask 198.51.100.2 53 one.example 1
servers 198.51.100.2
before=$(say a fds)
say a up 0 1 >up1
say a up 1 1000 >up2
is "two slots are up" "$(cut -d' ' -f2- up1 up2 | paste -sd' ')" "10.11.0.1 sbxabcd1 10.11.0.2 sbxabcdrs"
ok "guest 1 runs" guest 1 g1
ok "guest 2 runs" guest 1000 g2

# ---- what they learn ----------------------------------------------------------------------------------

: >world.log
is "a guest learns a name's addresses" "$(resolves g1 one.example 1)" "NOERROR 198.51.100.7 198.51.100.8"
ok "the host has asked for it, by its own address" asked '^udp one.example 1 198.51.100.1$'
is "another guest as well" "$(resolves g2 alias.example 1)" "NOERROR 198.51.100.7 198.51.100.8"
is "there is no IPv6" "$(resolves g1 one.example 28)" "NOERROR"
is "what is not there is not there" "$(resolves g1 nowhere.example 1)" "NXDOMAIN"
is "over TCP" "$(resolves g1 one.example 1 tcp)" "NOERROR 198.51.100.7 198.51.100.8"
ok "which the host asks by TCP" asked '^tcp one.example 1 198.51.100.1$'
fails "for IPv6 nobody is asked" asked 'example 28'
is "what is too long says so" "$(resolves g1 big.example 1)" "NOERROR cut"
is "and comes over TCP" "$(resolves g1 big.example 1 tcp | wc -w)" 101
is "a private address is no secret" "$(resolves g1 private.example 1)" "NOERROR 10.0.0.1"

# ---- whom the host asks -------------------------------------------------------------------------------

ip netns add elsewhere
"$dns" serve 127.0.0.53 53 zone.local >/dev/null &
at_end "kill $! 2>/dev/null"
ok "the host has one of its own" wait_for 10 "$dns" ask 127.0.0.53 53 one.example 1
servers 127.0.0.53
ok "which is asked from then on" wait_for 20 says "NOERROR 203.0.113.9" g1 local.example 1
servers 198.51.100.77 198.51.100.2
ok "one that is not there is passed over" wait_for 60 says "NOERROR 198.51.100.9" g1 local.example 1
: >/etc/resolv.conf
ok "without any there is no answer" wait_for 20 says SERVFAIL g1 local.example 1
servers 198.51.100.2
ok "until there is one" wait_for 20 says "NOERROR 198.51.100.9" g1 local.example 1

# ---- who may ask --------------------------------------------------------------------------------------

in_ns sbxabcd1 "$dns" serve 169.254.0.22 5353 zone >/dev/null &
other=$!
at_end "kill $other 2>/dev/null"
ok "something else listens in there" wait_for 10 in_ns sbxabcd1 sh -c 'ss -Hlnu | grep -q :5353'
export WAIT_MS=3000
is "which guests do not reach" "$(in_ns g1 "$dns" ask 169.254.0.22 5353 one.example 1)" timeout
kill $other
ip -n g1 addr add 10.9.9.9/32 dev eth0
ip -n sbxabcd1 route add 10.9.9.9/32 dev tap0
is "nor under another address" "$(resolves g1 one.example 1 from 10.9.9.9)" timeout
ip -n g1 addr del 10.9.9.9/32 dev eth0
is "the host does not reach it by the pair" "$("$dns" ask 10.11.128.1 53 one.example 1)" timeout
unset WAIT_MS
ok "the guest still does" says "NOERROR 198.51.100.7 198.51.100.8" g1 one.example 1

# ---- rules --------------------------------------------------------------------------------------------

ok "by default everything is reached" reaches g1 198.51.100.7
ok "a guest may ask for some names only" rules 1 "policy deny; allow-name one.example; allow-name short.example; allow-name *.example.net; allow-name mixed.example"
: >world.log
is "another name is not there" "$(resolves g1 local.example 1)" NXDOMAIN
is "nor of another kind" "$(resolves g1 local.example 16 tcp)" NXDOMAIN
is "nor what stands for one that is" "$(resolves g1 alias.example 1)" NXDOMAIN
fails "nobody is asked" test -s world.log
ok "what no name was asked for is not reached" reaches_not g1 198.51.100.7
is "an allowed one is there" "$(resolves g1 One.Example 1)" "NOERROR 198.51.100.7 198.51.100.8"
ok "and reached" reaches g1 198.51.100.7
ok "at all its addresses" reaches g1 198.51.100.8
ok "another is not" reaches_not g1 198.51.100.9
ok "nor another server" reaches_not g1 198.51.100.2
is "closed addresses are left out" "$(resolves g1 mixed.example 1)" "NOERROR 198.51.100.9"
ok "the rest is reached" reaches g1 198.51.100.9
ok "the other guest has no rules" says "NOERROR 198.51.100.9" g2 local.example 1
ok "and reaches all" reaches g2 198.51.100.2
is "for a short time" "$(resolves g1 short.example 1)" "NOERROR 198.51.100.10"
ok "it is reached" reaches g1 198.51.100.10
ok "until it is over" wait_for 120 reaches_not g1 198.51.100.10
ok "but the others are" reaches g1 198.51.100.7
is "asked for again" "$(resolves g1 short.example 1 tcp)" "NOERROR 198.51.100.10"
ok "it is reached again" reaches g1 198.51.100.10
ok "a name under a policy to allow" rules 1 "policy allow; deny 198.51.100.0/24; allow-name one.example"
is "others are there" "$(resolves g1 local.example 1)" "NOERROR 198.51.100.9"
ok "and denied" reaches_not g1 198.51.100.9
is "it is there" "$(resolves g1 one.example 1)" "NOERROR 198.51.100.7 198.51.100.8"
ok "and reached" reaches g1 198.51.100.7
is "nobody says all that there is" "$(resolves g1 one.example 255)" NOTIMP
is "of a name with very many addresses" "$(resolves g1 big.example 1 tcp | wc -w)" 101
ok "where names are all" rules 1 "policy deny; allow-name big.example; allow-name *.flood.example"
is "some are told" "$(resolves g1 big.example 1 tcp | wc -w)" 25
ok "and reached" reaches g1 198.51.100.7
ok "other rules" rules 1 "policy deny; allow-name local.example"
is "other names" "$(resolves g1 one.example 1) $(resolves g1 local.example 1)" "NXDOMAIN NOERROR 198.51.100.9"
ok "which are not reached any more" reaches_not g1 198.51.100.7
ok "none" rules 1 "policy allow"
ok "all is reached" reaches g1 198.51.100.7

# ---- the next daemon ----------------------------------------------------------------------------------

killed a
start a
is "the next daemon" "$(say a init abcd)" 16384
is "finds the slots" "$(say a alive 0 1; say a alive 1 1000)" "$(printf '10.11.0.1 tap=yes\n10.11.0.2 tap=yes')"
ip netns del g1
ip netns del g2
ok "guest 1 runs" guest 1 g1
ok "guest 2 runs" guest 1000 g2
echo "policy allow" >rules
ok "its rules are known again" say a egress 1 rules
ok "and those of the other" say a egress 1000 rules
ok "it resolves" says "NOERROR 198.51.100.7 198.51.100.8" g1 one.example 1
ok "so does the other" says "NOERROR 198.51.100.7 198.51.100.8" g2 one.example 1 tcp
start b
ok "a second daemon" say b init abcd
is "finds a slot, though its resolver is taken" "$(say b alive 0 1)" "10.11.0.1 tap=no"
ok "and says so" grep -q "cannot look up names" b.log
killed b
ok "the first still serves" says "NOERROR 198.51.100.7 198.51.100.8" g1 one.example 1

# ---- the end ------------------------------------------------------------------------------------------

: >world.log
for _ in $(seq 100); do
	(exec ip netns exec g1 "$dns" ask 169.254.0.22 53 silent.example 1) >/dev/null &
	waiting+=($!)
done
(exec ip netns exec g1 "$dns" ask 169.254.0.22 53 silent.example 1 tcp) >/dev/null &
waiting+=($!)
ok "questions wait" wait_for 20 asked silent.example
ok "another guest does not" says "NOERROR 198.51.100.7 198.51.100.8" g2 one.example 1
took=$(say a down 1)
ok "the slot goes all the same" test "$took" -gt 0
fails "and its namespace" test -e /run/netns/sbxabcd1
kill "${waiting[@]}" 2>/dev/null
wait "${waiting[@]}" 2>/dev/null
ok "the other guest resolves" says "NOERROR 198.51.100.7 198.51.100.8" g2 one.example 1
ok "slot 2 goes" say a down 1000
ok "no descriptor is left" test "$(say a fds)" -le "$before"
ok "end" say a end
killed a
finish
