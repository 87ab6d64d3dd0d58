# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# step: QEMU 10.0 of Debian 13's source: qemu-system-x86_64
#
# Debian 12's own QEMU 7.2 loses a race between translating code and patching
# it when guest CPUs run on threads of their own (mended in 8.1), and a kernel
# patches its text whenever a tracepoint or a static key changes: now and then
# a guest dies of a breakpoint that is long gone. So the guests' QEMU is built,
# the same on Debian 12 and 13.

QEMU_SUITE=trixie

# apt_suite COMMAND… runs apt-get or apt-cache on Debian 13's index alone, from
# the archive that this machine uses, with lists of our own: the machine's stay
# as they are.
apt_suite() {
	local command=$1 dir=$CACHE/apt-$QEMU_SUITE
	shift
	"$command" -q -o APT::Sandbox::User=root \
		-o Dir::Etc::sourcelist="$dir/sources.list" \
		-o Dir::Etc::sourceparts=/nonexistent \
		-o Dir::State::lists="$dir/lists" \
		-o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= "$@"
}

# The archive of this machine's Debian, without naming a host here.
apt_archive() {
	# shellcheck disable=SC2016
	apt-get indextargets --format '$(COMPONENT) $(REPO_URI)' \
		'Created-By: Packages' 'Origin: Debian' |
		awk '$1 == "main" && $2 !~ /security/ { print $2; exit }'
}

apt_suite_update() {
	local dir=$CACHE/apt-$QEMU_SUITE archive
	archive=$(apt_archive)
	[ -n "$archive" ] || {
		echo "apt knows no archive of Debian: see apt's sources"
		return 1
	}
	mkdir -p "$dir/lists/partial"
	printf 'deb%s %s %s main\n' '' "$archive" "$QEMU_SUITE" \
		-src "$archive" "$QEMU_SUITE" >"$dir/sources.list"
	apt_suite apt-get update
}

# The version that the index names; point releases replace each other there.
qemu_version() {
	apt_suite apt-cache showsrc qemu 2>/dev/null |
		sed -n 's/^Version: //p' | sort -V | tail -n 1
}

# Debian 12's meson is too old. The newer one is Python, and needs no install:
# QEMU's configure looks for it as a package of the Python that it is given.
qemu_meson() {
	local work=$1
	(cd "$work" && apt_suite apt-get download meson)
	dpkg -x "$work"/meson_*.deb "$work/meson"
	export PYTHONPATH=$work/meson/usr/lib/python3/dist-packages
	export PATH=$work/meson/usr/bin:$PATH
}

QEMU_OPTIONS=(
	--target-list=x86_64-softmmu --without-default-features --enable-tcg
	--enable-attr --enable-virtfs --disable-install-blobs --disable-docs
	--disable-werror --python=/usr/bin/python3
)

qemu_build() {
	local tmp=$1 work
	work=$tmp/work
	mkdir "$work"
	(cd "$work" && apt_suite apt-get source --download-only qemu)
	(cd "$work" && dpkg-source --no-check -x qemu_*.dsc source)
	qemu_meson "$work"
	mkdir "$work/build"
	cd "$work/build"
	../source/configure "${QEMU_OPTIONS[@]}"
	ninja -j"$JOBS" qemu-system-x86_64
	mkdir "$tmp/bin"
	strip -o "$tmp/bin/qemu-system-x86_64" qemu-system-x86_64
	cd "$tmp"
	rm -rf "$work"
}

step_qemu() {
	local version recipe cached
	recipe=$(hash_of "$SETUP_DIR/steps/qemu.sh")
	# Any point release of this recipe will do, so that a build is kept.
	cached=$(find "$CACHE" -maxdepth 1 -name "qemu-*-$recipe" 2>/dev/null |
		sort -V | tail -n 1)
	if [ -z "$cached" ]; then
		need_packages qemu
		with_lock qemu-index timed "index of Debian's $QEMU_SUITE" \
			"$CACHE/qemu-index.log" apt_suite_update
		version=$(qemu_version)
		[ -n "$version" ] || die "Debian's $QEMU_SUITE lists no source of qemu"
		cached=$CACHE/qemu-${version//[^0-9a-z.]/-}-$recipe
		build_entry qemu "$(basename "$cached")" \
			"QEMU $version, from source" qemu_build
	fi
	echo "$cached"
}
