#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/cases/pull.sh - templates from a URL: resumed, refused, checked for newer ones; and what a guest starts from then
# needs: root fuse tcg faults
# proves: 7 18 30 56
# timeout: 600
. "$TOP/tests/tap.sh"
. "$TOP/tests/sbx.sh"
PATH=$PATH:/usr/sbin:/sbin
good=$(template_dir)
# No proxy of this machine stands between the daemon and the server here.
unset http_proxy https_proxy all_proxy HTTPS_PROXY ALL_PROXY

as() { # UID COMMAND…
	setpriv --reuid "$1" --regid "$1" --clear-groups -- "${@:2}"
}

# ---- a server --------------------------------------------------------------------------------------------

mkdir web
serve() {
	rm -f port.new
	"$B/tests/cases/helper-httpd" web port.new &
	server=$!
	wait_for 10 test -s port.new || echo "# the server does not start"
	port=$(cat port.new)
	URL=http://127.0.0.1:$port
}
server_end() {
	kill "$server"
	wait "$server" 2>/dev/null
}
serve
at_end 'kill "$server" 2>/dev/null'
faults() { # WORD…
	echo "$*" >web/.faults
}
log_anew() {
	: >web/.log
}
sent_is() { # BYTES
	[ "$(sent)" = "$1" ]
}
sent_in_all() { # BYTES WHAT: the server writes its line when it has noticed that the client is gone
	wait_for 10 sent_is "$1"
	is "$2" "$(sent)" "$1"
}
sent() { # bytes of all bodies
	awk '{ sum += $5 } END { print sum + 0 }' web/.log
}
size() { # FILE
	stat -c %s "web/$1"
}
sum() { # FILE
	sha256sum <"web/$1" | cut -d ' ' -f 1
}
pull_line() { # FILE [SHA256]
	echo "pull url=$URL/$1 sha256=${2:-$(sum "$1")}"
}
pull() { # TEMPLATE FILE [SHA256]: "ok" or the error's name
	errno ".templates/$1" "$(pull_line "$2" "${3:-}")"
}
key() { # TEMPLATE KEY
	status ".templates/$1" "$2"
}
check() { # TEMPLATE: the reply's line
	ctl ".templates/$1" check | sed -n 2p
}
kept() { # TEMPLATE: what lies in its directory
	(cd "$S/templates/$1" && find . -mindepth 1 | LC_ALL=C sort | tr '\n' ' ')
}
part() { # TEMPLATE
	stat -c %s "$S/templates/$1/pull/part"
}

# Small files that are a template for everything but booting; SALT tells versions apart.
small() { # DIR SALT
	mkdir -p "$1"
	echo "$2" >"$1/rootfs.ext4"
	head -c 300000 /dev/urandom >"$1/kernel"
	echo initrd >"$1/initrd"
	echo 'vcpus=3' >"$1/template.conf"
}
small one first
small two second
tar -cf web/one.tar -C one .
tar -cf web/two.tar -C two .

daemon a
ok "a template" import default
mkdir "$M/.templates/p"

# ---- what cannot be pulled -------------------------------------------------------------------------------

digest=$(sum one.tar)
for line in pull "pull url=$URL/one.tar" "pull sha256=$digest" "pull url=$URL/one.tar sha256=12" "pull url=file:///etc/passwd sha256=$digest" \
	"pull url=http://u:p@127.0.0.1:$port/one.tar sha256=$digest" "pull url=$URL/one.tar sha256=${digest}0" "pull $URL/one.tar $digest" check; do
	is "${line/$digest/SUM}" "$(errno .templates/p "$line")" EINVAL
done
is "a file that is not there" "$(pull p none.tar "$digest")" ENOENT
is "a port where nobody listens" "$(errno .templates/p "pull url=http://127.0.0.1:1/x sha256=$digest")" EIO
faults status=403
is "one that is not given" "$(pull p one.tar)" EACCES
faults
is "another digest" "$(pull p one.tar "$(sum two.tar)")" EBADMSG
is "nothing is kept of it" "$(kept p)" "./record ./versions "
is "the state" "$(key p state)" empty
ok "the reason stays readable" grep -q "^last_error=.*sha256 $digest" "$M/.templates/p/status"

# ---- pull ------------------------------------------------------------------------------------------------

