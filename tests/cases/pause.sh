#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/cases/pause.sh - a guest goes on from its saved memory as if nothing had been, whatever happens in between
# needs: fuse root tcg
# timeout: 900
# proves: 52 69 70 78
#
# tests/vm/pause-dm.sh runs the short core of it with the other store and under KVM.
# shellcheck disable=SC2016,SC2012 # what stands in '…' is for another shell; the names in listings are our own
# shellcheck disable=SC2034 # the variables are read in tests/sbx.sh
set -u
: "${DAEMON_OPTIONS:=--accel tcg --storage file}"
: "${CYCLES:=50}" # of pause and resume
: "${CORE:=}"     # set: the short core alone
# shellcheck source=tests/tap.sh
. "$TOP/tests/tap.sh"
# shellcheck source=tests/sbx.sh
. "$TOP/tests/sbx.sh"

start() { # NAME: with time enough for a guest whose host is emulated
	ctl "$1" "start timeout=280"
}
resume() {
	ctl "$1" "resume timeout=280"
}
dir_of() { # NAME
	echo "$S/sandboxes/$((16#$(status "$1" id | sed 's/.*-//')))"
}
memories() { # NAME: of saved memory, how many
	find "$(dir_of "$1")" -maxdepth 1 -name 'memory.*' | wc -l
}
memory_kib() { # NAME: on disk
	du -sk "$(dir_of "$1")"/memory.* | cut -f1
}
kill_daemon() {
	kill -KILL "$P"
	ok "kill -9 of the daemon" daemon_end a
	P=
	daemon a
}

