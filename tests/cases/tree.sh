#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/cases/tree.sh - the tree as programs see it: names, modes, reads, command writes, streams; no VM
# needs: fuse
# shellcheck disable=SC2016 # what stands in '…' is for another shell
# shellcheck disable=SC2010,SC2012 # the names in a listing are our own
# shellcheck disable=SC2317 # functions are called through ok, fails and wait_for
# proves: 13 46 47 60 77
set -u
# shellcheck source=tests/tap.sh
. "$TOP/tests/tap.sh"

m=$PWD/m
helper=$B/tests/cases/helper-poll
tab=$(printf '\t')
mkdir "$m"

start_daemon() {
	"$B/sbxfs" --state-dir "$PWD/state" --storage file --net user "$m"
}

errno_of() { # COMMAND…: the last line of what it says, in the C locale
	LC_ALL=C "$@" 2>&1 | tail -n 1 | sed 's/.*: //'
}

write_once() { # FILE TEXT: one write(2), said by the helper
	"$helper" write "$1" "$2"
}

spawn() { # OUTPUT COMMAND…: in the background with its own output file; $! is it
	spawn_output=$1
	shift
	"$@" >"$spawn_output" 2>&1 &
}

blocked_in_write() { # PID: the thread sleeps inside the file system
	grep -q . "/proc/$1/status" && [ "$(awk '{print $1}' "/proc/$1/syscall" 2>/dev/null)" = 1 ]
}

ended() { # PID: perhaps not waited for yet
	case $(ps -o stat= -p "$1") in '' | Z*) ;; *) return 1 ;; esac
}

both_ended() {
	ended "$1" && ended "$2"
}

# ---- start ----------------------------------------------------------------------------------------------

ok "the daemon goes to the background once the mount answers" start_daemon
at_end 'fusermount3 -uz "$m" 2>/dev/null'
fails "a second one on the same mount is refused" start_daemon
is "it says why" "$(start_daemon 2>&1)" "sbxfs: sbxfs is already mounted on $m; sbxfs --takeover takes it from its daemon"
is "mode of the mount" "$(stat -c %a "$m")" 755
ok ".version" grep -q '^sbxfs [0-9]' "$m/.version"
ok ".status" grep -q . "$m/.status"
ok ".status.json is JSON" jq -e . "$m/.status.json"
is "plain ls shows no dot files" "$(ls "$m")" ""
is "dot files" "$(ls -A "$m" | LC_ALL=C sort | tr '\n' ' ')" ".ctl .events .help .metrics .ps .status .status.json .templates .version "
is "modes of dot files" "$(stat -c %a "$m/.ctl" "$m/.events" "$m/.ps" "$m/.templates" | tr '\n' ' ')" "600 600 444 755 "

# ---- names ----------------------------------------------------------------------------------------------

ok "mkdir makes a sandbox" mkdir "$m/a"
is "mode 0700 whatever the umask" "$(stat -c %a "$m/a")" 700
is "taken name" "$(errno_of mkdir "$m/a")" "File exists"
for name in .x -x 'a b' 'ä' "$(printf %064d 0)" 'a~1'; do
	is "mkdir '$name'" "$(errno_of mkdir -- "$m/$name")" "Invalid argument"
done
ok "63 characters" mkdir "$m/$(printf %063d 0)"
ok "and gone again" rmdir "$m/$(printf %063d 0)"
is "files of a sandbox" "$(ls "$m/a" | LC_ALL=C sort | tr '\n' ' ')" "config console ctl events help metrics net snapshot state status status.json token "
is "files of net" "$(ls "$m/a/net" | tr '\n' ' ')" "address egress gateway mac netns ports "
is "st_ino is what the listing says" "$(ls -i "$m/a" | awk '$2 == "state" {print $1}')" "$(stat -c %i "$m/a/state")"
is "modes" "$(stat -c %a "$m/a/ctl" "$m/a/config" "$m/a/status" "$m/a/token" "$m/a/net" | tr '\n' ' ')" "600 600 400 400 500 "
ok "chmod of the directory" chmod 750 "$m/a"
is "modes follow at once" "$(stat -c %a "$m/a/ctl" "$m/a/help" "$m/a/token" "$m/a/net" | tr '\n' ' ')" "640 440 400 550 "
ok "chmod back" chmod 700 "$m/a"

