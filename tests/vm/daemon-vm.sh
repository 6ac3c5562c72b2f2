#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/vm/daemon-vm.sh - the whole daemon on a host with KVM and device-mapper, which it finds out itself
# needs: root dm kvm fuse
# timeout: 1500
# proves: 32 34 36 44 62 64 65 66 67 68 81
# shellcheck disable=SC2016 # what stands in '…' is for another shell
# shellcheck disable=SC2034 # the variables are read in tests/sbx.sh
set -u
DAEMON_OPTIONS="--accel auto"
# shellcheck source=tests/tap.sh
. "$TOP/tests/tap.sh"
# shellcheck source=tests/sbx.sh
. "$TOP/tests/sbx.sh"

host_key() { # KEY: of the daemon's own status
	sed -n "s/^$1=//p" "$M/.status"
}

# Everything but the descriptors of the daemon: of this machine and below the state directory.
things() {
	"$TOP/tests/inventory" | grep -v '^process [0-9]* sbxfs '
	find "$S" -printf 'state %P\n' 2>/dev/null | grep -v '\.log$' | LC_ALL=C sort
}
mark() { # FILE
	settled
	things >"$1"
}
same_as() { # FILE
	things >"$1.now"
	cmp -s "$1" "$1.now"
}
left() { # FILE: is everything as it was then?
	wait_for 30 same_as "$1" || { diff "$1" "$1.now"; return 1; }
}
settled() { # udev's links come and go on their own time, and so do slots
	[ ! -e "${M:-}/.status" ] || slots_settled
	[ ! -e /run/udev/control ] || udevadm settle -t 10
}

loops() { # how many are there of this daemon's files
	losetup -n -O BACK-FILE | grep -c "$S"
}
start() { # NAME: with time enough for a guest whose host is emulated
	ctl "$1" "start timeout=280"
}
disk_sectors() { # NAME: what the guest sees
	sh_in "$1" 'cat /sys/block/vda/size'
}
error_by_crash() { # NAME
	[ "$(state "$1") $(status "$1" exit_reason)" = "error crashed" ]
}

S=/nonexistent
mark before
template=$(template_dir)

# ---- what it chooses -------------------------------------------------------------------------------------

daemon a
is "KVM is chosen" "$(host_key accel)" kvm
is "device-mapper is chosen" "$(host_key storage)" dm
is "network namespaces are chosen" "$(host_key network)" netns
for key in vmm_why storage_why network_why; do
	ok "$key says why: $(host_key $key)" test -n "$(host_key $key)"
done
"$B/sbxfs" --state-dir "$PWD/check" --check >check.text
ok "--check says the same" grep -q "KVM ran" check.text
import default "$template" >reply
is "import" "$(cat reply)" ok
mark empty

# ---- a life under KVM ------------------------------------------------------------------------------------

ok "mkdir" mkdir "$M/web1"
ok "its settings" ctl web1 "set memory_mb=128 disk_mb=300"
began=$(date +%s%N)
ok "start" start web1
echo "# started in $((($(date +%s%N) - began) / 1000000)) ms"
is "it says what it runs on" "$(status web1 accel) $(status web1 storage) $(status web1 network)" "kvm dm netns"
is "exec" "$(sh_in web1 'echo $((6 * 7))')" 42
is "a disk of disk_mb" "$(disk_sectors web1)" $((300 * 2048))
ok "the CPU is the host's own" sh_in web1 'grep -q -i -E "epyc|amd" /proc/cpuinfo'
is "three loop devices at most" "$(test "$(loops)" -le 3 && echo yes)" yes
ok "data is written" sh_in web1 'echo precious >/kept && dd if=/dev/urandom of=/big bs=64k count=64 2>/dev/null && md5sum /big >/big.sum'
ok "and counted" wait_for 20 test "$(status web1 cow_total_bytes)" != ""
ok "stop" ctl web1 stop
is "stopped" "$(state web1)" stopped
is "no device is left of it" "$(loops) $(dmsetup ls 2>/dev/null | grep -c ^sbxfs-)" "0 0"
ok "start again" start web1
is "the data is there" "$(sh_in web1 'cat /kept; md5sum -c /big.sum')" "precious
/big: OK"

# ---- two on one template ---------------------------------------------------------------------------------

ok "a second one" mkdir "$M/web2"
ok "smaller" ctl web2 "set memory_mb=128 disk_mb=100"
ok "starts beside it" start web2
is "one loop device of the template for both" "$(losetup -n -O BACK-FILE,RO | grep -c '/rootfs[^ ]* *1$')" 1
is "its own disk" "$(disk_sectors web2)" $((100 * 2048))
fails "without the other's data" sh_in web2 'cat /kept'
ok "its own address" test "$(status web1 host_ip)" != "$(status web2 host_ip)"
ok "freeze" ctl web2 freeze
is "frozen" "$(state web2) $(errno web2 'exec true')" "frozen EBUSY"
is "the other one goes on" "$(sh_in web1 'echo on')" on
ok "thaw" ctl web2 thaw
is "it goes on" "$(sh_in web2 'echo on')" on
ok "destroy" ctl web2 destroy
is "the other one has its disk" "$(sh_in web1 'echo 3 >/proc/sys/vm/drop_caches; md5sum -c /big.sum')" "/big: OK"

