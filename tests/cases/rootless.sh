#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/cases/rootless.sh - a daemon of an ordinary user: user networking, a store of files, no privilege
# needs: fuse tcg
# proves: 61 62 75
# shellcheck disable=SC2016 # what stands in '…' is for another shell
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
ok "freeze" ctl one freeze
ok "thaw" ctl one thaw
ok "kill" ctl one kill
ok "start" ctl one start
is "it is kept" "$(sh_in one 'cat /kept')" kept
ok "stop of both" host "stop one two"
ok "destroy of both" host "destroy one two"
ok "nothing is left" leak_check
is "shutdown" "$(host_errno shutdown)" ok
ok "the daemon ends" daemon_end a
finish
