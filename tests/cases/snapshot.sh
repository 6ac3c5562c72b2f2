#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/cases/snapshot.sh - snapshots of disks: kept while the guest runs, gone back to, taken to another daemon
# needs: fuse root tcg
# timeout: 600
# proves: 12 49 56 62 72
#
# tests/vm/snapshot-dm.sh runs the same with the other store.
# shellcheck disable=SC2016,SC2012 # what stands in '…' is for another shell; the names in listings are our own
# shellcheck disable=SC2034 # the variables are read in tests/sbx.sh
set -u
: "${DAEMON_OPTIONS:=--accel tcg --storage file}"
# shellcheck source=tests/tap.sh
. "$TOP/tests/tap.sh"
# shellcheck source=tests/sbx.sh
. "$TOP/tests/sbx.sh"

start() { # NAME: with time enough for a guest whose host is emulated
	ctl "$1" "start timeout=280"
}
snapshot() { # NAME TEXT: written to the file of that name; its reply, false when it failed
	write_and_read "$M/$1/snapshot" "$2"
}
snapshot_errno() { # NAME TEXT
	"$helper_write" -q "$M/$1/snapshot" "$2"
}
list() { # NAME: each as name:parent
	sed 1d "$M/$1/snapshot" | awk '{ printf "%s%s:%s", n++ ? " " : "", $1, $5 } END { print "" }'
}
dir_of() { # NAME: below the state directory
	echo "$S/sandboxes/$((16#$(status "$1" id | sed 's/.*-//')))"
}
data_files() { # NAME: of its disk, and of each snapshot
	(cd "$(dir_of "$1")" && find . -type f ! -name record ! -name journal ! -name '*.log' | LC_ALL=C sort)
}
put() { # NAME TEXT: content that is acknowledged to be on the guest's disk
	sh_in "$1" "echo $2 >/kept && dd if=/dev/urandom of=/big bs=64k count=40 2>/dev/null && sha256sum /big >/big.sum && sync"
}
holds() { # NAME TEXT: that and nothing else, on a file system that needed no repair
	holds_too "$1" "$2" && [ "$(sh_in "$1" 'dmesg | grep -ciE "ext4.*(recover|orphan)"; true')" = 0 ]
}
holds_too() { # NAME TEXT: as after a power failure, which the file system's journal is for
	[ "$(sh_in "$1" 'cat /kept; sha256sum -c /big.sum 2>&1; dmesg | grep -ciE "ext4.*error"; true')" = "$2
/big: OK
0" ]
}
# The guest counts in memory: a counter that stood still would show that it does not go on.
begin_counting() { # NAME
	sh_in "$1" 'mkdir -p /tmp; mount -t tmpfs tmpfs /tmp; echo "i=0; while :; do i=\$((i+1)); echo \$i >/tmp/n.new; mv /tmp/n.new /tmp/n; sleep 0.02; done" >/tmp/count; (setsid sh /tmp/count >/dev/null 2>&1 </dev/null &)'
}
counts() { # NAME
	local before
	before=$(sh_in "$1" 'cat /tmp/n')
	wait_for 20 counted_past "$1" "$before"
}
counted_past() { # NAME NUMBER
	[ "$(sh_in "$1" 'cat /tmp/n')" -gt "$2" ]
}

daemon a
ok "a template" import default
ok "a sandbox" host "create web1 memory_mb=96 disk_mb=64"
leak_mark

# ---- of one that runs ------------------------------------------------------------------------------------

is "an empty list has its header" "$(cat "$M/web1/snapshot")" "name kind created size_bytes parent"
ok "start" start web1
ok "content" put web1 first
ok "a counter" begin_counting web1
pid=$(status web1 pid)
began=$(date +%s%N)
ok "create" snapshot web1 "create one disk"
echo "# created in $((($(date +%s%N) - began) / 1000000)) ms"
is "it runs on" "$(state web1) $(status web1 pid)" "running $pid"
ok "the guest counts on" counts web1
ok "a line of the list" grep -qxE 'one disk 20[0-9-]+T[0-9:.]+Z [1-9][0-9]+ -' "$M/web1/snapshot"
is "nothing is kept of another kind" "$(snapshot_errno web1 "create two whole")" EINVAL
is "nor another kind" "$(snapshot_errno web1 "create two half")" EINVAL
is "a name that is taken" "$(snapshot_errno web1 "create one disk")" EEXIST
is "what is no name" "$(snapshot_errno web1 "create .one disk") $(snapshot_errno web1 "create a/b disk")" "EINVAL EINVAL"
ok "other content" put web1 second
ok "by ctl too" ctl web1 "snapshot create two disk"
ok "other content again" put web1 third
is "rollback is not for a running one" "$(snapshot_errno web1 "rollback one")" EINVAL
ok "freeze" ctl web1 freeze
ok "create of a frozen one" snapshot web1 "create three disk"
is "it stays frozen" "$(state web1)" frozen
ok "thaw" ctl web1 thaw
ok "it counts on" counts web1
is "each follows the one before" "$(list web1)" "one:- two:one three:two"
is "the list's length is that of its text" "$(stat -c %s "$M/web1/snapshot")" "$(wc -c <"$M/web1/snapshot")"

# A guest that writes all the time: what is kept is whole, whenever that is.
ok "a writer" sh_in web1 'echo "i=0; while :; do i=\$((i+1)); dd if=/dev/urandom of=/w.\$((i%5)) bs=64k count=4 2>/dev/null; sync; done" >/tmp/w; (setsid sh /tmp/w >/dev/null 2>&1 </dev/null &)'
ok "create meanwhile" snapshot web1 "create busy disk"
ok "stop" ctl web1 stop

# ---- rollback --------------------------------------------------------------------------------------------

is "there is no such snapshot" "$(snapshot_errno web1 "rollback none")" ENOENT
ok "rollback" snapshot web1 "rollback one"
is "stopped" "$(state web1)" stopped
ok "start" start web1
ok "the guest has exactly the old content" holds web1 first
ok "new content" put web1 branch
ok "a branch" snapshot web1 "create branch disk"
is "follows what was gone back to" "$(list web1)" "one:- two:one three:two busy:three branch:one"
ok "kill" ctl web1 kill
ok "rollback to another" snapshot web1 "rollback three"
ok "start" start web1
ok "its content, kept while its guest could not be asked" holds_too web1 third
ok "stop" ctl web1 stop
ok "rollback to that under writes" snapshot web1 "rollback busy"
ok "start" start web1
ok "its content is whole" holds web1 third
kill -KILL "$(status web1 pid)"
ok "a crash" wait_for 20 in_state web1 error
ok "rollback from error" snapshot web1 "rollback two"
is "makes it stopped" "$(state web1):$(status web1 exit_reason):$(status web1 last_error)" "stopped::"
ok "create of a stopped one; disk is the default" snapshot web1 "create still"
is "after that" "$(list web1)" "one:- two:one three:two busy:three branch:one still:two"
is "one data file for each, and the disk's" "$(data_files web1 | wc -l)" 7
ok "a smaller disk" ctl web1 "set disk_mb=32"
snapshot web1 "rollback one" >reply
is "is refused with what to do" "$(grep -c '^error: EINVAL: .*set disk_mb=64' reply)" 1
ok "a larger one" ctl web1 "set disk_mb=80"
ok "is taken" snapshot web1 "rollback one"
ok "start" start web1
ok "with its content" holds web1 first
is "and is larger" "$(sh_in web1 'cat /sys/block/vda/size')" $((80 * 2048))
ok "stop" ctl web1 stop
ok "back to that size" snapshot web1 "rollback two"

# ---- after another start of the daemon -------------------------------------------------------------------

before=$(cat "$M/web1/snapshot")
is "shutdown" "$(host_errno shutdown)" ok
ok "it ends" daemon_end a
daemon a
is "the list is the same" "$(cat "$M/web1/snapshot")" "$before"
ok "start" start web1
ok "the content too" holds web1 second
ok "stop" ctl web1 stop

# ---- delete ----------------------------------------------------------------------------------------------

ok "delete" snapshot web1 "delete two"
is "its children have its parent" "$(list web1)" "one:- three:one busy:three branch:one still:one"
is "there is none any more" "$(snapshot_errno web1 "delete two") $(snapshot_errno web1 "rollback two")" "ENOENT ENOENT"
ok "what followed it is whole" snapshot web1 "rollback three"
ok "events tell" told web1 '"event":"snapshot","name":"two","verb":"delete"'
ok "of each verb" told web1 '"event":"snapshot","name":"three","verb":"rollback"'
ok "a template of a snapshot" mkdir "$M/.templates/spare"
is "is needed" "$(rmdir "$M/.templates/default" 2>&1 | sed 's/.*: //')" "Device or resource busy"
ok "rmdir" rmdir "$M/.templates/spare"

# ---- one that was never started --------------------------------------------------------------------------

ok "another" host "create web2 memory_mb=96 disk_mb=64"
ok "create" snapshot web2 "create nothing"
is "has no data" "$(sed 1d "$M/web2/snapshot" | cut -d' ' -f1,2,4,5)" "nothing disk 0 -"
ok "start" start web2
ok "content" put web2 other
ok "stop" ctl web2 stop
ok "rollback to nothing" snapshot web2 "rollback nothing"
is "created again" "$(state web2):$(status web2 started)" "created:"
is "no data is left" "$(data_files web2)" ""
ok "start" start web2
fails "as from its template" sh_in web2 'cat /kept'
ok "destroy with a snapshot" ctl web2 destroy

# ---- several at once -------------------------------------------------------------------------------------

ok "two of a kind" host "create s1 memory_mb=96 label.app=x"
ok "and one called as a verb" host "create create memory_mb=96 label.app=x"
ok "by names" host "snapshot create s1 create A"
is "each has it" "$(list s1) $(list create)" "A:- A:-"
ok "by a label" host "snapshot label=app=x create B"
is "each has it too" "$(list s1) $(list create)" "A:- B:A A:- B:A"
ok "delete of both" host "snapshot label=app=x delete A"
is "is gone from both" "$(list s1) $(list create)" "B:- B:-"
ok "destroy" host "destroy label=app=x"

# ---- export and import -----------------------------------------------------------------------------------

chmod 711 . a
ok "export" snapshot web1 "export one $PWD/one.snap"
is "of mode 0600" "$(stat -c %a one.snap)" 600
is "begins so" "$(head -n 1 one.snap)" "sbxfs-snapshot 1"
is "is there already" "$(snapshot_errno web1 "export one $PWD/one.snap")" EEXIST
is "a relative path, one inside the mount" "$(snapshot_errno web1 "export one x.snap") $(snapshot_errno web1 "export one $M/x.snap") $(snapshot_errno web1 "export one $PWD/")" \
	"EINVAL EINVAL EINVAL"
is "no such snapshot" "$(snapshot_errno web1 "export none $PWD/none.snap")" ENOENT
fails "no file is left of that" test -e none.snap
ok "another sandbox" host "create web3 memory_mb=96 disk_mb=64"
ok "import" snapshot web3 "import got $PWD/one.snap"
is "the name is taken now" "$(snapshot_errno web3 "import got $PWD/one.snap")" EEXIST
is "follows nothing" "$(list web3)" "got:-"
ok "rollback" snapshot web3 "rollback got"
is "to stopped" "$(state web3)" stopped
ok "start" start web3
ok "the same content" holds web3 first
ok "destroy" ctl web3 destroy
cp --sparse=always one.snap bad.snap
size=$(stat -c %s bad.snap)
printf 'x' | dd of=bad.snap bs=1 seek=$((size - 70000)) conv=notrunc 2>/dev/null
cmp -s one.snap bad.snap && printf 'y' | dd of=bad.snap bs=1 seek=$((size - 70000)) conv=notrunc 2>/dev/null
is "a changed byte" "$(snapshot_errno web1 "import bad $PWD/bad.snap")" EBADMSG
head -c 8192 one.snap >bad.snap
is "one cut short" "$(snapshot_errno web1 "import bad $PWD/bad.snap")" EBADMSG
is "what is none" "$(snapshot_errno web1 "import bad $LOG")" EBADMSG
is "a link" "$(ln -s one.snap link.snap; snapshot_errno web1 "import bad $PWD/link.snap")" ELOOP
is "a directory" "$(snapshot_errno web1 "import bad $PWD")" EINVAL
is "none of them is there" "$(list web1)" "one:- three:one busy:three branch:one still:one"

as() { # UID COMMAND…
	setpriv --reuid "$1" --regid "$1" --clear-groups -- "${@:2}"
}
as_snapshot() { # TEXT: written by an ordinary user
	as 1000 "$helper_write" -q "$M/his/snapshot" "$1"
}
ok "an ordinary user's sandbox" host "create his memory_mb=96 disk_mb=64"
ok "given to him" chown 1000:1000 "$M/his"
mkdir -m 700 ours
mkdir -m 755 theirs
mkdir -m 755 his
chown 1000:1000 his
is "he keeps one" "$(as_snapshot "create mine")" ok
is "but not where he may not write" "$(as_snapshot "export mine $PWD/ours/x") $(as_snapshot "export mine $PWD/theirs/x")" "EACCES EACCES"
is "but in his own directory" "$(as_snapshot "export mine $PWD/his/x")" ok
is "where it is his" "$(stat -c '%u %a' his/x)" "1000 600"
is "and takes what he can read" "$(as_snapshot "import again $PWD/his/x")" ok
is "and nothing else" "$(as_snapshot "import bad $PWD/one.snap")" EACCES
chmod 644 one.snap
is "unless he is let" "$(as_snapshot "import good $PWD/one.snap")" ok
is "another user is not let in" "$(as 1001 "$helper_write" -q "$M/his/snapshot" "create x")" "open: EACCES"
ok "destroy" ctl his destroy

# ---- another daemon with another state directory ---------------------------------------------------------

daemon b
is "its template is not here" "$(mkdir "$M/moved"; snapshot_errno moved "import got $PWD/one.snap")" ENOENT
snapshot moved "import got $PWD/one.snap" >reply
ok "and the reply says which" grep -q "default@[0-9a-f]*" reply
ok "under another name" import other
ok "settings" ctl moved "set template=other memory_mb=96 disk_mb=64"
ok "import" snapshot moved "import got $PWD/one.snap"
ok "rollback" snapshot moved "rollback got"
is "of that template" "$(status moved template | sed 's/@.*//')" other
ok "start" start moved
ok "the same content" holds moved first
ok "destroy" ctl moved destroy
is "shutdown" "$(host_errno shutdown)" ok
ok "it ends" daemon_end b

# ---- no room ---------------------------------------------------------------------------------------------

if [ "${SNAPSHOT_SMALL:-yes}" = yes ]; then
	mkdir -p small/state
	mount -t tmpfs -o size=128m tmpfs small/state
	at_end umount -l "$PWD/small/state"
	daemon small
	ok "a template fits" import default
	ok "a sandbox" host "create web1 memory_mb=96 disk_mb=64"
	ok "start" start web1
	ok "content" put web1 first
	ok "a snapshot" snapshot web1 "create one disk"
	ok "stop" ctl web1 stop
	files=$(data_files web1)
	head -c "$(($(df --output=avail -B1 small/state | tail -n 1) - (1 << 20)))" /dev/zero >small/state/filler
	is "create" "$(snapshot_errno web1 "create two disk")" ENOSPC
	is "rollback" "$(snapshot_errno web1 "rollback one")" ENOSPC
	is "import" "$(snapshot_errno web1 "import three $PWD/one.snap")" ENOSPC
	mkdir tiny
	mount -t tmpfs -o size=1m tmpfs tiny
	at_end umount -l "$PWD/tiny"
	is "export to a full disk" "$(snapshot_errno web1 "export one $PWD/tiny/one.snap")" ENOSPC
	is "nothing is left of any" "$(list web1) $(data_files web1)" "one:- $files"
	is "nor of the export" "$(ls tiny)" ""
	ok "delete makes room" snapshot web1 "delete one"
	rm small/state/filler
	ok "and then it works" snapshot web1 "create two disk"
	ok "start" start web1
	ok "with its content" holds web1 first
	is "shutdown" "$(host_errno shutdown)" ok
	ok "it ends" daemon_end small
fi

# ---- the end ---------------------------------------------------------------------------------------------

use a
ok "destroy with all its snapshots" ctl web1 destroy
is "nothing of it is left" "$(ls "$S/sandboxes")" ""
is "the template is free" "$(rmdir "$M/.templates/default" 2>&1)" ""
finish
