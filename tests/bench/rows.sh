# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/bench/rows.sh - the rows of the bench; read by tests/bench/run, which finds every function row_NAME here
#
# A row says what it is (about), leaves samples in $samples, and makes lines of them (measure SERIES UNIT TEXT
# [BASE [LIMIT]]). It has $m to mount on, $work for files, $runs for its counts, and cleans up what daemon_stop and mini_stop
# do not. What it needs and this machine has not is said with `missing REASON`.
# shellcheck disable=SC2154 # m, work, runs, … are set by tests/bench/run

# ---- guests ---------------------------------------------------------------------------------------------

keep_model() { # DIR PID: what helper-bare takes
	mkdir -p "$1"
	cp "/proc/$2/cmdline" "$1/argv"
	for fd in 3 4 5 6 7 8 9 10 11 12; do
		[ ! -e "/proc/$2/fd/$fd" ] || echo "$fd $(sed -n 's/^flags:[^0-9]*//p' "/proc/$2/fdinfo/$fd") $(readlink "/proc/$2/fd/$fd")"
	done >"$1/fds"
}

# A sandbox of its own for each: a first start, which makes its disk too.
start_ours() { # NUMBER
	mkdir "$m/b$1" && "$tools/helper-fs" write start start "$m/b$1/ctl" >>"$samples" || return 1
	echo destroy >"$m/b$1/ctl"
}

start_bare() { # NUMBER NET
	mkdir "$work/bare$1" && "$tools/helper-bare" bare "$work/model" "$work/bare$1" "$disk_mb" "$2" >>"$samples" || return 1
	rm -rf "$work/bare$1"
}

start_against_bare() { # NET
	daemon_with_template "$1" || return
	mkdir "$m/model"
	if ! echo start >"$m/model/ctl"; then
		missing "a sandbox does not start: $(head -n 1 "$m/model/ctl")"
		return
	fi
	accel=$(value accel "$m/model/status")
	disk_mb=$(value disk_mb "$m/model/status")
	keep_model "$work/model" "$(value pid "$m/model/status")"
	echo destroy >"$m/model/ctl"
	about "from nothing to an agent that answers, network $1, $accel"
	n=0
	while [ $n -lt "$runs" ]; do
		n=$((n + 1))
		# Who comes first changes, so that neither always finds the caches that the other filled.
		[ $((n % 2)) = 0 ] || start_bare $n "$1" || break
		start_ours $n || break
		[ $((n % 2)) = 1 ] || start_bare $n "$1" || break
	done
	rm -rf "$work/model"
	measure bare ms "QEMU alone, same command line, to /health"
	measure start ms "echo start >ctl, to its return" bare 1.5
}

row_start_user() {
	start_against_bare user
}

row_start_netns() {
	is_root || return
	start_against_bare netns
}

exec_round_trip() { # NET
	daemon_with_template "$1" || return
	mkdir "$m/a"
	if ! echo start >"$m/a/ctl"; then
		missing "a sandbox does not start: $(head -n 1 "$m/a/ctl")"
		return
	fi
	about "a command in the guest, network $1, $(value accel "$m/a/status")"
	"$tools/helper-agent" $((runs * 4)) "$m/a" "$(value host_ip "$m/a/status")" 49983 >>"$samples"
	measure agent-health ms "GET /health of the agent, a connection of its own"
	measure agent-exec ms "exec true by the agent's protocol" agent-health
	measure ctl-exec ms "echo exec true >ctl, to its return" agent-exec 1.5
	measure ctl-exec ms "the same" agent-health
}

row_exec_user() {
	exec_round_trip user
}

row_exec_netns() {
	is_root || return
	exec_round_trip netns
}

# ---- reading --------------------------------------------------------------------------------------------

read_in_turn() { # COUNT PAUSE_US
	"$tools/helper-fs" read "$1" "$2" mini "$mini_m/state" state "$m/a/state" status "$m/a/status" \
		self /proc/self/status uptime /proc/uptime >>"$samples"
}

measure_reads() { # TEXT
	measure uptime us "/proc/uptime$1"
	measure self us "/proc/self/status$1"
	measure mini us "a constant from a minimal FUSE file system$1"
	measure state us "state$1" mini 2
	measure status us "status (some 30 lines)$1" mini
}

row_read() {
	daemon_start user || return
	mini_start 0
	mkdir "$m/a"
	about "open, read, close, one thread, nothing else going on"
	read_in_turn $((runs * 100)) 0
	measure_reads ""
}