is "create" "$(errno_of touch "$m/a/new")" "Operation not permitted"
is "create by redirection" "$(errno_of sh -c 'echo >"$0"' "$m/new")" "Operation not permitted"
is "unlink" "$(errno_of unlink "$m/a/state")" "Operation not permitted"
is "rename of a file" "$(errno_of mv "$m/a/state" "$m/a/other")" "Operation not permitted"
is "rename out of a sandbox" "$(errno_of mv "$m/a/state" "$m/other")" "Operation not permitted"
is "link" "$(errno_of ln "$m/a/state" "$m/a/other")" "Operation not permitted"
is "symlink" "$(errno_of ln -s x "$m/a/other")" "Operation not permitted"
is "mkfifo" "$(errno_of mkfifo "$m/a/other")" "Operation not permitted"
is "mkdir below a sandbox" "$(errno_of mkdir "$m/a/other")" "Operation not permitted"
is "rmdir of net" "$(errno_of rmdir "$m/a/net" | sed 's/^Directory not empty$/Operation not permitted/')" "Operation not permitted"
is "rmdir of .templates" "$(errno_of rmdir "$m/.templates")" "Operation not permitted"
is "chmod of a file" "$(errno_of chmod 777 "$m/a/ctl")" "Operation not permitted"
is "writing what is only read" "$(errno_of sh -c 'echo x >"$0"' "$m/a/state" | sed 's/^cannot create.*$/x/')" "Permission denied"
is "no such sandbox" "$(errno_of cat "$m/none/state")" "No such file or directory"
ok "touch of a command file" touch "$m/a/ctl"
ok "truncate of a command file" truncate -s 0 "$m/a/config"
fails "xattrs are not there" setfattr -n user.x -v y "$m/a/ctl"

ok "rename of a sandbox" mv "$m/a" "$m/b"
is "it has the new name only" "$(ls "$m")" b
is "and knows it" "$(grep ^name= "$m/b/status")" name=b
ok "another one" mkdir "$m/c"
fails "rename to a taken name" mv -T "$m/c" "$m/b"
is "mv into a sandbox" "$(errno_of mv "$m/c" "$m/b")" "Operation not permitted"
ok "rmdir" rmdir "$m/c"
ok "the name is free at once" mkdir "$m/c"
ok "rmdir again" rmdir "$m/c"

ok "mkdir of a template" mkdir "$m/.templates/t"
is "its files" "$(ls "$m/.templates/t" | LC_ALL=C sort | tr '\n' ' ')" "config ctl help status status.json "
is "its state" "$(grep ^state= "$m/.templates/t/status")" state=empty
ok "its status.json" jq -e '.name == "t"' "$m/.templates/t/status.json"
ok "rmdir of a template" rmdir "$m/.templates/t"

# ---- reads ----------------------------------------------------------------------------------------------

