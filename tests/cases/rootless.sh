#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/cases/rootless.sh - a daemon of an ordinary user: user networking, a store of files, no privilege
# needs: fuse tcg
# proves: 61 62 75
# shellcheck disable=SC2016,SC2317 # what stands in '…' is for another shell; functions are called by name
set -u
# shellcheck source=tests/tap.sh
. "$TOP/tests/tap.sh"
# shellcheck source=tests/sbx.sh
. "$TOP/tests/sbx.sh"

NOBODY=65534

if [ "$(id -u)" = 0 ]; then
	TEMPLATE=$(template_dir) || exit 1
	export TEMPLATE TMPDIR=$PWD/own HOME=$PWD/own
	mkdir own
	chown $NOBODY:$NOBODY own
	chmod 755 .
	cd own || exit 1
	unset XDG_RUNTIME_DIR XDG_STATE_HOME
	mknod "$OLDPWD/fuse" c 10 229
	chmod 666 "$OLDPWD/fuse"
	# Not every machine lets its users open the device.
	unshare --mount -- sh -c 'mount --bind "$1" /dev/fuse && exec setpriv --reuid "$2" --regid "$2" --clear-groups \
		--inh-caps=-all -- bash "$3"' - "$OLDPWD/fuse" $NOBODY "$0"
	inside=$?
	tap_at_end=
	exit $inside
fi

daemon a
is "what it chose" "$(sed -n 's/^\(network\|storage\)=//p' "$M/.status" | tr '\n' ' ')" "file user "
ok "a template" import default
leak_mark
ok "two sandboxes run" host "create one memory_mb=96 start"
ok "side by side" host "create two memory_mb=96 start"
is "each answers for itself" "$(sh_in one hostname)$(sh_in two hostname)" onetwo
is "their processes are the user's" "$(stat -c %u "/proc/$(status one pid)" "/proc/$(status two pid)" | tr '\n' ' ')" "$(id -u) $(id -u) "
ok "data" sh_in one 'echo kept >/kept; sync'
# Ports that nobody has at this moment.
free_port() {
	comm -23 <(seq "$1" 1 $(($1 + 2000)) | sort) <(ss -Hlnut | sed 's/.*:\([0-9]*\) .*/\1/' | sort -u) | shuf -n 1
}
answers() { # WANTED ADDRESS PORT
	[ "$(curl -s -m 5 "http://$2:$3/")" = "$1" ]
}
p=$(free_port 20001) q=$(free_port 22002)
ok "a web server in one" sh_in one 'mkdir /www; echo one >/www/index.html; sync; httpd -h /www'
echo "$p:80" >"$M/one/net/ports"
is "a port leads to it" "$(cat "$M/one/net/ports")" "$p:80/tcp"
ok "at once" wait_for 60 answers one 127.0.0.1 "$p"
is "of root alone it may not be" "$("$helper_write" -q "$M/one/net/ports" "80:80")" EACCES
is "nor another's" "$("$helper_write" -q "$M/two/net/ports" "127.0.0.1:$p:80")" EADDRINUSE
socat "TCP-LISTEN:$q,fork,reuseaddr" SYSTEM:'echo host' &
program=$!
at_end "kill $program 2>/dev/null"
wait_for 10 sh -c "ss -Hltn | grep -q :$q"
is "nor a program's" "$("$helper_write" -q "$M/two/net/ports" "$q:80")" EADDRINUSE
is "which changes nothing" "$(cat "$M/two/net/ports")" ""
kill $program
ok "freeze" ctl one freeze
ok "thaw" ctl one thaw
ok "kill" ctl one kill
ok "start" ctl one start
is "it is kept" "$(sh_in one 'cat /kept')" kept
ok "the web server again" sh_in one 'httpd -h /www'
ok "the port leads to it again" wait_for 60 answers one 127.0.0.1 "$p"
ok "pause" ctl one pause
fails "to nobody" answers one 127.0.0.1 "$p"
ok "resume" ctl one resume
ok "to the guest that went on" wait_for 60 answers one 127.0.0.1 "$p"
kill -9 "$P"
wait "$P" 2>/dev/null
fusermount3 -uz a/m
daemon a
sed -i "s/^process [0-9]* sbxfs/process $P sbxfs/" leak.before
ok "it goes on without the daemon" wait_for 60 in_state one running
ok "and is reached" wait_for 60 answers one 127.0.0.1 "$p"
echo "remove $p" >"$M/one/net/ports"
fails "no longer" answers one 127.0.0.1 "$p"
is "a limit it has not" "$(errno one 'set net_bps=100000')" EOPNOTSUPP
is "and does not take" "$(sed -n 's/^net_bps=//p' "$M/one/config")" 0
ok "stop of both" host "stop one two"
ok "destroy of both" host "destroy one two"
ok "nothing is left" leak_check
is "shutdown" "$(host_errno shutdown)" ok
ok "the daemon ends" daemon_end a
finish
