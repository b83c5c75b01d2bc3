"""What dies in the middle of a build: a worker, its test process, the daemon. The rest finishes, nothing is lost that
was acknowledged, nothing is counted twice."""
import collections
import os
import re
import signal

import pytest
from shardlib import (BARRIER, attempts, barrier, codes, descendants, eventually, junit, make_suite, outputs,
                      settling, start_workers, verdicts)

SHORT = {"lease_ttl": "1500ms", "heartbeat": "400ms"}
FILES = dict({"test_%d.py" % i: '''
    import time
    import pytest

    @pytest.mark.parametrize("n", range(8))
    def test_it(n):
        time.sleep(0.04)
        assert n != 5
''' for i in range(8)}, **{"conftest.py": BARRIER})
IDS = ["test_%d.py::test_it[%d]" % (i, n) for i in range(8) for n in range(8)]
OUTCOMES = {name: "failed" if name.endswith("[5]") else "passed" for name in IDS}
PASSED = {name: "passed" for name in IDS}
GREEN = {name: text.replace("assert n != 5", "") for name, text in FILES.items()}


def alive(pids):
    return [pid for pid in pids if os.path.exists("/proc/%d" % pid)]


def ran_counts(workers):
    return collections.Counter(name for worker in workers for name in worker.ran())


def check_verdicts(daemon, workers, tmp_path, outcomes=OUTCOMES):
    found = attempts(daemon)
    assert {name: len(settling(rows)) for name, rows in found.items() if len(settling(rows)) != 1} == {}
    assert {name: settling(rows)[0]["status"] for name, rows in found.items()} == outcomes, outputs(workers)
    assert junit(daemon, tmp_path / "merged.xml") == {name.replace(".py", ""): outcomes[name] for name in outcomes}
    return {name: settling(rows)[0] for name, rows in found.items()}


def test_killed_worker(tmp_path, make_daemon):
    daemon = make_daemon(**SHORT)
    suite = make_suite(tmp_path, FILES)
    workers = start_workers(4, daemon, suite, env=barrier(tmp_path, 4))
    victim = workers[0]
    eventually(lambda: len(victim.finished()) >= 3, what="the worker has run three tests")
    victim.kill()
    rest = codes(workers[1:])
    decided = check_verdicts(daemon, workers, tmp_path)
    failing = {row["node"] for row in decided.values() if row["status"] == "failed"}
    assert rest == [int(worker.node in failing) for worker in workers[1:]], outputs(workers)
    assert daemon.shard("wait").returncode == 1
    # Its results stand; what it had not reported was run by others, and only that.
    kept = {name for name, row in decided.items() if row["node"] == victim.node}
    others = ran_counts(workers[1:])
    assert kept and not kept & set(others) and set(others.values()) == {1}
    assert kept | set(others) == set(decided)


def test_all_workers_killed_and_run_again(tmp_path, make_daemon):
    daemon = make_daemon(**SHORT)
    suite = make_suite(tmp_path, GREEN)
    first = start_workers(2, daemon, suite, env=dict(barrier(tmp_path, 2), SHARD_ATTEMPT="1"))
    eventually(lambda: all(len(worker.finished()) >= 3 for worker in first))
    for worker in first:
        worker.kill()
    kept = {name for name, status in verdicts(daemon).items() if status == "passed"}
    assert kept and daemon.shard("report").returncode == 0
    second = start_workers(2, daemon, suite, env={"SHARD_ATTEMPT": "2"})
    assert codes(second) == [0, 0], outputs(second)
    decided = check_verdicts(daemon, second, tmp_path, PASSED)
    again = ran_counts(second)
    # What the first two had sent when they died may have reached the disk only after the look at it.
    before = {name for name, row in decided.items() if row["worker"] < len(first)}
    assert kept <= before and not before & set(again)
    assert set(again.values()) == {1} and before | set(again) == set(IDS)


def test_orphaned_test_process_ends(tmp_path, make_daemon):
    """Only `shard run` is killed: the pytest below it does not live on."""
    daemon = make_daemon(**SHORT)
    suite = make_suite(tmp_path, GREEN)
    victim, other = start_workers(2, daemon, suite, env=barrier(tmp_path, 2))
    eventually(lambda: len(victim.finished()) >= 2)
    below = descendants(victim.pid)
    assert below
    victim.signal(signal.SIGKILL)
    victim.wait()
    eventually(lambda: not alive(below), what="the test process ends")
    assert other.wait() == 0 and set(verdicts(daemon).values()) == {"passed"}


