#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/vm/volume-dm.sh - the dm store through storage/volume.h, as root on a test host with device-mapper
# needs: root dm
# proves: 44 64 65
#
#   make build/tests/vm/helper-volume && tests/host/run tests/vm/volume-dm.sh
#
# TAP on stdout. State lies in /var/lib/sbxfs-test where the test host has it (a real file system).
set -u

here=$(cd "$(dirname "$0")" && pwd)
helper=${B:-$here/../../build}/tests/vm/helper-volume
inst=tvol
mib=1048576

count=0
failed=0
ok() { # ok TEXT STATUS
	count=$((count + 1))
	if [ "$2" = 0 ]; then
		echo "ok $count - $1"
	else
		echo "not ok $count - $1"
		failed=$((failed + 1))
	fi
}
is() { # is TEXT GOT WANTED
	[ "$2" = "$3" ]
	ok "$1" $?
	[ "$2" = "$3" ] || printf '# got:    %s\n# wanted: %s\n' "$2" "$3"
}
skip_all() {
	echo "1..0 # SKIP $1"
	exit 77
}

[ "$(id -u)" = 0 ] || skip_all "not root"
[ -x "$helper" ] || skip_all "$helper is not built"
modprobe -q dm-snapshot 2>/dev/null
modprobe -q loop 2>/dev/null
[ -e /dev/mapper/control ] || skip_all "no device-mapper here"

parent=${TMPDIR:-/tmp}
[ ! -d /var/lib/sbxfs-test ] || parent=/var/lib/sbxfs-test
work=$(mktemp -d "$parent/volume-dm.XXXXXX")
holder=
cleanup() {
	exec 3>&- 5>&-
	[ -z "$holder" ] || kill "$holder" 2>/dev/null
	for name in $(dmsetup ls 2>/dev/null | awk '/^sbxfs-(tvol|tvo2)-/ { print $1 }' | sort); do
		dmsetup remove "$name" 2>/dev/null
	done
	rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 1' INT TERM HUP

mkdir "$work/1" "$work/2" "$work/3"
base=$work/base.img
dd if=/dev/urandom of="$base" bs=1M count=16 status=none
cp "$base" "$work/base.before"

# vol SERIAL SIZE_MIB COMMAND…
vol() {
	serial=$1 size=$2
	shift 2
	timeout 60 "$helper" dm $inst "$serial" "$work/$serial" "$base" $((size * mib)) "$@" 2>>"$work/stderr"
}

# The same for the background: in a subshell of its own that becomes the helper, so that $! is its pid, and
# without the descriptors that keep another helper's stdin open. It holds the volume until its stdin ends.
hold() { # hold SERIAL SIZE_MIB
	exec 3>&- 4<&-
	exec "$helper" dm $inst "$1" "$work/$1" "$base" $(($2 * mib)) hold 2>>"$work/stderr"
}

# Attach in the background until fd 3 is closed; $path is the device.
mkfifo "$work/in1" "$work/out1" "$work/in2" "$work/out2"
attach() { # attach SERIAL SIZE_MIB
	(hold "$1" "$2") <"$work/in1" >"$work/out1" &
	holder=$!
	exec 3>"$work/in1" 4<"$work/out1"
	read -r path <&4
}
killed() {
	kill -KILL "$holder"
	wait "$holder" 2>/dev/null
	holder=
	exec 3>&- 4<&-
}
detach() {
	exec 3>&-
	read -r answer <&4
	exec 4<&-
	wait $holder
	holder=
}

inventory() {
	[ ! -e /run/udev/control ] || udevadm settle -t 10 # its links come and go on their own time
	dmsetup ls | sort
	losetup -a | sort
	ls /dev/mapper
}
put() { # put DEVICE MIB_OFFSET FILE
	dd if="$3" of="$1" bs=1M seek="$2" conv=notrunc,fsync oflag=direct status=none
}
same() { # same DEVICE MIB_OFFSET MIB FILE
	dd if="$1" bs=1M skip="$2" count="$3" iflag=direct status=none | cmp -s - "$4"
}
grep_stderr() {
	grep -q "$1" "$work/stderr"
}

# ---- without any volume ----------------------------------------------------------------------------

before=$(inventory)
case $(vol 1 64 probe) in
dm-snapshot*) ok "probe finds the snapshot target" 0 ;;
*) ok "probe finds the snapshot target" 1 ;;
esac
is "up without data is ENOENT" "$(vol 1 64 hold </dev/null)" ENOENT
is "a disk smaller than the image is EINVAL" "$(vol 1 8 create)" EINVAL
is "down with nothing attached succeeds" "$(vol 1 64 down)" ""
is "alive says no" "$(vol 1 64 alive)" no
touch "$work/1/cow.new"
is "create" "$(vol 1 64 create)" ""
is "create again" "$(vol 1 64 create)" ""
is "only the data is there" "$(ls "$work/1")" cow
is "nothing was attached" "$(inventory)" "$before"