ok "mkdir a" mkdir "$m/a"
is "state" "$(cat "$m/a/state")" created
is "keys of status" "$(sed 's/=.*//' "$m/a/status" | tr '\n' ' ')" "name id state template owner group vmm accel storage network vcpus memory_mb disk_mb pid host_ip guest_ip created started last_active timeout_sec restart_count exit_reason health agent_version kernel_version vmm_version sbxfs_version cow_used_bytes cow_total_bytes guest_mem_used_bytes job last_error "
is "status.json has the same" "$(jq -r 'keys_unsorted | join(" ")' "$m/a/status.json")" "$(sed 's/=.*//' "$m/a/status" | tr '\n' ' ')labels env"
ok "numbers, nulls and objects in it" jq -e '.vcpus == 1 and .memory_mb == 512 and .pid == null and .name == "a" and .labels == {} and .env == {}' "$m/a/status.json"
is "owner" "$(stat -c %u "$m/a") $(grep ^owner= "$m/a/status")" "$(id -u) owner=$(id -u)"
for file in state status status.json config snapshot help ctl token console net/address; do
	is "st_size of $file is what a read gives" "$(stat -c %s "$m/a/$file")" "$(cat "$m/a/$file" >text && wc -c <text)"
	ok "cp of $file" cp "$m/a/$file" copy
	is "wc of $file" "$(wc -c <"$m/a/$file")" "$(wc -c <copy)"
done
ok "test -s" test -s "$m/a/status"
ok "tar takes whole files" sh -c 'tar -C "$0" -cf - a/state a/status a/help | tar -xf -' "$m"
is "tar: state" "$(cat a/state)" created
ok "tar: help" cmp a/help "$m/a/help"
is "tail -n" "$(tail -n 1 "$m/a/state")" created
is "head -c" "$(head -c 3 "$m/a/state")" cre
is "dd in pieces" "$(dd if="$m/a/state" bs=3 2>/dev/null)" created
ok "grep -r" grep -qr created "$m/a"
ok "find" sh -c '[ "$(find "$0" -type f | wc -l)" = 17 ]' "$m/a"
ok ".ps" grep -q '^a ' "$m/.ps"
ok "help names every verb" grep -q '^ *restart' "$m/a/help"
is "unread console is empty" "$(stat -c %s "$m/a/console")" 0
is "console input needs a guest" "$(write_once "$m/a/console" x)" EHOSTDOWN

# ---- command writes -------------------------------------------------------------------------------------

ok "echo >" sh -c 'echo ping >"$0"' "$m/a/ctl"
ok "echo >>" sh -c 'echo ping >>"$0"' "$m/a/ctl"
ok "printf without newline" sh -c 'printf ping >"$0"' "$m/a/ctl"
ok "tee" sh -c 'echo ping | tee "$0" >/dev/null' "$m/a/ctl"
ok "tee -a" sh -c 'echo ping | tee -a "$0" >/dev/null' "$m/a/ctl"
ok "dd" sh -c 'echo ping | dd of="$0" status=none' "$m/a/ctl"
echo ping >line
ok "cp" cp line "$m/a/ctl"
is "the last reply of any writer" "$(cat "$m/a/ctl")" ok
is "its length" "$(stat -c %s "$m/a/ctl")" 3
ok "comments and empty lines" write_once "$m/a/ctl" "
# nothing
ping
"
is "unknown verb" "$(write_once "$m/a/ctl" nonsense)" EINVAL
ok "the reply says so" grep -q '^error: EINVAL: ' "$m/a/ctl"
is "through the same descriptor" "$(sh -c 'exec 3<>"$0"; echo ping >&3; cat <&3; echo nonsense >&3; cat <&3' "$m/a/ctl" 2>/dev/null | sed 's/:.*//' | tr '\n' ' ')" "ok error "
is "the reply is all that is left to read" "$(sh -c 'exec 3<>"$0"; echo ping >&3; cat <&3; cat <&3' "$m/a/ctl")" ok
is "a writer reads its own reply" "$(sh -c 'exec 3<>"$0"; echo nonsense >&3; echo ping >"$0"; cat <&3' "$m/a/ctl" 2>/dev/null | sed 's/:.*//')" error
is "NUL" "$(printf 'ping\0\n' | errno_of dd of="$m/a/ctl" status=none)" "Invalid argument"
is "control character" "$(write_once "$m/a/ctl" "$(printf 'ping\001')")" EINVAL
is "tab is a blank" "$(write_once "$m/a/ctl" "set${tab}vcpus=2")" "11 bytes"
is "several lines" "$(write_once "$m/a/ctl" "set vcpus=3
ping
")" "17 bytes"
is "several lines without the last newline" "$(write_once "$m/a/ctl" "set vcpus=4
ping")" EINVAL
is "nothing of it ran" "$(grep ^vcpus= "$m/a/status")" vcpus=3
is "the first that fails stops the rest" "$(write_once "$m/a/ctl" "set vcpus=5
nonsense
set vcpus=6
")" EINVAL
is "what ran stays done" "$(grep ^vcpus= "$m/a/status")" vcpus=5
ok "the reply names the line" grep -q 'line 2' "$m/a/ctl"
is "a cut line" "$(write_once "$m/a/ctl" "$(printf 'set label.x=%0500d' 0)")" E2BIG
is "the rest of a cut line is refused too" "$(sh -c 'exec 3>"$0"; printf "set label.x=%0500d" 0 >&3; printf "ping\n" >&3' "$m/a/ctl" 2>/dev/null && echo written || echo refused)" refused
is "a line of 511 bytes" "$(write_once "$m/a/ctl" "$(printf 'set label.x=%0499d' 0)")" "511 bytes"
is "64 KiB in one piece" "$({ printf '# '; head -c 65530 /dev/zero | tr '\0' x; echo; } | dd of="$m/a/ctl" bs=64k iflag=fullblock status=none 2>&1)" ""
is "more than 64 KiB" "$({ printf '# '; head -c 66000 /dev/zero | tr '\0' x; echo; } | errno_of dd of="$m/a/ctl" bs=128k iflag=fullblock status=none)" "Argument list too long"
ok "unset" sh -c 'echo unset label.x >"$0"' "$m/a/ctl"

