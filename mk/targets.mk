# SPDX-License-Identifier: GPL-2.0-or-later
# mk/targets.mk - everything but compiling: tests, lint, demo, install.
