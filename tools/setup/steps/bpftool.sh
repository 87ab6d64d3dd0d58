# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# step: bpftool of the kernel's source: bin/bpftool

bpftool_build() {
	local tmp=$1 vmlinux
	vmlinux=$(echo "$KERNEL_ENTRY"/usr/src/linux-headers-*-amd64/vmlinux)
	mkdir "$tmp/obj" "$tmp/bin"
	# Without LLVM as a disassembler: the guest would need all of libLLVM.
	make -C "$KERNEL_ENTRY/source/tools/bpf/bpftool" -j"$JOBS" \
		OUTPUT="$tmp/obj/" VMLINUX_BTF="$vmlinux" \
		CLANG=clang-19 LLVM_STRIP=llvm-strip-19 feature-llvm=0 all
	strip -o "$tmp/bin/bpftool" "$tmp/obj/bpftool"
	rm -r "$tmp/obj"
}

step_bpftool() {
	KERNEL_ENTRY=$(get kernel)
	local version recipe
	version=$(basename "$KERNEL_ENTRY")
	recipe=$(hash_of "$version" "$SETUP_DIR/steps/bpftool.sh")
	[ -d "$CACHE/bpftool-$recipe" ] || need_packages build
	build_entry bpftool "bpftool-$recipe" "bpftool of $version" bpftool_build
	echo "$CACHE/bpftool-$recipe"
}
