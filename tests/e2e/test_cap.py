"""How long a test may take: what history makes of it, and that a test over its cap is ended, and nothing but it."""
import pytest
import shardlib
from wire import Wire, kind, pb

SUITE = """
    import time
    import pytest

    def test_hangs():
        time.sleep(60)

    @pytest.mark.parametrize("n", range(7))
    def test_behind_it(n):
        time.sleep(0.4)
"""
SECOND_US, MINUTE_MS = 1000000, 60000
FLOOR_MS, UNSEEN_MS = 5 * MINUTE_MS, 30 * MINUTE_MS


def test_what_ends_a_hung_test_does_not_reach_the_next_interpreter(tmp_path, make_daemon):
    suite = shardlib.make_suite(tmp_path, {"test_hung.py": SUITE})
    daemon = make_daemon()
    worker, = shardlib.run_workers(1, daemon, suite, args=["--timeout-per-test", "1s"])
    expected = dict({"test_hung.py::test_hangs": "timed_out"},
                    **{"test_hung.py::test_behind_it[%d]" % n: "passed" for n in range(7)})
    assert shardlib.verdicts(daemon) == expected
    assert {len(rows) for rows in shardlib.attempts(daemon).values()} == {1}
    assert worker.wait() == 1
    assert "never spoke" not in worker.output() and sorted(worker.ran()) == sorted(expected)


# ---- what the server tells

def leases(wire):
    answer = wire.lease()
    while kind(answer) == "lease":
        yield answer.lease
        answer = wire.lease()


def claim(wire, tests):
    """The lease of tests that ran without the server: only these may have taken longer than the server saw."""
    wire.send(lease_request=pb.LeaseRequest(claim=tests))
    return wire.expect("lease", skip=("ack",)).lease


class Past:
    """Builds of one worker that says how long its tests took; each is over, and learned from, when the next begins."""

    def __init__(self, daemon):
        self.daemon, self.builds, self.runs = daemon, 0, {}

    def build(self, took_us, statuses=(), live=False, **policy):
        """Runs tests {id: what it took}; statuses: of those that did not pass. Returns {id: the cap that its lease
        told, in ms}."""
        ids, caps, wire = sorted(took_us), {}, Wire(self.daemon.address)
        self.builds += 1
        with wire:
            wire.hello(build="b%d" % self.builds, policy=pb.Policy(**policy), brings=not live)
            assert wire.list(ids).want == pb.LIST_OK
            for lease in leases(wire) if live else [claim(wire, range(len(ids)))]:
                for test, cap_ms in zip(lease.test, lease.cap_ms):
                    caps[ids[test]] = cap_ms
                    wire.results(lease.lease, [test], dict(statuses).get(ids[test], pb.STATUS_PASSED),
                                 call_us=took_us[ids[test]])
            wire.send(bye=dict(reason=pb.BYE_DONE))
            wire.expect("goodbye", skip=("ack",))
        for name in set(took_us) - set(dict(statuses)):
            self.runs[name] = self.runs.get(name, 0) + 1
        shardlib.eventually(lambda: self.learned() == self.runs, what="the build is learned from")
        assert sorted(caps) == ids
        return caps

    def learned(self):
        return {row["test"]: row["runs"] for row in self.daemon.json("slow", "--project", "wire", "--suite", "default")}


@pytest.fixture
def past(daemon):
    return Past(daemon)


def test_a_cap_is_many_times_the_longest_and_at_least_minutes(past):
    took = {"short": 1000, "brink": 15 * SECOND_US, "above": 15 * SECOND_US + 1000, "long": 20 * SECOND_US}
    assert past.build(took) == dict.fromkeys(took, UNSEEN_MS)
    expected = {"short": FLOOR_MS, "brink": FLOOR_MS, "above": FLOOR_MS + 20, "long": 400000}
    assert past.build(dict(took, new=1000)) == dict(expected, new=UNSEEN_MS)


def test_a_cap_follows_the_longest_of_the_last_eight_runs(past):
    """Not the last, and not the mean: a test that is sometimes slow is not ended for it."""
    past.build({"test": 40 * SECOND_US})
    for _ in range(8):  # what was longest is among the last eight up to here
        assert past.build({"test": 16 * SECOND_US}) == {"test": 800000}
    assert past.build({"test": 16 * SECOND_US}) == {"test": 320000}


def test_what_failed_gives_no_cap(past):
    past.build({"test": SECOND_US, "other": 1000}, {"test": pb.STATUS_FAILED})
    assert past.build({"test": SECOND_US, "other": 1000}) == {"test": UNSEEN_MS, "other": FLOOR_MS}


