# SPDX-License-Identifier: GPL-2.0-or-later
# mk/warnings.mk - every warning that is wanted; what this compiler does not know is left out, so that a
# build works with any. WERROR=1 (CI and `make lint`) turns them into errors.

WANTED_WARNINGS := -Wall -Wextra -Wpedantic -Wformat=2 -Wformat-signedness -Wshadow -Wconversion -Wsign-conversion \
  -Wstrict-prototypes -Wmissing-prototypes -Wmissing-declarations -Wold-style-definition -Wnested-externs \
  -Wpointer-arith -Wcast-align=strict -Wcast-qual -Wwrite-strings -Wundef -Wvla -Wswitch-enum \
  -Wimplicit-fallthrough=5 -Wredundant-decls -Wfloat-equal -Wlogical-op -Wduplicated-cond -Wduplicated-branches \
  -Wjump-misses-init -Wnull-dereference -Wdate-time -Wdouble-promotion -Walloc-zero -Wstringop-overflow=4 \
  -Warray-bounds=2 -Wshift-overflow=2 -Woverride-init -Wsuggest-attribute=format -Wsuggest-attribute=noreturn

# Errors in every build: code with one of these is never what was meant.
ALWAYS_ERRORS := -Werror=implicit-function-declaration -Werror=incompatible-pointer-types -Werror=int-conversion \
  -Werror=return-type -Werror=format=2

# One compiler run asks for all; only when it refuses is each flag asked for by itself.
flag_ok = $(shell echo 'int x;' | $(CC) -Werror $(1) -x c -c -o /dev/null - >/dev/null 2>&1 && echo yes)
WARNINGS := $(if $(call flag_ok,$(WANTED_WARNINGS)),$(WANTED_WARNINGS),\
  $(foreach f,$(WANTED_WARNINGS),$(if $(call flag_ok,$(f)),$(f)))) $(ALWAYS_ERRORS)
