#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/vm/volume-room.sh - the dm store's room: growing it, mending an overflow, a full host, copies, damage from outside
# needs: root dm
# proves: 14 44 64
#
#   tests/host/run tests/run vm volume-room
#
# Descriptor 8 is the disk as a VMM has it: opened once, and open through all that happens below.
set -u
. "$TOP/tests/tap.sh"

helper=$B/tests/vm/helper-volume
inst=troo
mib=1048576

[ -x "$helper" ] || { echo "1..0 # SKIP $helper is not built"; exit 77; }
modprobe -q dm-snapshot 2>/dev/null
modprobe -q loop 2>/dev/null
[ -e /dev/mapper/control ] || { echo "1..0 # SKIP no device-mapper here"; exit 77; }

parent=${TMPDIR:-/tmp}
[ ! -d /var/lib/sbxfs-test ] || parent=/var/lib/sbxfs-test
work=$(mktemp -d "$parent/volume-room.XXXXXX")
holder=
feeder=
cleanup() {
	exec 3>&- 8>&- 9>&-
	[ -z "$holder" ] || kill "$holder" 2>/dev/null
	[ -z "$feeder" ] || kill "$feeder" 2>/dev/null
	for name in $(dmsetup ls 2>/dev/null | awk -v i="^sbxfs-$inst-" '$1 ~ i { print $1 }' | sort); do
		dmsetup remove "$name" 2>/dev/null
	done
	umount "$work/small" 2>/dev/null
	rm -rf "$work"
}
at_end cleanup

state=$work/state # where sandboxes' directories are
base=$work/base.img
mkdir "$state" "$work/small"
dd if=/dev/urandom of="$base" bs=1M count=16 status=none
dd if=/dev/urandom of="$work/a" bs=1M count=4 status=none
mkfifo "$work/in" "$work/out" "$work/feed"

# vol SERIAL SIZE_MIB COMMAND…
vol() {
	serial=$1 size=$2
	shift 2
	timeout 100 "$helper" dm $inst "$serial" "$state/$serial" "$base" $((size * mib)) "$@" 2>>"$work/stderr"
}
hold() {
	exec 3>&- 4<&- 8>&-
	exec "$helper" dm $inst "$1" "$state/$1" "$base" $(($2 * mib)) hold 2>>"$work/stderr"
}
attach() { # attach SERIAL SIZE_MIB: $path, and descriptor 8
	(hold "$1" "$2") <"$work/in" >"$work/out" &
	holder=$!
	exec 3>"$work/in" 4<"$work/out"
	read -r path <&4
	name=sbxfs-$inst-$1
	file=$state/$1/cow
	exec 8<>"$path"
}
detach() {
	exec 8>&- 3>&-
	read -r answer <&4
	exec 4<&-
	wait "$holder"
	holder=
}
killed() { # the daemon dies; the VMM keeps the disk
	kill -KILL "$holder"
	wait "$holder" 2>/dev/null
	holder=
	exec 3>&- 4<&-
}
put() { # put MIB_OFFSET FILE, through descriptor 8
	"$helper" dm $inst 0 "$work" - 0 put 8 "$1" "$2" >/dev/null 2>&1
}
same() { # same MIB_OFFSET FILE
	dd if="$path" bs=1M skip="$1" count=$(($(stat -c %s "$2") / mib)) iflag=direct status=none | cmp -s - "$2"
}
piece=$work/a
step=4
big() {
	piece=$base
	step=16
}
small() {
	piece=$work/a
	step=4
}
fill() { # fill FROM TO: one piece after the other, until one fails; $reached is that one's offset
	reached=$1
	while [ "$reached" -lt "$2" ] && put "$reached" "$piece"; do
		reached=$((reached + step))
	done
}
filled() { # filled FROM TO
	at=$1
	while [ "$at" -lt "$2" ]; do
		same "$at" "$piece" || return 1
		at=$((at + step))
	done
}
word() { # what the status line says
	dmsetup status "$name" | awk '{ print ($4 ~ /[/]/) ? "used" : $4 }'
}
health() { # health SERIAL SIZE
	vol "$1" "$2" usage | cut -d' ' -f3
}
grown() { # grown NAME SERIAL SIZE [RESERVE]
	text=$1
	shift
	answer=$(vol "$1" "$2" grow ${3:+"$3"})
	case $answer in
	"# grow: "*) ok "$text" true ;;
	*) ok "$text: $answer $(tail -1 "$work/stderr")" false ;;
	esac
	[ -z "${TIMES:-}" ] || echo "$answer ($text)"
}
TIMES=1
said() {
	tail -1 "$work/stderr" | grep -q "$1"
}
overflow() { # make the store short and fill it: cheaper than 64 MiB
	truncate -s 6M "$file"
	losetup -c "$(losetup -n -O NAME -j "$file" | tr -d ' ')"
	fill "$1" "$2"
}
inventory() {
	[ ! -e /run/udev/control ] || udevadm settle -t 10
	dmsetup ls | sort
	losetup -a | sort
}
before=$(inventory)

