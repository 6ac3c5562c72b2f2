#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/cases/warm.sh - first starts that go on from an image of their template's memory: made, used, unique, dropped, in spite of faults
# needs: root fuse tcg faults
# timeout: 1500
# proves: 8 14 62 65 69
#
# With $WARM_PLAIN the daemon is the one that users have, with $DAEMON_OPTIONS, and what needs fault points is left out.
# shellcheck disable=SC2016 # what stands in '…' is for the guest's shell
# shellcheck disable=SC2034 # the variables are read in tests/sbx.sh
set -u
: "${WARM_PLAIN:=}" "${START:=start}"
# Room for 1300 MiB of guests, whatever the machine has.
total=$(awk '/^MemTotal/ { print int($2 / 1024) }' /proc/meminfo)
percent=$((130000 / (total - (total / 16 > 256 ? total / 16 : 256)) + 1))
printf 'disk_reserve_mb=16\nwarm=auto\nmemory_overcommit=%s\n' $percent >warm.conf
DAEMON_CONFIG=$PWD/warm.conf
# shellcheck source=tests/tap.sh
. "$TOP/tests/tap.sh"
# shellcheck source=tests/sbx.sh
. "$TOP/tests/sbx.sh"
template=$(template_dir)
if [ -z "$WARM_PLAIN" ]; then
	B=$FAULTS_B # the daemon that daemon() starts
	export SBXFS_FAULT_FILE=$PWD/fault SBXFS_FAULT_LOG=$PWD/points
	: >fault
	: >points
fi

