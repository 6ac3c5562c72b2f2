#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# needs:
# proves:
# The case runner itself: what fails has to be seen to fail.
. "$TOP/tests/tap.sh"

case_of() { # NAME NEEDS BODY
	printf '#!/bin/sh\n# needs: %s\n# proves: 1 2\n%s\n' "$2" "$3" >"cases/$1.sh"
}

# The runner on our own cases, with no unit tests; its output goes to ./out.
run() {
	env -u CI -u NOSKIP -u RUN_SKIPS -u RUN_BASE -u RUN_REPORT -u RUN_EACH RUN_ISOLATED=1 RUN_SETTLE=1 CASES="$PWD/cases" B="$PWD/none" "$@" >out 2>&1
}
suite() {
	run "$TOP/tests/run" "$@"
}
strict() {
	run NOSKIP=1 "$TOP/tests/run" "$@"
}

mkdir cases
ok "an empty group is fine at a desk" suite test
fails "and a failure in CI" strict test

case_of good "" 'echo "ok 1 - fine"; echo 1..1'
ok "a case that passes" strict test
case_of bad "" 'echo "not ok 1 - wrong"; echo 1..1'
fails "a case with a failing line" suite test
ok "by name, the good one alone" suite test good
fails "a name that is not there" suite test nosuch

case_of bad "" 'echo "ok 1 - fine"; echo 1..1; exit 3'
fails "a case that ends with a status" suite test bad
case_of bad "" 'echo "ok 1 - fine"'
fails "a case without a plan" suite test bad
case_of bad "" '# timeout: 1
sleep 30'
fails "a case that hangs" suite test bad
ok "is said to have hung" grep -q "time limit of 1 s" out
printf 'echo "ok 1"; echo 1..1\n' >cases/bad.sh
fails "a case that does not say what it needs" suite test bad
rm cases/bad.sh

case_of skipped "" 'echo "ok 1 - some # SKIP because"; echo 1..1'
ok "a skipped line passes" suite test
ok "and is counted with its reason" grep -q "skipped: .*because" out
fails "but not in CI" strict test
case_of skipped "" 'echo "no moon"; exit 77'
ok "exit status 77 skips" suite test
ok "for the reason printed last" grep -q "skipped: no moon" out
fails "but not in CI either" strict test
case_of skipped "magic" 'echo "ok 1"; echo 1..1'
ok "an unknown need skips" suite test
ok "and is named" grep -q "unknown need 'magic'" out
rm cases/skipped.sh

case_of rooted "root fuse" 'echo "ok 1"; echo 1..1'
case_of mapped "root dm" 'echo "ok 1"; echo 1..1'
ok "the list" suite list
is "puts each case into its group" "$(awk '{ print $1, $2 }' out | tr '\n' ' ')" "host rooted test good vm mapped "
ok "with the abilities" grep -q "good .*proves: 1 2" out

# On the test host an emulated processor that fails in a guest is no failure of the case, twice.
on_host() { # NAME HOW-OFTEN-IT-FAILS
	: >tries
	echo "$2" >fails
	run SBXFS_TEST_HOST=1 RUN_SKIPS="$PWD/skips" RUN_BASE="$PWD" "$TOP/tests/run" --one "$PWD/cases/$1.sh"
}
# shellcheck disable=SC2016 # it is for the case's own shell
case_of flaky "" "here=$PWD"'
echo try >>"$here/tries"
[ ! -e left ] || echo "not ok 2 - left over"
touch left
echo 1..1
if [ "$(wc -l <"$here/tries")" -le "$(cat "$here/fails")" ]; then echo "not ok 1 - guest"; echo "#  </#DF>"; exit 1; fi
echo "ok 1 - guest"'
ok "a guest whose processor failed: once more" on_host flaky 1
is "and only the last counts" "$(grep -c 'ok [0-9]' out) $(wc -l <tries)" "1 2"
fails "not for ever" on_host flaky 9
is "but three times" "$(wc -l <tries)" 3
case_of wrong "" "echo try >>$PWD/tries; echo 'not ok 1 - wrong'; echo 1..1; exit 1"
fails "a case that is wrong" on_host wrong 9
is "is not run again" "$(wc -l <tries)" 1
rm cases/flaky.sh cases/wrong.sh

# A process by a name of ours that outlives its case.
cp "$(command -v sleep)" sbxfs-left
case_of leaky "" "$PWD/sbxfs-left 60 >/dev/null 2>&1 & echo \$! >$PWD/pid; echo 'ok 1'; echo 1..1"
fails "a case that leaves a process behind" suite test leaky
ok "is shown with it" grep -q "^> process .*sbxfs-left 60" out
ok "which still runs" kill "$(cat pid)"
finish
