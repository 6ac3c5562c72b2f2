#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# needs: root tcg
# timeout: 1200
# proves: 52 69 70 72
# A guest's memory, saved by the QEMU driver and gone on from: generation after generation, many from one, two side by side; what
# does not fit or is damaged; called off, killed and out of room on the way; what its disk and its balloon do.
# SAVE_CORE=yes: only the first part.
# shellcheck disable=SC2016 # what stands in '…' is for another shell
. "$TOP/tests/tap.sh"
# shellcheck source=tests/serial-guest.sh
. "$TOP/tests/serial-guest.sh"

guest_mib=128
blob=20 # MiB of the guest's memory that are checked by digest
MEMORY_MIB=$guest_mib
export MEMORY_MIB

# The guest has a blob whose digest it knows, and counts on. `check WORD` says WORD-good when both go on well.
prepare="mount -t tmpfs none /tmp; head -c $((blob << 20)) /dev/urandom >/tmp/blob; md5sum /tmp/blob >/tmp/sum
	(n=0; while :; do n=\$((n + 1)); echo \$n >/tmp/new; mv /tmp/new /tmp/n; usleep 10000; done) &
	last=0; check() { usleep 100000; n=\$(cat /tmp/n); md5sum -cs /tmp/sum && [ \$n -gt \$last ] && echo \$1-good; last=\$n; }
	[ \$(wc -c </tmp/blob) = $((blob << 20)) ] && echo blob-is-\"\"there"

# What takes room in the files of saved memory, in KiB.
kib() { # DIR
	du -k "$1" | cut -f1
}
# Memory that the guest's QEMU holds for it, in KiB; within the helper's sh.
ram_kib='ram=$(find /proc/$2/fd -lname "/memfd:*" | head -n 1); echo $(($(stat -L -c %b "$ram") / 2))'

# ---- one after the other -----------------------------------------------------------------------------

mkdir -p life
qemu-img create -q -f qcow2 life/disk.qcow2 64M
set -- start expect guest-is-up send "$prepare" expect blob-is-there send 'check first' expect first-good
for i in 1 2 3 4 5 6; do
	set -- "$@" freeze save "m$i" kill check "m$i" restore "m$i" size "1:$guest_mib" thaw send "check gen$i" expect "gen$i-good"
	[ "$i" != 3 ] || set -- "$@" sh "$ram_kib >\$1/ram"
done
ok "six generations: saved, ended, gone on" vm life "$@" kill
ok "the console goes on in one file" sh -c 'grep -c "^\(first\|gen[1-6]\)-good" life/console | grep -qx 7'
ok "nothing is left" nothing_left life
fails "QEMU had nothing to say" test -s life/stderr
ok "all of it is durable and private" test "$(find life/m1 -type f ! -perm 600 | wc -l) $(ls life/m1 | tr '\n' ' ')" = \
	"0 manifest memory state "
sed -n 's/^save_ms=/# save ms: /p; s/^start_ms=\([0-9]*\).*/# loaded ms: \1/p' life/out
echo "# memory held $(cat life/ram) KiB, saved $(kib life/m4) KiB"
ok "what is saved takes no more room than a tenth above what is held" test "$(kib life/m4)" -le "$(($(cat life/ram) * 11 / 10))"

set --
for i in 1 2 3 4 5; do
	set -- "$@" freeze save "d$i" thaw send "dd if=/tmp/blob of=/dev/vda bs=1M seek=$((i * 8)) count=4 conv=fsync 2>/dev/null; check disk$i" \
		expect "disk$i-good"
done
ok "a guest that was saved goes on as if nothing had been, and so does its disk" vm life restore m6 thaw "$@" \
	send 'part=$(head -c 4194304 /tmp/blob | md5sum); for i in 1 2 3 4 5; do [ "$(dd if=/dev/vda bs=1M skip=$((i * 8)) count=4 2>/dev/null | md5sum)" = "$part" ] && echo "part-"same$i; done' \
	expect part-same5 forget open size "1:$guest_mib" freeze save d6 thaw send 'check known' expect known-good freeze kill
