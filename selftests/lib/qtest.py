# SPDX-License-Identifier: GPL-2.0
"""A machine without a guest: QEMU under -accel qtest.

No CPU runs. The test is the host: it reads and writes ports and memory through
QEMU's qtest socket, and plugs, unplugs and sets by QMP on a second one. The
machine's RAM is a file that the test maps too, so that queues and buffers cost
no socket traffic. The virtual clock stands still but for clock_step().

    with Machine() as machine:
        machine.plug("nvme", "serial=1", drive=machine.disk(path))
"""

import json
import mmap
import os
import random
import socket
import subprocess
import tempfile
import time

TOP = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
PAGE = 4096

# RAM below this is shared with legacy devices.
RAM_FIRST = 1 << 20
# Behind every root port a piece of the address space for BARs.
WINDOW_FIRST = 0xc0000000
WINDOW_SIZE = 0x08000000
# Properties of hw/nvme that are not written as QEMU's others are.
UNDERSCORED = {"cmb_size_mb", "max_ioqpairs", "sriov_max_vfs"}
# What sanitizers say, wherever in a line.
TROUBLE = ("ERROR: AddressSanitizer", "runtime error:",
           "ERROR: LeakSanitizer", "Assertion `", "assertion failed")


class Died(Exception):
    """QEMU ended, or a sanitizer found something; the message has its words."""


class QmpError(Exception):
    """A QMP command was refused; .sentence is what it said."""

    def __init__(self, command, error):
        super().__init__(f"{command}: {error['desc']}")
        self.sentence = error["desc"]


def qemu_path():
    """$BLKBPF_QEMU, or the one that the set-up makes."""
    named = os.environ.get("BLKBPF_QEMU")
    if named:
        return named
    folder = subprocess.run([f"{TOP}/tools/setup/get", "qemu"], text=True,
                            stdout=subprocess.PIPE, check=True).stdout.strip()
    return f"{folder}/bin/qemu-system-x86_64"


class Ram:
    """The machine's memory, mapped, and an allocator of pages."""

    def __init__(self, path, size):
        self.size = size
        with open(path, "r+b") as file:
            self.map = mmap.mmap(file.fileno(), size)
        self.next = RAM_FIRST

    def mark(self):
        return self.next

    def release(self, mark):
        """Free all that was allocated since that mark()."""
        self.next = mark

    def pages(self, number):
        """The address of so many pages in a row."""
        at = self.next
        self.next += number * PAGE
        if self.next > self.size:
            raise MemoryError(f"the machine's {self.size} bytes are used up")
        return at

    def read(self, at, length):
        return self.map[at:at + length]

    def write(self, at, data):
        self.map[at:at + len(data)] = bytes(data)


class Socket:
    """Lines from and to QEMU."""

    def __init__(self, path, timeout=30):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout)
        self.socket.connect(path)
        self.rest = b""

    def send(self, line):
        self.socket.sendall(line)

    def line(self):
        while b"\n" not in self.rest:
            more = self.socket.recv(1 << 16)
            if not more:
                raise ConnectionError("QEMU closed its socket")
            self.rest += more
        line, _, self.rest = self.rest.partition(b"\n")
        return line

    def close(self):
        self.socket.close()


