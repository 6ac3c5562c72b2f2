#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/vm/crash-order.sh - the power fails at any moment of a history: what was acknowledged is there, nothing is half
# needs: root dm kvm fuse slow
# timeout: 2400
# proves: 12 65 72
#
# How it works: the state directory lies on ext4 over dm-log-writes, which keeps every write in the order in which it
# became durable. A daemon goes through a history, with a mark in that log before and after each command and after each
# line that the guest has synced. Then the log is replayed up to many places: each is a disk after a power cut. A daemon
# starts on it. What it shows has to be what was shown after the last acknowledged command, or after the
# one under way; every disk has to pass e2fsck and hold the lines acknowledged by then. To a daemon it is the next boot
# (boot_id), with nothing left in the kernel; it has no QEMU, so that it starts in a third of a second.
#
# Places are taken in a fixed order, coarse ones first, until CRASH_SECONDS (90 for each store) are over.
# CRASH_STORES="dm file"; CRASH_NOSYNC=1: the daemon's and the VMM's fsync do nothing, and this has to fail;
# CRASH_ONLY="N…": those places alone; CRASH_DIR: histories are kept there, and one that is there is taken. Such a one can
# be replayed where there is neither device-mapper nor KVM, so ten times faster: then disks are read by flatten.
# shellcheck disable=SC2016 # what stands in '…' is for another shell
# shellcheck disable=SC2034 # the variables are read in tests/sbx.sh
# shellcheck disable=SC2317 # functions are called by op, at_end and wait_brief
set -u
: "${CRASH_SECONDS:=90}" "${CRASH_STORES:=dm file}"
DAEMON_OPTIONS='--accel kvm'
# shellcheck source=tests/tap.sh
. "$TOP/tests/tap.sh"
# shellcheck source=tests/sbx.sh
. "$TOP/tests/sbx.sh"

replay=$B/tests/vm/helper-logwrites helper_volume=$B/tests/vm/helper-volume
disk=sbxtest-$$ # begins the names of our own devices
lab=$(mktemp -d /dev/shm/crash-order.XXXXXX) # in memory: nothing here waits for a disk
here=$PWD
no_programs=$PWD/no-programs
mkdir a a/state views fsck "$no_programs"
declare -a loop=()

not_mounted() { # DIR
	! mountpoint -q "$1"
}
lab_down() {
	local name device
	if [ -n "${P:-}" ] && mountpoint -q a/m; then
		kill "$P"
		wait_for 20 not_mounted a/m || fusermount3 -uz a/m
	fi
	exec 7>&- 8<&-
	for name in a/state fsck; do
		! mountpoint -q "$name" || umount "$name" || umount -l "$name"
	done
	for name in cut log; do
		! dmsetup info "$disk-$name" >/dev/null 2>&1 || dmsetup remove --retry "$disk-$name"
	done
	for device in "${loop[@]}"; do losetup -d "$device"; done
	loop=()
	umount /proc/sys/kernel/random/boot_id 2>/dev/null
	[ "$PWD" = "$here" ] || rm -rf --one-file-system "$PWD"
	rm -rf "$lab"
}
at_end lab_down
at_end daemons_down # before the disk that they lie on

attach() { # FILE: its loop device in $device
	device=$(losetup --find --show "$1") && loop+=("$device")
}
mark() { # TEXT
	dmsetup message "$disk-log" 0 mark "$1"
}

# ---- what a daemon shows -----------------------------------------------------------------------------------