# ---- growing while the guest runs ------------------------------------------------------------------

mkdir "$state/1"
vol 1 512 create
is "new data takes two chunks" "$(stat -c %s "$state/1/cow")" 8192
attach 1 512
is "the head start is 64 MiB" "$(($(stat -c %s "$file") / mib))" 64
ok "and really allocated" [ "$(($(stat -c %b "$file") / 2048))" -ge 64 ]
used=$(vol 1 512 usage | cut -d' ' -f1)
ok "usage does not count it ($used bytes)" [ "$used" -lt $mib ]
length=$(stat -c %s "$file")
grown "grow with room enough" 1 512
is "changes nothing" "$(stat -c %s "$file")" "$length"
(
	exec 3>&- 4<&- 8>&-
	exec "$helper" dm $inst 1 "$state/1" "$base" $((512 * mib)) feed 2>>"$work/stderr"
) <"$work/feed" >"$work/feed.out" &
feeder=$!
exec 9>"$work/feed"
big
fill 100 228
exec 9>&-
wait $feeder
is "a feeder that grows meets no error" "$(cat "$work/feed.out")" ""
feeder=
is "a guest that writes 128 MiB meets no error" "$reached" 228
is "its store is well" "$(word) $(health 1 512)" "used well"
ok "what it wrote is there" filled 100 228
used=$(vol 1 512 usage | cut -d' ' -f1)
ok "usage counts it ($((used / mib)) MiB)" [ $((used / mib)) -ge 128 -a $((used / mib)) -le 130 ]
ok "the head start is ahead of it" [ $(($(stat -c %s "$file") / mib)) -ge $((used / mib + 40)) ]
vol 1 512 ask 500
detach
is "down gives the head start back" "$(($(stat -c %s "$state/1/cow") / mib))" 128
is "and nothing is left" "$(inventory)" "$before"

# ---- an overflow -----------------------------------------------------------------------------------

attach 1 512
fill 300 476
ok "a guest that is faster than growing fails at $reached MiB" [ "$reached" -lt 380 -a "$reached" -ge 340 ]
is "its store has overflowed" "$(word) $(health 1 512)" "Overflow full"
ok "reads go on" same 300 "$piece"
failed_at=$reached
grown "grow mends it" 1 512
is "the store is well again" "$(word) $(health 1 512)" "used well"
ok "the VMM writes on through the descriptor that it has" put "$failed_at" "$piece"
ok "all is there" filled 300 $((failed_at + step))
ok "from before too" filled 100 228
fill $((failed_at + step)) 396
is "and there is room" "$reached" 396
grown "a second grow has nothing to mend, and gives more" 1 512
is "it still counts as attached" "$(vol 1 512 alive)" yes
detach
attach 1 512
ok "after the next up it is all there" filled 300 396
detach
is "nothing is left of that" "$(inventory)" "$before"
ok "nor blocks ahead" [ "$(($(stat -c %s "$state/1/cow") / mib))" -le 226 ]
is "destroy" "$(vol 1 512 destroy)" ""
small

# ---- died on the way -------------------------------------------------------------------------------

