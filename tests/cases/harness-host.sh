#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# needs: root dm kvm
# proves:
# The test host has what it is there for: snapshots by device-mapper, and KVM that runs a guest.
. "$TOP/tests/tap.sh"

truncate -s 64M origin cow
origin=$(losetup --find --show --read-only origin)
at_end "losetup -d $origin"
cow=$(losetup --find --show --direct-io=on cow)
at_end "losetup -d $cow"

ok "a snapshot is made" dmsetup create sbxtest --table "0 131072 snapshot $origin $cow PO 8 1 discard_zeroes_cow"
at_end "dmsetup remove sbxtest 2>/dev/null"
device=/dev/dm-$(dmsetup info -c --noheadings -o minor sbxtest)
"$TOP/tests/inventory" >inventory
ok "the inventory sees it" grep -q "^dm sbxtest" inventory
ok "it takes direct writes" dd if=/dev/urandom of="$device" bs=4k count=100 seek=50 oflag=direct
is "100 chunks and the metadata are counted" "$(dmsetup status sbxtest | awk '{ print $4 }')" 816/131072
ok "the origin is untouched" cmp -n 4194304 "$origin" /dev/zero
ok "it goes" dmsetup remove sbxtest

# Any kernel does for this: the host's own.
kernel=$(find /run/host/var/cache/sbxfs/host "${SBXFS_CACHE:-/var/cache/sbxfs}/host" -name vmlinux 2>/dev/null | head -n 1)
mkdir root
cp "$(command -v busybox)" root/busybox
cat >root/init <<'END'
#!/busybox sh
/busybox mkdir /proc
/busybox mount -t proc proc /proc
/busybox echo "guest is up"
/busybox reboot -f
END
chmod +x root/init
(cd root && find . | cpio --quiet -o -H newc) >initrd
qemu-system-x86_64 -M microvm,rtc=on -accel kvm -cpu host -m 256 -nodefaults -no-user-config -display none \
	-serial stdio -no-reboot -kernel "$kernel" -initrd initrd \
	-append "console=ttyS0 quiet panic=-1 reboot=t" </dev/null >guest.log 2>&1
ok "a guest runs on KVM" grep -q "guest is up" guest.log
finish
