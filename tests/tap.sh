# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/tap.sh - the few functions that the cases share; read with `. "$TOP/tests/tap.sh"`
#
#   ok NAME COMMAND…      passes when the command does; its output is shown when it does not
#   fails NAME COMMAND…   passes when the command fails
#   is NAME GOT WANTED    passes when the two texts are equal
#   wait_for SEC COMMAND… true as soon as the command is, false after so many seconds
#   at_end COMMAND…       run when the case ends, however it does; the last one given first
#   skip NAME REASON      counts as passed, and is listed
#   finish                the last line of a case

tap_count=0
tap_failed=0
tap_at_end=

tap_result() { # STATUS NAME
	tap_count=$((tap_count + 1))
	if [ "$1" = 0 ]; then
		echo "ok $tap_count - $2"
	else
		tap_failed=$((tap_failed + 1))
		echo "not ok $tap_count - $2"
	fi
}

ok() {
	tap_name=$1
	shift
	tap_status=0
	tap_output=$("$@" 2>&1) || tap_status=$?
	tap_result $tap_status "$tap_name"
	[ $tap_status = 0 ] || printf 'status %s: %s\n%s\n' "$tap_status" "$*" "$tap_output" | sed 's/^/#   /'
	return $tap_status
}

fails() {
	tap_name=$1
	shift
	if tap_output=$("$@" 2>&1); then
		tap_result 1 "$tap_name"
		printf 'this should have failed: %s\n%s\n' "$*" "$tap_output" | sed 's/^/#   /'
		return 1
	fi
	tap_result 0 "$tap_name"
}

is() {
	if [ "$2" = "$3" ]; then
		tap_result 0 "$1"
		return 0
	fi
	tap_result 1 "$1"
	printf 'got:    %s\nwanted: %s\n' "$2" "$3" | sed 's/^/#   /'
	return 1
}

skip() {
	tap_count=$((tap_count + 1))
	echo "ok $tap_count - $1 # SKIP $2"
}

wait_for() {
	tap_until=$(($(date +%s) + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ "$(date +%s)" -lt $tap_until ] || return 1
		sleep 0.05
	done
}

at_end() {
	tap_at_end="$* ; $tap_at_end"
}

tap_end() {
	tap_status=$?
	trap - EXIT
	eval "$tap_at_end"
	exit $tap_status
}
trap tap_end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

finish() {
	echo "1..$tap_count"
	[ $tap_failed = 0 ]
	exit
}
