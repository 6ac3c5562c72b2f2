#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# needs: root netns alone
# proves:
# The inventory sees each kind of thing that can be left behind, and nothing once it is gone.
. "$TOP/tests/tap.sh"

inventory() {
	"$TOP/tests/inventory" "$@"
}

seen() { # LINE: in now and not in before
	inventory | diff before - | grep -q "^> $1"
}

inventory >before
inventory >again
ok "two inventories with nothing between them are equal" diff before again

at_end "ip link del sbxtest0 2>/dev/null"
ip link add sbxtest0 type veth peer name sbxtest1
ok "a link" seen "link sbxtest0"
ip link del sbxtest0

at_end "nft delete table ip sbxtest 2>/dev/null"
nft add table ip sbxtest
ok "an nftables table" seen "nft table ip sbxtest"
nft delete table ip sbxtest

at_end "ip netns del sbxtest 2>/dev/null"
ip netns add sbxtest
ok "a network namespace" seen "netns sbxtest"
ip netns del sbxtest

mkdir mounted
at_end "umount -l mounted 2>/dev/null"
mount -t tmpfs sbxtest mounted
ok "a mount" seen "mount .*/mounted tmpfs sbxtest"
umount mounted

truncate -s 1M file
loop=$(losetup --find --show file)
at_end "losetup -d $loop 2>/dev/null"
ok "a loop device" seen "loop .*$PWD/file"
losetup -d "$loop"

semaphore=$(ipcmk -S 1 | awk '{ print $NF }')
at_end "ipcrm -s $semaphore 2>/dev/null"
ok "a System V semaphore" seen "semaphore .* $semaphore"
ipcrm -s "$semaphore"

cp "$(command -v sleep)" sbxfs-sleep
./sbxfs-sleep 60 &
pid=$!
at_end "kill $pid 2>/dev/null"
ok "a process" wait_for 5 seen "process $pid .*sbxfs-sleep 60"
is "its descriptors" "$(inventory $pid | grep -c "^descriptors $pid [1-9]")" 1
kill $pid
wait $pid

no_change() {
	inventory | diff before -
}
ok "and nothing of them is left" wait_for 10 no_change
finish
