#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/vm/vm-save-kvm.sh - the first part of tests/cases/vm-save.sh under KVM
# needs: root kvm
# timeout: 1500
# proves: 52 69 70 72
ACCEL=kvm
SAVE_CORE=yes
# shellcheck source=tests/cases/vm-save.sh
. "$TOP/tests/cases/vm-save.sh"
