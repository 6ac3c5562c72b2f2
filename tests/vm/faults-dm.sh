#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/vm/faults-dm.sh - tests/cases/crash.sh with device-mapper snapshots: the daemon dies at each point once
# needs: root dm kvm fuse netns faults
# timeout: 2400
# proves: 14 40 44 62 72
#
# Here everything takes ten times as long, so the other kinds and some verbs are left out. FAULTS_ALL=1 has all.
# shellcheck disable=SC2034 # the variables are read there
DAEMON_OPTIONS="${FAULTS_DM_OPTIONS:---accel kvm --storage dm}"
CRASH_LIMIT=300
if [ -z "${FAULTS_ALL:-}" ]; then
	: "${CRASH_KINDS:=die}"
	: "${CRASH_VERBS:=start destroy}"
fi
# shellcheck source=tests/cases/crash.sh
. "$TOP/tests/cases/crash.sh"
