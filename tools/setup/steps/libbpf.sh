# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# step: libbpf of the kernel's source: include/ and lib/libbpf.a

libbpf_build() {
	local tmp=$1
	# Out of the source's tree, which stays as it was unpacked.
	mkdir "$tmp/obj"
	# Position-independent, because libblkbpf.so takes it in.
	make -C "$KERNEL_ENTRY/source/tools/lib/bpf" -j"$JOBS" \
		EXTRA_CFLAGS='-g -O2 -fPIC' \
		OUTPUT="$tmp/obj/" DESTDIR="$tmp/inst" prefix=/usr \
		libdir=/usr/lib install install_headers
	mv "$tmp/inst/usr/include" "$tmp/include"
	# What libbpf.h includes, in the version that it was made with: the
	# system's may be too old.
	mkdir "$tmp/include/linux"
	cp "$KERNEL_ENTRY"/source/tools/include/uapi/linux/{bpf,bpf_common,btf}.h \
		"$tmp/include/linux/"
	mkdir "$tmp/lib"
	mv "$tmp/inst/usr/lib/libbpf.a" "$tmp/lib/libbpf.a"
	rm -r "$tmp/obj" "$tmp/inst"
}

step_libbpf() {
	KERNEL_ENTRY=$(get kernel)
	local version recipe
	version=$(basename "$KERNEL_ENTRY")
	recipe=$(hash_of "$version" "$SETUP_DIR/steps/libbpf.sh")
	[ -d "$CACHE/libbpf-$recipe" ] || need_packages build
	build_entry libbpf "libbpf-$recipe" "libbpf of $version" libbpf_build
	echo "$CACHE/libbpf-$recipe"
}
