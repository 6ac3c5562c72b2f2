#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/cases/commit-full.sh - a template with the memory of a sandbox: from each state, started from, with other settings, and when it fails
# needs: root fuse tcg faults
# timeout: 1200
# proves: 14 56 65 72
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

commit() { # NAME TEMPLATE: what the reply says, but for the digest
	ctl "$1" "snapshot commit $2 full" | sed 's/@[0-9a-f]\{12\}$/@DIGEST/' | paste -sd ' '
}
version() { # TEMPLATE: directory of its current one
	echo "$S/templates/$1/versions/$(sed -n 's/^digest=//p' "$M/.templates/$1/status")"
}
memory_digest() { # TEMPLATE
	(cd "$(version "$1")/memory" && find . -type f | LC_ALL=C sort | xargs sha256sum | sha256sum)
}
warm_of() { # TEMPLATE
	sed -n 's/^warm=//p' "$M/.templates/$1/status"
}
make() { # NAME SETTING…: define and start it
	mkdir "$M/$1"
	ctl "$1" "set ${*:2}" >/dev/null
	ctl "$1" "$START"
}
life() { # NAME: which boot of which guest it comes from: where its first process has its stack
	sh_in "$1" 'grep -F "[stack]" /proc/1/maps | cut -d - -f 1'
}
count() { # NAME: of its counter in memory
	sh_in "$1" 'cat /run/count'
}
counted_past() { # NAME COUNT
	local now
	now=$(count "$1")
	[ "${now:-0}" -gt "$2" ]
}
counts_on() { # NAME
	wait_for 120 counted_past "$1" "$(count "$1")"
}
nothing_hidden() {
	[ -z "$(find "$S/sandboxes" "$S/templates" -name '.*')" ]
}
no_trace() { # TEMPLATE: of one that failed
	[ ! -e "$M/.templates/$1" ] && [ ! -e "$S/templates/$1" ] && nothing_hidden
}
fault() { # LINE
	echo "$1" >fault
}
# It counts in memory, and writes what it counts to the disk now and then.
counter='i=0; while :; do i=$((i+1)); echo $i >/run/count.new; mv /run/count.new /run/count; [ $((i % 20)) != 0 ] || { echo $i >>/root/log; sync /root/log; }; usleep 20000; done'

daemon a
is "import" "$(import default "$template")" ok
is "start" "$(make a memory_mb=160 disk_mb=100 env.SECRET=hunter2)" ok
ok "something on the disk" sh_in a 'dd if=/dev/urandom of=/root/data bs=1M count=4 2>/dev/null; sha256sum </root/data >/root/sum; sync'
ok "something in memory" sh_in a 'mount -t tmpfs none /mnt && dd if=/dev/urandom of=/mnt/data bs=1M count=4 2>/dev/null; sha256sum </mnt/data >/root/memsum; sync'
ok "something that runs" sh_in a "($counter) >/dev/null 2>&1 & echo"
wait_for 60 counted_past a 1
source_id=$(life a)

# ---- from one that runs ----------------------------------------------------------------------------------

is "commit while it runs" "$(commit a full)" "ok full@DIGEST"
is "it runs on" "$(state a)" running
ok "and counts" counts_on a
is "the template has memory" "$(warm_of full)" full
ok "nothing is left of the way there" nothing_hidden
is "its shape is the guest's" "$(grep -E '^(vcpus|memory_mb|disk_mb)=' "$(version full)/template.conf" | LC_ALL=C sort | paste -sd ' ')" "disk_mb=100 memory_mb=160 vcpus=1"
is "the image is the whole disk" "$(stat -c %s "$(version full)/rootfs.ext4")" $((100 << 20))
is "its settings are not in it" "$(grep -c hunter2 "$(version full)/template.conf")" 0
before=$(memory_digest full)
is "a sandbox of it" "$(make b template=full)" ok
is "goes on from there" "$(life b)" "$source_id"
is "with its disk" "$(sh_in b 'sha256sum </root/data | cmp - /root/sum && echo same')" same
is "its memory" "$(sh_in b 'sha256sum </mnt/data | cmp - /root/memsum && echo same')" same
ok "and its process" counts_on b
ok "which writes to a disk of its own" sh_in b 'echo b >/root/b; sync'
is "another one" "$(make c template=full)" ok
is "goes on from there too" "$(life c)" "$source_id"
is "without the first one's file" "$(sh_in c 'cat /root/b 2>/dev/null; echo none')" none
is "tokens" "$(cat "$M"/{a,b,c}/token | sort -u | wc -l)" 3
is "names" "$(for n in a b c; do sh_in $n hostname; done | paste -sd ' ')" "a b c"
is "machine ids" "$(for n in b c; do sh_in $n 'cat /etc/machine-id'; done | sort -u | wc -l)" 2
is "random numbers" "$(for n in a b c; do sh_in $n 'head -c 16 /dev/urandom | od -An -tx1'; done | sort -u | wc -l)" 3
is "nobody has the source's settings" "$(sh_in b 'echo none$SECRET')" none
is "the template's memory has not changed" "$(memory_digest full)" "$before"
is "with other memory it boots" "$(make d template=full memory_mb=128)" ok
ok "by itself" test "$(life d)" != "$source_id"
is "from the same disk" "$(sh_in d 'sha256sum </root/data | cmp - /root/sum && echo same')" same
is "with warm=no it boots as well" "$(make e template=full warm=no)" ok
ok "from the disk" test "$(life e)" != "$source_id"
is "stop and start" "$(ctl b stop) $(ctl b "$START")" "ok ok"
ok "boots" test "$(life b)" != "$source_id"
is "from its own disk" "$(sh_in b 'cat /root/b')" b
is "pause and resume" "$(ctl c pause) $(ctl c resume)" "ok ok"
ok "it counts on" counts_on c
for name in b c d e; do
	is "destroy $name" "$(ctl $name destroy)" ok