# Without a fork: this is done hundreds of times. After a crash what was running is stopped.
view() { # into $VIEW
	local dir line state IFS=' '
	VIEW=
	for dir in "$M"/.templates/*/ "$M"/*/; do
		[ -e "$dir/ctl" ] || continue
		VIEW+="${dir#"$M"/}"$'\n'
		if [ -e "$dir/state" ]; then
			read -r state <"$dir/state"
			case $state$has_dm in
			running* | frozen* | starting* | stopping*) state=stopped ;;
			error) state=stopped ;; # of the dm store, where there is no device-mapper to ask
			esac
			VIEW+=" $state"$'\n'
			mapfile -t lines <"$dir/snapshot"
			for line in "${lines[@]:1}"; do
				# shellcheck disable=SC2086 # it is cut into words
				set -- $line
				VIEW+=" snapshot $1 $2 of ${5:-}"$'\n'
			done
		else
			mapfile -t lines <"$dir/status"
			for line in "${lines[@]}"; do
				case $line in digest=* | state=*) VIEW+=" $line"$'\n' ;; esac
			done
		fi
		mapfile -t lines <"$dir/config"
		for line in "${lines[@]}"; do VIEW+=" $line"$'\n'; done
	done
}

# ---- the history -------------------------------------------------------------------------------------------

