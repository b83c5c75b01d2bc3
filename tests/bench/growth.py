#!/usr/bin/python3
"""make bench-growth: builds of 62,500 to 500,000 tests are submitted, run by the load generator and reported as JUnit
XML; no step may cost more per test in the largest than in the smallest, beyond a tolerance for noise.

    growth.py BUILD JSON [--rounds 3] [--largest 500000]

Each size is a suite of its own, in a fresh database: all tests are new. Cost is CPU time, of the daemon and of `shard
report`, since wall time on a machine with two cores tells of the load generator as well; it is printed beside. Per step
and size the best of the rounds counts, since what disturbs a run only ever makes it slower. The curve is in
docs/performance.md.
"""
import os
import subprocess
import sys
import time

from benchlib import Daemon, Failed, Others, arguments, clean_env, cpu_s, main, swarm

TOLERANCE = 1.5
STEPS = {"submit": "first chunk of the list to the server's word that it has it", "run": "first request to last ack",
         "report": "shard report --junit"}


def report(args, place, daemon, tests):
    """(CPU seconds of both sides, wall seconds) of shard report; its file has to hold every test."""
    junit, before, begin = place.file("junit.xml"), cpu_s(daemon.pid), time.perf_counter()
    asking = subprocess.Popen([args.build / "shard", "report", "--server", daemon.address, "--project", "bench",
                               "--build", "grown-0", "--junit", junit], env=clean_env(), stdin=subprocess.DEVNULL)
    _, status, usage = os.wait4(asking.pid, 0)
    asking.returncode = os.waitstatus_to_exitcode(status)
    took, cpu = time.perf_counter() - begin, cpu_s(daemon.pid) - before + usage.ru_utime + usage.ru_stime
    cases = junit.read_bytes().count(b"<testcase") if junit.exists() else 0
    if asking.returncode != 0 or cases != tests:
        raise Failed(f"shard report ended with {asking.returncode} and {cases} of {tests} tests")
    return cpu, took


def grow(args, place, tests):
    """{step: (CPU, wall)} in microseconds per test."""
    with Daemon(place) as daemon:
        took = swarm(args.build, daemon, build="grown", tests=tests, workers=50)
        cpu, wall = report(args, place, daemon, tests)
    return {"submit": (took["submit_cpu_us"], took["submit_s"] / tests * 1e6),
            "run": (took["loop_cpu_us"] + took["store_cpu_us"], took["run_s"] / tests * 1e6),
            "report": (cpu / tests * 1e6, wall / tests * 1e6)}


def growth(args, place):
    others = Others()
    sizes = [args.largest // 8, args.largest // 4, args.largest // 2, args.largest]
    rounds = [{size: grow(args, place, size) for size in sizes} for _ in range(args.rounds)]
    best = {size: {step: tuple(min(each[size][step][kind] for each in rounds) for kind in (0, 1)) for step in STEPS}
            for size in sizes}
    print(f"{'us per test':>12} " + " ".join(f"{step:>8} {'(wall)':>8}" for step in STEPS))
    for size in sizes:
        print(f"{size:12,} " + " ".join(f"{cpu:8.2f} {f'({wall:.2f})':>8}" for cpu, wall in best[size].values()))
        args.report.sample(case="growth", tests=size, **best[size])
    for step, what in STEPS.items():
        ratio = best[sizes[-1]][step][0] / best[sizes[0]][step][0]
        args.report.row(f"growth-{step}", f"cost per test of {sizes[-1]:,} against {sizes[0]:,}: {step} ({what})",
                        ratio, TOLERANCE, "x", machine=others.excuse())


if __name__ == "__main__":
    sys.exit(main(growth, arguments(__doc__, "growth", rounds=3, largest=500000)))
