#!/usr/bin/python3
"""Thousands of builds, a few at a time, on one daemon with short leases and retention of seconds: memory, descriptors
and the database find their level.

    soak.py [--seconds N] BUILDDIR

Each build is a connection of wire.py that brings the list and runs all tests, now and then beside one that takes some
and goes without a word, so that its lease has to run out. Samples are compared between the third and the last quarter
of the time; ended builds leave memory after a minute, and retention looks once a minute, so that less than 400 s show
nothing. Called by `make soak`.
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
LEAST_S = 400
STREAMS, SAMPLE_S = 8, 2


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


def judge(samples):
    """What is not bounded, as texts. samples: [(time, sample)] of the second half."""
    middle = samples[0][0] + (samples[-1][0] - samples[0][0]) / 2
    before = [values for when, values in samples if when < middle]
    after = [values for when, values in samples if when >= middle]
    rss, fds, size, rows = ([max(values[i] for values in part) for part in (before, after)] for i in range(4))
    builds = after[-1][4] - before[-1][4]
    found = []
    if rss[1] > rss[0] * (1 + RSS_GROWTH):
        found.append("memory grows: %d KiB, then %d" % tuple(rss))
    if fds[1] > fds[0]:
        found.append("descriptors grow: %d, then %d" % tuple(fds))
    if rows[1] > rows[0] * 1.25:
        found.append("results are not dropped: %d rows, then %d" % tuple(rows))
    if size[1] > size[0] * 1.05 + builds * ROW_BYTES:
        found.append("the database grows: %d bytes, then %d, in %d builds" % (*size, builds))
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
    """(builds, samples of the second half)"""
    begin, samples, streams = time.monotonic(), [], Streams(wire, daemon.address)
    while time.monotonic() < begin + seconds and not streams.over.wait(SAMPLE_S):
        if time.monotonic() > begin + seconds / 2:
            samples.append((time.monotonic(), sample(daemon)))
    streams.end()
    return streams.last, samples


def main(argv):
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=900)
    parser.add_argument("builddir")
    args = parser.parse_args(argv[1:])
    os.environ["SHARD_BUILD_DIR"] = os.path.abspath(args.builddir)
    import shardlib
    import wire
    if args.seconds < LEAST_S:
        sys.exit("soak: less than %d seconds show nothing" % LEAST_S)
    options = dict(lease_ttl="1s", heartbeat="300ms", keep_results="5s", idle_timeout="2s", log_level="warn",
                   max_builds=1000)
    with tempfile.TemporaryDirectory(prefix="soak-") as folder, shardlib.Daemon(folder, **options) as daemon:
        builds, samples = soak(daemon, wire, args.seconds)
        found, (rss, fds, size, rows) = judge(samples)
        assert daemon.stop() == 0
    print("soak: %d builds in %.0f s; third and last quarter at most: %d and %d KiB, %d and %d descriptors, %d and %d "
          "result rows, %d and %d KiB of database" % (
              builds, args.seconds, *rss, *fds, *rows, size[0] // 1024, size[1] // 1024))
    print("".join("soak: FAILED: %s\n" % text for text in found), end="")
    return 1 if found or builds < 1000 else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
