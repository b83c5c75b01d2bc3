#!/usr/bin/python3
"""SIGKILL at every boundary of a system call of a store (storetool.c), by strace.

    syscalls.py [--every N] BUILDDIR

A first run tells which calls there are, how often in each thread. Then, for each name and each number, the tool runs
again and is killed as it enters that call; what it had called durable must be in the database, which must be whole.
--every N: only each Nth of these points. Exits 77 where tracing is not permitted.
"""
import argparse
import collections
import os
import re
import subprocess
import sys
import tempfile

CALL = re.compile(r"^(\d+) +([a-z0-9_]+)\(")
NOT_PERMITTED = 77


def trace(options, argv, log=os.devnull):
    return subprocess.run(["strace", "-f", "-qq", "-o", log, *options, *argv], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, universal_newlines=True, timeout=120, check=False)


def points(tool, folder):
    """[(name, number), …] of all calls of the busiest thread that makes each."""
    log = os.path.join(folder, "log")
    done = trace([], [tool, "write", os.path.join(folder, "first.db")], log)
    if done.returncode != 0:
        print("syscalls: NOT TESTED: strace cannot trace here: " + (done.stderr.strip() or "no reason given"))
        sys.exit(NOT_PERMITTED)
    calls = collections.Counter()
    with open(log) as lines:
        for match in filter(None, map(CALL.match, lines)):
            calls[match.groups()] += 1
    most = collections.Counter()
    for (_, name), count in calls.items():
        most[name] = max(most[name], count)
    return [(name, number) for name in sorted(most) if name != "execve" for number in range(1, most[name] + 1)]


def last(text, what):
    found = re.findall(r"^%s (\d+)$" % what, text, re.MULTILINE)
    return int(found[-1]) if found else 0


def kill_at(tool, folder, name, number):
    """True when the call came. Raises when anything durable is gone."""
    path = os.path.join(folder, "s.db")
    for entry in os.listdir(folder):
        if entry.startswith("s.db"):
            os.unlink(os.path.join(folder, entry))
    written = trace(["-e", "trace=" + name, "-e", "inject=%s:signal=KILL:when=%d" % (name, number)],
                    [tool, "write", path])
    read = subprocess.run([tool, "read", path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          universal_newlines=True, timeout=60, check=False)
    where = "killed at %s number %d: %r, then %r" % (name, number, written.stdout, read.stdout)
    assert read.returncode == 0, where
    assert last(read.stdout, "results") >= last(written.stdout, "durable"), where
    assert last(read.stdout, "rounds") >= last(written.stdout, "rounds"), where
    assert written.returncode != 0 or last(read.stdout, "rounds") == 2, where
    return written.returncode != 0


def main(argv):
    parser = argparse.ArgumentParser()
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("builddir")
    args = parser.parse_args(argv[1:])
    tool = os.path.join(os.path.abspath(args.builddir), "chaos", "storetool")
    killed = 0
    with tempfile.TemporaryDirectory(prefix="syscalls-") as folder:
        every = points(tool, folder)
        chosen = every[::args.every]
        for name, number in chosen:
            killed += kill_at(tool, folder, name, number)
    print("syscalls: %d of %d points, %d kills, 0 results lost, 0 files damaged" % (len(chosen), len(every), killed))
    return 0 if killed > len(chosen) / 2 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv))
