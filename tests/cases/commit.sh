#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/cases/commit.sh - a template from a sandbox's disk: from each state, by whom, and when it fails
# needs: root fuse tcg faults
# timeout: 900
# proves: 14 56 72 73
#
# With $COMMIT_PLAIN the daemon is the one that users have, with $DAEMON_OPTIONS, and what needs fault points is left out.
# shellcheck disable=SC2016 # what stands in '…' is for the guest's shell
# shellcheck disable=SC2034 # the variables are read in tests/sbx.sh
set -u
: "${COMMIT_PLAIN:=}" "${START:=start}"
# shellcheck source=tests/tap.sh
. "$TOP/tests/tap.sh"
# shellcheck source=tests/sbx.sh
. "$TOP/tests/sbx.sh"
template=$(template_dir)
if [ -z "$COMMIT_PLAIN" ]; then
	B=$FAULTS_B # the daemon that daemon() starts
	export SBXFS_FAULT_FILE=$PWD/fault
	: >fault
fi

commit_said() { # NAME TEMPLATE: what the reply says, but for the digest
	ctl "$1" "snapshot commit $2" | sed 's/@[0-9a-f]\{12\}$/@DIGEST/' | paste -sd ' '
}
commit() { # NAME TEMPLATE: an emulated guest on a busy machine may need more than its ten seconds to flush
	commit_said "$@" | sed 's/the guest did not flush: .*no answer in time; the copy is as after a power cut //'
}
image() { # TEMPLATE: its current one
	local digest
	digest=$(sed -n 's/^digest=//p' "$M/.templates/$1/status")
	echo "$S/templates/$1/versions/${digest:-none}/rootfs.ext4"
}
versions() { # TEMPLATE: how many
	find "$S/templates/$1/versions" -mindepth 1 -maxdepth 1 2>/dev/null | wc -l
}
mib() { # FILE: its length, and whether no more than 48 MiB of it are on the disk
	echo "$(($(stat -c %s "$1") >> 20)) $(($(stat -c %b "$1") * 512 < 48 << 20))"
}
folder() { # NAME: below the state directory
	local id
	id=$(status "$1" id)
	echo "$S/sandboxes/$((16#${id#*-}))"
}
no_trace() { # TEMPLATE: of one that failed
	[ ! -e "$M/.templates/$1" ] && [ ! -e "$S/templates/$1" ] && nothing_hidden
}
nothing_hidden() {
	[ -z "$(find "$S/sandboxes" "$S/templates" -name '.*')" ]
}
count() { # NAME: of its writer, which goes on for ever
	sh_in "$1" 'tail -n 1 /root/log'
}
counts_on() { # NAME
	local before
	before=$(count "$1")
	wait_for 120 counted_past "$1" "$before"
}
counted_past() { # NAME COUNT
	[ "$(count "$1")" -gt "$2" ]
}
writer='i=0; while :; do i=$((i+1)); echo $i >>/root/log; sync /root/log; usleep 20000; done'

daemon a
is "import" "$(import default "$template")" ok
mkdir "$M/a"
is "settings of the sandbox's own" "$(ctl a 'set env.SECRET=hunter2 disk_mb=300')" ok
is "start" "$(ctl a "$START")" ok
ok "something to find again" sh_in a 'dd if=/dev/urandom of=/root/data bs=1M count=8 2>/dev/null; sha256sum </root/data >/root/sum; sync'
ok "something that goes" sh_in a 'dd if=/dev/urandom of=/root/gone bs=1M count=60 2>/dev/null; sync; rm /root/gone; sync'
ok "a writer that does not stop" sh_in a "($writer) >/dev/null 2>&1 & echo"
wait_for 60 counted_past a 1

# ---- what comes of it -----------------------------------------------------------------------------------

is "commit while it runs" "$(commit a img)" "ok img@DIGEST"
is "it runs on" "$(state a)" running
ok "and its writer writes" counts_on a
is "there is one version" "$(versions img)" 1
ok "its file system is clean" e2fsck -fn "$(image img)"
is "of the default size, and sparse" "$(mib "$(image img)")" "5120 1"
ok "the kernel is that of its template" cmp "$(dirname "$(image img)")/kernel" "$template/kernel"
is "its settings are not in it" "$(grep -c hunter2 "$(dirname "$(image img)")/template.conf" "$M/.templates/img/config" | cut -d : -f 2 | paste -sd ' ')" "0 0"
ok "nothing is left of the way there" nothing_hidden

