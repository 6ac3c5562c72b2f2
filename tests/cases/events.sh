#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/cases/events.sh - events over the daemon's end, a kill and a takeover, and a webhook over all that; no VM
# needs: fuse
# timeout: 400
# proves: 58 59 83
# shellcheck disable=SC2016,SC2317 # what stands in '…' is for another shell; functions are called by name
set -u
# shellcheck source=tests/tap.sh
. "$TOP/tests/tap.sh"
# shellcheck source=tests/sbx.sh
. "$TOP/tests/sbx.sh"
# shellcheck source=tests/events.sh
. "$TOP/tests/events.sh"

DAEMON_OPTIONS="--storage file --net user"
helper_poll=$B/tests/cases/helper-poll

newest() { # the number of the newest event
	events . | tail -n 1 | seqs
}
since() { # SEQ: events from there on
	"$helper_poll" read-nonblock "$M/.events" "since=$1" | grep '^{'
}
restart() {
	kill -TERM "$P"
	daemon_end a || return 1
	daemon a
}
crash() {
	kill -KILL "$P"
	daemon_end a
	daemon a
}
take_over() {
	local old=$P
	# shellcheck disable=SC2086 # options are words
	"$B/sbxfs" -f --takeover --state-dir "$S" --config "$DAEMON_CONFIG" $DAEMON_OPTIONS "$M" >>"$LOG" 2>&1 &
	P=$!
	daemon_pid[a]=$P
	wait_for 60 process_is_gone "$old" || return 1
	wait "$old" || return 1
	timeout 60 cat "$M/.version" >/dev/null
}
goes_on() { # NAME: what was seen before is seen now, and the next number is the next
	is "$1: the same events" "$(events . | head -n "$(wc -l <before)" | cmp - before && echo same)" same
	ok "$1: numbers have neither a gap nor a double" sh -c "sed 's/^{\"seq\":\([0-9]*\),.*/\1/' all | awk 'NR > 1 && \$1 != last + 1 { bad = 1 } { last = \$1 } END { exit bad || !NR }'"
}
look() {
	events . >all
}

# ---- over the daemon's end ------------------------------------------------------------------------------------

daemon a
ok "two sandboxes" mkdir "$M/web1" "$M/web2"
events . >before
events web1 >own
is "the first number" "$(head -n 1 before | seqs)" 1
seen=$(newest)
restart
look
goes_on "a restart"
is "who goes on behind what was seen gets what is new" "$(since $((seen + 1)) | sed 's/.*"event":"\([^"]*\)".*/\1/' | tr '\n' ' ')" "daemon-started "
is "a sandbox's own" "$(events web1 | head -n 1)" "$(head -n 1 own)"
is "and nobody else's" "$(events web1 | grep -c web2)" 0

mkdir "$M/web3"
events . >before
crash
look
goes_on "a kill"
ok "mkdir" mkdir "$M/web4"
events . >before
kill -KILL "$P"
daemon_end a
# What a crash of the host leaves at its end.
printf '0 {"seq":99,"time":"2026-' >>"$S/events/new"
daemon a
look
goes_on "a torn end"
ok "the log tells" grep -q 'events/new: the last .* bytes are no events' "$LOG"

cat "$M/.events" >stream 2>stream.err &
stream=$!
ok "a reader waits" wait_for 20 grep -q web4 stream
events . >before
take_over
tap_result $? "another daemon takes the mount"
ok "mkdir" mkdir "$M/web5"
ok "the reader reads on" wait_for 20 grep -q web5 stream
look
goes_on "a takeover"
ok "the reader has neither a gap nor a double" sh -c "sed 's/^{\"seq\":\([0-9]*\),.*/\1/' stream | awk 'NR > 1 && \$1 != last + 1 { bad = 1 } { last = \$1 } END { exit bad || !NR }'"
is "it has all" "$(tail -n 1 stream)" "$(tail -n 1 all)"
kill $stream
wait $stream 2>/dev/null

# Another boot, or a log that lacks some: numbers jump, and none comes twice.
seen=$(newest)
kill -KILL "$P"
daemon_end a
rm "$S/events/whole"
daemon a
ok "without the log's word numbers go on far above" test "$(newest)" -gt $((seen + 1000000))
is "what was before is there" "$(events . | head -n 1 | seqs)" 1
ok "rmdir" rmdir "$M/web5"
restart
is "and from there on they grow by one" "$(since $((seen + 1)) | seqs | awk 'NR > 1 { print $1 - last } { last = $1 }' | sort -u)" 1

# ---- a webhook ------------------------------------------------------------------------------------------------

all_delivered() {
	[ "$(sed -n 's/^webhook_acknowledged=//p' "$M/.status")" = "$(newest)" ]
}
webhook_is() { # ok|failing|none
	grep -qx "webhook=$1" "$M/.status"
}
ok "no webhook" webhook_is none
kill -TERM "$P"
daemon_end a
receiver_up
webhook_config on_shutdown=stop
chmod 644 secret
is "a secret that others may read" "$("$B/sbxfs" -f --state-dir "$S" --config conf --storage file "$M" 2>&1)" "sbxfs: webhook_secret_file: others may read or change $PWD/secret; chmod 600 helps"
chmod 600 secret
daemon a
ok "a receiver that is there" webhook_is ok
ok "three sandboxes" mkdir "$M/hook1" "$M/hook2" "$M/hook3"
ok "all events are delivered" wait_for 60 all_delivered
is "from this daemon's first one" "$(delivered | head -n 1 | sed 's/.*"event":"\([^"]*\)".*/\1/')" daemon-started
first=$(delivered | head -n 1 | seqs)
is "they are those of .events" "$(delivered)" "$(since "$first")"
ok "each delivery is signed" signed_all

receiver_down
ok "mkdir" mkdir "$M/hook4"
ok "nobody there: failing" wait_for 60 webhook_is failing
ok "the reason is shown" grep -q '^webhook_error=..' "$M/.status"
fails "without the URL" grep -q "^webhook_error=.*/events" "$M/.status"
crash
ok "mkdir" mkdir "$M/hook5"
ok "failing still" wait_for 60 webhook_is failing
echo status=503 >web/.faults
receiver_up
ok "there, but sorry" wait_for 120 grep -q 'POST /events 503' web/.log
take_over
tap_result $? "another daemon takes the mount"
rm web/.faults
ok "then all are delivered" wait_for 120 all_delivered
ok "the state is well again" webhook_is ok
is "each once and in order, over a kill and a takeover" "$(delivered)" "$(since "$first")"
ok "each delivery is signed" signed_all
restart
ok "another restart" wait_for 60 all_delivered
is "sends nothing again" "$(delivered | seqs | uniq -d)" ""
ok "all numbers" eval 'delivered | seqs | whole_seqs'
finish
