# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/bench/rows-memory.sh - the rows of the bench about saved memory; read by tests/bench/run as rows.sh is
#
# What they are compared with is QEMU alone with the same command line and the same saved files (helper-restore): memory
# copied, devices loaded, let go on, until /health answers; or stopped, devices and memory written, synced.
# shellcheck disable=SC2154 # m, work, runs, … are set by tests/bench/run

# ---- guests and what they leave -------------------------------------------------------------------------

guest() { # NAME SETTINGS: defined and running
	mkdir "$m/$1" && echo "set $2" >"$m/$1/ctl" && echo start >"$m/$1/ctl" && return
	missing "a sandbox does not start: $(head -n 1 "$m/$1/ctl")"
	return 1
}

in_guest() { # NAME COMMAND: what it prints
	echo "exec $2" >"$m/$1/ctl" && sed 1,2d "$m/$1/ctl"
}

# A command without a sample.
say() { # NAME COMMAND
	echo "$2" >"$m/$1/ctl" && return
	missing "$2 fails: $(head -n 1 "$m/$1/ctl")"
	return 1
}

timed() { # NAME COMMAND SERIES
	"$tools/helper-fs" write "$2" "$3" "$m/$1/ctl" >>"$samples" && return
	missing "$2 fails: $(head -n 1 "$m/$1/ctl")"
	return 1
}

dir_of() { # NAME: below the state directory
	id=$(value id "$m/$1/status")
	echo "$work/state.$started/sandboxes/$((0x${id##*-}))"
}

# What helper-restore goes on from, beside argv and fds. Links: what is saved never changes.
keep_saved() { # MODEL DIR_OF_MEMORY DIR_OF_DISK
	rm -rf "$1/state" "$1/memory" "$1/disk"
	mkdir -p "$1"
	ln "$2/state" "$2/memory" "$1" || return 1
	disk=$(find "$3" -maxdepth 2 -path "$3/snapshots" -prune -o -name 'disk.*' -type f -print | head -n 1)
	[ -z "$disk" ] || cp --sparse=always "$disk" "$1/disk"
}

# Of a guest that was resumed, and is paused again: $work/model, $accel, $disk_mb.
model_of() { # NAME
	say "$1" pause || return 1
	say "$1" resume || return 1
	accel=$(value accel "$m/$1/status")
	disk_mb=$(value disk_mb "$m/$1/status")
	keep_model "$work/model" "$(value pid "$m/$1/status")"
	say "$1" pause || return 1
	if ! keep_saved "$work/model" "$(dir_of "$1")"/memory.* "$(dir_of "$1")"; then
		missing "what is saved has no files state and memory"
		return 1
	fi
}

restore_bare() { # SERIES NET COUNT [SAVE_SERIES]
	mkdir "$work/bare"
	"$tools/helper-restore" "$1" "$work/model" "$work/bare" "$disk_mb" "$2" "$3" ${4:+"$4"} >>"$samples"
	set -- $?
	rm -rf "$work/bare"
	[ "$1" = 0 ] || missing "QEMU alone does not do it"
	return "$1"
}

kept_no_more() {
	rm -rf "$work/model"
	daemon_stop
}

# ---- resume and pause -----------------------------------------------------------------------------------

# Who comes first changes, so that neither always finds the caches that the other filled.
resume_rounds() { # NET
	n=0
	while [ $n -lt "$runs" ]; do
		n=$((n + 1))
		[ $((n % 2)) = 0 ] || restore_bare bare "$1" 1 || return
		timed r resume resume || return
		say r pause || return
		[ $((n % 2)) = 1 ] || restore_bare bare "$1" 1 || return
	done
}

resume_against_bare() { # NET
	daemon_with_template "$1" || return
	guest r memory_mb=256 || return
	model_of r || return
	about "from saved memory to an agent that answers, network $1, $accel, 256 MiB, $(du -k "$work/model/memory" | cut -f 1) KiB saved"
	resume_rounds "$1"
	kept_no_more
	measure bare ms "QEMU alone, same command line and files, to /health"
	measure resume ms "echo resume >ctl, to its return" bare 2
}

row_resume_user() {
	resume_against_bare user
}

row_resume_netns() {
	is_root || return
	resume_against_bare netns
}

dirty() { # NAME MIB: of memory that cannot be dropped, and of zeroes nothing
	in_guest "$1" "mkdir -p /run/bench; mount -t tmpfs -o size=$2m tmpfs /run/bench; dd if=/dev/urandom of=/run/bench/x bs=64k count=$(($2 * 16)) 2>/dev/null; stat -c %s /run/bench/x" |
		grep -qx $(($2 << 20))
}

pause_rounds() { # MIB
	guest p memory_mb=512 || return
	if ! dirty p "$1"; then
		missing "the guest cannot fill $1 MiB"
		return
	fi
	model_of p || return
	n=0
	while [ $n -lt "$runs" ]; do
		n=$((n + 1))
		[ $((n % 2)) = 0 ] || restore_bare restore user 1 "bare-$1" || return
		say p resume || return
		timed p pause "pause-$1" || return
		[ $((n % 2)) = 1 ] || restore_bare restore user 1 "bare-$1" || return
	done
	say p destroy
	rm -rf "$work/model"
}