log_anew
faults slow=200000
spawn .templates/p "$(pull_line one.tar)"
mid_pull() {
	[ "$(key p state)" = pulling ] && [ -n "$(key p pull_bytes)" ] && [ "$(key p pull_bytes)" -lt "$(size one.tar)" ]
}
ok "progress is seen while it runs" wait_for 20 mid_pull
is "and how much there is in all" "$(key p pull_total)" "$(size one.tar)"
is "rmdir meanwhile" "$(LC_ALL=C rmdir "$M/.templates/p" 2>&1 | sed 's/.*: //')" "Device or resource busy"
is "the outcome" "$(answer "$W")" ok
faults
is "the state" "$(key p state)" ready
is "where from" "$(key p source)" "$URL/one.tar"
is "what" "$(key p sha256)" "$digest"
is "no pull is open" "$(key p pull_bytes)$(key p pull_total)" ""
ok "settings of its template.conf" grep -q 'vcpus=3' "$M/.templates/p/config"
is "its files are the same" "$(cat "$S"/templates/p/versions/*/kernel | sha256sum)" "$(sha256sum <one/kernel)"
sent_in_all "$(size one.tar)" "each byte came once"
ok "the same in JSON" jq -e --arg s "$digest" '.sha256 == $s and .pull_bytes == null' "$M/.templates/p/status.json"
log_anew
is "the same once more" "$(pull p one.tar)" ok
is "costs nothing" "$(sent)" 0
version=$(key p digest)
is "a digest that is wrong, over a version" "$(pull p two.tar "$digest")" EBADMSG
is "the version stays" "$(key p digest) $(key p source)" "$version $URL/one.tar"
ok "nothing else is kept" test ! -e "$S/templates/p/pull"

# The server notices late that a client has gone, and its line would be counted with those of the next pull.
log_anew_after() {
	ok "the server has seen the end of it" wait_for 20 test -s web/.log
	log_anew
}

# ---- broken off ------------------------------------------------------------------------------------------

whole=$(size two.tar)
log_anew
faults cut=100000
is "a connection that breaks again and again" "$(pull p two.tar)" ok
sent_in_all "$whole" "each byte came once"
ok "from where it stopped" grep -q "^GET /two.tar 206 200000 100000" web/.log
is "the version is new" "$(key p source)" "$URL/two.tar"

log_anew
faults cut=100000 norange
is "a server without ranges that breaks each time" "$(pull p one.tar)" EIO
is "was asked once, and five times more" "$(wc -l <web/.log)" 6
is "what came is kept" "$(part p)" 100000
is "and shown" "$(key p pull_bytes)/$(key p pull_total)" "100000/$(size one.tar)"
log_anew
faults
is "pulled again" "$(pull p one.tar)" ok
sent_in_all $(($(size one.tar) - 100000)) "the rest came"

spawn_half() { # TEMPLATE FILE: a pull that has come to its middle
	faults slow=40000
	log_anew
	spawn ".templates/$1" "$(pull_line "$2")"
	ok "a pull that is under way" wait_for 20 half "$1"
}
half() {
	[ "$(part "$1" 2>/dev/null || echo 0)" -gt 100000 ]
}
spawn_half p two.tar
kill -INT "$W"
is "a signal ends it" "$(answer "$W")" EINTR
is "the version stays" "$(key p source)" "$URL/one.tar"
have=$(part p)
is "what came is kept" "$(key p pull_bytes)" "$have"
is "the state" "$(key p state)" ready
faults
log_anew_after
is "pulled again" "$(pull p two.tar)" ok
sent_in_all $((whole - have)) "only the rest came"

spawn_half p one.tar
kill -KILL "$P"
answer "$W" >/dev/null
daemon_end a
fusermount3 -uz "$M"
faults
daemon a
have=$(part p)
ok "after the daemon's death something is there" test "$have" -gt 100000
is "and shown" "$(key p pull_bytes)" "$have"
is "the old version is in use" "$(key p source) $(key p state)" "$URL/two.tar ready"
log_anew_after
is "pulled again" "$(pull p one.tar)" ok
sent_in_all $(($(size one.tar) - have)) "only the rest came"

