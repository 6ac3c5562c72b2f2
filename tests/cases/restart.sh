#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/cases/restart.sh - the daemon dies by every signal beside 1,000 sandboxes, hung VMMs, records that cannot be read and orphans
# needs: fuse root tcg netns
# timeout: 900
# proves: 12 25 32 42 62 63 66
# shellcheck disable=SC2016,SC2012,SC2317 # what stands in '…' is for the guest; names in listings are our own; functions by name
set -u
# shellcheck source=tests/tap.sh
. "$TOP/tests/tap.sh"
# shellcheck source=tests/sbx.sh
. "$TOP/tests/sbx.sh"

SANDBOXES=${SANDBOXES:-1000}
HUNG="h1 h2 h3 h4"

now_ms() {
	echo $(($(date +%s%N) / 1000000))
}
die() { # SIGNAL
	kill "-$1" "$P"
	ok "SIG$1: the daemon dies" daemon_end a
}
boot_id() { # NAME
	sh_in "$1" 'cat /proc/sys/kernel/random/boot_id'
}
metric() { # NAME METRIC
	sed -n "s/^sbxfs_sandbox_$2{[^}]*sandbox=\"$1\"[^}]*} //p" "$M/$1/metrics"
}
sum_of_record() { # SERIAL: every file of it, with mode and owner
	(cd "$S/sandboxes/$1" && find . -printf '%p %y %m %U %G ' -a \( -type f -exec md5sum {} \; -o -printf '\n' \) | LC_ALL=C sort)
}
serial_of() { # NAME
	grep -l "\"name\": *\"$1\"" "$S"/sandboxes/*/record | head -n 1 | sed 's|.*/sandboxes/||; s|/.*||'
}
no_such_process() {
	! kill -0 "$1" 2>/dev/null
}