mkdir "$M/b"
is "a sandbox of it" "$(ctl b 'set template=img')" ok
is "starts" "$(ctl b "$START")" ok
is "has the data" "$(sh_in b 'sha256sum </root/data')" "$(sh_in b 'cat /root/sum')"
ok "and what the writer had written" counted_past b 0
is "its log ends with a whole line" "$(sh_in b 'tail -c 1 /root/log | wc -l; seq 1 $(tail -n 1 /root/log) | cmp - /root/log && echo same' | paste -sd ' ')" "1 same"

# ---- from the other states ------------------------------------------------------------------------------

is "freeze" "$(ctl a freeze)" ok
is "commit while it is frozen" "$(commit a img)" "ok img@DIGEST"
is "it is frozen still" "$(state a)" frozen
is "a second version, the first is needed" "$(versions img)" 2
ok "the new one is clean" e2fsck -fn "$(image img)"
is "thaw" "$(ctl a thaw)" ok
ok "it goes on" counts_on a
is "stop" "$(ctl a stop)" ok
is "commit while it is stopped" "$(commit a img)" "ok img@DIGEST"
is "it is stopped still" "$(state a)" stopped
is "what nobody needs any more has gone" "$(versions img)" 2
ok "the newest is clean" e2fsck -fn "$(image img)"
is "start again" "$(ctl a "$START")" ok
mkdir "$M/new"
is "settings" "$(ctl new 'set template=img')" ok
is "commit of one that was never started" "$(commit new made)" "ok made@DIGEST"
is "it is still only defined" "$(state new)" created
is "its image" "$(mib "$(image made)")" "5120 1"
is "that starts" "$(ctl new 'set template=made') $(ctl new "$START")" "ok ok"
is "with the data" "$(sh_in new 'sha256sum </root/data')" "$(sh_in new 'cat /root/sum')"
is "destroy" "$(ctl new destroy) $(ctl b destroy)" "ok ok"

# ---- what is no ext4 is kept as it is -------------------------------------------------------------------

head -c 3145728 /dev/urandom >noise
mkdir "$M/.templates/noise" "$M/n"
is "an image of noise" "$(ctl .templates/noise "import rootfs=$PWD/noise")" ok
is "its sandbox" "$(ctl n 'set template=noise')" ok
is "commit" "$(commit n noise2)" "ok noise2@DIGEST"
ok "it is the same" cmp noise "$(image noise2)"
is "destroy it" "$(ctl n destroy)" ok

# ---- whose ----------------------------------------------------------------------------------------------

as() { # UID COMMAND…
	setpriv --reuid "$1" --regid "$1" --clear-groups -- "${@:2}"
}
chmod 755 .
mkdir "$M/his"
ok "a sandbox for a user" chown 1000:1000 "$M/his"
is "he cannot make a template" "$(as 1000 "$helper_write" -q "$M/his/ctl" 'snapshot commit his')" EACCES
ok "there is none" no_trace his
is "nor change another's" "$(as 1000 "$helper_write" -q "$M/his/ctl" 'snapshot commit img')" EACCES
before=$(versions img)
mkdir "$M/.templates/his"
ok "one that he is given" chown 1000:1000 "$M/.templates/his"
is "he may" "$(as 1000 "$helper_write" -q "$M/his/ctl" 'snapshot commit his')" ok
is "it has a version" "$(versions his)" 1
is "others are as they were" "$(versions img)" "$before"
is "one for his group" "$(chown 0:1000 "$M/.templates/his"; chmod 775 "$M/.templates/his"; as 1000 "$helper_write" -q "$M/his/ctl" 'snapshot commit his')" ok
is "one that his group may only read" "$(chmod 755 "$M/.templates/his"; as 1000 "$helper_write" -q "$M/his/ctl" 'snapshot commit his')" EACCES
is "a name that is none" "$(errno a 'snapshot commit .x')" EINVAL
is "destroy his" "$(ctl his destroy)" ok

# ---- beside an import -----------------------------------------------------------------------------------