spawn_half p two.tar
kill -INT "$W"
answer "$W" >/dev/null
faults
ok "a part that a crash spoilt" sh -c 'printf spoilt | dd of="$0" bs=1 seek=5000 conv=notrunc,nocreat status=none' "$S/templates/p/pull/part"
is "is found out and fetched anew" "$(pull p two.tar)" ok

# The file changes between two connections.
small three third
tar -cf web/now.tar -C one .
old=$(sum now.tar)
spawn_half p now.tar
kill -INT "$W"
answer "$W" >/dev/null
tar -cf web/new -C three .
mv web/new web/now.tar
faults
log_anew_after
is "of a file that has changed" "$(pull p now.tar "$old")" EBADMSG
ok "the server was asked for the same file's rest" grep -q '^GET /now.tar 200 0' web/.log
is "by its new digest" "$(pull p now.tar)" ok
is "another URL begins anew" "$(faults cut=1000 norange; pull p one.tar; faults; log_anew; pull p two.tar; sent)" "EIO
ok
$whole"

# ---- is there a newer one? -------------------------------------------------------------------------------

is "check by the ETag" "$(check p)" current
is "the digest of the same URL, as sha256sum writes it" "$(sha256sum web/two.tar >web/two.tar.sha256; check p)" current
ok "when it was asked" grep -q '^checked=2' "$M/.templates/p/status"
is "another digest" "$(sum one.tar | sed "s/\$/  two.tar/" >web/two.tar.sha256; check p)" "newer sha256=$digest"
echo 'no digest' >web/two.tar.sha256
is "nonsense there is none" "$(check p)" current
rm web/two.tar.sha256
cp web/two.tar web/copy
mv web/copy web/two.tar
is "another ETag" "$(check p)" newer
faults noetag
is "no ETag: the length" "$(check p)" current
log_anew
faults status=500
is "a server in trouble" "$(check p | sed 's/: .*;/: …;/')" "unreachable: …; the local version stays in use"
faults hang
began=$(date +%s)
is "one that hangs" "$(check p | sed 's/: .*;/: …;/')" "unreachable: …; the local version stays in use"
ok "is not waited for longer than 15 seconds" test $(($(date +%s) - began)) -le 17
faults
version=$(key p digest)
server_end
is "one that is gone" "$(check p | sed 's/: .*;/: …;/')" "unreachable: …; the local version stays in use"
is "the version is in use" "$(key p digest) $(key p state)" "$version ready"
serve

# ---- kinds of file ---------------------------------------------------------------------------------------

kernel=$(sha256sum <one/kernel)
taken() { # FILE: is it, and is its kernel the one?
	[ "$(pull kinds "$1")" = ok ] && [ "$(sha256sum <"$S/templates/kinds/versions/$(key kinds digest)/kernel")" = "$kernel" ]
}
mkdir "$M/.templates/kinds"
for way in gz xz zst; do
	tar -caf "web/t.tar.$way" -C one .
	ok "tar.$way" taken "t.tar.$way"
done
tar -cf web/below.tar one
ok "below a directory" taken below.tar
touch one/README
tar -cf web/more.tar --sort=name -C one .
rm one/README
ok "beside other files" taken more.tar
truncate -s 20M one/rootfs.ext4
tar -cSf web/sparse.tar -C one .
ok "with holes" taken sparse.tar
sparse=$S/templates/kinds/versions/$(key kinds digest)/rootfs.ext4
is "of the same length" "$(stat -c %s "$sparse")" 20971520
ok "which stay holes" test "$(stat -c %b "$sparse")" -lt 100
tar -cf web/zeroes.tar -C one .
ok "with zeroes" taken zeroes.tar
ok "which become holes" test "$(stat -c %b "$S/templates/kinds/versions/$(key kinds digest)/rootfs.ext4")" -lt 100
cp "$good/rootfs.ext4" web/root.ext4
gzip -1 -k web/root.ext4
for image in root.ext4 root.ext4.gz; do
	is "a bare image, $image" "$(pull kinds $image)" ok
	v=$S/templates/kinds/versions/$(key kinds digest)
	ok "  whole" cmp "$v/rootfs.ext4" "$good/rootfs.ext4"
	ok "  with the kernel of the template default" cmp "$v/kernel" "$good/kernel"
done

# ---- made to harm ----------------------------------------------------------------------------------------