# What the guest must not notice: a file in memory, files on disk, a process that counts.
fill_guest() { # NAME
	sh_in "$1" 'mkdir -p /tmp; mount -t tmpfs tmpfs /tmp; dd if=/dev/urandom of=/tmp/noise bs=64k count=80 2>/dev/null; sha256sum /tmp/noise >/tmp/noise.sum; dd if=/dev/urandom of=/disk.noise bs=64k count=40 2>/dev/null; sha256sum /disk.noise >/disk.sum' &&
		sh_in "$1" 'echo "i=0; while :; do i=\$((i+1)); echo \$i >/tmp/n.new; mv /tmp/n.new /tmp/n; sleep 0.02; done" >/tmp/count; (setsid sh /tmp/count >/dev/null 2>&1 </dev/null &)' &&
		sh_in "$1" 'echo "echo \$\$ >/tmp/writer.pid; i=0; while :; do i=\$((i+1)); f=\$((i%4)); dd if=/dev/urandom of=/w.new bs=16k count=4 2>/dev/null; sha256sum </w.new >/w.sum.new; mv /w.new /w.\$f; mv /w.sum.new /w.sum.\$f; sleep 0.2; done" >/tmp/writer; (setsid sh /tmp/writer >/dev/null 2>&1 </dev/null &)'
}
whole() { # NAME: memory, disk and kernel are as they should be
	[ "$(sh_in "$1" 'sha256sum -c /tmp/noise.sum /disk.sum 2>&1; dmesg | grep -ciE "ext4.*error|i/o error|BUG:|Oops|general protection|Call Trace"; true')" = "/tmp/noise: OK
/disk.noise: OK
0" ]
}
# Read from the disk rather than from the cache; the writer stands still for it.
disk_whole() { # NAME
	[ "$(sh_in "$1" 'w=$(cat /tmp/writer.pid); kill -STOP $w || exit; until grep -q "^State:.T" /proc/$w/status; do :; done; sync; echo 3 >/proc/sys/vm/drop_caches; bad=0; for f in 0 1 2 3; do s=$(sha256sum </w.$f) && [ "$s" = "$(cat /w.sum.$f)" ] || bad=$((bad+1)); done; kill -CONT $w; sha256sum -c /disk.sum; [ $bad -le 1 ] && echo right')" = "/disk.noise: OK
right" ]
}
number() { # NAME
	sh_in "$1" 'cat /tmp/n'
}
counted_past() { # NAME NUMBER
	[ "$(number "$1")" -gt "$2" ]
}
counts_on() { # NAME NUMBER: from there, not from the beginning
	wait_for 20 counted_past "$1" "$2" && [ "$(number "$1")" -lt $(($2 + 100000)) ]
}
boot_id() { # NAME
	sh_in "$1" 'cat /proc/sys/kernel/random/boot_id'
}
network_works() { # NAME: out, and in
	sh_in "$1" "ping -c 1 -w 5 $(cat "$M/$1/net/gateway")" >/dev/null || return
	sh_in "$1" '(setsid nc -l -p 7070 -e echo from-the-guest >/dev/null 2>&1 </dev/null &) ; sleep 0.2' || return
	is_said "$(cat "$M/$1/net/address")"
}
is_said() { # ADDRESS
	[ "$(timeout 5 bash -c "exec 3<>/dev/tcp/$1/7070; cat <&3")" = from-the-guest ]
}
released() { # NAME PID: nothing of it runs or is attached
	process_is_gone "$2" || return
	[ -z "$(status "$1" pid)$(status "$1" host_ip)$(cat "$M/$1/net/address")" ] || return
	slots_settled || return
	! ip netns list 2>/dev/null | grep -q "$(cat "$S/instance")" || return
	! losetup -nO BACK-FILE 2>/dev/null | grep -q "$(dir_of "$1")" || return
	[ -z "$(find /sys/fs/cgroup -name "sbxfs-$(cat "$S/instance")-$(status "$1" id | sed 's/.*-//')" 2>/dev/null)" ]
}
median() {
	sort -n | awk '{ a[NR] = $1 } END { print a[int((NR + 1) / 2)] }'
}
milliseconds() { # COMMAND…: what it took; false when it failed
	local began status
	began=$(date +%s%N)
	"$@" >/dev/null
	status=$?
	echo $((($(date +%s%N) - began) / 1000000))
	return $status
}

daemon a
ok "a template" import default
ok "a sandbox" host "create web1 memory_mb=96 disk_mb=64"
ok "start" start web1
ok "what it must not lose" fill_guest web1
boot=$(boot_id web1)
token=$(cat "$M/web1/token")
started=$(status web1 started)

# ---- pause ---------------------------------------------------------------------------------------------------

sleep 1
n=$(number web1)
pid=$(status web1 pid)
used=$(sh_in web1 'sync; echo 3 >/proc/sys/vm/drop_caches; awk "/^MemFree/ { print 96 * 1024 - \$2 }" /proc/meminfo')
ok "pause" ctl web1 "pause timeout=280"
is "paused" "$(state web1) $(status web1 exit_reason) $(status web1 last_error)" "paused paused "
ok "nothing of it is left" released web1 "$pid"
is "it has saved memory" "$(memories web1)" 1
echo "# $(memory_kib web1) KiB are saved of a guest that uses $used KiB"
ok "of the size of what it used" test "$(memory_kib web1)" -le $((used * 11 / 10))
is "what is paused answers" "$(errno web1 pause) $(errno web1 "exec true") $(errno web1 "balloon 1") $(errno web1 stop) $(errno web1 restart) $(errno web1 freeze) $(errno web1 thaw) $(errno web1 ping)" \
	"ok EHOSTDOWN EHOSTDOWN EINVAL EINVAL EINVAL EINVAL ok"
ok "a larger memory, more vCPUs and disk are set" ctl web1 "set memory_mb=128 vcpus=2 disk_mb=80"
mv "$M/web1" "$M/web2"
sleep 1

# ---- resume --------------------------------------------------------------------------------------------------

ok "resume" resume web2
is "running" "$(state web2) $(status web2 exit_reason)$(status web2 last_error)" "running "
is "it has not booted" "$(boot_id web2)" "$boot"
ok "it counts on" counts_on web2 "$n"
ok "memory and files are whole" whole web2
ok "its clock is right" clock_is_right web2
is "it has its new name" "$(sh_in web2 hostname)" web2
is "its token, when it was started" "$(cat "$M/web2/token") $(status web2 started)" "$token $started"
ok "network" network_works web2
is "of the size that it had" "$(sh_in web2 'nproc; cat /sys/block/vda/size' | tr '\n' ' ')" "1 $((64 * 2048)) "
is "its saved memory is gone" "$(memories web2)" 0
is "it answers" "$(errno web2 resume) $(errno web2 start) $(errno web2 sync)" "ok ok ok"
ok "balloon" ctl web2 "balloon 16"
is "of too much" "$(errno web2 "balloon 64") $(errno web2 "balloon x")" "EINVAL EINVAL"
ok "balloon back" ctl web2 "balloon 0"
ok "pause" ctl web2 "pause timeout=280"
leak_mark
ok "resume" resume web2

# ---- again and again -----------------------------------------------------------------------------------------

bad=
: >pauses
: >resumes
: >randoms
for ((i = 1; i <= CYCLES; i++)); do
	n=$(number web2)
	milliseconds ctl web2 "pause timeout=280" >>pauses || bad="$bad pause:$i"
	milliseconds resume web2 >>resumes || bad="$bad resume:$i"
	whole web2 || bad="$bad content:$i"
	counts_on web2 "$n" || bad="$bad count:$i"
	sh_in web2 'head -c 16 /dev/urandom | od -An -tx1' >>randoms
	[ -z "$bad" ] || break
done
is "$CYCLES times pause and resume" "$bad" ""
echo "# pause takes $(median <pauses) ms, resume $(median <resumes) ms (medians)"
is "its random numbers differ each time" "$(sort -u randoms | wc -l)" "$CYCLES"
ok "its disk is whole, read anew" disk_whole web2
ok "pause" ctl web2 "pause timeout=280"
ok "nothing leaks" leak_check
ok "resume" resume web2
is "it is the same guest" "$(boot_id web2)" "$boot"

# ---- entropy: the same memory gone on with twice ---------------------------------------------------------------

# A guest that draws a number as soon as it goes on: what is saved once and goes on twice must not draw the same.
ok "pause" ctl web2 "pause timeout=280"
d=$(dir_of web2)
: "${d:?}"
mkdir kept
cp -a --sparse=always "$d/." kept/
ok "resume" resume web2
first=$(sh_in web2 'head -c 16 /dev/urandom | od -An -tx1')
ok "kill" ctl web2 kill
is "shutdown" "$(host_errno shutdown)" ok
ok "it ends" daemon_end a
find "$d" -mindepth 1 -delete
cp -a --sparse=always kept/. "$d/"
daemon a
is "put back it is paused" "$(state web2)" paused
ok "resume" resume web2
ok "other random numbers" test "$(sh_in web2 'head -c 16 /dev/urandom | od -An -tx1')" != "$first"
ok "its content" whole web2
rm -rf kept

# ---- a frozen one --------------------------------------------------------------------------------------------

ok "freeze" ctl web2 freeze
n=$(($(date +%s) + 30))
ok "pause of a frozen one" ctl web2 "pause timeout=280"
ok "takes no time for its guest" test "$(date +%s)" -lt $n
is "paused" "$(state web2)" paused
ok "start goes on too" start web2
is "it is the same guest" "$(boot_id web2) $(state web2)" "$boot running"
ok "whole" whole web2

# ---- a daemon that is killed -----------------------------------------------------------------------------------

ok "pause" ctl web2 "pause timeout=280"
kill_daemon
is "it is paused still" "$(state web2) $(memories web2)" "paused 1"
ok "resume" resume web2
is "it is the same guest" "$(boot_id web2)" "$boot"
ok "whole" whole web2

if [ -n "$CORE" ]; then
	ok "pause" ctl web2 "pause timeout=280"
	ok "kill gives the memory up" ctl web2 kill
	is "stopped" "$(state web2) $(memories web2) $(errno web2 resume)" "stopped 0 EINVAL"
	ok "start boots" start web2
	ok "another boot" test "$(boot_id web2)" != "$boot"
	is "of the size that was set" "$(sh_in web2 'nproc; cat /sys/block/vda/size' | tr '\n' ' ')" "2 $((80 * 2048)) "
	ok "pause" ctl web2 "pause timeout=280"
	ok "destroy of a paused one" ctl web2 destroy
	is "nothing is left" "$(ls "$S/sandboxes")" ""
	kill -INT "$P"
	ok "the daemon ends" daemon_end a
	finish
fi

# After a reboot of the host: the journal is of another boot.
ok "pause" ctl web2 "pause timeout=280"
is "shutdown" "$(host_errno shutdown)" ok
ok "it ends" daemon_end a
unshare_boot() { # another boot id for a daemon
	printf '00000000-1111-2222-3333-444444444444\n' >boot_id
	mount --bind boot_id /proc/sys/kernel/random/boot_id
}
ok "the host boots again" unshare_boot
daemon a
is "it is paused" "$(state web2)" paused
ok "resume" resume web2
ok "whole" whole web2
umount /proc/sys/kernel/random/boot_id

# ---- kill, start -----------------------------------------------------------------------------------------------

ok "pause" ctl web2 "pause timeout=280"
ok "a snapshot of its disk" ctl web2 "snapshot create rest disk"
ok "kill gives the memory up" ctl web2 kill
is "stopped" "$(state web2) $(status web2 exit_reason) $(memories web2) $(errno web2 resume)" "stopped killed 0 EINVAL"
ok "start boots" start web2
ok "another boot" test "$(boot_id web2)" != "$boot"
is "of the size that was set" "$(sh_in web2 'nproc; cat /sys/block/vda/size' | tr '\n' ' ')" "2 $((80 * 2048)) "
is "its files" "$(sh_in web2 'sha256sum -c /disk.sum')" "/disk.noise: OK"
ok "stop" ctl web2 stop
ok "smaller again" ctl web2 "set memory_mb=96 vcpus=1"
ok "start" start web2
ok "what it must not lose" fill_guest web2
boot=$(boot_id web2)

# ---- saved memory that cannot go on ------------------------------------------------------------------------------

refused() { # NAME ERRNO TEXT: and stays as it was
	ctl "$1" "resume timeout=280" >reply && return 1
	if ! grep -q "^error: $2: .*$3" reply || [ "$(state "$1") $(memories "$1")" != "paused 1" ]; then
		cat reply "$LOG"
		return 1
	fi
}
ok "pause" ctl web2 "pause timeout=280"
d=$(echo "$(dir_of web2)"/memory.*)
[ -d "$d" ] || exit 1
ls "$d" | sed 's/^/# /'
for file in "$d"/*; do
	case ${file##*/} in manifest*) continue ;; esac
	cp -a --sparse=always "$file" kept
	truncate -s $(($(stat -c %s "$file") / 2)) "$file"
	ok "cut off: ${file##*/}" refused web2 EBADMSG ""
	mv kept "$file"
