"""Attacks (attacks.py) beside an honest worker on the same daemon, who goes on as if nothing was. No attack
may cost the daemon memory or descriptors for long, nor write into its log what is not text."""
import contextlib
import os
import threading
import time

import pytest
from attacks import ATTACKS, IDS, listed
from shardlib import Daemon, Worker, eventually, make_suite, verdicts
from wire import Wire, WireClosed, pb


class Honest(threading.Thread):
    """A worker that begins, runs and ends one build after the other, and notes the longest wait for any answer."""

    def __init__(self, address):
        super().__init__(daemon=True)
        self.address, self.enough, self.failure = address, threading.Event(), None
        self.builds, self.longest_s = 0, 0.0

    def run(self):
        try:
            while not self.enough.is_set():
                self.one_build("honest-%d" % self.builds)
                self.builds += 1
        except Exception as failure:  # told by check()
            self.failure = failure

    def timed(self, function, *args, **fields):
        began = time.monotonic()
        answer = function(*args, **fields)
        self.longest_s = max(self.longest_s, time.monotonic() - began)
        return answer

    def one_build(self, build):
        with Wire(self.address) as wire:
            self.timed(wire.hello, project="honest", build=build)
            assert self.timed(wire.list, IDS).want == pb.LIST_OK
            done = set()
            while True:
                answer = self.timed(wire.lease)
                if answer.WhichOneof("body") == "drained":
                    break
                self.timed(wire.wait_ack, wire.results(answer.lease.lease, list(answer.lease.test)))
                done.update(answer.lease.test)
            assert done == set(range(len(IDS)))
            wire.send(bye=dict(reason=pb.BYE_DONE))
            goodbye = self.timed(wire.expect, "goodbye", skip=("ack",)).goodbye
            assert (goodbye.exit_code, goodbye.settled, goodbye.failing) == (0, len(IDS), 0)

    def check(self):
        """A whole build must begin and end from now on, too."""
        goal = self.builds + 2
        eventually(lambda: self.failure or self.builds >= goal, what="the honest worker goes on")
        self.enough.set()
        self.join(20)
        if self.failure:
            raise self.failure
        assert self.longest_s < 2, "an answer took %.1f s" % self.longest_s


def descriptors(daemon):
    return len(os.listdir("/proc/%d/fd" % daemon.pid))


def peak_mb(daemon):
    with open("/proc/%d/status" % daemon.pid) as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024


def allowed_mb(daemon):
    with open("/proc/%d/maps" % daemon.pid) as maps:
        return 900 if "libasan" in maps.read() else 60


@pytest.fixture
def besieged(tmp_path):
    """A daemon with an honest worker; afterwards both must be well."""
    daemon = Daemon(tmp_path, hello_timeout="1s", lease_ttl="3s", heartbeat="1s").start()
    before = descriptors(daemon)
    honest = Honest(daemon.address)
    honest.start()
    eventually(lambda: honest.failure or honest.builds, what="the honest worker's first build")
    yield daemon
    honest.check()
    assert daemon.running()
    eventually(lambda: descriptors(daemon) <= before + 4, what="descriptors are given back")  # readers of the database
    assert peak_mb(daemon) < allowed_mb(daemon)
    log = daemon.log()
    assert all(char.isprintable() or char == "\n" for char in log), "the log holds what is not text"
    assert daemon.stop() == 0


# ---- the tests

@pytest.mark.parametrize("function", ATTACKS, ids=lambda function: function.__name__)
def test_attack(besieged, function):
    function(besieged.address)


def test_all_at_once_beside_a_real_worker(tmp_path):
    """Every attack, several at a time, while a real worker runs a real suite: every test once, exit 0."""
    daemon = Daemon(tmp_path, hello_timeout="4s", lease_ttl="6s", heartbeat="1s").start()
    suite = make_suite(tmp_path, {"test_a.py": "import os, pytest, time\n"
                                               "@pytest.mark.parametrize('i', range(200))\ndef test_it(i):\n"
                                               "    time.sleep(0.01)\n"
                                               "def test_last():\n    while not os.path.exists(os.environ['GO']):\n"
                                               "        time.sleep(0.01)\n"})
    go = tmp_path / "go"
    worker = Worker(daemon, suite, env={"GO": str(go)})
    failures, waiting = [], list(ATTACKS)

    def attacker():
        while waiting:
            with contextlib.suppress(IndexError):
                function = waiting.pop()
                try:
                    function(daemon.address)
                except Exception as failure:  # told below
                    failures.append((function.__name__, failure))
    crowd = [threading.Thread(target=attacker, daemon=True) for _ in range(4)]
    for one in crowd:
        one.start()
    for one in crowd:
        one.join(100)
    go.touch()
    assert worker.wait() == 0, worker.output()
    assert not failures
    ran = worker.ran()
    assert len(ran) == len(set(ran)) == 201
    assert set(verdicts(daemon).values()) == {"passed"}
    assert daemon.stop() == 0


def comes_in(address):
    with Wire(address) as wire, contextlib.suppress(WireClosed):
        return wire.hello(build="later")


def test_more_connections_than_allowed(tmp_path):
    """Beyond max-connections doors are shut; who is inside goes on, and there is room again later."""
    daemon = Daemon(tmp_path, max_connections="20", hello_timeout="60s").start()
    with Wire(daemon.address) as inside:
        inside.hello()
        listed(inside)
        with contextlib.ExitStack() as stack:
            crowd = [stack.enter_context(Wire(daemon.address)) for _ in range(300)]
            shut = 0
            for wire in crowd[100:]:
                with pytest.raises(WireClosed):
                    wire.recv()
                shut += 1
            assert shut == 200
            assert daemon.log().count("conn_refused") == 1, "said once"
            inside.wait_ack(inside.results(inside.lease().lease.lease, [0]))
        eventually(lambda: comes_in(daemon.address), what="room again")
    assert daemon.stop() == 0
