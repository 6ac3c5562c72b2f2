# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/serial-guest.sh - a guest that obeys its serial line, and verbs on its VM; read after tests/tap.sh
#
#   vm NAME VERB…        helper-vm's verbs on a VM in the folder NAME; what it said is in NAME/out
#   nothing_left NAME    nothing of it runs any more, and its run directory is empty
#
# Sets $helper, $kernel, $modules_missing; $vm_kernel, if not empty, is booted instead.
ACCEL=${ACCEL:-tcg}
export ACCEL
helper=$B/tests/vm/helper-vm
tree=$("$TOP/tests/host/fetch-kernel" cloud-amd64) || {
	echo "no cloud kernel to be had"
	exit 77
}
kernel=$tree/vmlinux
PATH=$PATH:/sbin:/usr/sbin

# ---- a guest that obeys its serial line --------------------------------------------------------------

mkdir -p root/bin root/proc root/sys root/dev root/tmp root/m
cp "$(command -v busybox)" root/bin/busybox
# shellcheck disable=SC2034 # for the case
modprobe -d "$tree" -S "$(basename "$tree")" --show-depends -a virtio_mmio virtio_blk virtio_net virtio_balloon \
	virtio-rng pvpanic-mmio >modules || modules_missing=1
awk '$1 == "insmod" && !seen[$2]++ { print $2 }' modules | while read -r file; do
	cp "$file" root/m/
	echo "/m/${file##*/}" >>root/m/order
done
cat >root/init <<'END'
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
while read -r module; do insmod "$module"; done </m/order
ip addr add 10.0.2.15/24 dev eth0 2>/dev/null && ip link set eth0 up
echo guest-is-up
exec sh </dev/console >/dev/console 2>&1
END
chmod +x root/init
(cd root && find . | cpio --quiet -o -H newc) >initrd

# vm NAME VERB…: a fresh folder and the verbs on it; times become comments
vm() {
	dir=$PWD/$1
	shift
	mkdir -p "$dir/run"
	vm_status=0
	"$helper" "$dir" "${vm_kernel:-$kernel}" "$PWD/initrd" "$@" >"$dir/out" 2>&1 || vm_status=$?
	cat "$dir/out"
	return "$vm_status"
}

# Nothing of ours runs any more, and no socket or FIFO is left.
nothing_left() { # DIR
	left=$(find "$1/run" -mindepth 1)
	[ -z "$left" ] || { echo "left: $left"; return 1; }
	sed -n 's/.* pid=//p' "$1/out" | while read -r pid; do
		! kill -0 "$pid" 2>/dev/null || { echo "runs: $pid"; exit 1; }
	done
}