done
cp -a "$d/manifest" kept
sed -i 's/\("version": *"\)[^"]*/\1 1.0/' "$d/manifest"
ok "of another version" refused web2 ENOTSUP "version"
sed 1q reply | sed 's/^/# /'
head -c 20 kept >"$d/manifest"
ok "its manifest is damaged" refused web2 EBADMSG ""
rm "$d/manifest"
ok "its manifest is gone" refused web2 '[A-Z]*' ""
mv kept "$d/manifest"
ok "memory that the host has not" test "$(errno web2 "resume timeout=0")" = ETIMEDOUT
is "it is as it was" "$(state web2) $(memories web2)" "paused 1"
ok "put back it goes on" resume web2
is "the same guest" "$(boot_id web2)" "$boot"
ok "whole" whole web2

# ---- a pause that is cancelled, or too slow ------------------------------------------------------------------------

n=$(number web2)
spawn web2 "pause timeout=280"
wait_for 10 in_state web2 pausing
ok "pausing" in_state web2 pausing
is "what talks to the guest" "$(errno web2 "exec true")" EHOSTDOWN
kill -INT "$W"
case $(answer "$W") in
EINTR)
	is "cancelled it runs" "$(state web2) $(memories web2)" "running 0"
	;;
*) is "it was done before" "$(state web2)" paused && resume web2 ;;
esac
ok "it counts on" counts_on web2 "$n"
is "too slow" "$(errno web2 "pause timeout=0")" ETIMEDOUT
is "it runs" "$(state web2) $(memories web2)" "running 0"
ok "it counts on" counts_on web2 "$n"
ok "network" network_works web2

