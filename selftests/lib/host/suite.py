# SPDX-License-Identifier: GPL-2.0
"""The test files, the machines they want, and one run of each."""

import collections
import contextlib
import fcntl
import os
import random
import re
import shlex
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)),
                                ".."))

import kernel_log  # noqa: E402
import tap  # noqa: E402

ENDINGS = (".py", ".sh")
MACHINE = re.compile(r"#\s*vm:\s*(.*)")
KERNELS = re.compile(r"#\s*kernels:\s*(.*)")
IMAGE = re.compile(r"\{img:(\d+)([KMG]?)(?::(\w+))?\}")
UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
# A test on this machine has no machine to time it out.
HOST_TIMEOUT = 900

# A kernel that finds bugs is that much slower, and keeps what was freed.
DEBUG_SLOWDOWN = 6
DEBUG_MEMORY = "2G"
# Looking for leaks makes it twice as slow: for a run of all there is on that kernel,
# and for files that append it to their machine themselves.
LEAKS = "kmemleak=on"
# Folders of tests in running order, cheap ones first, by kernel. "own" are the
# kernels that a file names, and these if it names none.
KINDS = {"stock": ("host", "drive", "guest"), "debug": ("guest", "debug"),
         "own": ("host", "drive", "guest", "debug")}
OWN = {"debug": ("debug",)}
# Those that run on this machine; the others run in a guest.
ON_HOST = ("host", "drive")
# What selftests/vm/run takes when a file says nothing.
VM_TIMEOUT = 600

Outcome = collections.namedtuple("Outcome", "name results seconds log")

_running = set()
_running_lock = threading.Lock()


def stop_all():
    """End what is still running; the runner has been interrupted."""
    with _running_lock:
        for process in _running:
            process.terminate()


def find(folder, names, kernel="stock"):
    """The test files for that kernel in running order; a file that is for two
    kernels is there twice."""
    tests = []
    for kind in KINDS[kernel]:
        home = os.path.join(folder, kind)
        if not os.path.isdir(home):
            continue
        for name in sorted(os.listdir(home)):
            if name.endswith(ENDINGS):
                tests += variants(folder, kind, name, kernel)
    return [test for test in tests
            if not names or any(name in test.name for name in names)]


def variants(folder, kind, name, kernel):
    """The file's tests, one for each kernel that is asked for."""
    test = Test(folder, kind, name)
    if kernel == "own":
        return [Test(folder, kind, name, own, leaks=False)
                for own in test.words(KERNELS) or OWN.get(kind, ("stock",))]
    # Only a kernel with checks has what these need.
    if kernel == "stock" and "stock" not in (test.words(KERNELS) or ("stock",)):
        return []
    return [Test(folder, kind, name, kernel)]


