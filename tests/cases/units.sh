#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/cases/units.sh - what `make install` puts where, what systemd says about the units, mount(8) and its helper
# needs: fuse
# proves: 80
set -u
# shellcheck source=tests/tap.sh
. "$TOP/tests/tap.sh"

# As it has been built: nothing is made anew.
make_install() { # TARGET VARIABLE=VALUE…
	make -s --no-print-directory -C "$TOP" B="$B" -o "$B/sbxfs" -o "$B/sbxfs-agent" "$@"
}
installed() { # DIR
	(cd "$1" && find . -type f | LC_ALL=C sort | grep -vE '^./usr/local/(bin/sbx-|libexec/sbxfs/.*[.]sh$)')
}

# ---- an empty folder --------------------------------------------------------------------------------------------

ok "install" make_install install DESTDIR="$PWD/d"
is "what lies there" "$(installed d)" "./etc/sbxfs.conf
./usr/local/lib/systemd/system/sbxfs-guests.service
./usr/local/lib/systemd/system/sbxfs.service
./usr/local/libexec/sbxfs/sbxfs-agent
./usr/local/sbin/sbxfs
./usr/local/share/man/man1/sbx-mktemplate.1
./usr/local/share/man/man5/sbxfs.5
./usr/local/share/man/man8/sbxfs.8"
tools=("$TOP"/tools/sbx-* "$TOP"/tools/*.sh)
is "and all tools with their parts" "$(find d/usr/local/bin d/usr/local/libexec -name 'sbx-*' -o -name '*.sh' | wc -l)" ${#tools[@]}
ok "the program runs" d/usr/local/sbin/sbxfs --version
echo "# ours" >>d/etc/sbxfs.conf
ok "install again" make_install install DESTDIR="$PWD/d"
ok "leaves a configuration that was there" grep -qx '# ours' d/etc/sbxfs.conf
ok "uninstall" make_install uninstall DESTDIR="$PWD/d"
is "leaves it as well, and nothing else" "$(cd d && find . -type f)" ./etc/sbxfs.conf
cp "$TOP/systemd/sbxfs.conf" d/etc/
ok "uninstall" make_install uninstall DESTDIR="$PWD/d"
is "takes one that nobody has changed" "$(find d -type f)" ""

# ---- the units -------------------------------------------------------------------------------------------------

ok "install to where the units say" make_install install prefix="$PWD/p" sysconfdir="$PWD/p/etc"
units=$PWD/p/lib/systemd/system
ok "the program is where it was put" grep -q "^ExecStart=$PWD/p/sbin/sbxfs " "$units/sbxfs.service"
said=$(systemd-analyze verify --man=no "$units/sbxfs.service" "$units/sbxfs-guests.service" 2>&1)
is "systemd has nothing to say about the units" "$? $said" "0 "
ok "the manual that they name is there" sh -c 'sed -n "s/^Documentation=//p" "$1"/*.service | tr " " "\n" | sed "s/^man:\(.*\)(\(.\))$/\1.\2/" |
	while read -r page; do [ -f "$2/share/man/man${page##*.}/$page" ] || exit 1; done' - "$units" "$PWD/p"
exposed() { # UNIT LIMIT: in tenths
	systemd-analyze security --offline=true --no-pager --threshold="$2" "$units/$1.service" >exposure
	local status=$?
	echo "# $(tail -n 1 exposure)"
	return $status
}
exposed sbxfs 70
is "the daemon is exposed as little as it can be" $? 0
exposed sbxfs-guests 25
is "and the other unit" $? 0
fails "there is no setting that would keep others from the mount" grep -E '^(Private(Tmp|Devices|Mounts|Users|Network)|Protect[A-Za-z]*|[A-Za-z]*Paths|Root[A-Za-z]*|BindPaths|TemporaryFileSystem|DynamicUser|ReadOnly[A-Za-z]*)=' "$units/sbxfs.service"

# ---- the configuration that comes with it -----------------------------------------------------------------------

d=$PWD/p/etc/sbxfs.conf
"$B/sbxfs" --config "$d" --state-dir "$PWD/state" --check >check 2>&1
fails "is one" grep -F "$d" check
is "it leaves guests running" "$(grep -v '^#' "$d" | grep .)" on_shutdown=leave
sed 's/^#\([a-z_]*=\)/\1/' "$d" >all.conf
"$B/sbxfs" --config "$PWD/all.conf" --state-dir "$PWD/state" --check >check 2>&1
fails "so is all that is commented out" grep -F all.conf check
is "which is every setting" "$(grep -o '^[a-z_]*=' all.conf | tr -d = | LC_ALL=C sort)" "$("$B/sbxfs" --dump-tables | sed -n 's/^setting //p' | LC_ALL=C sort)"

# ---- mount(8) --------------------------------------------------------------------------------------------------

export PATH=$B:$PATH:/sbin:/usr/sbin
mkdir m own
is_mounted() {
	grep -q " $PWD/m fuse.sbxfs " /proc/mounts
}
is_gone() {
	! is_mounted
}
down() {
	[ ! -e m/.ctl ] || echo shutdown >m/.ctl
	wait_for 60 is_gone && flock "$1" true
}
at_end '! is_mounted || fusermount3 -uz m'
ok "mount -t fuse.sbxfs STATEDIR MOUNTPOINT, as mount(8) has its helper do it" mount.fuse3 "$PWD/own" "$PWD/m" -t fuse.sbxfs -o rw,noatime,nofail
ok "is mounted" is_mounted
is "with that state directory" "$(sed -n 's/^state_dir=//p' m/.status)" "$PWD/own"
ok "with that option" grep -q " $PWD/m fuse.sbxfs [^ ]*noatime" /proc/mounts
ok "end" down own/lock
ok "sbxfs#STATEDIR" mount.fuse3 "sbxfs#$PWD/own" "$PWD/m" -o rw
is "is the same" "$(sed -n 's/^state_dir=//p' m/.status)" "$PWD/own"
ok "end" down own/lock
ok "the source sbxfs" env HOME="$PWD" XDG_STATE_HOME="$PWD/xdg" XDG_CONFIG_HOME="$PWD" sbxfs --state-dir "$PWD/other" sbxfs "$PWD/m" -o rw
is "names no directory" "$(sed -n 's/^state_dir=//p' m/.status)" "$PWD/other"
ok "end" down other/lock
fails "a relative source" sbxfs own "$PWD/m"
fails "two state directories" sbxfs --state-dir "$PWD/other" "$PWD/own" "$PWD/m"
fails "three operands" sbxfs "$PWD/own" "$PWD/m" more
fails "none" sbxfs
ok "nothing is mounted" is_gone
finish
