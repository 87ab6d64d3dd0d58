# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# step: a 6.12 kernel with peer-to-peer DMA, for measuring

# shellcheck source=../kernel-build.sh
. "$SETUP_DIR/kernel-build.sh"

step_kernel-p2p() {
	kernel_flavour p2p \
		"kernel with peer-to-peer DMA, from source (6 minutes or more)" \
		guest p2p measure
}