ok "config" sh -c 'printf "vcpus=2\nlabel.app=ci\nenv.A=x y\n" | dd of="$0" status=none' "$m/a/config"
ok "it reads back" grep -qx 'env.A=x y' "$m/a/config"
ok "O_TRUNC clears nothing" grep -qx vcpus=2 "$m/a/config"
ok "labels and env in status.json" jq -e '.labels.app == "ci" and .env.A == "x y"' "$m/a/status.json"
is "a bad value" "$(write_once "$m/a/config" "vcpus=3
memory_mb=no
")" EINVAL
is "changes nothing" "$(grep ^vcpus= "$m/a/status")" vcpus=2
is "the writer reads why" "$("$B/tests/cases/helper-write" "$m/a/config" "memory_mb=no" | sed -n '2s/^\(error: [A-Z]*\):.*/\1/p')" "error: EINVAL"
for file in config snapshot net/egress net/ports; do
	fails "nonsense in $file" "$B/tests/cases/helper-write" "$m/a/$file" "nonsense $file"
	ok "status says why" grep -q "^last_error=.*nonsense" "$m/a/status"
done
is "a list of snapshots" "$(cat "$m/a/snapshot")" "name kind created size_bytes parent"
is "what is not for it" "$(write_once "$m/a/snapshot" start)" EINVAL
is "kept before its first start" "$(write_once "$m/a/snapshot" "create x")" "8 bytes"
is "listed" "$(sed 1d "$m/a/snapshot" | cut -d' ' -f1,2,4,5)" "x disk 0 -"
is "its length" "$(stat -c %s "$m/a/snapshot")" "$(wc -c <"$m/a/snapshot")"
is "deleted" "$(write_once "$m/a/snapshot" "delete x")" "8 bytes"
ok "what is read can be written" sh -c 'cat "$0" >saved && dd if=saved of="$0" bs=64k status=none' "$m/a/config"

