# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/slots.sh - network slots without a daemon, for cases in a network and a /run of their own; reads tests/tap.sh, and begins the case anew in there
#
#   start NAME              a helper (tests/vm/helper-slot), spoken to with `say`; its pid in ${pid[NAME]}, what it logs in ./NAME.log
#   say NAME COMMAND…       its answer without the "ok"; false when that is "err"
#   closed NAME, killed NAME
#                           let go of it, or kill it, and wait for its end
#   world "ADDRESS…" "ADDRESS…"
#                           a namespace of that name beyond the host's link `uplink`: the host's addresses there and its own, each of a /24
#   guest SERIAL NAMESPACE  a namespace behind the tap of a slot of helper `a`, as a guest would be
#   inventory               everything a slot could leave, with its content and not only its name; same NAME FILE: it is as FILE says
# shellcheck disable=SC2034 # variables for the cases

if [ -z "${SLOT_INSIDE:-}" ]; then
	SLOT_INSIDE=1 exec "$TOP/tests/isolate" bash "$0"
fi
# shellcheck source=tests/tap.sh
. "$TOP/tests/tap.sh"
helper=$B/tests/vm/helper-slot
mount -t tmpfs tmpfs /run

declare -A to from pid
start() {
	mkfifo "$1.in" "$1.out"
	"$helper" <"$1.in" >"$1.out" 2>>"$1.log" &
	pid[$1]=$!
	exec {fd}>"$1.in"
	to[$1]=$fd
	exec {fd}<"$1.out"
	from[$1]=$fd
	rm "$1.in" "$1.out"
}
closed() {
	local in=${to[$1]} out=${from[$1]}
	exec {in}>&- {out}<&-
	wait "${pid[$1]}" 2>/dev/null
}
killed() {
	kill -9 "${pid[$1]}"
	closed "$1"
}
say() {
	local name=$1 answer
	shift
	echo "$*" >&"${to[$name]}"
	read -t 60 -r answer <&"${from[$name]}" || answer="err the helper is gone"
	case $answer in
	"ok "*) echo "${answer#ok }" ;;
	ok) ;;
	*)
		echo "$answer"
		return 1
		;;
	esac
}

world() {
	local address
	ip netns add world
	ip link add uplink type veth peer name eth0 netns world
	for address in $1; do ip addr add "$address/24" dev uplink; done
	ip link set uplink up
	for address in $2; do ip -n world addr add "$address/24" dev eth0; done
	ip -n world link set eth0 up
	ip -n world link set lo up
}
guest() {
	ip netns add "$2" 2>/dev/null
	say a guestns "$1" "/run/netns/$2" || return
	ip -n "$2" link set eth0 address 02:fc:00:00:00:05
	ip -n "$2" addr add 169.254.0.21/30 dev eth0
	ip -n "$2" link set eth0 up
	ip -n "$2" link set lo up
	ip -n "$2" route add default via 169.254.0.22
}

inventory() {
	ip -o link | sed 's/^[0-9]*: //; s/@[^:]*//' | sort
	ip -4 route show table all | sort
	ip -4 -o addr | sed 's/^[0-9]*: //' | sort
	ls /run/netns
	nft list ruleset
	awk '{ print $4, $5 }' /proc/self/mountinfo | grep /run | sort
}
same() {
	inventory >now
	ok "$1" diff "$2" now
}
