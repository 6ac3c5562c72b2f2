#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# needs:
# proves: 8 18
# sbx-mktemplate: what it writes, that it refuses what it should, and that a failure leaves nothing. Boots nothing.
#
# A small kernel of our own stands in for a real one, in each compression; the real one is looked at where
# there is one or it can be downloaded.
TOP=${TOP:-$(cd "$(dirname "$0")/../.." && pwd)}
B=${B:-$TOP/build}
case $B in /*) ;; *) B=$(pwd)/$B ;; esac
. "$TOP/tests/tap.sh"
PATH=$TOP/tools:$PATH:/usr/sbin:/sbin

here=$(mktemp -d)
at_end "rm -rf '$here'"
cd "$here" || exit 1
if [ ! -x "$B/sbxfs-agent" ]; then
	echo "# $B/sbxfs-agent is not built"
	exit 77
fi

make() {
	sbx-mktemplate --agent "$B/sbxfs-agent" "$@"
}
make_small() { # KERNEL DIR: as little as can be, its messages to ./log
	make --dir tiny --size 8 --kernel "$1" "$2" 2>log
}
image() { # DIR COMMAND: what debugfs says
	debugfs -R "$2" "$1/rootfs.ext4" 2>/dev/null
}
owner_of() { # DIR PATH: MODE UID GID
	image "$1" "stat $2" | awk '/Mode:/ { mode = $0; sub(/.*Mode: */, "", mode); sub(/ .*/, "", mode) }
		/^User:/ { print mode, $2, $4 }'
}
little() { # NUMBER: four bytes
	# shellcheck disable=SC2059 # the format is the bytes
	printf "$(printf '\\%03o\\%03o\\%03o\\%03o' $(($1 % 256)) $(($1 / 256 % 256)) $(($1 / 65536 % 256)) $(($1 / 16777216)))"
}

# ---- a kernel ----------------------------------------------------------------------------------------

{
	printf '\177ELF'
	printf 'Linux version 0.0.1-test (us)\n'
	head -c 200000 /dev/zero
	od -An -tx1 -N 20000 /dev/urandom
} >vmlinux
plain=$(wc -c <vmlinux)

# One sector of boot code, two of setup, the payload 64 bytes behind them.
bzimage() { # COMPRESSED NAME [LENGTH-BEHIND-IT]
	{
		cat "$1"
		[ -z "${3-}" ] || little "$3"
	} >payload
	{
		head -c 497 /dev/zero
		printf '\002'
		head -c 16 /dev/zero
		printf 'HdrS'
		head -c 8 /dev/zero
		printf '\140\002' # the version's text, less 0x200
		head -c 56 /dev/zero
		little 64
		little "$(wc -c <payload)"
	} >"$2"
	truncate -s $((0x260 + 512)) "$2"
	printf '0.0.1-test (us) #1' >>"$2"
	truncate -s $((3 * 512 + 64)) "$2"
	cat payload >>"$2"
}

mkdir tiny
for way in 'gzip' 'xz --check=crc32' 'lz4 -l' 'zstd'; do
	if ! command -v "${way%% *}" >/dev/null; then
		skip "a kernel by ${way%% *}" "${way%% *} is not installed"
		continue
	fi
	$way -c vmlinux >packed
	# gzip ends in the length by itself.
	case $way in gzip) bzimage packed bz ;; *) bzimage packed bz "$plain" ;; esac
	if ok "a kernel by ${way%% *}" make_small bz "k-${way%% *}"; then
		ok "  is unpacked" cmp "k-${way%% *}/kernel" vmlinux
	fi
	rm -rf "k-${way%% *}"
done
ok "its version is read" sh -c "grep -q \"kernel '0.0.1-test'\" log"
cp bz short
truncate -s -1000 short
fails "a kernel that was cut off" make_small short broken
ok "  leaves nothing" test ! -e broken -a ! -e broken.new
echo "no kernel" >text
fails "a text for a kernel" make_small text broken
ok "  leaves nothing" test ! -e broken -a ! -e broken.new

# ---- --busybox ---------------------------------------------------------------------------------------