before=$(kept kinds)
refused() { # FILE
	[ "$(pull kinds "$1")" = EBADMSG ] && [ "$(kept kinds)" = "$before" ]
}
evil() { # FILE TAR-OPTION…
	tar -cPf "web/$1" "${@:2}"
	ok "refused: $1" refused "$1"
}
small evil evil
evil above.tar -C evil --transform='s,^kernel,../kernel,' rootfs.ext4 kernel initrd template.conf
evil above-below.tar -C evil --transform='s,^kernel,x/../../kernel,' rootfs.ext4 kernel initrd template.conf
evil absolute.tar -C evil --transform="s,^kernel,$PWD/evil/target," rootfs.ext4 kernel initrd template.conf
ok "  nothing was written there" test ! -e evil/target
ln -s /etc/passwd evil/link
evil symlink.tar -C evil --transform='s,^link,kernel,' rootfs.ext4 link initrd template.conf
rm evil/link
ln evil/kernel evil/other
evil hardlink.tar -C evil --transform='s,^other,initrd,;s,^kernel,x,' rootfs.ext4 kernel other template.conf
rm evil/other
mkfifo evil/pipe
evil fifo.tar -C evil --transform='s,^pipe,kernel,' rootfs.ext4 pipe initrd template.conf
evil twice.tar -C evil rootfs.ext4 kernel initrd template.conf ./rootfs.ext4
evil two-places.tar --transform='s,^evil/kernel,elsewhere/kernel,' evil/rootfs.ext4 evil/kernel evil/initrd evil/template.conf
evil no-kernel.tar -C evil rootfs.ext4 initrd template.conf
evil empty.tar -T /dev/null
truncate -s 600M evil/kernel
evil huge.tar -S -C evil rootfs.ext4 kernel initrd template.conf
truncate -s 1000M evil/template.conf
tar -czf web/bomb.tar.gz -C evil template.conf
ok "refused: bomb.tar.gz" refused bomb.tar.gz
head -c 5000 web/t.tar.gz >web/short.tar.gz
ok "refused: short.tar.gz" refused short.tar.gz
head -c 100000 /dev/urandom >web/noise
ok "refused: noise" refused noise
: >web/nothing
ok "refused: nothing" refused nothing
small evil evil
echo 'a line without an equals sign' >evil/template.conf
evil conf.tar -C evil rootfs.ext4 kernel initrd template.conf
ok "no file is left without a name" sh -c '! ls -l "/proc/$0/fd" | grep -q deleted' "$P"
ok "remove it" rmdir "$M/.templates/kinds"

# ---- redirects and TLS -----------------------------------------------------------------------------------

mkdir "$M/.templates/r"
tar -czf web/r.tar.gz -C one .
faults "location=$URL/r.tar.gz"
is "by a redirect" "$(pull r elsewhere "$(sum r.tar.gz)")" ok
is "where from is what was asked for" "$(key r source)" "$URL/elsewhere"
faults
openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 2 -subj /CN=ca >openssl.log 2>&1
openssl req -newkey rsa:2048 -nodes -keyout tls.key -out tls.csr -subj /CN=127.0.0.1 >>openssl.log 2>&1
echo subjectAltName=IP:127.0.0.1 >san
openssl x509 -req -in tls.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile san -out tls.crt >>openssl.log 2>&1
socat -d -d openssl-listen:0,bind=127.0.0.1,reuseaddr,fork,cert=tls.crt,key=tls.key,verify=0 "tcp:127.0.0.1:$port" 2>socat.log &
tls=$!
at_end "kill $tls 2>/dev/null"
wait_for 10 grep -q listening socat.log
tls_port=$(sed -n 's/.*listening on .*:\([0-9]*\)$/\1/p' socat.log)
https() { # FILE
	errno .templates/r "pull url=https://127.0.0.1:$tls_port/$1 sha256=$(sum r.tar.gz)"
}
log_anew
is "a certificate that nobody vouches for" "$(https r.tar.gz)" EIO
ok "the reason" grep -qi '^last_error=.*certificate' "$M/.templates/r/status"
is "nothing was asked of the server" "$(wc -l <web/.log)" 0
# This case has mounts of its own, as every one that needs root.
cat /etc/ssl/certs/ca-certificates.crt ca.crt >store 2>/dev/null
mount --bind store /etc/ssl/certs/ca-certificates.crt
at_end 'umount /etc/ssl/certs/ca-certificates.crt'
is "one that the system trusts" "$(https r.tar.gz)" ok
is "where from" "$(key r source)" "https://127.0.0.1:$tls_port/r.tar.gz"
sed -i 's/127.0.0.1/127.0.0.2/' san
faults "location=$URL/r.tar.gz"
is "from https to http" "$(https other)" EPERM
faults
ok "the reason" grep -q '^last_error=.*from https to http' "$M/.templates/r/status"

