#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# needs: root netns
# timeout: 900
# proves: 3 5 14 15 29 66
# Slots of the daemon's table, of network namespaces: ready ones, those made as good as new, those that will not go; other programs'
# rules; an end at any moment.
#
# In a network and a /run of its own, as slot-netns.sh, and with the same helper.
# shellcheck disable=SC2317 # functions are called by name
set -u

# shellcheck source=tests/slots.sh
. "$TOP/tests/slots.sh"

counts() { # USED READY DIRTY: is it so?
	[ "$(say a counts)" = "used=$1 ready=$2 dirty=$3" ]
}
soon() { # NAME COMMAND…: it is so within a while
	local name=$1
	shift
	ok "$name" wait_for 60 "$@" || say a counts
}
get() { # sets us, ip, link, serial
	read -r us ip link serial < <(say a get)
}
spaces() { # how many of ours there are
	find /run/netns -name 'sbxabcd*' | wc -l
}
tracked() { # connections that a namespace knows; of the host without a name
	if [ -n "${1:-}" ]; then ip netns exec "$1" cat /proc/sys/net/netfilter/nf_conntrack_count; else cat /proc/sys/net/netfilter/nf_conntrack_count; fi
}

# ---- the host -----------------------------------------------------------------------------------------

echo '0 0' >/proc/sys/net/ipv4/ping_group_range
start a
is "16384 slots" "$(say a init abcd)" 16384
world 198.51.100.1 198.51.100.2
inventory >early

# ---- ready ones ---------------------------------------------------------------------------------------

ok "a table with two ready slots" say a keep abcd 8 2
soon "they are made" counts 0 2 0
is "two are there" "$(spaces)" 2
get
is "the first is taken" "$ip" 10.11.0.1
echo "# a ready slot: $us us"
soon "another is made behind it" counts 1 2 0
first=$serial
get
is "and the second" "$ip" 10.11.0.2
soon "they are two again" counts 2 2 0
ok "its guest runs" say a guest "$serial"
ok "and answers" say a send "$ip"
ok "it is given back" say a release "$serial"
soon "and goes, as there are enough" counts 1 2 0
ok "the first too" say a release "$first"
soon "it goes" counts 0 2 0
is "two are there again" "$(spaces)" 2
is "nothing to prune" "$(say a prune)" 0
is "two are there still" "$(spaces)" 2
ok "the end of the table" say a keepend
same "leaves nothing" early

# ---- one as good as new -------------------------------------------------------------------------------

mkdir -p t && rm -f serial
ok "a table of four" say a keep abcd 4 0
get
old=$serial
ok "its guest runs" say a guest "$old"
fails "it sends to the world, and nobody listens there yet" say a guestsend "$old" 198.51.100.2 53
is "both sides know of the connection" "$([ "$(tracked "$link")" -gt 0 ] && [ "$(tracked)" -gt 0 ] && echo yes)" yes
ok "the world answers late" ip netns exec world "$helper" sendfrom 53 198.51.100.1 7001
is "and the guest hears it" "$(say a heard "$old")" late
is "the host sends to it" "$(say a sendfrom 9 "$ip" 7001 && say a heard "$old")" late
ok "connections are refused from now on" say a drain "$old" 0
bytes=$(ip netns exec "$link" cat /sys/class/net/tap0/statistics/tx_bytes 2>/dev/null || ip -n "$link" -s link show tap0 | tail -n 1 | awk '{ print $1 }')
echo "# sent to the old guest: $bytes bytes"
ok "one is wanted" say a ready 1
ok "it is given back" say a release "$old"
soon "it is made as good as new" counts 0 1 0
ok "no more are wanted" say a ready 0
is "no connection is left in it" "$(tracked "$link")" 0
is "nor on the host" "$(tracked)" 0
ok "no refusal either" sh -c "! ip netns exec $link nft list table ip sbxfs_drain 2>/dev/null"
get
is "it is the same one" "$serial $ip" "$old 10.11.0.1"
is "its counters begin anew" "$(ip -n "$link" -s link show tap0 | tail -n 1 | awk '{ print $1 }')" 0
ok "a new guest runs" say a guest "$serial"
ok "the world answers the old one again" ip netns exec world "$helper" sendfrom 53 198.51.100.1 7001
fails "the new one does not hear it" say a heard "$serial"
ok "the host reaches it" say a send "$ip"
in=${to[a]} out=${from[a]} # which end with ours alone
ip netns exec world "$helper" < <(echo listen 53; exec sleep 600) >/dev/null {in}>&- {out}<&- &
world=$!
at_end "kill $world"
ok "it reaches the world" wait_for 10 say a guestsend "$serial" 198.51.100.2 53
ok "the guest is a permanent neighbour" sh -c "ip -n $link neigh show dev tap0 | grep -q '169.254.0.21 lladdr 02:fc:00:00:00:05 PERMANENT'"