if ok "a busybox template" make --busybox --kernel vmlinux bb; then
	is "its files" "$(find bb -type f -printf '%f\n' | sort | tr '\n' ' ')" "initrd kernel rootfs.ext4 template.conf "
	ok "nothing else is left" test ! -e bb.new
	ok "a vmlinux is taken as it is" cmp bb/kernel vmlinux
	is "64 MiB" "$(wc -c <bb/rootfs.ext4)" 67108864
	ok "a sound file system" e2fsck -fn bb/rootfs.ext4
	dumpe2fs -h bb/rootfs.ext4 >super 2>/dev/null
	is "blocks of 4 KiB, so that it can be grown" "$(awk '/^Block size:/ { print $3 }' super)" 4096
	is "none reserved" "$(awk '/^Reserved block count:/ { print $4 }' super)" 0
	ok "sh is busybox" sh -c "debugfs -R 'stat /bin/sh' bb/rootfs.ext4 2>/dev/null | grep -q '\"/bin/busybox\"'"
	is "busybox is root's" "$(owner_of bb /bin/busybox)" "0755 0 0"
	is "/root is private" "$(owner_of bb /root)" "0700 0 0"
	is "/tmp is everybody's" "$(owner_of bb /tmp)" "01777 0 0"
	is "the user sbx has a home" "$(owner_of bb /home/sbx)" "0755 1000 1000"
	is "and a name" "$(image bb 'cat /etc/passwd' | awk -F : '$1 == "sbx" { print $3, $7 }')" "1000 /bin/sh"
	is "template.conf" "$(cut -d = -f 1 bb/template.conf | tr '\n' ' ')" "os init cmdline "
	ok "the agent is process 1" grep -qx init=agent bb/template.conf
	cpio -it --quiet <bb/initrd | sort >listed
	ok "the initramfs has the agent" grep -qx init listed
	ok "and an order of modules, here empty" grep -qx modules/order listed
	is "all of it is root's" "$(cpio -itvn --quiet <bb/initrd | awk '$3 != 0 || $4 != 0')" ""
	is "the agent can be started" "$(cpio -itv --quiet <bb/initrd | awk '$NF == "init" { print $1 }')" -rwxr-xr-x
fi
fails "a directory that holds something is refused" make_small vmlinux bb
ok "and stays as it was" test -s bb/rootfs.ext4
mkdir empty
ok "an empty one is filled" make_small vmlinux empty
ok "  whole" test -s empty/template.conf
mkdir taken.new
fails "two at once: the second is refused" make_small vmlinux taken
ok "  and does not remove the first one's work" test -d taken.new

# ---- --dir -------------------------------------------------------------------------------------------

mkdir -p 'src/etc' 'src/a b'
printf 'ID=testos\nVERSION_ID="7"\n' >src/etc/os-release
echo hello >'src/a b/file'
ln -s ../../outside src/link
chmod 640 'src/a b/file'
find src | sort >before
if ok "a template of a directory" make --dir src --kernel vmlinux --size 48 dir; then
	is "of the size that was asked for" "$(wc -c <dir/rootfs.ext4)" $((48 * 1048576))
	is "a file of it" "$(image dir 'cat "/a b/file"')" hello
	is "the caller's own file is root's there" "$(owner_of dir '"/a b/file"')" "0640 0 0"
	ok "a link is a link" sh -c "debugfs -R 'stat /link' dir/rootfs.ext4 2>/dev/null | grep -q outside"
	ok "the os is known" grep -qx 'os=testos 7' dir/template.conf
	ok "a sound file system" e2fsck -fn dir/rootfs.ext4
	find src | sort >after
	ok "the directory is as it was" cmp before after
fi
head -c 3000000 /dev/urandom >src/big
fails "an image too small for its files" make --dir src --kernel vmlinux --size 2 small
ok "  leaves nothing" test ! -e small -a ! -e small.new
rm src/big
ok "without a size there is room" make --dir src --kernel vmlinux room
ok "  256 MiB of it" test "$(wc -c <room/rootfs.ext4)" -ge $((256 * 1048576))

# ---- wrong use ---------------------------------------------------------------------------------------

status_of() {
	"$@" >/dev/null 2>&1
	echo $?
}
is "no DIR" "$(status_of make --busybox)" 2
is "two kinds" "$(status_of make --busybox --dir src x)" 2
is "an unknown option" "$(status_of make --nothing x)" 2
is "an option without its value" "$(status_of make --dir)" 2
is "a size that is none" "$(status_of make --size 5G x)" 2
is "a directory that is not there" "$(status_of make --kernel vmlinux --dir nowhere x)" 1
is "an archive that is not there" "$(status_of make --kernel vmlinux --tar nowhere x)" 1
is "an agent that is not there" "$(status_of sbx-mktemplate --agent nowhere x)" 1
ok "none left anything" test ! -e x -a ! -e x.new
ok "help" make --help

# ---- the real kernel ---------------------------------------------------------------------------------

if make --dir tiny --size 8 real >log 2>&1; then
	is "Debian's kernel is unpacked" "$(head -c 4 real/kernel | tail -c 3)" ELF
	cpio -i --quiet --to-stdout modules/order <real/initrd | cut -d ' ' -f 1 >order
	for m in virtio_mmio virtio_pci virtio_blk virtio_net virtio-rng virtio_balloon pvpanic-mmio pvpanic-pci; do
		ok "$m is in the initramfs" grep -qx "$m.ko" order
	done
	is "what virtio needs comes first" "$(head -n 2 order | tr '\n' ' ')" "virtio_ring.ko virtio.ko "
	cpio -it --quiet <real/initrd | sed -n 's|^modules/\(.*\.ko\)$|\1|p' | sort >listed
	sort order >sorted
	ok "the order names each module once" cmp listed sorted
else
	skip "the real kernel" "none is installed or cached, and none could be downloaded: $(tail -n 1 log)"
fi

finish
