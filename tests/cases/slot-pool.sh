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

if [ -z "${SLOT_INSIDE:-}" ]; then
	SLOT_INSIDE=1 exec "$TOP/tests/isolate" bash "$0"
fi
. "$TOP/tests/tap.sh"
helper=$B/tests/vm/helper-slot
mount -t tmpfs tmpfs /run

start() { # the helper, spoken to with `say`
	mkfifo in out
	"$helper" <in >out 2>>log &
	pid=$!
	exec {to}>in {from}<out
	rm in out
}
closed() {
	exec {to}>&- {from}<&-
	wait "$pid" 2>/dev/null
}
say() { # COMMAND…: its answer without the "ok"; fails when that is "err"
	local answer
	echo "$*" >&"$to"
	read -t 60 -r answer <&"$from" || answer="err the helper is gone"
	case $answer in
	"ok "*) echo "${answer#ok }" ;;
	ok) ;;
	*)
		echo "$answer"
		return 1
		;;
	esac
}
counts() { # USED READY DIRTY: is it so?
	[ "$(say counts)" = "used=$1 ready=$2 dirty=$3" ]
}
soon() { # NAME COMMAND…: it is so within a while
	local name=$1
	shift
	ok "$name" wait_for 60 "$@" || say counts
}
get() { # sets us, ip, link, serial
	read -r us ip link serial < <(say get)
}
spaces() { # how many of ours there are
	find /run/netns -name 'sbxabcd*' | wc -l
}
inventory() {
	ip -o link | sed 's/^[0-9]*: //; s/@[^:]*//' | sort
	ip -4 route show table all | sort
	ip -4 -o addr | sed 's/^[0-9]*: //' | sort
	ls /run/netns
	nft list ruleset
	awk '{ print $4, $5 }' /proc/self/mountinfo | grep /run | sort
}
same() { # NAME FILE
	inventory >now
	ok "$1" diff "$2" now
}
tracked() { # connections that a namespace knows; of the host without a name
	if [ -n "${1:-}" ]; then ip netns exec "$1" cat /proc/sys/net/netfilter/nf_conntrack_count; else cat /proc/sys/net/netfilter/nf_conntrack_count; fi
}

# ---- the host -----------------------------------------------------------------------------------------

echo '0 0' >/proc/sys/net/ipv4/ping_group_range
start
is "16384 slots" "$(say init abcd)" 16384
ip netns add world
ip link add uplink type veth peer name eth0 netns world
ip addr add 198.51.100.1/24 dev uplink
ip link set uplink up
ip -n world addr add 198.51.100.2/24 dev eth0
ip -n world link set lo up
ip -n world link set eth0 up
inventory >early

# ---- ready ones ---------------------------------------------------------------------------------------

ok "a table with two ready slots" say keep abcd 8 2
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
ok "its guest runs" say guest "$serial"
ok "and answers" say send "$ip"
ok "it is given back" say release "$serial"
soon "and goes, as there are enough" counts 1 2 0
ok "the first too" say release "$first"
soon "it goes" counts 0 2 0
is "two are there again" "$(spaces)" 2
is "nothing to prune" "$(say prune)" 0
is "two are there still" "$(spaces)" 2
ok "the end of the table" say keepend
same "leaves nothing" early

# ---- one as good as new -------------------------------------------------------------------------------

mkdir -p t && rm -f serial
ok "a table of four" say keep abcd 4 0
get
old=$serial
ok "its guest runs" say guest "$old"
fails "it sends to the world, and nobody listens there yet" say guestsend "$old" 198.51.100.2 53
is "both sides know of the connection" "$([ "$(tracked "$link")" -gt 0 ] && [ "$(tracked)" -gt 0 ] && echo yes)" yes
ok "the world answers late" ip netns exec world "$helper" sendfrom 53 198.51.100.1 7001
is "and the guest hears it" "$(say heard "$old")" late
is "the host sends to it" "$(say sendfrom 9 "$ip" 7001 && say heard "$old")" late
ok "connections are refused from now on" say drain "$old" 0
bytes=$(ip netns exec "$link" cat /sys/class/net/tap0/statistics/tx_bytes 2>/dev/null || ip -n "$link" -s link show tap0 | tail -n 1 | awk '{ print $1 }')
echo "# sent to the old guest: $bytes bytes"
ok "one is wanted" say ready 1
ok "it is given back" say release "$old"
soon "it is made as good as new" counts 0 1 0
ok "no more are wanted" say ready 0
is "no connection is left in it" "$(tracked "$link")" 0
is "nor on the host" "$(tracked)" 0
ok "no refusal either" sh -c "! ip netns exec $link nft list table ip sbxfs_drain 2>/dev/null"
get
is "it is the same one" "$serial $ip" "$old 10.11.0.1"
is "its counters begin anew" "$(ip -n "$link" -s link show tap0 | tail -n 1 | awk '{ print $1 }')" 0
ok "a new guest runs" say guest "$serial"
ok "the world answers the old one again" ip netns exec world "$helper" sendfrom 53 198.51.100.1 7001
fails "the new one does not hear it" say heard "$serial"
ok "the host reaches it" say send "$ip"
ip netns exec world "$helper" < <(echo listen 53; exec sleep 600) >/dev/null {to}>&- {from}<&- &
world=$!
at_end "kill $world"
ok "it reaches the world" wait_for 10 say guestsend "$serial" 198.51.100.2 53
ok "the guest is a permanent neighbour" sh -c "ip -n $link neigh show dev tap0 | grep -q '169.254.0.21 lladdr 02:fc:00:00:00:05 PERMANENT'"

