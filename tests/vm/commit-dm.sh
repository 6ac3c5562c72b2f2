#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/vm/commit-dm.sh - a template from a sandbox's disk whose store is device-mapper's
# needs: root dm kvm fuse
# timeout: 1500
# proves: 56 65 72 73
set -u
export DAEMON_OPTIONS="--accel auto --storage dm" COMMIT_PLAIN=1 START="start timeout=280"
exec bash "$TOP/tests/cases/commit.sh"
