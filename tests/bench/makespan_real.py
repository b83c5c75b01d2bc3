#!/usr/bin/python3
"""make bench-makespan-real: whole runs of real suites on two workers: by `shard local`, by a shardd with a `shard run`
in each of two jobs, by pytest-xdist in each mode it has, and by static splits. Then a generated suite that sleeps, with
a worker twice as slow, with more workers than cores, and as the first build with and without imported durations.

    makespan_real.py BUILD JSON [--rounds 3] [--sleep 45] [--many 8] [--real 1]

The suites come with Debian packages: networkx.algorithms (2,349 tests in 162 files) and passlib.tests.test_handlers
(2,304 tests in one file of 50 classes). Each round runs every way once, in a changing order; ratios are taken within a
round and their median counts. Every run has to pass the same tests. Histories are warm: one run of each of our ways
goes before. The suite that sleeps holds --sleep seconds of work; its lower bound is known exactly, and its makespan is
from the first test's start to the last one's end.
"""
import json
import random
import re
import subprocess
import sys

from benchlib import Daemon, Others, PYTEST, arguments, main, median
from realsuite import Suite

SUITES = {"networkx": ["--pyargs", "networkx.algorithms"], "passlib": ["--pyargs", "passlib.tests.test_handlers"]}
MODES = ("load", "loadfile", "loadscope", "worksteal")
XDIST_TARGET, STATIC_TARGET, SLOW_TARGET = 1.03, 1.0, 1.10
FILES, TESTS = 12, 20  # of the suite that sleeps
# A worker may be twice as slow. Each process tells when tests begin and end.
CONFTEST = '''
import os, time

def pytest_configure():
    slow = os.environ.get("BENCH_SLOW")
    factor = 2 if slow in (os.environ.get("SHARD_NODE"), os.environ.get("PYTEST_XDIST_WORKER")) and slow else 1
    sleep = time.sleep
    time.sleep = lambda seconds: sleep(seconds * factor)

def note():
    with open(os.environ["BENCH_NOTES"], "a") as notes:
        notes.write("%.6f\\n" % time.monotonic())

def pytest_runtest_logstart():
    if "PYTEST_XDIST_WORKER" in os.environ or "SHARD_NODE" in os.environ:
        note()

def pytest_runtest_logfinish():
    pytest_runtest_logstart()
'''


def xdist_modes():
    """(those that the installed xdist has, those that it has not): worksteal came with 3.2."""
    text = subprocess.run([*PYTEST, "--help"], stdout=subprocess.PIPE, check=True).stdout.decode()
    offered = set(re.findall(r"^ +(?:\(default\) )?(\w+): ", text, re.M))
    return [mode for mode in MODES if mode in offered], [mode for mode in MODES if mode not in offered]


def rotated(items, by):
    by %= len(items)
    return items[by:] + items[:by]


# ---- real suites

def real_rounds(args, place, suite, modes):
    """{way: its wall seconds, a round each}."""
    with Daemon(place) as daemon:
        ways = {"local": suite.local, "run": lambda: suite.jobs(daemon)}
        ways.update({"xdist-" + mode: lambda mode=mode: suite.xdist(mode) for mode in modes})
        ways.update({kind: lambda kind=kind: suite.static(kind) for kind in suite.shares})
        for way in ("local", "run"):
            ways[way]()  # its history
        took = {way: [] for way in ways}
        for number in range(args.rounds):
            for way in rotated(list(ways), number * 3):
                took[way].append(ways[way]())
            print(f"  round {number + 1}: " + ", ".join(f"{way} {took[way][-1]:.1f} s" for way in ways), flush=True)
    return took


def real(args, place, name, modes):
    suite = Suite(args.build, place, name, SUITES[name])
    suite.learn()
    work = sum(suite.durations.values())
    print(f"{name}: {suite.passed} tests pass, {work:.1f} s of work, longest {max(suite.durations.values()):.1f} s, "
          f"{suite.workers} workers", flush=True)
    others = Others()
    took = real_rounds(args, place, suite, modes)
    machine = others.excuse()
    args.report.sample(case=name, work_s=work, passed=suite.passed, took_s=took, others_cores=others.cores())

    def ratio(way, others):
        return median(mine / min(round_) for mine, round_ in zip(took[way], zip(*(took[other] for other in others))))

    xdist = ["xdist-" + mode for mode in modes]
    for way, words in (("local", "shard local -n 2"), ("run", "shardd and two shard run")):
        args.report.row(f"real-{name}-{way}-xdist", f"{name}: {words} against the best of xdist's {', '.join(modes)}",
                        ratio(way, xdist), XDIST_TARGET, "x", machine=machine)
    args.report.row(f"real-{name}-static-count", f"{name}: shard local -n 2 against a static split by count",
                    ratio("local", ["static-count"]), STATIC_TARGET, "x", machine=machine)
    print(f"{name}: shard local -n 2 against a static split by the durations of a run just before: "
          f"{ratio('local', ['static-durations']):.3f}x (no target: nobody knows them)", flush=True)


