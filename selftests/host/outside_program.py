#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""A program that somebody writes in a folder of his own, with the headers
alone."""

import os
import shutil
import subprocess
import tempfile

from ktap import cleanup, expect, expect_in, run, sh, test

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.realpath(__file__)),
                                    "..", ".."))
SOURCE = """\
#include <bpf/blk_bpf.h>

const volatile __u8 wanted = 1;
__u64 found;

SEC("struct_ops/filter")
int BLK_BPF_FILTER(first_byte, struct blk_bpf_ctx *ctx,
		   const __u8 *data, const void *data_end)
{
	if ((void *)data + 1 > data_end || data[0] != wanted)
		return BLK_BPF_SKIP;
	__sync_fetch_and_add(&found, 1);
	return BLK_BPF_MATCH;
}

BLK_BPF_PROGRAM(first_byte_ops, .filter = (void *)first_byte, .unit = 512);
"""
# Each command must succeed; what it prints is looked at below.
COMMANDS = """\
set -e
cd /share
blkbpf prog load --set wanted=7 --pin /sys/fs/bpf/mine mine.bpf.o >/dev/null
blkbpf -j prog list >/dev/null
blkbpf prog show /sys/fs/bpf/mine
echo "pinned $(blkbpf scan --count /sys/fs/bpf/mine /dev/nvme0n1)"
echo "file $(blkbpf scan --count --set wanted=7 mine.bpf.o /dev/nvme0n1)"
echo "other $(blkbpf scan --count --set wanted=8 mine.bpf.o /dev/nvme0n1)"
blkbpf attach /sys/fs/bpf/mine /dev/nvme0n1 >/dev/null
blkbpf tail -n 1 /dev/nvme0n1 >/tmp/tail 2>/tmp/following &
until grep -q following /tmp/following; do sleep 0.1; done
dd if=/dev/nvme0n1 of=/dev/null bs=64k iflag=direct 2>/dev/null
wait
echo "tail $(wc -l </tmp/tail)"
blkbpf -j list
blkbpf detach /dev/nvme0n1 >/dev/null
echo "left $(blkbpf -j list)"
"""


def clang():
    """The newest that there is."""
    for version in range(25, 18, -1):
        if path := shutil.which(f"clang-{version}"):
            return path
    return "clang"


@test
def a_program_from_an_empty_folder_works_with_every_command():
    """If this breaks, programs can only be written inside this tree."""
    folder = tempfile.mkdtemp(prefix="blkbpf-outside.")
    cleanup(shutil.rmtree, folder)
    with open(f"{folder}/mine.bpf.c", "w", encoding="ascii") as file:
        file.write(SOURCE)
    libbpf = sh([f"{ROOT}/tools/setup/get", "libbpf"]).stdout.strip()
    sh([clang(), "-O2", "-g", "-mcpu=v3", "-target", "bpf",
        "-D__TARGET_ARCH_x86", f"-I{ROOT}/include", f"-I{ROOT}/include/uapi",
        f"-I{libbpf}/include", "-c", "mine.bpf.c", "-o", "mine.bpf.o"],
       cwd=folder)

    data = os.urandom(4 << 20)
    image = f"{folder}/disk.img"
    with open(image, "wb") as file:
        file.write(data)
    firsts = data[::512]
    done = subprocess.run(
        [f"{ROOT}/selftests/vm/run", "--nvme", image, "--share", folder, "--",
         "sh", "-c", COMMANDS], stdin=subprocess.DEVNULL, text=True,
        capture_output=True, check=False)
    expect(done.returncode, 0, f"exit status; {done.stderr}{done.stdout}")
    lines = done.stdout.splitlines()
    expect_in("first_byte_ops", done.stdout, "prog show")
    for line in (f"pinned {firsts.count(7)}", f"file {firsts.count(7)}",
                 f"other {firsts.count(8)}", "tail 1"):
        expect_in(line, lines, "counts")
    expect_in(f'"matches":{firsts.count(7)}',
              done.stdout.replace(" ", ""), "the attachment's matches")
    expect_in("left []", lines, "after detaching")


if __name__ == "__main__":
    run()