ops=0      # commands so far: number N has the marks bN and aN, and what was shown then is views/N
acked=0    # lines
op() { # NAME COMMAND…
	local name=$1
	shift
	ops=$((ops + 1))
	mark "b$ops"
	ok "$name" "$@"
	view
	printf '%s' "$VIEW" >"views/$ops"
	mark "a$ops"
	op_name[ops]=$name
}
line() { # one more in the guest's file
	acked=$((acked + 1))
	sh_in web1 "echo line $acked >>/lines && sync" >/dev/null && mark "l$acked"
}
lines() { # COUNT
	local n
	for ((n = 0; n < $1; n++)); do line || return 1; done
}
start() {
	ctl web1 "start timeout=280"
}
snapshot() { # COMMAND…
	"$helper_write" "$M/web1/snapshot" "$*"
}
# The guest writes on while its snapshot is made: which of these lines are in it is open, so only those before count.
snapshot_busily() { # NAME
	lines 4 &
	snapshot create "$1" disk timeout=100
	local status=$?
	wait "$!"
	return "$status"
}
another_version() {
	mkdir -p second && cp "$(template_dir)"/* second/ && echo '# another one' >>second/template.conf &&
		ctl .templates/default "import $PWD/second"
}
has_snapshots() {
	[ "$("$helper_write" -q "$M/web1/snapshot" "delete nothing")" = ENOENT ]
}

declare -A snapshot_lines=() # NAME: lines acknowledged when its command began
declare -a op_name=() op_lines=()

history() { # STORE
	daemon a --storage "$1"
	printf '' >views/0
	view && printf '%s' "$VIEW" >views/0
	op "mkdir of a template" mkdir "$M/.templates/default"
	op "import" ctl .templates/default "import $(template_dir)"
	op "mkdir" mkdir "$M/web1"
	op "set" ctl web1 "set memory_mb=128 disk_mb=32"
	op "start" start
	lines 4
	tap_result $? "lines"
	if has_snapshots; then
		snapshot_lines[s1]=$acked
		op "a snapshot of a running one" snapshot_busily s1
		acked=$((acked + 4))
	fi
	op "another mkdir" mkdir "$M/web2"
	op "settings in one command" ctl web2 "set memory_mb=96 label.a=one label.b=two env.C=3"
	op "rename" mv "$M/web2" "$M/web3"
	lines 3
	tap_result $? "more lines"
	op "another version of the template" another_version
	op "stop" ctl web1 stop
	if [ -n "${snapshot_lines[s1]:-}" ]; then
		snapshot_lines[s2]=$acked
		op "a snapshot of a stopped one" snapshot create s2 disk
		op_lines[ops + 1]=${snapshot_lines[s1]}
		op "rollback" snapshot rollback s1
	fi
	op "start again" start
	acked=$(sh_in web1 'wc -l </lines')
	lines 3
	tap_result $? "yet more lines"
	if [ -n "${snapshot_lines[s1]:-}" ]; then
		op "removal of a snapshot" snapshot delete s1
	fi
	op "kill" ctl web1 kill
	op "rmdir" rmdir "$M/web3"
	op "a setting" ctl web1 "set label.last=yes"
	op "destroy" ctl web1 destroy
	op "rmdir of the template" rmdir "$M/.templates/default"
	kill -INT "$P"
	ok "the daemon ends" daemon_end a
}

# As $disk-log at a/state: the disk, made anew, under the log.
disk_up() {
	truncate -s 384M "$lab/disk" && truncate -s 1G "$lab/log" && truncate -s 128M "$lab/store" &&
		mkfs.ext4 -q -b 4096 -J size=4 -E lazy_itable_init=0,nodiscard "$lab/disk" &&
		cp --sparse=always "$lab/disk" "$lab/image" &&
		attach "$lab/disk" && data=$device && attach "$lab/log" &&
		dmsetup create "$disk-log" --table "0 $(blockdev --getsz "$data") log-writes $data $device" &&
		mount -o noatime,noauto_da_alloc "/dev/dm-$(dmsetup info -c --noheadings -o minor "$disk-log")" a/state
}
disk_down() {
	umount a/state && dmsetup remove --retry "$disk-log" && losetup -d "${loop[1]}" && losetup -d "${loop[0]}" &&
		loop=() && rm "$lab/disk"
}

# A history takes minutes, and where it lay is part of it.
keep() { # STORE
	mkdir -p "$CRASH_DIR/$1" && cp --sparse=always "$lab/image" "$lab/log" "$CRASH_DIR/$1/" && cp -r views "$CRASH_DIR/$1/" &&
		{
			declare -p snapshot_lines op_name op_lines ops
			printf 'cd %q\n' "$PWD"
		} >"$CRASH_DIR/$1/history"
}
take() { # STORE
	local there
	cp --sparse=always "$CRASH_DIR/$1/image" "$CRASH_DIR/$1/log" "$lab/" && truncate -s 128M "$lab/store" &&
		there=$(sed -n 's/^cd //p' "$CRASH_DIR/$1/history") && mkdir -p "$there" && cd "$there" &&
		mkdir -p a/state a/m && cp -r "$CRASH_DIR/$1/views" . && mkfifo pause.fifo &&
		eval "$(sed -n 's/^declare -\([a-zA-Z-]*\)/declare -g\1/p' "$CRASH_DIR/$1/history" | sed 's/^declare -g-/declare -g/')"
}

# ---- the places --------------------------------------------------------------------------------------------

# What has to hold at each: want_op (the last acknowledged command), under_way (1: the next has begun), want_line.
declare -a place=() place_torn=() place_op=() place_begun=() place_line=()

# After each flush, FUA and mark, unless a mark follows: that says more of the same disk. Of the other writes each 16th;
# and after each flush what the writes up to the next could have left if only some of them got there.
choose_places() {
	local number flags text last_op=0 begun=0 acked_line=0 pending=-1 plain=0 at=-1
	place=() place_torn=() place_op=() place_begun=() place_line=()
	add() { # NUMBER [TORN-UNTIL]
		place+=("$1") place_torn+=("${2:-}") place_op+=("$last_op") place_begun+=("$begun") place_line+=("$acked_line")
	}
	while read -r number flags _ _ text; do
		case $flags in
		m)
			case $text in
			b*) begun=1 ;;
			a*)
				last_op=${text#a} begun=0
				[ -z "${op_lines[last_op]:-}" ] || acked_line=${op_lines[last_op]}
				;;
			l*) acked_line=${text#l} ;;
			*) continue ;;
			esac
			at=$((number + 1)) pending=$at
			;;
		*[fu]*)
			[ $pending -lt 0 ] || add $pending
			[ $plain -lt 2 ] || [ $at -lt 0 ] || add $at "$number"
			at=$((number + 1)) pending=$at plain=0
			;;
		*)
			[ $pending -lt 0 ] || add $pending
			pending=-1 plain=$((plain + 1))
			[ $((plain % 16)) != 0 ] || add $((number + 1))
			;;
		esac
	done <list
	[ $pending -lt 0 ] || add $pending
}

ask() { # COMMAND…: of the replay; false with its reason in $ANSWER
	echo "$*" >&7
	IFS= read -r ANSWER <&8
	[ "${ANSWER%% *}" = ok ]
}

replay_up() {
	local devices=(- - "$lab/cut")
	cp --sparse=always "$lab/image" "$lab/replay" && mkfifo replay.in replay.out || return 1
	if [ -n "$has_dm" ]; then
		attach "$lab/replay" && devices[0]=$device && attach "$lab/store" && devices[1]=$device && devices[2]=$disk-cut
	fi
	"$replay" replay "$lab/log" "$lab/replay" "${devices[@]}" <replay.in >replay.out 2>replay.err &
	replay_pid=$!
	exec 7>replay.in 8<replay.out
}
replay_down() {
	exec 7>&- 8<&-
	wait "$replay_pid"
	[ -z "$has_dm" ] || { losetup -d "${loop[1]}" && losetup -d "${loop[0]}" && loop=(); }
	rm -f "$lab/replay" replay.in replay.out
}

pause() { # a hundredth of a second, without a fork
	read -r -t 0.01 <>pause.fifo
}
wait_brief() { # SECONDS COMMAND…
	local until=$((SECONDS + $1 + 1))
	shift
	until "$@"; do
		[ $SECONDS -lt $until ] || return 1
		pause
	done
	return 0
}
is_mounted() {
	[ -e a/m/.version ] || ! kill -0 "$P" 2>/dev/null
}
at_rest() {
	local file state
	for file in a/m/*/state; do
		[ -e "$file" ] || continue
		read -r state <"$file"
		case $state in starting | stopping | destroying) return 1 ;; esac
	done
}
kernel_is_empty() { # of what the daemon made
	local file name
	for file in /sys/block/dm-*/dm/name; do
		[ -e "$file" ] || continue
		read -r name <"$file"
		case $name in sbxfs-*) return 1 ;; esac
	done
	for file in /sys/block/loop*/loop/backing_file; do
		[ -e "$file" ] || continue
		read -r name <"$file"
		case $name in "$PWD"/*) return 1 ;; esac
	done
}

wrong() { # TEXT
	WRONG+="  $*"$'\n'
}

# The daemon on the disk as it is now: what it shows, and its end.
look() {
	local status=0
	PATH=$no_programs "$B/sbxfs" -f --state-dir "$PWD/a/state" --net user "$PWD/a/m" >log.cut 2>&1 &
	P=$! M=$PWD/a/m VIEW=none
	wait_brief 60 is_mounted
	if [ -e a/m/.version ]; then
		wait_brief 60 at_rest || wrong "not at rest after 60 s: $(grep -H . a/m/*/state; tail -n 3 log.cut)"
		view
	else
		wrong "the daemon does not start: $(tail -n 1 log.cut)"
	fi
	kill -INT $P 2>/dev/null
	wait $P || status=$?
	[ $status = 0 ] || wrong "the daemon ended with $status: $(tail -n 1 log.cut)"
	wait_brief 10 kernel_is_empty || wrong "something of it is left in the kernel"
}