done

# ---- from the other states -------------------------------------------------------------------------------

is "freeze" "$(ctl a freeze)" ok
is "commit while it is frozen" "$(commit a full)" "ok full@DIGEST"
is "it is frozen still" "$(state a)" frozen
is "once for each time that it stands still" "$(errno a 'snapshot commit full full')" EBUSY
is "thaw" "$(ctl a thaw)" ok
ok "it goes on" counts_on a
is "a sandbox of that" "$(make b template=full)" ok
ok "goes on" counts_on b
is "destroy" "$(ctl b destroy)" ok
is "pause" "$(ctl a pause)" ok
is "commit while it is paused" "$(commit a full)" "ok full@DIGEST"
is "again: the same disk, its memory in the place of the first" "$(commit a full)" "ok full@DIGEST"
is "it is paused still" "$(state a)" paused
is "a sandbox of that, too" "$(make b template=full)" ok
ok "goes on, too" counts_on b
is "one of the first" "$(sh_in b 'sha256sum </mnt/data | cmp - /root/memsum && echo same')" same
is "resume" "$(ctl a resume)" ok
ok "the source goes on" counts_on a
is "one version is left, nobody needs the others" "$(find "$S/templates/full/versions" -mindepth 1 -maxdepth 1 | wc -l)" 1
is "it can be committed itself" "$(commit b second)" "ok second@DIGEST"
is "and that" "$(make c template=second)" ok
ok "goes on" counts_on c
is "destroy both" "$(ctl b destroy) $(ctl c destroy)" "ok ok"
ok "a template with memory can be removed" rmdir "$M/.templates/second"
is "stop" "$(ctl a stop)" ok
is "what is stopped has no memory" "$(errno a 'snapshot commit full full')" EINVAL
ok "that says what else" grep -q 'say image' "$M/a/ctl"
is "start" "$(ctl a "$START")" ok
ok "its counter again" sh_in a "($counter) >/dev/null 2>&1 & echo"
wait_for 60 counted_past a 1

# ---- what goes wrong -------------------------------------------------------------------------------------

if [ -z "$COMMIT_PLAIN" ]; then
	for point in quiesce-stop commit-memory commit-flatten commit-import template-import; do
		fault "$point fail ENOSPC"
		is "$point fails" "$(errno a 'snapshot commit bad full')" ENOSPC
		ok "$point: no trace" no_trace bad
		is "$point: it runs" "$(state a)" running
		ok "$point: and counts" counts_on a
		before=$(memory_digest full)
		is "$point fails over a template" "$(errno a 'snapshot commit full full')" ENOSPC
		is "$point: that is as it was" "$(memory_digest full)" "$before"
	done
	for point in quiesce-stop commit-memory commit-flatten commit-import template-import; do
		fault "$point die"
		spawn a 'snapshot commit bad full'
		wait_for 60 process_is_gone "$P"
		wait "$P" 2>/dev/null
		unset "daemon_pid[a]"
		fault ""
		daemon a
		ok "$point dies: it runs on under the next daemon" wait_for 40 in_state a running
		ok "$point dies: the guest, too" counts_on a
		[ ! -d "$M/.templates/bad" ] || ok "$point dies: only an empty template" rmdir "$M/.templates/bad"
		ok "$point dies: nothing else is left" no_trace bad
	done
	fault "commit-memory hang"
	spawn a 'snapshot commit bad full'
	sleep 1
	is "cancel" "$(ctl a cancel)" ok
	is "it was" "$(answer "$W")" ECANCELED
	fault ""
	ok "no trace" no_trace bad
	ok "the guest goes on" counts_on a
fi

is "destroy" "$(ctl a destroy)" ok
ok "the template, too" rmdir "$M/.templates/full"
finish