ok ".ctl by name" sh -c 'echo "ping a" >"$0"' "$m/.ctl"
is "a line for each" "$(sed -n '/^a /p' "$m/.ctl")" "a ok"
ok ".ctl create" sh -c 'echo "create d vcpus=2" >"$0"' "$m/.ctl"
is "created" "$(grep ^vcpus= "$m/d/status")" vcpus=2
ok ".ctl destroy" sh -c 'echo "destroy d" >"$0"' "$m/.ctl"
fails "destroyed" test -e "$m/d"
ok "and free" mkdir "$m/d"
is "no such name" "$(write_once "$m/.ctl" "ping nobody")" ENOENT

# ---- pending writes -------------------------------------------------------------------------------------

spawn out1 "$helper" write "$m/a/ctl" 'wait running timeout=60'
first=$!
ok "a write waits" wait_for 5 blocked_in_write $first
ok "another opener of the same file does not" timeout 2 sh -c 'echo ping >"$0"' "$m/a/ctl"
ok "nor one that appends" timeout 2 sh -c 'echo ping >>"$0"' "$m/a/ctl"
ok "nor stat, cat and ls" timeout 2 sh -c 'stat "$0/ctl" && cat "$0/ctl" && ls -l "$0"' "$m/a"
spawn out2 "$helper" write "$m/a/ctl" 'wait running timeout=60'
second=$!
ok "a second one waits beside it" wait_for 5 blocked_in_write $second
ok "and a third opener goes through" timeout 2 sh -c 'echo ping >"$0"' "$m/a/ctl"
is "same file for all" "$(stat -c %i "$m/a/ctl")" "$(ls -i "$m/a" | awk '$2 == "ctl" {print $1}')"
kill -WINCH $first
kill -CHLD $first
kill -WINCH $first
fails "SIGWINCH and SIGCHLD do not end it" wait_for 1 ended $first
kill -INT $first
ok "SIGINT does" wait_for 5 ended $first
is "with EINTR" "$(cat out1)" EINTR
kill -KILL $second
ok "SIGKILL frees the writer" wait_for 5 ended $second
wait $second 2>/dev/null
spawn out3 "$helper" write "$m/a/ctl" 'wait running timeout=60'
third=$!
ok "waiting again" wait_for 5 blocked_in_write $third
kill -TERM $third
ok "SIGTERM ends it at once" wait_for 5 ended $third
is "EINTR again" "$(cat out3)" EINTR
is "a timeout is the command's" "$(write_once "$m/a/ctl" 'wait running timeout=1')" ETIMEDOUT
is "async returns" "$(timeout 5 "$helper" write "$m/a/ctl" 'async wait running timeout=1')" "28 bytes"
is "O_NONBLOCK too" "$(timeout 5 "$helper" write-nonblock "$m/a/ctl" 'wait running timeout=1')" "22 bytes"

i=0
while [ $i -lt 60 ]; do
	spawn "crowd$i" "$helper" write "$m/a/ctl" 'wait running timeout=2'
	i=$((i + 1))
done
wait
is "60 openers at once all get through" "$(cat crowd* | sort | uniq -c | tr -s ' ')" " 60 ETIMEDOUT"

# ---- poll and streams -----------------------------------------------------------------------------------

spawn out4 "$helper" poll "$m/a/status" pri 10000
poller=$!
ok "poll of status waits" wait_for 5 grep -q waiting out4
chmod 710 "$m/a" # one change; a command is several: it runs, it is done
ok "a change ends it" wait_for 5 ended $poller
is "with POLLPRI and POLLERR; a read clears it" "$(tail -n 2 out4 | tr -d ' ' | tr '\n' ' ')" "PRIERR nothing "
chmod 700 "$m/a"
is "state is always readable" "$("$helper" poll "$m/a/state" in 1000 | tail -n 1)" "IN "