check_view() { # PLACE
	local op=${place_op[$1]}
	[ "$VIEW" != "${seen[op]}" ] || return 0
	[ "${place_begun[$1]}" = 0 ] || [ "$VIEW" != "${seen[op + 1]}" ] || return 0
	wrong "it shows neither what was shown after command $op (${op_name[op]:-none})" \
		"nor after the next (${op_name[op + 1]:-none}):"$'\n'"$VIEW"
}

# Every disk and snapshot that has data, attached as a sandbox would have it.
check_disks() { # PLACE
	local dir name want base pin
	for dir in a/state/sandboxes/*/ a/state/sandboxes/*/data.*/ a/state/sandboxes/*/snapshots/*/; do
		[ -e "${dir}cow" ] || [ -e "${dir}disk.qcow2" ] || [ -e "${dir}disk.raw" ] || continue
		case $dir in
		*/snapshots/*)
			name=${dir%/} name=${name##*/} want=${snapshot_lines[$name]:-0}
			record=$dir/record
			;;
		*)
			want=${place_line[$1]}
			# A rollback under way: the old disk or the new one.
			[ "${place_begun[$1]}" = 0 ] || [ -z "${op_lines[place_op[$1] + 1]:-}" ] ||
				want=${op_lines[place_op[$1] + 1]}
			record=${dir%%/data.*}/record
			;;
		esac
		mapfile -t lines <"$record"
		pin=
		for line in "${lines[@]}"; do
			case $line in *'"template":'*) pin=${line#*:} pin=${pin#*\"} pin=${pin%%\"*} ;; esac
		done
		[ -n "$pin" ] || continue # a start that did not come far: nobody was told of this data
		base=$PWD/a/state/templates/${pin%@*}/versions/${pin#*@}/rootfs.ext4
		check_disk "$dir" "$base" "$want"
	done
}

declare -A disk_lines=() # by the sum of a data file: its lines, as found
check_disk() { # DIR BASE LINES
	local file sum
	for file in "$1"{cow,disk.qcow2,disk.raw}; do [ ! -e "$file" ] || break; done
	ask sum "$file" || { wrong "$file: $ANSWER"; return; }
	sum=${file##*/}${ANSWER#ok}
	[ -n "${disk_lines[$sum]:-}" ] || disk_lines[$sum]=$(disk_count "$1" "$2")
	case ${disk_lines[$sum]} in
	[0-9]*) [ "${disk_lines[$sum]}" -ge "$3" ] || wrong "$file has ${disk_lines[$sum]} lines, and $3 were acknowledged" ;;
	*) wrong "$file: ${disk_lines[$sum]}" ;;
	esac
}

