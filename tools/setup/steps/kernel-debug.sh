# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# step: a 6.12 kernel that finds bugs (KASAN, lockdep, kmemleak, fault injection)

# shellcheck source=../kernel-build.sh
. "$SETUP_DIR/kernel-build.sh"

step_kernel-debug() {
	kernel_flavour debug \
		"debug kernel, from source (10 minutes or more)" \
		guest p2p debug
}