# Overtaken: kill ends a pause, wherever that is.
spawn web2 "pause timeout=280"
wait_for 10 in_state web2 pausing
ok "kill" ctl web2 kill
answer "$W" | sed 's/^/# the pause ended with /'
is "stopped" "$(state web2) $(memories web2)" "stopped 0"
ok "start" start web2
ok "what it must not lose" fill_guest web2
ok "pause" ctl web2 "pause timeout=280"
spawn web2 "resume timeout=280"
wait_for 10 in_state web2 resuming
ok "kill of a resume" ctl web2 kill
answer "$W" | sed 's/^/# the resume ended with /'
is "stopped" "$(state web2) $(memories web2)" "stopped 0"
ok "start" start web2
ok "what it must not lose" fill_guest web2

# ---- its VMM dies in the middle ---------------------------------------------------------------------------------------

# It saves within some tenths of a second: should it have ended by then, once more.
d=$(dir_of web2)
for try in 1 2 3 4 5; do
	pid=$(status web2 pid)
	spawn web2 "pause timeout=280"
	until compgen -G "$d/memory.*" >/dev/null || ! kill -0 "$W" 2>/dev/null; do :; done
	kill -KILL "$pid"
	how=$(answer "$W")
	[ "$how" = ok ] || break
	ok "it was quicker, $try: resume" resume web2
