# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# step: the source of the guests' kernels, for headers that no package has

step_kernel-source() {
	echo "$(get kernel)/source"
}
