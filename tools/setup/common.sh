# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Shared by tools/setup/get and its steps: the cache of big artefacts, locks,
# and the lines that tell a person what is going on. Sourced, not run.

set -euo pipefail
shopt -s inherit_errexit

SETUP_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT_DIR=$(cd "$SETUP_DIR/../.." && pwd)
CACHE=${BLKBPF_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/blkbpf}
JOBS=${JOBS:-$(nproc)}

# stdout belongs to the paths that tools/setup/get prints, so all talk goes
# to stderr.
say() { printf '[setup] %s\n' "$*" >&2; }

die() {
	printf '[setup] error: %s\n' "$*" >&2
	exit 1
}

# A person at a terminal sees the seconds pass; a log gets one line at the end.
ticker() {
	local label=$1 start=$SECONDS
	while :; do
		printf '\r[setup] %s … %d s ' "$label" $((SECONDS - start)) >&2
		sleep 1
	done
}

# timed LABEL LOG COMMAND… runs the command with its output in LOG and prints
# one line with the time it took; a failure shows the end of the log.
timed() {
	local label=$1 log=$2 start=$SECONDS ticker_pid='' status=0
	shift 2
	if [ -t 2 ]; then
		ticker "$label" &
		ticker_pid=$!
	fi
	# The subshell gets errexit back, which a condition would switch off.
	set +e
	( set -e; "$@" ) >"$log" 2>&1 </dev/null
	status=$?
	set -e
	if [ -n "$ticker_pid" ]; then
		kill "$ticker_pid"
		wait "$ticker_pid" 2>/dev/null || :
		printf '\r' >&2
	fi
	if [ "$status" -ne 0 ]; then
		say "$label … failed after $((SECONDS - start)) s"
		tail -n 30 "$log" >&2
		die "the step failed; its whole log is $log"
	fi
	say "$label … $((SECONDS - start)) s"
}

# hash_of TEXT-OR-FILE… identifies a recipe: each argument that names a file
# counts with its content, every other with its text.
hash_of() {
	local item
	for item in "$@"; do
		if [ -f "$item" ]; then
			cat "$item"
		else
			printf '%s\n' "$item"
		fi
	done | sha256sum | cut -c1-12
}

# with_lock NAME COMMAND… lets two runs at once build an artefact only once.
# The lock ends with the subshell, however that ends; what the command starts
# inherits it, so that nothing can outlive it and still be building.
with_lock() {
	local name=$1
	shift
	mkdir -p "$CACHE/locks"
	(
		exec 9>"$CACHE/locks/$name"
		if ! flock -n 9; then
			say "waiting for another set-up that is at work on: $name"
			flock 9
		fi
		"$@"
	)
}

build_entry_locked() {
	local name=$1 key=$2 label=$3 build=$4 tmp
	[ -d "$CACHE/$key" ] && return
	# Under the lock nobody else is building this: these are left-overs.
	rm -rf "$CACHE/tmp/$name".*
	mkdir -p "$CACHE/tmp" "$CACHE/logs"
	tmp=$(mktemp -d "$CACHE/tmp/$name.XXXXXX")
	chmod 755 "$tmp"
	timed "$label" "$CACHE/logs/$name.log" "$build" "$tmp"
	mv -T "$tmp" "$CACHE/$key"
}

# build_entry NAME KEY LABEL FUNCTION makes the cache entry KEY by calling
# FUNCTION with an empty folder to fill. The entry appears complete or not at
# all.
build_entry() {
	[ -d "$CACHE/$2" ] || with_lock "$1" build_entry_locked "$@"
}
