# SPDX-License-Identifier: GPL-2.0
"""What the guest boots: its kernel, and the two archives of its initramfs."""

import collections
import glob
import os
import secrets
import shlex
import shutil
import subprocess

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
BUILD = os.path.join(ROOT, "build")

# Modules of the project in the order they must be loaded.
MODULES = ("blk_bpf.ko", "nvme_csd.ko")

# Built from source by the set-up steps of these names.
OWN_KERNELS = ("debug", "p2p")

Prepared = collections.namedtuple("Prepared", "kernel initrd token qemu")


class NotStarted(Exception):
    """The guest could not be started; the message says why."""


def setup(*steps):
    """The paths of set-up steps' results, built first where they lack."""
    getter = os.path.join(ROOT, "tools", "setup", "get")
    done = subprocess.run([getter, *steps], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, check=False)
    if done.returncode:
        raise NotStarted("the set-up failed; see the lines above")
    return os.fsdecode(done.stdout).splitlines()


# image and release of a kernel, and the folder of its modules that must go to
# the guest beside the root file system's own, or None
Kernel = collections.namedtuple("Kernel", "image release modules")


def find_kernel(name):
    """The kernel of --kernel."""
    if name == "stock":
        entry, = setup("kernel")
        image, = glob.glob(os.path.join(entry, "boot", "vmlinuz-*"))
        return Kernel(image, os.path.basename(image).partition("-")[2], None)
    if name in OWN_KERNELS:
        entry, = setup(f"kernel-{name}")
        image = os.path.join(entry, "boot", "bzImage")
        return Kernel(image, bzimage_release(image),
                      os.path.join(entry, "lib", "modules"))
    if not os.path.isfile(name):
        raise NotStarted(f"--kernel {name}: there is no such file; give "
                         "stock, debug, p2p or the path of a bzImage")
    return Kernel(name, bzimage_release(name),
                  os.path.join(os.path.dirname(os.path.abspath(name)),
                               "lib", "modules"))


def bzimage_release(path):
    """The release that the x86 boot protocol's header points to."""
    with open(path, "rb") as file:
        header = file.read(0x10000)
    if header[0x202:0x206] != b"HdrS":
        raise NotStarted(f"--kernel {path}: this is no bzImage")
    offset = int.from_bytes(header[0x20e:0x210], "little") + 0x200
    return header[offset:].split(b" ", 1)[0].decode("ascii", "replace")


def module_files(release):
    """The project's modules built for that kernel, in loading order."""
    folder = os.path.join(BUILD, "modules", release)
    found = [path for path in (os.path.join(folder, name) for name in MODULES)
             if os.path.exists(path)]
    if not found:
        raise NotStarted(f"there is no module in {folder}; run make modules "
                         "(with KDIR for a kernel other than stock), or give "
                         "--no-modules")
    return found


def install(source, target):
    """Copy one file or folder into the staged tree."""
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if os.path.isdir(source):
        shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True,
                        ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy2(source, target)


def install_programs(sources, folder):
    """Copy programs without their debug information, which is most of them."""
    os.makedirs(folder, exist_ok=True)
    for source in sources:
        target = os.path.join(folder, os.path.basename(source))
        with open(source, "rb") as file:
            is_elf = file.read(4) == b"\x7fELF"
        if is_elf:
            subprocess.run(["strip", "--strip-debug", "-o", target, source],
                           check=True)
        else:
            shutil.copy2(source, target)


def stage(tree, options, token, kernel):
    """Fill the folder that becomes the second archive: what changes."""
    if kernel.modules:
        own = os.path.join(kernel.modules, kernel.release)
        if os.path.isdir(own):
            install(own, f"{tree}/usr/lib/modules/{kernel.release}")
    modules = []
    if not options.no_modules:
        for path in module_files(kernel.release):
            target = "/usr/lib/vm/" + os.path.basename(path)
            install(path, tree + target)
            modules.append(target)
    install_programs(glob.glob(os.path.join(BUILD, "bin", "*")),
                     f"{tree}/usr/bin")
    for path in glob.glob(os.path.join(BUILD, "samples", "*.bpf.o")):
        install(path, f"{tree}/usr/share/blkbpf/samples/"
                + os.path.basename(path))
    for path in glob.glob(os.path.join(BUILD, "selftests", "*")):
        target = f"{tree}/selftests/{os.path.basename(path)}"
        if os.path.basename(path) == "bin":
            install_programs(glob.glob(os.path.join(path, "*")), target)
        else:
            install(path, target)
    for name in ("lib", "guest", "debug", "bench", "bpf"):
        path = os.path.join(ROOT, "selftests", name)
        if os.path.isdir(path):
            install(path, f"{tree}/selftests/{name}")

    environment = {"PYTHONPATH": "/selftests/lib",
                   "PYTHONDONTWRITEBYTECODE": "1",
                   "BLKBPF_SAMPLES": "/usr/share/blkbpf/samples"}
    for item in options.env:
        name, equals, value = item.partition("=")
        if not equals or not name.isidentifier():
            raise NotStarted(f"--env {item}: wants NAME=VALUE")
        environment[name] = value
    os.makedirs(f"{tree}/run.vm", exist_ok=True)
    write(f"{tree}/run.vm/config",
          f"NVME={'1' if options.nvme or options.csd else ''}\n"
          f"SHARE={'1' if options.share else ''}\n"
          f"MODULES={shlex.quote(' '.join(modules))}\n"
          f"TOKEN={token}\n")
    write(f"{tree}/run.vm/environment",
          "".join(f"export {name}={shlex.quote(value)}\n"
                  for name, value in environment.items()))
    # exec finds a program in PATH, never a shell's builtin or function.
    write(f"{tree}/run.vm/command", "exec " + shlex.join(options.command) + "\n")


def write(path, text):
    """Write text that may hold the bytes of an undecodable argument."""
    with open(path, "wb") as file:
        file.write(os.fsencode(text))


def pack(tree, archive):
    """Make a cpio archive of the folder, everything owned by root.

    The same content makes the same archive: an emulated CPU that counts its
    instructions notices the digits of a time stamp.
    """
    names = []
    for folder, folders, files in os.walk(tree):
        folders.sort()
        for name in folders + sorted(files):
            path = os.path.join(folder, name)
            os.utime(path, (0, 0), follow_symlinks=False)
            names.append(os.path.relpath(path, tree))
    with open(archive, "wb") as output:
        subprocess.run(["cpio", "--quiet", "-0", "-o", "-H", "newc",
                        "--reproducible", "-R", "0:0"], cwd=tree, check=True,
                       stdout=output,
                       input=b"".join(os.fsencode(n) + b"\0" for n in names))


def prepare(options, workdir):
    """Everything the machine needs in files; returns a Prepared."""
    kernel = find_kernel(options.kernel)
    base, = setup("guest")
    qemu = os.environ.get("BLKBPF_QEMU") or os.path.join(
        *setup("qemu"), "bin", "qemu-system-x86_64")
    # Digits only: the guest takes as long to read one as another.
    token = f"{secrets.randbelow(10 ** 18):018}"
    tree = os.path.join(workdir, "tree")
    os.mkdir(tree)
    stage(tree, options, token, kernel)
    overlay = os.path.join(workdir, "overlay.cpio")
    pack(tree, overlay)
    initrd = os.path.join(workdir, "initrd")
    with open(initrd, "wb") as output:
        for part in (os.path.join(base, "base.cpio"), overlay):
            with open(part, "rb") as file:
                shutil.copyfileobj(file, output, 1 << 20)
    return Prepared(kernel.image, initrd, token, qemu)
