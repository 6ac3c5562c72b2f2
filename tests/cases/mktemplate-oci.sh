#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/cases/mktemplate-oci.sh - container images as templates: what becomes of user, working directory, environment and command
# needs: root fuse tcg
# proves: 8 56 77
# timeout: 600
. "$TOP/tests/tap.sh"
. "$TOP/tests/sbx.sh"
PATH=$TOP/tools:$PATH:/usr/sbin:/sbin
kernel=$(template_dir)/kernel

make() { # TAG DIR: messages to ./log; its kernel is unpacked already, and has no modules: it does not boot
	make_booting "$@" --kernel "$kernel"
}
make_booting() { # TAG DIR [OPTION…]
	sbx-mktemplate --oci "oci:$PWD/layout:$1" --agent "$B/sbxfs-agent" "${@:3}" "$2" 2>log
}
image() { # DIR COMMAND: what debugfs says
	debugfs -R "$2" "$1/rootfs.ext4" 2>/dev/null
}
conf() { # DIR KEY: its value in template.conf
	sed -n "s/^$2=//p" "$1/template.conf"
}
oci() { # SUBCOMMAND TAG …
	umoci "$1" --image "layout:$2" "${@:3}" >>umoci.log 2>&1
}

# ---- images ----------------------------------------------------------------------------------------------

umoci init --layout layout >umoci.log 2>&1
oci new bare
oci unpack bare b
mkdir -p b/rootfs/bin b/rootfs/etc b/rootfs/srv
cp "$(command -v busybox)" b/rootfs/bin/busybox
for applet in sh cat id pwd env ls echo; do
	ln -s busybox "b/rootfs/bin/$applet"
done
printf 'ID=tiny\nVERSION_ID=3\n' >b/rootfs/etc/os-release
echo removed >b/rootfs/srv/gone
mkdir b/rootfs/srv/opaque
echo removed >b/rootfs/srv/opaque/old
head -c 40000000 /dev/zero >b/rootfs/srv/zeroes
echo mine >b/rootfs/srv/mine
chown 1234:77 b/rootfs/srv/mine
umoci repack --image layout:bare b >>umoci.log 2>&1
rm -r b

# The second layer takes files away and has users.
oci unpack bare b
rm -r b/rootfs/srv/gone b/rootfs/srv/opaque
mkdir b/rootfs/srv/opaque
echo new >b/rootfs/srv/opaque/new
printf 'root:x:0:0:root:/root:/bin/sh\napp:x:500:500::/srv/app:/bin/sh' >b/rootfs/etc/passwd
printf 'root:x:0:\napp:x:500:\nstaff:x:50:\n' >b/rootfs/etc/group
umoci repack --image layout:users b >>umoci.log 2>&1
rm -r b
# variant TAG FROM OPTION…: another configuration
variant() {
	oci config "$2" --tag "$1" "${@:3}"
}

# ---- what is written -------------------------------------------------------------------------------------

if ok "an image without any defaults" make bare plain; then
	is "settings" "$(grep -v '^\(os\|init\|cmdline\)=' plain/template.conf)" ""
	is "the os" "$(conf plain os)" "tiny 3"
	is "no command" "$(image plain 'cat /etc/sbxfs/entrypoint')" ""
	is "its owners are kept" "$(image plain 'stat /srv/mine' | awk '/^User:/ { print $2, $4 }')" "1234 77"
	ok "zeroes take no room" test "$(stat -c %b plain/rootfs.ext4)" -lt 40000
	ok "a sound file system" e2fsck -fn plain/rootfs.ext4
fi
variant full users --config.user app --config.workingdir /srv/work --config.env 'GREETING=a "quoted" $word' \
	--config.env 'LINES2=one
two' --config.entrypoint /bin/echo --config.entrypoint "it's" --config.cmd 'by default'
if ok "one with everything" make_booting full full; then
	is "user" "$(conf full user)" app
	is "working directory" "$(conf full cwd)" /srv/work
	is "environment" "$(conf full env.GREETING)" 'a "quoted" $word'
	is "  over two lines" "$(conf full env.LINES2)" 'one\ntwo'
	is "entrypoint" "$(conf full label.oci.entrypoint)" "'/bin/echo' 'it'\\\\''s'"
	is "command" "$(conf full label.oci.cmd)" "'by default'"
	is "what an upper layer removed is gone" "$(image full 'ls -p /srv' | grep -c /gone/)" 0
	is "also below a directory made anew" "$(image full 'ls -p /srv/opaque' | awk -F / '$6 !~ /^\./ && NF { print $6 }')" new
	ok "no whiteout is left as a file" sh -c "! debugfs -R 'ls -p /srv' full/rootfs.ext4 2>/dev/null | grep -q '/\.wh\.'"
	ok "the working directory is made" sh -c "debugfs -R 'stat /srv/work' full/rootfs.ext4 2>/dev/null | grep -q directory"
	ok "a sound file system" e2fsck -fn full/rootfs.ext4