# A packet that the old guest has not read yet.
get
ok "a packet waits for a guest" say sendfrom 9 "$ip" 7001
ok "who comes" say guest "$serial"
is "and hears it" "$(say heard "$serial")" late
get
old=$serial
ok "another waits" say sendfrom 9 "$ip" 7001
say ready 1
say release "$old" >/dev/null
soon "its slot is made new" counts 2 1 0
say ready 0
get
is "and given out" "$serial" "$old"
ok "its new guest" say guest "$serial"
fails "does not hear it" say heard "$serial"
ok "but the host" say send "$ip"
get
is "all four are in use" "$(say counts)" "used=4 ready=0 dirty=0"
is "there is no fifth" "$(say get | cut -d' ' -f1,2)" "err ENOSPC"

# ---- what will not go ---------------------------------------------------------------------------------

mount -o remount,ro,bind /run/netns
ok "one whose name cannot go" say release "$serial"
soon "is dirty" counts 3 0 1
is "and not given out" "$(say get | cut -d' ' -f1,2)" "err ENOSPC"
mount -o remount,rw,bind /run/netns
soon "it goes by itself later" counts 3 0 0
get
is "its index is free again" "$(say counts)" "used=4 ready=0 dirty=0"
mount -o remount,ro,bind /run/netns
say release "$serial" >/dev/null
soon "dirty again" counts 3 0 1
ok "the end" say keepend
mount -o remount,rw,bind /run/netns
ok "what would not go is told" grep -q 'still there' log
is "it is nobody's" "$(say prune)" 1
kill -9 "$pid"
closed
start
ok "the next daemon" say init abcd
ok "has a table" say keep abcd 4 2
is "and sweeps what is not in it" "$(say prune)" 3
soon "then it has ready ones" counts 0 2 0
is "and nothing to sweep" "$(say prune)" 0
ok "its end" say keepend
same "leaves nothing" early
closed

# ---- address_pool -------------------------------------------------------------------------------------

start
ip route add 10.90.4.0/24 dev uplink
say init abcd 10.90.0.0/20 >answer
is "a pool that overlaps a route is refused" "$(cut -d' ' -f1,2 answer)" "err EADDRINUSE"
ok "by the route's name" grep -q '10\.90\.4\.0/24.*uplink' answer
ip route del 10.90.4.0/24
is "a free one is taken" "$(say init abcd 10.90.0.0/28)" 4
is "and claimed" "$(ip route show type unreachable)" "unreachable 10.90.0.0/28 proto static metric $(ip route show type unreachable | sed 's/.*metric //')"
is "its last slot" "$(say up 3 1 | cut -d' ' -f2)" 10.90.0.4
ok "its guest runs" say guest 1
ok "and answers" say send 10.90.0.4
is "and reaches the world" "$(say guestsend 1 198.51.100.2 53)" 198.51.100.1
is "another pool is not heeded while it is up" "$(say init abcd 10.91.0.0/28)" 4
ok "but told" grep -q 'address_pool is not heeded' log
ok "it answers still" say send 10.90.0.4
ok "it goes" say down 1
is "then it is" "$(say init abcd 10.91.0.0/28) $(ip route show type unreachable | cut -d' ' -f2)" "4 10.91.0.0/28"
is "what is no pool is refused" "$(say init abcd 10.91.0.0/29 | cut -d' ' -f1)" err
ok "again" say init abcd 10.91.0.0/28
ok "the end" say end
closed
nft list ruleset >now
is "and no table, nor claim, is left" "$(cat now)$(ip route show type unreachable)" ""

# ---- others' tables -----------------------------------------------------------------------------------

start
ok "alone" say init abcd
is "nothing is in the way" "$(say blocked)" ""
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
ok "a slot" say up 0 1
ok "its guest" say guest 1
for other in docker firewalld; do
	nft -f "$other.nft"
	theirs >$other.before
	say blocked >told
	ok "$other is seen to be in the way" test -s told
	fails "and is" say guestsend 1 198.51.100.2 53
	ok "the host reaches the guest all the same" say send 10.11.0.1
	ok "another slot" say up 1 2
	ok "is made and goes" say down 2
	ok "init again" say init abcd
	theirs >$other.after
	ok "theirs are as they were" cmp $other.before $other.after
	sed "s/.*nft '//; s/'\$//" told | tr ';' '\n' >fix
	ok "what is told is two commands" test "$(grep -c '^ *insert rule' fix)" = 2
	ok "which work" nft -f fix
	is "the guest reaches the world" "$(say guestsend 1 198.51.100.2 53)" 198.51.100.1
	is "and nothing is told" "$(say blocked)" ""
	theirs >$other.after
	nft delete table ip sbxfs-abcd
	theirs >$other.dropped
	ok "ours can be dropped whole" cmp $other.after $other.dropped
	ok "and is made again" say init abcd
	for table in 'ip filter' 'ip nat' 'inet firewalld'; do
		# shellcheck disable=SC2086 # two words
		nft delete table $table 2>/dev/null
	done
	ok "our guest is let in again" say alive 0 1
	say down 1
	say up 0 1 >/dev/null
	say guest 1
done
ok "it goes" say down 1
ok "the end" say end
closed
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
