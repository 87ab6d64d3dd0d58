# SPDX-License-Identifier: GPL-2.0
#
# Everything that is built lies in build/; what is fetched, once for all
# clones, in a cache outside the tree (tools/setup/get cache names it).

MAKEFLAGS += --no-print-directory
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := all

BUILD := $(CURDIR)/build
GET := $(CURDIR)/tools/setup/get
PREFIX ?= /usr/local

# The path of a set-up step's result, made if it lacks; asked for once, and
# only by a recipe that uses it.
result = $(eval $(1) := $(or $(shell $(GET) $(2)),$(error \
	the set-up step '$(2)' failed; see above)))$($(1))
KERNEL = $(call result,KERNEL,kernel)
LIBBPF = $(call result,LIBBPF,libbpf)

# The kernel to build modules for: the guest's, unless the caller names one.
KDIR ?= $(firstword $(wildcard $(KERNEL)/usr/src/linux-headers-*-amd64))
RELEASE = $(or $(file < $(abspath $(KDIR))/include/config/kernel.release),$(error \
	KDIR=$(KDIR) is no built kernel: it has no include/config/kernel.release))
KMOD = $(BUILD)/kmod/$(RELEASE)
# Distilled base BTF, which newer paholes make for modules, renumbers the
# kernel's types; a module that lists them by id must not have it.
# nvme_csd includes a private header of the NVMe driver, which no package has: of
# the running kernel's own source, because its layout is that kernel's.
NVME_HOST ?= $(firstword $(wildcard $(abspath $(KDIR))/source/drivers/nvme/host) \
	$(KERNEL)/source/drivers/nvme/host)
KBUILD_MAKE = $(MAKE) -C $(abspath $(KDIR)) M=$(KMOD) W=1 MODULE_PAHOLE_FLAGS= \
	NVME_HOST=$(NVME_HOST)

.PHONY: all help setup packages qemu qemu-asan modules modules-p2p \
	modules-debug tools samples test-programs check check-debug demo \
	demo-drive bench bench-compare bench-engine conformance fuzz install \
	clean distclean cache-clean

## all: the modules, the tools and the samples (the default)
all: modules tools samples

## help: this list
help:
	@echo 'Targets:'
	@sed -n 's/^## \([^:]*\): /\1\t/p' $(MAKEFILE_LIST) | \
		while IFS=$$'\t' read -r name text; do \
			printf '  %-12s %s\n' "$$name" "$$text"; \
		done
	@echo 'Variables: BASE, KDIR, PREFIX, DESTDIR, JOBS; BLKBPF_CACHE is the' \
		'folder for what is fetched'

## setup: fetch or build all that the other targets need, and nothing twice
setup: packages
	@$(GET) kernel libbpf bpftool qemu guest >/dev/null

packages:
	@$(GET) packages

## qemu: QEMU with the computational drive, a device called nvme-csd
qemu:
	@$(GET) qemu

## qemu-asan: the same with the address and undefined behaviour sanitizers
qemu-asan:
	@$(GET) qemu-asan

