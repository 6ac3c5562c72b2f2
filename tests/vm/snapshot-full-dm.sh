#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/vm/snapshot-full-dm.sh - tests/cases/snapshot-full.sh with device-mapper snapshots, and under KVM
# needs: root dm kvm fuse
# timeout: 2400
# proves: 49 56 62 72
DAEMON_OPTIONS="--accel kvm --storage dm"
SNAPSHOT_SMALL=no # the small disk there is one in memory, which this store is not for
# shellcheck source=tests/cases/snapshot-full.sh
. "$TOP/tests/cases/snapshot-full.sh"
