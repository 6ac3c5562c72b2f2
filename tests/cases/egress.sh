#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# needs: fuse root tcg netns
# timeout: 900
# proves: 14 66
# net/egress: rules at rest and while a guest runs, over pause, clone and a daemon that ends, and with a network that has none.
#
# In a network and a /run of its own; `world` is beyond the host's uplink and serves a page at each of its addresses.
# shellcheck disable=SC2034,SC2317 # variables are read in tests/sbx.sh; functions are called by ok and fails
set -u

if [ -z "${EGRESS_INSIDE:-}" ]; then
	EGRESS_INSIDE=1 exec "$TOP/tests/isolate" bash "$0"
fi
DAEMON_OPTIONS="--accel tcg --storage file --net netns"
# shellcheck source=tests/tap.sh
. "$TOP/tests/tap.sh"
# shellcheck source=tests/sbx.sh
. "$TOP/tests/sbx.sh"
mount -t tmpfs tmpfs /run

egress() { # NAME TEXT: write it, and print the reply's error if there is one
	"$helper_write" -q "$M/$1/net/egress" "$2"
}
rules() { # NAME: without counts
	sed 's/ packets=.*//' "$M/$1/net/egress" | paste -sd';'
}
reaches() { # NAME ADDRESS
	sh_in "$1" "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | timeout 5 nc $2 80 | tr -d '\\r' | tail -n 1" | grep -qx here
}
counted() { # NAME RULE
	grep -q "^$2 packets=[1-9]" "$M/$1/net/egress"
}
start() { # NAME
	ctl "$1" "start timeout=280"
}

ip netns add world
ip link add uplink type veth peer name eth0 netns world
ip addr add 198.51.100.1/24 dev uplink
ip addr add 192.168.77.1/24 dev uplink
ip link set uplink up
for i in 2 3 4; do ip -n world addr add 198.51.100.$i/24 dev eth0; done
ip -n world addr add 192.168.77.2/24 dev eth0
ip -n world link set lo up
ip -n world link set eth0 up
ip -n world route add default via 198.51.100.1
mkdir page
echo here >page/index.html
ip netns exec world busybox httpd -f -p 80 -h page &
at_end "kill $!"
ok "the world serves" wait_for 20 busybox wget -q -O /dev/null http://198.51.100.2/

# ---- at rest ------------------------------------------------------------------------------------------

daemon a
ok "a template" import default
mkdir "$M/one" "$M/two"
is "the default" "$(cat "$M/one/net/egress")" "policy allow packets=0 bytes=0"
is "rules at rest" "$(egress one $'policy deny\nallow 198.51.100.2/32\nallow 198.51.100.3:81\n# a word\nallow-name WWW.example.com.\n')" ok
is "are there" "$(rules one)" "policy deny;allow 198.51.100.2;allow 198.51.100.3:81;allow-name www.example.com"
is "and in the settings" "$(sed -n '/^# defaults/q; s/^egress=//p' "$M/one/config")" \
	"policy deny; allow 198.51.100.2; allow 198.51.100.3:81; allow-name www.example.com"
is "a rule takes another's place" "$(egress one "deny 198.51.100.3:81")" ok
is "where that was" "$(rules one)" "policy deny;allow 198.51.100.2;deny 198.51.100.3:81;allow-name www.example.com"
is "one is removed" "$(egress one "remove deny 198.51.100.3:81")" ok
is "but only once" "$(egress one "remove deny 198.51.100.3:81")" ENOENT
is "and as it reads" "$(egress one "remove deny 198.51.100.2")" ENOENT
is "a policy is not" "$(egress one "remove policy deny")" EINVAL
for line in "allow" "allow 1.2.3.4/8" "allow a.b" "allow-name 1.2.3.4" "permit 1.2.3.4" "policy" "reset all" \
	"allow '1.2.3.4; deny 2.3.4.5'"; do
	is "bad: $line" "$(egress one "$line")" EINVAL
done
is "the settings say what is bad too" "$(errno one "set egress=allow")" EINVAL
is "nothing has changed" "$(rules one)" "policy deny;allow 198.51.100.2;allow-name www.example.com"
cat "$M/one/net/egress" >as-read
ok "what is read may be written" cp as-read "$M/two/net/egress"
is "to another" "$(rules two)" "$(rules one)"
is "reset" "$(egress two reset)" ok
is "is the default" "$(cat "$M/two/net/egress")" "policy allow packets=0 bytes=0"
is "the whole by a setting" "$(errno two 'set egress="policy deny;allow 198.51.100.2"')" ok
is "reads as rules" "$(rules two)" "policy deny;allow 198.51.100.2"
is "back" "$(errno two "unset egress")" ok

