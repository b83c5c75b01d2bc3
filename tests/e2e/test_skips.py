"""Machines that lack something: what they skip, others run; what everybody skips is skipped."""
import json
import re
import subprocess

import pytest

from shardlib import (BARRIER, PYTEST, SHARD, attempts, barrier, clean_env, codes, eventually, junit, make_suite,
                      outputs, run_workers, start_workers, verdicts)

# As BARRIER, for tests that are skipped before their fixtures are set up.
START = BARRIER.replace('@pytest.fixture(scope="session", autouse=True)\ndef barrier():', 'def pytest_sessionstart():')
SUITE = dict({"test_%d.py" % i: '''
    import os
    import time
    import pytest

    pytestmark = pytest.mark.skipif("NO_DOCKER" in os.environ, reason="needs docker")

    @pytest.mark.parametrize("n", range(20))
    def test_container(n):
        time.sleep(0.03)
''' for i in range(4)}, **{"conftest.py": START})
SELF = dict({"test_%d.py" % i: '''
    import pytest

    @pytest.mark.parametrize("n", range(10))
    def test_it(n):
        if n % 2:
            pytest.skip("windows only")
''' for i in range(4)}, **{"conftest.py": BARRIER})
TAP = '''
    echo 1..20
    i=1
    while [ $i -le 20 ]; do
        if [ -n "$NO_DOCKER" ]; then echo "ok $i - t$i # SKIP needs docker"; else echo "ok $i - t$i"; fi
        i=$((i + 1))
    done
'''


def lacking(*nodes, **more):
    """Variables of the nodes, some of which lack docker."""
    return lambda i: dict(more, **({"NO_DOCKER": "1"} if i in nodes else {}))


def total(tmp_path, count):
    return dict(barrier(tmp_path, count), SHARD_TOTAL=str(count))


def skipped_by(daemon, node):
    return [row for rows in attempts(daemon).values() for row in rows
            if row["node"] == node and row["status"] == "skipped"]


@pytest.mark.parametrize("declared", [True, False])
def test_one_of_two_lacks_it(tmp_path, daemon, declared):
    """All tests run, on the one that can, and both jobs are green."""
    variables = total(tmp_path, 2) if declared else barrier(tmp_path, 2)
    workers = run_workers(2, daemon, make_suite(tmp_path, SUITE), env=lacking(0, **variables))
    assert codes(workers) == [0, 0], outputs(workers)
    found = verdicts(daemon)
    assert len(found) == 80 and set(found.values()) == {"passed"}
    assert daemon.shard("wait").returncode == 0
    for worker in workers:
        assert "node 0 skipped" in worker.output() and "that ran elsewhere: needs docker" in worker.output()


NAMED = re.compile(r"node 0 skipped (\d+) tests that ran elsewhere(?::|&#58;) needs docker")


def test_it_is_named_ever_after(tmp_path, daemon):
    """By the report in each form and the tables, of a build that has ended, and after a restart."""
    workers = run_workers(2, daemon, make_suite(tmp_path, SUITE), env=lacking(0, **total(tmp_path, 2)))
    assert codes(workers) == [0, 0], outputs(workers)
    skipped = len({row["id"] for row in skipped_by(daemon, "0")})
    daemon.restart()
    for options in (["report"], ["report", "--markdown"], ["build"]):
        said = daemon.shard(*options).stdout
        assert [int(n) for n in NAMED.findall(said)] == [skipped], said
        assert "were skipped that ran on" not in said
    assert set(junit(daemon, tmp_path / "junit.xml").values()) == {"passed"}
    assert [int(n) for n in NAMED.findall((tmp_path / "junit.xml").read_text())] == [skipped]
    told = json.loads(daemon.shard("build", "--json").stdout)["skips"]
    assert [(row["node"], row["tests"], row["reason"]) for row in told] == [("0", skipped, "needs docker")]
    rows = {row["node"]: row for row in json.loads(daemon.shard("workers", "--json").stdout)}
    assert (rows["0"]["ran_elsewhere"], rows["0"]["skip_reason"]) == (skipped, "needs docker")
    assert (rows["1"]["ran_elsewhere"], rows["1"]["skip_reason"]) == (0, None)


def test_alone_it_is_compared_with_the_trunk(tmp_path, daemon):
    """Without another node the skips stand, and the report says what they are worth."""
    suite = make_suite(tmp_path, SUITE)
    trunk, pull = {"SHARD_BRANCH": "main"}, {"SHARD_BRANCH": "topic"}
    assert codes(run_workers(1, daemon, suite, env=dict(trunk, **total(tmp_path, 1)), build="1")) == [0]
    first = daemon.shard("report", "--build", "1").stdout
    env = dict(pull, NO_DOCKER="1", **total(tmp_path, 1))
    workers = run_workers(1, daemon, suite, env=env, build="2")
    assert codes(workers) == [0], outputs(workers)
    assert set(verdicts(daemon, "2").values()) == {"skipped"}
    for options in (["report"], ["report", "--markdown"], ["build"]):
        said = daemon.shard(*options, env={"SHARD_BUILD": "2"}).stdout
        assert said.count("80 tests were skipped that ran on main") == 1, said
    assert "skipped that ran on" not in first