# A packet that the old guest has not read yet.
get
ok "a packet waits for a guest" say a sendfrom 9 "$ip" 7001
ok "who comes" say a guest "$serial"
is "and hears it" "$(say a heard "$serial")" late
get
old=$serial
ok "another waits" say a sendfrom 9 "$ip" 7001
say a ready 1
say a release "$old" >/dev/null
soon "its slot is made new" counts 2 1 0
say a ready 0
get
is "and given out" "$serial" "$old"
ok "its new guest" say a guest "$serial"
fails "does not hear it" say a heard "$serial"
ok "but the host" say a send "$ip"
get
is "all four are in use" "$(say a counts)" "used=4 ready=0 dirty=0"
is "there is no fifth" "$(say a get | cut -d' ' -f1,2)" "err ENOSPC"

# ---- what will not go ---------------------------------------------------------------------------------

mount -o remount,ro,bind /run/netns
ok "one whose name cannot go" say a release "$serial"
soon "is dirty" counts 3 0 1
is "and not given out" "$(say a get | cut -d' ' -f1,2)" "err ENOSPC"
mount -o remount,rw,bind /run/netns
soon "it goes by itself later" counts 3 0 0
get
is "its index is free again" "$(say a counts)" "used=4 ready=0 dirty=0"
mount -o remount,ro,bind /run/netns
say a release "$serial" >/dev/null
soon "dirty again" counts 3 0 1
ok "the end" say a keepend
mount -o remount,rw,bind /run/netns
ok "what would not go is told" grep -q 'still there' a.log
is "it is nobody's" "$(say a prune)" 1
killed a
start a
ok "the next daemon" say a init abcd
ok "has a table" say a keep abcd 4 2
is "and sweeps what is not in it" "$(say a prune)" 3
soon "then it has ready ones" counts 0 2 0
is "and nothing to sweep" "$(say a prune)" 0
ok "its end" say a keepend
same "leaves nothing" early
closed a

# ---- address_pool -------------------------------------------------------------------------------------

start a
ip route add 10.90.4.0/24 dev uplink
say a init abcd 10.90.0.0/20 >answer
is "a pool that overlaps a route is refused" "$(cut -d' ' -f1,2 answer)" "err EADDRINUSE"
ok "by the route's name" grep -q '10\.90\.4\.0/24.*uplink' answer
ip route del 10.90.4.0/24
is "a free one is taken" "$(say a init abcd 10.90.0.0/28)" 4
is "and claimed" "$(ip route show type unreachable)" "unreachable 10.90.0.0/28 proto static metric $(ip route show type unreachable | sed 's/.*metric //')"
is "its last slot" "$(say a up 3 1 | cut -d' ' -f2)" 10.90.0.4
ok "its guest runs" say a guest 1
ok "and answers" say a send 10.90.0.4
is "and reaches the world" "$(say a guestsend 1 198.51.100.2 53)" 198.51.100.1
is "another pool is not heeded while it is up" "$(say a init abcd 10.91.0.0/28)" 4
ok "but told" grep -q 'address_pool is not heeded' a.log
ok "it answers still" say a send 10.90.0.4
ok "it goes" say a down 1
is "then it is" "$(say a init abcd 10.91.0.0/28) $(ip route show type unreachable | cut -d' ' -f2)" "4 10.91.0.0/28"
is "what is no pool is refused" "$(say a init abcd 10.91.0.0/29 | cut -d' ' -f1)" err
ok "again" say a init abcd 10.91.0.0/28
ok "the end" say a end
closed a
nft list ruleset >now
is "and no table, nor claim, is left" "$(cat now)$(ip route show type unreachable)" ""

