# SPDX-License-Identifier: GPL-2.0
"""The emulated machine: QEMU's command line for what the caller asked for."""

import os

from guest import NotStarted

# The project's QEMU has no firmware of its own: the distribution's will do.
FIRMWARE = ("/usr/share/seabios", "/usr/share/qemu")

# Keys of --nvme that describe the host's side, for -drive; all others are the
# nvme device's.
DRIVE_KEYS = {"aio", "cache", "copy-on-read", "detect-zeroes", "discard",
              "format", "read-only", "readonly", "rerror", "snapshot",
              "werror"}
DRIVE_KEY_PREFIXES = ("throttling.", "bps", "iops", "cache.", "file.")

# All that QEMU can emulate, but not what makes the guest copy memory by the byte
# because the hardware is fast at that: here it is a loop over bytes, a fifth of
# a boot. Five-level page tables, too, only cost.
CPU = "max," + ",".join(f"{feature}=off" for feature in
                        ("la57", "erms", "fsrm", "fsrs", "fsrc", "fzrm"))

# Places on the bus for --nvme and --csd together.
MAX_DRIVES = 12

# Port names must be those that guest/relay.c looks for.
PORTS = ("out", "err", "control")


def escape(value):
    """A value for QEMU's comma-separated options."""
    return value.replace(",", ",,")


def split_options(text):
    """FILE,key=value… as a file and a list of (key, value); ,, is a comma."""
    parts = [part.replace("\0", ",")
             for part in text.replace(",,", "\0").split(",")]
    pairs = []
    for part in parts[1:]:
        key, equals, value = part.partition("=")
        if not equals or not key:
            raise NotStarted(f"{text}: '{part}' is no KEY=VALUE")
        pairs.append((key, value))
    return parts[0], pairs


def is_drive_key(key):
    return key in DRIVE_KEYS or key.startswith(DRIVE_KEY_PREFIXES)


def nvme(number, text, kind="nvme", option="--nvme"):
    """Arguments for one --nvme or --csd."""
    path, pairs = split_options(text)
    if not os.path.exists(path):
        raise NotStarted(f"{option} {path}: there is no such file")
    drive = {"id": f"disk{number}", "if": "none", "format": "raw",
             "file": os.path.abspath(path)}
    device = {"drive": f"disk{number}", "serial": f"vm{number}",
              "id": f"nvme{number}",
              # Fixed and rising addresses: the guest numbers disks by them.
              "addr": f"{0x10 + number:#x}"}
    for key, value in pairs:
        (drive if is_drive_key(key) else device)[key] = value
    return ["-drive", join("", drive), "-device", join(kind, device)]


def join(head, pairs):
    return ",".join(([head] if head else [])
                    + [f"{key}={escape(value)}" for key, value in pairs.items()])


def share(folder):
    """Arguments for --share."""
    if not os.path.isdir(folder):
        raise NotStarted(f"--share {folder}: there is no such folder")
    return ["-fsdev", join("local", {"id": "share", "readonly": "on",
                                     "security_model": "none",
                                     "path": os.path.abspath(folder)}),
            "-device", "virtio-9p-pci,fsdev=share,mount_tag=share"]


def ports(workdir):
    """The serial ports that carry the command's output and its status."""
    arguments = ["-device", "virtio-serial-pci,ioeventfd=off"]
    for name in PORTS:
        path = escape(os.path.join(workdir, name))
        arguments += [
            "-chardev", f"socket,id={name},path={path}",
            "-device", f"virtserialport,chardev={name},name={name}"]
    return arguments


def accelerator(options):
    if not options.icount:
        return ["-accel", "tcg,thread=multi"]
    return ["-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off",
            "-seed", "1", "-rtc", "base=2024-01-01T00:00:00,clock=vm"]


def kernel_line(options):
    words = ["console=ttyS0", "panic=-1",
             "hung_task_panic=0", "ignore_loglevel" if options.verbose
             else "loglevel=5",
             # Nothing here is attacked, and each costs an emulated CPU.
             "mitigations=off", "random.trust_cpu=on", "tsc=reliable",
             "no_timer_check", "rcupdate.rcu_expedited=1",
             # Four tenths of Debian's boot: ciphers that are tried, noise that
             # is judged, certificates that are read, and none of it used.
             "cryptomgr.notests=1",
             "initcall_blacklist=jent_mod_init,load_system_certificate_list",
             "i8042.noaux", "i8042.nokbd", "8250.nr_uarts=1"]
    if options.icount:
        words += ["nokaslr", "norandmaps", "lpj=1000000"]
    return " ".join(words + ([options.append] if options.append else []))


def command_line(options, prepared, workdir):
    """All of QEMU's arguments."""
    if len(options.nvme) + len(options.csd) > MAX_DRIVES:
        raise NotStarted(f"more than {MAX_DRIVES} --nvme and --csd: the bus "
                         "has no more places")
    line = [prepared.qemu, "-nodefaults", "-no-user-config",
            "-machine", "q35,usb=off,smbus=off,sata=off,vmport=off",
            "-display", "none", "-no-reboot"]
    for folder in FIRMWARE:
        if os.path.isdir(folder):
            line += ["-L", folder]
    line += accelerator(options)
    line += ["-cpu", CPU, "-smp", str(options.smp), "-m", options.mem]
    line += ["-kernel", prepared.kernel, "-initrd", prepared.initrd,
             "-append", kernel_line(options)]
    line += ["-chardev", "file,id=console,path="
             + escape(os.path.join(workdir, "console")),
             "-serial", "chardev:console"]
    line += ["-qmp", "unix:" + escape(os.path.join(workdir, "qmp"))]
    line += ports(workdir)
    for number, text in enumerate(options.nvme):
        line += nvme(number, text)
    for number, text in enumerate(options.csd, len(options.nvme)):
        line += nvme(number, text, "nvme-csd", "--csd")
    if options.share:
        line += share(options.share)
    return line + options.qemu_arg
