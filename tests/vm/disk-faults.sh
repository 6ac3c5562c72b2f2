#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/vm/disk-faults.sh - a disk that fails under a sandbox: no garbage for the guest, a lasting state, nothing lost for good
# needs: root dm kvm fuse slow
# timeout: 1500
# proves: 12 64 65
#
# How it works: the state directory lies on ext4 over a linear device. To break a file, the pieces of the disk
# that it occupies are mapped to the error target; everything else of the file system goes on. The guest appends numbered lines and syncs
# after each: what was acknowledged has to be there in the end, whole and in order.
# shellcheck disable=SC2016 # what stands in '…' is for another shell
# shellcheck disable=SC2034 # the variables are read in tests/sbx.sh
# shellcheck disable=SC2317 # functions are called by ok and wait_for
set -u
DAEMON_OPTIONS='--accel kvm --storage dm'
# shellcheck source=tests/tap.sh
. "$TOP/tests/tap.sh"
# shellcheck source=tests/sbx.sh
. "$TOP/tests/sbx.sh"

disk=sbxtest-$$
lab=$(mktemp -d /dev/shm/disk-faults.XXXXXX) # in memory: nothing here waits for a disk
loop='' acked=0

lab_down() {
	! mountpoint -q a/state || umount a/state || umount -l a/state
	! dmsetup info "$disk" >/dev/null 2>&1 || dmsetup remove --retry "$disk"
	[ -z "$loop" ] || losetup -d "$loop"
	rm -rf "$lab"
}
at_end lab_down
at_end daemons_down # before the disk that they lie on

# ---- the disk ----------------------------------------------------------------------------------------------

table() { # LINES on stdin; the file system knows nothing of it
	dmsetup load "$disk" && dmsetup suspend --noflush --nolockfs "$disk" && dmsetup resume "$disk"
}
heal() {
	echo "0 $sectors linear $loop 0" | table
}
# The sectors of a file, FROM and COUNT a line. Those in its first @2 bytes are left out.
extents() { # FILE [BYTES]
	filefrag -v -b4096 "$1" | awk -v skip=$((${2:-0} / 4096)) '
		$1 ~ /^[0-9]+:$/ {
			gsub(/[.:]/, " "); logical = $2; physical = $4; n = $6
			if (logical + n <= skip) next
			if (logical < skip) { physical += skip - logical; n -= skip - logical }
			print physical * 8, n * 8
		}' | sort -n
}
# Its pieces fail from now on: each read and write; or, behind its first BYTES, each write alone.
broken() { # FILE [BYTES]
	local how=error
	[ -z "${2:-}" ] || how=flakey
	sync
	extents "$@" | awk -v device="$loop" -v end="$sectors" -v how="$how" '
		$1 > at { print at + 0, $1 - at, "linear", device, at + 0 }
		{ print $1, $2, how (how == "error" ? "" : " " device " " $1 " 0 3600 1 error_writes"); at = $1 + $2 }
		END { print at, end - at, "linear", device, at }' | table
}

here() { # NAME COMMAND…: as ok does, but in this shell, for what counts lines
	local name=$1
	shift
	"$@" >here.out 2>&1
	tap_result $? "$name"
}

# ---- the guest ---------------------------------------------------------------------------------------------