# ---- content ---------------------------------------------------------------------------------------

dd if=/dev/urandom of="$work/a" bs=1M count=3 status=none
dd if=/dev/zero of="$work/zero" bs=1M count=8 status=none
attach 1 64
[ -b "$path" ]
ok "up gives a block device ($path)" $?
is "the guest sees the size that was asked for" "$(blockdev --getsize64 "$path")" $((64 * mib))
is "512-byte sectors" "$(blockdev --getss "$path")" 512
same "$path" 0 16 "$base"
ok "the image is at its beginning" $?
same "$path" 16 8 "$work/zero"
ok "zeroes follow" $?
put "$path" 2 "$work/a" && put "$path" 15 "$work/a" && put "$path" 60 "$work/a"
ok "writes within the image, across its end and behind it" $?
is "alive says yes, asked by another process" "$(vol 1 64 alive)" yes
is "a second up is EBUSY" "$(vol 1 64 hold </dev/null)" EBUSY
is "destroy is EBUSY" "$(vol 1 64 destroy)" EBUSY
is "type PO and discards" "$(dmsetup table sbxfs-$inst-1 | cut -d' ' -f6-)" "PO 8 1 discard_zeroes_cow"
is "uuid" "$(dmsetup info -c --noheadings -o uuid sbxfs-$inst-1)" "SBXFS-$inst-1"
cow_loop=$(losetup -n -O NAME -j "$work/1/cow" | tr -d ' ')
is "the loop device of the changes uses direct I/O" "$(losetup -n -O DIO "$cow_loop" | tr -d ' ')" 1
used=$(vol 1 64 usage | cut -d' ' -f1)
[ "$used" -ge $((9 * mib)) ] && [ "$used" -le $((10 * mib)) ]
ok "usage counts the changes ($used bytes)" $?
blkdiscard -o $((60 * mib)) -l $((3 * mib)) "$path"
used=$(vol 1 64 usage | cut -d' ' -f1)
[ "$used" -le $((7 * mib)) ]
ok "a discard gives space back ($used bytes)" $?
detach
is "down" "$answer" down
is "nothing is left" "$(inventory)" "$before"
cmp -s "$base" "$work/base.before"
ok "the image is unchanged" $?

attach 1 64
same "$path" 2 3 "$work/a" && same "$path" 15 3 "$work/a"
ok "what was written is there after the next up" $?
detach
attach 1 96
is "a larger disk at the next up" "$(blockdev --getsize64 "$path")" $((96 * mib))
put "$path" 92 "$work/a" && same "$path" 92 3 "$work/a" && same "$path" 2 3 "$work/a"
ok "can be written to its end and keeps the content" $?
detach
is "a smaller disk again is EBADMSG" "$(vol 1 64 hold </dev/null)" EBADMSG

# ---- shared image ----------------------------------------------------------------------------------

vol 2 16 create
attach 1 96
(hold 2 16) <"$work/in2" >"$work/out2" &
holder2=$!
exec 5>"$work/in2" 6<"$work/out2"
read -r path2 <&6
is "two sandboxes of two processes share one loop device of the image" \
	"$(losetup -n -O NAME -j "$base" | wc -l)" 1
is "a disk of the image's size needs no origin of its own" \
	"$(dmsetup ls | grep -c "^sbxfs-$inst-2-")" 0
same "$path2" 0 16 "$base"
ok "and each has its own content" $?
detach
is "the image stays while one needs it" "$(losetup -n -O NAME -j "$base" | wc -l)" 1
same "$path2" 0 16 "$base"
ok "and can be read" $?
exec 5>&-
read -r answer <&6
exec 6<&-
wait $holder2
is "nothing is left of the two" "$(inventory)" "$before"

# ---- a busy device ---------------------------------------------------------------------------------