# Milliseconds for each MiB more, of the least times: on a busy machine others differ by more than this.
per_mib() { # SERIES
	sample "$1-mib" "$(awk -v few="$1-16" -v many="$1-128" '
		$1 == few && (!a || $2 < a) { a = $2 }
		$1 == many && (!b || $2 < b) { b = $2 }
		END { print (b - a) / 112 / 1000 }' "$samples")"
}

# No limit: on a busy machine the ratio differs more than twofold from run to run. Ours also has the guest prepare itself and
# takes down what it had; how much of the time that is, is not measured here.
row_pause() {
	daemon_with_template user || return
	about "a guest of 512 MiB saved, with some of it filled with noise, $(value accel "$m/.status")"
	for mib in 16 64 128; do
		pause_rounds $mib
		[ -z "$(find "$m" -maxdepth 1 -name p)" ] || break
		measure "bare-$mib" ms "QEMU alone: stop, migrate, copy, fsync, $mib MiB dirty"
		measure "pause-$mib" ms "echo pause >ctl, to its return, $mib MiB dirty" "bare-$mib"
	done
	kept_no_more
	[ "$(grep -c '^pause-128 ' "$samples")" -gt 0 ] || return
	per_mib bare
	per_mib pause
	measure bare-mib ms/MiB "QEMU alone, each MiB more (from the least times)"
	measure pause-mib ms/MiB "pause, each MiB more (from the least times)" bare-mib
}

# ---- first starts from a template's memory --------------------------------------------------------------

image_is_ready() {
	[ "$(value warm "$m/.templates/default/status")" = ready ]
}

goes_on() { # NAME: it has not booted
	tr '\0' '\n' <"/proc/$(value pid "$m/$1/status")/cmdline" | grep -qx -- -incoming
}

warm_model() {
	guest w warm=auto || return 1
	if ! soon 300 image_is_ready; then
		missing "no image of the template's memory is made: $(value warm "$m/.templates/default/status")"
		return 1
	fi
	say w destroy || return 1
	guest model warm=auto || return 1
	if ! goes_on model; then
		missing "a start boots though there is an image"
		return 1
	fi
	accel=$(value accel "$m/model/status")
	disk_mb=$(value disk_mb "$m/model/status")
	keep_model "$work/model" "$(value pid "$m/model/status")"
	version=$work/state.$started/templates/default/versions/$(value digest "$m/.templates/default/status")
	keep_saved "$work/model" "$version/memory" "$version/memory/start"
	say model destroy
}

start_new() { # NAME WARM SERIES
	mkdir "$m/$1" || return 1
	say "$1" "set warm=$2" || return 1
	timed "$1" start "$3" || return 1
	if [ "$2" = auto ] && ! goes_on "$1"; then
		missing "a start boots though there is an image"
		return 1
	fi
	say "$1" destroy
}

row_warm() {
	daemon_with_template user auto || return
	warm_model || return
	about "a first start where the template has memory to go on from, network user, $accel, 512 MiB"
	n=0
	while [ $n -lt "$runs" ]; do
		n=$((n + 1))
		[ $((n % 2)) = 0 ] || restore_bare bare user 1 || break
		start_new "w$n" auto warm || break
		start_new "b$n" no boot || break
		[ $((n % 2)) = 1 ] || restore_bare bare user 1 || break
	done
	kept_no_more
	measure bare ms "QEMU alone, same command line and files, to /health"
	measure boot ms "echo start >ctl, to its return, warm=no"
	# To the former without a limit, since it swings: ours also makes data, disk and network, which are there before in the other.
	measure warm ms "echo start >ctl, to its return" bare
	measure warm ms "the same" boot 0.5
}

# ---- clones ---------------------------------------------------------------------------------------------

state_kib() {
	du -sk "$work/state.$started/sandboxes" | cut -f 1
}

pss_of() { # SERIES PID…: a sample each
	series=$1
	shift
	for pid in "$@"; do
		sample "$series" "$(awk '/^Pss:/ { print $2 }' "/proc/$pid/smaps_rollup")"
	done
}

names() { # COUNT
	seq -f 'c%g' -s ' ' "$1"
}

clone_once() { # COUNT
	before=$(state_kib)
	timed s "clone $(names "$1") from=full" "clone-$1" || return 1
	pids=
	for name in $(names "$1"); do
		[ "$(cat "$m/$name/state")" = running ] || {
			missing "$name of $1 clones does not run"
			return 1
		}
		pids="$pids $(value pid "$m/$name/status")"
	done
	# shellcheck disable=SC2086 # words
	pss_of "clone-$1-pss" $pids
	sample "clone-$1-disk" $((($(state_kib) - before) / $1))
	echo "destroy $(names "$1")" >"$m/.ctl"
}