line() {
	sh_in web1 "echo line $((acked + 1)) >>/lines && sync" >/dev/null && acked=$((acked + 1))
}
# What was acknowledged, and at most the one that was under way.
lines_are_whole() {
	local count
	sh_in web1 'cat /lines' >lines.out || return 1
	count=$(wc -l <lines.out)
	seq -f 'line %g' 1 "$count" | cmp - lines.out && [ "$count" -ge "$acked" ] && [ "$count" -le $((acked + 1)) ] &&
		acked=$count
}
start() { # NAME
	ctl "$1" "start timeout=280"
}
snapshot() { # COMMAND…
	"$helper_write" "$M/web1/snapshot" "$*"
}
frozen_by_disk() { # with the reason in status
	[ "$(state web1) $(status web1 exit_reason)" = "frozen disk-error" ]
}
in_lasting_state() {
	case $(state web1) in stopped | error | frozen | running) ;; *) return 1 ;; esac
}
device() { # of the sandbox
	dmsetup info -c --noheadings -o minor "sbxfs-$(cat "$S/instance")-$serial" | sed 's,^,/dev/dm-,'
}
data() { # the file that holds its changes
	find "$S/sandboxes/$serial" -maxdepth 2 -name cow -path "*/$(data_dir)*" | head -n 1
}
data_dir() { # the record names it after a rollback
	sed -n 's/^ *"data": *"\([^"]*\)".*/\1/p' "$S/sandboxes/$serial/record"
}
loops() {
	losetup -n -O BACK-FILE | grep -c "$S"
}

"$TOP/tests/inventory" >before
mkdir -p a/state
truncate -s 384M "$lab/disk"
mkfs.ext4 -q -b 4096 -E lazy_itable_init=0 "$lab/disk"
loop=$(losetup --find --show "$lab/disk")
sectors=$(blockdev --getsz "$loop")
dmsetup create "$disk" --table "0 $sectors linear $loop 0"
mount "/dev/dm-$(dmsetup info -c --noheadings -o minor "$disk")" a/state
daemon a
ok "import" import default
ok "mkdir" mkdir "$M/web1"
ok "settings" ctl web1 "set memory_mb=128 disk_mb=32"
serial=$(basename "$(echo "$S"/sandboxes/*)")
ok "start" start web1
for _ in 1 2 3; do line; done
is "three lines" "$acked" 3
ok "a snapshot" snapshot create kept disk timeout=100
kept=$acked
line

# ---- the image of the template cannot be read ---------------------------------------------------------------

image=$(find "$S/templates/default/versions" -name rootfs.ext4)
sum=$(sh_in web1 'md5sum </bin/busybox')
sh_in web1 'sync; echo 3 >/proc/sys/vm/drop_caches'
ok "the image breaks" broken "$image"
echo 3 >/proc/sys/vm/drop_caches
spawn web1 "exec find / -xdev -type f | xargs cat | md5sum"
reader=$W
if wait_for 120 frozen_by_disk; then
	ok "a guest that cannot read stands still: frozen, disk-error" true
	echo "# $(status web1 last_error)"
	ok "the image is whole again" heal
	ok "thaw" ctl web1 thaw
else # it may have had all of it in memory
	ok "a guest that cannot read stands still: frozen, disk-error" false
	echo "# $(state web1), $(status web1 exit_reason), $(status web1 last_error)"
	heal
	[ "$(state web1)" = running ] || ctl web1 thaw
fi
is "its read goes on and is not an error" "$(answer "$reader")" ok
is "what it reads is what was there" "$(sh_in web1 'md5sum </bin/busybox')" "$sum"
here "it writes on" line
here "no line is lost" lines_are_whole

# ---- the changes cannot be written or read at all -------------------------------------------------------------

ok "the changes break" broken "$(data)"
spawn web1 "exec echo line $((acked + 1)) >>/lines && sync"
ok "a guest that cannot write stands still: frozen, disk-error" wait_for 120 frozen_by_disk
echo "# $(state web1), $(status web1 exit_reason), $(status web1 last_error)"
ok "the daemon answers" test -s "$M/.status"
ok "stop while it is broken" ctl web1 "stop timeout=10"
ok "it is in a lasting state" wait_for 20 in_lasting_state
echo "# $(state web1), $(status web1 last_error)"
fails "start while it is broken" start web1
echo "# $(status web1 last_error)"
ok "the changes are whole again" heal
ok "start" start web1
here "no line is lost" lines_are_whole
here "it writes on" line

# ---- the changes cannot be written, but the kernel can say so on the disk --------------------------------------
# The kernel gives a store up when it cannot write what is new, and its header tells so for ever.