attach 1 96
exec 7<"$path"
killed
is "after kill -9 of its process it is alive" "$(vol 1 96 alive)" yes
is "and still locked: up is EBUSY" "$(vol 1 96 hold </dev/null)" EBUSY
is "and destroy is EBUSY" "$(vol 1 96 destroy)" EBUSY
is "down while something has the device open is EBUSY" "$(vol 1 96 down 300)" EBUSY
grep_stderr "is in use (opened 1 times)"
ok "and says so" $?
exec 7<&-
is "down after that succeeds" "$(vol 1 96 down)" ""
is "nothing is left of it" "$(inventory)" "$before"
attach 1 96
same "$path" 2 3 "$work/a"
ok "the content has survived" $?
killed
is "down by name alone after kill -9" "$(vol 1 96 down)" ""
is "nothing is left of that either" "$(inventory)" "$before"

# ---- damage ----------------------------------------------------------------------------------------

cow=$work/1/cow
cp --sparse=always "$cow" "$work/cow.good"
dd if=/dev/zero of="$cow" bs=4096 count=1 conv=notrunc status=none
is "a zeroed header is EBADMSG, not a new disk" "$(vol 1 96 hold </dev/null)" EBADMSG
is "create does not replace it" "$(vol 1 96 create)" EBADMSG
cp --sparse=always "$work/cow.good" "$cow"
printf 'x' | dd of="$cow" bs=1 seek=0 conv=notrunc status=none
is "a wrong magic is EBADMSG" "$(vol 1 96 hold </dev/null)" EBADMSG
cp --sparse=always "$work/cow.good" "$cow"
printf '\0' | dd of="$cow" bs=1 seek=4 conv=notrunc status=none
is "a store that the kernel gave up is EBADMSG" "$(vol 1 96 hold </dev/null)" EBADMSG
cp --sparse=always "$work/cow.good" "$cow"
truncate -s 1M "$cow"
is "a store cut off within its data is EBADMSG" "$(vol 1 96 hold </dev/null)" EBADMSG
cp --sparse=always "$work/cow.good" "$cow"
is "no failed up has left anything" "$(inventory)" "$before"

# ---- a full store ----------------------------------------------------------------------------------

vol 3 32 create
attach 3 32
put "$path" 1 "$work/a"
truncate -s 6M "$work/3/cow"
losetup -c "$(losetup -n -O NAME -j "$work/3/cow" | tr -d ' ')"
dd if=/dev/urandom of="$path" bs=64K seek=320 count=128 oflag=direct status=none 2>/dev/null
is "a store that is full overflows, not invalid" "$(dmsetup status sbxfs-$inst-3 | cut -d' ' -f4)" Overflow
same "$path" 1 3 "$work/a"
ok "what was written can be read" $?
is "it still counts as attached" "$(vol 3 32 alive)" yes
detach
attach 3 32
same "$path" 1 3 "$work/a" && put "$path" 28 "$work/a"
ok "the next up has room again and the old content" $?
detach
is "nothing is left of that" "$(inventory)" "$before"

# ---- sweep -----------------------------------------------------------------------------------------

attach 1 96
killed
attach 3 32
killed
dmsetup create sbxfs-tvo2-1 --uuid SBXFS-tvo2-1 --table "0 8 error"
dmsetup create sbxfs-$inst-9 --uuid OTHER-9 --table "0 8 error"
is "sweep removes what is ours and not wanted" "$(vol 1 96 sweep 3)" 1
is "and nothing else" "$(dmsetup ls | awk '/^sbxfs-/ { print $1 }' | sort | tr '\n' ' ')" \
	"sbxfs-tvo2-1 sbxfs-$inst-3 sbxfs-$inst-3-origin sbxfs-$inst-9 "
is "a second sweep takes the rest" "$(vol 1 96 sweep)" 1
dmsetup remove sbxfs-tvo2-1
dmsetup remove sbxfs-$inst-9
is "nothing is left after the sweeps" "$(inventory)" "$before"

# ---- many times ------------------------------------------------------------------------------------

vol 2 16 cycle 20 | sed 's/^#/# without origin:/'
is "20 times up and down leave nothing" "$(inventory)" "$before"
vol 3 32 cycle 20 | sed 's/^#/# with origin:/'
is "nor 20 times with an origin" "$(inventory)" "$before"

is "destroy" "$(vol 1 96 destroy)$(vol 2 16 destroy)$(vol 3 32 destroy)" ""
is "destroy again" "$(vol 1 96 destroy)" ""
is "no file is left" "$(find "$work/1" "$work/2" "$work/3" -type f)" ""
cmp -s "$base" "$work/base.before"
ok "the image was never written" $?
if grep -v '^\(hold\|create\|destroy\|down\): ' "$work/stderr"; then
	ok "nothing but our own messages on stderr" 1
else
	ok "nothing but our own messages on stderr" 0
fi

echo "1..$count"
[ $failed = 0 ]
