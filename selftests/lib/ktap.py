# SPDX-License-Identifier: GPL-2.0
"""A small KTAP writer for the project's tests.

A test file registers functions and ends with run():

    from ktap import test, skip, run, fail, expect, cleanup, diag

    @test
    def detach_waits_for_inflight():
        \"\"\"If this breaks, rmmod frees a program under a running bio.\"\"\"
        if not os.path.exists("/dev/nullb0"):
            skip("null_blk is not loaded")
        cleanup(detach_all)
        expect(count_matches(), 3, "matches after detach")

    if __name__ == "__main__":
        run()

Each test is one line of the plan. It passes when it returns, fails when it
raises, and is skipped when it calls skip(). Cleanups run in reverse order
after the test, and a cleanup that raises fails the test that added it. In a guest
the kernel's messages are read after each test: trouble in them fails that test.
Where the kernel looks for leaks, a leak of the module fails the file.
"""

import inspect
import os
import re
import subprocess
import sys
import time
import traceback

import kernel_log

_tests = []
_cleanups = []
_UNSET = object()
_watch = kernel_log.Watch()


class Skip(Exception):
    """Raised by skip(); the test could not run here, with the reason."""


class Failure(AssertionError):
    """Raised by fail() and expect*(); the message is the diagnosis."""


def test(arg=None, *, todo=None):
    """Register a function as a test; also @test(todo="why it fails yet").

    A todo test that fails does not fail the file.
    """
    def register(function):
        if not (function.__doc__ or "").strip():
            raise TypeError(f"test {function.__name__} needs a docstring that "
                            "says what would break")
        _tests.append((function.__name__, function, todo))
        return function

    return register(arg) if callable(arg) else register


def test_each(**cases):
    """Register one test per case, named function[case].

    @test_each(b512=512, b4096=4096) calls the function with 512, then with
    4096; a tuple is spread over several arguments.
    """
    def register(function):
        for label, value in cases.items():
            args = value if isinstance(value, tuple) else (value,)

            def call(args=args):
                return function(*args)

            call.__name__ = f"{function.__name__}[{label}]"
            call.__doc__ = function.__doc__
            test(call)
        return function

    return register


def skip(reason):
    """End the running test as skipped."""
    raise Skip(reason)


def fail(message):
    """End the running test as failed."""
    raise Failure(message)


def expect(got, wanted=_UNSET, what="value"):
    """expect(condition, what="…") or expect(got, wanted, "what it is")."""
    if wanted is _UNSET:
        if not got:
            raise Failure(f"{what}: expected something true, got {got!r}")
    elif got != wanted:
        raise Failure(f"{what}: expected {wanted!r}, got {got!r}")
    return got


def expect_in(needle, haystack, what="text"):
    """The container or string must hold needle."""
    if needle not in haystack:
        raise Failure(f"{what}: {needle!r} not found in {haystack!r}")


def expect_match(pattern, text, what="text"):
    """The regular expression must match somewhere; returns the match."""
    found = re.search(pattern, text)
    if not found:
        raise Failure(f"{what}: /{pattern}/ does not match {text!r}")
    return found


def expect_raises(kind, function, *args, errno=None, **kwargs):
    """The call must raise kind (with that errno); returns the exception."""
    try:
        result = function(*args, **kwargs)
    except kind as error:
        if errno is not None and getattr(error, "errno", None) != errno:
            raise Failure(f"expected errno {errno}, got {error!r}") from error
        return error
    raise Failure(f"expected {kind.__name__}, got the result {result!r}")


def cleanup(function, *args, **kwargs):
    """Call function(*args, **kwargs) when the running test has ended."""
    _cleanups.append((function, args, kwargs))


def diag(text):
    """Print a diagnostic; any number of lines."""
    for line in str(text).splitlines():
        print(f"# {line}", flush=True)


def sh(command, *, check=True, timeout=120, stdin=None, **kwargs):
    """Run a command (a list, or a string for the shell), output captured.

    Returns the CompletedProcess with text stdout and stderr. With check, a
    non-zero status fails the test and shows both.
    """
    done = subprocess.run(command, shell=isinstance(command, str), text=True,
                          errors="surrogateescape", timeout=timeout,
                          input=stdin if stdin is not None else "",
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          **kwargs)
    if check and done.returncode:
        raise Failure(f"{command!r} exited with {done.returncode}\n"
                      f"stdout: {done.stdout}\nstderr: {done.stderr}")
    return done


def _run_cleanups():
    problems = []
    while _cleanups:
        function, args, kwargs = _cleanups.pop()
        try:
            function(*args, **kwargs)
        except BaseException:
            problems.append("in a cleanup:\n" + traceback.format_exc())
            if isinstance(sys.exc_info()[1], KeyboardInterrupt):
                raise
    return problems


def _run_one(function):
    """Returns (ok, skip reason or None, diagnosis)."""
    ok, reason, problems = True, None, []
    try:
        result = function()
        if inspect.iscoroutine(result) or inspect.isgenerator(result):
            raise TypeError("a test must not be a generator or coroutine: "
                            "its body never ran")
    except Skip as skipped:
        reason = str(skipped) or "no reason given"
    except KeyboardInterrupt:
        raise
    except BaseException:
        ok = False
        problems.append(traceback.format_exc())
    problems += _run_cleanups()
    trouble = kernel_log.first_trouble(_watch.new_lines())
    if trouble:
        problems.append("\n".join(["the kernel says:", *trouble]))
    return ok and not problems, reason, "\n".join(problems)


def run(argv=None):
    """Run every registered test in order and exit.

    Arguments (or KTAP_FILTER in the environment) choose the tests whose name
    contains one of them. Exits 0 when nothing failed, 1 otherwise.
    """
    wanted = sys.argv[1:] if argv is None else argv
    wanted = wanted or os.environ.get("KTAP_FILTER", "").split()
    chosen = [entry for entry in enumerate(_tests, 1)
              if not wanted or any(word in entry[1][0] for word in wanted)]
    names = [name for name, _, _ in _tests]
    twice = {name for name in names if names.count(name) > 1}

    print("KTAP version 1", flush=True)
    if twice:
        print(f"Bail out! registered twice: {', '.join(sorted(twice))}",
              flush=True)
        sys.exit(2)
    print(f"1..{len(chosen)}", flush=True)
    failed = 0
    for number, (place, (name, function, todo)) in enumerate(chosen, 1):
        started = time.monotonic()
        outcome = _run_one(function)
        diag(f"{name}: {time.monotonic() - started:.1f} s")
        ok, reason, problems = outcome
        if problems:
            diag(problems)
            doc = inspect.cleandoc(_tests[place - 1][1].__doc__)
            diag("what this guards: " + " ".join(doc.split()))
        directive = ""
        if not ok and todo:
            directive = f" # TODO {todo}"
        elif ok and reason is not None:
            directive = " # SKIP " + " ".join(reason.split())
        print(f"{'ok' if ok else 'not ok'} {number} {name}{directive}",
              flush=True)
        failed += not ok and not todo
    if not chosen:
        diag("no test was chosen")
    leaks = kernel_log.leaks()
    if leaks:
        diag(f"memory that was lost in this file:\n{leaks}")
        print("Bail out! the module leaked memory", flush=True)
    sys.exit(1 if failed or leaks or not chosen else 0)