mkdir "$M/.templates/both"
spawn .templates/both "import $template"
first=$W
spawn a "snapshot commit both"
second=$W
spawn .templates/both "import $template"
wait_for 280 process_is_gone "$second" # answer() does not wait long enough for an emulated host
is "imports and a commit at once" "$(answer "$first") $(answer "$second") $(answer "$W")" "ok ok ok"
ok "what is current is whole" e2fsck -fn "$(image both)"
ok "nothing is left beside it" nothing_hidden

# ---- what goes wrong ------------------------------------------------------------------------------------

fault() { # LINE
	echo "$1" >fault
}
kept() { # its copy, made while it was held; as an image
	qemu-img convert -O raw "$(folder a)/snapshots/.commit/disk.qcow2" kept
}
kept_there() {
	[ -s "$(folder a)/snapshots/.commit/disk.qcow2" ] && grep -q commit-flatten points
}
look_at_copy() { # copy the disk, stop behind that, and say whether its journal has something in it
	: >points
	spawn a "snapshot commit bad"
	wait_for 60 kept_there || echo "no copy"
	kept
	ctl a cancel >/dev/null
	answer "$W" >/dev/null
	dumpe2fs -h kept 2>/dev/null | grep -c needs_recovery
}
clean_copy() { # as said at commit(), not always at the first time
	for _ in 1 2 3; do
		[ "$(look_at_copy)" != 0 ] || return 0
	done
	return 1
}
if [ -z "$COMMIT_PLAIN" ]; then
	ctl .templates/img "cancel" >/dev/null
	is "stop" "$(ctl a stop)" ok
	host shutdown >/dev/null
	ok "the daemon ends" daemon_end a
	export SBXFS_FAULT_LOG=$PWD/points
	daemon a
	is "start" "$(ctl a start)" ok
	ok "the writer again" sh_in a "($writer) >/dev/null 2>&1 & echo"
	fault "commit-flatten hang"
	ok "the guest held its writes: the copy's journal is empty" clean_copy
	ok "the copy is gone" no_trace bad
	ok "the guest goes on" counts_on a
	fault "$(printf 'commit-flatten hang\nquiesce-hold fail EIO')"
	is "where it did not, it is not" "$(look_at_copy)" 1
	ok "which is no harm" counts_on a
	fault "quiesce-hold fail EIO"
	is "the reply says so" "$(commit_said a power | grep -c 'ok the guest did not flush: .*; the copy is as after a power cut power@DIGEST')" 1
	fault ""
	ok "and the image is whole" e2fsck -fn "$(image power)"

	for point in quiesce-stop commit-flatten commit-import template-import; do
		fault "$point fail ENOSPC"
		is "$point fails" "$(errno a 'snapshot commit bad')" ENOSPC
		ok "$point: no trace" no_trace bad
		is "$point: it runs" "$(state a)" running
		ok "$point: and writes" counts_on a
		before=$(versions power)
		is "$point fails over a template" "$(errno a 'snapshot commit power')" ENOSPC
		is "$point: that is as it was" "$(versions power)" "$before"
	done
	fault "quiesce-go fail EIO"
	is "vCPUs that do not go on" "$(errno a 'snapshot commit bad')" EIO
	is "that is a frozen sandbox" "$(state a)" frozen
	ok "it says why" grep -q '^last_error=.*do not go on' "$M/a/status"
	ok "no trace of a template" no_trace bad
	fault ""
	is "thaw" "$(ctl a thaw)" ok
	ok "the guest goes on and writes" counts_on a

	for point in quiesce-stop quiesce-go commit-flatten commit-import; do
		fault "$point die"
		spawn a 'snapshot commit bad'
		wait_for 60 process_is_gone "$P"
		wait "$P" 2>/dev/null
		unset "daemon_pid[a]"
		fault ""
		daemon a
		ok "$point: it runs on under the next daemon" wait_for 40 in_state a running
		ok "$point: the guest, too" counts_on a
		[ ! -d "$M/.templates/bad" ] || is "$point: only an empty template" "$(versions bad)$(rmdir "$M/.templates/bad")" 0
		ok "$point: nothing else is left" no_trace bad
	done
fi

is "destroy" "$(ctl a destroy)" ok
finish
