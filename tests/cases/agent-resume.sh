#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/cases/agent-resume.sh - what the agent does to a guest before its memory is saved, and when it goes on
# needs: fuse root tcg
# proves: 70
#
# Nothing is saved here: the agent is told what its host would tell it, also what no host of ours does.
# shellcheck disable=SC2016 # what stands in '…' is for another shell
# shellcheck disable=SC2034 # the variables are read in tests/sbx.sh
set -u
# shellcheck source=tests/tap.sh
. "$TOP/tests/tap.sh"
# shellcheck source=tests/sbx.sh
. "$TOP/tests/sbx.sh"

# post PATH JSON: the status of the agent's answer. One request on a connection of its own.
post() {
	timeout 60 bash -c 'exec 3<>"/dev/tcp/$1/49983" && printf "POST %s HTTP/1.1\r\nHost: x\r\nX-Access-Token: %s\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" "$2" "$4" "${#3}" "$3" >&3 &&
		IFS=" " read -r _ status _ <&3 && echo "$status"' bash "$(cat "$M/web1/net/address")" "$1" "$2" "$(cat "$M/web1/token")"
}
init() { # MEMBERS
	[ "$(post /init "{$1}")" = 204 ]
}
dir() {
	echo "$S/sandboxes/$((16#$(status web1 id | sed 's/.*-//')))"
}
said() { # TEXT: lines of the console with it
	tr -d '\0' <"$(dir)/console.log" | grep -c "$1"
}
year() {
	sh_in web1 'date -u +%Y'
}
seed=$(head -c 64 /dev/urandom | base64 -w 0)
id=0123456789abcdef0123456789abcdef

daemon a
ok "a template" import default
ok "a sandbox" host "create web1 memory_mb=160 disk_mb=128 start"

# ---- the clock ---------------------------------------------------------------------------------------------

ok "a guest that has stood still is set back by years" init '"resumed":true,"lifecycleID":"a","timestamp":"2021-05-06T07:08:09Z"'
is "at once" "$(year)" 2021
ok "and by less than anybody would notice" init '"resumed":true,"lifecycleID":"b","timestamp":"2021-05-06T07:08:09Z"'
is "to the second" "$(sh_in web1 'date -u +%H:%M' | sed 's/07:08/right/')" right
ok "one that has not keeps what is a little ahead" init '"timestamp":"2021-05-06T07:08:10Z"'
spawn web1 'exec timeout=60 for i in 1 2 3 4; do sleep 1; echo $i; done'
loop=$W
sleep 1
ok "a jump of the clock" init '"timestamp":"2061-05-06T07:08:09Z"'
is "is made" "$(year)" 2061
is "times out nobody" "$(answer "$loop")" ok
ok "an older repeat" init '"timestamp":"2031-05-06T07:08:09Z"'
is "changes nothing" "$(year)" 2061
ok "nor does one of the same going on" init '"resumed":true,"lifecycleID":"b","timestamp":"2031-05-06T07:08:09Z"'
is "the year is what it was" "$(year)" 2061
ok "the next going on counts" init "\"resumed\":true,\"lifecycleID\":\"c\",\"timestamp\":\"$(date -u +%FT%TZ)\""
is "it is today" "$(year)" "$(date -u +%Y)"

# ---- who it is ----------------------------------------------------------------------------------------------

ok "a guest with another's machine id" sh_in web1 'mkdir -p /var/lib/dbus; echo ffffffffffffffffffffffffffffffff | tee /etc/machine-id >/var/lib/dbus/machine-id'
ok "is told its own, its name, and random numbers" init "\"resumed\":true,\"machineId\":\"$id\",\"hostname\":\"clone\",\"entropy\":\"$seed\""
is "has them" "$(sh_in web1 'cat /etc/machine-id /var/lib/dbus/machine-id /etc/hostname; hostname; grep -c clone /etc/hosts' | tr '\n' ' ')" "$id $id clone clone 1 "
ok "where one is a link to the other" sh_in web1 'ln -sf /etc/machine-id /var/lib/dbus/machine-id'
ok "told again" init "\"machineId\":\"${id/0/f}\""
is "it stays one" "$(sh_in web1 'readlink /var/lib/dbus/machine-id; cat /var/lib/dbus/machine-id; ls -A /etc /var/lib/dbus | grep -c sbxfs' | tr '\n' ' ')" "/etc/machine-id ${id/0/f} 0 "
ok "on a root that is read-only" sh_in web1 'rm /var/lib/dbus/machine-id; mount -o remount,ro /'
ok "it is passed over" init "\"machineId\":\"$id\""
is "in silence" "$(said 'cannot write /etc/machine-id') $(said 'cannot renew')" "0 0"
ok "writable again" sh_in web1 'mount -o remount,rw /'

# ---- what is alive ------------------------------------------------------------------------------------------

spawn web1 'exec timeout=100 echo >/begun; sleep 4; echo >/survived'
lost=$W
ok "a command" wait_for 10 sh_in web1 'test -e /begun'
ok "a guest that goes on" init '"resumed":true'
is "drops the connections of before" "$(answer "$lost")" EHOSTDOWN
ok "its processes go on" wait_for 20 sh_in web1 'test -e /survived'

# ---- made small ---------------------------------------------------------------------------------------------

ok "caches full, and room on the disk that was used" sh_in web1 'dd if=/dev/urandom of=/big bs=1M count=30 2>/dev/null; dd if=/dev/urandom of=/kept bs=1M count=30 2>/dev/null; sync; rm /big; sha256sum /kept >/kept.sum'
cached=$(sh_in web1 'awk "/^Cached/ { print \$2 }" /proc/meminfo')
disk=$(du -sk "$(dir)" | cut -f1)
began=$(date +%s%N)
is "prepare" "$(post /snapshot/prepare '{"limit_ms":30000}')" 204
echo "# took $((($(date +%s%N) - began) / 1000000)) ms"
after=$(sh_in web1 'awk "/^Cached/ { print \$2 }" /proc/meminfo')
less=$(du -sk "$(dir)" | cut -f1)
echo "# cached KiB before and after: $cached $after; disk KiB: $disk $less"
ok "caches are gone" test "$((cached - after))" -gt 25000
ok "the disk has given back what was free" test "$((disk - less))" -gt 25000
ok "files are whole" sh_in web1 'sha256sum -c /kept.sum'
is "nothing took too long" "$(said 'took too long')" 0
ok "kill" ctl web1 kill
finish