clone_rounds() { # COUNT ROUNDS
	n=0
	while [ $n -lt "$2" ]; do
		n=$((n + 1))
		[ "$1" -gt 10 ] || [ $((n % 2)) = 0 ] || restore_bare "bare-$1" user "$1" || return
		clone_once "$1" || return
		[ "$1" -gt 10 ] || [ $((n % 2)) = 1 ] || restore_bare "bare-$1" user "$1" || return
	done
}

clone_model() {
	guest s memory_mb=128 || return 1
	say s "snapshot create full full" || return 1
	say s "clone model from=full" || return 1
	accel=$(value accel "$m/model/status")
	disk_mb=$(value disk_mb "$m/model/status")
	keep_model "$work/model" "$(value pid "$m/model/status")"
	from=$(dir_of s)/snapshots/full
	if ! keep_saved "$work/model" "$from/memory" "$from"; then
		missing "what is saved has no files state and memory"
		return 1
	fi
	say model destroy
}

clone_lines() { # COUNT [LIMIT]
	if [ "$1" -le 10 ]; then
		measure "bare-$1" ms "QEMU alone, $1, one after the other, each to /health"
		measure "clone-$1" ms "clone of $1, to its return" "bare-$1" "${2:-}"
		measure "bare-$1-pss" KiB "memory of each of $1, QEMU alone, proportional"
		measure "clone-$1-pss" KiB "memory of each of $1 clones, proportional" "bare-$1-pss" 1.5
	else
		measure "clone-$1" ms "clone of $1, to its return"
		measure "clone-$1-pss" KiB "memory of each of $1 clones, proportional"
	fi
	measure "clone-$1-disk" KiB "on disk for each of $1 clones"
}

row_clone() {
	daemon_with_template user || return
	clone_model || return
	about "clones of a full snapshot of a guest of 128 MiB, $accel, $(du -k "$work/model/memory" | cut -f 1) KiB of memory saved"
	room=$(($(sed -n 's/^MemAvailable: *\([0-9]*\) kB/\1/p' /proc/meminfo) / 1024 / 200))
	for count in 1 10 50; do
		if [ $count -gt $room ]; then
			missing "memory for $room guests, not $count"
			[ $room -gt 1 ] || break
			count=$room
		fi
		clone_rounds "$count" $((runs / count > 2 ? runs / count : 2))
		clone_lines "$count" "$([ "$count" != 10 ] || echo 1)" # of one alone it swings
		[ "$count" != "$room" ] || break
	done
	kept_no_more
}

# ---- bytes ----------------------------------------------------------------------------------------------

# What is in use once caches are dropped, as a pause does: pages that its kernel has given to somebody (MemTotal less MemFree,
# less those on the lists of each CPU, which are free too, and after a balloon has been let out are tens of MiB), and
# what it took for itself before it counted (the guest's size less MemTotal): its text, and the list of all pages.
in_use_kib() { # NAME MEMORY_MIB
	in_guest "$1" "sync; echo 3 >/proc/sys/vm/drop_caches; cat /proc/meminfo /proc/zoneinfo" | awk -v all="$2" '
		/^MemTotal:/ { total = $2 }
		/^MemFree:/ { free = $2 }
		$1 == "count:" { free += $2 * 4 }
		END { if (!total) exit 1; print all * 1024 - total, total - free }'
}

bytes_once() { # SERIES MEMORY_MIB
	used=$(in_use_kib g "$2") || {
		missing "the guest does not tell what it uses"
		return 1
	}
	say g pause || return 1
	sample "$1-kernel" "${used% *}"
	sample "$1-use" "${used#* }"
	sample "$1-all" $((${used% *} + ${used#* }))
	sample "$1-saved" "$(du -sk "$(dir_of g)"/memory.* | cut -f 1)"
	say g resume
}

bytes_rounds() { # SERIES MEMORY_MIB
	n=0
	while [ $n -lt "$runs" ]; do
		n=$((n + 1))
		bytes_once "$1" "$2" || return
	done
}

bytes_lines() { # SERIES TEXT
	measure "$1-kernel" KiB "what the kernel took before it counted, $2"
	measure "$1-use" KiB "pages in use, $2"
	measure "$1-saved" KiB "saved on disk, $2" "$1-all" 1.1
}

row_bytes() {
	daemon_with_template user || return
	about "bytes on disk of saved memory, to what the guest uses and its kernel took (a ratio to both)"
	for mib in 128 512 1024; do
		guest g memory_mb=$mib || return
		bytes_rounds "new-$mib" $mib
		bytes_lines "new-$mib" "a guest of $mib MiB"
		if [ $mib -gt 128 ]; then
			dirty g 128 && in_guest g "umount /run/bench" >/dev/null
			bytes_rounds "used-$mib" $mib
			bytes_lines "used-$mib" "$mib MiB, 128 of them filled and freed"
		fi
		say g destroy || return
	done
	kept_no_more
}
