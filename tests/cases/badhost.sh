#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/cases/badhost.sh - what is missing, full, broken or in the way on the host; and daemons that die
# needs: root fuse tcg netns
# proves: 7 12 25 32 34 35 36 37 40 42 48 59
# shellcheck disable=SC2016,SC2012 # what stands in '…' is for another shell; the names in listings are our own
set -u
# shellcheck source=tests/tap.sh
. "$TOP/tests/tap.sh"
# shellcheck source=tests/sbx.sh
. "$TOP/tests/sbx.sh"

refused() { # NAME TEXT ERRNO PATTERN: with a sentence that says what to do
	ctl "$1" "$2" >reply
	grep -q "^error: $3: .*$4" reply || { cat reply; return 1; }
}

versions() { # TEMPLATE: what its folder holds
	find "$S/templates" -mindepth 2 -printf '%P\n' | grep -v '/record$' | LC_ALL=C sort
}

mkdir tmp

# ---- what is missing -------------------------------------------------------------------------------------

mkdir nothing
for program in fusermount3 true; do
	ln -s "$(command -v $program)" nothing/
done
PATH=$PWD/nothing "$B/sbxfs" -f --state-dir "$PWD/poor/state" --vmm qemu "$PWD/nothing" >refused.log 2>&1
ok "--vmm qemu without QEMU is refused in a sentence" grep -q 'sbxfs: .*qemu' refused.log
DAEMON_PATH=$PWD/nothing DAEMON_OPTIONS="--storage file" daemon poor
ok "mkdir without QEMU" mkdir "$M/web1"
ok "an import without QEMU" import default
ok "a start is ENOTSUP and says what to install" refused web1 start ENOTSUP 'qemu-system-x86'
is "it stays created" "$(state web1)" created
ok "rmdir" rmdir "$M/web1"
ok "shutdown" test "$(host_errno shutdown)" = ok
ok "it ends" daemon_end poor

daemon a
ok "mkdir" host "create web1 memory_mb=96"
ok "no template: ENOENT, and how to make one" refused web1 start ENOENT 'sbx-mktemplate'
ok "templates" import default
ok "more memory than there is" ctl web1 "set memory_mb=$(awk '/MemTotal/ { print int($2 / 1024) }' /proc/meminfo)"
ok "is ENOMEM" refused web1 start ENOMEM 'memory_mb'
ok "a sane number" ctl web1 "set memory_mb=96"
ok "a disk smaller than the template" ctl web1 "set disk_mb=8"
ok "is EINVAL" refused web1 start EINVAL 'disk_mb'
ok "a sane number" ctl web1 "unset disk_mb"
is "it is still created" "$(state web1)" created

# ---- broken templates ------------------------------------------------------------------------------------