done
fails "its VMM is killed while it saves" [ "$how" = ok ]
ok "a crash" wait_for 20 in_state web2 error
is "nothing is saved" "$(status web2 exit_reason) $(memories web2) $(errno web2 resume)" "crashed 0 EINVAL"
ok "start" start web2
ok "its files" test "$(sh_in web2 'sha256sum -c /disk.sum')" = "/disk.noise: OK"
ok "destroy" ctl web2 destroy

# ---- the host's disk is full -------------------------------------------------------------------------------------------

is "shutdown" "$(host_errno shutdown)" ok
ok "it ends" daemon_end a
mkdir -p b/state b/m
truncate -s 220M b/image
mkfs.ext4 -q -m 0 b/image
mount -o loop b/image b/state
at_end umount -l "$PWD/b/state"
daemon b
ok "a template" import default
ok "a sandbox" host "create web1 memory_mb=96 disk_mb=32 start"
ok "what it must not lose" fill_guest web1
n=$(number web1)
reserve=$(sed -n 's/^disk_reserve=//p' "$M/.status")
fallocate -l $(($(df --output=avail -B1 b/state | tail -n 1) - reserve - (20 << 20))) b/state/filler
ctl web1 pause >reply
is "a pause without room" "$(cut -d: -f1-2 reply | sed 1q)" "error: ENOSPC"
is "it runs" "$(state web1) $(memories web1)" "running 0"
rm b/state/filler
ok "it counts on" counts_on web1 "$n"
ok "whole" whole web1
ok "network" network_works web1
ok "pause with room" ctl web1 pause
ok "resume" resume web1
ok "whole" whole web1
ok "pause" ctl web1 pause
ok "destroy of a paused one" ctl web1 destroy
is "nothing is left" "$(ls "$S/sandboxes")" ""
kill -INT "$P"
ok "the daemon ends" daemon_end b
finish
