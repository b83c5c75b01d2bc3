"""Workers that are out of reach for a while: what they hold and what they found is theirs, and nobody's twice."""
import re
import signal
import time

import pytest
from proxy import TO_SERVER, TO_WORKER, Proxy
from shardlib import BUILD, PROJECT, attempts, codes, eventually, make_suite, outputs, settling, start_workers, verdicts
from wire import Wire, kind

# Each test runs until there is a file of its number in the folder that GO names.
UNTIL_TOLD = {"test_it.py": '''
    import os, time
    import pytest

    @pytest.mark.parametrize("n", range(2))
    def test_it(n):
        while not os.path.exists(os.path.join(os.environ["GO"], str(n))):
            time.sleep(0.01)
'''}
NAMES = ["test_it.py::test_it[0]", "test_it.py::test_it[1]"]


class Heard:
    """A hearer for Proxy: what was said, in order, as [(connection, direction, kind, message)]."""

    def __init__(self):
        self.frames = []

    def __call__(self, connection, direction, frame):
        kind = frame.WhichOneof("body")
        self.frames.append((connection, direction, kind, getattr(frame, kind)))

    def of(self, direction, kind, connection=None):
        return [message for number, way, what, message in list(self.frames)
                if (way, what) == (direction, kind) and connection in (None, number)]


def runs(daemon):
    return {name: len(rows) for name, rows in attempts(daemon).items()}


def test_a_server_that_falls_silent_is_left_and_found_again(tmp_path, make_daemon):
    """The connections are up and nothing comes: one worker is in a test, the other waits for one. A result that is sent
    into the silence is sent again."""
    daemon, heard = make_daemon(lease_ttl="60s", heartbeat="100ms"), Heard()
    with Proxy("unix:%s/p" % tmp_path, daemon.address, hear=heard) as proxy:
        env = {"GO": str(tmp_path), "SHARD_SERVER": proxy.address}
        workers = start_workers(2, daemon, make_suite(tmp_path, UNTIL_TOLD), env=env, args=["--by-file"])
        eventually(lambda: any(worker.ran() for worker in workers), what="a test runs")
        eventually(lambda: heard.of(TO_WORKER, "parked"), what="the other waits")
        proxy.fall_silent()
        (tmp_path / "0").touch()
        for worker in workers:
            eventually(lambda: "it does not answer" in worker.output(), what="the silence is noticed")
            eventually(lambda: "the server is back" in worker.output(), what="it connects again")
        hellos = [hello for hello in heard.of(TO_SERVER, "hello") if hello.session]
        assert sorted(len(hello.held_lease) for hello in hellos) == [0, 1]
        (tmp_path / "1").touch()
        assert codes(workers) == [0, 0], outputs(workers)
    assert re.findall(r"event=worker_back .* revoked=(\d+)", daemon.log()) == ["0", "0"]
    assert runs(daemon) == dict.fromkeys(NAMES, 1)
    assert sorted(workers[0].ran() + workers[1].ran()) == NAMES


# ---- away for longer than a lease lives

@pytest.fixture
def away(tmp_path, make_daemon):
    """away(args, **options of the daemon): (daemon, proxy, worker), of which the worker holds the first test, is in it,
    and cannot reach the daemon any more."""
    proxies = []

    def begin(*args, **options):
        daemon = make_daemon(lease_ttl="1s", heartbeat="200ms", **options)
        proxies.append(Proxy("unix:%s/p" % tmp_path, daemon.address).__enter__())
        env = {"GO": str(tmp_path), "SHARD_SERVER": proxies[0].address}
        worker, = start_workers(1, daemon, make_suite(tmp_path, UNTIL_TOLD), args=args, env=env)
        eventually(worker.ran, what="a test runs")
        proxies[0].close()
        return daemon, proxies[0], worker
    yield begin
    for proxy in proxies:
        proxy.__exit__()


