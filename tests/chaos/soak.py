#!/usr/bin/python3
"""Thousands of builds, a few at a time, on one daemon with short leases and retention of seconds: memory, descriptors
and the database find their level.

    soak.py [--seconds N] [--speed N] BUILDDIR

Each build is a connection of wire.py that brings the list and runs all tests, now and then beside one that takes some
and goes without a word, so that its lease has to run out. Samples are compared between the third and the last quarter
of the time; ended builds leave memory after a minute, and retention looks once a minute, so that less than 400 s show
nothing. --speed: the daemon's clock goes so much faster (shim.c), and the seconds are its own. Called by `make soak`
and by test_soak.py.
"""
import argparse
import itertools
import os
import pathlib
import sqlite3
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))

TESTS = 20
RSS_GROWTH, ROW_BYTES = 0.02, 600  # ROW_BYTES: of what stays of a build for ever, its own row and its indexes
LEAST_S, KEEP_S, LOOK_S = 400, 5, 60  # LOOK_S: how often the daemon looks for results to drop
ROWS_SLACK = 1.2
STREAMS, SAMPLES = 8, 200
LEAST_BUILDS_A_SECOND = 2.5


def run_build(wire, address, number):
    """One build: every 50th has a worker that vanishes with a lease in its hands."""
    ids = [b"t%d.py::test_%d" % (i % 4, i) for i in range(TESTS)]
    build = "b%d" % number
    with wire.Wire(address) as worker:
        worker.hello(build=build, node="0", node_total=1)
        worker.list(ids)
        if number % 50 == 0:
            with wire.Wire(address) as other:
                other.hello(build=build, node="1")
                other.list(ids)
                other.lease()
        while True:
            frame = worker.lease(timeout=20)
            while wire.kind(frame) == "parked":  # until the other's lease is over
                worker.send(heartbeat={})
                try:
                    frame = worker.expect("lease", "drained", timeout=0.2, skip=("ack", "revoke"))
                except wire.WireTimeout:
                    continue
            if wire.kind(frame) == "drained":
                break
            worker.wait_ack(worker.results(frame.lease.lease, list(frame.lease.test)))
        worker.send(bye=dict(reason=wire.pb.BYE_DONE))
        worker.expect("goodbye", skip=("ack", "revoke"))


def sample(daemon):
    """(RSS in KiB, descriptors, bytes of the database and its log, rows of results, builds)"""
    with open("/proc/%d/status" % daemon.pid) as status:
        rss = next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
    size = sum(os.path.getsize(daemon.database + end) for end in ("", "-wal"))
    with sqlite3.connect("file:%s?mode=ro" % daemon.database, uri=True, timeout=20) as db:
        rows, builds = (db.execute("SELECT count(*) FROM " + table).fetchone()[0] for table in ("result", "build"))
    db.close()
    return rss, len(os.listdir("/proc/%d/fd" % daemon.pid)), size, rows, builds


def kept_too_long(samples, horizon_s):
    """(rows, most that there may be) where results are not dropped in time: no more may be there than the builds of the
    last horizon_s brought. None: they are."""
    for when, (*_, rows, builds) in samples:
        before = [values[4] for then, values in samples if then <= when - horizon_s]
        most = ROWS_SLACK * TESTS * (builds - before[-1]) if before else rows
        if rows > most:
            return rows, most
    return None


def judge(samples, horizon_s):
    """({what: text} of what is not bounded, figures). samples: [(time, sample)] of the whole run."""
    begin, took = samples[0][0], samples[-1][0] - samples[0][0]
    before = [values for when, values in samples if 0.5 <= (when - begin) / took < 0.75]
    after = [values for when, values in samples if (when - begin) / took >= 0.75]
    rss, fds, size, rows = ([max(values[i] for values in part) for part in (before, after)] for i in range(4))
    builds, kept = after[-1][4] - before[-1][4], kept_too_long(samples, horizon_s)
    found = {}
    if rss[1] > rss[0] * (1 + RSS_GROWTH):
        found["memory"] = "%d KiB, then %d" % tuple(rss)
    if fds[1] > fds[0] + STREAMS:  # each may have a second connection, or none
        found["descriptors"] = "%d, then %d" % tuple(fds)
    if kept:
        found["results"] = "%d rows where %d may be left" % kept
    if size[1] > size[0] * 1.05 + builds * ROW_BYTES:
        found["file"] = "%d bytes, then %d, in %d builds" % (*size, builds)
    return found, (rss, fds, size, rows)


class Streams:
    """Threads that run build after build until they are told to end."""

    def __init__(self, wire, address):
        self.numbers, self.last, self.over, self.errors = itertools.count(1), 0, threading.Event(), []
        self.threads = [threading.Thread(target=self._run, args=(wire, address)) for _ in range(STREAMS)]
        for thread in self.threads:
            thread.start()

    def _run(self, wire, address):
        try:
            while not self.over.is_set():
                self.last = next(self.numbers)
                run_build(wire, address, self.last)
        except Exception as error:  # told by the main thread
            self.errors.append(error)
            self.over.set()

    def end(self):
        self.over.set()
        for thread in self.threads:
            thread.join()
        if self.errors:
            raise self.errors[0]


def soak(daemon, wire, seconds):
    """(builds, samples)"""
    begin, samples, streams = time.monotonic(), [], Streams(wire, daemon.address)
    while time.monotonic() < begin + seconds and not streams.over.wait(seconds / SAMPLES):
        samples.append((time.monotonic(), sample(daemon)))
    streams.end()
    return streams.last, samples


def options(speed):
    """Of the daemon. Its own clock measures leases, the wall clock for how long results are kept."""
    ms = {"lease_ttl": 1000, "heartbeat": 300, "idle_timeout": 2000}
    return dict({name: "%dms" % (value * speed) for name, value in ms.items()}, keep_results="%ds" % KEEP_S,
                log_level="warn", max_builds=1000)


def run(seconds, speed):
    """(builds, what judge() says) of so many seconds of the daemon's clock."""
    import shardlib
    import wire
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        daemon = shardlib.Daemon(folder, **options(speed))
        if speed > 1:
            daemon.env.update(LD_PRELOAD=str(shardlib.BUILD_DIR / "chaos/shim.so"), SHIM_PROGRAM="shardd",
                              SHIM_SPEED=str(speed))
        with daemon:
            builds, samples = soak(daemon, wire, seconds / speed)
            assert daemon.stop() == 0
    return builds, judge(samples, KEEP_S + 1.5 * LOOK_S / speed + 3)


def main(argv):
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=900)
    parser.add_argument("--speed", type=int, default=1)
    parser.add_argument("builddir")
    args = parser.parse_args(argv[1:])
    os.environ["SHARD_BUILD_DIR"] = os.path.abspath(args.builddir)
    if args.seconds < LEAST_S:
        sys.exit("soak: less than %d seconds show nothing" % LEAST_S)
    builds, (found, (rss, fds, size, rows)) = run(args.seconds, args.speed)
    print("soak: %d builds in %.0f s; third and last quarter at most: %d and %d KiB, %d and %d descriptors, %d and %d "
          "result rows, %d and %d KiB of database" % (
              builds, args.seconds / args.speed, *rss, *fds, *rows, size[0] // 1024, size[1] // 1024))
    print("".join("soak: FAILED: %s: %s\n" % item for item in found.items()), end="")
    return 1 if found or builds < LEAST_BUILDS_A_SECOND * args.seconds / args.speed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
