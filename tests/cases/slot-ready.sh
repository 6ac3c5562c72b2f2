#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/cases/slot-ready.sh - a daemon with ready network slots: starts take them, a dead daemon's are swept, prune, address_pool
# needs: root fuse tcg netns
# timeout: 600
# proves: 3 5 14 29 66
# shellcheck disable=SC2016,SC2317 # what stands in '…' is for the guest; functions are called by name
set -u
DAEMON_OPTIONS="${DAEMON_OPTIONS:---accel tcg --storage file} --net netns"
# shellcheck source=tests/tap.sh
. "$TOP/tests/tap.sh"
# shellcheck source=tests/sbx.sh
. "$TOP/tests/sbx.sh"
sed '/^slots_ready=/d' "$TOP/tests/sbxfs.conf" >ready.conf
echo slots_ready=2 >>ready.conf
DAEMON_CONFIG=$PWD/ready.conf

value() { # KEY: of .status
	sed -n "s/^$1=//p" "$M/.status"
}

slots() { # USED READY DIRTY: is it so?
	[ "$(value slots_used) $(value slots_ready) $(value slots_dirty)" = "$1 $2 $3" ]
}

soon() { # NAME COMMAND…
	local name=$1
	shift
	ok "$name" wait_for 60 "$@" || grep '^slots' "$M/.status"
}

pruned() {
	host prune | grep -v '^ok$'
}

spaces() { # namespaces of this daemon
	find /run/netns -mindepth 1 -name "sbx$(cat "$S/instance")*" -printf '%f\n' | sort
}

daemon a
ok "a template" import default
ok "defined" host "create one memory_mb=96"
ok "another" host "create two memory_mb=96"
soon "two slots are made ahead" slots 0 2 0
spaces >spaces.ready
is "in the kernel" "$(wc -l <spaces.ready)" 2
ok "a start" ctl one start
is "takes one of them" "$(grep -cx "$(basename "$(cat "$M/one/net/netns")")" spaces.ready)" 1
soon "another is made behind it" slots 1 2 0
is "it answers" "$(sh_in one 'echo $((6 * 7))')" 42
ok "the other starts" ctl two start
soon "two are ready again" slots 2 2 0
ok "stop" ctl two stop
soon "its slot goes behind it" slots 1 2 0
is "what is there is known" "$(spaces | wc -l)" 3

# ---- prune -----------------------------------------------------------------------------------------------

is "there is nothing to prune" "$(pruned | tr '\n' ' ')" "processes 0 network 0 disks 0 files 0 "
inst=$(cat "$S/instance")
ip link add "sbx${inst}zzz" type veth peer name "sbxpeer$inst"
ip link set "sbx${inst}zzz" alias "sbxfs/$inst/$((35 * 36 * 36 + 35 * 36 + 35))"
mkdir "/run/sbxfs-$inst/fff0"
is "what is nobody's is removed" "$(pruned | tr '\n' ' ')" "processes 0 network 1 disks 0 files 1 "
fails "the link" ip link show "sbx${inst}zzz"
fails "the directory" test -e "/run/sbxfs-$inst/fff0"
for i in 1 2 3 4 5; do mkdir "/run/sbxfs-$inst/fff$i"; done
mkdir "/run/sbxfs-$inst/fff3/in"
mount -t tmpfs tmpfs "/run/sbxfs-$inst/fff3/in"
fails "what does not go is told of" test "$(host_errno prune)" = ok
is "and keeps nobody from removing the rest" "$(cd "/run/sbxfs-$inst" && echo fff*)" fff3
umount "/run/sbxfs-$inst/fff3/in"
ok "it goes when it can" sh -c "grep -qx 'files 1'" < <(pruned)
is "and nothing else" "$(spaces | wc -l) $(sh_in one 'echo here')" "3 here"
ok "starts go on while it prunes" host "create many memory_mb=96"
spawn many start
for _ in 1 2 3 4 5 6 7 8; do pruned; done >lines
is "and are not touched" "$(answer "$W") $(sort -u lines | tr '\n' ' ')" "ok disks 0 files 0 network 0 processes 0 "
ok "destroy" ctl many destroy

# ---- a daemon that dies ----------------------------------------------------------------------------------

soon "two are ready" slots 1 2 0
spaces >spaces.before
own=$(basename "$(cat "$M/one/net/netns")")
kill -KILL "$P"
ok "killed" daemon_end a
is "all are there" "$(spaces | diff spaces.before - && echo same)" same
daemon a
ok "the sandbox goes on" wait_for 60 in_state one running
is "in its slot" "$(basename "$(cat "$M/one/net/netns")")" "$own"
is "and answers" "$(sh_in one 'echo $((6 * 7))')" 42
soon "two are made anew" slots 1 2 0
is "the old ones are gone" "$(spaces | grep -xFf spaces.before)" "$own"
ok "it stops" ctl one stop
soon "and its slot goes" slots 0 2 0
ok "it starts" ctl one start
pid=$(status one pid)
kill -KILL "$P" "$pid"
ok "killed with its guest" daemon_end a
daemon a
ok "it is down" ctl one "wait stopped,error timeout=60"
soon "nothing is left of it" slots 0 2 0
is "two are there" "$(spaces | wc -l)" 2
ok "destroy" host "destroy one two"
ok "shutdown" test "$(host_errno shutdown)" = ok
ok "it ends" daemon_end a
is "with no slot left" "$(spaces)" ""
fails "nor a table" nft list table ip "sbxfs-$inst"
fails "nor a claim" grep -q . < <(ip route show type unreachable)

# ---- address_pool ----------------------------------------------------------------------------------------

ip link add "sbxr$inst" type veth peer name "sbxs$inst"
at_end "ip link del sbxr$inst 2>/dev/null"
ip link set "sbxr$inst" up
ip route add 10.90.3.0/24 dev "sbxr$inst"
echo address_pool=10.90.0.0/20 >>ready.conf
ok "a pool that overlaps a route: the daemon says which" sh -c 'timeout 60 "$@" 2>&1 | grep -q "10\.90\.3\.0/24"' - \
	"$B/sbxfs" -f --config ready.conf --accel tcg --storage file --net netns --state-dir "$S" "$M"
DAEMON_OPTIONS="--accel tcg --storage file" daemon a
is "without a wish for netns it takes the other network" "$(value network)" user
ok "and says why" grep -q '^network_why=.*netns: no: .*10\.90\.3\.0/24' "$M/.status"
ok "shutdown" test "$(host_errno shutdown)" = ok
ok "it ends" daemon_end a
ip link del "sbxr$inst"
daemon a
is "with a free one" "$(value network) $(value slots_total)" "netns 1024"
ok "a sandbox" host "create three memory_mb=96 start"
ok "has an address of it" grep -q '^host_ip=10\.90\.' "$M/three/status"
is "and answers" "$(sh_in three 'echo here')" here
ok "shutdown" test "$(host_errno shutdown)" = ok
ok "it ends" daemon_end a
is "with nothing left" "$(spaces)" ""
finish