def test_local_names_it(tmp_path):
    """`shard local` is one machine: a worker that lacks something is told by its number."""
    files = {"conftest.py": SUITE["conftest.py"], "test_a.py": '''
        import os
        import pytest

        pytestmark = pytest.mark.skipif(os.environ["SHARD_NODE"] == "0", reason="port taken")

        @pytest.mark.parametrize("n", range(20))
        def test_it(n):
            pass
    '''}
    command = [SHARD, "local", "-n", "2", "--", *PYTEST]
    ran = subprocess.run(command, cwd=make_suite(tmp_path, files), env=clean_env(**barrier(tmp_path, 2)), timeout=300,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert ran.returncode == 0 and "20 passed" in ran.stdout, ran.stdout
    named = r"^node 0 skipped \d+ tests? that ran elsewhere: port taken$"
    assert re.search(named, ran.stdout, re.MULTILINE), ran.stdout


def test_two_of_three_lack_it(tmp_path, daemon):
    workers = run_workers(3, daemon, make_suite(tmp_path, SUITE), env=lacking(0, 1, **total(tmp_path, 3)))
    assert codes(workers) == [0, 0, 0], outputs(workers)
    assert set(verdicts(daemon).values()) == {"passed"}


def test_the_lacking_one_comes_first(tmp_path, daemon):
    """It has skipped everything when the other job, which the CI has announced, begins."""
    suite = make_suite(tmp_path, SUITE)
    first = start_workers(1, daemon, suite, env={"NO_DOCKER": "1", "SHARD_TOTAL": "2"})[0]
    eventually(lambda: len(first.finished()) == 80, what="all are skipped")
    eventually(lambda: len(skipped_by(daemon, "0")) == 80, what="the server knows it")
    assert set(verdicts(daemon).values()) == {"missing"}, "and none is settled"
    second = start_workers(1, daemon, suite, node="1", env={"SHARD_TOTAL": "2"})[0]
    assert codes([first, second]) == [0, 0], outputs([first, second])
    assert set(verdicts(daemon).values()) == {"passed"}


def test_the_other_one_never_comes(tmp_path, daemon):
    """It is waited for as long as a worker without work lingers; then the skips stand."""
    suite = make_suite(tmp_path, SUITE)
    workers = run_workers(1, daemon, suite, env={"NO_DOCKER": "1", "SHARD_TOTAL": "2"}, args=["--linger", "1s"])
    assert codes(workers) == [0], outputs(workers)
    assert set(verdicts(daemon).values()) == {"skipped"}


def test_all_that_could_run_it_are_gone(tmp_path, daemon):
    """The one with docker is killed; what it has not run is skipped in the end."""
    suite = make_suite(tmp_path, SUITE)
    workers = start_workers(2, daemon, suite, env=lacking(0, **total(tmp_path, 2)))
    eventually(lambda: '"passed"' in daemon.shard("report", "--build", "b1", "--json").stdout, what="a test has run")
    workers[1].kill()
    assert workers[0].wait() == 0, outputs(workers)
    assert set(verdicts(daemon).values()) <= {"passed", "skipped"}


def test_with_a_history(tmp_path, daemon):
    """The trunk ran them; its builds with one machine without docker do so too, and teach no skip."""
    suite = make_suite(tmp_path, SUITE)
    for build in ("1", "2", "3"):
        env = lacking(*([] if build == "1" else [0]), **total(tmp_path, 2))
        assert codes(run_workers(2, daemon, suite, env=env, build=build)) == [0, 0]
        assert set(verdicts(daemon, build).values()) == {"passed"}


def test_everybody_skips_it(tmp_path, daemon):
    """What all skip is skipped; with a history, it is not run once more."""
    suite = make_suite(tmp_path, SELF)
    for build in ("1", "2"):
        workers = run_workers(2, daemon, suite, env=total(tmp_path, 2), build=build)
        assert codes(workers) == [0, 0], outputs(workers)
        found = attempts(daemon, build)
        ends = [rows[-1]["status"] for rows in found.values()]
        assert ends.count("skipped") == 20 and ends.count("passed") == 20
    assert sum(len(rows) for rows in found.values()) <= 42, "one test of a reason is asked of both"


def test_it_survives_a_restart(tmp_path, daemon):
    """The daemon dies when all are skipped by the one, and none has run."""
    suite = make_suite(tmp_path, SUITE)
    first = start_workers(1, daemon, suite, env={"NO_DOCKER": "1", "SHARD_TOTAL": "2"})[0]
    eventually(lambda: len(first.finished()) == 80, what="all are skipped")
    eventually(lambda: len(skipped_by(daemon, "0")) == 80, what="the server knows it")
    daemon.restart()
    second = start_workers(1, daemon, suite, node="1", env={"SHARD_TOTAL": "2"})[0]
    assert codes([first, second]) == [0, 0], outputs([first, second])
    assert set(verdicts(daemon).values()) == {"passed"}


@pytest.mark.parametrize("reason", ["pytest.skip('no docker')", "raise unittest.SkipTest('no docker')"])
def test_skipped_in_a_fixture(tmp_path, daemon, reason):
    suite = make_suite(tmp_path, {"conftest.py": BARRIER, "test_a.py": '''
        import os
        import unittest
        import pytest

        @pytest.fixture
        def docker():
            if "NO_DOCKER" in os.environ:
                %s

        @pytest.mark.parametrize("n", range(20))
        def test_it(docker, n):
            pass
    ''' % reason})
    workers = run_workers(2, daemon, suite, env=lacking(0, **total(tmp_path, 2)))
    assert codes(workers) == [0, 0], outputs(workers)
    assert set(verdicts(daemon).values()) == {"passed"}


def test_tap(tmp_path, daemon):
    """A command runner that skips by TAP pays no process a test."""
    suite = make_suite(tmp_path, {"run.sh": TAP})
    workers = run_workers(2, daemon, suite, env=lacking(0, SHARD_TOTAL="2"), command=["sh", "run.sh"],
                          args=["--runner", "command", "--results", "tap", "--list", "seq -f t%g 1 20"])
    assert codes(workers) == [0, 0], outputs(workers)
    assert set(verdicts(daemon).values()) == {"passed"}