@contextlib.contextmanager
def alone(path, name):
    """Nobody else runs the test file that leaves its output there.

    Two runners at a time would read each other's results, and count them.
    """
    with open(path, "wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting for another selftests/run in this tree, which is "
                  f"at {name}", file=sys.stderr, flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def make_image(path, size, seed):
    """An image of repeatable random data, or of nothing."""
    with open(path, "wb") as file:
        if seed == "zero":
            file.truncate(size)
            return
        source = random.Random(f"image {seed}")
        while size > 0:
            length = min(size, 1 << 20)
            file.write(source.randbytes(length))
            size -= length


def on_debug_kernel(machine, leaks):
    """The machine's options, with what that kernel needs of time and memory, and
    whether it looks for leaks.

    The last of several equal options counts.
    """
    def given(wanted):
        return [value for option, value in zip(machine, machine[1:])
                if option == wanted]

    seconds = float((given("--timeout") or [VM_TIMEOUT])[-1]) * DEBUG_SLOWDOWN
    append = " ".join([*given("--append"), *[LEAKS] * leaks])
    return [*machine, "--kernel", "debug", "--mem", DEBUG_MEMORY,
            "--timeout", f"{seconds:g}", *(["--append", append] if append else [])]


class Test:
    """One test file."""

    def __init__(self, folder, kind, name, kernel="stock", leaks=True):
        self.folder = folder
        self.kind = kind
        self.path = os.path.join(folder, kind, name)
        self.name = f"{kind}/{name}"
        self.kernel = kernel
        self.machine = self.words(MACHINE)
        if kernel == "debug":
            self.machine = on_debug_kernel(self.machine, leaks)

    @property
    def title(self):
        """What tells it from the same file on another kernel."""
        return self.name if self.kernel == "stock" else \
            f"{self.name} on the {self.kernel} kernel"

    def words(self, comment):
        """The words of such comments of the file, before its first code."""
        words = []
        with open(self.path, encoding="utf-8") as file:
            for line in file:
                if line.strip() and not line.startswith("#"):
                    break
                if match := comment.match(line):
                    words += shlex.split(match[1])
        return words

    def machine_words(self, workdir):
        """The machine's options with the images that they ask for."""
        made = 0

        def image(match):
            nonlocal made
            path = os.path.join(workdir, f"image{made}")
            make_image(path, int(match[1]) * UNITS[match[2]],
                       match[3] or str(made))
            made += 1
            return path

        return [IMAGE.sub(image, word) for word in self.machine]

    def command(self, workdir, console, chosen):
        if self.kind in ON_HOST:
            return [self.path]
        return [os.path.join(self.folder, "vm", "run"), "--console", console,
                "--env", f"KTAP_FILTER={chosen}",
                *self.machine_words(workdir), "--", f"/selftests/{self.name}"]

    def run(self, logs, chosen):
        """Run the file and judge all it left behind."""
        if self.kernel != "stock":
            logs = os.path.join(logs, self.kernel)
        os.makedirs(logs, exist_ok=True)
        stem = os.path.join(logs, self.name.replace("/", "."))
        with alone(f"{stem}.lock", self.title):
            return self.run_alone(stem, chosen)

    def run_alone(self, stem, chosen):
        log, console = f"{stem}.log", f"{stem}.console.log"
        for stale in (log, console):
            if os.path.exists(stale):
                os.unlink(stale)
        if not os.access(self.path, os.X_OK):
            return Outcome(self.title, [tap.failure(
                "(file)", "is not executable; chmod +x it")], 0, log)
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="blkbpf-check.") as workdir:
            command = self.command(workdir, console, chosen)
            status = self.execute(command, log, chosen)
        with open(log, encoding="utf-8", errors="replace") as file:
            output = file.read()
        results = judge(output, status) + kernel_trouble(console)
        return Outcome(self.title, results, time.monotonic() - started, log)

    def execute(self, command, log, chosen):
        """The command's exit status, or None when it had to be ended.

        Standard error goes to a file of its own and behind the output: a
        half line of it must not swallow a result.
        """
        environment = dict(os.environ, KTAP_FILTER=chosen, PYTHONPATH=os.path.
                           join(self.folder, "lib"), PYTHONDONTWRITEBYTECODE="1")
        with open(log, "wb") as output, tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output,
                stderr=errors, env=environment)
            with _running_lock:
                _running.add(process)
            try:
                status = process.wait(
                    HOST_TIMEOUT if self.kind in ON_HOST else None)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                status = None
            with _running_lock:
                _running.discard(process)
            errors.seek(0)
            for line in errors:
                output.write(b"#! " + line.rstrip(b"\n") + b"\n")
        return status


def judge(output, status):
    """Results from what the file printed and how it ended."""
    parser = tap.Parser()
    errors = []
    for line in output.splitlines():
        if line.startswith("#! "):
            errors.append(line[3:])
        else:
            parser.line(line)
    results = parser.finish()
    failed = any(result.verdict == "failed" for result in results)
    if status is None:
        results.append(tap.failure(
            "(file)", f"did not end in {HOST_TIMEOUT} s", errors[-40:]))
    elif status and not (status == 1 and failed):
        # 1 goes with a failed test; all else is a failure of its own.
        results.append(tap.failure(
            "(file)", f"ended with status {status}", errors[-40:]))
    return results


def kernel_trouble(console):
    """A failed result when the guest's kernel complained."""
    if not os.path.exists(console):
        return []
    with open(console, encoding="utf-8", errors="replace") as file:
        lines = file.read().splitlines()
    trouble = kernel_log.first_trouble(lines)
    if not trouble:
        return []
    return [tap.failure("(kernel)", trouble[0].strip(), trouble)]