# How many lines are on a disk; or what is wrong with it. It is attached as for a guest where device-mapper can.
disk_count() { # DIR BASE
	local path
	if [ "$store$has_dm" = dmyes ]; then
		coproc HOLD { exec "$helper_volume" dm tcut 1 "$PWD/$1" "$2" $((32 << 20)) hold 2>&1; }
		read -r path <&"${HOLD[0]}"
		case $path in
		/*) lines_on "$path" ;;
		*) echo "cannot be attached: $path $(cat <&"${HOLD[0]}")" ;;
		esac
		eval "exec ${HOLD[1]}>&-"
		wait
	else
		rm -f "$lab/flat"
		if "$helper_volume" "$store" tcut 1 "$PWD/$1" "$2" $((32 << 20)) flatten "$lab/flat" >flat.out 2>&1; then
			lines_on "$lab/flat"
		else
			echo "cannot be read: $(tr '\n' ' ' <flat.out)"
		fi
	fi
}
lines_on() { # IMAGE
	local status=0 count
	e2fsck -fy "$1" >fsck.out 2>&1 || status=$?
	if [ $status -gt 1 ]; then
		echo "e2fsck: status $status: $(tail -n 3 fsck.out | tr '\n' ' ')"
	elif debugfs -R 'cat /lines' "$1" >lines.out 2>/dev/null && count=$(wc -l <lines.out) &&
		seq -f 'line %g' 1 "$count" | cmp -s - lines.out; then
		echo "$count"
	elif [ ! -s lines.out ]; then
		echo 0
	else
		echo "its lines are not those that were written: $(tail -n 2 lines.out | tr '\n' ' ')"
	fi
}

check_place() { # INDEX
	WRONG=
	ask to "${place[$1]}" || { wrong "replay: $ANSWER"; return 1; }
	if [ -n "${place_torn[$1]}" ]; then
		ask torn "$PWD/a/state" "${place_torn[$1]}"
	else
		ask begin "$PWD/a/state"
	fi || { wrong "the file system: $ANSWER"; return 1; }
	# Before anything was acknowledged there may be nothing of the state directory.
	look
	check_view "$1"
	check_disks "$1"
	ask end "$PWD/a/state" || wrong "the file system: $ANSWER"
	[ -z "$WRONG" ]
}

# Eight passes, each an eighth of the places: 0 4 2 6 1 5 3 7 of each eight.
check_places() {
	local pass i until=$((SECONDS + CRASH_SECONDS)) began=$SECONDS
	checked=0 bad=0
	for pass in 0 4 2 6 1 5 3 7; do
		[ $SECONDS -lt $until ] || break
		replay_up || return 1
		for ((i = pass; i < ${#place[@]} && SECONDS < until; i += 8)); do
			[ -z "${CRASH_ONLY:-}" ] || [[ " $CRASH_ONLY " = *" ${place[i]} "* ]] || continue
			checked=$((checked + 1))
			if ! check_place "$i"; then
				bad=$((bad + 1))
				echo "# after ${place[i]} of $entries entries${place_torn[i]:+, torn up to ${place_torn[i]}}," \
					"command ${place_op[i]} acknowledged${place_begun[i]:+ ($((place_begun[i])) under way)}:"
				printf '%s' "$WRONG" | sed 's/^/#   /'
				mountpoint -q a/m && fusermount3 -uz a/m
				! mountpoint -q a/state || ask end "$PWD/a/state" || break 2
			fi
			[ $bad -lt 10 ] || break 2
		done
		replay_down
	done
	[ -p replay.in ] && replay_down
	echo "# $checked of ${#place[@]} places checked in $((SECONDS - began)) s, ${#disk_lines[@]} different disks; $bad bad"
	[ "$checked" -gt 0 ] && [ $bad = 0 ]
}

# ---- the test ----------------------------------------------------------------------------------------------

modprobe dm-log-writes 2>/dev/null
has_dm=
! dmsetup version >/dev/null 2>&1 || has_dm=yes
mkfifo pause.fifo
if [ -n "${CRASH_NOSYNC:-}" ]; then
	printf 'int %s(int fd) { (void)fd; return 0; }\n' fsync fdatasync syncfs | gcc -shared -fPIC -x c -o "$PWD/nosync.so" - || exit 1
fi
"$TOP/tests/inventory" >"$here/before"

for store in $CRASH_STORES; do
	snapshot_lines=() op_name=() op_lines=() disk_lines=() ops=0 acked=0
	if [ -n "${CRASH_DIR:-}" ] && [ -e "$CRASH_DIR/$store/history" ]; then
		take "$store"
	else
		disk_up
		tap_result $? "the disk of the $store store is logged"
		[ -z "${CRASH_NOSYNC:-}" ] || export LD_PRELOAD="$PWD/nosync.so"
		history "$store"
		unset LD_PRELOAD
		disk_down
		tap_result $? "the disk is put away"
		[ -z "${CRASH_DIR:-}" ] || keep "$store"
	fi
	seen=()
	for ((n = 0; n <= ops; n++)); do
		IFS= read -r -d '' "seen[n]" <"views/$n"
	done
	# shellcheck disable=SC2094 # list is a word there
	"$replay" list "$lab/log" >list
	entries=$(wc -l <list)
	choose_places
	echo "# $store: $entries entries, $(cut -d' ' -f2 list | grep -c '[fu]') of them flushes, $(grep -c ' m ' list) marks; ${#place[@]} places"
	# The next boot.
	echo 00000000-0000-4000-8000-000000000000 >boot_id
	mount --bind boot_id /proc/sys/kernel/random/boot_id
	check_places
	tap_result $? "after a power cut the $store store has the old or the new"
	umount /proc/sys/kernel/random/boot_id
	rm -f "$lab"/*
done

"$TOP/tests/inventory" >"$here/after"
ok "nothing is left" diff "$here/before" "$here/after"
finish
