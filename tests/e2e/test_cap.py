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
FLOOR_MS, UNSEEN_MS = MINUTE_MS, 30 * MINUTE_MS


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


class Past:
    """Builds of one worker that says how long its tests took; each is over, and learned from, when the next begins."""

    def __init__(self, daemon):
        self.daemon, self.builds, self.runs = daemon, 0, {}

    def build(self, took_us, statuses=(), **policy):
        """Runs tests {id: what it took}; statuses: of those that did not pass. Returns {id: the cap that its lease
        told, in ms}."""
        ids, caps, wire = sorted(took_us), {}, Wire(self.daemon.address)
        self.builds += 1
        with wire:
            wire.hello(build="b%d" % self.builds, policy=pb.Policy(**policy))
            assert wire.list(ids).want == pb.LIST_OK
            for lease in leases(wire):
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


def test_a_cap_is_ten_times_the_longest_and_at_least_a_minute(past):
    took = {"short": 1000, "brink": 6 * SECOND_US, "above": 6 * SECOND_US + 1000, "long": 20 * SECOND_US}
    assert past.build(took) == dict.fromkeys(took, UNSEEN_MS)
    expected = {"short": FLOOR_MS, "brink": FLOOR_MS, "above": FLOOR_MS + 10, "long": 200000}
    assert past.build(dict(took, new=1000)) == dict(expected, new=UNSEEN_MS)


def test_a_cap_follows_the_longest_of_the_last_eight_runs(past):
    """Not the last, and not the mean: a test that is sometimes slow is not ended for it."""
    past.build({"test": 20 * SECOND_US})
    for _ in range(8):  # what was longest is among the last eight up to here
        assert past.build({"test": 7 * SECOND_US}) == {"test": 200000}
    assert past.build({"test": 7 * SECOND_US}) == {"test": 70000}


def test_what_failed_gives_no_cap(past):
    past.build({"test": SECOND_US, "other": 1000}, {"test": pb.STATUS_TIMED_OUT})
    assert past.build({"test": SECOND_US, "other": 1000}) == {"test": UNSEEN_MS, "other": FLOOR_MS}


def test_the_policys_limit_stands_before_all_history(past):
    took = {"short": 1000, "long": 20 * SECOND_US}
    past.build(took)
    assert past.build(dict(took, new=1000), timeout_per_test_us=90 * SECOND_US) == {
        "short": 90000, "long": 90000, "new": 90000}
    assert past.build(took, timeout_per_test_us=1) == {"short": 1, "long": 1}  # 0 would be none
