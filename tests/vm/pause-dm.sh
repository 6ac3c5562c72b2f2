#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/vm/pause-dm.sh - the core of tests/cases/pause.sh with device-mapper snapshots, and under KVM
# needs: root dm kvm fuse
# timeout: 2400
# proves: 52 69 70 78
# shellcheck disable=SC2034 # the variables are read there
DAEMON_OPTIONS="--accel kvm --storage dm"
CYCLES=6
CORE=yes
# shellcheck source=tests/cases/pause.sh
. "$TOP/tests/cases/pause.sh"