# ---- a suite that sleeps

def sleeping_suite(args, place):
    """Lognormal naps, by file; the same every time."""
    dice = random.Random(2024)
    naps = [[dice.lognormvariate(0, 1) for _ in range(TESTS)] for _ in range(FILES)]
    scale = args.sleep / sum(map(sum, naps))
    files, durations = {"conftest.py": CONFTEST}, {}
    for number, row in enumerate(naps):
        tests = [(f"test_{i:02}", nap * scale) for i, nap in enumerate(row)]
        files[f"test_file_{number:02}.py"] = "import time\n" + "".join(
            f"\n\ndef {name}():\n    time.sleep({nap:.4f})\n" for name, nap in tests)
        durations.update({f"test_file_{number:02}.py::{name}": nap for name, nap in tests})
    suite = Suite(args.build, place, "sleeps", [], files=files)
    suite.knows(len(durations), durations)
    return suite


def noted(suite, run, **env):
    """(wall seconds of the run, those from the first start to the last end of a test)."""
    notes = suite.place.file("notes")
    suite.more = dict(BENCH_NOTES=str(notes), **env)
    wall = run()
    times = [float(line) for line in notes.read_text().split()]
    return wall, max(times) - min(times)


def slow_worker(args, suite, daemon):
    bound = max(args.sleep / 1.5, max(suite.durations.values()))
    rounds = [(noted(suite, lambda: suite.jobs(daemon), BENCH_SLOW="1")[1] / bound,
               noted(suite, lambda: suite.xdist("load"), BENCH_SLOW="gw1")[1] / bound)
              for _ in range(min(args.rounds, 2))]
    ours, xdist = (median(side) for side in zip(*rounds))
    print(f"sleeps, one of 2 workers twice as slow: {ours:.3f} of the lower bound of {bound:.1f} s; xdist load "
          f"{xdist:.3f}", flush=True)
    args.report.row("real-slow", "makespan against the lower bound, real processes, one of two workers 2x slow", ours,
                    SLOW_TARGET, "x", xdist_load=xdist)


def many_workers(args, suite, modes):
    """xdist waits until all its workers have collected, ours begin one by one: wall seconds are compared."""
    suite.workers = args.many
    bound = max(args.sleep / args.many, max(suite.durations.values()))
    others = Others()
    ways = {"local": suite.local, **{mode: lambda mode=mode: suite.xdist(mode) for mode in modes}}
    rounds = [{way: noted(suite, run) for way, run in ways.items()} for _ in range(args.rounds)]
    for way in ways:
        print(f"sleeps, {args.many} workers, {way}: {median(each[way][0] for each in rounds):.1f} s, tests "
              f"{median(each[way][1] for each in rounds) / bound:.3f} of the lower bound of {bound:.1f} s", flush=True)
    args.report.row("real-many", f"sleeps: shard local -n {args.many} against the best of xdist's modes",
                    median(each["local"][0] / min(each[mode][0] for mode in modes) for each in rounds), XDIST_TARGET,
                    "x", machine=others.excuse(), of_bound=median(each["local"][1] for each in rounds) / bound)


def first_build(args, place, suite):
    """What an import is worth to a daemon that has timed nothing yet."""
    suite.workers = 4
    bound = max(args.sleep / suite.workers, max(suite.durations.values()))
    told, ratio = place.file("test_durations"), {}
    told.write_text(json.dumps(suite.durations))
    for how in ("without", "with"):
        with Daemon(place) as daemon:
            if how == "with":
                subprocess.run([str(args.build / "shard"), "import", "--project", "bench", "--suite", suite.name,
                                str(told)], check=True, stdout=subprocess.DEVNULL,
                               env=suite.env(SHARD_SERVER=daemon.address))
            ratio[how] = noted(suite, lambda daemon=daemon: suite.jobs(daemon))[1] / bound
    print(f"sleeps, first build on {suite.workers} workers: {ratio['without']:.3f} of the lower bound of {bound:.1f} s "
          f"without an import, {ratio['with']:.3f} with one", flush=True)
    args.report.sample(case="import", bound_s=bound, ratio=ratio)


def sleeps(args, place, modes):
    suite = sleeping_suite(args, place)
    first_build(args, place, suite)
    with Daemon(place) as daemon:
        suite.workers = max(args.many, 2)
        noted(suite, suite.local)  # histories
        noted(suite, lambda: suite.jobs(daemon))
        suite.workers = 2
        slow_worker(args, suite, daemon)
    if args.many:
        many_workers(args, suite, modes)


def makespan_real(args, place):
    modes, lacking = xdist_modes()
    for mode in lacking:
        print(f"SKIPPED: xdist {mode}: the installed pytest-xdist does not have it")
    args.report.sample(case="xdist", modes=modes, lacking=lacking)
    sleeps(args, place, modes)
    for name in SUITES if args.real else ():
        real(args, place, name, modes)


if __name__ == "__main__":
    sys.exit(main(makespan_real, arguments(__doc__, "makespan-real", rounds=3, sleep=45, many=8, real=1)))