@pytest.mark.parametrize("kill", [True, False], ids=["SIGKILL", "SIGTERM"])
def test_restarted_daemon(tmp_path, make_daemon, kill):
    daemon = make_daemon(**SHORT)
    suite = make_suite(tmp_path, FILES)
    workers = start_workers(4, daemon, suite, env=barrier(tmp_path, 4))
    for goal in (10, 25, 40):
        eventually(lambda: sum(len(worker.finished()) for worker in workers) >= goal)
        daemon.restart(kill=kill)
    ends = codes(workers)
    decided = check_verdicts(daemon, workers, tmp_path)
    failing = {row["node"] for row in decided.values() if row["status"] == "failed"}
    assert ends == [int(worker.node in failing) for worker in workers], outputs(workers)
    # No result was lost, else its test would have been run again.
    assert ran_counts(workers) == collections.Counter(list(decided)), outputs(workers)
    for worker in workers:
        assert sorted(worker.ran()) == sorted(name for name, row in decided.items() if row["node"] == worker.node)
    assert daemon.shard("wait").returncode == 1


def test_workers_go_on_while_the_daemon_is_away(tmp_path, make_daemon):
    daemon = make_daemon(**SHORT)
    suite = make_suite(tmp_path, GREEN)
    workers = start_workers(2, daemon, suite, env=barrier(tmp_path, 2))
    finished = eventually(lambda: sum(len(worker.finished()) for worker in workers))
    daemon.kill()
    eventually(lambda: sum(len(worker.finished()) for worker in workers) > finished, what="leased tests are run")
    daemon.start()
    assert codes(workers) == [0, 0], outputs(workers)
    assert set(ran_counts(workers).values()) == {1} and set(verdicts(daemon).values()) == {"passed"}


def test_a_worker_that_dies_while_the_daemon_is_away(tmp_path, make_daemon):
    daemon = make_daemon(**SHORT)
    suite = make_suite(tmp_path, GREEN)
    workers = start_workers(3, daemon, suite, env=barrier(tmp_path, 3))
    eventually(lambda: all(len(worker.finished()) >= 2 for worker in workers))
    daemon.kill()
    workers[0].kill()
    daemon.start()
    assert codes(workers[1:]) == [0, 0], outputs(workers)
    check_verdicts(daemon, workers, tmp_path, PASSED)


def test_sigterm_hands_back_at_once(tmp_path, make_daemon):
    """Leases of a minute, so that waiting for one to expire would show."""
    daemon = make_daemon(lease_ttl="60s", heartbeat="10s")
    suite = make_suite(tmp_path, dict(GREEN, **{"test_long.py": '''
        import os, time

        def test_long():
            if os.environ["SHARD_NODE"] == "0":
                open(os.environ["LONG"], "w").close()
                time.sleep(60)
    '''}))
    long = tmp_path / "long"
    worker, = start_workers(1, daemon, suite, env={"LONG": str(long)})
    eventually(long.exists, what="the long test runs")
    below = descendants(worker.pid)
    worker.signal(signal.SIGTERM)
    assert worker.wait(10) == 128 + signal.SIGTERM, worker.output()
    assert "SIGTERM" in worker.output() and not alive(below)
    kept = {name for name, status in verdicts(daemon).items() if status == "passed"}
    other, = start_workers(1, daemon, suite, node="1", env={"LONG": str(long)})
    assert other.wait(20) == 0, other.output()
    assert set(verdicts(daemon).values()) == {"passed"} and len(verdicts(daemon)) == 65
    assert sorted(other.ran()) == sorted(set(verdicts(daemon)) - kept) and len(worker.ran()) == len(kept) + 1


def test_a_worker_that_sleeps_over_its_lease(tmp_path, make_daemon):
    daemon = make_daemon(**SHORT)
    suite = make_suite(tmp_path, GREEN)
    workers = start_workers(2, daemon, suite, env=barrier(tmp_path, 2))
    sleeper, other = workers
    eventually(lambda: len(sleeper.finished()) >= 2)
    pids = [sleeper.pid] + descendants(sleeper.pid)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    eventually(lambda: set(verdicts(daemon).values()) == {"passed"}, what="the other takes over")
    for pid in reversed(pids):
        os.kill(pid, signal.SIGCONT)
    assert codes(workers) == [0, 0], outputs(workers)
    check_verdicts(daemon, workers, tmp_path, PASSED)
    assert set(ran_counts([other]).values()) == {1}


