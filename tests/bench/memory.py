#!/usr/bin/python3
"""make bench-memory: what a million queued tests and an idle connection take of the daemon's memory.

    memory.py BUILD JSON [--tests 500000] [--idle 5000]

A build holds at most 500,000 tests, so that the million is two builds, uploaded by real workers with ids of 86 bytes in
files of 200 tests; once in classes of 10, and once as functions, which cost more and make the row. What the daemon
holds whatever its builds (the cache of SQLite above all) is there before: another build of the same tests stands beside
them. Memory is what is resident.
"""
import resource
import subprocess
import sys
import time

from benchlib import Daemon, Failed, arguments, main

SETTLE_S = 10


def resident(pid):
    """Resident bytes once they no longer change."""
    def now():
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as lines:
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Rss:"))
    end, last = time.monotonic() + SETTLE_S, now()
    while time.monotonic() < end:
        time.sleep(0.3)
        before, last = last, now()
        if before == last:
            break
    return last


class Held:
    """Workers that have said hello and sent their lists, and then say nothing, until the block ends."""

    def __init__(self, args, daemon, **options):
        self.argv = [str(args.build / "bench/swarm"), "--server", daemon.address, "--pid", str(daemon.pid), "--hold"]
        self.argv += [part for name, value in options.items() for part in ("--" + name, str(value))]

    def __enter__(self):
        self.process = subprocess.Popen(self.argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        if not self.process.stdout.readline():
            raise Failed("the workers do not come: " + " ".join(self.argv))
        return self

    def __exit__(self, *_):
        self.process.communicate()


def queued(args, place, unit):
    """(bytes there before, bytes a test) with so many tests in each class."""
    unit = {"unit-tests": unit}
    with Daemon(place) as daemon, Held(args, daemon, build="warm", tests=args.tests, workers=1, **unit):
        before = resident(daemon.pid)
        with Held(args, daemon, build="m", tests=args.tests, builds=2, workers=2, **unit):
            return before, (resident(daemon.pid) - before) / (2 * args.tests)


def idle(args, place):
    with Daemon(place) as daemon, Held(args, daemon, build="warm", tests=1000, workers=1):
        before = resident(daemon.pid)
        with Held(args, daemon, build="idle", tests=1000, workers=args.idle):
            return resident(daemon.pid) - before


def memory(args, place):
    for unit, words in ((10, "in classes of 10"), (1, "functions, each a unit of its own")):
        before, each = queued(args, place, unit)
        args.report.sample(case=words, bytes_each=each, before_bytes=before)
        print(f"{2 * args.tests:,} tests queued in two builds, {words}: {each:.0f} bytes a test, beside "
              f"{before / 1e6:.0f} MB that were there", flush=True)
    args.report.row("memory", "memory of a million queued tests, functions", each, 130, " MB")
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[1] - 64
    if allowed < args.idle:
        print(f"only {allowed} open files are allowed, so many connections it is")
        args.idle = allowed
    bytes_each = idle(args, place) / args.idle
    args.report.row("idle", f"memory of an idle plain connection ({args.idle:,} workers)", bytes_each / 1024, 2, " KiB")


if __name__ == "__main__":
    sys.exit(main(memory, arguments(__doc__, "memory", tests=500000, idle=5000)))
