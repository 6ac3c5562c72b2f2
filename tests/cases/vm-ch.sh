#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# needs: slow
# proves: 52 56 81
# The cloud-hypervisor driver against a fake that holds requests to the published schema: start, pause, resume, save, going
# on, balloon, all the ways to end, and each failure with no process, name or descriptor left. Needs no KVM.
. "$TOP/tests/tap.sh"

export DRIVER=cloud-hypervisor PROGRAM="$B/tests/fake/helper-ch" FAKE_SCHEMA="$TOP/tests/fake/ch-schema" FAKE="$PWD/fake"
helper=$B/tests/vm/helper-vm
echo kernel >kernel
echo initrd >initrd
truncate -s 1M base

# vm NAME VERB…: a fresh folder and the verbs on it
vm() {
	dir=$PWD/$1
	shift
	mkdir -p "$dir/run" "$dir/save"
	cp base "$dir/disk.raw"
	vm_status=0
	SAVE_DIR=$dir/save "$helper" "$dir" "$PWD/kernel" "$PWD/initrd" "$@" >"$dir/out" 2>&1 || vm_status=$?
	cat "$dir/out"
	return "$vm_status"
}

fault() { # WORD…
	echo "$*" >fake
}

nothing_left() { # DIR
	left=$(find "$1/run" "$1/save" -mindepth 1)
	[ -z "$left" ] || { echo "left: $left"; return 1; }
	! grep 'schema' "$1/stderr" || return 1
	# What runs has its console open.
	! find /proc/[0-9]*/fd -lname "$PWD/$1/*" 2>/dev/null | grep . || { echo "a VMM runs"; return 1; }
	sed -n 's/.* pid=//p' "$1/out" | while read -r pid; do
		! kill -0 "$pid" 2>/dev/null || { echo "runs: $pid"; exit 1; }
	done
}

fault
# shellcheck disable=SC2016 # the helper's shell expands it
ok "start, freeze, thaw, each twice; console; a daemon that comes back" vm plain start expect 'fake guest begins' \
	freeze freeze thaw thaw forget open freeze thaw kill
ok "nothing is left" nothing_left plain
ok "an end by the identity alone" vm id start forget kill-id
ok "nothing is left" nothing_left id
ok "start and kill leave no descriptor" vm cycle cycle 5

# ---- save and go on ----------------------------------------------------------------------------------

# shellcheck disable=SC2016
ok "save, go on with it running, save again, go on in another" vm save start freeze save m1 thaw freeze save m2 kill check m2 \
	restore m2 freeze thaw freeze save m3 kill
ok "nothing is left but what was saved" nothing_left save
is "what is saved" "$(cd save/m2 && echo ./*)" "./config.json ./manifest ./memory-ranges ./state.json"
is "pages of zeroes take no room" "$(du -k save/m2/memory-ranges | cut -f 1)" 4
is "its length is the memory's" "$(stat -c %s save/m2/memory-ranges)" $((128 << 20))
ok "what was saved does not change" cmp save/m1/memory-ranges save/m2/memory-ranges

# again NAME VERB…: with a copy of what was saved
again() {
	again_name=$1
	shift
	mkdir -p "$again_name" && cp -r save/m1 "$again_name/m"
	[ -z "${damage:-}" ] || (cd "$again_name/m" && eval "$damage")
	vm "$again_name" "$@"
}
ok "more memory is refused" env MEMORY_MIB=256 "$helper" "$PWD/save" kernel initrd fails ENOTSUP check m1 fails ENOTSUP restore m1
# shellcheck disable=SC2016 # sh expands it
ok "another disk is refused" sh -c 'mkdir nodisk nodisk/run && exec "$1" "$PWD/nodisk" kernel initrd fails ENOTSUP restore ../save/m1' sh "$helper"
damage='rm manifest' ok "no manifest" again d1 fails ENOENT check m fails ENOENT restore m
damage='echo x >manifest' ok "a damaged manifest" again d2 fails EBADMSG check m
damage='rm state.json' ok "a file that is gone" again d3 fails EBADMSG restore m
damage='echo "{}" >config.json' ok "another configuration" again d4 fails EBADMSG restore m
damage='truncate -s 1M memory-ranges' ok "memory cut off" again d5 fails EBADMSG restore m
for d in d3 d4 d5; do ok "nothing is left" nothing_left $d; done

