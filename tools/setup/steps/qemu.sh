# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# step: QEMU 10.0 of Debian 13's source, with the drive, and hw/nvme's own tests
#
# The drive is a device of hw/nvme, so QEMU has to be built in any case.
# Debian 12's own QEMU 7.2 loses a race between translating code and patching
# it when guest CPUs run on threads of their own (mended in 8.1), and a kernel
# patches its text whenever a tracepoint or a static key changes: now and then
# a guest dies of a breakpoint that is long gone. So all guests run on it, the
# same on Debian 12 and 13.
#
# QEMU is configured and compiled in a tree that stays in the cache. Files of
# ours are laid into it, and what depends on them is compiled again; the program
# that comes out is a cache entry of its own.

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

QEMU_OPTIONS=(
	--target-list=x86_64-softmmu --without-default-features --enable-tcg
	--enable-attr --enable-virtfs --disable-install-blobs --disable-docs
	--disable-werror --disable-debug-info --python=/usr/bin/python3
)

# What is ours in QEMU: tools/qemu, the engine, and the headers of the ABI.
qemu_our_files() {
	(
		cd "$ROOT_DIR"
		ls tools/qemu/* tools/lib/bpfvm/*.[ch] \
			include/uapi/linux/{blk_bpf,nvme_csd}.h |
			grep -v -e 'bpfvm/bpfvm\.c$' -e 'bpfvm/elf\.c$' \
				-e 'bpfvm/bpfvm_elf\.h$' -e 'bpfvm/nojit\.c$'
	)
}

# The source, and a folder for the files that our patch changes, as they came.
qemu_unpack() {
	local tmp=$1 work=$1/work
	mkdir "$work"
	(cd "$work" && apt_suite apt-get source --download-only qemu)
	(cd "$work" && dpkg-source --no-check -x qemu_*.dsc "$tmp/source")
	(cd "$work" && apt_suite apt-get download meson)
	dpkg -x "$work"/meson_*.deb "$tmp/meson"
	rm -rf "$work" "$tmp/source/.pc" "$tmp"/qemu_*
	mkdir "$tmp/build" "$tmp/pristine"
}

# Lay our files into the tree: only those that differ, so that only what they
# concern is compiled.
qemu_lay() {
	local tree=$1 stage=$1/stage file to
	# Once more when the patch changes another file than it did before.
	sed -n 's|^--- a/||p' "$ROOT_DIR/tools/qemu/hooks.patch" |
		while read -r file; do
			[ -f "$tree/pristine/$file" ] || install -D -p \
				"$tree/source/$file" "$tree/pristine/$file"
		done
	rm -rf "$stage"
	cp -a "$tree/pristine" "$stage"
	patch -s -d "$stage" -p1 <"$ROOT_DIR/tools/qemu/hooks.patch"
	for file in $(qemu_our_files); do
		case $file in
		*.patch) continue ;;
		tools/qemu/*) to=${file#tools/qemu/} ;;
		tools/lib/bpfvm/*) to=${file#tools/lib/} ;;
		include/*) to=${file#include/} ;;
		esac
		install -D -p "$ROOT_DIR/$file" "$stage/hw/nvme/csd/$to"
	done
	# A list in a file of its own, so that a new source is seen.
	(
		cd "$stage/hw/nvme/csd/bpfvm"
		printf 'bpfvm_sources = files(\n'
		printf "  '%s',\n" *.c
		printf ')\n'
	) >"$stage/hw/nvme/csd/bpfvm/meson.build"
	rsync -rc --delete "$stage/hw/nvme/csd" "$tree/source/hw/nvme/"
	rsync -rc "$stage/" "$tree/source/"
	rm -rf "$stage"
	# The engine's files are listed when QEMU is configured: again, if there
	# are others now.
	ls "$tree/source/hw/nvme/csd/bpfvm" >"$tree/engine.new"
	cmp -s "$tree/engine.new" "$tree/engine.files" ||
		touch "$tree/source/hw/nvme/csd/meson.build"
	mv "$tree/engine.new" "$tree/engine.files"
}

# qemu_configure TREE OPTION… once. Debian 12's meson is too old; the newer one
# is Python, and needs no install: configure looks for it as a package of the
# Python that it is given.
qemu_configure() {
	local tree=$1
	shift
	# What ninja calls needs meson too.
	export PYTHONPATH=$tree/meson/usr/lib/python3/dist-packages
	export PATH=$tree/meson/usr/bin:$PATH
	[ -f "$tree/build/build.ninja" ] && return
	cd "$tree/build"
	../source/configure "${QEMU_OPTIONS[@]}" "$@" || {
		rm -f build.ninja
		return 1
	}
}

# The tree is changed under its lock alone; ninja goes on where an interrupted
# build was.
qemu_compile() {
	local tmp=$1
	qemu_lay "$QEMU_TREE"
	qemu_configure "$QEMU_TREE" "${QEMU_MORE_OPTIONS[@]}"
	ninja -C "$QEMU_TREE/build" -j"$JOBS" qemu-system-x86_64 \
		tests/qtest/qos-test
	mkdir "$tmp/bin"
	cp "$QEMU_TREE/build/tests/qtest/qos-test" "$tmp/bin/"
	if [ -z "${QEMU_KEEP_SYMBOLS:-}" ]; then
		strip -o "$tmp/bin/qemu-system-x86_64" \
			"$QEMU_TREE/build/qemu-system-x86_64"
	else
		cp "$QEMU_TREE/build/qemu-system-x86_64" "$tmp/bin/"
	fi
}

# qemu_flavour NAME LABEL [OPTION…] prints the entry of QEMU built with these
# options of configure.
qemu_flavour() {
	local name=$1 label=$2 recipe ours key version
	shift 2
	QEMU_MORE_OPTIONS=("$@")
	# A tree is good for as long as it is unpacked and configured alike.
	recipe=$(hash_of "$(declare -f qemu_unpack)" "${QEMU_OPTIONS[@]}" "$@")
	ours=$(cd "$ROOT_DIR" && qemu_our_files |
		xargs cat "$SETUP_DIR/steps/qemu.sh" | sha256sum | cut -c1-12)
	key=$name-$recipe-$ours
	[ ! -d "$CACHE/$key" ] || {
		echo "$CACHE/$key"
		return
	}
	need_packages qemu
	# Any point release of this recipe will do, so that a tree is kept.
	QEMU_TREE=$(find "$CACHE" -maxdepth 1 -name "$name-tree-*-$recipe" |
		sort -V | tail -n 1)
	if [ -z "$QEMU_TREE" ]; then
		with_lock qemu-index timed "index of Debian's $QEMU_SUITE" \
			"$CACHE/qemu-index.log" apt_suite_update
		version=$(qemu_version)
		[ -n "$version" ] || die "Debian's $QEMU_SUITE lists no source of qemu"
		QEMU_TREE=$CACHE/$name-tree-${version//[^0-9a-z.]/-}-$recipe
		build_entry "$name" "$(basename "$QEMU_TREE")" \
			"source of QEMU $version" qemu_unpack
	fi
	build_entry "$name" "$key" "$label" qemu_compile
	echo "$CACHE/$key"
}

step_qemu() {
	qemu_flavour qemu "QEMU with the drive, from source"
}