## modules: the kernel modules; KDIR=… for another kernel than the guest's
# Built in a mirror of the sources, so that the tree stays clean and several
# kernels' objects do not mix. Those with debug information stay there.
modules: packages
	@mkdir -p $(KMOD) $(BUILD)/modules/$(RELEASE)
	@rsync -rc --delete --prune-empty-dirs --include='*/' --include='*.[ch]' \
		--include=Kbuild --include=Kconfig --exclude='*' \
		Kbuild Kconfig drivers include $(KMOD)/
	@$(KBUILD_MAKE) modules
	@for module in $$(sed 's/\.o$$/.ko/' $(KMOD)/modules.order); do \
		readelf -S "$$module" | grep -q ' \.BTF ' || { \
			echo "$$module has no BTF: $(KDIR) needs a vmlinux with" \
				"BTF, and pahole (package dwarves) must be installed" >&2; \
			exit 1; \
		}; \
		to=$(BUILD)/modules/$(RELEASE)/$${module##*/}; \
		[ "$$to" -nt "$$module" ] || \
			strip --strip-debug -o "$$to" "$$module" || exit 1; \
	done

# For the kernel with peer-to-peer DMA and no checks.
modules-p2p: packages
	+@kernel=$$($(GET) kernel-p2p); $(MAKE) modules KDIR="$$kernel/build"

# For the kernel that finds bugs.
modules-debug: packages
	+@kernel=$$($(GET) kernel-debug); $(MAKE) modules KDIR="$$kernel/build"

## tools: libblkbpf and the blkbpf command
tools: packages
	+@$(MAKE) -C tools/lib/blkbpf O=$(BUILD) LIBBPF=$(LIBBPF)
	+@$(MAKE) -C tools/blkbpf O=$(BUILD) LIBBPF=$(LIBBPF)

## samples: the BPF programs in samples/bpf
samples: packages
	+@$(MAKE) -C samples/bpf O=$(BUILD) LIBBPF=$(LIBBPF)

# The BPF programs that the tests load, good and bad ones, those that the
# documents show, and what else runs in a guest.
test-programs: packages
	+@$(MAKE) -C selftests/bpf O=$(BUILD) LIBBPF=$(LIBBPF)
	+@$(MAKE) -C selftests/src O=$(BUILD)
	+@selftests/docs/build $(BUILD)/selftests/docs

## check: all tests, on this machine and in guests; builds a kernel that finds bugs first, a quarter of an hour or more
# Two files at a time: a guest waits for timers more than it computes.
check: all test-programs modules-debug
	@$(GET) packages-check qemu guest >/dev/null
	+@selftests/run -j 2 --kernel own

## check-debug: all guest tests on a kernel that finds bugs; builds it first, a quarter of an hour or more
check-debug: all test-programs modules-debug
	+@selftests/run --kernel debug

## demo: a guest in which programs filter a real file system's disk
demo: all
	+@tools/demo/run

## demo-drive: what a computational drive does alone; needs a kernel of its own, 6 minutes or more
demo-drive: all test-programs
	+@tools/demo/drive

## bench: what the hook, scans, drives and the engine cost, in guest instructions; builds a kernel first, 6 minutes or more
bench: all modules-p2p
	+@$(MAKE) -C selftests/bench O=$(BUILD) LIBBPF=$(LIBBPF)
	+@$(MAKE) -C selftests/src O=$(BUILD)
	+@selftests/bench/run

## bench-compare: what changed since BASE=file, a run's build/bench.json
BASE ?= selftests/bench/baseline.json
bench-compare:
	@[ -f $(BUILD)/bench.json ] || $(MAKE) bench
	@selftests/bench/compare $(BASE) $(BUILD)/bench.json

ENGINE = $(MAKE) -C tools/lib/bpfvm O=$(BUILD)/engine

## bench-engine: the engine against the same C compiled by gcc, and how fast it loads
bench-engine: packages
	+@$(ENGINE) bench

## conformance: the engine on the cases in CASES=folder (cases.json, run_conformance.py)
conformance: packages
	+@$(ENGINE) conformance CASES=$(CASES)

## fuzz: the engine, with sanitizers, for FUZZ_SECONDS (3600)
fuzz: packages
	+@$(ENGINE) fuzz

## install: modules for KDIR and tools under PREFIX (and DESTDIR)
install: modules tools
	$(KBUILD_MAKE) INSTALL_MOD_PATH=$(DESTDIR) modules_install
	+@$(MAKE) -C tools/blkbpf O=$(BUILD) LIBBPF=$(LIBBPF) \
		PREFIX=$(PREFIX) DESTDIR=$(DESTDIR) install

## clean: remove what was built, but the tests' logs
clean:
	rm -rf $(BUILD)/kmod $(BUILD)/modules $(BUILD)/bin $(BUILD)/lib \
		$(BUILD)/obj $(BUILD)/samples $(BUILD)/selftests

## distclean: remove build/ whole
distclean:
	rm -rf $(BUILD)
	@echo "The cache, $$($(GET) cache), stays for other clones;" \
		"make cache-clean removes it."

## cache-clean: remove what was fetched for all clones
cache-clean:
	rm -rf "$$($(GET) cache)"
