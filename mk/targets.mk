# SPDX-License-Identifier: GPL-2.0-or-later
# mk/targets.mk - everything but compiling: tests, lint, demo, install.
#
# A target with `## text` behind it is shown by `make help` and has to be in HACKING.md (check-docs).

# What libFuzzer links with; clang only recommends it.
DEB_FUZZ := clang libclang-rt-14-dev

JOBS ?= $(shell nproc)
SUB   = +@$(MAKE) --no-print-directory

# The tests look at B; a build with fault points stands beside it for the cases that need one.
RUN_ENV = B='$(B)' FAULTS_B='$(B)-faults'

deps: ## install the Debian packages that build, tests and lint need
	@mk/deps $(DEB_BUILD) $(DEB_RUN) $(DEB_TEST) $(DEB_LINT)

help: ## this list
	@echo 'make          build $(B)/sbxfs and $(B)/sbxfs-agent'
	@awk '/^[a-z-]+:.*## / { name = $$0; sub(/:.*/, "", name); sub(/.*## /, ""); printf "make %-13s%s\n", name, $$0 }' \
	  mk/targets.mk
	@echo 'Variables: B=build folder, WERROR=1, SAN=address,undefined, FAULTS=1, V=1 (tests: every line), FUZZ_SECONDS=60'

# ---- tests -------------------------------------------------------------------------------------------

# All that the tests run. The second build only where there is a daemon to build.
tests-built: $(UNIT_BIN) $(HELPER_BIN) $(if $(wildcard fs/main.c),all) $(if $(wildcard agent/main.c),$(B)/sbxfs-agent)
faults-built:
	$(if $(wildcard fs/main.c),$(SUB) -j$(JOBS) B=$(B)-faults FAULTS=1 $(B)-faults/sbxfs)

test: tests-built ## unit tests and the cases that need no root: under a minute
	@$(RUN_ENV) tests/run test

check-host: tests-built faults-built ## the cases that need root on this machine
	@$(RUN_ENV) tests/run host

# What its guests boot from is made here, where there may be a network and no emulation.
template-built: tests-built
	@$(RUN_ENV) TOP='$(CURDIR)' bash -c '. tests/tap.sh; . tests/sbx.sh; template_dir' >/dev/null

check-vm: tests-built faults-built template-built ## the cases that need device-mapper or KVM, on a test host
	@$(RUN_ENV) tests/host/cases

# Hours of it: what check tries once is tried wherever it is passed, with either store. FAULTS_ONLY: some of it, see tests/cases/faults.sh.
FAULTS_CASES := faults faults-clone faults-pause faults-snapshot crash
faults-all: tests-built faults-built template-built ## at every pass of every fault point: die, fail, hang; prints the count
	@FAULTS_ALL=1 V=1 $(RUN_ENV) tests/run host $(FAULTS_CASES) >$(B)/faults-all.log 2>&1; status=$$?; \
	  FAULTS_ALL=1 V=1 HOST_TIMEOUT=86400 $(RUN_ENV) tests/host/cases faults-dm >>$(B)/faults-all.log 2>&1 || status=1; \
	  grep -aE '^not ok' $(B)/faults-all.log; \
	  echo "faults-all: $$(grep -acE '^ok' $(B)/faults-all.log) passed, $$(grep -acE '^not ok' $(B)/faults-all.log) failed: $(B)/faults-all.log"; \
	  exit $$status
.PHONY: faults-all

# What is cheap and fails fast comes first. Both groups of cases share the processors (tests/slot); the one goes on when
# the other has failed, so that a run tells all.
check: ## all of it: deps, build, lint, test, check-host, check-vm (as root)
	@mk/report $(MAKE) --no-print-directory check-steps

check-steps:
	$(SUB) deps
	$(SUB) -j$(JOBS) all
	$(SUB) -j$(JOBS) tests-built
	$(SUB) lint
	$(SUB) test
	$(SUB) faults-built template-built
	$(SUB) -k -j2 check-host check-vm

soak: tests-built template-built ## SOAK_MINUTES (60) of random commands to a daemon that is killed again and again (as root)
	@$(RUN_ENV) tests/soak