# ---- others' tables -----------------------------------------------------------------------------------

start a
ok "alone" say a init abcd
is "nothing is in the way" "$(say a blocked)" ""
cat >docker.nft <<'END'
table ip filter {
	chain DOCKER-USER {
		counter packets 0 bytes 0 return
	}

	chain DOCKER-ISOLATION {
		iifname "docker0" oifname != "docker0" counter packets 0 bytes 0 return
	}

	chain FORWARD {
		type filter hook forward priority filter; policy drop;
		counter packets 0 bytes 0 jump DOCKER-USER
		oifname "docker0" ct state established,related counter packets 0 bytes 0 accept
		iifname "docker0" oifname != "docker0" counter packets 0 bytes 0 accept
	}
}
table ip nat {
	chain POSTROUTING {
		type nat hook postrouting priority srcnat; policy accept;
		oifname != "docker0" ip saddr 172.17.0.0/16 counter packets 0 bytes 0 masquerade
	}
}
END
cat >firewalld.nft <<'END'
table inet firewalld {
	chain filter_FORWARD_POLICIES {
		iifname "eth9" accept
	}

	chain filter_FORWARD {
		type filter hook forward priority filter + 10; policy accept;
		ct state { established, related } accept
		ct status dnat accept
		iifname "lo" accept
		jump filter_FORWARD_POLICIES
		ct state { invalid } drop
		reject with icmpx admin-prohibited
	}
}
END
theirs() { # as they are now, without what has been counted
	nft -s list ruleset | awk '/^table/ { ours = /sbxfs/ } !ours'
}
ok "a slot" say a up 0 1
ok "its guest" say a guest 1
for other in docker firewalld; do
	nft -f "$other.nft"
	theirs >$other.before
	say a blocked >told
	ok "$other is seen to be in the way" test -s told
	fails "and is" say a guestsend 1 198.51.100.2 53
	ok "the host reaches the guest all the same" say a send 10.11.0.1
	ok "another slot" say a up 1 2
	ok "is made and goes" say a down 2
	ok "init again" say a init abcd
	theirs >$other.after
	ok "theirs are as they were" cmp $other.before $other.after
	sed "s/.*nft '//; s/'\$//" told | tr ';' '\n' >fix
	ok "what is told is two commands" test "$(grep -c '^ *insert rule' fix)" = 2
	ok "which work" nft -f fix
	is "the guest reaches the world" "$(say a guestsend 1 198.51.100.2 53)" 198.51.100.1
	is "and nothing is told" "$(say a blocked)" ""
	theirs >$other.after
	nft delete table ip sbxfs-abcd
	theirs >$other.dropped
	ok "ours can be dropped whole" cmp $other.after $other.dropped
	ok "and is made again" say a init abcd
	for table in 'ip filter' 'ip nat' 'inet firewalld'; do
		# shellcheck disable=SC2086 # two words
		nft delete table $table 2>/dev/null
	done
	ok "our guest is let in again" say a alive 0 1
	say a down 1
	say a up 0 1 >/dev/null
	say a guest 1
done
ok "it goes" say a down 1
ok "the end" say a end
closed a
inventory >empty

# ---- many, and an end at any moment -------------------------------------------------------------------

ok "200 slots from 8 threads" "$B/tests/vm/helper-slot-storm" abcd 200
echo "# each: $tap_output ms"
same "leave nothing" empty

rm -f serial
n=0 bad=0
while n=$((n + 1)); "$B/tests/vm/helper-slot-kill" abcd $n >>log 2>&1; [ $? = 137 ]; do
	"$B/tests/vm/helper-slot-kill" abcd 0 sweep >>log 2>&1 || bad=$((bad + 1))
	inventory >now
	cmp -s empty now || { bad=$((bad + 1)); echo "# after request $n:"; diff empty now | sed 's/^/# /'; cp now empty; }
done
echo "# killed before each of $((n - 1)) requests"
ok "that was some" test $n -gt 40
is "the next one always cleans up" $bad 0
same "all is as before" empty
finish