in_state() { # STATE: how many sandboxes are
	cat "$m"/f*/state | grep -c "^$1"
}

row_read_in_flight() {
	daemon_with_template user || return
	mini_start 0
	mkdir "$m/a"
	n=0
	while [ $n -lt "$flight" ]; do
		n=$((n + 1))
		mkdir "$m/f$n"
		echo memory_mb=128 >"$m/f$n/config"
		echo async start >"$m/f$n/ctl"
	done
	about "the same while $flight guests start"
	first=$(in_state starting)
	read_in_turn $((runs * 20)) 2000
	last=$(in_state starting)
	measure_reads ", $first-$last starting"
	[ "$last" -gt 0 ] || missing "the starts were over before the reads; raise BENCH_FLIGHT"
	(cd "$m" && echo "destroy $(echo f*)" >.ctl)
}

# ---- many -----------------------------------------------------------------------------------------------

# Directories of other file systems to compare with: $memory (tmpfs) and $disk (ext4), empty when there is none.
other_file_systems() {
	memory=
	disk=
	if [ "$(id -u)" = 0 ] && mount -t tmpfs tmpfs "$work/memory"; then
		memory=$work/memory/d
	elif [ "$(stat -f -c %T /dev/shm)" = tmpfs ]; then
		memory=/dev/shm/${work##*/}
	else
		missing "no tmpfs to compare with"
	fi
	case $(stat -f -c %T "$work") in
	ext*) disk=$work/ext4 ;;
	*) missing "$B is not on ext4" ;;
	esac
}

define() { # COUNT: through the mount and elsewhere, in turn, one sample each
	set -- "$1" plain "define-$1" "$m"
	[ -z "$memory" ] || { mkdir "$memory" && set -- "$@" plain "tmpfs-define-$1" "$memory"; }
	[ -z "$disk" ] || { mkdir "$disk" "$disk.durable" && set -- "$@" plain "ext4-define-$1" "$disk" durable "fsync-define-$1" "$disk.durable"; }
	"$tools/helper-fs" make "$@" >>"$samples"
	rm -rf "$work/ext4.durable"
	if [ -z "$memory" ] || [ -z "$disk" ]; then
		measure "define-$1" us "mkdir of a sandbox (durable), each of $1"
		return
	fi
	measure "tmpfs-define-$1" us "mkdir on tmpfs, each of $1"
	measure "ext4-define-$1" us "mkdir on ext4, each of $1"
	measure "fsync-define-$1" us "mkdir and a record on ext4, 3 fsyncs, each of $1"
	measure "define-$1" us "mkdir of a sandbox (durable), each of $1" "fsync-define-$1" 3
}

walk_in_turn() { # VERB COUNT TEXT LIMIT
	"$tools/helper-fs" "$1" "$runs" "$1-$2" "$m" "mini-$1-$2" "$mini_m" \
		${memory:+"tmpfs-$1-$2" "$memory"} ${disk:+"ext4-$1-$2" "$disk"} >>"$samples"
	[ -z "$memory" ] || measure "tmpfs-$1-$2" ms "$3 of $2 on tmpfs"
	[ -z "$disk" ] || measure "ext4-$1-$2" ms "$3 of $2 on ext4"
	measure "mini-$1-$2" ms "$3 of $2 on a minimal FUSE file system"
	measure "$1-$2" ms "$3 of $2 sandboxes" "mini-$1-$2" "$4"
}

# After this pause the kernel knows no entry any more: what a first ls -l costs.
walk_cold() { # COUNT
	n=0
	while [ $n -lt "$runs" ]; do
		n=$((n + 1))
		sleep 1.1
		"$tools/helper-fs" stat 1 "cold-$1" "$m" "mini-cold-$1" "$mini_m" >>"$samples"
	done
	measure "mini-cold-$1" ms "ls -l of $1, forgotten, minimal FUSE file system"
	measure "cold-$1" ms "ls -l of $1 sandboxes, forgotten by the kernel" "mini-cold-$1" 2
}

row_many() {
	about "defined sandboxes and ls"
	for count in $many; do
		daemon_start user || return
		mini_start "$count"
		other_file_systems
		progress "$row: $count"
		define "$count"
		# Ours answers the first of them with attributes (readdirplus), which the minimal one never does.
		walk_in_turn list "$count" ls 6
		walk_in_turn stat "$count" "ls -l" 2
		walk_cold "$count"
		"$tools/helper-fs" cat "$runs" "cat-$count" "$m" >>"$samples"
		measure "cat-$count" ms "ls, and cat status of each of $count sandboxes"
		rm -rf "$work/ext4" ${memory:+"$memory"}
		memory_unmount
		daemon_stop
		mini_stop
	done
}

