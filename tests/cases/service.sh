#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/cases/service.sh - both units under a systemd of their own: start, reload, restart, kill -9, a hung loop, stop, the host's shutdown
# needs: root fuse tcg systemd
# timeout: 600
# proves: 22 37 38 80
# shellcheck disable=SC2016 # what stands in '…' is for another shell
#
# systemd runs as the first process of a pid namespace, with a few of its own units and ours. The case itself is run twice: outside, and there
# as a service.
set -u
# shellcheck source=tests/tap.sh
. "$TOP/tests/tap.sh"
# shellcheck source=tests/sbx.sh
. "$TOP/tests/sbx.sh"

M=$PWD/a/m S=$PWD/a/state LOG=$PWD/a/log
release=$(uname -r)
resends=no
[ "$(printf '6.9\n%s\n' "${release%%-*}" | sort -V | head -n 1)" != 6.9 ] || resends=yes

show() { # UNIT PROPERTY
	systemctl show --value -p "$2" "$1"
}
answers() {
	timeout 10 grep -q '^sbxfs ' "$M/.version"
}
restarted() { # PID: it is another's turn
	[ "$(show sbxfs MainPID)" != "$1" ] && [ "$(show sbxfs ActiveState)" = active ] && answers
}
reserve_mb() {
	echo $(($(sed -n 's/^disk_reserve=//p' "$M/.status") >> 20))
}
config() { # LINE…: behind what is installed
	{ cat "$PWD/p/etc/sbxfs.conf"; printf '%s\n' "$@"; } >conf
}
guest_is_left() { # WHAT
	ok "$1: the guest is taken up" wait_for 120 in_state web1 running
	is "$1: its process is the same" "$(status web1 pid)" "$guest"
}

inside() {
	local pid began
	ok "both units start" systemctl start sbxfs sbxfs-guests
	ok "the mount answers" answers
	is "the daemon is active" "$(show sbxfs ActiveState) $(show sbxfs-guests ActiveState)" "active active"
	ok "a template" import default
	ok "a guest" host "create web1 memory_mb=96 autostart=yes start"
	guest=$(status web1 pid)
	ok "is a process of the unit" grep -q '/sbxfs[.]service' "/proc/$guest/cgroup"
	is "it answers" "$(sh_in web1 'echo $((6 * 7))')" 42
	began=$(show sbxfs-guests ActiveEnterTimestampMonotonic)

	config disk_reserve_mb=21
	ok "reload" systemctl reload sbxfs
	reserve_is() { [ "$(reserve_mb)" = "$1" ]; }
	ok "has the configuration read again" wait_for 20 reserve_is 21
	config disk_reserve_mb=22 nonsense
	ok "of a bad one" systemctl reload sbxfs
	says() { show sbxfs StatusText | grep -q "$1"; }
	ok "the status tells" wait_for 20 says 'stays as it was: .*conf:.*KEY=VALUE'
	ok "and it is active" wait_for 20 test "$(show sbxfs ActiveState)" = active
	is "with what it had" "$(reserve_mb)" 21
	config disk_reserve_mb=16

	exec 5<"$M/web1/token"
	pid=$(show sbxfs MainPID)
	ok "restart" systemctl restart sbxfs
	ok "another daemon" restarted "$pid"
	guest_is_left "restart"
	[ $resends = no ] || ok "who had a file open reads on" test -n "$(cat <&5)"
	exec 5<&-
	is "the other unit was not touched" "$(show sbxfs-guests ActiveEnterTimestampMonotonic)" "$began"

	pid=$(show sbxfs MainPID)
	kill -KILL "$pid"
	ok "kill -9: it is started again" wait_for 60 restarted "$pid"
	guest_is_left "kill -9"
	pid=$(show sbxfs MainPID)
	kill -STOP "$pid"
	ok "one that hangs is ended, and started again" wait_for 120 restarted "$pid"
	guest_is_left "a hung one"
	is "the other unit was not touched" "$(show sbxfs-guests ActiveEnterTimestampMonotonic)" "$began"

	ok "stop" systemctl stop sbxfs
	ok "leaves the guest running" kill -0 "$guest"
	ok "start" systemctl start sbxfs
	guest_is_left "stop and start"
	is "it answers" "$(sh_in web1 'echo $((6 * 7))')" 42
	ok "the other unit goes on" systemctl is-active sbxfs-guests
	finish
}

