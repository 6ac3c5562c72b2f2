# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/events.sh - a receiver of events and what came to it, for the cases of events; read after tests/sbx.sh
#
#   receiver_up             events are taken at http://127.0.0.1:$port/events from now on, the port is kept; sets receiver
#   receiver_down           nobody listens there any more
#   webhook_config LINE…    ./conf for daemons: a webhook to that receiver, the secret in ./secret, and more settings
#   delivered               all events that came, one a line, as they came
#   seqs, whole_seqs        numbers of the lines read; are they from the first to the last one, each once?
#   signed_all              every delivery has the right signature, type and numbers
# shellcheck disable=SC2034,SC2154 # variables for the cases, and of tests/sbx.sh

mkdir web
at_end receiver_down
port=

receiver_up() {
	rm -f port.new
	# shellcheck disable=SC2086 # the first time there is no port
	"$B/tests/cases/helper-httpd" web port.new $port &
	receiver=$!
	wait_for 60 test -s port.new || return 1
	port=$(cat port.new)
}

receiver_down() {
	[ "$BASHPID" = $$ ] && [ -n "${receiver:-}" ] || return 0
	kill "$receiver" 2>/dev/null
	wait "$receiver" 2>/dev/null
	receiver=
}

webhook_config() { # LINE…
	[ -e secret ] || { printf 'a secret of the test\n' >secret && chmod 600 secret; }
	{
		cat "$TOP/tests/sbxfs.conf"
		printf '%s\n' "webhook_url=http://127.0.0.1:$port/events" "webhook_secret_file=$PWD/secret" "$@"
	} >conf
	DAEMON_CONFIG=$PWD/conf
}

posts() {
	find web -name 'post.*[0-9]' | sort -t . -k 2n
}

delivered() {
	local file
	for file in $(posts); do
		jq -c '.[]' "$file"
	done
}

seqs() {
	sed -n 's/^{"seq":\([0-9]*\),.*/\1/p'
}

whole_seqs() {
	awk 'NR > 1 && $1 != last + 1 { bad = 1 } { last = $1 } END { exit bad || !NR }'
}

signed_all() {
	local file count=0
	for file in $(posts); do
		grep -qix "X-Sbxfs-Signature: sha256=$(openssl dgst -sha256 -hmac "$(cat secret)" -r "$file" | cut -d ' ' -f 1)"$'\r' "$file.head" || return 1
		grep -qix "X-Sbxfs-Seq: $(jq -r '"\(.[0].seq)-\(.[-1].seq)"' "$file")"$'\r' "$file.head" || return 1
		grep -qix 'Content-Type: application/json'$'\r' "$file.head" || return 1
		[ "$(jq length "$file")" -le 100 ] || return 1
		count=$((count + 1))
	done
	[ $count -gt 0 ]
}