tstatus() { # KEY: of the template
	sed -n "s/^$1=//p" "$M/.templates/default/status"
}
warm_is() { # WORD
	[ "$(tstatus warm)" = "$1" ]
}
memory_dir() {
	echo "$S/templates/default/versions/$(tstatus digest)/memory"
}
digest() { # of all that the image is made of
	(cd "$(memory_dir)" && find . -type f | LC_ALL=C sort | xargs sha256sum | sha256sum)
}
life() { # NAME: which boot of which guest it comes from: where its first process has its stack
	sh_in "$1" 'grep -F "[stack]" /proc/1/maps | cut -d - -f 1'
}
make() { # NAME [SETTING…]: define and start it
	mkdir "$M/$1"
	[ $# = 1 ] || ctl "$1" "set ${*:2}" >/dev/null
	ctl "$1" "$START"
}
took() { # VARIABLE COMMAND…: run it, milliseconds to the variable
	local begin
	begin=$(date +%s%N)
	"${@:2}"
	printf -v "$1" %s $((($(date +%s%N) - begin) / 1000000))
}
nothing_hidden() { # sandboxes on disk: those that are listed
	[ "$(find "$S/sandboxes" -mindepth 1 -maxdepth 1 | wc -l)" = "$(find "$M" -mindepth 1 -maxdepth 1 -type d ! -name '.*' | wc -l)" ] &&
		[ -z "$(find "$S/templates" -name '.memory*')" ]
}
clock_is_right() { # NAME
	local there here
	there=$(sh_in "$1" 'date +%s') here=$(date +%s)
	[ $((here - there)) -le 2 ] && [ $((there - here)) -le 1 ]
}
differ() { # COMMAND: what it prints in three sandboxes
	for name in two three four; do
		sh_in $name "$1"
	done | sort -u | wc -l
}

# ---- it is made, and used --------------------------------------------------------------------------------

daemon a
is "import" "$(import default "$template")" ok
is "its sandboxes' settings" "$(ctl .templates/default 'set memory_mb=192 disk_mb=64 env.FROM=template')" ok
is "there is no image" "$(tstatus warm) $(tstatus warm_bytes)" "none "
boots='' warms=''
took boots make one >reply
is "the first start boots" "$(cat reply)" ok
ok "an image is made behind it" wait_for 300 warm_is ready
ok "nothing is left of the making" wait_for 20 nothing_hidden
is "it was seen by nobody" "$(sed -n 's/^sandboxes=//p' "$M/.status") $(tstatus used_by)" "1 1"
ok "its bytes are counted" test "$(tstatus warm_bytes)" -gt 10000000 -a "$(tstatus disk_bytes)" -gt "$(tstatus warm_bytes)"
ok "no more of them than the guest's memory" test "$(tstatus warm_bytes)" -lt $((192 << 20))
before=$(digest)
took warms make two env.MINE=2 >reply
is "the second sandbox starts" "$(cat reply)" ok
is "a third" "$(make three)" ok
is "a fourth" "$(make four)" ok
image=$(life two)
is "they are of one boot" "$(life three) $(life four)" "$image $image"
ok "which is not the first one's" test "$(life one)" != "$image"
ok "it went quicker: $warms ms, not $boots" test $((warms * 2)) -lt "$boots"
ok "an event says so" timeout 5 grep -m1 '"event":"restored"' "$M/two/events"

# ---- each is one of its own ------------------------------------------------------------------------------

is "tokens" "$(cat "$M"/{two,three,four}/token | sort -u | wc -l)" 3
ok "and not the image's" test "$(grep -c "$(sed -n 's/.*"token": *"\([^"]*\)".*/\1/p' "$(memory_dir)/start/record")" "$M"/{two,three,four}/token | grep -c ':0')" = 3
is "machine ids" "$(differ 'cat /etc/machine-id')" 3
is "host names" "$(for n in two three four; do sh_in $n hostname; done | paste -sd ' ')" "two three four"
is "random numbers" "$(differ 'head -c 16 /dev/urandom | od -An -tx1')" 3
is "addresses" "$(for n in two three four; do status $n host_ip; done | grep -c .) $(for n in two three four; do status $n host_ip; done | sort -u | wc -l)" "3 $([ "$(status two network)" = user ] && echo 1 || echo 3)"
for name in two three four; do
	ok "the clock of $name" clock_is_right $name
done
is "settings of the template and its own" "$(sh_in two 'echo $FROM $MINE')" "template 2"
is "nobody has another's" "$(sh_in three 'echo $FROM $MINE')" "template"
is "nor the disk" "$(sh_in two 'echo two >/mine; sync; cat /mine') $(sh_in three 'cat /mine 2>/dev/null; echo none')" "two none"
is "all of the memory is there" "$(sh_in two 'm=$(sed -n "s/^MemTotal: *\([0-9]*\) kB/\1/p" /proc/meminfo); [ $m -gt $((150 << 10)) ] && echo yes')" yes
is "and can be used" "$(sh_in two 'mkdir -p /run/t && mount -t tmpfs -o size=90m t /run/t && dd if=/dev/zero of=/run/t/x bs=1M count=80 2>/dev/null; stat -c %s /run/t/x; umount /run/t')" $((80 << 20))
is "a balloon blown up" "$(errno two 'balloon 64') $(errno two 'balloon 0')" "ok ok"
is "the image has not changed" "$(digest)" "$before"

# ---- a warm one is as any other --------------------------------------------------------------------------

is "stop" "$(ctl two stop)" ok
is "start" "$(ctl two "$START")" ok
ok "boots" test "$(life two)" != "$image"
is "with what it had written" "$(sh_in two 'cat /mine')" two
is "pause" "$(ctl three pause)" ok
is "resume" "$(ctl three resume)" ok
is "it goes on" "$(life three)" "$image"
is "a snapshot" "$(ctl three 'stop') $(ctl three 'snapshot create s disk')" "ok ok"
is "kill" "$(ctl four kill) $(state four)" "ok stopped"
is "start again" "$(ctl four "$START")" ok
ok "boots as well" test "$(life four)" != "$image"
is "destroy" "$(ctl three destroy) $(ctl four destroy)" "ok ok"

# ---- what does not fit boots -----------------------------------------------------------------------------

is "with other memory" "$(make five memory_mb=160)" ok
ok "it boots" test "$(life five)" != "$image"
is "destroy it" "$(ctl five destroy)" ok
is "with warm=no" "$(make five warm=no)" ok
ok "it boots too" test "$(life five)" != "$image"
is "destroy that" "$(ctl five destroy)" ok
is "with another disk" "$(make five disk_mb=80)" ok
ok "it boots as well" test "$(life five)" != "$image"
is "and that" "$(ctl five destroy)" ok
is "a bad value" "$(errno one 'set warm=maybe')" EINVAL
is "the image is as it was" "$(tstatus warm) $(digest)" "ready $before"

# ---- over the next daemon --------------------------------------------------------------------------------

daemon_again() { # after its end
	wait_for 40 process_is_gone "$P"
	wait "$P" 2>/dev/null
	unset "daemon_pid[a]"
	daemon a
}
host shutdown >/dev/null
daemon_again
is "the image is there" "$(tstatus warm)" ready
is "a sandbox" "$(make five)" ok
is "goes on from it" "$(life five)" "$image"
is "destroy it" "$(ctl five destroy)" ok

# ---- damaged ---------------------------------------------------------------------------------------------

largest=$(find "$(memory_dir)" -maxdepth 1 -type f -printf '%s %p\n' | sort -n | tail -n 1 | cut -d ' ' -f 2)
state_file=$(find "$(memory_dir)" -maxdepth 1 -type f ! -name manifest ! -path "$largest" -printf '%s %p\n' | sort -n | tail -n 1 | cut -d ' ' -f 2)
dd if=/dev/urandom of="${state_file:-$largest}" bs=1k count=8 conv=notrunc 2>/dev/null
is "an image that is damaged" "$(make five)" ok
ok "is not used" test "$(life five)" != "$image"
is "that sandbox is whole" "$(sh_in five 'echo five >/x; sync; cat /x') $(state five)" "five running"
ok "the log says so" grep -q 'does not go on from its template.s memory' "$LOG"
is "another one" "$(make six)" ok
is "does not try it" "$(grep -c 'does not go on from its template.s memory' "$LOG")" 1
is "destroy both" "$(ctl five destroy) $(ctl six destroy)" "ok ok"
host shutdown >/dev/null
daemon_again
is "the next daemon has thrown it away" "$(tstatus warm)" none
is "a start" "$(make five)" ok
ok "makes another" wait_for 300 warm_is ready
is "which is used" "$(make six)" ok
ok "that is another boot" test "$(life six)" != "$(life five)" -a "$(life six)" != "$image"
is "destroy both again" "$(ctl five destroy) $(ctl six destroy)" "ok ok"

# ---- another shape ---------------------------------------------------------------------------------------

is "the template's memory is set anew" "$(ctl .templates/default 'set memory_mb=176')" ok
before=$(digest)
is "its next sandbox" "$(make five)" ok
ok "boots, and an image of that shape is made" wait_for 300 eval '[ "$(digest)" != "$before" ] && warm_is ready && nothing_hidden'
is "the one after it" "$(make six)" ok
is "has that memory" "$(status six memory_mb)" 176
ok "goes on from it" grep -q restored <(timeout 5 grep -m1 '"event":"restored"' "$M/six/events")
is "destroy them" "$(ctl five destroy) $(ctl six destroy)" "ok ok"

# ---- faults ----------------------------------------------------------------------------------------------

no_image() { # remove it as a user would: with its version
	local name
	for name in "$M"/*/; do
		[ ! -d "$name" ] || ctl "$(basename "$name")" destroy >/dev/null
	done
	rmdir "$M/.templates/default" && [ ! -e "$S/templates/default" ] &&
		import default "$template" >/dev/null && ctl .templates/default 'set memory_mb=160 disk_mb=64' >/dev/null && warm_is none
}
point_is_passed() { # POINT
	grep -qx "$1" points
}
no_vmm() { # but for COUNT
	[ "$(pgrep -fc "sbxfs-$(cat "$S/instance")-[0-9]")" = "$1" ]
}
if [ -z "$WARM_PLAIN" ]; then
	for point in warm-make warm-save warm-name; do
		ok "$point: from the beginning" no_image
		echo "$point fail EIO" >fault
		is "$point fails: the start does not" "$(make one)" ok
		ok "$point fails: it was tried" wait_for 300 grep -q "no image of its memory was made" "$LOG"
		ok "$point fails: nothing is left" wait_for 30 nothing_hidden
		is "$point fails: no image" "$(tstatus warm)" none
		: >"$LOG"
		: >points
		echo "$point hang" >fault
		is "$point hangs: a start" "$(make two)" ok
		ok "$point hangs: there" wait_for 300 point_is_passed "$point"
		is "$point hangs: it is being made" "$(tstatus warm)" making
		is "$point hangs: others start all the same" "$(make three)" ok
		is "$point hangs: destroy all" "$(ctl one destroy) $(ctl two destroy) $(ctl three destroy)" "ok ok ok"
		ok "$point hangs: the template can be removed" timeout 60 rmdir "$M/.templates/default"
		ok "$point hangs: then nothing is left" wait_for 30 nothing_hidden
		: >fault
		: >points
		import default "$template" >/dev/null
		ctl .templates/default 'set memory_mb=160 disk_mb=64' >/dev/null
		echo "$point die" >fault
		make one >made 2>&1 # the daemon may be gone before the reply can be read
		ok "$point dies: a start" grep -qE '^(ok|read: ENOTCONN)$' made
		wait_for 300 process_is_gone "$P"
		: >fault
		daemon_again
		ok "$point dies: it goes on" wait_for 60 in_state one running
		ok "$point dies: nothing is left" wait_for 60 nothing_hidden
		ok "$point dies: no virtual machine but its own" wait_for 20 no_vmm 1
		is "$point dies: no image" "$(tstatus warm)" none
	done

	ok "warm-start: from the beginning" no_image
	is "warm-start: a start" "$(make one)" ok
	ok "warm-start: the image" wait_for 300 warm_is ready
	echo "warm-start fail ENOSPC" >fault
	is "warm-start fails: it boots" "$(make two)" ok
	ok "warm-start fails: and is whole" sh_in two true
	: >fault
	is "want of room says nothing about the image" "$(make three)" ok
	ok "it is used" timeout 5 grep -m1 '"event":"restored"' "$M/three/events"
	is "destroy" "$(ctl two destroy) $(ctl three destroy)" "ok ok"
	for point in warm-start resume-thaw resume-agent; do
		echo "$point die" >fault
		spawn . "create two start"
		wait_for 60 process_is_gone "$P"
		: >fault
		daemon_again
		ok "$point dies: it rests" wait_for 60 eval 'in_state two created || in_state two stopped'
		is "$point dies: it starts" "$(ctl two "$START")" ok
		ok "$point dies: nothing is left" nothing_hidden
		ok "$point dies: nor of its memory" test -z "$(find "$S/sandboxes" -name 'memory.*')"
		is "$point dies: destroy" "$(ctl two destroy)" ok
		echo "$point hang" >fault
		: >points
		mkdir "$M/two"
		spawn two start
		wait_for 60 point_is_passed "$point"
		is "$point hangs: cancel" "$(ctl two cancel)" ok
		is "$point hangs: it was" "$(answer "$W")" ECANCELED
		is "$point hangs: it is as before" "$(state two) $(status two template)" "created default"
		: >fault
		is "$point hangs: it starts" "$(ctl two "$START")" ok
		is "$point hangs: destroy" "$(ctl two destroy)" ok
	done
	for point in resume-thaw resume-agent; do
		echo "$point fail EIO" >fault
		is "$point fails: it boots" "$(make two)" ok
		: >fault
		ok "$point fails: and is whole" sh_in two 'echo x >/x; sync'
		is "$point fails: stop and start" "$(ctl two stop) $(ctl two "$START")" "ok ok"
		is "$point fails: destroy" "$(ctl two destroy)" ok
		host shutdown >/dev/null # one that failed is not tried again by this daemon
		daemon_again
		is "$point fails: the next daemon starts the first again" "$(ctl one "$START")" ok
	done

	# ---- what is made gives way ----------------------------------------------------------------------

	ok "once more from the beginning" no_image
	echo "warm-save hang" >fault
	: >points
	is "a start" "$(make one)" ok
	ok "an image is on its way" wait_for 300 point_is_passed warm-save
	room=$(((($(sed -n 's/^memory_total=//p' "$M/.status") - $(sed -n 's/^memory_reserve=//p' "$M/.status")) >> 20) * percent / 100 - ($(sed -n 's/^memory_promised=//p' "$M/.status") >> 20)))
	is "who needs its memory gets it" "$(make two memory_mb=$((room + 100)))" ok
	ok "it has gone" wait_for 20 nothing_hidden
	is "destroy that" "$(ctl two destroy)" ok
	: >points
	is "again" "$(make two)" ok
	ok "on its way again" wait_for 300 point_is_passed warm-save
	host shutdown >/dev/null
	ok "a shutdown does not wait for it" wait_for 30 process_is_gone "$P"
	: >fault
	daemon_again
	ok "nothing is left of it" nothing_hidden
fi

for name in "$M"/*/; do
	[ ! -d "$name" ] || is "destroy $(basename "$name")" "$(ctl "$(basename "$name")" destroy)" ok
done
ok "the template goes with its image" rmdir "$M/.templates/default"
is "all of it" "$(ls "$S/templates")" ""
finish
