# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Shared by the steps that build a 6.12 kernel of the project's own, from the
# source of the guests' kernel. Sourced, not run.

# kernel_flavour NAME LABEL FRAGMENT… prints the path of the kernel that is
# configured by these files of selftests/config, built first if need be. It
# holds boot/bzImage, lib/modules/, and build/, against which modules are built
# (build/source leads to the source, with the headers of drivers, too).
kernel_flavour() {
	local flavour=$1 label=$2 recipe fragment
	shift 2
	KERNEL_ENTRY=$(get kernel)
	KERNEL_FLAVOUR=$flavour
	KERNEL_FRAGMENTS=()
	for fragment in "$@"; do
		KERNEL_FRAGMENTS+=("$ROOT_DIR/selftests/config/$fragment.config")
	done
	recipe=$(hash_of "$(basename "$KERNEL_ENTRY")" "$flavour" \
		"$SETUP_DIR/kernel-build.sh" "${KERNEL_FRAGMENTS[@]}")
	[ -d "$CACHE/kernel-$flavour-$recipe" ] || need_packages build kernel
	build_entry "kernel-$flavour" "kernel-$flavour-$recipe" \
		"$label" kernel_build
	echo "$CACHE/kernel-$flavour-$recipe"
}

kernel_build() {
	local tmp=$1 build=$1/build
	mkdir "$build" "$tmp/boot"
	# The name in the release keeps the flavours' modules apart.
	{
		cat "${KERNEL_FRAGMENTS[@]}"
		printf 'CONFIG_LOCALVERSION="-%s"\n' "$KERNEL_FLAVOUR"
	} >"$tmp/wanted.config"
	make -C "$KERNEL_ENTRY/source" O="$build" \
		KCONFIG_ALLCONFIG="$tmp/wanted.config" allnoconfig
	kernel_check_config "$tmp/wanted.config" "$build/.config"
	make -C "$build" -j"$JOBS" bzImage modules
	make -C "$build" INSTALL_MOD_PATH="$tmp" INSTALL_MOD_STRIP=1 \
		modules_install
	cp "$build/arch/x86/boot/bzImage" "$tmp/boot/bzImage"
	kernel_thin_out "$build"
	rm "$tmp/wanted.config"
}

# An option whose dependency is missing would be dropped without a word.
kernel_check_config() {
	local wanted=$1 got=$2 missing
	missing=$(grep -E '^CONFIG_' "$wanted" | sort -u |
		grep -vxF -f "$got") || :
	[ -z "$missing" ] || {
		printf 'the configuration lost: %s\n' "$missing"
		return 1
	}
}

# What modules are built against stays; the rest is ten times that.
kernel_thin_out() {
	find "$1" -name scripts -prune -o -name tools -prune -o \
		-name '*.o' -print0 -o -name '*.a' -print0 -o \
		-name '*.ko' -print0 -o -name '.*.cmd' -print0 |
		xargs -0 rm -f
	rm -f "$1/vmlinux.unstripped" "$1/.tmp_vmlinux"*
	strip --strip-debug "$1/vmlinux"
}