class Machine:
    """QEMU's q35 without devices but root ports rp0, rp1, …

    Each port is a slot that one drive can be plugged into and pulled from, as
    on a server's front; the n-th is bus n + 1.
    """

    def __init__(self, *arguments, memory=128 << 20, ports=3, qemu=None):
        self.folder = tempfile.TemporaryDirectory(prefix="blkbpf-qtest.",
                                                  dir=self.fast_folder())
        self.ports = ports
        self.disks = 0
        self.plugged = 0
        self.slots = {}
        self.events = []
        self.process = None
        self.files = {name: os.path.join(self.folder.name, name)
                      for name in ("ram", "firmware", "qtest", "qmp", "stderr")}
        for name, size in (("ram", memory), ("firmware", 1 << 16)):
            with open(self.files[name], "wb") as file:
                file.truncate(size)
        try:
            self.ram = Ram(self.files["ram"], memory)
            self.start(qemu or qemu_path(), memory, arguments)
            self.connect()
        except BaseException:
            self.kill()
            raise

    @staticmethod
    def fast_folder():
        return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None

    def start(self, qemu, memory, arguments):
        path = self.files
        line = [qemu, "-nodefaults", "-no-user-config", "-display", "none",
                "-machine", "q35,memory-backend=ram", "-accel", "qtest",
                "-m", str(memory >> 20), "-bios", path["firmware"],
                "-object", f"memory-backend-file,id=ram,size={memory},"
                f"mem-path={path['ram']},share=on",
                # Slots are pulled by their own registers, not by ACPI.
                "-global", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off",
                "-qtest", f"unix:{path['qtest']},server=on,wait=off",
                "-qtest-log", "none",
                "-qmp", f"unix:{path['qmp']},server=on,wait=off"]
        for port in range(self.ports):
            line += ["-device", f"pcie-root-port,id=rp{port},chassis={port + 1},"
                     f"slot={port + 1},addr={0x10 + port:#x}"]
        with open(path["stderr"], "wb") as errors:
            self.process = subprocess.Popen(
                [*line, *arguments], stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=errors)

    def open_socket(self, name):
        """As soon as QEMU listens there."""
        end = time.monotonic() + 60
        while True:
            try:
                return Socket(self.files[name])
            except OSError as error:
                if self.process.poll() is not None or time.monotonic() > end:
                    raise Died("QEMU did not start:\n"
                               f"{self.stderr()}") from error
            time.sleep(0.005)

    def connect(self):
        self.qtest = self.open_socket("qtest")
        self.qmp_socket = self.open_socket("qmp")
        self.qmp_socket.line()	# the greeting
        self.qmp("qmp_capabilities")
        for port in range(self.ports):
            self.set_up_port(port)

    def stderr(self):
        with open(self.files["stderr"], encoding="utf-8",
                  errors="replace") as file:
            return file.read()

    def check(self):
        """Raise Died if QEMU has ended."""
        if self.process.poll() is not None:
            self.died()

    def died(self):
        """Raise what is known of QEMU's end."""
        try:
            status = self.process.wait(5)
        except subprocess.TimeoutExpired:
            status = "does not answer; it was killed"
            self.process.kill()
            self.process.wait()
        raise Died(f"QEMU: {status}\n{self.stderr()[-20000:]}")

    # The qtest protocol

    def command(self, text):
        """One command; the words of its answer."""
        return self.commands([text])[0]

    def commands(self, texts):
        """Commands that are sent together: QEMU's main loop does nothing between
        them. The words of each answer."""
        texts = list(texts)
        try:
            self.qtest.send("".join(f"{text}\n" for text in texts).encode())
            return [self.answer(text) for text in texts]
        except OSError:
            self.died()

    def answer(self, text):
        answer = self.qtest.line()
        while answer.startswith(b"IRQ"):
            answer = self.qtest.line()
        words = answer.decode().split()
        if not words or words[0] != "OK":
            raise RuntimeError(f"qtest: {text!r}: {answer!r}")
        return words[1:]

    def outl(self, port, value):
        self.command(f"outl {port:#x} {value:#x}")

    def inl(self, port):
        return int(self.command(f"inl {port:#x}")[0], 0)

    def writel(self, address, value):
        self.command(f"writel {address:#x} {value & 0xffffffff:#x}")

    def writeq(self, address, value):
        self.command(f"writeq {address:#x} {value:#x}")

    def readl(self, address):
        return int(self.command(f"readl {address:#x}")[0], 0)

    def readq(self, address):
        return int(self.command(f"readq {address:#x}")[0], 0)

    def read(self, address, length):
        """Bytes by the bus, where Ram.read() does not reach: of a BAR."""
        return bytes.fromhex(self.command(
            f"read {address:#x} {length:#x}")[0][2:])

    def write(self, address, data):
        self.command(f"write {address:#x} {len(data):#x} 0x{bytes(data).hex()}")

    def clock_step(self, ns=None):
        """Let virtual time go on, by default to the next timer; the new time."""
        text = "clock_step" if ns is None else f"clock_step {ns}"
        return int(self.command(text)[0])

    # QMP

    def qmp(self, name, **arguments):
        """One command; its result. A refusal raises QmpError."""
        try:
            self.qmp_socket.send(json.dumps(
                {"execute": name, "arguments": arguments}).encode() + b"\n")
            while True:
                answer = json.loads(self.qmp_socket.line())
                if "event" in answer:
                    self.events.append(answer)
                elif "error" in answer:
                    raise QmpError(name, answer["error"])
                else:
                    return answer["return"]
        except OSError:
            self.died()

    def wait_event(self, name, **data):
        """Wait for an event with those data, which is taken from the list."""
        while True:
            for at, event in enumerate(self.events):
                if event["event"] == name and data.items() <= event.get(
                        "data", {}).items():
                    return self.events.pop(at)
            try:
                answer = json.loads(self.qmp_socket.line())
            except OSError:
                self.died()
            if "event" in answer:
                self.events.append(answer)

    # Disks and slots

    def disk(self, size, data=None, **options):
        """A new image, with random or the given data; the id of its drive.

        It lies in memory; .disk_file(id) is its path.
        """
        name = f"disk{self.disks}"
        self.disks += 1
        path = os.path.join(self.folder.name, name)
        with open(path, "wb") as file:
            if data is None:
                file.truncate(size)
            else:
                file.write(data)
        self.qmp("blockdev-add", **{
            "driver": "raw", "node-name": name,
            "file": {"driver": "file", "filename": path,
                     "cache": {"no-flush": True}}, **options})
        return name

    def slow_disk(self, size, data=None):
        """A disk that serves its first request, and the next ones as virtual
        time goes by: a mebibyte a second."""
        below = self.disk(size, data)
        name = f"slow-{below}"
        self.qmp("object-add", **{
            "qom-type": "throttle-group", "id": f"group-{below}",
            "limits": {"bps-total": 1 << 20}})
        self.qmp("blockdev-add", **{
            "driver": "throttle", "node-name": name, "file": below,
            "throttle-group": f"group-{below}"})
        return name

    def late_disk(self, size, ns):
        """A disk without data that takes so long for each request, by the
        host's clock: it does not wait for the test, as a slow one does."""
        name = f"late{self.disks}"
        self.disks += 1
        self.qmp("blockdev-add", **{
            "driver": "null-co", "node-name": name, "size": size,
            "latency-ns": ns, "read-zeroes": True})
        return name

    def disk_file(self, name):
        return os.path.join(self.folder.name, name)

    def config_read(self, bus, devfn, at):
        self.outl(0xcf8, 1 << 31 | bus << 16 | devfn << 8 | at & 0xfc)
        return self.inl(0xcfc)

    def config_write(self, bus, devfn, at, value):
        self.outl(0xcf8, 1 << 31 | bus << 16 | devfn << 8 | at & 0xfc)
        self.outl(0xcfc, value & 0xffffffff)

    def capability(self, bus, devfn, wanted):
        """Where in the configuration space the capability is."""
        at = self.config_read(bus, devfn, 0x34) & 0xfc
        while at:
            word = self.config_read(bus, devfn, at)
            if word & 0xff == wanted:
                return at
            at = word >> 8 & 0xfc
        raise LookupError(f"no capability {wanted:#x}")

    @staticmethod
    def port_devfn(port):
        return (0x10 + port) << 3

    def window(self, port):
        """First address behind the port."""
        return WINDOW_FIRST + port * WINDOW_SIZE

    def set_up_port(self, port):
        """What firmware does: bus numbers, windows; and no power."""
        devfn, first = self.port_devfn(port), self.window(port)
        last = first + WINDOW_SIZE - 1
        self.config_write(0, devfn, 0x18, (port + 1) << 16 | (port + 1) << 8)
        self.config_write(0, devfn, 0x20,
                          last & 0xfff00000 | first >> 16 & 0xfff0)
        self.config_write(0, devfn, 0x24, 0x0000fff0)
        self.config_write(0, devfn, 0x04, 0x6)
        self.power(port, True)

    def power(self, port, on):
        """The slot's power controller and its lamp. Off: the drive is gone."""
        devfn = self.port_devfn(port)
        at = self.capability(0, devfn, 0x10) + 0x18
        self.config_write(0, devfn, at, 0x1c0 if on else 0x7c0)

    def plug(self, driver, port=0, **properties):
        """device_add into an empty slot; raises QmpError when it is refused.

        Property names are written with "_"; the device has "-", but for some
        of hw/nvme's.
        """
        name = f"{driver}-{self.plugged}"
        self.plugged += 1
        self.power(port, True)
        self.qmp("device_add", driver=driver, id=name, bus=f"rp{port}",
                 **{key if key in UNDERSCORED else key.replace("_", "-"): value
                    for key, value in properties.items()})
        self.slots[port] = name
        return name

    def pull(self, port):
        """Take the drive out, whatever it does. Returns when it is gone."""
        name = self.slots.pop(port)
        self.power(port, False)
        self.wait_event("DEVICE_DELETED", device=name)

    # Ending

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.folder.cleanup()

    def close(self):
        """End QEMU in order; raises Died when it had anything to say."""
        try:
            if self.process.poll() is None:
                self.qmp("quit")
            try:
                status = self.process.wait(60)
            except subprocess.TimeoutExpired:
                status = "did not end"
            said = self.stderr()
            if status or any(word in said for word in TROUBLE):
                raise Died(f"QEMU: {status}\n{said[-20000:]}")
        finally:
            self.kill()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind:
            self.kill()
        else:
            self.close()


def shuffled(items, seed=0):
    """Those items in another order, the same each time."""
    items = list(items)
    random.Random(seed).shuffle(items)
    return items
