#!/usr/bin/python3
"""Runs unit programs and end-to-end tests, and adds up what they report: the work of `make check`, `unit` and `e2e`.

    check.py [--unit FOLDER [NAMES,…]]… [--e2e FOLDER [pytest's arguments,…]]…

FOLDER is a build folder; behind it, divided by commas, stand names of unit programs, default all, or arguments of
pytest, default tests/e2e. In the end come the tests that took longest, and what each part took. The last line is
"N passed, N failed, N skipped", alone; 1 is returned when anything failed or nothing ran.
"""
import os
import pathlib
import re
import resource
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

ROOT = pathlib.Path(__file__).resolve().parent.parent
PYTHON = "/usr/bin/python3"
UNIT_LIMIT_S = 300
SIDE_BY_SIDE = min(2 * (os.cpu_count() or 1), 4)  # end-to-end tests wait more than they work
SLOWEST = 10
CMOCKA = {"passed": re.compile(r"^\[  PASSED  \] (\d+) test", re.M),
          "failed": re.compile(r"^\[  FAILED  \] [^\n]*?(\d+) test\(s\)", re.M),
          "skipped": re.compile(r"^\[  SKIPPED \] [^\n]*?(\d+) test\(s\)", re.M)}
# A report is aborted on, not only printed: a sanitizer's finding fails the program it is in.
SANITIZERS = {"ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0:exitcode=99", "UBSAN_OPTIONS": "print_stacktrace=1",
              "TSAN_OPTIONS": "exitcode=99:halt_on_error=1"}


def count_cmocka(output, code):
    """What one program of cmocka reports; dying without a word is a failure too."""
    count = Counter({kind: sum(map(int, pattern.findall(output))) for kind, pattern in CMOCKA.items()})
    if code != 0 and not count["failed"]:
        count["failed"] = 1
    return count


def run_unit(program, env):
    """(outcomes, what to print, seconds)."""
    begin = time.monotonic()
    count, said = watch_unit(program, env)
    return count, said, time.monotonic() - begin


def watch_unit(program, env):
    if not program.exists():
        return Counter(failed=1), f"  {program.name:28} is not built in {program.parent}"
    try:
        done = subprocess.run([program], env=env, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=UNIT_LIMIT_S, check=False)
        code, output = done.returncode, done.stdout.decode(errors="replace")
    except subprocess.TimeoutExpired as late:
        code, output = -9, (late.stdout or b"").decode(errors="replace") + f"\nstopped after {UNIT_LIMIT_S} s\n"
    count = count_cmocka(output, code)
    if not sum(count.values()):
        count["failed"], output = 1, output + "\nreported no test at all\n"
    said = f"  {program.name:28} {say(count)}{'' if code == 0 else f', ended with {code}'}"
    return count, f"{output}\n{said}" if count["failed"] else said


def unit(folder, names, took):
    """Each program that tests/unit/test_NAME.c made, or those named, one a core; a missing one is a failure."""
    env = dict(SANITIZERS, **os.environ)
    names = names or sorted(path.stem for path in (ROOT / "tests/unit").glob("test_*.c"))
    total = Counter()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for name, (count, said, seconds) in zip(names, pool.map(
                lambda name: run_unit(folder / "unit" / name, env), names)):
            print(said, flush=True)
            took.append((seconds, "tests/unit/%s.c" % name, folder))
            total += count
    return total


def count_junit(path, folder, took):
    """Outcomes by test case: one that failed and then failed to tear down counts once."""
    count = Counter()
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        took.append((float(case.get("time", 0)), f"{case.get('classname')}::{case.get('name')}", folder))
        kinds = {child.tag for child in case}
        kind = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
        count[kind] += 1
    return count


def e2e(folder, args, took):
    env = dict(SANITIZERS, **os.environ, SHARD_BUILD_DIR=str(folder))
    with tempfile.TemporaryDirectory() as place:
        junit = os.path.join(place, "junit.xml")
        command = [PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={junit}",
                   "-n", str(SIDE_BY_SIDE), "--confcutdir=tests", *args]
        code = subprocess.run(command, env=env, cwd=ROOT, stdin=subprocess.DEVNULL, check=False).returncode
        count = count_junit(junit, folder, took) if os.path.exists(junit) else Counter()
    if code != 0 and not count["failed"]:
        count["failed"] = 1
        print(f"pytest ended with {code}")
    return count


def say_slowest(took):
    """Lines about the tests and unit programs that took longest."""
    return ["slowest:"] + [f"  {seconds:6.1f} s  {name:.100}, {os.path.relpath(folder, ROOT)}"
                           for seconds, name, folder in sorted(took, key=lambda entry: -entry[0])[:SLOWEST]]


def say(count):
    return ", ".join(f"{count[kind]} {kind}" for kind in ("passed", "failed", "skipped"))


def parts(argv):
    """(kind, folder, names or pytest's arguments) of each part asked for."""
    words = iter(argv)
    found = []
    for word in words:
        if word in ("--unit", "--e2e"):
            found.append((word[2:], pathlib.Path(next(words)).resolve(), ["tests/e2e"] if word == "--e2e" else []))
        elif found:
            found[-1] = (*found[-1][:2], word.split(","))
        else:
            sys.exit(f"{argv}: {word} is neither --unit nor --e2e; see the first lines of tests/check.py")
    return found


def main(argv):
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))  # tests crash on purpose
    total, lines, took = Counter(), [], []
    for kind, folder, args in parts(argv[1:]):
        print(f"{kind} tests, {os.path.relpath(folder, ROOT)}", flush=True)
        begin = time.monotonic()
        count = (unit if kind == "unit" else e2e)(folder, args, took)
        lines.append(f"  {kind:5} {os.path.relpath(folder, ROOT):28} {say(count)}, {time.monotonic() - begin:.0f} s")
        total += count
    print("\n".join(say_slowest(took) + lines))
    print(say(total))
    return 0 if total["passed"] and not total["failed"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv))
