# SPDX-License-Identifier: GPL-2.0-or-later
#
# make            the module for the installed kernel headers, and all of userspace
# make demo       installs what it needs, builds, replicates a disk in use: see README.md
# make check      installs what it needs, builds, runs all tests; check-unit, check-kmod,
#                 check-guest, check-e2e, check-model and check-meta run one group (selftests/run)
# make bench-tracker  measures what tracking costs, in a guest (tools/bench-tracker --help)
# make check-kernels   the kernel tests on Debian's 6.1, 6.12 and newest backport (7.3)
# make check-arm64     compiles the module for arm64, without a warning
# make lint       installs what it needs, runs the static checks
# make install    what was built, DESTDIR and PREFIX as usual; or `make install-dkms` for the
#                 module and `make install-programs`; uninstall
# make bench      installs what it needs, builds, measures passes beside other programs
# make help       all targets

BUILD   ?= build
PREFIX  ?= /usr
DESTDIR ?=
KERNEL  ?= $(notdir $(lastword $(sort $(wildcard /usr/src/linux-headers-*-$(shell dpkg --print-architecture)))))
KRELEASE = $(KERNEL:linux-headers-%=%)
KDIR    ?= /lib/modules/$(KRELEASE)/build

CC      ?= gcc
CFLAGS  ?= -O2 -g
WARN     = -Wall -Wextra -Werror -Wmissing-prototypes -Wshadow -Wpointer-arith -Wvla \
	   -Wno-unused-parameter -Wformat=2 -Wimplicit-fallthrough -Wstrict-prototypes
HARDEN   = -fstack-protector-strong -D_FORTIFY_SOURCE=2 -fPIE
CPPFLAGS_ALL = -D_GNU_SOURCE -Iinclude/uapi -I. $(CPPFLAGS)
PKGS     = libnl-3.0 libnl-genl-3.0 liburing liblz4 libxxhash libsystemd json-c uuid
PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
PKG_LIBS   := $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lpthread