ok "events" sh -c 'timeout 1 cat "$0" | grep -q "\"event\":\"created\""' "$m/a/events"
ok "each is JSON" sh -c 'timeout 1 cat "$0" | jq -e .seq >/dev/null' "$m/.events"
is "st_size of a stream" "$(stat -c %s "$m/a/events")" 0
last=$(timeout 1 cat "$m/.events" | tail -n 1 | jq .seq)
is "nothing new: EAGAIN" "$("$helper" read-nonblock "$m/.events" since=$((last + 1)))" EAGAIN
is "since= begins there" "$("$helper" read-nonblock "$m/.events" "since=$last" | jq .seq 2>/dev/null)" "$last"
is "bad since" "$("$helper" read "$m/.events" since=x)" EINVAL
spawn out5 "$helper" read "$m/.events" since=$((last + 1))
reader=$!
fails "a read waits" wait_for 1 ended $reader
mkdir "$m/e"
ok "for the next event" wait_for 5 ended $reader
ok "and gives it" grep -q '"sandbox":"e"' out5
spawn out6 "$helper" read "$m/e/events" since=1000000
reader=$!
fails "a reader of a quiet sandbox waits" wait_for 1 ended $reader
kill -WINCH $reader
ok "any signal ends a waiting read" wait_for 5 ended $reader
is "in EINTR" "$(cat out6)" EINTR
spawn out7 "$helper" both "$m/e/events" since=1 500
ok "a writer is not kept out by a reader of the same descriptor" wait_for 5 ended $!
ok "who then gets what was asked for" grep -q '"event":"created"' out7
spawn out8 cat "$m/e/events"
reader=$!
ok "cat shows what there is" wait_for 5 grep -q created out8
rmdir "$m/e"
ok "the end of the sandbox ends its events" wait_for 5 ended $reader
ok "the last of them was seen" grep -q destroy out8

# ---- many -----------------------------------------------------------------------------------------------

i=0
while [ $i -lt 300 ]; do
	set -- "$@" "$m/many$i"
	i=$((i + 1))
done
ok "300 sandboxes" mkdir "$@"
is "listed" "$(ls -d "$m"/many* | wc -l)" 300
is "with stat" "$(ls -l "$m" | grep -c many)" 300
ok "removed" rmdir "$@"
is "gone" "$(ls "$m" | grep -c many)" 0

# ---- end ------------------------------------------------------------------------------------------------

daemon_pid() {
	pgrep -f -- "^[^ ]*sbxfs --state-dir $PWD/state "
}

spawn out9 "$helper" write "$m/a/ctl" 'wait running timeout=60'
waiter=$!
spawn out10 "$helper" read "$m/.events" since=1000000
reader=$!
ok "a writer and a reader wait" wait_for 5 blocked_in_write $waiter
ok "shutdown answers its writer" sh -c 'echo shutdown >"$0"' "$m/.ctl"
ok "and the mount goes" wait_for 10 sh -c '! grep -q " $0 fuse.sbxfs " /proc/mounts' "$m"
ok "the waiting ones end" wait_for 5 both_ended $waiter $reader
is "the writer with ECANCELED" "$(cat out9)" ECANCELED
is "the reader with EINTR" "$(cat out10)" EINTR
ok "it starts again on the same state" wait_for 10 start_daemon
is "with the same sandboxes" "$(ls "$m" | tr '\n' ' ')" "a b d "
is "and their settings" "$(grep ^env "$m/a/config")" "env.A=x y"
ok "an unmount from outside" fusermount3 -u "$m"
ok "ends the daemon" wait_for 10 start_daemon
pid=$(daemon_pid)
ok "its process is found" test -n "$pid"
kill -KILL "$pid"
ok "killed: the mount is dead" wait_for 5 sh -c '! ls "$0"' "$m"
ok "a dead mount is replaced" wait_for 10 start_daemon
is "nothing is lost" "$(ls "$m" | tr '\n' ' ')" "a b d "
pid=$(daemon_pid)
kill -TERM "$pid"
ok "SIGTERM unmounts" wait_for 10 sh -c '! grep -q " $0 fuse.sbxfs " /proc/mounts' "$m"
ok "and ends the process" wait_for 10 ended "$pid"
finish