fi
variant number bare --config.user 1234
ok "a number, and no /etc/passwd" make_booting number number
is "it gets a name" "$(conf number user)" uid1234
is "in a passwd of its own" "$(image number 'cat /etc/passwd' | tr '\n' ' ')" "root:x:0:0:root:/root:/bin/sh uid1234:x:1234:0::/:/bin/sh "
variant numbers users --config.user 500:77
ok "a number that has a name, with another group" make numbers numbers
is "its entry" "$(image numbers 'cat /etc/passwd' | tail -n 1)" "uid500-gid77:x:500:77::/srv/app:/bin/sh"
is "is the user" "$(conf numbers user)" uid500-gid77
variant known users --config.user 500
ok "a number that has a name" make known known
is "is that name" "$(conf known user)" app
variant same users --config.user 500:500
ok "with its own group" make same same
is "is that name" "$(conf same user)" app
variant staff users --config.user app:staff
ok "a name with another group" make staff staff
is "is one with both" "$(conf staff user)" uid500-gid50
variant root users --config.user 0:0
ok "root by number" make root rooted
is "is root" "$(conf rooted user)" root
variant nobody users --config.user nemo
fails "a user that the image does not have" make nobody nobody
ok "  leaves nothing" test ! -e nobody -a ! -e nobody.new
ok "  and is named" grep -q nemo log
variant nocmd users --config.entrypoint /bin/id
ok "an entrypoint alone" make nocmd nocmd
is "the program" "$(image nocmd 'cat /etc/sbxfs/entrypoint' | tail -n 1)" "exec '/bin/id' \"\$@\""
fails "a tag that is not there" make none none
ok "  is named" grep -q "'none'" log

# An image whose links lead out of it.
mkdir outside
oci unpack users b
rm -r b/rootfs/etc
ln -s "$PWD/outside" b/rootfs/etc
ln -s "$PWD/outside" b/rootfs/way-out
ln -s ../../../../../../../.. b/rootfs/up
umoci repack --image layout:evil b >>umoci.log 2>&1
rm -r b
variant evil evil --config.user 77 --config.workingdir "/way-out/up/$PWD/outside/made" --config.entrypoint /bin/id
if ok "links that lead out of the image" make evil evil; then
	is "nothing was made out there" "$(find outside)" outside
	ok "but where they lead in the image" sh -c "debugfs -R 'cat $PWD/outside/sbxfs/entrypoint' evil/rootfs.ext4 2>/dev/null | grep -q /bin/id"
fi

# ---- a guest ---------------------------------------------------------------------------------------------

daemon a
ok "import" import full "$PWD/full"
ok "a sandbox" host "create web1 template=full memory_mb=96 start"
is "exec as the image's user" "$(sh_in web1 'id -u; id -g' | tr '\n' ' ')" "500 500 "
is "in its directory" "$(sh_in web1 pwd)" /srv/work
is "with its environment" "$(sh_in web1 'echo "$GREETING"')" 'a "quoted" $word'
is "and its lines" "$(sh_in web1 'echo "$LINES2"' | tr '\n' ,)" one,two,
is "the image's command" "$(sh_in web1 '/etc/sbxfs/entrypoint')" "it's by default"
is "with other arguments" "$(sh_in web1 '/etc/sbxfs/entrypoint no\ way here')" "it's no way here"
ok "the command as a label" grep -qF "label.oci.cmd='by default'" "$M/web1/config"
is "a setting of the sandbox's own goes first" "$(ctl web1 'set cwd=/srv' >/dev/null && ctl web1 restart >/dev/null && sh_in web1 pwd)" /srv
ok "import" import number "$PWD/number"
ok "a sandbox" host "create web2 template=number memory_mb=96 start"
is "a user without a name in the image" "$(sh_in web2 'id -u; id -g; cat /srv/mine' | tr '\n' ' ')" "1234 0 mine "
ok "destroy" host "destroy web1 web2"
host shutdown >/dev/null
daemon_end a
finish
