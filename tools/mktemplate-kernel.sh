# shellcheck shell=sh disable=SC2034,SC2154 # variables are shared with sbx-mktemplate
# SPDX-License-Identifier: GPL-2.0-or-later
# tools/mktemplate-kernel.sh - part of sbx-mktemplate: find a kernel, unpack it, and the modules it needs
#
# Uses from sbx-mktemplate: die, say, need, is_root, absolute; work. Sets: cache, kernel, release, modules_root.

# What the VMMs offer; dependencies follow by themselves. The agent loads a module with a path behind it only
# where that path exists: mmio devices of ACPI (QEMU's microvm), or a PCI bus (everything else). Without pvpanic
# a panic looks like a reset.
MODULES='virtio_mmio=/sys/bus/acpi/devices/LNRO0005:00 virtio_pci=/sys/devices/pci0000:00
	virtio_blk virtio_net virtio-rng virtio_balloon pvpanic-mmio pvpanic-pci=/sys/devices/pci0000:00'
KERNEL_PACKAGE=linux-image-cloud-amd64

# ---- the cache ---------------------------------------------------------------------------------------

# Sets cache. One user of it at a time: the lock is held until this program ends.
cache_open() {
	[ -z "${cache-}" ] || return 0
	if [ -n "${SBXFS_CACHE-}" ]; then
		cache=$(absolute "$SBXFS_CACHE")
	elif is_root; then
		cache=/var/cache/sbxfs
	else
		cache=${XDG_CACHE_HOME:-$HOME/.cache}/sbxfs
	fi
	mkdir -p "$cache" || die "cannot make the cache folder $cache; set SBXFS_CACHE to another"
	exec 9>"$cache/lock"
	flock 9
}

# cache_package PACKAGE: download it and unpack it to $cache/PACKAGE; nothing gets installed
cache_package() {
	[ ! -d "$cache/$1" ] || return 0
	command -v apt-get >/dev/null || die "cannot download $1: this machine has no apt-get"
	say "downloading $1"
	fetch=$cache/fetch.$$
	rm -rf "$fetch"
	mkdir "$fetch"
	# The archive is checked by apt as usual; its own user may not be able to write to the cache.
	(cd "$fetch" && apt-get -qq -o APT::Sandbox::User=root download "$1") ||
		die "apt-get cannot download $1; try 'apt-get update' first"
	dpkg -x "$fetch"/*.deb "$fetch/root"
	mv "$fetch/root" "$cache/$1"
	rm -rf "$fetch"
	fetch=
}

# ---- kernel and modules ------------------------------------------------------------------------------

# Sets kernel and modules_root: an installed cloud kernel, else one of the cache, else from Debian's archive.
kernel_find() {
	kernel_newest /boot && modules_root=/ && return 0
	cache_open
	package=$(find "$cache" -mindepth 1 -maxdepth 1 -name 'linux-image-*-cloud-amd64' | sort -V | tail -n 1)
	if [ -z "$package" ]; then
		command -v apt-cache >/dev/null ||
			die "no cloud kernel here, and no apt to get one; give one with --kernel FILE"
		package=$(apt-cache depends "$KERNEL_PACKAGE" 2>/dev/null |
			sed -n 's/^ *Depends: \(linux-image-.*\)$/\1/p' | head -n 1)
		[ -n "$package" ] ||
			die "apt does not know $KERNEL_PACKAGE; try 'apt-get update', or give a kernel with --kernel FILE"
		cache_package "$package"
		package=$cache/$package
	fi
	kernel_newest "$package/boot" || die "no kernel in $package; remove that folder and try again"
	modules_root=$package
}

# kernel_newest DIR: sets kernel to DIR's newest readable cloud kernel that has its modules
kernel_newest() {
	kernel=
	for k in $(find "$1" -maxdepth 1 -name 'vmlinuz-*-cloud-amd64' 2>/dev/null | sort -rV); do
		if [ -r "$k" ] && [ -d "${1%/boot}/lib/modules/${k##*/vmlinuz-}" ]; then
			kernel=$k
			return 0
		fi
	done
	return 1
}

# bytes FILE OFFSET COUNT: as hexadecimal digits
bytes() {
	od -An -v -tx1 -j "$2" -N "$3" "$1" | tr -d ' \n'
}

# u32 FILE OFFSET: a little-endian number
u32() {
	od -An -v -tu1 -j "$2" -N 4 "$1" | awk '{ printf "%.0f\n", $1 + $2 * 256 + $3 * 65536 + $4 * 16777216 }'
}

