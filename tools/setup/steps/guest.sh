# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# step: the guest's root file system: base.cpio
#
# The host's own packages, each program with the libraries it links, plus the
# stock kernel's modules that tests need. Not compressed: unpacking costs an
# emulated CPU more than reading from the host's memory.

GUEST_VM_DIR=$ROOT_DIR/selftests/vm/guest

GUEST_PROGRAMS=(
	# busybox's own shell would prefer its applets to the programs below
	/bin/dash /bin/bash
	# coreutils where busybox lacks options that scripts use
	/usr/bin/cp /usr/bin/cut /usr/bin/date /usr/bin/dd /usr/bin/df
	/usr/bin/du /usr/bin/env /usr/bin/head /usr/bin/ls /usr/bin/mktemp
	/usr/bin/mv /usr/bin/numfmt /usr/bin/od /usr/bin/printf
	/usr/bin/realpath /usr/bin/sha256sum /usr/bin/shuf /usr/bin/sort
	/usr/bin/stat /usr/bin/stdbuf /usr/bin/tail /usr/bin/tee
	/usr/bin/timeout /usr/bin/touch /usr/bin/tr /usr/bin/truncate
	/usr/bin/cmp /usr/bin/diff /usr/bin/grep /usr/bin/sed /usr/bin/find
	/usr/bin/xargs /usr/bin/nice /usr/bin/nohup
	# util-linux
	/usr/bin/findmnt /usr/bin/flock /usr/bin/ionice /usr/bin/lsblk
	/usr/bin/mount /usr/bin/nsenter /usr/bin/setsid /usr/bin/taskset
	/usr/bin/setpriv /usr/bin/umount /usr/bin/unshare
	/usr/sbin/blkid /usr/sbin/blkdiscard /usr/sbin/blockdev
	/usr/sbin/fsfreeze /usr/sbin/losetup /usr/sbin/sfdisk
	/usr/sbin/wipefs
	# file systems, disks and what looks into them
	/usr/sbin/debugfs /usr/sbin/dmsetup /usr/sbin/e2fsck
	/usr/sbin/mke2fs /usr/bin/fio /usr/sbin/nvme /usr/bin/kmod
	/usr/bin/strace /usr/bin/python3
)

GUEST_MODULES=(
	9p 9pnet_virtio brd dm-delay dm-flakey dm-mod ext4 loop
	null_blk nvme nvme-fabrics nvme-loop nvmet overlay qemu_fw_cfg raid1
	scsi_debug sd_mod ublk_drv virtio_blk
)

# The packages' files may be named by either side of the merged /usr.
guest_copy() {
	local file=$1 real
	[ -e "$ROOT/$file" ] && return
	real=$(realpath "$file")
	mkdir -p "$ROOT/$(dirname "$file")" "$ROOT/$(dirname "$real")"
	[ -e "$ROOT/$real" ] || cp -p "$real" "$ROOT/$real"
	[ -e "$ROOT/$file" ] || ln -s "$real" "$ROOT/$file"
}

# fio links the clients of several network file systems, 90 MB with what they
# pull in. The guest has no network: libraries with the same names and symbols
# that do nothing but end the program make it small and quick to start.
guest_fio_stubs() {
	local library real
	mkdir "$ROOT/stubs"
	while read -r library real; do
		case $library in
		libc.* | libm.* | libz.* | libaio.* | libnuma.*) continue ;;
		esac
		guest_stub "$library" "$real" /usr/bin/fio
	done < <(ldd /usr/bin/fio | awk -v needed="$(readelf -d /usr/bin/fio |
		sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')" '
		BEGIN { split(needed, names, "\n"); for (i in names) want[names[i]] }
		$1 in want { print $1, $3 }')
}

