"""What becomes of tests that fail, crash or hang: tried again elsewhere, settled once, never in the way of the rest."""
import collections

import pytest
from shardlib import (BARRIER, BARRIER_BEFORE, PYTEST, attempts, barrier, codes, eventually, junit_cases, make_suite,
                      outputs, settling, start_workers, verdicts)

REST = {"test_rest%d.py" % i: '''
    import time
    import pytest

    @pytest.mark.parametrize("n", range(5))
    def test_it(n):
        time.sleep(0.02)
''' for i in range(4)}
SICK_NODE = '''
    import os

    def test_sick():
        assert os.environ["SHARD_NODE"] != "0", "only here"
'''


def with_rest(**files):
    return dict(REST, **dict({"conftest.py": BARRIER}, **{name + ".py": text for name, text in files.items()}))


def run(n, daemon, suite, tmp_path, *args, **options):
    workers = start_workers(n, daemon, suite, env=barrier(tmp_path, n), args=args, **options)
    codes(workers)
    return workers


def statuses(daemon, name):
    return [row["status"] for row in attempts(daemon)[name]]


def check_rest(daemon):
    found = verdicts(daemon)
    assert {name: found[name] for name in found if name.startswith("test_rest") and found[name] != "passed"} == {}
    assert len([name for name in found if name.startswith("test_rest")]) == 20


def own_elements(daemon, tmp_path, name):
    daemon.shard("report", "--junit", tmp_path / "merged.xml")
    element = junit_cases(tmp_path / "merged.xml")[name].element
    return [child.tag for child in element if child.tag != "properties"]


# ---- retries

def test_retry_prefers_another_worker(tmp_path, daemon):
    """A test that fails on one node only passes in the end, without a sign of luck: the second try is elsewhere."""
    suite = make_suite(tmp_path, with_rest(test_a_sick=SICK_NODE))
    workers = run(3, daemon, suite, tmp_path, "--retries", "1")
    assert codes(workers) == [0, 0, 0], outputs(workers)
    rows = attempts(daemon)["test_a_sick.py::test_sick"]
    assert rows[-1]["status"] == "passed" and rows[-1]["node"] != "0" and len(settling(rows)) == 1
    assert daemon.shard("wait").returncode == 0
    check_rest(daemon)


FLAKY = '''
    import os

    def test_flaky():
        try:
            os.mkdir(os.environ["FLAKY"])
        except FileExistsError:
            return
        raise AssertionError("the first time")
'''


@pytest.mark.parametrize("workers", [1, 2])
def test_flaky(tmp_path, daemon, workers):
    suite = make_suite(tmp_path, with_rest(test_flaky=FLAKY))
    name = "test_flaky.py::test_flaky"
    started = start_workers(workers, daemon, suite, args=["--retries", "2"],
                            env=dict(barrier(tmp_path, workers), FLAKY=str(tmp_path / "flaky")))
    assert codes(started) == [0] * workers, outputs(started)
    rows = attempts(daemon)[name]
    assert [row["status"] for row in rows] == ["failed", "passed"] and settling(rows) == rows[1:]
    assert len({row["node"] for row in rows}) == workers
    assert collections.Counter(x for worker in started for x in worker.ran())[name] == 2
    done = daemon.shard("wait")
    assert done.returncode == 0 and "1 flaky" in done.stdout + done.stderr
    assert daemon.json("flaky")[0]["test"] == name
    assert own_elements(daemon, tmp_path, "test_flaky::test_flaky") == ["flakyFailure"]
    check_rest(daemon)


def test_only_who_settles_a_failure_fails(tmp_path, daemon):
    suite = make_suite(tmp_path, with_rest(test_bad="def test_bad(): assert 0\n"))
    workers = run(2, daemon, suite, tmp_path, "--retries", "1")
    rows = attempts(daemon)["test_bad.py::test_bad"]
    assert [row["status"] for row in rows] == ["failed", "failed"] and settling(rows) == rows[1:]
    assert rows[0]["node"] != rows[1]["node"]
    assert {worker.node: worker.wait() for worker in workers} == {rows[0]["node"]: 0, rows[1]["node"]: 1}
    assert daemon.shard("wait").returncode == 1
    assert own_elements(daemon, tmp_path, "test_bad::test_bad") == ["failure", "rerunFailure"]
    check_rest(daemon)


