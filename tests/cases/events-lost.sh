#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/cases/events-lost.sh - a control plane that nothing reaches any more has all guests paused
# needs: fuse tcg
# timeout: 400
# proves: 80
set -u
# shellcheck source=tests/tap.sh
. "$TOP/tests/tap.sh"
# shellcheck source=tests/sbx.sh
. "$TOP/tests/sbx.sh"
# shellcheck source=tests/events.sh
. "$TOP/tests/events.sh"

lost() { # how often it was said
	events . | grep -c '"event":"control-plane-lost","action":"pause-all"'
}

receiver_up
webhook_config webhook_lost=3 webhook_on_lost=pause-all
daemon a
ok "a template" import default
ok "a guest" host "create web1 memory_mb=96 start"
is "runs" "$(state web1)" running
is "nothing was lost" "$(lost)" 0
receiver_down
ok "an event that nobody takes" mkdir "$M/web2"
ok "it counts as lost" wait_for 120 told_now . '"event":"control-plane-lost","action":"pause-all"'
ok "the guest is paused" wait_for 120 in_state web1 paused
ok "it is resumed" host "resume web1"
is "once: it runs on" "$(state web1)" running
is "and it is not said again" "$(lost)" 1
receiver_up
ok "back" wait_for 180 told_now . '"event":"control-plane-back"'
is "the guest runs" "$(state web1)" running
receiver_down
ok "another event that nobody takes" mkdir "$M/web3"
ok "the guest is paused again" wait_for 180 in_state web1 paused
is "that is said too" "$(lost)" 2
receiver_up
ok "what happened is delivered" wait_for 180 grep -q '"event":"control-plane-back"' -r web
ok "signed" signed_all
ok "with what was lost" eval 'delivered | grep -q control-plane-lost'
finish
