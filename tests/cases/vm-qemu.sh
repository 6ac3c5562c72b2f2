#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# needs: tcg
# timeout: 900
# proves: 30 46 52 81
# The QEMU driver with a real kernel: start, console, disk, network, freeze and thaw, all the ways to end,
# failing starts, a daemon that comes back, and that nothing is left or written meanwhile. Needs no root.
. "$TOP/tests/tap.sh"

# shellcheck source=tests/serial-guest.sh
. "$TOP/tests/serial-guest.sh"

is "the modules for the guest are there" "${modules_missing:-0}" 0
ok "a probe tells what there is" sh -c '"$1" probe | tee probe | grep -q "^version=[0-9]"' sh "$helper"
sed 's/^/# /' probe
ok "KVM is only used where it runs guests, and why is said" grep -q '^accel_why=..*' probe

# ---- boot, disk, network -----------------------------------------------------------------------------

truncate -s 16M base.raw
printf 'from the base' | dd of=base.raw bs=4096 seek=1 conv=notrunc status=none
mkdir -p full
qemu-img create -q -f qcow2 -b "$PWD/base.raw" -F raw full/disk.qcow2
base_sum=$(sha256sum base.raw)
port=$((20000 + $$ % 20000))
export HOST_PORT=$port CMDLINE=word.from.test=1
# shellcheck disable=SC2016 # the helper's shell expands it
ok "it boots; console, disk, network and command line work" vm full start expect guest-is-up \
	send 'grep -c word.from.test=1 /proc/cmdline | sed s/^/cmdline=/; head -c 4109 /dev/vda | tail -c 13; echo' \
	expect cmdline=1 expect 'from the base' \
	send 'dd if=/dev/zero of=/dev/vda bs=1M count=1; yes | dd of=/dev/vda bs=64k count=16 seek=64; sync; echo written=$?' \
	expect written=0 \
	send 'nc -l -p 49983 -e echo agent-answers & sleep 1; echo listens=$?' expect listens=0 \
	sh 'socat -T10 - "TCP:127.0.0.1:$HOST_PORT" </dev/null | grep -q agent-answers' \
	send 'ls /sys/bus/virtio/drivers/*/virtio*/ -d | wc -l | sed s/^/devices=/' expect devices=4 \
	send 'poweroff -f' ended shutdown
sed -n 's/^start_ms=/# start ms: /p' full/out
ok "nothing is left" nothing_left full
is "the base is untouched" "$(sha256sum base.raw)" "$base_sum"
ok "the overlay is in order" qemu-img check -q full/disk.qcow2
fails "QEMU had nothing to say" test -s full/stderr
unset HOST_PORT CMDLINE

# ---- stop and go on ----------------------------------------------------------------------------------

# shellcheck disable=SC2016
ok "freeze stops the guest, thaw lets it go on" vm freeze start expect guest-is-up \
	send 'n=0; while :; do n=$((n + 1)); echo tick $n; usleep 50000; done' expect 'tick 5' freeze freeze \
	sh 'a=$(wc -c <"$1/console"); sleep 1; test "$(wc -c <"$1/console")" = "$a"' \
	sh 'tail -n 1 "$1/console" | tr -dc 0-9 >"$1/last"' thaw thaw \
	sh 'n=$(cat "$1/last"); for i in $(seq 100); do grep -q "tick $((n + 20))" "$1/console" && exit; sleep 0.1; done; exit 1' \
	forget open freeze thaw kill
ok "nothing is left" nothing_left freeze

# Output with nobody there to read it: far more than any buffer on the way.
ok "a flood reaches the console file whether or not a daemon is there" vm flood start expect guest-is-up \
	forget sh 'sleep 1' open send 'yes 0123456789 | head -c 300000; echo flood-""over' expect flood-over \
	sh 'test "$(wc -c <"$1/console")" -ge 300000' kill

# One that waits for its processor again and again. Ticks are lost then, and a guest that counts those is soon late.
# shellcheck disable=SC2016
ok "emulated on a busy host it keeps to the best clock" vm busy start expect guest-is-up \
	sh 'for i in $(seq 20); do kill -STOP "$2"; sleep 0.3; kill -CONT "$2"; sleep 0.05; done' \
	send 'echo "clock=$(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)="' expect clock=tsc= kill
ok "nothing is left" nothing_left busy

# ---- the ways to end ---------------------------------------------------------------------------------

ok "poweroff is a shutdown" vm off start expect guest-is-up send 'poweroff -f' ended shutdown
ok "reboot is a reset" vm reset start expect guest-is-up send 'reboot -f' ended reset
ok "a panic is a panic" vm panic start expect guest-is-up send 'echo c >/proc/sysrq-trigger' ended panic
ok "a killed QEMU is unknown" vm crash start expect guest-is-up crash ended unknown
ok "it can be killed by its identity after a crash of the daemon" vm identity start forget kill-id kill-id
ok "open() does not find one that is gone" sh -c '"$1" "$2" "$3" initrd start forget kill-id open >out 2>&1
	test $? = 1 && grep -q "^open: ESRCH: " out' sh "$helper" "$PWD/identity" "$kernel"
for name in off reset panic crash identity; do
	ok "nothing is left of $name" nothing_left $name
done

# ---- what must not be written ------------------------------------------------------------------------

# shellcheck disable=SC2016
ok "a guest that dirties memory writes nothing on the host" vm idle start expect guest-is-up \
	send 'mount -t tmpfs none /tmp; for i in $(seq 40); do dd if=/dev/urandom of=/tmp/f bs=1M count=8 2>/dev/null; done; echo dirty-""done' \
	sh 'sleep 1; sync -f "$1"; touch "$1/mark"; grep ^write_bytes "/proc/$2/io" >"$1/before"; sleep 3
	    grep ^write_bytes "/proc/$2/io" >"$1/after"; cmp "$1/before" "$1/after" &&
	    test -z "$(find "$1/run" "$1/console" "$1/stderr" -newer "$1/mark")"' \
	expect dirty-done kill
sed 's/^/# at 1 s: /' idle/before
sed 's/^/# at 4 s: /' idle/after

# ---- failing starts ----------------------------------------------------------------------------------

vm_kernel=$PWD/no-such-kernel
fails "a kernel that is not there" vm missing cycle 10
ok "is said" grep -q "cycle: ENOENT: cannot open the kernel $vm_kernel" missing/out
ok "nothing is left" nothing_left missing
vm_kernel=$PWD/initrd
fails "a kernel that is none" vm broken cycle 10
ok "is said with QEMU's words" grep -q "^cycle: EIO: .*it said: .*kernel" broken/out
sed -n 's/^cycle: /# said: /p' broken/out
ok "nothing is left" nothing_left broken
vm_kernel=

# ---- over and over -----------------------------------------------------------------------------------

processes() { pgrep -c -u "$(id -u)" -f "^[^ ]*qemu-system-x86_64 -name sbxtest-1 " || true; }
before=$(processes)
ok "10 starts and kills leave no descriptor" vm cycle cycle 10
sed -n 's/^start_ms=\([0-9]*\).*/\1/p' cycle/out | sort -n | tr '\n' ' ' | sed 's/^/# start ms: /; s/$/\n/'
is "no process" "$(processes)" "$before"
ok "nor socket" nothing_left cycle
finish