# ---- another user's --------------------------------------------------------------------------------------

chmod 711 . a
ok "given away" chown 1000:1000 "$M/.templates/r"
is "its owner pulls" "$(as 1000 "$helper_write" -q "$M/.templates/r/ctl" "$(pull_line one.tar)")" ok
is "and checks" "$(as 1000 "$helper_write" "$M/.templates/r/ctl" check | sed -n 3p)" current
is "another does not" "$(as 1001 "$helper_write" -q "$M/.templates/r/ctl" check)" "open: EACCES"
ok "but sees where it is from" as 1001 grep -q "^source=$URL/one.tar" "$M/.templates/r/status"

# ---- guests ----------------------------------------------------------------------------------------------

cp -r --sparse=always "$good" v1
tar -czSf web/os.tar.gz -C v1 .
cp -r v1 v2
echo 'env.VERSION=2' >>v2/template.conf
mkdir "$M/.templates/os"
is "a template that boots" "$(pull os os.tar.gz)" ok
first=$(key os digest)
ok "a sandbox of it" host "create web1 template=os memory_mb=96 start"
is "its guest" "$(sh_in web1 'echo pulled')" pulled
tar -czSf web/os.tar.gz -C v2 .
is "the author has a newer one" "$(check os)" newer
is "which is pulled while the guest runs" "$(pull os os.tar.gz)" ok
second=$(key os digest)
ok "another version" test "$first" != "$second"
is "the running one keeps the version it began with" "$(status web1 template)" "os@$first"
is "its guest goes on" "$(sh_in web1 'echo $VERSION.')" .
ok "also over a restart" ctl web1 restart
is "it is that version" "$(status web1 template) $(sh_in web1 'echo $VERSION.')" "os@$first ."
ok "a new sandbox" host "create web2 template=os memory_mb=96 start"
is "has the new one" "$(status web2 template) $(sh_in web2 'echo $VERSION.')" "os@$second 2."
is "rmdir is refused while one needs it" "$(LC_ALL=C rmdir "$M/.templates/os" 2>&1 | sed 's/.*: //')" "Device or resource busy"
is "users" "$(key os used_by)" 2
ok "destroy" host "destroy web1 web2"
ok "then it goes" rmdir "$M/.templates/os"

# ---- faults ----------------------------------------------------------------------------------------------

host shutdown >/dev/null
daemon_end a
B=$FAULTS_B SBXFS_FAULT_FILE=$PWD/fault daemon f
mkdir "$M/.templates/f"
is "a sound pull" "$(pull f one.tar)" ok
before=$(key f digest)
echo template-pull fail ENOSPC >fault
is "no room" "$(pull f two.tar)" ENOSPC
ok "nothing is kept" test ! -e "$S/templates/f/pull"
echo template-import fail EIO >fault
is "all came, and its import fails" "$(pull f two.tar)" EIO
is "the version stays" "$(key f digest)" "$before"
log_anew
: >fault
is "again" "$(pull f two.tar)" ok
is "nothing has to come any more" "$(sent)" 0
echo template-import die >fault
is "the daemon dies over it" "$(pull f one.tar)" ECONNABORTED
daemon_end f
fusermount3 -uz "$M"
: >fault
B=$FAULTS_B SBXFS_FAULT_FILE=$PWD/fault daemon f
is "the version stays" "$(key f source)" "$URL/two.tar"
is "again" "$(pull f one.tar)" ok
is "nothing is left over" "$(kept f)" "./record ./versions ./versions/$before ./versions/$before/initrd ./versions/$before/kernel ./versions/$before/rootfs.ext4 ./versions/$before/template.conf "
host shutdown >/dev/null
daemon_end f
finish