# One list a folder; main.c of service and cli are the programs.
FOLDERS  = common ring wire store libblkcbt primary replica service cli bench
SOURCES := $(foreach f,$(FOLDERS),$(wildcard userspace/$f/*.c))
MAINS    = userspace/service/main.c userspace/cli/main.c
PARTS   := $(filter-out $(MAINS) userspace/cli/% userspace/service/% userspace/bench/%,$(SOURCES))
OBJ      = $(patsubst %.c,$(BUILD)/%.o,$1)

SERVICE_SOURCES := $(filter userspace/service/%,$(SOURCES))
CLI_SOURCES     := $(filter userspace/cli/%,$(SOURCES))
BENCH_SOURCES   := $(filter userspace/bench/%,$(SOURCES))
UNIT_TESTS      := $(patsubst selftests/unit/%.c,$(BUILD)/unit/%,$(wildcard selftests/unit/test-*.c))
PROGRAMS        := $(if $(SERVICE_SOURCES),$(BUILD)/vmreplicad) $(if $(CLI_SOURCES),$(BUILD)/vmreplica)
LIB_OBJS        := $(call OBJ,$(filter userspace/libblkcbt/%,$(SOURCES)))

.PHONY: all module userspace unit deps-build demo check lint clean help
all: module userspace

module: deps-build
	tools/kernel --build-installed

userspace: deps-build
	$(MAKE) --no-print-directory programs

deps-build:
	@tools/install-deps build

.PHONY: programs
programs: $(PROGRAMS) $(if $(LIB_OBJS),$(BUILD)/libblkcbt.so.0)

# The parts as one archive: a test or program takes from it what it uses. "q", as "r" would
# let a file replace one of the same name in another folder.
$(BUILD)/libparts.a: $(call OBJ,$(PARTS))
	@rm -f $@
	ar qcs $@ $^

$(BUILD)/vmreplicad: $(call OBJ,$(SERVICE_SOURCES)) $(BUILD)/libparts.a
	$(CC) $(CFLAGS) $(SAN) -pie -o $@ $(call OBJ,$(SERVICE_SOURCES)) $(BUILD)/libparts.a $(PKG_LIBS)

$(BUILD)/vmreplica: $(call OBJ,$(CLI_SOURCES)) $(BUILD)/libparts.a
	$(CC) $(CFLAGS) $(SAN) -pie -o $@ $(call OBJ,$(CLI_SOURCES)) $(BUILD)/libparts.a $(PKG_LIBS)

$(BUILD)/vmreplica-bench: $(call OBJ,$(BENCH_SOURCES)) $(BUILD)/libparts.a
	$(CC) $(CFLAGS) $(SAN) -pie -o $@ $(call OBJ,$(BENCH_SOURCES)) $(BUILD)/libparts.a $(PKG_LIBS)

$(BUILD)/libblkcbt.so.0: $(LIB_OBJS:.o=.pic.o) userspace/libblkcbt/blkcbt.map
	$(CC) $(CFLAGS) -shared -Wl,-soname,libblkcbt.so.0 -Wl,--version-script=userspace/libblkcbt/blkcbt.map \
		-o $@ $(LIB_OBJS:.o=.pic.o) $(shell pkg-config --libs libnl-3.0 libnl-genl-3.0)

$(BUILD)/%.pic.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS_ALL) $(PKG_CFLAGS) $(CFLAGS) $(WARN) -fPIC -MMD -MP -c -o $@ $<

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS_ALL) $(PKG_CFLAGS) $(CFLAGS) $(WARN) $(HARDEN) $(SAN) -MMD -MP -c -o $@ $<

# Unit tests run with sanitizers: built apart, in $(BUILD)/san.
unit:
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/san SAN="-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer" \
		HARDEN= unit-programs

.PHONY: unit-programs
unit-programs: $(UNIT_TESTS)

# Pure parts of the module, over stand-ins for the kernel's headers.
$(BUILD)/selftests/unit/test-bitmap.o: CPPFLAGS += -Iselftests/unit/shim

# Programs that test the module in guests, with the harness of the kernel's own tests.
RIG         = $(call OBJ,$(wildcard selftests/kmod/rig*.c))
KMOD_TESTS := $(patsubst %.c,$(BUILD)/%,$(filter-out selftests/kmod/rig%,$(wildcard selftests/kmod/*.c)))
KSELFTEST   = $(BUILD)/kselftest/kselftest_harness.h

.PHONY: kmod-tests
kmod-tests: $(KMOD_TESTS)

$(KSELFTEST):
	@mkdir -p $(@D)
	tar -xJf $(lastword $(sort $(wildcard /usr/src/linux-source-*.tar.xz))) -C $(@D) --strip-components=4 \
		--wildcards --occurrence=1 '*/tools/testing/selftests/kselftest.h' \
		'*/tools/testing/selftests/kselftest_harness.h'
	@touch $@

$(BUILD)/selftests/kmod/%.o: CPPFLAGS += -isystem $(BUILD)/kselftest
# What the harness makes has no prototypes, and compares what it is given.
$(BUILD)/selftests/kmod/%.o: WARN += -Wno-missing-prototypes -Wno-sign-compare
$(KMOD_TESTS:=.o): | $(KSELFTEST)

$(KMOD_TESTS): %: %.o $(RIG) $(BUILD)/libparts.a
	$(CC) $(CFLAGS) -pie -o $@ $< $(RIG) $(BUILD)/libparts.a $(PKG_LIBS)

# Tests: one runner, whose last line is "N passed, N failed".
CHECKS = unit kmod guest e2e model meta
.PHONY: $(CHECKS:%=check-%) check-build
check-build: deps-build
	@tools/install-deps guest test lint
	@$(MAKE) --no-print-directory programs unit kmod-tests

# Kernels are fetched before the tests, whose limits that would not keep; lint needs the newest.
check: check-build
	@tools/kernel 7.3 >/dev/null
	@selftests/run all

.PHONY: check-kernels check-arm64
check-kernels: check-build
	@tools/kernel 6.12 >/dev/null && tools/kernel 7.3 >/dev/null
	@selftests/run --kernel 6.1 --kernel 6.12 --kernel 7.3 kmod

check-arm64:
	@tools/kernel --check-module arm64
	@echo "the module compiles for arm64 without a warning"

$(CHECKS:%=check-%): check-%: check-build
	@selftests/run $*

$(BUILD)/unit/%: $(BUILD)/selftests/unit/%.o $(BUILD)/libparts.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(SAN) -o $@ $< $(BUILD)/libparts.a $(PKG_LIBS)

# What tracking costs, measured in a guest.
BENCH_TRACKER = $(addprefix $(BUILD)/bench-tracker/,load tracker snapshot)
.PHONY: bench-tracker bench-tracker-programs
bench-tracker-programs: $(BENCH_TRACKER)
$(BENCH_TRACKER): $(BUILD)/bench-tracker/%: $(BUILD)/tools/bench-tracker.d/%.o $(BUILD)/libparts.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -pie -o $@ $< $(BUILD)/libparts.a $(PKG_LIBS)

bench-tracker: deps-build
	@tools/install-deps guest test
	@$(MAKE) --no-print-directory bench-tracker-programs
	@tools/bench-tracker --json $(BUILD)/bench-tracker.json

# The main job, for real and in view.
demo: all
	@tools/install-deps guest demo
	@tools/demo

# How fast passes are, beside other programs: ARGS are those of tools/bench.
.PHONY: bench
bench: deps-build
	@tools/install-deps bench
	@$(MAKE) --no-print-directory $(BUILD)/vmreplica-bench
	@tools/bench $(ARGS)

# Static checks: one runner, whose last line is "lint: N passed, N failed".
lint: deps-build
	@tools/install-deps lint
	@$(MAKE) --no-print-directory programs
	@tools/lint

include tools/install.mk

clean:
	rm -rf $(BUILD)/userspace $(BUILD)/selftests $(BUILD)/unit $(BUILD)/san $(BUILD)/kmod $(BUILD)/kmod-debug \
		$(BUILD)/vmreplica* $(BUILD)/lib*

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

-include $(shell find $(BUILD) -type f -name '*.d' -not -path '*/kernels/*' -not -path '*/trixie/*' 2>/dev/null)