bench: all $(filter $(B)/tests/bench/%,$(HELPER_BIN)) ## measure, and compare with the limits
	@$(RUN_ENV) tests/bench/run

demo: ## a sandbox from the first command to the last, explained (KEEP=1: leave it mounted)
	@mk/deps $(DEB_BUILD) $(DEB_RUN)
	@echo 'Building $(B)/sbxfs and $(B)/sbxfs-agent.'
	$(SUB) -s -j$(JOBS) all
	@$(RUN_ENV) tools/demo

# ---- lint --------------------------------------------------------------------------------------------

# Tests are formatted and warned about like the rest, but only the program is analysed.
LINT_SRC    := $(DAEMON_SRC) $(wildcard agent/*.c)
ALL_C       := $(wildcard */*.c */*.h tests/*/*.c tests/*/*.h)
ALL_SCRIPTS  = $(shell grep -lE '^\#!.*\b(sh|bash)\b|^\# shellcheck shell=' .ci/* mk/* tests/* tests/*/* tools/* 2>/dev/null)
MAN_PAGES   := $(wildcard man/*.[1-8])
TEXTS       := $(wildcard *.md man/* systemd/* docs/* mk/* tools/* tests/*/*.sh) $(ALL_C)

lint: ## every check of the source below, and the build without a warning
	$(SUB) -k -j1 lint-steps

lint-steps: warnings layers format-check shellcheck manlint codespell check-docs cppcheck tidy

warnings: ## compile with every warning as an error
	@mk/timed $@ $(MAKE) -k -j$(JOBS) --no-print-directory -s B=$(B)-lint WERROR=1 lint-objects

lint-objects: $(patsubst %.c,$(B)/%.o,$(DAEMON_SRC) $(UNIT_SRC) $(HELPER_SRC)) $(AGENT_OBJ)