def test_no_retries_by_default(tmp_path, daemon):
    suite = make_suite(tmp_path, with_rest(test_flaky=FLAKY))
    workers = start_workers(2, daemon, suite, env=dict(barrier(tmp_path, 2), FLAKY=str(tmp_path / "flaky")))
    assert sorted(codes(workers)) == [0, 1]
    assert statuses(daemon, "test_flaky.py::test_flaky") == ["failed"]


def test_a_plainly_broken_build_is_not_tried_again(tmp_path, daemon):
    """40 tests that all fail: the budget allows ten of them another try."""
    suite = make_suite(tmp_path, {"test_bad.py": '''
        import pytest

        @pytest.mark.parametrize("n", range(40))
        def test_bad(n):
            assert 0
    '''})
    worker, = start_workers(1, daemon, suite, args=["--retries", "3"])
    assert worker.wait() == 1
    tries = sorted(len(rows) for rows in attempts(daemon).values())
    assert tries == [1] * 30 + [2] * 10
    assert set(verdicts(daemon).values()) == {"failed"} and len(tries) == 40


# ---- ending early

MANY_BAD = dict({"test_%d.py" % i: '''
    import time
    import pytest

    @pytest.mark.parametrize("n", range(10))
    def test_bad(n):
        time.sleep(0.1)
        assert 0
''' for i in range(6)}, **{"conftest.py": BARRIER})


@pytest.mark.parametrize("bound, args, command", [
    (3, ["--max-failures", "3"], PYTEST),
    (1, ["--fail-fast"], PYTEST),
    (1, ["-x"], PYTEST),
    (1, [], PYTEST + ["-x"]),
    (2, [], PYTEST + ["--maxfail", "2"]),
], ids=["max-failures", "fail-fast", "x", "pytest-x", "pytest-maxfail"])
def test_enough_failures_end_the_build(tmp_path, daemon, bound, args, command):
    suite = make_suite(tmp_path, MANY_BAD)
    workers = run(2, daemon, suite, tmp_path, *args, command=command)
    ends = codes(workers)
    assert 1 in ends and set(ends) <= {0, 1}, outputs(workers)
    found = collections.Counter(verdicts(daemon).values())
    # What was running when the bound was met is still counted; the rest of a lease, six or more, is not begun.
    assert bound <= found["failed"] <= bound + 4 and found["missing"] == 60 - found["failed"]
    assert daemon.shard("wait").returncode == 1
    assert daemon.json("builds")[0]["state"] == "aborted"


# ---- crashes

CRASHES = {
    "exit": "def test_crash():\n    import os\n    os._exit(0)\n",
    "exit-3": "def test_crash():\n    import os\n    os._exit(3)\n",
    "segfault": "def test_crash():\n    import ctypes\n    ctypes.string_at(0)\n",
    "kill": "def test_crash():\n    import os, signal\n    os.kill(os.getpid(), signal.SIGKILL)\n",
}


@pytest.mark.parametrize("how, workers", [("exit", 1), ("segfault", 1), ("exit-3", 2), ("segfault", 2), ("kill", 2)])
def test_crash(tmp_path, daemon, how, workers):
    """A crash is confirmed by a second one, then it is the verdict; the tests around it run."""
    around = "def test_before(): pass\n%sdef test_after(): pass\n" % CRASHES[how]
    suite = make_suite(tmp_path, with_rest(test_crash=around))
    started = run(workers, daemon, suite, tmp_path)
    name = "test_crash.py::test_crash"
    rows = attempts(daemon)[name]
    assert [row["status"] for row in rows] == ["crashed", "crashed"] and settling(rows) == rows[1:]
    assert len({row["node"] for row in rows}) == workers
    found = verdicts(daemon)
    assert found["test_crash.py::test_before"] == found["test_crash.py::test_after"] == "passed"
    check_rest(daemon)
    ran = collections.Counter(x for worker in started for x in worker.ran())
    assert ran.pop(name) == 2 and set(ran.values()) == {1}
    assert {worker.node: worker.wait() for worker in started} == dict(
        {rows[0]["node"]: 0}, **{rows[1]["node"]: 1}), outputs(started)
    assert daemon.shard("wait").returncode == 1
    assert "error" in own_elements(daemon, tmp_path, "test_crash::test_crash")


