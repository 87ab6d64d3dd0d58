# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Which Debian packages each purpose needs, and how they get installed.
# The names hold for Debian 12 and 13.

PACKAGES_build=(
	bc bison clang-19 cpio dpkg-dev dwarves flex gcc kmod libc6-dev
	libelf-dev libjson-c-dev liburing-dev libzstd-dev llvm-19 make
	pkg-config python3 python3-docutils rsync xz-utils zlib1g-dev
)
# The libraries are those that QEMU links: the cache that holds it may be older
# than the machine. libglib2.0-bin stands for glib, whose name changed.
PACKAGES_vm=(
	cpio libattr1 libfdt1 libglib2.0-bin libpixman-1-0 python3
	qemu-system-data seabios zlib1g
)
# What a kernel of our own is built with, beside the above.
PACKAGES_kernel=(libssl-dev)
# What QEMU is built with.
PACKAGES_qemu=(
	bzip2 dpkg-dev flex bison gcc libc6-dev libattr1-dev libfdt-dev
	libglib2.0-dev libpixman-1-dev make ninja-build patch pkg-config python3
	python3-venv rsync xz-utils zlib1g-dev
)
# What the guest's root file system is made of, copied with its libraries.
PACKAGES_guest=(
	bash busybox-static coreutils dash diffutils dmsetup e2fsprogs fdisk
	findutils fio grep kmod mount nvme-cli python3 sed strace util-linux
)

# What looks at the sources without running them.
PACKAGES_check=(libssl-dev perl shellcheck sparse)
# What draws the figures of make bench.
PACKAGES_bench=(gnuplot-nox)

packages_missing() {
	local package
	declare -A installed=()
	while read -r status package; do
		[ "$status" = installed ] && installed[$package]=1
	done < <(dpkg-query -W -f '${db:Status-Status} ${Package}\n')
	for package in "$@"; do
		[ -n "${installed[$package]:-}" ] || echo "$package"
		# Several purposes may need it; it is listed once.
		installed[$package]=1
	done
}

# as_root COMMAND… or fails when there is no way to become root.
as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	else
		sudo "$@"
	fi
}

can_be_root() {
	[ "$(id -u)" -eq 0 ] && return
	command -v sudo >/dev/null || return
	# Without a terminal sudo may not ask for a password.
	sudo -n true 2>/dev/null || { [ -t 2 ] && sudo -v; }
}

apt_install() {
	local options=(-o DPkg::Lock::Timeout=300 -y --no-install-recommends)
	as_root env DEBIAN_FRONTEND=noninteractive \
		apt-get "${options[@]}" install "$@" && return
	# The lists may be missing or name versions that are gone.
	as_root apt-get -o DPkg::Lock::Timeout=300 update
	as_root env DEBIAN_FRONTEND=noninteractive \
		apt-get "${options[@]}" install "$@"
}

install_missing_locked() {
	local missing
	mapfile -t missing < <(packages_missing "$@")
	[ ${#missing[@]} -gt 0 ] || return 0
	can_be_root || die "packages are missing and this user cannot install" \
		"them; have an administrator run:
  apt-get update && apt-get install --no-install-recommends -y ${missing[*]}"
	mkdir -p "$CACHE/logs"
	timed "install packages: ${missing[*]}" "$CACHE/logs/packages.log" \
		apt_install "${missing[@]}"
	mapfile -t missing < <(packages_missing "${missing[@]}")
	[ ${#missing[@]} -eq 0 ] ||
		die "apt-get succeeded, but these are still missing: ${missing[*]}"
}

# need_packages PURPOSE… installs what the purposes need and lacks.
need_packages() {
	local purpose missing all=()
	for purpose in "$@"; do
		local -n list=PACKAGES_$purpose
		all+=("${list[@]}")
	done
	mapfile -t missing < <(packages_missing "${all[@]}")
	[ ${#missing[@]} -eq 0 ] ||
		with_lock packages install_missing_locked "${all[@]}"
}

# versions_of PURPOSE prints the installed versions, for use in a cache key.
versions_of() {
	local -n list=PACKAGES_$1
	dpkg-query -W -f '${Package} ${Version}\n' "${list[@]}" | sort
}
