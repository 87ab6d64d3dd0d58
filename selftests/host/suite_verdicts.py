#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""What the test runner makes of a test file's output and end."""

import contextlib
import importlib.machinery
import importlib.util
import io
import os
import subprocess
import sys
import tempfile

from ktap import cleanup, expect, expect_in, run, test

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)),
                                "..", "lib", "host"))

import suite  # noqa: E402


def verdicts(output, status=0):
    return [(result.name, result.verdict)
            for result in suite.judge(output, status)]


@test
def passes_and_skips_are_counted_apart():
    """A skipped test proves nothing and must not count as passed."""
    expect(verdicts("KTAP version 1\n1..2\nok 1 a\nok 2 b # SKIP no disk\n"),
           [("a", "passed"), ("b", "skipped")], "verdicts")


@test
def failed_test_fails():
    """The simplest of all: not ok is not ok, and is told once."""
    expect(verdicts("1..2\nok 1 a\nnot ok 2 b\n", 1),
           [("a", "passed"), ("b", "failed")], "verdicts")


@test
def missing_plan_fails():
    """A file that died before its plan has tested nothing."""
    expect(verdicts("ok 1 a\n"), [("a", "passed"), ("(file)", "failed")],
           "verdicts")
    expect(verdicts(""), [("(file)", "failed")], "verdicts of no output")


@test
def short_and_long_plans_fail():
    """A file that ended early must not pass with the tests it got to."""
    expect(verdicts("1..3\nok 1 a\n")[-1], ("(file)", "failed"), "short")
    expect(verdicts("1..1\nok 1 a\nok 2 b\n")[-1], ("(file)", "failed"),
           "long")


@test
def status_fails_though_all_is_ok():
    """A crash at the end, or a dead guest, must fail a file that printed ok."""
    for status in (1, 139, 250, 251, 252):
        expect(verdicts("1..1\nok 1 a\n", status)[-1], ("(file)", "failed"),
               f"status {status}")
    expect(verdicts("1..1\nnot ok 1 a\n", 250),
           [("a", "failed"), ("(file)", "failed")], "both")


@test
def todo_that_fails_is_no_failure():
    """A known gap must be visible without breaking the run."""
    expect(verdicts("1..1\nnot ok 1 a # TODO later\n"), [("a", "skipped")],
           "verdicts")


@test
def subtests_count_in_place_of_their_sum():
    """A failed subtest must not hide behind its parent's line."""
    output = ("1..2\n    1..2\n    ok 1 x\n    not ok 2 y\nnot ok 1 a\n"
              "    1..2\n    ok 1 x\nok 2 b\n")
    expect(verdicts(output, 1),
           [("a/x", "passed"), ("a/y", "failed"), ("b/x", "passed"),
            ("b", "failed")], "verdicts")


@test
def wrong_numbers_and_bail_out_fail():
    """Lines that were lost show in the numbers."""
    expect(("b", "failed") in verdicts("1..2\nok 1 a\nok 3 b\n"),
           what="failure of a wrong number")
    expect(("(file)", "failed") in verdicts("1..1\nok 1 a\nBail out! no\n"),
           what="failure of a bail-out")


@test
def failures_are_told_again_at_the_end():
    """Of a run of many files one sees the end, and a log may have no more."""
    folder = os.path.join(os.path.dirname(os.path.realpath(__file__)), "..")
    loader = importlib.machinery.SourceFileLoader(
        "runner", os.path.join(folder, "run"))
    runner = importlib.util.module_from_spec(
        importlib.util.spec_from_loader("runner", loader))
    loader.exec_module(runner)
    reporter = runner.Reporter()
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        for name, output in (("guest/a.py", "1..2\nok 1 good\n# expected 1\n"
                              "not ok 2 bad\n"), ("guest/b.py", "1..1\nok 1 c\n")):
            reporter.report(suite.Outcome(name, suite.judge(output, 0), 1, "log"))
    said.truncate(0)
    said.seek(0)
    with contextlib.redirect_stdout(said):
        reporter.report_failures()
    lines = [line.strip() for line in said.getvalue().splitlines()]
    expect(lines[0], "failed: guest/a.py: bad", "which failed")
    expect(lines[1:-1], ["# expected 1"], "and why")
    expect(lines[-1], lines[0], "what the very end says")


@test
def kernel_trouble_fails_with_its_text():
    """A guest whose kernel complained has failed, whatever its tests say."""
    def trouble(text):
        with tempfile.NamedTemporaryFile("w", delete=False) as file:
            cleanup(os.unlink, file.name)
            file.write(text)
        return suite.kernel_trouble(file.name)

    expect(trouble("[ 1.0] nvme nvme0: 2/0/0 default/read/poll queues\n"), [],
           "trouble in a healthy console")
    for line in ("WARNING: CPU: 0 PID: 1 at block/bio.c:1",
                 "BUG: KASAN: slab-use-after-free in x",
                 "Oops: 0000 [#1] PREEMPT SMP",
                 "INFO: task fio:99 blocked for more than 120 seconds.",
                 "rcu: INFO: rcu_preempt self-detected stall on CPU",
                 "WARNING: possible circular locking dependency detected"):
        result, = trouble(f"[ 1.0] fine\n[ 2.0] {line}\n[ 3.0] more\n")
        expect(result.verdict, "failed", line)
        expect_in(line, result.reason, "reason")
    for line in ("kmemleak: Kernel memory leak detector initialized",
                 "kasan: KernelAddressSanitizer initialized (generic)"):
        expect(trouble(f"[ 1.0] {line}\n"), [], line)