# ---- the balloon -------------------------------------------------------------------------------------

ok "the balloon" vm balloon start balloon 64 balloon 128 kill
is "what the guest has" "$(sed -n 's/^balloon=\([0-9]*\).*/\1/p' balloon/out | tr '\n' ' ')" "64 128 "
fault balloon=32
ok "a guest that gives less is no failure" vm less start balloon 64 kill
is "what it has" "$(sed -n 's/^balloon=\([0-9]*\).*/\1/p' less/out)" 96
ok "waiting for it can be called off" vm called start cancel 200 fails ECANCELED balloon 64 kill

# ---- the ways to end ---------------------------------------------------------------------------------

# shellcheck disable=SC2016
for end in shutdown reset panic; do
	fault end=$end
	ok "a guest's $end" vm end-$end start sh 'kill -USR1 "$2"' ended $end
	ok "nothing is left" nothing_left end-$end
done
ok "a killed VMM" vm crash start crash ended unknown
ok "nothing is left" nothing_left crash
fault noise end=panic
# shellcheck disable=SC2016
ok "events cut off are passed over" vm noise start sh 'kill -USR1 "$2"' ended panic

# ---- failures ----------------------------------------------------------------------------------------

# failing FAULT VERB…: with the fault from the first
number=0
failing() {
	number=$((number + 1))
	fault "$1"
	name="$1"
	shift
	ok "$name: $*" vm "f$number" "$@"
	ok "nothing is left" nothing_left "f$number"
}
failing start=fail fails EIO start
ok "its last words are told" grep -q 'told to fail' "f$number/out"
failing start=die fails EIO start
failing start=hang limit 500 fails ETIMEDOUT start
failing start=hang cancel 300 fails ECANCELED start
failing start=lie fails EIO start
failing vm.info=fail fails EIO start
failing vm.info=lie fails EIO start
failing vm.info=hang limit 500 fails ETIMEDOUT start
failing vm.info=die fails EIO start
for fault in fail lie die; do
	failing vm.pause=$fault start fails EIO freeze kill
	[ $fault = lie ] || failing vm.resize=$fault start fails EIO balloon 64 kill
	failing vm.snapshot=$fault start freeze fails EIO save m kill
done
failing vm.resize=lie start balloon 64 kill
ok "it says what the VMM said" grep -q 'told to fail' f10/out
failing vm.resume=fail start freeze fails EIO thaw kill
failing vm.resume=lie start freeze fails EIO thaw kill
failing vm.pause=hang start limit 300 fails ETIMEDOUT freeze kill
failing vm.resume=hang start freeze limit 300 fails ETIMEDOUT thaw kill
failing vm.snapshot=hang start freeze limit 300 fails ETIMEDOUT save m kill
failing vm.snapshot=hang start freeze cancel 300 fails ECANCELED save m kill
failing vm.snapshot=short start freeze fails EIO save m thaw kill
failing vm.snapshot=nospace start freeze fails ENOSPC save m thaw freeze kill
fault start=fail
damage='' ok "going on that fails" again r1 fails EIO restore m
fault start=lie
damage='' ok "going on that is none" again r2 fails EIO restore m
for d in r1 r2; do ok "nothing is left" nothing_left $d; done
rm kernel
fault
ok "no kernel" vm nokernel fails ENOENT start
ok "nothing is left" nothing_left nokernel

# ---- the probe ---------------------------------------------------------------------------------------

mkdir bin
ln -s "$PROGRAM" bin/cloud-hypervisor
unset PROGRAM
probe() { # VERSION TEXT
	FAKE_VERSION=$1 PATH=$PWD/bin:$PATH "$helper" probe tcg >out
	grep -q "^ENOTSUP: .*$2" out || { cat out; return 1; }
}
ok "an old version is refused, with how to get one" probe 51.1 '51.1, which is too old; install version 52'
ok "without KVM it is refused, with the reason" probe 53.0 'needs KVM, and TCG was asked for'
ok "no version is refused" probe 'x' 'too old'
# shellcheck disable=SC2016
ok "no program: how to get it" sh -c 'PATH=$PWD "$1" probe | grep -q "^ENOTSUP: .*install version 52"' sh "$helper"

finish