mkdir "$state/2" "$state/3"
for serial in 2 3; do
	size=64
	[ "$serial" = 2 ] || size=16 # the image's: no origin of its own
	for died in file waiting error next; do
		vol "$serial" "$size" create
		attach "$serial" "$size"
		put 0 "$work/a"
		overflow 4 16
		is "$serial: an overflow" "$(word)" Overflow
		table=$(dmsetup table "$name")
		error="0 $((size * 2048)) error"
		case $died in
		file) truncate -s 10M "$file" ;;
		waiting) dmsetup load "$name" --table "$error" ;;
		error) dmsetup load "$name" --table "$error" && dmsetup resume "$name" ;;
		next)
			dmsetup load "$name" --table "$error" && dmsetup resume "$name"
			dmsetup load "$name" --table "$table"
			;;
		esac
		killed
		is "$serial: a daemon that died after '$died' left it full" "$(health "$serial" "$size")" full
		is "$serial: and attached" "$(vol "$serial" "$size" alive)" yes
		fails "$serial: no write goes anywhere" put 12 "$work/a"
		grown "$serial: the next one mends it" "$serial" "$size"
		is "$serial: the store is well" "$(word) $(health "$serial" "$size")" "used well"
		ok "$serial: the VMM writes on" put 12 "$work/a"
		ok "$serial: on what was there" filled 0 "$reached"
		exec 8>&-
		is "$serial: down" "$(vol "$serial" "$size" down)$(vol "$serial" "$size" destroy)" ""
		is "$serial: nothing is left" "$(inventory)" "$before"
	done
done

# ---- copies and images -----------------------------------------------------------------------------

mkdir "$state/4" "$state/5"
vol 4 256 create
attach 4 256
put 3 "$work/a"
put 100 "$work/a"
put 250 "$work/a"
dd if=/dev/zero of="$work/zero" bs=1M count=1 status=none
put 101 "$work/zero"
blkdiscard -o $((251 * mib)) -l $mib "$path"
blkdiscard -o $((10 * mib)) -l $mib "$path"
is "copy of an attached disk" "$(vol 4 256 copy "$state/5")" ""
began=$(date +%s%N)
dd if="$path" of="$work/dd.img" bs=1M iflag=direct conv=sparse status=none
ended=$(date +%s%N)
vol 4 256 flatten "$work/flat.img"
echo "# dd of the device: $(((ended - began) / 1000000)) ms, $(($(stat -c %b "$work/dd.img") / 2)) KiB"
echo "# flattened: $(($(stat -c %b "$work/flat.img") / 2)) KiB"
ok "an attached disk flattened is what dd reads" cmp "$work/flat.img" "$work/dd.img"
ok "and is sparse" [ "$(($(stat -c %b "$work/flat.img") / 2048))" -le 27 ]
detach
rm "$work/flat.img"
vol 4 256 flatten "$work/flat.img" >/dev/null
ok "so it is when nothing is attached" cmp "$work/flat.img" "$work/dd.img"
rm "$work/flat.img"
is "the copy is as long as the data" "$(stat -c %s "$state/5/cow")" "$(stat -c %s "$state/4/cow")"
is "the copy can be adopted" "$(vol 5 256 adopt)" ""
vol 5 256 flatten "$work/flat.img" >/dev/null
ok "and is the same disk" cmp "$work/flat.img" "$work/dd.img"
attach 5 256
ok "attached too" same 3 "$work/a"
detach
rm "$work/dd.img" "$work/flat.img"

# ---- a full host -----------------------------------------------------------------------------------