ok "the changes can be read, and written at their header only" broken "$(data)" 4096
# What is new on the disk goes first, and that takes a new place in the store.
spawn web1 'exec x=0123456789abcdef; for n in 1 2 3 4 5 6 7 8 9 10 11 12; do x=$x$x; done; echo "$x" >/more; sync'
ok "it stands still" wait_for 120 frozen_by_disk
ok "the disk is whole again" heal
ctl web1 thaw >reply # it may go on for as long as it does not write
ok "thaw cannot help a store that the kernel gave up" wait_for 120 frozen_by_disk
echo "# $(state web1), $(status web1 last_error)"
ok "stop" ctl web1 "stop timeout=10"
is "stopped" "$(state web1)" stopped
is "start says what it is" "$(errno web1 "start timeout=280")" EBADMSG
echo "# $(status web1 last_error)"
ok "rollback helps" snapshot rollback kept
acked=$kept
ok "start" start web1
here "no line is lost" lines_are_whole
here "it writes on" line

# ---- loop devices are taken away --------------------------------------------------------------------------------

had=$(loops)
for each in $(losetup -n -O NAME,BACK-FILE | awk -v s="$S/" 'index($2, s) { print $1 }'); do
	losetup -d "$each"
done
is "a loop device in use stays" "$(loops)" "$had"
here "the guest writes on" line
here "and reads" lines_are_whole

# ---- something has its disk open -----------------------------------------------------------------------------------

name=sbxfs-$(cat "$S/instance")-$serial
exec 9<"$(device)"
is "stop while something has the disk open" "$(errno web1 "stop timeout=60")" EBUSY
is "is an error" "$(state web1)" error
ok "which names the device: $(status web1 last_error)" grep -q "$name" <<<"$(status web1 last_error)"
exec 9<&-
ok "when that is gone stop works" ctl web1 "stop timeout=60"
is "stopped" "$(state web1) $(loops)" "stopped 0"

# ---- the files change behind the daemon ------------------------------------------------------------------------------

cow=$(data)
cp --sparse=always "$cow" cow.good
truncate -s 64K "$cow"
is "start with a store that is cut off" "$(errno web1 start)" EBADMSG
ok "says what to do: $(status web1 last_error)" grep -q -i 'snapshot' <<<"$(status web1 last_error)"
ok "rollback" snapshot rollback kept
acked=$kept
ok "start" start web1
here "no line of the snapshot is lost" lines_are_whole
ok "stop" ctl web1 "stop timeout=60"
cow=$(data)
rm "$cow"
is "start with a store that is gone" "$(errno web1 start)" ENOENT
ok "says what to do: $(status web1 last_error)" grep -q -i 'snapshot' <<<"$(status web1 last_error)"
ok "rollback" snapshot rollback kept
cp --sparse=always "$image" image.good
truncate -s 8M "$image"
bad=$(errno web1 start)
ok "start with an image that is cut off: $bad" test "$bad" = EBADMSG
echo "# $(status web1 last_error)"
[ "$(state web1)" != running ] || ctl web1 "kill"
cp --sparse=always image.good "$image"
ok "start when it is there again" start web1
here "no line of the snapshot is lost" lines_are_whole

# ---- and its end -------------------------------------------------------------------------------------------------------

ok "the changes break once more" broken "$(data)"
spawn web1 "exec echo line 0 >>/lines; sync"
ok "it stands still" wait_for 120 frozen_by_disk
ok "destroy" ctl web1 destroy
is "nothing of it is left" "$(ls "$S/sandboxes") $(loops) $(dmsetup ls | grep -c ^sbxfs-)" " 0 0"
heal
kill -INT "$P"
ok "the daemon ends" daemon_end a
umount a/state
dmsetup remove --retry "$disk"
losetup -d "$loop"
loop=
"$TOP/tests/inventory" >after
ok "nothing is left on the machine" diff before after
finish
