#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/vm/snapshot-full-ch.sh - tests/cases/snapshot-full.sh in the real cloud-hypervisor
# needs: root dm kvm fuse ch
# timeout: 2400
# proves: 49 56 62 72 81
DAEMON_OPTIONS="--accel kvm --vmm cloud-hypervisor --storage dm"
SNAPSHOT_SMALL=no # the small disk there is one in memory, which this store is not for
# shellcheck source=tests/cases/snapshot-full.sh
. "$TOP/tests/cases/snapshot-full.sh"