# kernel_release FILE: the version that a kernel says it is, "" if it says nothing
kernel_release() {
	if [ "$(bytes "$1" 514 4)" = 48647253 ]; then
		# Linux Documentation/arch/x86/boot.rst, kernel_version: offset less 0x200, at 0x20e
		start=$(od -An -v -tu1 -j 526 -N 2 "$1" | awk '{ print $1 + $2 * 256 + 512 + 1 }')
		tail -c "+$start" "$1" | head -c 128 | tr '\0' '\n' | head -n 1 | cut -d ' ' -f 1
	else
		grep -a -m 1 -o 'Linux version [^ ]*' "$1" | head -n 1 | cut -d ' ' -f 3 || :
	fi
}

# kernel_unpack FILE OUT: a vmlinux is taken as it is, a bzImage unpacked
kernel_unpack() {
	if [ "$(bytes "$1" 0 4)" = 7f454c46 ]; then
		cp "$1" "$2"
		return
	fi
	[ "$(bytes "$1" 514 4)" = 48647253 ] || die "$1 is neither an ELF file nor a bzImage"
	# Linux Documentation/arch/x86/boot.rst: setup_sects 0x1f1, payload_offset 0x248, payload_length 0x24c
	sectors=$(od -An -tu1 -j 497 -N 1 "$1")
	offset=$(((sectors + 1) * 512 + $(u32 "$1" 584)))
	length=$(u32 "$1" 588)
	plain=$(u32 "$1" $((offset + length - 4)))
	keep=$((length - 4)) # the kernel's build appends the length; gzip has it in its own format
	case $(bytes "$1" $offset 4) in
	02214c18) unpack='lz4 -dc' package=lz4 ;;
	fd377a58) unpack='xz -dc' package=xz-utils ;;
	28b52ffd) unpack='zstd -dc' package=zstd ;;
	1f8b*) unpack='gzip -dc' package=gzip keep=$length ;;
	5d0000*) unpack='xz --format=lzma -dc' package=xz-utils ;;
	425a68*) unpack='bzip2 -dc' package=bzip2 ;;
	*) die "$1 is compressed in a way that this program does not know; give a vmlinux" ;;
	esac
	need "${unpack%% *}" "$package"
	tail -c "+$((offset + 1))" "$1" | head -c "$keep" | $unpack >"$2" ||
		die "cannot unpack $1 by ${unpack%% *}"
	if [ "$(bytes "$2" 0 4)" != 7f454c46 ] || [ "$(wc -c <"$2")" -ne "$plain" ]; then
		die "$1 does not unpack to the kernel that its header tells of; is the file whole?"
	fi
}

# Sets modules_root for a kernel that was given: beside it, installed, or in the cache; "" if there are none.
modules_find() {
	modules_root=
	beside=$(dirname "$(dirname "$kernel")")
	for root in "$beside" / "${cache-}/linux-image-$release"; do
		if [ -d "$root/lib/modules/$release" ]; then
			modules_root=$root
			return
		fi
	done
	say "no modules for kernel '$release' found: the initramfs has none, the kernel must have its drivers built in"
}

# modules_depends: needs modules.dep, which the package leaves to its installation
modules_depends() {
	[ -f "$modules_root/lib/modules/$release/modules.dep" ] && return 0
	copy=$work/modules_root
	mkdir -p "$copy/lib/modules"
	cp -a "$modules_root/lib/modules/$release" "$copy/lib/modules/"
	modules_root=$copy
	depmod -b "$modules_root" "$release"
}

# modules_copy OUT: the modules and their dependencies into OUT, in load order as OUT/order: FILE [PATH]
modules_copy() {
	mkdir "$1"
	: >"$1/order"
	[ -n "$modules_root" ] || return 0
	need modprobe kmod
	modules_depends
	for m in $MODULES; do
		case $m in
		*=*) only=${m#*=} ;;
		*) only='' ;;
		esac
		# One that this kernel has built in, or not at all, is "builtin" or nothing here.
		modprobe -d "$modules_root" -S "$release" --show-depends "${m%%=*}" 2>/dev/null |
			sed -n "s|^insmod \\([^ ]*\\).*|\\1 $only|p"
	done >"$work/modules"
	# A dependency of several comes once, and always.
	awk '{ n[$1]++; if (n[$1] == 1) file[++count] = $1; only[$1] = $2 }
		END { for (i = 1; i <= count; i++) print file[i], (n[file[i]] > 1 ? "" : only[file[i]]) }' \
		"$work/modules" >"$work/modules.once"
	while read -r file only; do
		name=${file##*/}
		case $name in
		*.ko) cp "$file" "$1/$name" ;;
		*.xz) name=${name%.xz} && xz -dc "$file" >"$1/$name" ;;
		*.zst) name=${name%.zst} && zstd -qdc "$file" >"$1/$name" ;;
		*.gz) name=${name%.gz} && gzip -dc "$file" >"$1/$name" ;;
		*) die "do not know how to unpack the module $file" ;;
		esac
		printf '%s\n' "$name${only:+ $only}" >>"$1/order"
	done <"$work/modules.once"
}