# ---- the daemon itself ----------------------------------------------------------------------------------

pss_kib() {
	awk '/^Pss:/ { print $2 }' "/proc/$daemon/smaps_rollup"
}

rss_kib() {
	awk '/^VmRSS:/ { print $2 }' "/proc/$daemon/status"
}

cpu_ns() { # of all its threads since they began
	cat "/proc/$daemon"/task/*/schedstat | awk '{ sum += $1 } END { printf "%.0f\n", sum }'
}

idle_samples() { # SERIES: microseconds of CPU in each of some seconds
	n=0
	while [ $n -lt "$runs" ]; do
		n=$((n + 1))
		before=$(cpu_ns)
		sleep 1
		sample "$1" "$(awk -v a="$before" -v b="$(cpu_ns)" 'BEGIN { print (b - a) / 1000 }')"
	done
}

row_daemon() {
	daemon_start user || return
	count=10000
	about "the daemon's own memory and idle CPU (microseconds in a second)"
	sleep 2
	pss=$(pss_kib)
	rss=$(rss_kib)
	idle_samples idle-0
	"$tools/helper-fs" make $count plain make "$m" >/dev/null
	sleep 2
	sample fds "$(find "/proc/$daemon/fd" | awk -v n=$count 'END { print NR / n }')"
	sample rss-empty "$rss"
	sample pss-empty "$pss"
	sample rss "$(awk -v a="$rss" -v b="$(rss_kib)" -v n=$count 'BEGIN { print (b - a) / n }')"
	sample pss "$(awk -v a="$pss" -v b="$(pss_kib)" -v n=$count 'BEGIN { print (b - a) / n }')"
	idle_samples idle-many
	measure rss-empty KiB "resident, no sandbox"
	measure pss-empty KiB "proportional, no sandbox"
	measure rss KiB "resident, for each of $count defined sandboxes"
	measure pss KiB "proportional, for each of $count defined sandboxes"
	measure fds fds "open descriptors, for each of them"
	measure idle-0 us "CPU in a second, no sandbox"
	measure idle-many us "CPU in a second, $count sandboxes defined" idle-0
}

# ---- drivers --------------------------------------------------------------------------------------------

row_slot() {
	is_root || return
	[ -n "${BENCH_INSIDE:-}" ] || {
		missing "no network namespace of its own"
		return
	}
	about "a network slot: namespace, veth, tap, nftables"
	"$tools/helper-net" $((runs * 2)) >>"$samples"
	measure forks-up ms "up by forked ip, sysctl and nft"
	measure slot-up ms "up" forks-up 0.5
	measure forks-down ms "down by forked ip and nft"
	measure slot-down ms "down" forks-down 1.5
	measure slot-ready us "one that is ready, as a start takes it" slot-up 0.2
	measure slot-release us "given back, as a stop does" slot-down 0.2
}

row_dm() {
	if dmsetup version >/dev/null 2>&1; then
		about "a dm snapshot over loop devices"
		set -- sh
	elif [ "$(id -u)" = 0 ]; then
		about "a dm snapshot over loop devices, on the test host (emulated: only the ratio counts)"
		set -- "$TOP/tests/host/run" sh
	else
		missing "no device-mapper, and not root"
		return
	fi
	if ! "$@" "$TOP/tests/bench/dm-part" "$runs" >"$work/dm" 2>"$work/dm.log"; then
		missing "no device-mapper here, and the test host failed: $(tail -n 1 "$work/dm.log")"
		return
	fi
	grep '^dm-' "$work/dm" >>"$samples"
	measure dm-forks-up ms "up by forked losetup and dmsetup"
	measure dm-up ms "up" dm-forks-up 0.5
	measure dm-forks-down ms "down by forked dmsetup and losetup"
	measure dm-down ms "down" dm-forks-down 1
	measure dm-create ms "create (a sparse file, durable)"
	measure dm-raw-first us "4 KiB written at random to a sparse file's loop device, direct"
	measure dm-write-first us "the same through the snapshot, first touch" dm-raw-first
	measure dm-raw-again us "the same blocks again, loop device"
	measure dm-write-again us "the same blocks again, through the snapshot" dm-raw-again 4
}

row_file() {
	command -v qemu-img >/dev/null || {
		missing "no qemu-img (package qemu-utils)"
		return
	}
	about "a disk in a file: overlay or reflink"
	mkdir "$work/store"
	truncate -s 64M "$work/store/base"
	"$tools/helper-store" file $((runs * 4)) "$work/store" "$work/store/base" 64 >>"$samples"
	rm -rf "$work/store"
	measure file-forks-create ms "qemu-img create (not durable)"
	measure file-create ms "create (durable)" file-forks-create 1
	measure file-up ms "up"
	measure file-down ms "down"
}

# 64 MiB of changes in a disk of 1 GiB, most of it empty: a piece of 48 MiB and 4 KiB here and there.
image_write() { # FORMAT FILE
	awk 'BEGIN {
		print "write -P 1 100M 48M"
		for (i = 0; i < 4096; i++) printf "write -P %d %dk 4k\n", i % 255 + 1, (i * 7919 % 131072) * 8
		print "quit"
	}' | qemu-io -f "$1" "$2" >/dev/null
}

row_image() {
	command -v qemu-io >/dev/null || {
		missing "no qemu-img and qemu-io (package qemu-utils)"
		return
	}
	about "a disk of 1 GiB, most of it empty, with 64 MiB of changes, in a file"
	mkdir "$work/image"
	truncate -s 1G "$work/image/base"
	mke2fs -q -F "$work/image/base"
	dd if=/dev/urandom of="$work/image/base" bs=1M count=32 seek=300 conv=notrunc status=none
	data=$("$tools/helper-image" make "$work/image" "$work/image/base" 1024)
	image_write "${data#disk.}" "$work/image/$data"
	sync "$work/image/$data"
	"$tools/helper-image" measure "$work/image" "$work/image/base" 1024 "$runs" >>"$samples"
	rm -rf "$work/image"
	measure image-qemu ms "qemu-img convert -S 4k"
	measure image-ours ms "the disk as one image (flatten)" image-qemu 1
	measure copy-cp ms "cp --sparse=always, sync"
	measure copy-ours ms "a disk snapshot's copy (checked, durable)" copy-cp 2
}

# What a commit of a stopped sandbox comes to, with the tools that everybody has; durable, as ours.
commit_by_hand() { # OVERLAY IMAGE
	qemu-img convert -O raw "$1" "$2" || return 1
	e2fsck -fy "$2" >/dev/null 2>&1
	[ $? -le 2 ] || return 1
	resize2fs -M "$2" >/dev/null 2>&1 || return 1
	truncate -s "$(dumpe2fs -h "$2" 2>/dev/null | awk '/^Block count:/ { n = $3 } /^Block size:/ { print n * $3 }')" "$2"
	truncate -s 5120M "$2"
	resize2fs "$2" >/dev/null 2>&1 && sync "$2"
}

row_commit() {
	command -v qemu-img >/dev/null || {
		missing "no qemu-img (package qemu-utils)"
		return
	}
	daemon_with_template user || return
	about "a template from a disk of 1 GiB, most of it empty, of a stopped sandbox"
	mkdir "$m/c"
	echo "set disk_mb=1024" >"$m/c/ctl"
	if ! echo start >"$m/c/ctl"; then
		missing "a sandbox does not start: $(head -n 1 "$m/c/ctl")"
		return
	fi
	echo "exec dd if=/dev/urandom of=/root/data bs=1M count=64; sync" >"$m/c/ctl"
	echo stop >"$m/c/ctl"
	overlay=$(find "$work/state.$started/sandboxes" -name 'disk.qcow2')
	if [ -z "$overlay" ]; then
		missing "the store has no overlay that qemu-img reads"
		return
	fi
	n=0
	while [ $n -lt "$runs" ]; do
		n=$((n + 1))
		begin=$(date +%s%N)
		commit_by_hand "$overlay" "$work/by-hand" || break
		echo "commit-hand $((($(date +%s%N) - begin) / 1000))" >>"$samples"
		"$tools/helper-fs" write "snapshot commit bench" commit "$m/c/ctl" >>"$samples" || break
		rm "$work/by-hand"
	done
	echo destroy >"$m/c/ctl"
	measure commit-hand ms "qemu-img convert, e2fsck, resize2fs twice, sync"
	measure commit ms "snapshot commit" commit-hand 1.5
}
