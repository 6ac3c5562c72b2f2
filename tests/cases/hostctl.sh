#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/cases/hostctl.sh - .ctl with several sandboxes, many starts at once, other users, the end of the daemon
# needs: root fuse tcg netns alone
# proves: 1 17 25 26 27 28 77 80
# shellcheck disable=SC2016,SC2012 # what stands in '…' is for another shell; the names in listings are our own
set -u
# shellcheck source=tests/tap.sh
. "$TOP/tests/tap.sh"
# shellcheck source=tests/sbx.sh
. "$TOP/tests/sbx.sh"

MANY=64

daemon a
guest_of hang '/bin/busybox echo guest-hangs; while :; do /bin/busybox sleep 1000; done'
ok "a template" import default
ok "one that never answers" import hang "$PWD/hang"

# ---- several at once -------------------------------------------------------------------------------------

leak_mark
ok "create, and start" host "create one memory_mb=96 label.app=ci start"
is "it runs" "$(state one) $(grep -c '^label.app=ci$' "$M/one/config")" "running 1"
is "create of a taken name" "$(host_errno "create one")" EEXIST
is "create of a bad name" "$(host_errno "create .x")" EINVAL
is "create with a bad setting" "$(host_errno "create two memory_mb=x")" EINVAL
fails "makes nothing" test -e "$M/two"
ok "create two" host "create two memory_mb=96 label.app=ci"
ok "create three" host "create three label.app=web"
is "a line for each" "$(host "ping three two" | sort | tr '\n' ' ')" "three ok two ok "
is "by label" "$(host "ping label=app=ci" | sort | tr '\n' ' ')" "one ok two ok "
is "a label that matches nothing: an empty reply" "$(host "ping label=app=none")" ""
is "and no error" "$(host_errno "stop label=app=none")" ok
is "a name that is not there" "$(host_errno "stop one nobody two")" ENOENT
is "is ENOENT before anything runs" "$(state one)" running
host "freeze two one three" >reply
is "two of three are not to be frozen" "$?" 1
is "the write gives the first error by name" "$(host_errno "freeze two one three")" EINVAL
is "all were tried" "$(sed 's/: .*//; /^error/d; /^ok$/d' reply | sort | tr '\n' ' ')" "one ok three error two error "
is "one is frozen" "$(state one)" frozen
is "errors by name: EBUSY of one before EINVAL of others" "$(host_errno "exec one true")" EBUSY
ok "thaw" host "thaw one"
is "exec by name" "$(host "exec one echo here" | tail -n 1)" here
ok "set by label" host "set label=app=ci label.tier=x"
is "both have it" "$(grep -l '^label.tier=x$' "$M"/*/config | wc -l)" 2
ok "stop by label" host "stop label=app=ci"
is "stopped, and the other as it was" "$(state one) $(state two)" "stopped created"
ok "loglevel" host "loglevel debug"
is "no level" "$(host_errno "loglevel loud")" EINVAL
ok "back" host "loglevel info"
ok "destroy of all" host "destroy one two three"
is "gone" "$(ls "$M")" ""
ok "nothing is left" leak_check

# ---- many starts -----------------------------------------------------------------------------------------

for ((i = 1; i <= MANY; i++)); do
	echo "create s$i template=hang memory_mb=96 label.many=1"
done >lines
ok "$MANY sandboxes" host "$(cat lines)
"
leak_mark
spawn . "start label=many=1 timeout=300"
many=$W
in_flight() { # COUNT
	[ "$(grep -l starting "$M"/s*/state | wc -l)" -ge "$1" ]
}
ok "all begin to start" wait_for 60 in_flight $MANY
for _ in 1 2 3; do
	for ((i = 1; i <= MANY; i++)); do
		from=${EPOCHREALTIME/./}
		read -r _ <"$M/s$i/status"
		echo $((${EPOCHREALTIME/./} - from))
	done
