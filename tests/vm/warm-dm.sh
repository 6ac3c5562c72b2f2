#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/vm/warm-dm.sh - first starts from an image of memory, with KVM and a device-mapper store; and commit full
# needs: root dm kvm fuse
# timeout: 1500
# proves: 8 56 65 69
# shellcheck disable=SC2016,SC2317 # what stands in '…' is for another shell; functions are called by name
# shellcheck disable=SC2034 # the variables are read in tests/sbx.sh
set -u
printf 'disk_reserve_mb=16\nwarm=auto\n' >warm.conf
DAEMON_CONFIG=$PWD/warm.conf
DAEMON_OPTIONS="--accel kvm --storage dm"
# shellcheck source=tests/tap.sh
. "$TOP/tests/tap.sh"
# shellcheck source=tests/sbx.sh
. "$TOP/tests/sbx.sh"

tstatus() { # KEY: of the template
	sed -n "s/^$1=//p" "$M/.templates/default/status"
}
warm_is() { # WORD
	[ "$(tstatus warm)" = "$1" ]
}
digest() { # TEMPLATE
	(cd "$S/templates/$1/versions/$(sed -n 's/^digest=//p' "$M/.templates/$1/status")/memory" &&
		find . -type f | LC_ALL=C sort | xargs sha256sum | sha256sum)
}
life() { # NAME: which boot of which guest it comes from: where its first process has its stack
	sh_in "$1" 'grep -F "[stack]" /proc/1/maps | cut -d - -f 1'
}
make() { # NAME [SETTING…]
	mkdir "$M/$1"
	[ $# = 1 ] || ctl "$1" "set ${*:2}" >/dev/null
	ctl "$1" "start timeout=280"
}

daemon a
is "accel" "$(sed -n 's/^accel=//p' "$M/.status")" kvm
is "import" "$(import default)" ok
is "settings" "$(ctl .templates/default 'set memory_mb=192 disk_mb=64')" ok
is "the first start" "$(make one)" ok
ok "an image is made" wait_for 400 warm_is ready
before=$(digest default)
is "two more" "$(make two) $(make three)" "ok ok"
is "are of one boot" "$(life two)" "$(life three)"
ok "and not of the first one's" test "$(life two)" != "$(life one)"
is "tokens" "$(cat "$M"/{one,two,three}/token | sort -u | wc -l)" 3
is "machine ids" "$(for n in two three; do sh_in $n 'cat /etc/machine-id'; done | sort -u | wc -l)" 2
is "random numbers" "$(for n in two three; do sh_in $n 'head -c 16 /dev/urandom | od -An -tx1'; done | sort -u | wc -l)" 2
is "disks" "$(sh_in two 'echo 2 >/mine; sync; cat /mine') $(sh_in three 'cat /mine 2>/dev/null; echo none')" "2 none"
is "a balloon" "$(errno two 'balloon 64') $(errno two 'balloon 0')" "ok ok"
is "the image has not changed" "$(digest default)" "$before"
is "stop and start" "$(ctl two stop) $(ctl two 'start timeout=280')" "ok ok"
is "with what it had written" "$(sh_in two 'cat /mine')" 2
is "pause and resume" "$(ctl three pause) $(ctl three 'resume timeout=280')" "ok ok"
is "another size boots" "$(make four memory_mb=160)" ok
ok "by itself" test "$(life four)" != "$(life three)"
is "destroy" "$(ctl four destroy) $(ctl two destroy)" "ok ok"

ok "something to find again" sh_in three 'mount -t tmpfs none /mnt; echo memory >/mnt/m; echo disk >/d; sync'
is "commit full" "$(ctl three 'snapshot commit full full' | sed 's/@.*//' | paste -sd ' ')" "ok full"
is "a sandbox of that" "$(make five template=full)" ok
is "goes on" "$(sh_in five 'cat /mnt/m /d' | paste -sd ' ') $([ "$(life five)" = "$(life three)" ] && echo same)" "memory disk same"
is "with another size" "$(make six template=full memory_mb=160)" ok
is "it boots from the disk" "$(sh_in six 'cat /mnt/m 2>/dev/null; cat /d')" disk
for name in one three five six; do
	is "destroy $name" "$(ctl $name destroy)" ok
done
ok "the templates go" rmdir "$M/.templates/full" "$M/.templates/default"
finish