def test_a_long_test_keeps_its_lease(tmp_path, make_daemon):
    daemon = make_daemon(lease_ttl="600ms", heartbeat="200ms")
    suite = make_suite(tmp_path, {"test_long.py": "import time\ndef test_long(): time.sleep(2.5)\n",
                                  "test_b.py": "def test_b(): pass\n"})
    workers = start_workers(2, daemon, suite)
    assert codes(workers) == [0, 0]
    assert ran_counts(workers) == {"test_long.py::test_long": 1, "test_b.py::test_b": 1}
    assert {name: len(rows) for name, rows in attempts(daemon).items()} == {
        "test_long.py::test_long": 1, "test_b.py::test_b": 1}


@pytest.mark.parametrize("place", ["at once", "once it is known to run"])
def test_poison(tmp_path, make_daemon, place):
    """A test that takes its worker with it costs three of five and is crashed; what they held beside it is not."""
    daemon = make_daemon(**SHORT)
    poison = """
        import os, signal, time
        def test_poison():
            time.sleep(%s)
            os.kill(os.getppid(), signal.SIGKILL)
    """ % (0 if place == "at once" else 0.5)
    fine = "import pytest\n@pytest.mark.parametrize('n', range(6))\ndef test_it(n): pass\n"
    suite = make_suite(tmp_path, {"conftest.py": BARRIER, "test_b.py": poison,
                                  **{"test_%s.py" % name: fine for name in "acdefgh"}})
    workers = start_workers(5, daemon, suite, env=barrier(tmp_path, 5))
    found = codes(workers)
    dead = {worker.node for worker, code in zip(workers, found) if code == -signal.SIGKILL}
    assert len(dead) == 3 and sorted(found)[3:] == [0, 0] and daemon.shard("wait").returncode == 1, outputs(workers)
    outcomes = verdicts(daemon)
    assert outcomes.pop("test_b.py::test_poison") == "crashed" and set(outcomes.values()) == {"passed"}
    junit(daemon, tmp_path / "poison.xml")
    text = (tmp_path / "poison.xml").read_text()
    named = re.search("3 workers vanished with it: (node . on .*, node . on .* and node . on .*)", text)
    assert named and set(re.findall("node (.)", named[1])) == dead, text
    assert daemon.stop() == 0, daemon.log()  # with sanitizers: nothing of the record was leaked


def test_given_up_names_what_did_not_run(tmp_path, make_daemon):
    """Every worker was killed and none came back: the build says which tests have no verdict, and who had them."""
    daemon = make_daemon(idle_timeout="1s", **SHORT)
    slow = "import pytest, time\n@pytest.mark.parametrize('n', range(9))\ndef test_it(n): time.sleep(%d)\n"
    suite = make_suite(tmp_path, {"conftest.py": BARRIER, "test_a.py": slow % 600, "test_b.py": slow % 600})
    workers = start_workers(2, daemon, suite, env=barrier(tmp_path, 2))
    eventually(lambda: all(worker.ran() for worker in workers), what="both run a test")
    for worker in workers:
        worker.kill()
    done = daemon.shard("wait")
    assert done.returncode == 16, done.stdout
    told = re.match(r"incomplete: 0 of 18 settled, .* 18 missing: (.*)", done.stdout)[1]
    held = dict(re.findall(r"(?:were|was) with node (.) on \S+ \((test_[^)]*)\)", told))
    assert set(held) == {"0", "1"} and all(worker.ran()[0] in held[worker.node] for worker in workers), told
    assert sum(map(int, re.findall(r"(\d+) w(?:ere|as) with", told) + re.findall(r"to have had (\d+)", told))) == 18
    listed = daemon.shard("report").stdout
    assert all("test_%s.py::test_it[%d]" % (name, n) in listed for name in "ab" for n in range(9)), listed
    shown = daemon.shard("build").stdout
    assert "18 of 18 tests have no verdict" in shown and "with node 0 on" in shown, shown