is "every part of the disk is there" "$(grep -c '^part-same[1-5]' life/console)" 5
ok "its image is in order" qemu-img check -q life/disk.qcow2
ok "a save after the daemon came back is as good as any" vm life restore d6 thaw send 'check after' expect after-good kill

# ---- many from one, side by side ---------------------------------------------------------------------

mkdir -p one
ok "a guest without a disk" vm one start expect guest-is-up send "$prepare" expect blob-is-there send 'check one' expect one-good \
	freeze save m kill
before=$(sha256sum one/m/* | sha256sum)
times=25
[ -z "${SAVE_CORE:-}" ] || times=3
set --
for i in $(seq $times); do
	set -- "$@" restore m thaw send "check own$i" expect "own$i-good" kill share m thaw send "check shared$i" expect "shared$i-good" kill
done
ok "$times times from one, each way" vm one "$@"
sed -n 's/^start_ms=\([0-9]*\).*/\1/p' one/out | sed -n 'n;p' | sort -n | tr '\n' ' ' | sed 's/^/# loaded ms, own or shared: /; s/$/\n/'

# Two guests at once on the same file, each with a balloon that leaves it 92 MiB.
squeeze='socat -t5 - "UNIX-CONNECT:$1/run/qmp.sock" >"$1/qmp" <<END
{"execute":"qmp_capabilities"}
{"execute":"balloon","arguments":{"value":96468992}}
END
for i in $(seq 300); do
	printf "%s\n" "{\"execute\":\"qmp_capabilities\"}" "{\"execute\":\"query-balloon\"}" |
		socat -t5 - "UNIX-CONNECT:$1/run/qmp.sock" >"$1/qmp"
	! grep -q "\"actual\": 96468992" "$1/qmp" || break
	sleep 0.1
done
grep -q "\"actual\": 96468992" "$1/qmp"'
kill_left() { # NAME: when a verb failed after forget
	sed -n 's/.* pid=//p' "$1/out" | while read -r pid; do
		! grep -qs sbxtest-1 "/proc/$pid/cmdline" || kill -9 "$pid"
	done
}
side() { # NAME
	vm "$1" share ../one/m thaw send "check $1" expect "$1-good" fails ENOTSUP balloon 92 forget sh "$squeeze" \
		sh 'test "$(stat -L -c %s /proc/$2/fd/2)" -le 65536 && grep -q fallocate "/proc/$2/fd/2"' \
		sh ': >"$1/here"; for i in $(seq 300); do [ ! -e "$1/../left/here" ] || [ ! -e "$1/../right/here" ] || exit 0; sleep 0.1; done; exit 1' \
		open send "check $1-still" expect "$1-still-good" balloon "$guest_mib" send "check $1-again" expect "$1-again-good" kill
}
at_end "kill_left left; kill_left right"
side left >left.log 2>&1 &
left_pid=$!
ok "two share one, and both squeeze" side right
wait $left_pid
is "the other one too" $? 0 || sed 's/^/# /' left.log
is "what they shared is unchanged" "$(sha256sum one/m/* | sha256sum)" "$before"
ok "saving one that shares, and going on from that" vm one share m thaw send 'check sharing' expect sharing-good freeze save stream \
	thaw send 'check on' expect on-good kill restore stream thaw send 'check fresh' expect fresh-good \
	balloon 96 balloon "$guest_mib" freeze save again kill share stream thaw send 'check both' expect both-good kill \
	restore again thaw send 'check last' expect last-good kill
is "what it shared is unchanged" "$(sha256sum one/m/* | sha256sum)" "$before"
sed -n 's/^save_ms=/# save ms: /p; s/^balloon=/# balloon: /p' one/out
[ -z "${SAVE_CORE:-}" ] || finish

# What the filter is for: the same without it.
mkdir -p bare
cp -r --sparse=always one/m bare/m
qemu-system-x86_64 -machine microvm,memory-backend=ram0 -accel tcg -cpu max -m ${guest_mib}M -smp 1 -nodefaults -no-user-config \
	-display none -no-reboot -object memory-backend-file,id=ram0,size=${guest_mib}M,mem-path=bare/m/memory,share=off \
	-device virtio-rng-device,id=rng0 -device virtio-balloon-device,id=bal0,free-page-reporting=on -device pvpanic -serial null \
	-chardev socket,id=qmp,path=bare/qmp,server=on,wait=off -mon chardev=qmp,mode=control -incoming defer >bare/log 2>&1 &
bare_pid=$!
bare() { # JSON…: what QEMU says to it
	printf '%s\n' '{"execute":"qmp_capabilities"}' "$@" | socat -t5 - UNIX-CONNECT:bare/qmp
}
wait_for 20 test -S bare/qmp
bare '{"execute":"migrate-set-capabilities","arguments":{"capabilities":[{"capability":"x-ignore-shared","state":true}]}}' \
	'{"execute":"migrate-incoming","arguments":{"uri":"exec:cat bare/m/state"}}' >bare/out
squeezed() {
	bare '{"execute":"cont"}' '{"execute":"balloon","arguments":{"value":96468992}}' '{"execute":"query-balloon"}' |
		grep -q '"actual": 96468992'
}
ok "a guest without the filter squeezes too" wait_for 60 squeezed
kill -9 $bare_pid
wait $bare_pid 2>/dev/null
fails "and destroys what it shares" cmp -s one/m/memory bare/m/memory

# ---- what does not fit, or is damaged ----------------------------------------------------------------

damaged() { # NAME: a copy of the saved memory
	rm -rf "one/$1"
	cp -r --sparse=always one/m "one/$1"
}
refused() { # ERRNO DIR TEXT [VAR=VALUE…]: by check and by start, in so many words
	refused_errno=$1
	refused_dir=$2
	refused_text=$3
	shift 3
	(for v; do export "${v?}"; done
	vm one fails "$refused_errno" check "$refused_dir" fails "$refused_errno" restore "$refused_dir") || return 1
	[ "$(grep -c "^\(check\|restore\): $refused_errno: .*$refused_text" one/out)" = 2 ] && nothing_left one
}
damaged other
sed -i 's/"version":"[^"]*"/"version":"0.1 (other)"/' one/other/manifest
ok "saved by another version" refused ENOTSUP other 'version was "0.1 (other)" and is\|version was "0.1 (other)" then'
sed 's/^/# /' one/out
damaged other
sed -i 's/"accel":"[^"]*"/"accel":"kvm"/' one/other/manifest
ok "saved under another accelerator" refused ENOTSUP other 'accelerator was "kvm"'
ok "more memory than there was" refused ENOTSUP m "$guest_mib MiB, and 192" MEMORY_MIB=192
ok "another number of vCPUs" refused ENOTSUP m '1 vCPUs, and 2' VCPUS=2
ok "another kind of network" refused ENOTSUP m 'network was "none"' HOST_PORT=$((20000 + $$ % 20000))
truncate -s 1M one/disk.raw
ok "another list of devices" refused ENOTSUP m 'list of devices was'
rm one/disk.raw
mkdir one/empty
ok "nothing saved there" refused ENOENT empty manifest
damaged other
truncate -s -1 one/other/state
ok "a truncated state" refused EBADMSG other 'state .*damaged'
damaged other
truncate -s 1M one/other/memory
ok "truncated memory" refused EBADMSG other 'memory .*damaged'
damaged other
rm one/other/memory
ok "memory that is gone" refused EBADMSG other 'memory .*gone'
damaged other
printf x | dd of=one/other/state bs=1 seek=3000 conv=notrunc status=none
ok "a damaged state" refused EBADMSG other 'state .*damaged'
damaged other
echo '{"format":1,' >one/other/manifest
ok "a damaged manifest" refused EBADMSG other 'manifest'
damaged other
truncate -s 9000 one/other/state
sed -i "s/\"bytes\":[0-9]*,/\"bytes\":9000,/; s/\"sha256\":\"[^\"]*\"/\"sha256\":\"$(sha256sum one/other/state | cut -d' ' -f1)\"/" \
	one/other/manifest
ok "a state that QEMU does not take" vm one check other fails EBADMSG restore other fails EBADMSG share other
ok "is said with QEMU's words, and nothing is left" sh -c 'test "$(grep -c "EBADMSG.*it said: ." one/out)" = 2 && ! pgrep -P $$ qemu'
sed -n 's/^\(restore\|share\): /# said: /p' one/out
ok "nothing is left" nothing_left one

# ---- called off, killed, no room ---------------------------------------------------------------------

mount -t tmpfs -o size=8M none one/small 2>/dev/null || { mkdir one/small && mount -t tmpfs -o size=8M none one/small; }
at_end "umount one/small"
mkdir one/late
ok "called off, too late or out of room: it stands, and goes on when it is let" vm one restore m thaw \
	freeze fails ENOSPC save small/a sh 'rm -r "$1/small/a"' thaw send 'check room' expect room-good \
	freeze cancel 10 fails ECANCELED save late/a thaw send 'check called' expect called-good \
	freeze limit 12 fails ETIMEDOUT save late/b thaw send 'check timed' expect timed-good \
	fails EBUSY save late/c freeze save late/d fails EBUSY save late/e freeze save late/n thaw send 'check busy' expect busy-good kill
ok "the same with memory that is shared" vm one share m thaw \
	freeze fails ENOSPC save small/a sh 'rm -r "$1/small/a"' thaw send 'check sroom' expect sroom-good \
	freeze cancel 10 fails ECANCELED save late/f thaw send 'check scalled' expect scalled-good \
	freeze limit 12 fails ETIMEDOUT save late/g thaw send 'check stimed' expect stimed-good \
	freeze save late/h kill restore late/h thaw send 'check stream' expect stream-good kill
# Times that are over before a program has even been loaded, on the fastest machine too.
ok "loading called off" vm one cancel 1 fails ECANCELED restore m cancel 5 fails ECANCELED restore m cancel 3 fails ECANCELED restore late/h \
	cancel 3 fails ECANCELED share m limit 4 fails ETIMEDOUT restore m
ok "nothing is left" nothing_left one
# Kills QEMU, the child of the helper, as soon as a condition holds; its process is $pid.
kill_when='helper=$PPID; (for i in $(seq 5000); do
		pid=$(pgrep -P $helper -f "^[^ ]*qemu-system") && break
	done'
kill_now='kill -9 $pid) >/dev/null 2>&1 &'
ok "killed while it is saved" vm one share m sh "$kill_when; until [ -s \$1/late/k/state ]; do :; done; $kill_now" fails EIO save late/k \
	fails EIO save late/l ended unknown
ok "killed while it starts to load" vm one sh "$kill_when; $kill_now" fails EIO restore m
ok "killed while it loads" vm one sh "$kill_when"'
	until fd=$(find /proc/$pid/fd -lname "*/late/h/state" -printf %f) && [ "$fd" ]; do :; done
	until read -r _ at <"/proc/$pid/fdinfo/$fd" && [ "$at" -gt 0 ]; do :; done; '"$kill_now" fails EIO restore late/h
ok "nothing is left" nothing_left one
is "what is saved is unchanged" "$(sha256sum one/m/* | sha256sum)" "$before"

# ---- zeroes, and the balloon -------------------------------------------------------------------------

ok "pages of zeroes take no room" vm one restore m thaw send 'dd if=/dev/zero of=/tmp/zero bs=1M count=24 2>/dev/null; check zero' \
	expect zero-good freeze sh "$ram_kib >\$1/ram" save zero kill
echo "# memory held $(cat one/ram) KiB, saved $(kib one/zero) KiB"
ok "but for a tenth" test "$(kib one/zero)" -le "$(($(cat one/ram) - 20000))"
ok "what the balloon takes is not saved" vm one restore zero thaw send 'rm /tmp/zero; dd if=/dev/urandom of=/tmp/junk bs=1M count=24; rm /tmp/junk; check junk' \
	expect junk-good sh "$ram_kib >\$1/ram" balloon 92 sh "$ram_kib >\$1/ram.squeezed" freeze save squeezed kill \
	restore squeezed thaw send 'check narrow' expect narrow-good balloon $guest_mib send 'check wide' expect wide-good kill
echo "# held $(cat one/ram) KiB, squeezed $(cat one/ram.squeezed) KiB, saved $(kib one/squeezed) KiB"
ok "it gives memory back" test "$(cat one/ram.squeezed)" -lt "$(($(cat one/ram) - 15000))"
sed -n 's/^balloon=/# balloon: /p' one/out
ok "nothing is left" nothing_left one
finish