# ---- kill -9 of QEMU -------------------------------------------------------------------------------------

ok "what is written" sh_in web1 'echo newer >/kept; sync'
pid=$(status web1 pid)
kill -KILL "$pid"
ok "a killed QEMU is an error" wait_for 30 error_by_crash web1
is "its devices are released" "$(loops) $(dmsetup ls 2>/dev/null | grep -c ^sbxfs-)" "0 0"
ok "start works again" start web1
is "what was synced is there" "$(sh_in web1 'cat /kept; md5sum -c /big.sum')" "newer
/big: OK"

# ---- kill -9 of the daemon -------------------------------------------------------------------------------

ok "what is written" sh_in web1 'echo newest >/kept; sync'
pid=$(status web1 pid)
kill -KILL "$P"
ok "the daemon is dead" daemon_end a
daemon a
ok "the sandbox is there, in a lasting state" ctl web1 "wait stopped,running timeout=60"
echo "# after kill -9 of the daemon: $(state web1), $(status web1 exit_reason)"
if [ "$(state web1)" = running ]; then
	is "a running one is the same" "$(status web1 pid)" "$pid"
else
	ok "a stopped one's QEMU is gone" process_is_gone "$pid"
fi
is "its devices are there when it is, and else are not" "$(state web1) $(dmsetup ls 2>/dev/null | grep -c "^sbxfs-" | sed 's/[1-9]/some/')" \
	"$(state web1) $([ "$(state web1)" = running ] && echo some || echo 0)"
ok "start" start web1
is "the data is there" "$(sh_in web1 'cat /kept; md5sum -c /big.sum')" "newest
/big: OK"

# ---- kill -9 of both -------------------------------------------------------------------------------------

pid=$(status web1 pid)
kill -KILL "$P" "$pid"
ok "the daemon is dead again" daemon_end a
daemon a
ok "the sandbox is stopped" ctl web1 "wait stopped,error timeout=60"
is "no device is left of it" "$(loops) $(dmsetup ls 2>/dev/null | grep -c ^sbxfs-)" "0 0"
ok "a larger disk" ctl web1 "set disk_mb=400"
ok "start" start web1
is "is seen" "$(disk_sectors web1)" $((400 * 2048))
is "with the data" "$(sh_in web1 'md5sum -c /big.sum')" "/big: OK"
ok "destroy of a running one" ctl web1 destroy
ok "nothing is left of any" left empty
kill -INT "$P"
ok "the daemon ends" daemon_end a

# ---- TCG on the same state -------------------------------------------------------------------------------

daemon a --accel tcg
is "TCG can be asked for" "$(host_key accel) $(host_key storage)" "tcg dm"
ok "mkdir under TCG" mkdir "$M/slow"
ok "its memory" ctl slow "set memory_mb=96"
ok "start under TCG" start slow
is "exec under TCG" "$(status slow accel) $(sh_in slow 'echo here')" "tcg here"
ok "destroy under TCG" ctl slow destroy
kill -INT "$P"
ok "the daemon under TCG ends" daemon_end a
rm -rf a check check.text
S=/nonexistent
ok "nothing is left" left before

# ---- an ordinary user ------------------------------------------------------------------------------------

chmod 0666 /dev/fuse
user=$(getent passwd 1000 | cut -d: -f1)
[ -n "$user" ] || { user=sbx && echo 'sbx:x:1000:1000::/nonexistent:/bin/sh' >>/etc/passwd; }
chmod 755 . # below a folder of mktemp's
mkdir -m 700 user
chown 1000:1000 user
as_user() {
	env -u XDG_RUNTIME_DIR -u XDG_STATE_HOME setpriv --reuid=1000 --regid=1000 --clear-groups -- "$@"
}
# The cases' helpers are told through the mount alone, so everything in here runs as that user.
cat >user.sh <<'SCRIPT'
set -u
DAEMON_OPTIONS="--accel tcg"
. "$TOP/tests/tap.sh"
. "$TOP/tests/sbx.sh"
cd user || exit 1
daemon u
is "what an ordinary user has" "$(sed -n 's/^\(storage\|network\|accel\)=//p' "$M/.status" | tr '\n' ' ')" "tcg file user "
ok "import" import default "$1"
ok "mkdir" mkdir "$M/mine"
is "it is the user's" "$(stat -c %u "$M/mine")" 1000
ok "set" ctl mine "set memory_mb=96"
ok "start" ctl mine "start timeout=280"
is "exec" "$(sh_in mine 'id -u; echo kept >/kept')" 0
ok "stop" ctl mine "stop timeout=60"
is "stopped" "$(state mine)" stopped
ok "the disk has changed" test "$(find "$S" -type f -name 'disk*' -size +100k | wc -l)" -ge 1
ok "destroy" ctl mine destroy
is "no sandbox is left" "$(ls "$M")" ""
kill -INT "$P"
ok "the daemon ends" daemon_end u
fails "the mount is gone" grep -q " $M " /proc/mounts
rm -rf "$S"
finish
SCRIPT
as_user env "TMPDIR=$PWD/user" bash user.sh "$template" >user.tap 2>&1
is "the daemon works for an ordinary user" "$?" 0
sed 's/^/#   /' user.tap
ok "nothing is left of the user's either" left before
finish