if [ "${1:-}" = inside ]; then
	tap_at_end= # the daemon is systemd's
	(inside) >inside.tap 2>&1 # finish() ends it
	systemctl --no-block exit
	exit 0
fi

# ---- outside ---------------------------------------------------------------------------------------------------

cgroups=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
own=$cgroups/sbxfs-case-$$
remove_cgroups() {
	[ ! -d "$own" ] || find "$own" -depth -type d -exec rmdir {} +
}
at_end remove_cgroups

make -s --no-print-directory -C "$TOP" B="$B" -o "$B/sbxfs" -o "$B/sbxfs-agent" install prefix="$PWD/p" sysconfdir="$PWD/p/etc" unitdir="$PWD/units" >/dev/null
ok "installed" test -x p/sbin/sbxfs
template_dir >/dev/null
mkdir a
config disk_reserve_mb=16
for unit in sysinit.target basic.target shutdown.target umount.target final.target exit.target systemd-exit.service multi-user.target \
	network.target local-fs.target sockets.target paths.target timers.target slices.target; do
	cp "/lib/systemd/system/$unit" units/
done
mkdir units/multi-user.target.wants units/sbxfs.service.d units/sbxfs-guests.service.d
cat >units/sbxfs.service.d/case.conf <<END
[Service]
Environment=MOUNTPOINT=$M "SBXFS_OPTIONS=--state-dir $S --config $PWD/conf $DAEMON_OPTIONS"
StandardError=append:$LOG
WatchdogSec=10s
LimitCORE=0
END
cat >units/sbxfs-guests.service.d/case.conf <<END
[Unit]
After=$(systemd-escape --path --suffix=mount "$M")
[Service]
Environment=MOUNTPOINT=$M
StandardError=append:$PWD/guests.log
END
{
	printf '[Service]\nType=oneshot\nTimeoutStartSec=infinity\nStandardError=append:%s\n' "$PWD/inside.err"
	printf 'Environment="%s"\n' "TOP=$TOP" "B=$B" "DAEMON_OPTIONS=$DAEMON_OPTIONS" "PATH=$PATH" "SBXFS_CACHE=${SBXFS_CACHE:-$B}"
	printf 'WorkingDirectory=%s\nExecStart=/bin/bash %s inside\n' "$PWD" "$0"
} >units/case.service
ln -s ../case.service units/multi-user.target.wants/case.service
ok "the units are good" env SYSTEMD_UNIT_PATH="$PWD/units" systemd-analyze verify --man=no units/sbxfs.service units/sbxfs-guests.service

boot='mount --make-rprivate / && mount -t proc proc /proc && umount -R "$1" && { umount -R /sys/fs/cgroup 2>/dev/null || :; } &&
	mount -t cgroup2 cgroup2 /sys/fs/cgroup && mount -t tmpfs -o mode=755 tmpfs /run && mkdir /run/systemd /run/lock /run/netns &&
	mount -t tmpfs -o mode=755 tmpfs /run/netns && mount --make-rshared / &&
	exec env -i container=case PATH="$PATH" SYSTEMD_UNIT_PATH="$2" /lib/systemd/systemd --system --unit=multi-user.target --log-target=console --show-status=no'
mkdir "$own"
(
	echo $BASHPID >"$own/cgroup.procs"
	exec timeout -k 5 500 unshare --pid --fork --kill-child --mount --cgroup --uts --ipc -- bash -c "$boot" - "$cgroups" "$PWD/units"
) >systemd.log 2>&1 </dev/null
is "systemd ends" $? 0
touch inside.tap
sed 's/^/# inside: /' inside.tap
good=$(grep -c '^ok' inside.tap)
is "all is well inside" "$(grep -v '^ok' inside.tap)" "1..$good"
ok "it came to its end" test "$good" -ge 30
[ "$tap_failed" = 0 ] || tail -n 40 systemd.log inside.err guests.log log 2>/dev/null | sed 's/^/# /'

# The shutdown has paused the guest before the daemon ended, though that was to leave it.
is "and its unit had nothing to say" "$(cat guests.log)" ""
ok "the daemon ended after the guest" sh -c 'tail -n 20 "$0" | grep -q "signal 15"' "$LOG"
daemon a
ok "when the host is up again the guest goes on" wait_for 120 in_state web1 running
ok "from where it was" told web1 '"state":"resuming"'
is "it answers" "$(sh_in web1 'echo $((6 * 7))')" 42
finish