def test_a_crash_that_is_not_confirmed(tmp_path, daemon):
    """It crashes once and passes the second time: flaky, nobody fails."""
    suite = make_suite(tmp_path, with_rest(test_crash=FLAKY.replace('raise AssertionError("the first time")',
                                                                    "os._exit(1)")))
    workers = start_workers(2, daemon, suite, env=dict(barrier(tmp_path, 2), FLAKY=str(tmp_path / "flaky")))
    assert codes(workers) == [0, 0], outputs(workers)
    assert statuses(daemon, "test_crash.py::test_flaky") == ["crashed", "passed"]
    assert own_elements(daemon, tmp_path, "test_crash::test_flaky") == ["flakyError"]
    assert daemon.shard("wait").returncode == 0
    check_rest(daemon)


# ---- hanging tests

def test_hung_test_is_timed_out(tmp_path, daemon):
    suite = make_suite(tmp_path, dict(with_rest(test_hangs='''
        import time

        def test_before():
            pass

        def test_hangs():
            time.sleep(1000)

        def test_after():
            pass
    '''), **{"conftest.py": BARRIER_BEFORE}))
    workers = run(2, daemon, suite, tmp_path, "--timeout-per-test", "3s")
    rows = attempts(daemon)["test_hangs.py::test_hangs"]
    assert [row["status"] for row in rows] == ["timed_out"]
    assert 3e6 <= sum(rows[0][phase] for phase in ("setup_us", "call_us", "teardown_us")) < 500e6
    assert {worker.node: worker.wait() for worker in workers} == {
        worker.node: int(worker.node == rows[0]["node"]) for worker in workers}, outputs(workers)
    found = verdicts(daemon)
    assert found["test_hangs.py::test_before"] == found["test_hangs.py::test_after"] == "passed"
    check_rest(daemon)
    assert daemon.shard("wait").returncode == 1


def test_deaf_hung_test_is_timed_out(tmp_path, daemon):
    """One that ignores SIGTERM and has a child that holds the output."""
    suite = make_suite(tmp_path, with_rest(test_hangs='''
        import signal, subprocess, sys, time

        def test_hangs():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
            time.sleep(1000)
    '''))
    worker, = run(1, daemon, suite, tmp_path, "--timeout-per-test", "1s")
    assert worker.wait() == 1
    assert statuses(daemon, "test_hangs.py::test_hangs") == ["timed_out"]
    check_rest(daemon)


# ---- waiting for what others hold

HOLDING = {"conftest.py": BARRIER, "test_b.py": "def test_b(): pass\n", "test_long.py": '''
    import os, time

    def test_long():
        open(os.path.join(os.environ["HOLD"], "began" + os.environ["SHARD_NODE"]), "w").close()
        end = time.monotonic() + 240
        while not os.path.exists(os.path.join(os.environ["HOLD"], "go")):
            assert time.monotonic() < end
            time.sleep(0.005)
'''}


def holder_of(tmp_path, workers):
    holder = eventually(lambda: [worker for worker in workers if (tmp_path / ("began" + worker.node)).exists()])[0]
    return holder, next(worker for worker in workers if worker is not holder)


def test_linger_bounds_the_wait(tmp_path, daemon):
    suite = make_suite(tmp_path, HOLDING)
    workers = start_workers(2, daemon, suite, args=["--linger", "300ms"],
                            env=dict(barrier(tmp_path, 2), HOLD=str(tmp_path)))
    holder, other = holder_of(tmp_path, workers)
    assert other.wait(15) == 0, "it has nothing to do and goes"
    assert holder.running()
    (tmp_path / "go").touch()
    assert holder.wait() == 0 and set(verdicts(daemon).values()) == {"passed"}


def test_who_lingers_takes_over(tmp_path, make_daemon):
    daemon = make_daemon(lease_ttl="1500ms", heartbeat="400ms")
    suite = make_suite(tmp_path, HOLDING)
    workers = start_workers(2, daemon, suite, env=dict(barrier(tmp_path, 2), HOLD=str(tmp_path)))
    holder, other = holder_of(tmp_path, workers)
    assert eventually(lambda: "test_b.py::test_b" in holder.finished() + other.finished()) and other.running()
    holder.kill()
    eventually((tmp_path / ("began" + other.node)).exists, what="the other runs it again")
    (tmp_path / "go").touch()
    assert other.wait() == 0 and set(verdicts(daemon).values()) == {"passed"}
