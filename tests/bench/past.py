#!/usr/bin/python3
"""make bench-start, make bench-query: a daemon beside ten million results of 200 builds of 50,000 tests.

    past.py start|query BUILD JSON [--rounds 15] [--tests 50000] [--builds 200]

start: from the call to READY=1 on the notify socket, as systemd would hear it; with nothing to recover, with a running
build of all those tests to recover, and after a kill, when the file is checked first. query: the first 20 rows of slow
and of flaky, from the question on a Unix socket to the last byte of the answer, on a connection that stands.

The database is made by the store's own code (history.c) at the first call, which takes a few minutes, and kept.
"""
import os
import select
import signal
import socket
import sys
import time

from benchlib import Daemon, Failed, ROOT, arguments, clean_env, copy, cpu_s, main, median, past, swarm

START_MS = 50


class Starting(Daemon):
    """A daemon whose start is timed, from the call to READY=1 on its notify socket: .ready_ms, .cpu_ms."""

    def __init__(self, place, database, **options):
        path = place.socket()
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(str(path))
        super().__init__(place, database, env=clean_env(NOTIFY_SOCKET=str(path)), **options)

    def __enter__(self):
        self.begin = time.perf_counter()
        return super().__enter__()

    def wait_ready(self, until):
        said = b""
        while b"READY=1" not in said:
            ready, _, _ = select.select([self.notify], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                self.end()
                raise Failed("shardd does not say that it is ready")
            said = self.notify.recv(4096)
        self.ready_ms = (time.perf_counter() - self.begin) * 1000
        self.cpu_ms = cpu_s(self.pid) * 1000

    def __exit__(self, *_):
        super().__exit__()
        self.notify.close()


def starts(place, database, rounds, signo=signal.SIGTERM):
    """Medians (wall ms, CPU ms) of starts; each daemon ends by the signal, the next start finds what that leaves."""
    took = []
    for _ in range(rounds):
        with Starting(place, database) as daemon:
            took.append((daemon.ready_ms, daemon.cpu_ms))
            daemon.end(signo)
    return tuple(median(side) for side in zip(*took))


def start_row(args, row, what, took):
    wall, cpu = took
    machine = f"it needs {cpu:.0f} ms of CPU time, the rest it waits for a core" if cpu <= START_MS else None
    args.report.row(row, what, wall, START_MS, " ms", machine=machine, cpu_ms=cpu)


def start(args, place):
    database = copy(place, args.past)
    start_row(args, "start", f"start beside {args.results:,} results, {args.tests:,} tests known",
              starts(place, database, args.rounds))
    with Daemon(place, database) as daemon:
        took = swarm(args.build, daemon, build="begun", tests=args.tests, workers=64, rate=150, seconds=1)
    start_row(args, "start-running", f"the same with a running build of {args.tests:,} tests to recover, "
              f"{took['results']:,} of them done", starts(place, database, args.rounds))
    starts(place, database, 1, signal.SIGKILL)
    killed, _ = starts(place, database, 2, signal.SIGKILL)
    args.report.sample(case="after a kill", start_ms=killed)
    print(f"after a kill, with a check of the whole file: {killed:.0f} ms (no target)")


def query(args, place):
    sys.path.insert(0, str(ROOT / "tests/e2e"))
    import wire  # pylint: disable=import-outside-toplevel
    with Daemon(place, copy(place, args.past)) as daemon, wire.Wire(daemon.address) as asking:
        asking.hello(role=wire.pb.ROLE_ADMIN, project="bench")
        for row, kind in (("slow", wire.pb.QUERY_SLOW), ("flaky", wire.pb.QUERY_FLAKY)):
            took = []
            for number in range(args.rounds + 1):
                begin = time.perf_counter()
                asking.send(seq=number + 1, query=dict(kind=kind, project="bench", suite="default", limit=20))
                answer = asking.expect("rows").rows
                took.append((time.perf_counter() - begin) * 1000)
                if len(answer.cell) < 20 * len(answer.column) and args.tests >= 10000:
                    raise Failed(f"{row} has only {len(answer.cell)} cells")
            args.report.row(row, f"{row} over {args.results:,} results", median(took[1:]), 20, " ms", first_ms=took[0])


def run(args, place):
    args.past = past(args.build, args.tests, args.builds, 0)
    args.results = args.tests * args.builds
    PARTS[NAME](args, place)


PARTS = {"start": start, "query": query}

if __name__ == "__main__":
    NAME = sys.argv.pop(1) if len(sys.argv) > 1 and sys.argv[1] in PARTS else sys.exit(__doc__)
    os.environ.setdefault("TZ", "UTC")
    sys.exit(main(run, arguments(__doc__, NAME, rounds=15, tests=50000, builds=200)))