def test_the_policys_limit_stands_before_all_history(past):
    took = {"short": 1000, "long": 20 * SECOND_US}
    past.build(took)
    assert past.build(dict(took, new=1000), timeout_per_test_us=90 * SECOND_US) == {
        "short": 90000, "long": 90000, "new": 90000}
    assert past.build(took, timeout_per_test_us=1) == {"short": 1, "long": 1}  # 0 would be none


# ---- what a cap that nobody asked for is worth

def one_test(wire, **policy):
    wire.hello(build="b", policy=pb.Policy(**policy))
    assert wire.list(["test"]).want == pb.LIST_OK


def end(wire, lease):
    """It ran over its cap."""
    wire.results(lease.lease, [0], pb.STATUS_TIMED_OUT, call_us=SECOND_US)


def verdict(daemon):
    return shardlib.verdicts(daemon, "b", env={"SHARD_PROJECT": "wire"})["test"]


def test_the_first_time_over_a_default_cap_settles_nothing(daemon):
    """Not across a restart either; then it runs alone, and longer."""
    with Wire(daemon.address) as wire:
        one_test(wire)
        lease = wire.lease().lease
        assert list(lease.cap_ms) == [UNSEEN_MS] and list(lease.cap_from) == [pb.CAP_FROM_UNSEEN]
        end(wire, lease)
        again = wire.lease().lease
        assert list(again.cap_ms) == [3 * UNSEEN_MS] and list(again.cap_from) == [pb.CAP_FROM_LONGER]
        end(wire, again)
        assert wire.lease().drained.reason == pb.DRAIN_SETTLED
    rows = shardlib.attempts(daemon, "b", env={"SHARD_PROJECT": "wire"})["test"]
    assert [(row["status"], row["flags"] & 1) for row in rows] == [("timed_out", 0), ("timed_out", 1)]


def test_passing_the_second_time_is_green(daemon):
    with Wire(daemon.address) as wire:
        one_test(wire)
        end(wire, wire.lease().lease)
        wire.results(wire.lease().lease.lease, [0], pb.STATUS_PASSED, call_us=1000)
        assert wire.lease().drained.reason == pb.DRAIN_SETTLED
    assert verdict(daemon) == "passed"


def test_a_cap_that_was_asked_for_settles_at_once(daemon):
    with Wire(daemon.address) as wire:
        one_test(wire, timeout_per_test_us=SECOND_US)
        lease = wire.lease().lease
        assert list(lease.cap_ms) == [1000] and list(lease.cap_from) == [pb.CAP_FROM_ASKED]
        end(wire, lease)
        assert wire.lease().drained.reason == pb.DRAIN_SETTLED
    assert verdict(daemon) == "timed_out"


@pytest.mark.parametrize("asked", [0, 1000 * SECOND_US])
def test_a_restart_knows_what_a_cap_was_worth(make_daemon, asked):
    """With one retry the first time settles nothing in either case. The retry is still there where it was a guess."""
    daemon = make_daemon(lease_ttl="1s", heartbeat="300ms")
    with Wire(daemon.address) as wire:
        one_test(wire, timeout_per_test_us=asked, retries=1)
        end(wire, wire.lease().lease)
        wire.expect("ack")
    daemon.kill()
    daemon.start()
    runs = []
    with Wire(daemon.address) as wire:
        one_test(wire, timeout_per_test_us=asked, retries=1)
        answer = wire.lease()
        while kind(answer) != "drained":
            if kind(answer) == "parked":  # until it is clear that the first worker does not come back
                answer = wire.expect("lease", "drained", skip=("ack",))
                continue
            runs.append(list(answer.lease.cap_from))
            end(wire, answer.lease)
            answer = wire.lease()
    assert runs == ([[pb.CAP_FROM_ASKED]] if asked else 2 * [[pb.CAP_FROM_LONGER]])


def test_a_slow_worker_has_more_time(past, daemon):
    """As much more as it is slower by its finished tests, up to ten times."""
    tests = {"t%d" % i: 1000 for i in range(8)}
    past.build(tests)
    caps = past.build(dict.fromkeys(tests, 19 * SECOND_US // 10), live=True)  # what a message may be under way for
    assert min(caps.values()) == FLOOR_MS < max(caps.values()) <= 10 * FLOOR_MS, caps


def test_the_text_names_the_limit(tmp_path, daemon):
    suite = shardlib.make_suite(tmp_path, {"test_hung.py": "import time\ndef test_hangs(): time.sleep(600)\n"})
    worker, = shardlib.run_workers(1, daemon, suite, args=["--timeout-per-test", "1s"])
    assert worker.wait() == 1
    assert "timed out: it ran longer than its limit of 1 s (--timeout-per-test)" in worker.output()