truncate -s 220M "$work/small.img"
mkfs.ext4 -q -F -m 0 "$work/small.img"
mount -o loop "$work/small.img" "$work/small"
state=$work/small
before=$(inventory)
mkdir "$state/6"
vol 6 256 create
attach 6 256
fallocate -l $(($(stat -f -c '%a * %S' "$state") - mib)) "$state/ballast"
grown "a full host is no error while there is room ahead" 6 256
big
fill 0 200
ok "a guest on a full host stops at $reached MiB" [ "$reached" -lt 80 ]
is "its store has overflowed and is not lost" "$(word) $(health 6 256)" "Overflow full"
is "grow is ENOSPC" "$(vol 6 256 grow)" ENOSPC
ok "and says so" said "no room left for the disk"
is "nothing has changed" "$(word)" Overflow
ok "what was written can be read" filled 0 "$reached"
rm "$state/ballast"
is "within the reserve it is ENOSPC still" "$(vol 6 256 grow 200)" ENOSPC
grown "with room it is mended" 6 256
ok "the VMM writes on" put "$reached" "$piece"
ok "and all is there" filled 0 $((reached + step))
fill $((reached + step)) 96
is "some more too" "$reached" 96
grown "a part of the head start is given where there is not enough" 6 256 40
is "well" "$(word)" used
detach
ok "down gives the room back" [ "$(($(stat -f -c '%a * %S' "$state") / mib))" -gt 85 ]
mkdir "$state/7"
fallocate -l $(($(stat -f -c '%a * %S' "$state") - 10 * mib)) "$state/ballast"
vol 7 256 create
is "an up without room for the head start is ENOSPC" "$(vol 7 256 hold </dev/null)" ENOSPC
is "and leaves the data as it was" "$(stat -c '%s %b' "$state/7/cow")" "8192 16"
rm "$state/ballast"

# What a guest discards is given back to the host, and may be missing later. That is not the end of the store.
dd if="$base" of="$work/first" bs=1M count=4 status=none
attach 6 256
blkdiscard -o $((4 * mib)) -l $((8 * mib)) "$path"
fallocate -l $(($(stat -f -c '%a * %S' "$state") - mib / 2)) "$state/ballast"
fails "on a full host a write over what was discarded fails" put 4 "$work/a"
is "but the store is well" "$(word) $(health 6 256)" "used well"
is "grow is ENOSPC" "$(vol 6 256 grow)" ENOSPC
ok "and says so" said "take back what the guest has discarded"
rm "$state/ballast"
grown "with room it is well" 6 256
ok "and the write succeeds" put 4 "$work/a"
small
ok "and nothing else has changed" same 0 "$work/first"
detach

# What happens without room ahead: the kernel gives the store up, and that is said.
attach 6 256
truncate -s 97M "$file"
truncate -s 200M "$file"
losetup -c "$(losetup -n -O NAME -j "$file" | tr -d ' ')"
fallocate -l $(($(stat -f -c '%a * %S' "$state") - mib)) "$state/ballast"
fill 100 200
is "a store that its host cannot hold is given up" "$(word) $(health 6 256)" "Invalid broken"
is "grow is EBADMSG" "$(vol 6 256 grow)" EBADMSG
ok "and says so" said "given the copy-on-write store"
is "alive says no" "$(vol 6 256 alive)" no
detach
rm "$state/ballast"
is "up of it is EBADMSG" "$(vol 6 256 hold </dev/null)" EBADMSG
is "nothing is left of all that" "$(inventory)" "$before"
umount "$work/small"
state=$work/state
before=$(inventory)

# ---- files changed from outside --------------------------------------------------------------------

vol 2 64 create
attach 2 64
mv "$file" "$file.away"
is "a file that is gone is told" "$(health 2 64)" broken
is "grow is EBADMSG" "$(vol 2 64 grow)" EBADMSG
ok "and says so" said "is gone"
truncate -s 70M "$file"
is "grow over a file put in its place is EBADMSG" "$(vol 2 64 grow)" EBADMSG
ok "and says so" said "was replaced"
mv "$file.away" "$file"
grown "with the file back it is well" 2 64
is "as usage says" "$(health 2 64)" well
cp "$base" "$work/base.kept"
truncate -s 8M "$base"
is "an image that was cut off is EBADMSG" "$(vol 2 64 grow)" EBADMSG
ok "and says so" said "was cut off"
cp "$work/base.kept" "$base"
grown "with the image back it is well" 2 64
detach
truncate -s 8M "$base"
is "up over an image that was cut off is EBADMSG" "$(vol 2 64 hold </dev/null)" EBADMSG
ok "and says so" said "cut off or replaced"
is "down" "$answer" down
is "nothing is left at the end" "$(inventory)" "$before"
finish