# ---- while it runs ------------------------------------------------------------------------------------

ok "start" start one
ok "what is allowed is reached" reaches one 198.51.100.2
fails "what is not is not" reaches one 198.51.100.3
ok "the file counts what was let through" wait_for 30 counted one "allow 198.51.100.2"
ok "and what was not" wait_for 30 counted one "policy deny"
is "allowed while it runs" "$(egress one "allow 198.51.100.3")" ok
ok "it is reached" reaches one 198.51.100.3
is "and no longer" "$(egress one "remove allow 198.51.100.3")" ok
fails "is it" reaches one 198.51.100.3
fails "what is closed is not reached" reaches one 192.168.77.2
is "until it is opened" "$(egress one "allow 192.168.77.0/24")" ok
ok "and is" reaches one 192.168.77.2
is "by a setting" "$(errno one 'set egress="policy allow;deny 198.51.100.2"')" ok
ok "it is the other way round" reaches one 198.51.100.3
fails "at once" reaches one 198.51.100.2
is "frozen" "$(errno one freeze)" ok
is "it takes rules" "$(egress one $'policy deny\nremove deny 198.51.100.2\nallow 198.51.100.2\n')" ok
is "thawed" "$(errno one thaw)" ok
ok "has them" reaches one 198.51.100.2
fails "all" reaches one 198.51.100.3
is "a policy alone" "$(errno one 'set egress="policy deny"')" ok
fails "denies" reaches one 198.51.100.2
ok "and is counted" wait_for 30 counted one "policy deny"
is "a rule beside it" "$(egress one "allow 198.51.100.2")" ok
ok "leaves what has been counted" counted one "policy deny"

# ---- pause, clone, a daemon that ends -----------------------------------------------------------------

ok "a clone" ctl one "clone three timeout=280"
is "has the rules" "$(rules three)" "policy deny;allow 198.51.100.2"
ok "reaches by them" reaches three 198.51.100.2
fails "and not without" reaches three 198.51.100.3
ok "pause" ctl one "pause timeout=280"
is "paused, it takes a rule" "$(egress one "allow 198.51.100.4")" ok
ok "resume" ctl one "resume timeout=280"
ok "the old one holds" reaches one 198.51.100.2
ok "the new one too" reaches one 198.51.100.4
fails "and the policy" reaches one 198.51.100.3
kill -KILL "$P"
ok "kill -9 of the daemon" daemon_end a
daemon a
ok "it runs" wait_for 120 in_state one running
is "the rules are there" "$(rules one)" "policy deny;allow 198.51.100.2;allow 198.51.100.4"
ok "and hold" reaches one 198.51.100.2
fails "and deny" reaches one 198.51.100.3
is "they change" "$(egress one "reset")" ok
ok "as before" reaches one 198.51.100.3
ok "stop" ctl one stop
is "nothing is counted of it" "$(cat "$M/one/net/egress")" "policy allow packets=0 bytes=0"
is "all go" "$(host_errno "destroy one two three")" ok
is "nothing is left open" "$(nft list ruleset | grep -c 'sbx.* \. [0-9]')" 0
is "the end" "$(host_errno shutdown)" ok
ok "has come" daemon_end a

# ---- a network that cannot ----------------------------------------------------------------------------

DAEMON_OPTIONS="--accel tcg --storage file --net user"
daemon b
ok "a template" import default
mkdir "$M/one"
is "rules are kept" "$(egress one "policy deny")" ok
is "but not started without" "$(errno one start)" EOPNOTSUPP
ok "it says what it takes" grep -q 'last_error=.*--net netns' "$M/one/status"
is "without rules" "$(egress one "reset")" ok
ok "it starts" start one
is "and takes none" "$(egress one "deny 198.51.100.2")" EOPNOTSUPP
is "which is as before" "$(rules one)" "policy allow"
is "in the settings too" "$(sed -n '/^# defaults/q; s/^egress=//p' "$M/one/config")" ""
is "the end" "$(host_errno "shutdown stop")" ok
ok "has come" daemon_end b
finish
