# SPDX-License-Identifier: GPL-2.0-or-later
# Makefile - the whole build. `make help` lists the targets; HACKING.md is the map.

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

VERSION := 0.1.0
B       ?= build
CC      := $(if $(filter default,$(origin CC)),gcc,$(CC))
prefix  ?= /usr/local
DESTDIR ?=

PKGS       := fuse3 devmapper libnl-3.0 libnl-route-3.0 libnftables libcurl json-c libgcrypt libarchive libsystemd
AGENT_LIBS := -Wl,-Bstatic -levent_extra -levent_core -ljson-c

# What apt has to bring: for the build, for running, for the tests and for lint.
DEB_BUILD := gcc make pkg-config libc6-dev libfuse3-dev libdevmapper-dev libnl-3-dev libnl-route-3-dev \
             libnftables-dev libcurl4-openssl-dev libjson-c-dev libevent-dev libsystemd-dev libgcrypt20-dev \
             libarchive-dev libcmocka-dev
DEB_RUN   := fuse3 qemu-system-x86 busybox-static cpio kmod lz4 xz-utils zstd e2fsprogs ca-certificates
DEB_TEST  := systemd perl jq socat openssl umoci iproute2 nftables procps qemu-utils strace dmsetup
DEB_LINT  := clang clang-tidy clang-format clang-tools cppcheck shellcheck mandoc codespell

# ---- settings ----------------------------------------------------------------------------------------

include mk/warnings.mk

CPPFLAGS += -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -DFUSE_USE_VERSION=314 -DSBXFS_VERSION='"$(VERSION)"' -I. \
            $(if $(FAULTS),-DSBXFS_FAULTS)
OPT      ?= -O2 -D_FORTIFY_SOURCE=2
CFLAGS   += -std=gnu11 $(OPT) -g -fno-common -fno-strict-aliasing -fstack-protector-strong \
            -fstack-clash-protection -pthread $(WARNINGS) $(if $(WERROR),-Werror) \
            $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer)
LDFLAGS  += -pthread $(if $(SAN),-fsanitize=$(SAN))
PIE      := -fPIE
PIE_LD   := -pie -Wl,-z,relro,-z,now,--as-needed

PKG_CFLAGS = $(shell pkg-config --cflags $(PKGS) | sed 's/-I/-isystem /g')
PKG_LIBS   = $(shell pkg-config --libs $(PKGS))

# Say what is made rather than how; V=1 shows the commands.
Q := $(if $(V),,@)
say = $(if $(V),,@echo '  $(1) $@')

# ---- what is built -----------------------------------------------------------------------------------

DAEMON_DIRS := base vm storage net guest ops fs
DAEMON_SRC  := $(foreach d,$(DAEMON_DIRS),$(wildcard $(d)/*.c))
LIB_OBJ     := $(patsubst %.c,$(B)/%.o,$(filter-out fs/main.c,$(DAEMON_SRC)))
AGENT_SRC   := $(wildcard agent/*.c) $(addprefix base/,base64.c buf.c err.c json.c parse.c)
AGENT_OBJ   := $(patsubst %.c,$(B)/agent-obj/%.o,$(AGENT_SRC))
UNIT_SRC    := $(wildcard tests/unit/test-*.c)
UNIT_BIN    := $(patsubst tests/unit/%.c,$(B)/unit/%,$(UNIT_SRC))
HELPER_SRC  := $(wildcard tests/*/helper-*.c)
HELPER_BIN  := $(patsubst tests/%.c,$(B)/tests/%,$(HELPER_SRC))

all: $(B)/sbxfs $(B)/sbxfs-agent

$(B)/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(CPPFLAGS) $(PKG_CFLAGS) $(CFLAGS) $(PIE) -MMD -MP -c -o $@ $<

$(B)/libsbxfs.a: $(LIB_OBJ)
	$(Q)rm -f $@
	$(call say,AR)
	$(Q)ar rcsP $@ $^

$(B)/sbxfs: $(B)/fs/main.o $(B)/libsbxfs.a
	$(call say,LD)
	$(Q)$(CC) $(LDFLAGS) $(PIE_LD) -o $@ $^ $(PKG_LIBS)

# The agent is static and small: it runs in any guest, whatever that has.
$(B)/agent-obj/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(CPPFLAGS) $(filter-out -fsanitize%,$(CFLAGS)) -MMD -MP -c -o $@ $<

$(B)/sbxfs-agent: $(AGENT_OBJ)
	$(call say,LD)
	$(Q)$(CC) $(filter-out -fsanitize%,$(LDFLAGS)) -static -s -Wl,--gc-sections -o $@ $^ $(AGENT_LIBS)

$(B)/unit/%: $(B)/tests/unit/%.o $(B)/libsbxfs.a
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) $(LDFLAGS) $(PIE_LD) -o $@ $^ $(PKG_LIBS) -lcmocka

$(B)/tests/%: $(B)/tests/%.o $(B)/libsbxfs.a
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) $(LDFLAGS) $(PIE_LD) -o $@ $^ $(PKG_LIBS)

-include $(wildcard $(B)/*/*.d $(B)/*/*/*.d $(B)/*/*/*/*.d)

include mk/targets.mk

.PHONY: all
