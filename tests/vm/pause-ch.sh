#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/vm/pause-ch.sh - the core of tests/cases/pause.sh in the real cloud-hypervisor
# needs: root dm kvm fuse ch
# timeout: 2400
# proves: 52 69 70 78 81
# shellcheck disable=SC2034 # the variables are read there
DAEMON_OPTIONS="--accel kvm --vmm cloud-hypervisor --storage dm"
CYCLES=10
CORE=yes
# shellcheck source=tests/cases/pause.sh
. "$TOP/tests/cases/pause.sh"
