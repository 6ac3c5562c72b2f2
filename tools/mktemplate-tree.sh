# shellcheck shell=sh disable=SC2034,SC2154 # variables are shared with sbx-mktemplate
# SPDX-License-Identifier: GPL-2.0-or-later
# tools/mktemplate-tree.sh - part of sbx-mktemplate: the kinds of root file system
#
# Uses from sbx-mktemplate: die, say, need, is_root, cache_open, cache_package; work, source, cache.

DEBIAN_PACKAGES=bash,ca-certificates,iproute2,procps

# ---- root file systems -------------------------------------------------------------------------------

# Each sets tree, the directory that becomes the root file system, and os, and may add to settings.

busybox_is_static() {
	[ -x "$1" ] && ! ldd "$1" >/dev/null 2>&1
}

# Sets busybox.
busybox_find() {
	for busybox in /bin/busybox "$(command -v busybox || :)"; do
		! busybox_is_static "$busybox" || return 0
	done
	cache_open
	cache_package busybox-static
	for busybox in "$cache/busybox-static/bin/busybox" "$cache/busybox-static/usr/bin/busybox"; do
		! busybox_is_static "$busybox" || return 0
	done
	die "no static busybox found; on Debian: apt-get install busybox-static"
}

tree_busybox() {
	busybox_find
	tree=$work/tree
	os=busybox
	mkdir -p "$tree/bin" "$tree/sbin" "$tree/usr/bin" "$tree/usr/sbin" "$tree/etc" "$tree/dev" \
		"$tree/proc" "$tree/sys" "$tree/run" "$tree/mnt" "$tree/root" "$tree/tmp" \
		"$tree/home/sbx" "$tree/var/log" "$tree/var/tmp"
	chmod 700 "$tree/root"
	chmod 1777 "$tree/tmp" "$tree/var/tmp"
	cp "$busybox" "$tree/bin/busybox"
	chmod 755 "$tree/bin/busybox"
	"$busybox" --list-full | while read -r applet; do
		case $applet in
		*/*) ;;
		*) applet=bin/$applet ;;
		esac
		[ -e "$tree/$applet" ] || ln -s /bin/busybox "$tree/$applet"
	done
	[ -L "$tree/bin/sh" ] || die "$busybox has no sh; give another machine's with --dir"
	cat >"$tree/etc/passwd" <<-'EOF'
	root:x:0:0:root:/root:/bin/sh
	sbx:x:1000:1000:sbx:/home/sbx:/bin/sh
	nobody:x:65534:65534:nobody:/nonexistent:/bin/false
	EOF
	cat >"$tree/etc/group" <<-'EOF'
	root:x:0:
	tty:x:5:
	sbx:x:1000:
	nogroup:x:65534:
	EOF
	printf 'root:*:::::::\nsbx:*:::::::\nnobody:*:::::::\n' >"$tree/etc/shadow"
	chmod 640 "$tree/etc/shadow"
	printf '127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n' >"$tree/etc/hosts"
	cat >"$tree/etc/profile" <<-'EOF'
	export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
	[ "$(id -u)" -eq 0 ] && PS1='\h:\w# ' || PS1='\h:\w$ '
	EOF
	printf 'ID=busybox\nNAME=BusyBox\nPRETTY_NAME="BusyBox"\n' >"$tree/etc/os-release"
}

tree_dir() {
	[ -d "$source" ] || die "$source is not a directory"
	tree=$source
	os=$(os_of "$tree")
}

# A tar's owners can be kept by root, or by fakeroot in one go with mke2fs.
tree_tar() {
	if [ ! -f "$source" ] || [ ! -r "$source" ]; then die "cannot read the archive $source"; fi
	tree=$work/tree
	if ! is_root; then
		command -v fakeroot >/dev/null ||
			die "--tar needs root, or fakeroot, to keep the owners of files; on Debian: apt-get install fakeroot"
		fake="fakeroot -s $work/fakeroot -i $work/fakeroot --"
		: >"$work/fakeroot"
	fi
	mkdir "$tree"
	$fake tar -x --numeric-owner --xattrs --xattrs-include='*' -p -C "$tree" -f "$source" ||
		die "cannot unpack $source"
	tree_complete
	os=$(os_of "$tree")
}

# What a container image may lack; the links of the image are not followed.
tree_complete() {
	for d in dev etc proc run sys tmp; do
		[ -e "$tree/$d" ] || [ -L "$tree/$d" ] || $fake mkdir "$tree/$d"
	done
	[ -L "$tree/tmp" ] || $fake chmod 1777 "$tree/tmp"
}

# The machine's own apt sources for the suite, so that its mirrors and keys are used; and its proxies.
tree_debian() {
	need mmdebstrap mmdebstrap
	if [ -z "$source" ]; then
		source=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
		[ -n "$source" ] || die "this machine's suite is not known; name one: --debian SUITE"
	fi
	suite=$source
	source=$work/debian.tar
	# shellcheck disable=SC2016 # mmdebstrap gives the hooks their $1
	set -- --variant=minbase --include="$DEBIAN_PACKAGES" --quiet \
		--customize-hook='chroot "$1" useradd --create-home --shell /bin/bash sbx' \
		--customize-hook='rm -f "$1/etc/resolv.conf" "$1/etc/hostname"' \
		--customize-hook=': >"$1/etc/machine-id"'
	apt-config dump Acquire --format '%F "%v";%n' | grep -i proxy >"$work/apt.conf" || :
	[ ! -s "$work/apt.conf" ] || set -- "$@" --aptopt="$work/apt.conf"
	set -- "$@" "$suite" "$source"
	for list in /etc/apt/sources.list /etc/apt/sources.list.d/*.sources; do
		# Another vendor's list may name the same suite, so the archive's keyring or host must be Debian's.
		if [ -f "$list" ] && grep -q "^\(Suites:\|deb \).*\b$suite\b" "$list" && grep -q debian "$list"; then
			set -- "$@" "$list"
		fi
	done
	say "making Debian $suite"
	mmdebstrap "$@" || die "mmdebstrap failed; its messages are above"
	tree_tar
	rm -f "$source"
}

# tree_path PATH: where PATH of the tree lies for this machine, links followed as the tree's own system would: one that
# leads to /etc leads to the tree's etc. What is not there is added as it is.
tree_path() {
	found=$tree rest=${1#/} links=0
	while [ -n "$rest" ]; do
		part=${rest%%/*}
		case $rest in */*) rest=${rest#*/} ;; *) rest= ;; esac
		case $part in
		'' | .) ;;
		..) [ "$found" = "$tree" ] || found=${found%/*} ;;
		*)
			if [ -L "$found/$part" ]; then
				links=$((links + 1))
				[ $links -le 40 ] || die "too many links on the way to $1 of the image"
				part=$(readlink "$found/$part")
				rest=$part${rest:+/$rest}
				case $part in /*) found=$tree ;; esac
			else
				found=$found/$part
			fi
			;;
		esac
	done
	printf '%s\n' "$found"
}

# os_of TREE: ID and VERSION_ID of its os-release
os_of() {
	tree=$1
	for f in /etc/os-release /usr/lib/os-release; do
		f=$(tree_path $f)
		if [ -f "$f" ]; then
			sed -n 's/^\(ID\|VERSION_ID\)="\{0,1\}\([A-Za-z0-9._-]*\)"\{0,1\}$/\1 \2/p' "$f" |
				awk '$1 == "ID" { id = $2 } $1 == "VERSION_ID" { v = $2 } END { print id (v == "" ? "" : " " v) }'
			return
		fi
	done
	echo unknown
}