# guest_stub LIBRARY REAL PROGRAM writes a library with those symbols of REAL
# that PROGRAM uses, in the versions that it wants.
guest_stub() {
	local stub=$ROOT/stubs/$1
	join <(nm -D --defined-only "$2" | awk '{ sub("@.*", "", $NF); print $NF }' |
		sort -u) <(nm -D --undefined-only "$3" |
		awk '{ split($NF, part, "@"); print part[1], part[2] }' |
		sort -u) >"$stub.symbols"
	awk '{ print "void " $1 "(void) { __builtin_trap(); }" }' \
		"$stub.symbols" >"$stub.c"
	awk '$2 { of[$2] = of[$2] $1 "; " }
		END { for (version in of) print version " { " of[version] "};" }' \
		"$stub.symbols" >"$stub.map"
	local options=(-shared -fPIC -fno-builtin -Wl,-soname,"$1")
	[ ! -s "$stub.map" ] || options+=(-Wl,--version-script,"$stub.map")
	gcc "${options[@]}" -o "$stub" "$stub.c"
	rm "$stub.symbols" "$stub.c" "$stub.map"
}

# What the programs and python's extension modules link, and what glibc opens
# when a thread is cancelled.
guest_libraries() {
	local files library
	mapfile -d '' -t files < <(find "$ROOT/usr" -type f \
		\( -name '*.so*' -o -perm -u+x ! -name '*.py' \) -print0)
	LD_LIBRARY_PATH=$ROOT/stubs ldd "${files[@]}" >"$ROOT/../libraries"
	while read -r library; do
		case $library in
		"$ROOT"/*) mv "$library" "$ROOT/usr/lib/x86_64-linux-gnu/" ;;
		*) guest_copy "$library" ;;
		esac
	done < <(grep -oE '[[:space:]]/[^ :]+ ' "$ROOT/../libraries" | sort -u)
	rmdir "$ROOT/stubs"
	guest_copy "$(gcc -print-file-name=libgcc_s.so.1)"
}

guest_tree() {
	mkdir -p "$ROOT"/{dev,etc,proc,root,run,run.vm,selftests,share,sys,tmp,mnt} \
		"$ROOT"/usr/{bin,sbin,lib,lib64,lib/vm,share} \
		"$ROOT"/var/{lib,tmp} "$ROOT"/usr/local/{bin,sbin}
	chmod 1777 "$ROOT/tmp" "$ROOT/var/tmp"
	local link
	for link in bin sbin lib lib64; do
		ln -s "usr/$link" "$ROOT/$link"
	done
	ln -s ../proc/self/mounts "$ROOT/etc/mtab"
	printf '%s\n' 'root:x:0:0:root:/root:/bin/bash' \
		'nobody:x:65534:65534:nobody:/:/bin/sh' >"$ROOT/etc/passwd"
	printf '%s\n' 'root:x:0:' 'disk:x:6:' 'nogroup:x:65534:' \
		>"$ROOT/etc/group"
	printf '127.0.0.1 localhost\n' >"$ROOT/etc/hosts"
}

guest_programs() {
	local program applet
	for program in "${GUEST_PROGRAMS[@]}"; do
		guest_copy "$program"
	done
	ln -s dash "$ROOT/usr/bin/sh"
	for applet in modprobe insmod rmmod lsmod modinfo depmod; do
		ln -s ../bin/kmod "$ROOT/usr/sbin/$applet"
	done
	for applet in ext2 ext3 ext4; do
		ln -s mke2fs "$ROOT/usr/sbin/mkfs.$applet"
		ln -s e2fsck "$ROOT/usr/sbin/fsck.$applet"
	done
	cp -p /etc/mke2fs.conf "$ROOT/etc/"
	cp -p "$BPFTOOL_ENTRY/bin/bpftool" "$ROOT/usr/sbin/bpftool"
}

# busybox stands in for every tool that is not there in full.
guest_busybox() {
	local applet
	cp -p "$(command -v busybox)" "$ROOT/usr/bin/busybox"
	while read -r applet; do
		[ -e "$ROOT/usr/bin/$applet" ] || [ -L "$ROOT/usr/sbin/$applet" ] ||
			[ -e "$ROOT/usr/sbin/$applet" ] ||
			ln -s busybox "$ROOT/usr/bin/$applet"
	done < <("$ROOT/usr/bin/busybox" --list)
}

# The system's python with the library that tests use, compiled: an emulated
# CPU should not parse the standard library at every start, nor unpack its source.
guest_python() {
	local lib
	lib=$(/usr/bin/python3 -I -c \
		'import sysconfig; print(sysconfig.get_path("stdlib"))')
	mkdir -p "$ROOT$lib"
	rsync -a --exclude=__pycache__ --exclude=test --exclude=tests \
		--exclude=idlelib --exclude=tkinter --exclude=turtledemo \
		--exclude=turtle.py --exclude=lib2to3 --exclude=ensurepip \
		--exclude=pydoc_data --exclude=distutils --exclude=venv \
		--exclude='config-*' --exclude=dist-packages \
		--exclude=site-packages --exclude=sqlite3 --exclude=dbm \
		--exclude='_crypt*' --exclude='_tkinter*' --exclude='_sqlite3*' \
		--exclude='_codecs_??*' --exclude='__phello__' \
		--exclude=LICENSE.txt --exclude=EXTERNALLY-MANAGED \
		--exclude=xmlrpc --exclude=wsgiref --exclude=curses \
		--exclude='nis.*' --exclude='_dbm*' \
		"$lib/" "$ROOT$lib/"
	/usr/bin/python3 -I -m compileall -q -b -s "$ROOT" \
		--invalidation-mode unchecked-hash "$ROOT$lib"
	find "$ROOT$lib" -name '*.py' -delete
}

guest_modules() {
	local release source target name
	release=$(basename "$KERNEL_ENTRY"/lib/modules/*)
	source=$KERNEL_ENTRY/lib/modules/$release
	target=$ROOT/lib/modules/$release
	mkdir -p "$target"
	cp "$source"/modules.{builtin,builtin.modinfo,order} "$target"
	for name in "${GUEST_MODULES[@]}"; do
		modprobe -d "$KERNEL_ENTRY" -S "$release" --show-depends \
			"$name" >"$ROOT/../depends"
		sed -n 's/^insmod \([^ ]*\).*/\1/p' "$ROOT/../depends"
	done | sort -u | while read -r file; do
		mkdir -p "$target/$(dirname "${file#"$source"/}")"
		cp "$file" "$target/${file#"$source"/}"
	done
	find "$target" -name '*.ko.xz' -exec xz -d {} +
	depmod -b "$ROOT" "$release"
}

guest_c() {
	gcc -O2 -Wall -Wextra -Werror -static -s -o "$1" "$GUEST_VM_DIR/$2"
}

guest_build() {
	local tmp=$1
	ROOT=$tmp/root
	guest_tree
	guest_programs
	guest_python
	guest_fio_stubs
	guest_libraries
	guest_busybox
	guest_modules
	guest_c "$ROOT/init" init.c
	guest_c "$ROOT/usr/lib/vm/relay" relay.c
	cp "$GUEST_VM_DIR/load" "$ROOT/usr/lib/vm/load"
	(cd "$ROOT" && find . -print0 | sort -z |
		cpio --quiet -0 -o -H newc --reproducible -R 0:0) >"$tmp/base.cpio"
	rm -r "$ROOT" "$tmp/depends" "$tmp/libraries"
}

step_guest() {
	need_packages vm guest build
	KERNEL_ENTRY=$(get kernel)
	BPFTOOL_ENTRY=$(get bpftool)
	local recipe
	recipe=$(hash_of "$(basename "$KERNEL_ENTRY")" \
		"$(basename "$BPFTOOL_ENTRY")" "$(versions_of guest)" \
		"$SETUP_DIR/steps/guest.sh" "$GUEST_VM_DIR"/*)
	build_entry guest "guest-$recipe" "guest root file system" guest_build
	echo "$CACHE/guest-$recipe"
}
