#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/cases/grow.sh - disk_mb is the size of the guest's own root file system, from its first start on
# needs: fuse tcg
# timeout: 300
# proves: 65
# shellcheck disable=SC2016 # what stands in '…' is for the guest's shell
set -u
# shellcheck source=tests/tap.sh
. "$TOP/tests/tap.sh"
# shellcheck source=tests/sbx.sh
. "$TOP/tests/sbx.sh"

# MiB of its root file system; what the inodes and the journal take is not in it.
df_mib() { # NAME
	sh_in "$1" 'df -m / | tail -n 1' | awk '{ print $2 }'
}
has_about() { # NAME MIB: at least 90 % of it, which no smaller size here has
	local got
	got=$(df_mib "$1")
	echo "$got MiB"
	[ "$got" -ge $(($2 * 9 / 10)) ] && [ "$got" -le "$2" ]
}
sum() { # NAME
	sh_in "$1" 'sha256sum </root/data' | cut -c1-64
}
folder() { # NAME: below the state directory; ids are INSTANCE-SERIAL, hexadecimal
	local id
	id=$(status "$1" id)
	echo "$S/sandboxes/$((16#${id#*-}))"
}
clean() { # NAME: what its disk holds while it is stopped
	local data
	data=$(find "$(folder "$1")" -maxdepth 1 -name 'disk.*')
	case $data in
	*.qcow2) qemu-img convert -O raw "$data" flat ;;
	*) cp --sparse=always "$data" flat ;;
	esac && e2fsck -fn flat
}

daemon a
is "import of a template of 16 MiB" "$(import default)" ok

mkdir "$M/a" "$M/b"
is "start without a word about its size" "$(ctl a start)" ok
ok "its file system is as large as the default disk when start returns" has_about a 5120
is "a size of its own" "$(ctl b "set disk_mb=64")" ok
is "start" "$(ctl b start)" ok
ok "the file system has that size" has_about b 64
is "no more than that is written for it" "$(($(du -sk "$(folder a)" | cut -f 1) < 4096))" 1
is "nothing is left for a later moment" "$(sh_in b 'grep -c noinit_itable /proc/mounts')" 1
ok "data that the template's own size would not hold" \
	sh_in b 'dd if=/dev/urandom of=/root/data bs=1M count=32 2>/dev/null && sync'
before=$(sum b)

is "stop" "$(ctl b stop)" ok
ok "what it leaves is clean" clean b
is "a larger one" "$(ctl b "set disk_mb=20000")" ok
is "start again" "$(ctl b start)" ok
ok "it has grown once more, farther than its tables had room for" has_about b 20000
is "and its data is the same" "$(sum b)" "$before"
ok "data in what is new" sh_in b 'dd if=/dev/zero bs=1M count=100 2>/dev/null | tr "\0" x >/root/more && sync'
is "stop it again" "$(ctl b stop)" ok
ok "that is clean, too" clean b

is "a smaller one can be said" "$(ctl b "set disk_mb=64")" ok
is "start is refused" "$(errno b start)" EINVAL
is "the reply says what it needs" "$(ctl b start | grep -c 'disk_mb=64 is less than the 20000')" 1
is "it is as it was" "$(state b)" stopped
is "larger than what it has" "$(ctl b "set disk_mb=20001")" ok
is "starts" "$(ctl b start)" ok
is "with all its data" "$(sum b) $(sh_in b 'wc -c </root/more')" "$before 104857600"
is "a smaller one while it runs" "$(ctl b "set disk_mb=64" | head -n 1)" ok
is "restart is refused" "$(errno b restart)" EINVAL
is "before it is stopped" "$(state b)" running
is "what it has" "$(ctl b "set disk_mb=20001" | head -n 1)" ok

# A start that ends in the middle of it, wherever that is.
mkdir "$M/c"
for after in 0.8 1.1 1.4 1.7; do
	spawn c start
	sleep "$after" # a moment of the boot, not an event to wait for
	pid=$(status c pid)
	[ -z "$pid" ] || kill -KILL "$pid"
	answer $W >/dev/null
	wait_for 20 in_state c stopped || [ "$(state c)" = created ] || ctl c stop >/dev/null
done
is "after starts that were cut short" "$(ctl c start)" ok
ok "the file system is whole and large" has_about c 5120
is "stop that" "$(ctl c stop)" ok
ok "and clean" clean c
finish