ok "a template" mkdir "$M/.templates/bad"
good=$(template_dir)
leak_mark
for part in rootfs.ext4 kernel initrd template.conf; do
	rm -rf tmp/t && mkdir tmp/t && ln -s "$good"/* tmp/t/ && cp --remove-destination -L "$good"/template.conf tmp/t/
	for other in rootfs.ext4 kernel initrd; do
		rm tmp/t/$other
		ln "$good/$other" tmp/t/ 2>/dev/null || cp "$good/$other" tmp/t/
	done
	rm tmp/t/$part
	ok "without $part" refused .templates/bad "import $PWD/tmp/t" ENOENT "$part"
	: >tmp/t/$part
	[ $part = template.conf ] || ok "with an empty $part" refused .templates/bad "import $PWD/tmp/t" EINVAL "$part"
	rm tmp/t/$part && mkfifo tmp/t/$part
	is "with a FIFO for $part" "$(timeout 10 "$helper_write" -q "$M/.templates/bad/ctl" "import $PWD/tmp/t")" EINVAL
	rm tmp/t/$part && ln -s "$good/$part" tmp/t/$part
	fails "with a link for $part" ctl .templates/bad "import $PWD/tmp/t"
	rm tmp/t/$part
done
rm -rf tmp/t && cp -r "$good" tmp/t
echo 'nonsense without an equals sign' >>tmp/t/template.conf
fails "with a bad template.conf" ctl .templates/bad "import $PWD/tmp/t"
is "a path inside the mount" "$(errno .templates/bad "import $M/web1")" EINVAL
ln -s "$M" tmp/way-in
is "a way round through a link" "$(errno .templates/bad "import $PWD/tmp/way-in/web1")" EINVAL
is "a relative path" "$(errno .templates/bad "import t")" EINVAL
is "no such path" "$(errno .templates/bad "import $PWD/none")" ENOENT
ok "nothing is left of any" leak_check
is "it is empty" "$(sed -n s/^state=//p "$M/.templates/bad/status")" empty
ok "a sound import is taken" ctl .templates/bad "import $good"
ok "and removed" rmdir "$M/.templates/bad"

# ---- two daemons -----------------------------------------------------------------------------------------

mkdir second
ok "a second daemon on the state directory is refused" sh -c '! timeout 10 "$1" -f --state-dir "$2" "$3" 2>&1 | grep -vq "another daemon"' \
	- "$B/sbxfs" "$S" "$PWD/second"
ok "so is a state directory inside the mount" sh -c 'timeout 10 "$1" -f --state-dir "$2/x" "$2" 2>&1 | grep -q "inside\|already mounted"' - "$B/sbxfs" "$M"
ok "so is one inside the future mount" sh -c 'timeout 10 "$1" -f --state-dir "$2/x" "$2" 2>&1 | grep -q inside' - "$B/sbxfs" "$PWD/second"
daemon b
ok "a template" import default
ok "a sandbox of the same name" host "create web1 memory_mb=96 start"
use a
spawn web1 start
ok "both run" wait_for 60 in_state web1 running
is "started" "$(answer "$W")" ok
is "each is its own" "$(sh_in web1 'echo a >/who; cat /who')$(use b; sh_in web1 'cat /who 2>/dev/null || echo none')" anone
use b
ok "one goes" host "destroy web1"
ok "its daemon too" test "$(host_errno shutdown)" = ok
ok "it ends" daemon_end b
use a
is "the other is untouched" "$(state web1) $(sh_in web1 'cat /who')" "running a"

# ---- a daemon that dies ----------------------------------------------------------------------------------

ok "sync" ctl web1 sync
ok "one that is stopped" host "create off memory_mb=96"
ok "one that is created" host "create new"
ok "it runs" ctl off start
ok "and stops" ctl off stop
pid=$(status web1 pid)
kill -KILL "$P"
ok "killed" daemon_end a
fails "the mount is dead" ls "$M"
daemon a
is "all three are there" "$(ls "$M" | tr '\n' ' ')" "new off web1 "
ok "the running one goes on" wait_for 20 in_state web1 running
is "in the same process" "$(status web1 pid)" "$pid"
is "and obeys" "$(sh_in web1 'cat /who')" a
is "the others are as they were" "$(state off) $(state new)" "stopped created"
is "one mount" "$(grep -c " $M " /proc/mounts)" 1
kill -KILL "$P" "$pid"
ok "killed together with QEMU" daemon_end a
daemon a
is "all three are there again" "$(ls "$M" | tr '\n' ' ')" "new off web1 "
ok "it is down" ctl web1 "wait stopped,error timeout=20"
ok "its slot has gone behind it" slots_settled
ok "exit_reason tells" test -n "$(status web1 exit_reason)"
is "no network of it is left" "$("$TOP/tests/inventory" | grep -c "^netns .*$(cat "$S/instance")")" 0
ok "it starts" ctl web1 start
is "with its data" "$(sh_in web1 'cat /who')" a

# ---- an unmount ------------------------------------------------------------------------------------------

pid=$(status web1 pid)
ok "fusermount3 -u while it runs" fusermount3 -u "$M"
ok "ends the daemon" daemon_end a
ok "and the guest" process_is_gone "$pid"
daemon a
is "it was stopped" "$(state web1)" stopped
ok "umount with nothing running" umount "$M"
ok "ends the daemon" daemon_end a

# ---- a full disk -----------------------------------------------------------------------------------------

fill() { # MIB: leave that much
	head -c "$(($(df --output=avail -B1 small/state | tail -n 1) - ($1 << 20)))" /dev/zero >small/state/filler
}

mkdir -p small/state
mount -t tmpfs -o size=128m tmpfs small/state
at_end umount -l "$PWD/small/state"
daemon small
ok "a template fits" import default
ok "a sandbox" mkdir "$M/web1"
ok "one to be started" host "create web2 memory_mb=96"
before=$(ls -A "$S/sandboxes")
cat /dev/zero >small/state/filler 2>/dev/null
ok "the ballast is given up" wait_for 10 test ! -e small/state/ballast
cat /dev/zero >>small/state/filler 2>/dev/null
is "mkdir" "$(LC_ALL=C mkdir "$M/web3" 2>&1 | sed 's/.*: //')" "No space left on device"
is "set" "$(errno web1 "set label.x=1")" ENOSPC
is "start" "$(errno web2 start)" ENOSPC
rm small/state/filler
fill 20
ok "mkdir of a template into the last 20 MiB" mkdir "$M/.templates/other"
is "import" "$(errno .templates/other "import $good")" ENOSPC
is "what was there is there" "$(state web1) $(state web2)" "created created"
is "and nothing else" "$(ls -A "$S/sandboxes")" "$before"
rm small/state/filler
ok "with space again: mkdir" mkdir "$M/web3"
ok "set" ctl web1 "set label.x=1"
ok "start" ctl web2 start
is "it works" "$(sh_in web2 'echo here')" here
ok "rmdir of what could not be filled" rmdir "$M/.templates/other"
ok "shutdown" test "$(host_errno shutdown)" = ok
ok "it ends" daemon_end small
finish
