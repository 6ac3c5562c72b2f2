#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/cases/faults-rest.sh - the fault points that faults.sh leaves out: all of them are tried then
# needs: root fuse tcg faults slow
# timeout: 1800
# proves: 14 40 44 62 67 68
FAULTS_REST=1
# shellcheck source=tests/cases/faults.sh
. "$TOP/tests/cases/faults.sh"
