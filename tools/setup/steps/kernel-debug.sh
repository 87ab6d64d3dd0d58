# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# step: a 6.12 kernel that finds bugs (KASAN, lockdep, kmemleak, fault injection)
#
# The result holds boot/bzImage, and build/, against which modules are built.

kernel_debug_build() {
	local tmp=$1 build=$1/build
	mkdir "$build" "$tmp/boot"
	cat "$ROOT_DIR/selftests/config/guest.config" \
		"$ROOT_DIR/selftests/config/debug.config" >"$tmp/wanted.config"
	make -C "$KERNEL_ENTRY/source" O="$build" \
		KCONFIG_ALLCONFIG="$tmp/wanted.config" allnoconfig
	kernel_debug_check "$tmp/wanted.config" "$build/.config"
	make -C "$build" -j"$JOBS" bzImage modules
	make -C "$build" INSTALL_MOD_PATH="$tmp" modules_install
	cp "$build/arch/x86/boot/bzImage" "$tmp/boot/bzImage"
	# What modules are built against stays; the rest is ten times that.
	find "$build" -name scripts -prune -o -name tools -prune -o \
		-name '*.o' -print0 -o -name '*.a' -print0 -o \
		-name '.*.cmd' -print0 | xargs -0 rm -f
	rm -f "$build/vmlinux.unstripped" "$build/.tmp_vmlinux"*
	strip --strip-debug "$build/vmlinux"
}

# An option whose dependency is missing would be dropped without a word.
kernel_debug_check() {
	local wanted=$1 got=$2 missing
	missing=$(grep -E '^CONFIG_' "$wanted" | sort -u |
		grep -vxF -f "$got") || :
	[ -z "$missing" ] || {
		printf 'the configuration lost: %s\n' "$missing"
		return 1
	}
}

step_kernel-debug() {
	KERNEL_ENTRY=$(get kernel)
	local recipe
	recipe=$(hash_of "$(basename "$KERNEL_ENTRY")" \
		"$SETUP_DIR/steps/kernel-debug.sh" \
		"$ROOT_DIR/selftests/config/guest.config" \
		"$ROOT_DIR/selftests/config/debug.config")
	[ -d "$CACHE/kernel-debug-$recipe" ] || need_packages build kernel
	build_entry kernel-debug "kernel-debug-$recipe" \
		"debug kernel, from source (10 minutes or more)" \
		kernel_debug_build
	echo "$CACHE/kernel-debug-$recipe"
}