done | sort -n >latencies
p99=$(sed -n "$(($(wc -l <latencies) * 99 / 100))p" latencies)
echo "# status while $MANY starts are in flight: median $(sed -n "$(($(wc -l <latencies) / 2))p" latencies) us, p99 $p99 us"
ok "status answers meanwhile: p99 under 100 ms" test "$p99" -lt 100000
ok "so do ls and .status" timeout 5 sh -c 'ls -l "$0" && cat "$0/.status"' "$M"
ok "$MANY at once are shown" test "$(sed -n 's/^starting=//p' "$M/.status")" -ge $MANY
ok "cancel of all" host "cancel label=many=1"
is "the write ends in ECANCELED" "$(answer "$many")" ECANCELED
is "all are as they were" "$(cat "$M"/s*/state | sort | uniq -c | tr -s ' ')" " $MANY created"
ok "nothing is left" leak_check 60
ok "destroy" host "destroy label=many=1"

# ---- other users -----------------------------------------------------------------------------------------

as() { # UID COMMAND…
	setpriv --reuid "$1" --regid "$1" --clear-groups -- "${@:2}"
}

chmod 711 . a
umask 077
mkdir own
cp -r "$(template_dir)" own/t
umask 022
chmod 700 own/t
is "nobody but root makes sandboxes" "$(as 1000 sh -c 'LC_ALL=C mkdir "$0" 2>&1' "$M/his" | sed 's/.*: //')" "Permission denied"
ok "one is made and given away" host "create his memory_mb=96"
ok "chown" chown 1000:1000 "$M/his"
ok "a template" mkdir "$M/.templates/his"
ok "given away" chown 1000:1000 "$M/.templates/his"
is "import of what he cannot read" "$(as 1000 "$helper_write" -q "$M/.templates/his/ctl" "import $PWD/own/t")" EACCES
chmod 755 own own/t
chmod 644 own/t/*
chmod 600 own/t/kernel
is "nor one file of it" "$(as 1000 "$helper_write" -q "$M/.templates/his/ctl" "import $PWD/own/t")" EACCES
chmod 644 own/t/kernel
is "of what he can" "$(as 1000 "$helper_write" -q "$M/.templates/his/ctl" "import $PWD/own/t")" ok
is "the owner starts it" "$(as 1000 "$helper_write" -q "$M/his/ctl" start)" ok
is "and uses it" "$(as 1000 "$helper_write" "$M/his/ctl" 'exec id -u' | tail -n 1)" 0
ok "he reads its token" as 1000 cat "$M/his/token"
is "another does not get in" "$(as 1001 "$helper_write" -q "$M/his/ctl" stop)" "open: EACCES"
fails "nor see it" as 1001 cat "$M/his/state"
fails "nor its list of files" as 1001 ls "$M/his"
ok "chmod by the owner" as 1000 chmod 755 "$M/his"
ok "lets him look" as 1001 cat "$M/his/state"
is "but not command" "$(as 1001 "$helper_write" -q "$M/his/ctl" stop)" "open: EACCES"
fails "nor read the token" as 1001 sh -c 'cat "$0" >/dev/null' "$M/his/token"
fails "nor .ctl" as 1000 sh -c 'echo ping his >"$0"' "$M/.ctl"
is "the owner cannot take the name from root's directory" "$(as 1000 sh -c 'LC_ALL=C rmdir "$0" 2>&1' "$M/his" | sed 's/.*: //')" "Permission denied"
is "but destroy it" "$(as 1000 "$helper_write" -q "$M/his/ctl" destroy)" ok

# ---- the end ---------------------------------------------------------------------------------------------

ok "one to be shut down" host "create one memory_mb=96 start"
pid=$(status one pid)
is "shutdown answers its writer" "$(host_errno shutdown)" ok
ok "when the guests are down" process_is_gone "$pid"
ok "then the daemon ends" daemon_end a
ok "and the mount is gone" sh -c '! grep -q " $0 " /proc/mounts' "$M"
finish
