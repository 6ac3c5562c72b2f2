#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/vm/pool-dm.sh - tests/cases/pool.sh with device-mapper snapshots, and under KVM
# needs: root dm kvm fuse netns
# timeout: 1500
# proves: 10 63 78
# shellcheck disable=SC2034 # the variables are read there
DAEMON_OPTIONS="--accel kvm --storage dm"
LIMIT=400
# shellcheck source=tests/cases/pool.sh
. "$TOP/tests/cases/pool.sh"