@test
def two_runners_do_not_share_a_file_s_output():
    """If this breaks, two runs in one tree judge each other's results."""
    folder = tempfile.TemporaryDirectory()
    cleanup(folder.cleanup)
    path = os.path.join(folder.name, "guest.x.py.lock")
    child = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.path[:0] = sys.argv[2:]\n"
         "import suite\nwith suite.alone(sys.argv[1], 'guest/x.py'):\n"
         "    print('in', flush=True); sys.stdin.read()", path, *sys.path],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    expect(child.stdout.readline(), "in\n", "the other runner")
    second = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.path[:0] = sys.argv[2:]\n"
         "import suite\nwith suite.alone(sys.argv[1], 'guest/x.py'):\n"
         "    print('in', flush=True)", path, *sys.path],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    expect_in("waiting for another selftests/run in this tree, which is at "
              "guest/x.py", second.stderr.readline(), "sentence")
    expect(second.poll(), None, "state of the second")
    child.communicate("")
    out, _ = second.communicate(timeout=30)
    expect(out, "in\n", "the second, after the first")


@test
def the_debug_kernel_has_its_own_machines_and_tests():
    """Its tests would time out, or those that need it run on another kernel."""
    own = ["--timeout", "300", "--append", "slab_nomerge"]
    words = suite.on_debug_kernel(own, leaks=True)
    expect(words[:4], own, "the file's own words")
    expect(words[4:], ["--kernel", "debug", "--mem", "2G", "--timeout", "1800",
                       "--append", "slab_nomerge kmemleak=on"],
           "words of the kernel")
    expect(suite.on_debug_kernel([], leaks=False)[-2:], ["--timeout", "3600"],
           "the time for a file that gives none; no leaks")
    folder = os.path.join(os.path.dirname(os.path.realpath(__file__)), "..")
    for kernel, kinds in (("stock", {"host", "drive", "guest"}),
                          ("debug", {"guest", "debug"})):
        expect({found.kind for found in suite.find(folder, [], kernel)}, kinds,
               f"folders of --kernel {kernel}")


@test
def a_file_runs_on_the_kernels_that_it_names():
    """A gate that should run on the kernel that finds bugs would not."""
    folder = tempfile.TemporaryDirectory()
    cleanup(folder.cleanup)
    for name, head in (("guest/plain.py", ""),
                       ("guest/both.py", "# kernels: stock debug\n"),
                       ("guest/checked.py", "# vm: --smp 2\n# kernels: debug\n"),
                       ("debug/faults.py", ""), ("host/here.py", "")):
        path = os.path.join(folder.name, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"#!/usr/bin/env python3\n{head}\nimport os\n")

    def found(kernel):
        return {(test.name, test.kernel)
                for test in suite.find(folder.name, [], kernel)}

    stock = {("host/here.py", "stock"), ("guest/plain.py", "stock"),
             ("guest/both.py", "stock")}
    expect(found("stock"), stock, "--kernel stock")
    expect(found("own"), stock | {
        ("guest/both.py", "debug"), ("guest/checked.py", "debug"),
        ("debug/faults.py", "debug")}, "--kernel own")
    expect(found("debug"), {
        (name, "debug") for name in ("guest/plain.py", "guest/both.py",
                                     "guest/checked.py", "debug/faults.py")},
           "--kernel debug")
    expect([test.title for test in suite.find(folder.name, ["both"], "own")],
           ["guest/both.py", "guest/both.py on the debug kernel"], "titles")


@test
def peer_to_peer_tests_run_on_the_kernel_that_can():
    """If this breaks, tests of peer-to-peer DMA run where there is none, or where
    nothing checks them."""
    folder = os.path.join(os.path.dirname(os.path.realpath(__file__)), "..")
    expect(suite.find(folder, ["csd_peer_dma"], "stock"), [], "--kernel stock")
    for kernel in ("own", "debug"):
        found, = suite.find(folder, ["csd_peer_dma"], kernel)
        with tempfile.TemporaryDirectory() as workdir:
            words = found.command(workdir, "/console", "")
        words = words[:words.index("--")]
        expect([value for option, value in zip(words, words[1:])
                if option == "--kernel"], ["debug"], f"kernel of --kernel {kernel}")


@test
def images_are_repeatable():
    """A failure on random data can be looked into only if it comes again."""
    folder = tempfile.TemporaryDirectory()
    cleanup(folder.cleanup)

    def image(seed, size=3 << 19):
        path = os.path.join(folder.name, "image")
        suite.make_image(path, size, seed)
        with open(path, "rb") as file:
            return file.read()

    expect(len(image("0")), 3 << 19, "size")
    expect(image("0") == image("0"), what="the same data for the same seed")
    expect(image("0") != image("1"), what="other data for another seed")
    expect(image("zero", 4096), bytes(4096), "an image of nothing")


run()
