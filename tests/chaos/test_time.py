"""Time that stands still for the daemon, for a worker, or for both, and a worker's wall clock that jumps: nothing is
lost by it, and nothing is counted twice."""
import datetime
import os
import signal
import time

import pytest
import shardlib
from shardlib import attempts, descendants, eventually, make_suite, settling, start_workers
from wire import Wire, kind

# One test that runs until the file that GO names is there, and then crashes if ABORT is set.
UNTIL_TOLD = {"test_it.py": '''
    import os, time

    def test_it():
        while not os.path.exists(os.environ["GO"]):
            time.sleep(0.01)
        if "ABORT" in os.environ:
            os.abort()
'''}
NAME = "test_it.py::test_it"
LATER = "def test_bad(): assert 0\ndef test_ok(): pass\n"
HOUR_S, LIMIT_US = 3600, shardlib.LIMIT_S * 1000000
LATE = 2  # a flag of an attempt: its lease had ended


def runs(daemon):
    return {name: len(rows) for name, rows in attempts(daemon).items()}


def send(pids, signo):
    for pid in pids:
        os.kill(pid, signo)


def said(wire):
    """What the daemon has to say to a connection by now, but for the answers to heartbeats."""
    heard = []
    for _ in range(2):  # what was on its way when the first came is there when the second is answered
        wire.send(heartbeat={})
        while not heard or kind(heard[-1]) != "ack":
            heard.append(wire.recv())
        heard.pop()
    return heard


def leases(wire):
    return [frame.lease for frame in said(wire) if kind(frame) == "lease"]


def end_of(worker, beside):
    """Kinds of what the one beside it hears until the worker has ended; it tells that it lives meanwhile."""
    heard = []
    while worker.running():
        heard += said(beside)
        time.sleep(0.05)
    return [kind(frame) for frame in heard + said(beside)]


def begun(tmp_path, daemon):
    """(a worker that is in the only test, who stands beside it and waits for work, the file that ends the test)."""
    go = tmp_path / "go"
    worker, = start_workers(1, daemon, make_suite(tmp_path, UNTIL_TOLD), env={"GO": str(go)})
    eventually(worker.ran, what="the test runs")
    beside = Wire(daemon.address)
    beside.hello(project=shardlib.PROJECT, build=shardlib.BUILD, node="beside")
    assert kind(beside.lease()) == "parked"
    return worker, beside, go


def test_daemon_and_worker_are_stopped_for_three_lease_times(tmp_path, make_daemon):
    """The daemon wakes first: there is no word of the worker that could save its lease, nobody gets the test."""
    daemon = make_daemon(lease_ttl="1s", heartbeat="100ms")
    worker, beside, go = begun(tmp_path, daemon)
    below = [worker.pid] + descendants(worker.pid)
    with beside:
        send(below, signal.SIGSTOP)
        assert said(beside) == []
        os.kill(daemon.pid, signal.SIGSTOP)
        time.sleep(3.2)  # what is tested
        os.kill(daemon.pid, signal.SIGCONT)
        eventually(lambda: "event=stalled" in daemon.log(), what="the daemon notices")
        assert said(beside) == []
        send(below, signal.SIGCONT)
        go.touch()
        heard = end_of(worker, beside)
        assert worker.wait() == 0, worker.output()
        assert "drained" in heard and "lease" not in heard
    assert runs(daemon) == {NAME: 1} and worker.ran() == [NAME]


@pytest.mark.parametrize("who", ["the other", "the sleeper"])
def test_a_worker_is_stopped_for_three_lease_times(tmp_path, make_daemon, who):
    """Its lease ends after one and another worker has the test; `who` then reports it first."""
    daemon = make_daemon(lease_ttl="1s", heartbeat="100ms")
    worker, beside, go = begun(tmp_path, daemon)
    below = [worker.pid] + descendants(worker.pid)
    with beside:
        send(below, signal.SIGSTOP)
        lease, = eventually(lambda: leases(beside), what="the lease ends and the test goes to another")
        if who == "the other":
            beside.wait_ack(beside.results(lease.lease, list(lease.test)))
        end = time.monotonic() + 2.1  # what is tested
        while time.monotonic() < end:
            said(beside)
            time.sleep(0.05)
        send(below, signal.SIGCONT)
        go.touch()
        heard = end_of(worker, beside)
        assert worker.wait() == 0, worker.output()
        assert ("revoke" in heard) == (who == "the sleeper")
    rows, = attempts(daemon).values()
    assert len(rows) == 1, "what comes when the build is over is dropped"
    assert [row["status"] for row in settling(rows)] == ["passed"]
    assert settling(rows)[0]["node"] == ("beside" if who == "the other" else worker.node)
    assert daemon.shard("wait").returncode == 0


# ---- the wall clock of a worker, its test process included

def jumps(tmp_path, daemon, shift_s, **more):
    """{id: its attempts} of a build whose worker's clock jumps while the first test runs, and its exit code."""
    go, clock = tmp_path / "go", tmp_path / "clock"
    clock.write_text("0")
    suite = make_suite(tmp_path, dict(UNTIL_TOLD, **{"test_later.py": LATER}))
    env = dict(more, GO=str(go), LD_PRELOAD=str(shardlib.BUILD_DIR / "chaos/shim.so"), SHIM_CLOCK=str(clock))
    worker, = start_workers(1, daemon, suite, env=env, args=["--order", "collection"])
    eventually(worker.ran, what="the test runs")
    clock.write_text(str(shift_s))
    go.touch()
    code = worker.wait()
    assert "lost the server" not in worker.output(), worker.output()
    return code, attempts(daemon)


@pytest.mark.parametrize("shift_s", [HOUR_S, -HOUR_S])
def test_the_wall_clock_of_a_worker_jumps(tmp_path, make_daemon, shift_s):
    code, found = jumps(tmp_path, make_daemon(lease_ttl="1s", heartbeat="100ms"), shift_s)
    assert code == 1 and {name: [row["status"] for row in rows] for name, rows in found.items()} == {
        NAME: ["passed"], "test_later.py::test_bad": ["failed"], "test_later.py::test_ok": ["passed"]}
    rows = [row for rows in found.values() for row in rows]
    assert {row["flags"] & LATE for row in rows} == {0}, "a lease ended early"
    assert max(row["call_us"] for row in rows) < LIMIT_US, "a duration follows the wall clock"
    start = datetime.datetime.strptime(rows[-1]["start"], "%Y-%m-%dT%H:%M:%S.%f%z").timestamp()
    # A start that is ahead of the server's clock is not believed; one that is behind shows that the shim moves it.
    assert abs(start - time.time() - min(shift_s, 0)) < 120, "the shim does not move the clock"


@pytest.mark.parametrize("shift_s", [HOUR_S, -HOUR_S])
def test_the_wall_clock_jumps_under_a_test_that_crashes(tmp_path, make_daemon, shift_s):
    """How long it ran is the worker's to say: the test process cannot any more."""
    code, found = jumps(tmp_path, make_daemon(lease_ttl="1s", heartbeat="100ms"), shift_s, ABORT="1")
    assert code == 1 and {row["status"] for row in found[NAME]} == {"crashed"}
    assert all(0 < row["call_us"] < LIMIT_US for row in found[NAME]), found[NAME]