# A stamp for each file, so that only what has changed is looked at again. The headers count for all.
TIDY := $(patsubst %.c,$(B)-lint/tidy/%.ok,$(LINT_SRC))
$(B)-lint/tidy/%.ok: %.c .clang-tidy $(wildcard */*.h)
	@mkdir -p $(@D)
	@clang-tidy --quiet $< -- $(CPPFLAGS) $(PKG_CFLAGS) -std=gnu11 >$@.log 2>&1 || { grep -v ' warnings generated' $@.log; exit 1; }
	@mv $@.log $@

tidy-files: $(TIDY)

tidy: ## clang-tidy with the settings of .clang-tidy
	@mk/timed $@ $(MAKE) -k -j$(JOBS) -O --no-print-directory -s tidy-files

# Checked with one set of defines, as it is built. The level is named where the version knows it. Leaks are
# looked for by `make asan`: cppcheck does not know __attribute__((cleanup)) behind a macro. ctuuninitvar takes a
# struct handed over to be filled for one that is read. readdir() is safe on a stream of one's own.
# Variables stand at the top of a function, as in the kernel. It cannot parse __typeof__.
CPPCHECK_LEVEL = $(shell cppcheck --help | grep -q check-level && echo --check-level=exhaustive)
cppcheck: ## cppcheck with all it has
	@mkdir -p $(B)-lint/cppcheck
	@mk/timed $@ cppcheck -q -j$(JOBS) --cppcheck-build-dir=$(B)-lint/cppcheck --std=c11 \
	  --enable=warning,style,performance,portability --inconclusive --library=posix --inline-suppr \
	  --error-exitcode=1 $(CPPCHECK_LEVEL) --suppress=missingIncludeSystem --suppress=unusedStructMember \
	  --suppress=memleak --suppress=resourceLeak --suppress=ctuuninitvar --suppress=readdirCalled \
	  --suppress=variableScope --suppress=clarifyCalculation '-D__typeof__(x)=void *' \
	  -D_GNU_SOURCE -I. $(LINT_SRC)

format-check: ## is everything formatted by clang-format?
	@mk/timed $@ clang-format --dry-run -Werror $(ALL_C)

format: ## format the C files in place
	clang-format -i $(ALL_C)

layers: ## who may include whom: the arrows of HACKING.md
	@mk/timed $@ awk -f mk/layers.awk $(ALL_C)

check-docs: $(if $(wildcard fs/main.c),$(B)/sbxfs) ## the manual against the program's own tables
	@mk/timed $@ mk/check-docs $(B)

# SC2016, SC2012: commands for other shells stand in single quotes; names here are our own. SC2317: what a case hands to ok() or at_end() by name is taken for unreachable.
shellcheck: ## every shell script
	@mk/timed $@ shellcheck -x -e SC2317,SC2016,SC2012 $(ALL_SCRIPTS)

manlint: ## every man page
	@$(if $(MAN_PAGES),mk/timed $@ mandoc -Tlint -Wwarning $(MAN_PAGES))

# ser: QEMU's name for a serial device; nd: a macro of mdoc.
codespell: ## spelling
	@mk/timed $@ codespell -L ser,nd,fo $(TEXTS)

# ---- deeper checks -----------------------------------------------------------------------------------

# The agent is linked statically, which no sanitizer can be: it is built without. The leak check needs
# ptrace, which a case's own sandboxing of the daemon may take away; it says so itself then.
SAN_ENV = ASAN_OPTIONS=strict_string_checks=1:detect_stack_use_after_return=1 \
          UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1
define sanitized # FOLDER, SANITIZERS, WRAPPER
	$(if $(wildcard agent/main.c),$(SUB) -j$(JOBS) B=$(1) $(1)/sbxfs-agent)
	$(SUB) -j$(JOBS) B=$(1) SAN=$(2) OPT=-O1 tests-built
	@$(SAN_ENV) B='$(1)' $(3) tests/run test
endef

asan: ## unit tests and no-root cases under the address and undefined behaviour sanitizers
	$(call sanitized,build-asan,address$(comma)undefined)

# Without randomised addresses: TSan's shadow memory needs theirs, and newer kernels spread them too far.
tsan: ## the same under the thread sanitizer
	$(call sanitized,build-tsan,thread,setarch -R)

comma := ,

analyze: ## gcc -fanalyzer and clang's static analyser
	@mk/timed gcc-analyzer $(MAKE) -k -j$(JOBS) --no-print-directory -s B=build-analyze WERROR=1 OPT='-O2 -fanalyzer' \
	  lint-objects
	@mk/timed scan-build scan-build --status-bugs -maxloop 10 -o build-scan $(MAKE) -j$(JOBS) --no-print-directory -s \
	  B=build-scan/obj lint-objects

FUZZ_SECONDS ?= 60
FUZZ_BIN := $(patsubst tests/fuzz/%.c,build-fuzz/%,$(wildcard tests/fuzz/fuzz-*.c))
FUZZ_SAN := address,undefined,fuzzer-no-link
build-fuzz/fuzz-%: tests/fuzz/fuzz-%.c FORCE
	$(SUB) -j$(JOBS) B=build-fuzz CC=clang SAN=$(FUZZ_SAN) OPT=-O1 build-fuzz/libsbxfs.a
	clang $(CPPFLAGS) $(PKG_CFLAGS) -std=gnu11 -g -O1 -fsanitize=address,undefined,fuzzer -o $@ $< build-fuzz/libsbxfs.a $(PKG_LIBS)

fuzz-bins: $(FUZZ_BIN)

fuzz: ## every parser with libFuzzer, FUZZ_SECONDS each; a crash is left in build-fuzz
	@mk/deps $(DEB_FUZZ)
	$(SUB) fuzz-bins
	@for bin in $(FUZZ_BIN); do \
	  name=$$(basename $$bin); mkdir -p build-fuzz/corpus/$$name; seeds=tests/fuzz/$${name#fuzz-}; \
	  [ -d $$seeds ] || seeds=; dict=; [ ! -f tests/fuzz/$$name.dict ] || dict=-dict=tests/fuzz/$$name.dict; \
	  mk/timed $$name $$bin -max_total_time=$(FUZZ_SECONDS) -max_len=8192 -timeout=10 -artifact_prefix=build-fuzz/$$name- \
	    $$dict build-fuzz/corpus/$$name $$seeds || exit 1; \
	done

cover: ## which lines the unit tests and no-root cases reach, by file
	$(SUB) -j$(JOBS) B=build-cover OPT='-O0 --coverage' LDFLAGS='-pthread --coverage' tests-built
	@find build-cover -name '*.gcda' -delete
	@B=build-cover tests/run test
	@for object in $$(cd build-cover && ls $(patsubst %.c,%.gcda,$(DAEMON_SRC)) 2>/dev/null); do \
	  gcov -n -o build-cover/$$(dirname $$object) build-cover/$$object 2>/dev/null; done | \
	  awk -F "'" '/^File/ { file = $$2 } /^Lines executed/ && file ~ /^[a-z]+\/[a-z0-9-]+[.]c$$/ { sub(/Lines executed:/, ""); \
	    print file, $$0; file = "" }' | sort -u | awk '{ split($$2, p, "%"); n = $$NF; all += n; hit += n * p[1] / 100; \
	    printf "%-28s %6s%% of %s\n", $$1, p[1], n } END { if (all) printf "%-28s %6.2f%% of %d\n", "all", 100 * hit / all, all }'

# ---- install -----------------------------------------------------------------------------------------

sbindir    ?= $(prefix)/sbin
bindir     ?= $(prefix)/bin
libexecdir ?= $(prefix)/libexec/sbxfs
mandir     ?= $(prefix)/share/man
sysconfdir ?= /etc
unitdir    ?= $(prefix)/lib/systemd/system
UNITS      := $(wildcard systemd/*.service)
TOOLS      := $(wildcard tools/sbx-*)
TOOL_PARTS := $(wildcard tools/*.sh)

install: all ## to DESTDIR and prefix (/usr/local)
	install -D -m 755 $(B)/sbxfs $(DESTDIR)$(sbindir)/sbxfs
	install -D -m 755 $(B)/sbxfs-agent $(DESTDIR)$(libexecdir)/sbxfs-agent
	$(if $(TOOLS),install -D -m 755 -t $(DESTDIR)$(bindir) $(TOOLS))
	$(if $(TOOL_PARTS),install -D -m 644 -t $(DESTDIR)$(libexecdir) $(TOOL_PARTS))
	$(foreach page,$(MAN_PAGES),install -D -m 644 -t $(DESTDIR)$(mandir)/man$(lastword $(subst ., ,$(page))) $(page);)
	install -D -m 644 -t $(DESTDIR)$(unitdir) $(UNITS)
	sed -i 's|/usr/local/sbin/|$(sbindir)/|' $(addprefix $(DESTDIR)$(unitdir)/,$(notdir $(UNITS)))
	[ -e $(DESTDIR)$(sysconfdir)/sbxfs.conf ] || install -D -m 644 -t $(DESTDIR)$(sysconfdir) systemd/sbxfs.conf

# A configuration that somebody has changed stays.
uninstall: ## remove what install has put there
	rm -f $(DESTDIR)$(sbindir)/sbxfs $(addprefix $(DESTDIR)$(bindir)/,$(notdir $(TOOLS))) \
	  $(foreach page,$(MAN_PAGES),$(DESTDIR)$(mandir)/man$(lastword $(subst ., ,$(page)))/$(notdir $(page)))
	rm -f $(addprefix $(DESTDIR)$(unitdir)/,$(notdir $(UNITS)))
	rm -rf $(DESTDIR)$(libexecdir)
	! cmp -s systemd/sbxfs.conf $(DESTDIR)$(sysconfdir)/sbxfs.conf || rm $(DESTDIR)$(sysconfdir)/sbxfs.conf

clean: ## remove every build folder
	rm -rf build $(B) build-asan build-tsan build-analyze build-scan build-fuzz build-cover $(B)-lint $(B)-faults

FORCE:
.PHONY: FORCE deps help tests-built faults-built template-built test check-host check-vm check check-steps soak bench demo lint lint-steps warnings \
  lint-objects tidy tidy-files cppcheck format-check format layers check-docs shellcheck manlint codespell asan tsan \
  analyze fuzz fuzz-bins cover install uninstall clean