# Records are many, and this is about reading them.
mkdir -p a/state
mount -t tmpfs -o size=1g tmpfs a/state
at_end umount -l "$PWD/a/state"
daemon a --net netns
inst=$(cat "$S/instance")
ok "a template" import default
names=()
for ((i = 1; i <= SANDBOXES; i++)); do names+=("$M/n$i"); done
ok "$SANDBOXES sandboxes" mkdir "${names[@]}"
# shellcheck disable=SC2086 # names are words
ok "some with guests" mkdir "$M/web1" "$M/off" "$M/cold" "$M/lost" ${HUNG//h/$M/h}
# shellcheck disable=SC2086 # as above
is "small ones" "$(host_errno "set web1 off cold lost $HUNG memory_mb=80 label.g=1")" ok
is "they run" "$(host_errno "start web1 off cold lost $HUNG timeout=300")" ok
is "one is stopped" "$(errno off stop)" ok
is "one is frozen" "$(errno cold freeze)" ok
ok "one is restarted" ctl web1 "set restart=on-failure restart_delay_ms=50"
kill -KILL "$(status web1 pid)"
restarted() { in_state web1 running && [ "$(status web1 restart_count)" = 1 ]; }
ok "by itself" wait_for 180 restarted
ok "it says something" sh_in web1 'echo before-the-end >/dev/console; echo kept >/kept; sync'
boot=$(boot_id web1)
ok "its boot is known" test -n "$boot"

# ---- every signal ------------------------------------------------------------------------------------------

pid=$(status web1 pid)
serial=$(status web1 id)
seen_received() { [ "$(metric web1 network_receive_bytes_total)" -gt 0 ] 2>/dev/null; }
ok "its traffic is counted" wait_for 30 seen_received
for signal in SEGV ABRT BUS TERM KILL; do
	received=$(metric web1 network_receive_bytes_total)
	[ $signal != TERM ] || host "loglevel info" >/dev/null
	if [ $signal = TERM ]; then
		is "shutdown leave" "$(host_errno 'shutdown leave')" ok
		ok "the daemon ends" daemon_end a
	else
		die $signal
	fi
	began=$(now_ms)
	daemon a --net netns
	ok "$signal: it goes on running" wait_for 60 in_state web1 running
	echo "# $signal: answers and has adopted after $(($(now_ms) - began)) ms"
	is "$signal: the same process" "$(status web1 pid) $(status web1 id)" "$pid $serial"
	is "$signal: restarts are counted on" "$(status web1 restart_count)" 1
	ok "$signal: so is its traffic" test "$(metric web1 network_receive_bytes_total)" -ge "$received"
	is "$signal: the rest" "$(state off) $(state cold) $(state n1)" "stopped frozen created"
done
is "the same boot" "$(boot_id web1)" "$boot"
ok "the console has what was there" grep -q before-the-end "$M/web1/console"
ok "and goes on" sh_in web1 'echo after-the-end >/dev/console'
ok "with what is new" wait_for 10 grep -q after-the-end "$M/web1/console"
is "thaw of the frozen one" "$(errno cold thaw)" ok
is "which obeys" "$(sh_in cold 'echo here')" here

# ---- hung VMMs, records that cannot be read, orphans ---------------------------------------------------------

hung_pids=
for name in $HUNG; do hung_pids="$hung_pids $(status "$name" pid)"; done
declare -A bad
for i in 1 2 3 4 5 6 7; do bad[$i]=$(serial_of "n$i"); done
cold_pid=$(status cold pid)
cold_serial=$(serial_of cold)
cold_netns=$(basename "$(cat "$M/cold/net/netns")")
lost_pid=$(status lost pid)
lost_serial=$(serial_of lost)
lost_netns=$(basename "$(cat "$M/lost/net/netns")")
lost_run=$(printf '/run/sbxfs-%s/%x' "$inst" "$lost_serial")
ok "what one has is known" test -d "$lost_run" -a -e "/run/netns/$lost_netns"
# shellcheck disable=SC2086 # pids are words
kill -STOP $hung_pids
die KILL
rm -r "$S/sandboxes/$lost_serial"
head -c 300 /dev/urandom >"$S/sandboxes/${bad[1]}/record"
truncate -s 40 "$S/sandboxes/${bad[2]}/record"
: >"$S/sandboxes/${bad[3]}/record"
sed -i 's/"name": *"n4"/"name": "..\/n4"/' "$S/sandboxes/${bad[4]}/record"
rm "$S/sandboxes/${bad[5]}/record"
mkdir "$S/sandboxes/${bad[5]}/record"
: >"$S/sandboxes/${bad[5]}/record/inside"
rm "$S/sandboxes/${bad[6]}/record"
ln -s /etc/hostname "$S/sandboxes/${bad[6]}/record"
printf '\xff\xfe{"name":"n7","config":{}}' >"$S/sandboxes/${bad[7]}/record"
off_serial=$(serial_of off)
rm "$S/sandboxes/$off_serial/record" # gone, and its data is there
head -c 300 /dev/urandom >"$S/sandboxes/$cold_serial/record"
damaged=$(printf 'damaged~%s\n' "${bad[@]}" "$off_serial" "$cold_serial" | sort)
for i in "${bad[@]}" "$off_serial"; do sum_of_record "$i"; done >sums.before

# What a daemon of ours could have left, of serials that no sandbox has; and what only looks like it.

qemu=$(readlink -f "/proc/${hung_pids##* }/exe")
orphan() { # NAME: a QEMU of that name
	"$qemu" -name "$1" -machine none -display none -nodefaults -monitor none -serial none &
	W=$!
	at_end "kill -KILL $W 2>/dev/null"
}
orphan "sbxfs-$inst-999999"; ours=$W
orphan "sbxfs-zzzz-999999"; others=$W
orphan "my-sbxfs-$inst-999999"; users=$W
orphan "sbxfs-$inst-999999x"; similar=$W

ip netns add sbxzzzzzzzy
ip netns add "my$inst"
ip link add "sbx${inst}zzz" type veth peer name "peer$inst"
ip link set "sbx${inst}zzz" alias "sbxfs/$inst/$((35 * 36 * 36 + 35 * 36 + 35))"
ip link add sbxzzzzzzz type veth peer name sbxpeer
mkdir -p "/run/sbxfs-$inst/fff0" "/run/sbxfs-$inst/mine" /run/sbxfs-zzzz/fff0
at_end rm -rf "/run/sbxfs-$inst/mine" /run/sbxfs-zzzz
nft add table ip "my_sbxfs_$inst"

began=$(now_ms)
daemon a --net netns
answered=$(($(now_ms) - began))
listed=$(ls "$M" | wc -l)
ls_took=$(($(now_ms) - began))
is "all are listed" "$listed" $((SANDBOXES + 7))
looked_at=$(grep -lx starting "$M"/h?/state | wc -l)
echo "# with ${SANDBOXES} sandboxes and hung VMMs: .version after $answered ms, ls after $ls_took ms, $looked_at are being looked at"
ok "it does not wait for hung ones ($ls_took ms)" test $ls_took -lt 9000
ok "a running one is adopted" wait_for 60 in_state web1 running
adopted=$(($(now_ms) - began))
is "it is the same" "$(status web1 pid) $(boot_id web1)" "$pid $boot"
is "commands on others go on" "$(host_errno "create fresh label.a=b")" ok
for name in $HUNG; do
	ok "$name is decided on" ctl "$name" "wait stopped,error timeout=120"
	is "$name: why" "$(state "$name") $(status "$name" exit_reason)" "stopped daemon-died"
done
echo "# web1 adopted after $adopted ms, hung ones given up after $(($(now_ms) - began)) ms"
for name in $hung_pids; do ok "its process is gone" wait_for 20 no_such_process "$name"; done

is "what cannot be read is listed" "$(find "$M" -maxdepth 1 -name 'damaged*' -printf '%f\n' | sort)" "$damaged"
is "in state error" "$(cat "$M"/damaged*/state | sort | uniq -c | tr -s ' ')" " $((${#bad[@]} + 2)) error"
is "with a reason" "$(grep -L '^last_error=.' "$M"/damaged*/status)" ""
for i in "${bad[@]}" "$off_serial"; do sum_of_record "$i"; done >sums.after
ok "nothing in them has changed" diff sums.before sums.after
is "start is refused" "$(errno "damaged~$off_serial" start)" EIO
ok "with what to do" grep -q 'repair\|destroy' <(ctl "damaged~$off_serial" start)
ok "its VM is left alone" kill -0 "$cold_pid"
ok "with its network" ip netns exec "$cold_netns" true
is "others are as they were" "$(state n8) $(state "n$SANDBOXES")" "created created"

no_name() { # KIND NAME
	! ip "$1" show | grep -q "\b$2\b"
}
ok "our orphan is killed" wait_for 20 process_is_gone "$ours"
ok "the VMM of one whose directory is gone" wait_for 20 process_is_gone "$lost_pid"
ok "its namespace" wait_for 20 no_name netns "$lost_netns"
ok "its link" wait_for 20 no_name link "$lost_netns"
fails "its sockets" test -e "$lost_run"
is "its control group" "$(find /sys/fs/cgroup -path "*/sbxfs-$inst/$lost_serial")" ""
ok "our link" wait_for 20 no_name link "sbx${inst}zzz"
fails "our directory" test -e "/run/sbxfs-$inst/fff0"
ok "another instance's process stays" kill -0 "$others"
ok "a user's too" kill -0 "$users"
ok "one that is called almost so" kill -0 "$similar"
ok "another's namespace" ip netns exec sbxzzzzzzzy true
ok "a user's" ip netns exec "my$inst" true
ok "another's link" ip link show sbxzzzzzzz
ok "another's directory" test -e /run/sbxfs-zzzz/fff0 -a -e "/run/sbxfs-$inst/mine"
ok "a user's table" nft list table ip "my_sbxfs_$inst"
kill -KILL "$others" "$users" "$similar"
nft delete table ip "my_sbxfs_$inst"
for name in sbxzzzzzzzy "my$inst"; do ip netns del "$name"; done
ip link del sbxzzzzzzz

# ---- what becomes of those ---------------------------------------------------------------------------------

for i in "${bad[@]}"; do ok "rmdir damaged~$i" rmdir "$M/damaged~$i"; done
ok "rmdir of one with a VM" rmdir "$M/damaged~$cold_serial"
ok "its VM goes" wait_for 60 process_is_gone "$cold_pid"
ok "its network too" wait_for 60 no_name netns "$cold_netns"
gone() { [ ! -e "$S/sandboxes/$1" ]; }
for i in "${bad[@]}" "$cold_serial"; do ok "nothing is left of $i" wait_for 60 gone "$i"; done
is "a hung one starts again" "$(errno h1 "start timeout=300")" ok
is "and works" "$(sh_in h1 'echo here')" here
# shellcheck disable=SC2086 # names are words
is "destroy" "$(host_errno "destroy web1 fresh $HUNG damaged~$off_serial")" ok
is "shutdown" "$(host_errno shutdown)" ok
ok "it ends" daemon_end a 120
finish
