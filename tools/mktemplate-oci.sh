# shellcheck shell=sh disable=SC2034,SC2154 # variables are shared with sbx-mktemplate
# SPDX-License-Identifier: GPL-2.0-or-later
# tools/mktemplate-oci.sh - part of sbx-mktemplate: container images
#
# umoci lays the layers over each other and works out who the user is. The image's environment and working directory
# become settings; its command becomes a program in the image, /etc/sbxfs/entrypoint, since nothing starts one by itself.
# Whatever is written into the tree goes through tree_path: an image's links may lead anywhere.
#
# Uses from sbx-mktemplate: die, say, need, is_root, tree_path, tree_complete, os_of; work, source, tree.

# Sets layout and tag from oci:LAYOUT[:TAG]; anything else is copied to a layout first.
oci_fetch() {
	case $source in
	oci:*)
		layout=${source#oci:}
		tag=latest
		case $layout in
		*:*) tag=${layout##*:} layout=${layout%:*} ;;
		esac
		[ -f "$layout/index.json" ] || die "$layout is not an OCI layout"
		;;
	*)
		need skopeo skopeo
		layout=$work/oci
		tag=latest
		skopeo copy --quiet --override-os linux --override-arch amd64 "$source" "oci:$layout:$tag" ||
			die "skopeo cannot copy $source; for a registry write docker://NAME"
		;;
	esac
}

# oci_blob DIGEST: its path
oci_blob() {
	printf '%s/blobs/%s/%s\n' "$layout" "${1%%:*}" "${1#*:}"
}

# Sets config, the file of the image's defaults.
oci_config() {
	manifest=$(jq -r --arg tag "$tag" \
		'[.manifests[] | select(.annotations["org.opencontainers.image.ref.name"] == $tag)][0].digest // ""' \
		"$layout/index.json")
	[ -n "$manifest" ] || die "there is no tag '$tag' in $layout; name one: oci:$layout:TAG"
	config=$(oci_blob "$(jq -r '.config.digest' "$(oci_blob "$manifest")")")
}

# The environment, and the command for whoever looks for it; a value's line ends at a newline, which is therefore escaped.
oci_settings() {
	jq -r 'def line: gsub("\\\\"; "\\\\") | gsub("\n"; "\\n") | gsub("\t"; "\\t");
		(.config // {}) as $c
		| ($c.Env // [] | .[] | select(test("^[A-Za-z0-9_.-]+=")) | "env." + line),
		  ($c.Entrypoint // [] | select(length > 0) | "label.oci.entrypoint=" + (@sh | line)),
		  ($c.Cmd // [] | select(length > 0) | "label.oci.cmd=" + (@sh | line))' "$config" >>"$work/settings"
}

# As in a container: arguments stand in for the image's Cmd.
oci_entrypoint() {
	program=$(jq -r '(.config // {}) | select((.Entrypoint // []) + (.Cmd // []) | length > 0)
		| "[ $# -gt 0 ] || set -- " + (.Cmd // [] | @sh), "exec " + (.Entrypoint // [] | @sh) + " \"$@\""' "$config")
	[ -n "$program" ] || return 0
	dir=$(tree_path /etc/sbxfs)
	mkdir -p "$dir" || die "cannot make /etc/sbxfs in the image"
	rm -rf --one-file-system "$dir/entrypoint"
	{
		printf '#!/bin/sh\n# The command of the image; arguments replace what it is given by default.\n'
		printf '%s\n' "$program"
	} >"$dir/entrypoint"
	chmod 755 "$dir" "$dir/entrypoint"
}

oci_cwd() {
	cwd=$(jq -r '.config.WorkingDir // "" | gsub("\n"; "")' "$config")
	case $cwd in
	'') return ;;
	/*) ;;
	*) cwd=/$cwd ;;
	esac
	mkdir -p "$(tree_path "$cwd")" || die "cannot make the working directory $cwd in the image"
	jq -rn --arg cwd "$cwd" '"cwd=" + ($cwd | gsub("\\\\"; "\\\\") | gsub("\t"; "\\t"))' >>"$work/settings"
}

# A setting names a user of /etc/passwd, and that has one group: where the image has a number alone, or another group with
# the user, an entry is added for it.
oci_user() {
	wanted=$(jq -r '.config.User // ""' "$config")
	[ -n "$wanted" ] || return 0
	uid=$(jq -r '.process.user.uid' "$work/bundle/config.json")
	gid=$(jq -r '.process.user.gid' "$work/bundle/config.json")
	passwd=$(tree_path /etc/passwd)
	name=$(awk -F : -v uid="$uid" -v gid="$gid" -v wanted="${wanted%%:*}" '
		$3 == uid && $4 == gid && (!name || $1 == wanted) { name = $1 } END { print name }' "$passwd" 2>/dev/null || :)
	if [ -z "$name" ] && [ "$uid:$gid" = 0:0 ]; then
		name=root
	elif [ -z "$name" ]; then
		name=uid$uid
		[ "$gid" = 0 ] || name=$name-gid$gid
		oci_user_add
	fi
	printf 'user=%s\n' "$name" >>"$work/settings"
}

oci_user_add() {
	home=$(awk -F : -v uid="$uid" '$3 == uid { print $6; exit }' "$passwd" 2>/dev/null || :)
	mkdir -p "${passwd%/*}" || die "cannot make /etc in the image"
	if [ ! -s "$passwd" ]; then
		echo 'root:x:0:0:root:/root:/bin/sh' >"$passwd"
	elif [ -n "$(tail -c 1 "$passwd")" ]; then
		echo >>"$passwd" # its last line has no end
	fi
	printf '%s:x:%s:%s::%s:/bin/sh\n' "$name" "$uid" "$gid" "${home:-/}" >>"$passwd"
}

tree_oci() {
	need umoci umoci
	need jq jq
	oci_fetch
	oci_config
	rootless=
	if ! is_root; then
		rootless=--rootless
		say "not root: files of the image that are not root's become root's"
	fi
	umoci unpack $rootless --image "$layout:$tag" "$work/bundle" >"$work/umoci.log" 2>&1 || {
		tail -n 5 "$work/umoci.log" >&2
		die "umoci cannot unpack $layout:$tag"
	}
	tree=$work/bundle/rootfs
	tree_complete
	oci_settings
	oci_user
	oci_cwd
	oci_entrypoint
	os=$(os_of "$tree")
}