def come_back(tmp_path, proxy, worker):
    """With the result of the first test, which ended while nobody could be told."""
    (tmp_path / "0").touch()
    eventually(lambda: worker.finished() == NAMES[:1], what="it goes on alone")
    proxy.open()


def awaited(wire, wanted):
    """The next frame of this kind; tells that it lives until then."""
    while True:
        wire.send(heartbeat={})
        frame = wire.expect(wanted, "ack")
        if kind(frame) == wanted:
            return frame
        time.sleep(0.05)


def leased(wire):
    """The next lease, for which another worker's may have to end first; its test begins."""
    answer = wire.lease()
    answer = answer if kind(answer) == "lease" else awaited(wire, "lease")
    wire.send(started=dict(lease=answer.lease.lease, test=answer.lease.test[0]))
    return answer.lease


def settled(daemon):
    """{id: the node that settled it}, once, as passed."""
    found = {name: [(row["status"], row["node"]) for row in settling(rows)] for name, rows in attempts(daemon).items()}
    assert {tuple(status for status, _ in rows) for rows in found.values()} == {("passed",)}, found
    return {name: rows[0][1] for name, rows in found.items()}


def test_a_result_of_a_lease_that_ended_long_ago(tmp_path, away):
    """Another worker holds the test by then, and hears that it need not run it."""
    daemon, proxy, worker = away()
    with Wire(daemon.address) as beside:
        beside.hello(project=PROJECT, build=BUILD, node="beside")
        own = leased(beside)
        assert list(own.test) == [1]
        beside.wait_ack(beside.results(own.lease, [1]))
        lost = leased(beside)
        assert list(lost.test) == [0]
        come_back(tmp_path, proxy, worker)
        assert list(awaited(beside, "revoke").revoke.lease) == [lost.lease]
        assert worker.wait() == 0, worker.output()
    assert "event=worker_back build=1 worker=0 revoked=1" in daemon.log()
    assert settled(daemon) == dict(zip(NAMES, ["0", "beside"])) and worker.ran() == NAMES[:1]


def test_a_build_that_was_given_up_goes_on(tmp_path, away):
    """It is red as long as results are missing; who comes back and brings them makes it what they say."""
    daemon, proxy, worker = away(idle_timeout="300ms")
    assert daemon.shard("wait").returncode == 16 and "state=incomplete" in daemon.log()
    assert set(verdicts(daemon).values()) == {"missing"}
    come_back(tmp_path, proxy, worker)
    (tmp_path / "1").touch()
    assert worker.wait() == 0, worker.output()
    assert daemon.shard("wait").returncode == 0
    assert settled(daemon) == dict.fromkeys(NAMES, "0") and worker.ran() == NAMES


def test_a_build_that_was_given_up_stays_red_without_all_tests(tmp_path, away):
    """What the worker brings is kept. Then it is told to stop, and the rest of the build has no verdict."""
    daemon, proxy, worker = away(idle_timeout="300ms")
    assert daemon.shard("wait").returncode == 16
    come_back(tmp_path, proxy, worker)
    eventually(lambda: worker.ran() == NAMES, what="the second test runs")
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 128 + signal.SIGTERM, worker.output()
    assert daemon.shard("wait").returncode == 16
    assert verdicts(daemon) == dict(zip(NAMES, ["passed", "missing"]))
    assert daemon.log().count("state=incomplete") == 2


def test_a_result_for_a_build_of_too_few_workers_is_taken_off_its_hands(tmp_path, away):
    """The result is acknowledged, so that the worker can go, and dropped: all is red, and says why."""
    daemon, proxy, worker = away("--min-workers", "2", "--min-workers-timeout", "10s", idle_timeout="60s")
    assert daemon.shard("wait").returncode == 16
    come_back(tmp_path, proxy, worker)
    assert worker.wait() == 16 and "--min-workers" in worker.output(), worker.output()
    assert "not handed over" not in worker.output() and " sealed=1" in daemon.log()
    assert daemon.shard("wait").returncode == 16 and set(verdicts(daemon).values()) == {"missing"}
