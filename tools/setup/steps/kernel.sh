# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# step: Debian's 6.12 kernel: image, headers to build against, and source
#
# The result holds boot/vmlinuz-*, lib/modules/*, usr/src/linux-headers-* and
# source/. All of one version and in one entry, because the archive keeps only
# the newest version and a module, libbpf and the image must fit each other.

KERNEL_METAS=(linux-image-6.12-amd64 linux-image-amd64)

# The exact package that a meta package points to now, for example
# linux-image-6.12.117+deb12-amd64.
kernel_resolve() {
	local meta image
	for meta in "${KERNEL_METAS[@]}"; do
		image=$(apt-cache depends "$meta" 2>/dev/null |
			sed -n 's/^ *Depends: \(linux-image-6\.12\..*-amd64\)$/\1/p')
		[ -n "$image" ] && echo "$image" && return
	done
	return 1
}

kernel_newest_cached() {
	find "$CACHE" -maxdepth 1 -name "kernel-*-$1" | sort -V | tail -n 1
}

kernel_fetch() {
	local tmp=$1 image=$KERNEL_IMAGE release headers
	release=${image#linux-image-}
	cd "$tmp"
	mkdir debs
	(
		cd debs
		# As root, apt would try to write as a user who may not enter here.
		apt-get -q -o APT::Sandbox::User=root download "$image" \
			"linux-headers-$release" \
			"linux-headers-${release%-amd64}-common" \
			"linux-kbuild-${release%-amd64}" "linux-source-6.12"
	)
	kernel_same_version
	local deb
	for deb in debs/*.deb; do
		dpkg -x "$deb" .
	done
	rm -r debs
	tar -xJf usr/src/linux-source-6.12.tar.xz
	rm usr/src/linux-source-6.12.tar.xz
	mv linux-source-6.12 source
	headers=usr/src/linux-headers-$release
	kernel_relocate "$headers"
	depmod -b "$tmp" "$release"
}

# linux-source-6.12 has no version in its name: refuse another than the image's.
kernel_same_version() {
	local image source
	image=$(dpkg-deb -f debs/linux-image-*.deb Version)
	source=$(dpkg-deb -f debs/linux-source-*.deb Version)
	[ "$image" = "$source" ] || {
		echo "apt offers the image $image, but the source $source"
		return 1
	}
}

# The headers name their common part by where the package would install it.
# The entry is renamed when it is complete, so the name must be relative.
kernel_relocate() {
	local common
	common=$(sed -n 's|^include /usr/src/\(.*\)/Makefile$|\1|p' "$1/Makefile")
	[ -n "$common" ] || {
		echo "unexpected content in $1/Makefile:"
		cat "$1/Makefile"
		return 1
	}
	echo "include \$(dir \$(lastword \$(MAKEFILE_LIST)))../$common/Makefile" \
		>"$1/Makefile"
}

step_kernel() {
	local recipe entry
	recipe=$(hash_of "$SETUP_DIR/steps/kernel.sh")
	# What is there stays in use until the cache is cleaned: a new kernel
	# in the archive must not cost every clone a rebuild, nor need a network.
	entry=$(kernel_newest_cached "$recipe")
	if [ -z "$entry" ]; then
		need_packages build
		if ! KERNEL_IMAGE=$(kernel_resolve); then
			can_be_root || die "apt knows no 6.12 kernel; run: apt-get update"
			mkdir -p "$CACHE/logs"
			timed "apt-get update" "$CACHE/logs/update.log" \
				as_root apt-get -o DPkg::Lock::Timeout=300 update
			KERNEL_IMAGE=$(kernel_resolve) ||
				die "none of ${KERNEL_METAS[*]} in apt's sources is a 6.12" \
					"kernel; on Debian 12 add bookworm-security to them"
		fi
		local release=${KERNEL_IMAGE#linux-image-}
		build_entry kernel "kernel-$release-$recipe" \
			"guest kernel $release, its headers and source" kernel_fetch
		entry=$CACHE/kernel-$release-$recipe
	fi
	echo "$entry"
}
