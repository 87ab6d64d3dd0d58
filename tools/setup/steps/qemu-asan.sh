# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# step: the same QEMU with the address and undefined behaviour sanitizers

# shellcheck source=/dev/null
. "$SETUP_DIR/steps/qemu.sh"

step_qemu-asan() {
	QEMU_KEEP_SYMBOLS=1
	qemu_flavour qemu-asan "QEMU with the drive and sanitizers, from source" \
		--enable-asan --enable-ubsan
}
